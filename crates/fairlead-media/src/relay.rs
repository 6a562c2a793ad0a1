//! The relay as others see it: orders in, replies and events out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef};
use fairlead_model::relay::{
    Described, RelayEvent, RelayOrder, RelayRefused, RelayReply, SdpOrder, SessionRef, SessionStatistics,
};
use fairlead_proto::link::RelayPort;
use fairlead_proto::operator::{SessionsPort, Unanswered};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rtp::Settings;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::config::{Config, Network, StartError};
use crate::metrics::Metrics;
use crate::negotiation::{Negotiation, Planned};
use crate::ports::{self, Places};
use crate::session::{Change, NotChanged, StreamPorts};
use crate::wake::Wake;
use crate::worker::{Birth, Command, QUEUE, Worker};

mod ending;

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
        metrics.ports.set(owned.iter().map(Vec::len).sum::<usize>().try_into().unwrap_or(i64::MAX));
        let settings = Settings {
            hear_before_speak: config.hear_before_speak,
            former: config.former,
            ..Settings::default()
        };
        let (silent, fallen_silent) = mpsc::unbounded_channel();
        let mut workers = Vec::with_capacity(owned.len());
        for (index, ports) in owned.into_iter().enumerate() {
            let (commands, orders) = sync_channel(QUEUE);
            let wake = Arc::new(Wake::new().map_err(StartError::Worker)?);
            let birth = Birth {
                ports,
                binds: places.binds.len(),
                settings,
                wake: wake.clone(),
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
        self.inner.draining.store(true, Ordering::Release);
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

    /// Writes other addresses into SDP from now on; sessions that are there keep theirs. No port is bound anew: a
    /// network goes on where it was, a new one where it says if that is bound, else where the default one is.
    pub fn readvertise(&self, networks: Vec<Network>) {
        self.inner.places.readvertise(networks);
    }
}

#[async_trait::async_trait]
impl RelayPort for Relay {
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        let inner = &self.inner;
        let (name, result) = match order {
            RelayOrder::Offer(order) => ("offer", inner.offer(*order).await.map(RelayReply::Described)),
            RelayOrder::Answer(order) => ("answer", inner.answer(*order).await.map(RelayReply::Described)),
            RelayOrder::Withdraw(session) => ("withdraw", inner.withdraw(session).await),
            RelayOrder::Delete(session) => ("delete", inner.delete(session).await),
            RelayOrder::Query(session) => ("query", inner.query(session).await.map(RelayReply::Statistics)),
            RelayOrder::Renew(sessions) => ("renew", Ok(inner.renew(sessions))),
        };
        inner.metrics.ordered(name, result.as_ref().map_or_else(word, |_| "done"));
        result
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

/// The word of a refusal in metrics.
fn word(refused: &RelayRefused) -> &'static str {
    match refused {
        RelayRefused::NoPort => "no_port",
        RelayRefused::BadDescription(_) => "bad_description",
        RelayRefused::UnknownSession => "unknown_session",
        RelayRefused::Busy => "busy",
        RelayRefused::Unreachable => "unreachable",
    }
}

impl Inner {
    async fn offer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        let session = order.session;
        loop {
            let known = self.known_or_new(session)?;
            let mut negotiation = known.negotiation.lock().await;
            if negotiation.closed {
                continue;
            }
            let described = self.offered(order, &mut negotiation).await;
            if negotiation.worker.is_none() {
                // Nothing came of it, so it never was.
                negotiation.closed = true;
                self.forget(session, &known);
            }
            return described;
        }
    }

    async fn offered(
        &self,
        order: SdpOrder,
        negotiation: &mut Negotiation,
    ) -> Result<Described, RelayRefused> {
        let (change, draft) = match negotiation.offer(order, &self.places)? {
            Planned::Again(described) => return Ok(described),
            Planned::Change(change, draft) => (change, draft),
        };
        let ports = match negotiation.worker {
            Some(worker) => self.change(worker, *change).await?,
            None => {
                let (worker, ports) = self.settle(*change).await?;
                negotiation.worker = Some(worker);
                ports
            }
        };
        negotiation.described(self.pod, *draft, &ports)
    }

    async fn answer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        let known = self.known(order.session)?;
        let mut negotiation = known.negotiation.lock().await;
        let worker =
            negotiation.worker.filter(|_| !negotiation.closed).ok_or(RelayRefused::UnknownSession)?;
        let (change, draft) = match negotiation.answer(order, &self.places)? {
            Planned::Again(described) => return Ok(described),
            Planned::Change(change, draft) => (change, draft),
        };
        let ports = self.change(worker, *change).await?;
        let described = negotiation.described(self.pod, *draft, &ports)?;
        self.metrics.narrowed.inc_by(described.narrowed.into());
        Ok(described)
    }

    async fn withdraw(&self, session: SessionRef) -> Result<RelayReply, RelayRefused> {
        let known = self.known(session)?;
        let mut negotiation = known.negotiation.lock().await;
        let worker =
            negotiation.worker.filter(|_| !negotiation.closed).ok_or(RelayRefused::UnknownSession)?;
        if let Some(change) = negotiation.withdraw(session) {
            self.change(worker, change).await?;
        }
        Ok(RelayReply::Done { missing: Vec::new() })
    }

    async fn delete(&self, session: SessionRef) -> Result<RelayReply, RelayRefused> {
        let Ok(known) = self.known(session) else {
            let ended = self.ended.lock().statistics.get(&session).cloned();
            return Ok(match ended {
                Some(statistics) => RelayReply::Statistics(statistics),
                None => RelayReply::Done { missing: vec![session] },
            });
        };
        match self.end(session, &known, "deleted").await? {
            Some(statistics) => Ok(RelayReply::Statistics(statistics)),
            None => Ok(RelayReply::Done { missing: vec![session] }),
        }
    }

    /// Ends a session by our own will.
    async fn end(
        &self,
        session: SessionRef,
        known: &Arc<Known>,
        reason: &'static str,
    ) -> Result<Option<SessionStatistics>, RelayRefused> {
        let mut negotiation = known.negotiation.lock().await;
        let Some(worker) = negotiation.worker.filter(|_| !negotiation.closed) else { return Ok(None) };
        // `None`: it has just fallen silent, and its last words are on their way.
        let statistics = self.ask(worker, |reply| Command::Close(session, reply)).await?;
        negotiation.closed = true;
        self.forget(session, known);
        if let Some(statistics) = &statistics {
            self.over(session, worker, statistics.clone(), reason);
        }
        Ok(statistics)
    }

    async fn query(&self, session: SessionRef) -> Result<SessionStatistics, RelayRefused> {
        // To look at a session is not to want it.
        let known = self.sessions.lock().get(&session).cloned().ok_or(RelayRefused::UnknownSession)?;
        let worker = known.negotiation.lock().await.worker.ok_or(RelayRefused::UnknownSession)?;
        self.ask(worker, |reply| Command::Query(session, reply)).await?.ok_or(RelayRefused::UnknownSession)
    }

    fn renew(&self, sessions: Vec<SessionRef>) -> RelayReply {
        let missing = sessions.into_iter().filter(|session| self.known(*session).is_err()).collect();
        RelayReply::Done { missing }
    }

    /// A session that is there. Whoever gives an order for it still wants it.
    fn known(&self, session: SessionRef) -> Result<Arc<Known>, RelayRefused> {
        let known = self.sessions.lock().get(&session).cloned().ok_or(RelayRefused::UnknownSession)?;
        *known.renewed.lock() = Instant::now();
        Ok(known)
    }

    fn known_or_new(&self, session: SessionRef) -> Result<Arc<Known>, RelayRefused> {
        let mut sessions = self.sessions.lock();
        if let Some(known) = sessions.get(&session) {
            *known.renewed.lock() = Instant::now();
            return Ok(known.clone());
        }
        if self.draining.load(Ordering::Acquire) || sessions.len() >= self.max_sessions {
            return Err(RelayRefused::Busy);
        }
        let known =
            Arc::new(Known { renewed: Mutex::new(Instant::now()), negotiation: AsyncMutex::default() });
        sessions.insert(session, known.clone());
        self.metrics.sessions.set(sessions.len().try_into().unwrap_or(i64::MAX));
        Ok(known)
    }

    fn forget(&self, session: SessionRef, known: &Arc<Known>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&session).is_some_and(|other| Arc::ptr_eq(other, known)) {
            sessions.remove(&session);
        }
        self.metrics.sessions.set(sessions.len().try_into().unwrap_or(i64::MAX));
    }

    /// A worker has ended a session: its statistics are kept a while.
    fn over(&self, session: SessionRef, worker: usize, statistics: SessionStatistics, reason: &'static str) {
        if let Some(handle) = self.workers.get(worker) {
            handle.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        self.metrics.ended(reason);
        let mut ended = self.ended.lock();
        if ended.statistics.insert(session, statistics).is_none() {
            ended.order.push_back(session);
        }
        while ended.order.len() > ENDED_KEPT {
            if let Some(oldest) = ended.order.pop_front() {
                ended.statistics.remove(&oldest);
            }
        }
    }

    /// Opens a session at the worker with the fewest, or at another when that one has no port for it.
    async fn settle(&self, change: Change) -> Result<(usize, Vec<StreamPorts>), RelayRefused> {
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        order.sort_by_key(|&at| {
            self.workers.get(at).map_or(0, |worker| worker.sessions.load(Ordering::Relaxed))
        });
        let mut refused = RelayRefused::NoPort;
        for worker in order {
            match self.change(worker, change.clone()).await {
                Ok(ports) => {
                    if let Some(handle) = self.workers.get(worker) {
                        handle.sessions.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok((worker, ports));
                }
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn change(&self, worker: usize, change: Change) -> Result<Vec<StreamPorts>, RelayRefused> {
        let changed = self.ask(worker, |reply| Command::Change(Box::new(change), reply)).await?;
        changed.map_err(|not| match not {
            NotChanged::NoPort => RelayRefused::NoPort,
            NotChanged::Unknown => RelayRefused::UnknownSession,
        })
    }

    async fn ask<T>(
        &self,
        worker: usize,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, RelayRefused> {
        let handle = self.workers.get(worker).ok_or(RelayRefused::Unreachable)?;
        let (reply, replied) = oneshot::channel();
        let commands = handle.commands.as_ref().ok_or(RelayRefused::Unreachable)?;
        commands.try_send(command(reply)).map_err(|failed| match failed {
            TrySendError::Full(_) => RelayRefused::Busy,
            TrySendError::Disconnected(_) => RelayRefused::Unreachable,
        })?;
        handle.wake.wake();
        replied.await.map_err(|_| RelayRefused::Unreachable)
    }

    fn tell(&self, event: &RelayEvent) {
        self.watchers.lock().retain(|watcher| match watcher.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            // Its stream ends here, so that it knows that it missed something.
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.metrics.watchers_lost.inc();
                false
            }
        });
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
