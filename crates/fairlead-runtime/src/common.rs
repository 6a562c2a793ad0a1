//! The settings that every role has, and the handles that every role is given.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_model::member::Role;

use crate::drain::Drain;
use crate::health::Health;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::settings;

settings! {
    /// What every role has.
    pub struct CommonSettings in "common" {
        /// Name of this pod for people; else the variable POD_NAME, else host name and role.
        pod_name: Option<String>,
        /// Where /livez, /readyz and /metrics are served (admin serves them on its own port too).
        listen_health: Option<SocketAddr>,
        /// How long live calls may go on after SIGTERM; without any the role ends at once.
        drain_timeout: Duration = "1h",
    }
}

impl CommonSettings {
    /// A new incarnation of `role`.
    pub fn identity(&self, role: Role) -> Identity {
        let from_kubernetes = std::env::var("POD_NAME").ok();
        Identity::new(role, self.pod_name.as_deref().or(from_kubernetes.as_deref()))
    }
}

/// What a role is given when it starts. Cheap to clone; in `standalone` all roles get the same metrics, health and
/// drain, each with its own identity.
#[derive(Clone, Debug)]
pub struct Handles {
    /// Who it is.
    pub who: Identity,
    /// Where it registers its metrics.
    pub metrics: Metrics,
    /// Where it says that it is ready and that its loops turn.
    pub health: Health,
    /// Tells it when to end.
    pub drain: Drain,
}
