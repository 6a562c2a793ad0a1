//! The relay as others see it: orders in, replies and events out. `relay/orders.rs` carries the orders out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef};
use fairlead_model::relay::{
    RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef, SessionStatistics,
};
use fairlead_model::surroundings::MediaAddress;
use fairlead_proto::link::RelayPort;
use fairlead_proto::operator::{SessionsPort, Unanswered};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rtp::Settings;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tracing::Instrument;

use crate::config::{Config, StartError};
use crate::hairpin::{self, Arrival, Hairpin};
use crate::metrics::Metrics;
use crate::negotiation::Negotiation;
use crate::ports::{self, Places};
use crate::wake::Wake;
use crate::worker::{Birth, Command, QUEUE, Worker};

mod ending;
mod orders;

/// Events that a watcher may be behind.
const WATCH_QUEUE: usize = 1_024;

/// Sessions that are over whose statistics are kept, for a Delete that comes late or twice.
const ENDED_KEPT: usize = 4_096;

/// A media relay in this process. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    pod: PodRef,
    places: Places,
    workers: Vec<Handle>,
    /// Each port for RTP with the address it is bound to.
    ports: Vec<(IpAddr, u16)>,
    hairpin: Arc<Hairpin>,
    sessions: Mutex<HashMap<SessionRef, Arc<Known>>>,
    ended: Mutex<Ended>,
    watchers: Mutex<Vec<mpsc::Sender<RelayEvent>>>,
    draining: AtomicBool,
    ending: AtomicBool,
    metrics: Metrics,
    renew_within: Duration,
    max_sessions: usize,
}

/// One worker.
struct Handle {
    /// Taken away at the end, which the worker notices.
    commands: Option<SyncSender<Command>>,
    wake: Arc<Wake>,
    sessions: AtomicUsize,
    thread: Option<JoinHandle<()>>,
}

/// A session as the orders know it.
#[derive(Debug)]
struct Known {
    renewed: Mutex<Instant>,
    /// One order of a session at a time.
    negotiation: AsyncMutex<Negotiation>,
}

#[derive(Debug, Default)]
struct Ended {
    statistics: HashMap<SessionRef, SessionStatistics>,
    order: VecDeque<SessionRef>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Relay({}, {} sessions)", self.inner.pod, self.load())
    }
}

impl Relay {
    /// Opens the ports, starts the workers and registers the metrics. Must be called inside a tokio runtime, where it
    /// leaves two small tasks behind that end with the relay.
    pub fn start(config: &Config, registry: &mut Registry) -> Result<Self, StartError> {
        let (places, owned) = ports::open(config)?;
        let metrics = Metrics::default();
        metrics.register(registry);
        metrics.address_known.set(i64::from(places.is_known()));
        metrics.ports.set(owned.iter().map(Vec::len).sum::<usize>().try_into().unwrap_or(i64::MAX));
        let settings = Settings {
            hear_before_speak: config.hear_before_speak,
            keep_alive: config.keep_alive,
            former: config.former,
            ..Settings::default()
        };
        let (silent, fallen_silent) = mpsc::unbounded_channel();
        let hairpin = Arc::new(Hairpin::default());
        let opened = owned.iter().flatten();
        let ports = opened.filter_map(|pair| Some((*places.binds.get(pair.bind)?, pair.port))).collect();
        let mut workers = Vec::with_capacity(owned.len());
        for (index, ports) in owned.into_iter().enumerate() {
            let (commands, orders) = sync_channel(QUEUE);
            let wake = Arc::new(Wake::new().map_err(StartError::Worker)?);
            let birth = Birth {
                ports,
                binds: places.binds.len(),
                settings,
                wake: wake.clone(),
                hairpin: hairpin.clone(),
                commands: orders,
                silent: silent.clone(),
                metrics: metrics.clone(),
            };
            let worker = Worker::new(birth).map_err(StartError::Worker)?;
            let thread = std::thread::Builder::new()
                .name(format!("relay-{index}"))
                .spawn(move || worker.run())
                .map_err(StartError::Worker)?;
            workers.push(Handle {
                commands: Some(commands),
                wake,
                sessions: AtomicUsize::new(0),
                thread: Some(thread),
            });
        }
        let inner = Arc::new(Inner {
            pod: config.pod,
            places,
            workers,
            ports,
            hairpin,
            sessions: Mutex::default(),
            ended: Mutex::default(),
            watchers: Mutex::default(),
            draining: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            metrics,
            renew_within: config.renew_within,
            max_sessions: config.max_sessions,
        });
        tokio::spawn(ending::end_silent(Arc::downgrade(&inner), fallen_silent));
        tokio::spawn(ending::sweep(Arc::downgrade(&inner)));
        Ok(Relay { inner })
    }

