//! `fairlead admin`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fairlead_admin::auth::{Access, Reviewer};
use fairlead_admin::directory::{Directory, Members};
use fairlead_admin::engine::Engine;
use fairlead_admin::serve;
use fairlead_model::member::Role;
use fairlead_runtime::common::Handles;

use super::{Live, Start, member};
use crate::settings::AdminSettings;

/// Starts it: membership, then gRPC and REST on one port.
pub async fn run(settings: AdminSettings, start: Start) -> anyhow::Result<Live> {
    let token_file = settings.admin_token_file.as_deref();
    let reviewer = settings.token_review_audience.as_deref().map(Reviewer::new).transpose()?;
    let access = Access::new(settings.admin_token, token_file, reviewer, settings.listen)?;
    let door = Door::new(settings.listen, access, settings.fan_out_deadline);
    let names = settings.registrar.iter().map(ToString::to_string).collect();
    let me = member(&start.handles.who, Role::Admin, reached_at(settings.listen));
    let directory = Arc::new(Members::attach(names, me, start.tls));
    door.open(directory, &start.handles).await?;
    Ok(Box::new(|| 0))
}

/// What other pods are told: nobody asks admin by it, it is there to be shown.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let own = std::env::var("POD_IP").ok().and_then(|ip| ip.parse().ok());
    match own {
        Some(ip) if listen.ip().is_unspecified() => SocketAddr::new(ip, listen.port()),
        _ => listen,
    }
}

/// The operator's door, wherever it is.
pub struct Door {
    listen: SocketAddr,
    access: Access,
    deadline: Duration,
}

impl Door {
    /// Where it listens, who may come in, how long pods are waited for. Nothing is bound yet: what cannot be let in is
    /// said before anything else of the process begins.
    pub fn new(listen: SocketAddr, access: Access, deadline: Duration) -> Self {
        Door { listen, access, deadline }
    }

    /// Serves the operator, who asks these pods.
    pub async fn open(self, directory: Arc<dyn Directory>, handles: &Handles) -> anyhow::Result<()> {
        let listener = fairlead_runtime::http::bind(self.listen).await?;
        let engine = Engine::new(directory, self.deadline);
        let router =
            serve::router(engine, self.access, handles).await.context("could not build the admin port")?;
        let serving = handles.clone();
        handles.drain.spawn(async move {
            if let Err(failed) = serve::serve(listener, router, &serving).await {
                tracing::error!(%failed, "the admin port failed");
            }
        });
        tracing::info!(listen = %self.listen, "the operator's door is open");
        Ok(())
    }
}
