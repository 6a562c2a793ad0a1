//! Mutual TLS between pods: who speaks is proven at both ends of every connection, and certificates change while
//! connections live on.
//!
//! A folder holds `tls.crt`, `tls.key` and `ca.crt`, as cert-manager writes them and Kubernetes mounts them. Its
//! certificate names the pod's role: a DNS name `ROLE.DOMAIN` (`registrar.edge-fairlead.sip`). A client takes only the
//! role that it wants to reach; a server asks everybody for a certificate and lets each service be called only by the
//! roles that need it ([`allow`]).
//!
//! The folder is looked at every second. A new set is taken for connections from then on, those that are open stay as
//! they are: no stream breaks because a certificate was renewed, or because it expired. A set that does not fit
//! together is not taken, the one before stays.

pub mod allow;
mod connect;
mod metrics;
mod serve;
mod set;
mod watch;

pub(crate) use connect::Connector;
pub use metrics::TlsMetrics;
pub use serve::serve;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fairlead_model::member::Role;
use rustls::pki_types::DnsName;
use rustls::{ClientConfig, ServerConfig};

use set::Set;

/// The names that certificates give to roles: `ROLE.DOMAIN`.
const ROLES: [Role; 5] = [Role::Signaling, Role::Media, Role::Registrar, Role::Admin, Role::Operator];

/// The domain of an edge cannot be part of a name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no domain that certificates can name, such as `edge-fairlead.sip`")]
pub struct BadDomain(String);

/// How this process proves who it is to other pods, and has them prove who they are. Cheap to clone; the default is
/// [`PodTls::off`].
#[derive(Clone, Default)]
pub struct PodTls(Option<Arc<Inner>>);

struct Inner {
    domain: String,
    current: ArcSwap<Set>,
    metrics: TlsMetrics,
}

impl PodTls {
    /// Plain gRPC: everybody who reaches a port may call everything. For one host, and for networks that see to it.
    pub fn off() -> Self {
        PodTls(None)
    }

    /// With the certificates of this folder, for `own` of the edge whose names end with `domain`. Waits until all three
    /// files are there and fit together, saying every 10 s what is missing; then watches them for as long as a clone of
    /// this value lives. To be called inside the runtime.
    pub async fn from_dir(
        dir: &Path,
        domain: &str,
        own: Role,
        metrics: TlsMetrics,
    ) -> Result<Self, BadDomain> {
        let domain = domain.to_ascii_lowercase();
        if domain.contains('*') || DnsName::try_from(name_of(own, &domain)).is_err() {
            return Err(BadDomain(domain));
        }
        let (files, set) = watch::first(dir, &name_of(own, &domain)).await;
        metrics.taken(&set);
        let inner = Arc::new(Inner { domain, current: ArcSwap::from_pointee(set), metrics });
        tokio::spawn(watch::follow(Arc::downgrade(&inner), dir.to_owned(), own, files));
        Ok(PodTls(Some(inner)))
    }

    /// Whether connections are encrypted and pods known.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// When the certificate that is in use ends, seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.0.as_ref().map(|inner| inner.current.load().not_after)
    }
}

impl Inner {
    fn client(&self) -> Arc<ClientConfig> {
        self.current.load().client.clone()
    }

    fn server(&self) -> Arc<ServerConfig> {
        self.current.load().server.clone()
    }
}

impl std::fmt::Debug for PodTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PodTls").field(&self.0.as_ref().map(|inner| &inner.domain)).finish()
    }
}

fn name_of(role: Role, domain: &str) -> String {
    format!("{}.{domain}", role.word())
}
