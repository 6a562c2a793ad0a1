//! The role as a process runs it: the relay, its gRPC port, its membership.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::member::Briefing;
use fairlead_model::member::{Member, Role};
use fairlead_model::surroundings::{MediaAddress, Surroundings};
use fairlead_proto::attached::stay_attached;
use fairlead_proto::link::RegistrarPort;
use fairlead_proto::server;
use fairlead_proto::tls::{self, PodTls};
use fairlead_proto::trace::TraceHooks;
use fairlead_runtime::common::Handles;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::{Config, StartError};
use crate::diagnosis::Doctor;
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
#[derive(Clone, Debug)]
pub struct Grpc {
    /// Where it listens; with port 0 on any that is free.
    pub listen: SocketAddr,
    /// What the others are told; `None`: where it listens.
    pub advertise: Option<SocketAddr>,
    /// How the others prove who they are.
    pub tls: PodTls,
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
        let listener = TcpListener::bind(fairlead_runtime::listen::usable(address)).await.map_err(listen)?;
        let listening = listener.local_addr().map_err(listen)?;
        reached = grpc.advertise.unwrap_or(listening);
        let stop = handles.drain.stopping();
        let doctor = Doctor {
            name: handles.who.name.clone(),
            relay: relay.clone(),
            no_slice: config.ports.as_ref().err().cloned(),
        };
        let routes = Routes::new(server::relay(Arc::new(relay.clone()), trace))
            .add_service(server::diagnosis(Arc::new(doctor)));
        handles.drain.spawn(async move {
            let served = tls::serve(listener, routes, &grpc.tls, stop.cancelled_owned());
            if let Err(failed) = served.await {
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
        draining: !relay.is_of_use(),
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
    // A relay without ports or without an address says that it takes nothing new, as one that drains does.
    let briefings = stay_attached(registrar, member, move || (load.load(), !load.is_of_use()));
    handles.drain.spawn(hear_addresses(
        relay.clone(),
        handles.who.name.clone(),
        briefings.clone(),
        handles.drain.stopping(),
    ));
    let (drained, stop) = (relay.clone(), handles.drain.stopping());
    handles.drain.spawn(async move {
        draining.cancelled().await;
        drained.drain();
        stop.cancelled().await;
        drained.end();
        // It is a member until the very end: live sessions are renewed and deleted by those who find it there.
        drop(briefings);
    });
    match &config.ports {
        Ok(ports) => tracing::info!(grpc = %reached, ?ports, "the relay is up"),
        Err(none) => {
            tracing::error!(grpc = %reached, %none, "the relay is up, but no call can be sent to it")
        }
    }
    if relay.has_ports() && !relay.knows_address() {
        tracing::warn!(
            "the relay has no address that the world can reach yet; no call is sent to it until it is told one"
        );
    }
    Ok(relay)
}

/// Takes over where the world reaches this relay whenever a registrar says so.
async fn hear_addresses(
    relay: Relay,
    name: String,
    mut briefings: watch::Receiver<Option<Arc<Briefing>>>,
    stopping: CancellationToken,
) {
    let mut known = Vec::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = briefings.changed() => if changed.is_err() { return },
        }
        let told = briefings
            .borrow_and_update()
            .as_ref()
            .and_then(|briefing| addresses_of(&name, &briefing.surroundings));
        let Some(told) = told.filter(|told| *told != known) else { continue };
        let had = relay.knows_address();
        relay.tell_addresses(told.clone());
        let said: Vec<String> = told.iter().map(|told| told.address.to_string()).collect();
        match (had, relay.knows_address()) {
            (true, false) => {
                tracing::warn!("the relay has lost its address; no call is sent to it until it is told one")
            }
            _ => tracing::info!(addresses = ?said, "how the world reaches the relay"),
        }
        known = told;
    }
}

/// What is said of this pod; `None` when nothing is known of anything: a registrar that was told nothing yet, or whose
/// store was emptied, takes no address away.
fn addresses_of(name: &str, around: &Surroundings) -> Option<Vec<MediaAddress>> {
    if *around == Surroundings::default() {
        return None;
    }
    Some(around.media.iter().filter(|address| address.pod == name).cloned().collect())
}