    /// Sessions held now.
    pub fn load(&self) -> u32 {
        u32::try_from(self.inner.sessions.lock().len()).unwrap_or(u32::MAX)
    }

    /// Every worker takes orders: true once each has answered.
    pub async fn turns(&self) -> bool {
        let nobody = SessionRef {
            call: CallRef { pod: self.inner.pod, shard: ShardRef(0), number: 0 },
            attempt: AttemptRef(0),
        };
        for worker in 0..self.inner.workers.len() {
            if self.inner.ask(worker, |reply| Command::Query(nobody, reply)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes no new session from now on. Those that are there go on.
    pub fn drain(&self) {
        if !self.inner.draining.swap(true, Ordering::AcqRel) {
            self.inner.metrics.drained("at_start", self.load().into());
        }
    }

    /// It takes no new session.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Ends the streams of all who watch: the process is about to end.
    pub fn end_watches(&self) {
        self.inner.ending.store(true, Ordering::Release);
        self.inner.watchers.lock().clear();
    }

    /// Where the world reaches it, as found out at run time: written into SDP from now on instead of what it was
    /// started with, per network and family; sessions that are there keep what they have said. No port is bound anew: a
    /// network goes on where it was, a new one where the default one is.
    pub fn tell_addresses(&self, told: Vec<MediaAddress>) {
        self.inner.places.tell(told);
        self.inner.metrics.address_known.set(i64::from(self.knows_address()));
    }

    /// It has an address that it may write into SDP.
    pub fn knows_address(&self) -> bool {
        self.inner.places.is_known()
    }

    /// It has ports of its own.
    pub fn has_ports(&self) -> bool {
        !self.inner.workers.is_empty()
    }

    /// Whether a new session has a chance here.
    pub fn is_of_use(&self) -> bool {
        self.has_ports() && self.knows_address() && !self.is_draining()
    }

    /// Sends a packet to each of its own ports by the addresses that phones are told: what it was sent to, and which
    /// port it came in at.
    pub(crate) async fn try_ports(&self) -> (Vec<SocketAddr>, Vec<Arrival>) {
        let inner = &self.inner;
        let mut aims: Vec<SocketAddr> = Vec::new();
        for (address, bind) in inner.places.advertised() {
            let of_it = inner.ports.iter().filter(|(bound, _)| *bound == bind);
            aims.extend(of_it.map(|(_, port)| SocketAddr::new(address, *port)));
        }
        aims.truncate(hairpin::MOST);
        let arrived = inner.hairpin.try_all(&aims).await;
        (aims, arrived)
    }

    /// The process ends now: those who watch are told no more, and what is still there is counted as cut.
    pub fn end(&self) {
        self.inner.metrics.drained("cut", self.load().into());
        self.end_watches();
    }
}

#[async_trait::async_trait]
impl RelayPort for Relay {
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        let inner = self.inner.clone();
        // Whoever gave it may stop waiting at any moment. Half done it would leave ports open that no order finds.
        let carried_out = tokio::spawn(async move { inner.carry_out(order).await }.in_current_span());
        carried_out.await.unwrap_or(Err(RelayRefused::Unreachable))
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        let (watcher, events) = mpsc::channel(WATCH_QUEUE);
        let mut watchers = self.inner.watchers.lock();
        if self.inner.ending.load(Ordering::Acquire) {
            return Err(RelayRefused::Unreachable);
        }
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(watcher);
        Ok(events)
    }
}

#[async_trait::async_trait]
impl SessionsPort for Relay {
    async fn list_sessions(
        &self,
        call: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered> {
        let mut all = Vec::new();
        for worker in 0..self.inner.workers.len() {
            let listed = self.inner.ask(worker, |reply| Command::List(call, reply)).await;
            all.extend(listed.map_err(|refused| Unanswered::Unable(refused.to_string()))?);
        }
        all.sort_by_key(|(session, _)| *session);
        Ok(all)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.commands = None;
            worker.wake.wake();
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a relay worker had panicked");
            }
        }
    }
}
