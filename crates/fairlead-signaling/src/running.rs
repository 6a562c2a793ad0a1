//! The role: started, running, ended.

use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairlead_core::input::{Identity, Network};
use fairlead_core::route_message::Router;
use fairlead_model::flow::Transport;
use fairlead_model::member::{Member, Role};
use fairlead_proto::link::RegistrarPort;
use fairlead_proto::server::{channels, diagnosis};
use fairlead_proto::signaling::v1::mesh_server::MeshServer;
use fairlead_proto::tls;
use fairlead_runtime::common::Handles;
use fairlead_runtime::identity;
use sip_net::connection::{ConnectionNames, Dialer};
use sip_net::limits::Door;
use sip_net::tcp;
use sip_net::udp::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::{Config, Listener};
use crate::diagnosis::{Doctor, keep_surroundings};
use crate::ending::{Ending, Linger, Progress};
use crate::machine::Machine;
use crate::media_link::{MediaLink, Relays};
use crate::mesh::{self, Mesh, MeshService};
use crate::metrics::{Metrics, ShardMetrics};
use crate::news::ShardDoor;
use crate::operator::Operator;
use crate::registrar_link::RegistrarLink;
use crate::resolver::Resolver;
use crate::shard::{DEAF, Inlets, Links, Listening, Shard};

/// A loop that does not turn for this long is dead.
const STUCK: Duration = Duration::from_secs(15);

