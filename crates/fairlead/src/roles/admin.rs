//! `fairlead admin`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fairlead_admin::auth::Access;
use fairlead_admin::directory::{Directory, Members};
use fairlead_admin::engine::Engine;
use fairlead_admin::serve;
use fairlead_model::member::Role;
use fairlead_runtime::common::Handles;
use fairlead_runtime::settings::value::Secret;

use super::{Live, Start, member};
use crate::settings::AdminSettings;

/// Starts it: membership, then gRPC and REST on one port.
pub async fn run(settings: AdminSettings, start: Start) -> anyhow::Result<Live> {
    let names = settings.registrar.iter().map(ToString::to_string).collect();
    let me = member(&start.handles.who, Role::Admin, settings.listen);
    let directory = Arc::new(Members::attach(names, me));
    let door = Door {
        listen: settings.listen,
        token: settings.admin_token,
        token_file: settings.admin_token_file,
        deadline: settings.fan_out_deadline,
    };
    door.open(directory, &start.handles).await?;
    Ok(Box::new(|| 0))
}

/// The operator's door, wherever it is.
pub struct Door {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The bearer token, given directly.
    pub token: Option<Secret>,
    /// The bearer token, in a file.
    pub token_file: Option<PathBuf>,
    /// How long pods are waited for.
    pub deadline: Duration,
}

impl Door {
    /// Serves the operator, who asks these pods.
    pub async fn open(self, directory: Arc<dyn Directory>, handles: &Handles) -> anyhow::Result<()> {
        let access = Access::new(self.token, self.token_file.as_deref(), self.listen)?;
        let listener = fairlead_runtime::http::bind(self.listen).await?;
        let engine = Engine::new(directory, self.deadline);
        let router =
            serve::router(engine, access, handles).await.context("could not build the admin port")?;
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
