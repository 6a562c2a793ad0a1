//! The role as a process runs it: the relay, its gRPC port, its membership.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::member::{Member, Role};
use fairlead_proto::attached::stay_attached;
use fairlead_proto::link::RegistrarPort;
use fairlead_proto::server;
use fairlead_proto::trace::TraceHooks;
use fairlead_runtime::common::Handles;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::config::{Config, StartError};
use crate::relay::Relay;

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The relay did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its gRPC port could not be opened.
    #[error("could not listen for gRPC on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// A process whose workers take no orders for this long is to be restarted.
const STUCK: Duration = Duration::from_secs(10);

/// Where a relay is reached by gRPC.
#[derive(Clone, Copy, Debug)]
pub struct Grpc {
    /// Where it listens; with port 0 on any that is free.
    pub listen: SocketAddr,
    /// What the others are told; `None`: where it listens.
    pub advertise: Option<SocketAddr>,
}

/// Starts the relay of this process, which drains with it, and makes it a member: signaling and admin learn of it from
/// the registrar. In `standalone` nobody comes by gRPC: signaling is handed the relay that this returns.
///
/// Live sessions are [`Relay::load`]; what waits for them before it ends the process is the caller's business.
pub async fn run(
    config: &Config,
    grpc: Option<Grpc>,
    registrar: Arc<dyn RegistrarPort>,
    handles: &Handles,
    trace: TraceHooks,
) -> Result<Relay, RunError> {
    let relay = handles.metrics.register(|registry| Relay::start(config, registry))?;
    let mut reached = SocketAddr::from(([127, 0, 0, 1], 0));
    if let Some(grpc) = grpc {
        let address = grpc.listen;
        let listen = |cause| RunError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let listening = listener.local_addr().map_err(listen)?;
        reached = grpc.advertise.unwrap_or(listening);
        let stop = handles.drain.stopping();
        let server = tonic::transport::Server::builder()
            .add_service(server::relay(Arc::new(relay.clone()), trace))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned());
        handles.drain.spawn(async move {
            if let Err(failed) = server.await {
                tracing::error!(%failed, "the gRPC port of the relay failed");
            }
        });
    }
    let member = Member {
        pod: handles.who.pod,
        name: handles.who.name.clone(),
        role: Role::Media,
        grpc: reached,
        started: handles.who.started,
        seen: handles.who.started,
        draining: false,
        load: 0,
        version: fairlead_runtime::build::VERSION.to_owned(),
    };
    let ready = handles.health.flag("media");
    ready.set(true);
    let (turning, heart) = (relay.clone(), handles.health.heartbeat("relay workers", STUCK));
    let stop = handles.drain.stopping();
    handles.drain.spawn(async move {
        loop {
            tokio::select! {
                // A worker that never answers leaves this waiting, and the heart silent.
                turns = turning.turns() => if turns { heart.beat() },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stop.cancelled() => return,
            }
        }
    });
    let (load, draining) = (relay.clone(), handles.drain.draining());
    let briefings = stay_attached(registrar, member, move || (load.load(), load.is_draining()));
    let (drained, stop) = (relay.clone(), handles.drain.stopping());
    handles.drain.spawn(async move {
        draining.cancelled().await;
        drained.drain();
        stop.cancelled().await;
        drained.end_watches();
        // It is a member until the very end: live sessions are renewed and deleted by those who find it there.
        drop(briefings);
    });
    tracing::info!(grpc = %reached, ports = ?config.ports, "the relay is up");
    Ok(relay)
}