/// Why the role does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {transport}:{address}: {cause}")]
    Listen {
        /// Its transport.
        transport: Transport,
        /// Its address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A listener of a transport that is not built yet.
    #[error("{0} listeners are not built yet")]
    NotBuilt(Transport),
    /// The port for other roles cannot be opened.
    #[error("cannot listen on {address} for other roles: {cause}")]
    Grpc {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a shard: {0}")]
    Thread(#[source] std::io::Error),
}

/// The role as the program holds it. It runs until the drain of its handles stops it.
#[derive(Debug)]
pub struct Signaling {
    live: Arc<AtomicUsize>,
    linger: Linger,
    operator: Operator,
    doctor: Doctor,
    bound: Vec<(Transport, SocketAddr)>,
    grpc: Option<SocketAddr>,
    member: Member,
}

impl Signaling {
    /// Opens everything and starts to serve. Sockets that cannot be opened are an error; a registrar that cannot be
    /// reached is not: it is tried until it can.
    pub async fn start(
        config: Config,
        registrar: Arc<dyn RegistrarPort>,
        relays: Arc<dyn Relays>,
        handles: Handles,
    ) -> Result<Self, StartError> {
        Self::start_with(config, registrar, relays, handles, |identity, seed| {
            fairlead_core::Core::new(identity, seed, fairlead_core::Limits::default())
        })
        .await
    }

    /// The same with another machine.
    pub(crate) async fn start_with<M: Machine + 'static>(
        config: Config,
        registrar: Arc<dyn RegistrarPort>,
        relays: Arc<dyn Relays>,
        handles: Handles,
        machine: impl Fn(Identity, [u8; 32]) -> M + Clone + Send + 'static,
    ) -> Result<Self, StartError> {
        let mut config = config;
        for listener in &mut config.listeners {
            listener.bind = fairlead_runtime::listen::usable(listener.bind);
        }
        let metrics = handles.metrics.register(Metrics::register);
        let ready = handles.health.flag("signaling");
        for listener in &config.listeners {
            probe(listener)?;
        }
        let grpc = match config.grpc.map(fairlead_runtime::listen::usable) {
            None => None,
            Some(address) => Some(
                tokio::net::TcpListener::bind(address)
                    .await
                    .and_then(|listener| Ok((listener.local_addr()?, listener)))
                    .map_err(|cause| StartError::Grpc { address, cause })?,
            ),
        };
        let grpc_address = grpc.as_ref().map(|(address, _)| *address);
        let who = member(&handles, config.grpc_advertise.or(grpc_address));

        let shards = config.shard_count();
        let (asks, asked) = mpsc::channel(config.queues.asks);
        let (orders, ordered) = mpsc::channel(config.queues.orders);
        let mut doors = Vec::new();
        let mut inlets = Vec::new();
        for _ in 0..shards {
            let (handed, handed_in) = mpsc::channel(config.queues.messages);
            let (news, news_in) = mpsc::channel(config.queues.news);
            doors.push(ShardDoor { handed, news });
            inlets.push((handed_in, news_in));
        }
        let mesh = Mesh::default();
        let links = Links {
            shards: doors.clone(),
            asks,
            orders,
            mesh: mesh.clone(),
            resolver: Resolver::new(tokio::runtime::Handle::current(), config.queues.lookups),
        };
        let door = Door::new(config.connections.clone());
        let names = ConnectionNames::default();
        let live = Arc::new(AtomicUsize::new(0));
        let progress: Vec<Arc<Progress>> = (0..shards).map(|_| Arc::default()).collect();
        // Links are needed until the last message has left.
        let links_end = CancellationToken::new();

        let mut bound: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.bind).collect();
        let mut ended = Vec::new();
        for ((number, (handed, news)), progress) in (0..shards).zip(inlets).zip(&progress) {
            let (connection_events, connections) = mpsc::channel(1024);
            let birth = Birth {
                listeners: config.listeners.clone(),
                bound: bound.clone(),
                udp_buffer: config.udp_buffer,
                identity: Identity { pod: who.pod, shard: number, shards, networks: Vec::new() },
                dialer: Dialer {
                    pod: who.pod,
                    shard: number,
                    names: names.clone(),
                    door: door.clone(),
                    events: connection_events,
                },
                links: links.clone(),
                inlets: Inlets { handed, news, connections },
                metrics: metrics.clone(),
                heartbeat: handles.health.heartbeat(format!("shard-{number}"), STUCK),
                live: live.clone(),
                progress: progress.clone(),
                traced: config.traced,
            };
            let (tell, told) = oneshot::channel();
            let (end, at_end) = oneshot::channel::<()>();
            let machine = machine.clone();
            std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || {
                    birth.live(machine, tell);
                    drop(end);
                })
                .map_err(StartError::Thread)?;
            ended.push(at_end);
            // The first shard is given the ports that the system chose; its twins take the same.
            bound = told.await.map_err(|_| StartError::Thread(std::io::ErrorKind::Other.into()))??;
        }

        let (briefings, briefed) = watch::channel(None);
        let link = RegistrarLink {
            registrar,
            who: who.clone(),
            asks: asked,
            doors: doors.clone(),
            briefings,
            live: live.clone(),
            draining: handles.drain.draining(),
            stopping: links_end.clone(),
            metrics: metrics.clone(),
            traceparent: fairlead_runtime::trace::traceparent,
            most: config.queues.asks,
        };
        handles.drain.spawn(link.run());
        let media = MediaLink {
            relays,
            orders: ordered,
            doors: doors.clone(),
            briefings: briefed.clone(),
            stopping: links_end.clone(),
            metrics: metrics.clone(),
            most: config.queues.orders,
        };
        handles.drain.spawn(media.run());
        handles.drain.spawn(mesh::keep_pods(
            mesh,
            who.pod,
            config.tls.clone(),
            briefed.clone(),
            doors.clone(),
            config.queues.mesh,
            metrics.clone(),
            links_end.clone(),
        ));
        handles.drain.spawn(announce_ready(briefed.clone(), ready, handles.drain.stopping()));
        let linger = Linger {
            progress: progress.clone(),
            draining: handles.drain.draining(),
            fade: CancellationToken::new(),
            limit: config.flow_linger,
            since: std::sync::OnceLock::new(),
            fading_since: std::sync::OnceLock::new(),
        };
        let ending = Ending {
            doors: doors.clone(),
            progress,
            handles: handles.clone(),
            fade: linger.fade.clone(),
            links: links_end.clone(),
            ended,
        };
        handles.drain.spawn(ending.run());
        let networks: Vec<Network> = config
            .listeners
            .iter()
            .zip(&bound)
            .flat_map(|(listener, bound)| listener.networks(*bound))
            .collect();
        let (tell, told) = watch::channel(Vec::new());
        handles.drain.spawn(keep_surroundings(
            briefed.clone(),
            networks.clone(),
            metrics.address_known.clone(),
            tell,
            links_end.clone(),
        ));

        let operator = Operator::new(doors.clone());
        let doctor = Doctor {
            name: who.name.clone(),
            networks,
            told,
            briefings: briefed,
            operator: operator.clone(),
            host_ips: config.host_ips.clone(),
            tls_off: config.grpc.is_some() && !config.tls.is_on(),
        };
        if let Some((address, listener)) = grpc {
            let service = MeshService {
                own: who.pod,
                router: Router::new(who.pod, shards),
                doors,
                limits: config.connections.message,
                metrics,
            };
            let routes = Routes::new(MeshServer::new(service).max_decoding_message_size(16 << 20))
                .add_service(channels(Arc::new(operator.clone())))
                .add_service(diagnosis(Arc::new(doctor.clone())));
            let (stopping, tls) = (links_end, config.tls.clone());
            handles.drain.spawn(async move {
                tokio::select! {
                    served = tls::serve(listener, routes, &tls, std::future::pending()) => if let Err(error) = served {
                        tracing::error!(%error, %address, "the port for other roles is gone");
                    },
                    // Streams of other pods have no end of their own: they are cut.
                    () = stopping.cancelled() => {}
                }
            });
        }
        let bound: Vec<_> = config.listeners.iter().map(|listener| listener.transport).zip(bound).collect();
        for (transport, address) in &bound {
            tracing::info!(%transport, %address, shards, "listening");
        }
        Ok(Signaling { live, linger, operator, doctor, bound, grpc: grpc_address, member: who })
    }

    /// What this pod says of itself when it is examined, in process.
    pub fn doctor(&self) -> Doctor {
        self.doctor.clone()
    }

    /// Calls held now, and callers that wait to be let in: the drain waits for them.
    pub fn live_calls(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// All that the drain waits for: calls; phones that only this pod can reach while others take calls for them, so that
    /// those still come by the mesh, until [`Config::flow_linger`] has passed since the drain began; then calls that were
    /// passed on and are not settled. Asked while nothing else is left, it stops passing on new ones.
    pub fn waits_for(&self) -> usize {
        self.linger.waits_for(self.live_calls())
    }

    /// A counter of the calls, for closures that outlive this value.
    pub fn live_counter(&self) -> Arc<AtomicUsize> {
        self.live.clone()
    }

    /// What the operator asks of this pod, in process.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Where each listener is bound, in the order of the configuration.
    pub fn bound(&self) -> &[(Transport, SocketAddr)] {
        &self.bound
    }

    /// Where mesh and operator are served.
    pub fn grpc(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// This pod as it attached.
    pub fn member(&self) -> &Member {
        &self.member
    }
}

fn member(handles: &Handles, grpc: Option<SocketAddr>) -> Member {
    Member {
        pod: handles.who.pod,
        name: handles.who.name.clone(),
        role: Role::Signaling,
        // Where nothing is served nobody will ask.
        grpc: grpc.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        started: handles.who.started,
        seen: identity::now(),
        draining: false,
        load: 0,
        version: fairlead_runtime::build::VERSION.to_owned(),
    }
}

/// Whether the address is free: sockets that share a port with their twins would share it with a stranger's as well.
fn probe(listener: &Listener) -> Result<(), StartError> {
    let (transport, address) = (listener.transport, listener.bind);
    let opened = match transport {
        Transport::Udp => StdUdpSocket::bind(address).map(drop),
        Transport::Tcp => StdTcpListener::bind(address).map(drop),
        other => return Err(StartError::NotBuilt(other)),
    };
    opened.map_err(|cause| StartError::Listen { transport, address, cause })
}

async fn announce_ready(
    mut briefed: watch::Receiver<Option<Arc<fairlead_model::member::Briefing>>>,
    ready: fairlead_runtime::health::ReadyFlag,
    stopping: CancellationToken,
) {
    // Ready is who hears (architecture: readiness never looks at what pods share): shards listen from the first briefing
    // on, or without one once they have waited long enough for it. Who has no registrar then answers 503 to REGISTER and
    // 200 to OPTIONS, which is what it can serve.
    tokio::select! {
        _ = briefed.wait_for(Option::is_some) => {}
        () = tokio::time::sleep(DEAF) => {}
        () = stopping.cancelled() => return,
    }
    ready.set(true);
}

/// All that a shard is born with; its sockets it opens itself, on its own thread.
struct Birth {
    listeners: Vec<Listener>,
    bound: Vec<SocketAddr>,
    udp_buffer: usize,
    identity: Identity,
    dialer: Dialer,
    links: Links,
    inlets: Inlets,
    metrics: Metrics,
    heartbeat: fairlead_runtime::health::Heartbeat,
    live: Arc<AtomicUsize>,
    progress: Arc<Progress>,
    traced: bool,
}

type Told = oneshot::Sender<Result<Vec<SocketAddr>, StartError>>;

impl Birth {
    /// The whole life of a shard's thread.
    fn live<M: Machine>(self, machine: impl Fn(Identity, [u8; 32]) -> M, tell: Told) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // Whoever waits for the answer is still there: it is the start.
                let _ = tell.send(Err(StartError::Thread(error)));
                return;
            }
        };
        runtime.block_on(async move {
            match self.open() {
                Ok((udp, bound, networks)) => {
                    let _ = tell.send(Ok(bound));
                    self.run(machine, udp, networks).await;
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            }
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    }

    #[allow(clippy::type_complexity)]
    fn open(&self) -> Result<(Vec<Listening>, Vec<SocketAddr>, Vec<Network>), StartError> {
        let (mut udp, mut bound, mut networks) = (Vec::new(), Vec::new(), Vec::new());
        for (listener, address) in self.listeners.iter().zip(&self.bound) {
            let (transport, address) = (listener.transport, *address);
            let fail = |cause| StartError::Listen { transport, address, cause };
            let local = match transport {
                Transport::Udp => {
                    let socket = UdpSocket::bind(address, self.udp_buffer).map_err(fail)?;
                    let local = socket.local();
                    udp.push(Listening { socket });
                    local
                }
                Transport::Tcp => {
                    let socket = tcp::listen(address).map_err(fail)?;
                    let local = socket.local_addr().map_err(fail)?;
                    tokio::spawn(self.dialer.clone().accept(socket));
                    local
                }
                other => return Err(StartError::NotBuilt(other)),
            };
            bound.push(local);
            networks.extend(listener.networks(local));
        }
        Ok((udp, bound, networks))
    }

    async fn run<M: Machine>(
        self,
        machine: impl Fn(Identity, [u8; 32]) -> M,
        udp: Vec<Listening>,
        networks: Vec<Network>,
    ) {
        let identity = Identity { networks, ..self.identity };
        let machine = machine(identity.clone(), rand::random());
        let shard = Shard::new(
            machine,
            identity,
            udp,
            self.dialer,
            self.links,
            self.inlets,
            ShardMetrics::new(self.metrics),
            self.heartbeat,
            self.live,
            self.progress,
            self.traced,
        );
        shard.run().await;
    }
}
