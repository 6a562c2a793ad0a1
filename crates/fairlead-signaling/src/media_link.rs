//! Orders to relays: the first of a session goes to the relay that [`choice`] names, and to the next at once while one
//! refuses or does not answer, and for a while when none takes it; the others follow the session. Orders of one session are carried out one after the other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_core::output::OrderRef;
use fairlead_model::id::PodRef;
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef};
use fairlead_proto::client::{RelayClient, connection};
use fairlead_proto::link::RelayPort;
use fairlead_proto::tls::PodTls;
use fairlead_proto::trace::TraceHooks;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::metrics::{ByResult, Metrics};
use crate::news::{News, ShardDoor};

mod choice;

/// How many relays are asked for a place before the caller hears that there is none.
const TRIES: usize = 4;

/// How long an order may take in all.
const ORDER_LIMIT: Duration = Duration::from_secs(3);

/// How long one of several relays may take for an offer before the next one gets it.
const TRY_LIMIT: Duration = Duration::from_millis(750);

/// How long the first order of a session may go on looking for a relay that takes it, and an answer for ports at the one that
/// did: in a rolling update one drains while the other is not known yet or has all ports in use for both, and the caller waits.
const PATIENCE: Duration = Duration::from_secs(8);
/// A call waits for the relay longer than it may take.
const _: () = assert!(
    PATIENCE.as_millis() + ORDER_LIMIT.as_millis() < fairlead_call::call::OFFERING.as_millis(),
    "calls give up before their relay does"
);

/// What is worth a line in the log.
const NOTABLE: Duration = Duration::from_secs(1);

/// How often it looks.
const AGAIN: Duration = Duration::from_millis(250);

/// How long a relay that could not be reached is asked last.
const SHUNNED: Duration = Duration::from_secs(5);

/// How long a new session is remembered as load that the relay's own word does not show yet.
const UNSEEN: Duration = Duration::from_secs(3);

/// Where relays are. `standalone` has one in its own process.
pub trait Relays: Send + Sync + 'static {
    /// The relay that this member is.
    fn relay(&self, member: &Member) -> Arc<dyn RelayPort>;
}

/// Relays behind gRPC.
#[derive(Clone, Debug, Default)]
pub struct RemoteRelays {
    /// How traces cross.
    pub trace: TraceHooks,
    /// How relays prove that they are relays.
    pub tls: PodTls,
}

impl Relays for RemoteRelays {
    fn relay(&self, member: &Member) -> Arc<dyn RelayPort> {
        Arc::new(RelayClient::new(connection(member.grpc, &self.tls, Role::Media), self.trace))
    }
}

/// The one relay of this process.
pub struct OwnRelay(pub Arc<dyn RelayPort>);

impl Relays for OwnRelay {
    fn relay(&self, _: &Member) -> Arc<dyn RelayPort> {
        self.0.clone()
    }
}

/// An order of a shard.
#[derive(Debug)]
pub(crate) struct OrderJob {
    pub(crate) shard: u8,
    pub(crate) order: OrderRef,
    pub(crate) relay: Option<PodRef>,
    pub(crate) what: RelayOrder,
    pub(crate) span: Span,
}

/// The word of an order, for traces.
pub(crate) fn word(order: &RelayOrder) -> &'static str {
    match order {
        RelayOrder::Offer(_) => "offer",
        RelayOrder::Answer(_) => "answer",
        RelayOrder::Withdraw(_) => "withdraw",
        RelayOrder::Delete(_) => "delete",
        RelayOrder::Query(_) => "query",
        RelayOrder::Renew(_) => "renew",
    }
}

fn session_of(order: &RelayOrder) -> Option<SessionRef> {
    match order {
        RelayOrder::Offer(order) | RelayOrder::Answer(order) => Some(order.session),
        RelayOrder::Withdraw(session) | RelayOrder::Delete(session) | RelayOrder::Query(session) => {
            Some(*session)
        }
        RelayOrder::Renew(_) => None,
    }
}

/// What the link is made of.
pub(crate) struct MediaLink {
    pub(crate) relays: Arc<dyn Relays>,
    pub(crate) orders: mpsc::Receiver<OrderJob>,
    pub(crate) doors: Vec<ShardDoor>,
    pub(crate) briefings: watch::Receiver<Option<Arc<Briefing>>>,
    pub(crate) stopping: CancellationToken,
    pub(crate) metrics: Metrics,
    /// The most orders on their way.
    pub(crate) most: usize,
}

struct Relay {
    member: Member,
    port: Arc<dyn RelayPort>,
    /// When sessions were put there since the relay last told its load.
    fresh: VecDeque<Instant>,
    /// When it could not be reached.
    failed: Option<Instant>,
    watching: CancellationToken,
}

struct Done {
    /// The order and the relay that it is for, when nobody could take it yet.
    again: Option<(Option<PodRef>, RelayOrder)>,
    began: Instant,
    shard: u8,
    order: OrderRef,
    session: Option<SessionRef>,
    over: bool,
    reply: Result<RelayReply, RelayRefused>,
    /// Relays that could not be reached.
    failed: Vec<PodRef>,
    span: Span,
}

struct State {
    relays: HashMap<PodRef, Relay>,
    /// Shards whose calls have sessions, to bring events home.
    homes: HashMap<SessionRef, u8>,
    /// Sessions with an order on its way, and the orders behind it.
    busy: HashMap<SessionRef, VecDeque<OrderJob>>,
    waiting: usize,
    tasks: JoinSet<Done>,
    tell: mpsc::Sender<RelayEvent>,
}

impl MediaLink {
    /// Until the role stops.
    pub(crate) async fn run(mut self) {
        let (tell, mut events) = mpsc::channel(1024);
        let mut state = State {
            relays: HashMap::new(),
            homes: HashMap::new(),
            busy: HashMap::new(),
            waiting: 0,
            tasks: JoinSet::new(),
            tell,
        };
        self.learn(&mut state);
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => break,
                changed = self.briefings.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.learn(&mut state);
                }
                job = self.orders.recv() => {
                    let Some(job) = job else { break };
                    self.take(&mut state, job).await;
                }
                Some(done) = state.tasks.join_next() => {
                    // A task that panicked takes its order's reply with it; the call's own deadline ends it.
                    if let Ok(done) = done {
                        self.done(&mut state, done).await;
                    }
                }
                Some(event) = events.recv() => self.event(&mut state, event).await,
            }
        }
        for relay in state.relays.values() {
            relay.watching.cancel();
        }
        // Calls that ended last still have their sessions deleted.
        let last = async { while state.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
    }

    /// Relays that are there now.
    fn learn(&self, state: &mut State) {
        let Some(briefing) = self.briefings.borrow().clone() else { return };
        let there = || briefing.members.iter().filter(|member| member.role == Role::Media);
        let pods: HashSet<PodRef> = there().map(|member| member.pod).collect();
        state.relays.retain(|pod, relay| {
            let stays = pods.contains(pod);
            if !stays {
                relay.watching.cancel();
            }
            stays
        });
        for member in there() {
            let relay = state.relays.entry(member.pod).or_insert_with(|| {
                let port = self.relays.relay(member);
                let watching = CancellationToken::new();
                tokio::spawn(watch_relay(port.clone(), watching.clone(), state.tell.clone()));
                Relay { member: member.clone(), port, fresh: VecDeque::new(), failed: None, watching }
            });
            if relay.member.load != member.load {
                relay.fresh.clear();
            }
            relay.member = member.clone();
        }
    }

    async fn take(&self, state: &mut State, job: OrderJob) {
        if state.tasks.len() + state.waiting >= self.most && !matches!(job.what, RelayOrder::Delete(_)) {
            return self.reply(job, Err(RelayRefused::Busy)).await;
        }
        if let Some(session) = session_of(&job.what) {
            if let Some(behind) = state.busy.get_mut(&session) {
                behind.push_back(job);
                state.waiting += 1;
                return;
            }
            state.busy.insert(session, VecDeque::new());
        }
        self.start(state, job, Instant::now());
    }

    fn start(&self, state: &mut State, job: OrderJob, began: Instant) {
        let OrderJob { shard, order, relay, what, span } = job;
        let session = session_of(&what);
        let over = matches!(what, RelayOrder::Delete(_));
        if let (Some(session), RelayOrder::Offer(_)) = (session, &what) {
            state.homes.insert(session, shard);
        }
        let candidates = match relay {
            Some(pod) => state.relays.get(&pod).map(|relay| (pod, relay.port.clone())).into_iter().collect(),
            None if matches!(what, RelayOrder::Offer(_)) => choose(state),
            // Nothing was ever opened anywhere.
            None => Vec::new(),
        };
        let opens = relay.is_none() && matches!(what, RelayOrder::Offer(_));
        // An answer opens ports as well, at the relay that has the session.
        let again = (opens || matches!(what, RelayOrder::Answer(_))).then(|| (relay, what.clone()));
        let inner = span.clone();
        let task = async move {
            let carried_out = tokio::time::timeout(ORDER_LIMIT, carry_out(candidates, what));
            let (reply, failed) =
                carried_out.instrument(inner).await.unwrap_or((Err(RelayRefused::Unreachable), Vec::new()));
            let nobody = match reply {
                Err(RelayRefused::Busy | RelayRefused::NoPort) => true,
                Err(RelayRefused::Unreachable) => opens,
                _ => false,
            };
            let again = again.filter(|_| nobody && began.elapsed() + AGAIN < PATIENCE);
            if again.is_some() {
                tokio::time::sleep(AGAIN).await;
            }
            Done { again, began, shard, order, session, over, reply, failed, span }
        };
        state.tasks.spawn(task);
    }

    async fn done(&self, state: &mut State, done: Done) {
        let Done { again, began, shard, order, session, over, reply, failed, span } = done;
        for pod in failed {
            if let Some(relay) = state.relays.get_mut(&pod) {
                relay.failed = Some(Instant::now());
            }
        }
        // Who has an order behind it (the call is over) does not wait any more.
        let waits = || session.is_none_or(|s| state.busy.get(&s).is_none_or(VecDeque::is_empty));
        if let Some((relay, what)) = again
            && waits()
        {
            return self.start(state, OrderJob { shard, order, relay, what, span }, began);
        }
        let took = began.elapsed();
        self.metrics.relay_seconds.observe(took.as_secs_f64());
        let result = result_label(&reply);
        if took > NOTABLE {
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(result, milliseconds, "a call waited for ports of a relay");
        }
        self.metrics.relay_orders.get_or_create(&ByResult { result }).inc();
        if let Ok(RelayReply::Described(described)) = &reply
            && let Some(relay) = state.relays.get_mut(&described.relay)
        {
            relay.fresh.push_back(Instant::now());
            relay.failed = None;
        }
        if let Some(session) = session {
            let next = state.busy.get_mut(&session).and_then(VecDeque::pop_front);
            match next {
                Some(next) => {
                    state.waiting -= 1;
                    self.start(state, next, Instant::now());
                }
                None => {
                    state.busy.remove(&session);
                    if over {
                        state.homes.remove(&session);
                    }
                }
            }
        }
        if let Some(door) = self.doors.get(usize::from(shard)) {
            door.tell(News::Relayed { order, reply, span }).await;
        }
    }

    async fn reply(&self, job: OrderJob, reply: Result<RelayReply, RelayRefused>) {
        let result = result_label(&reply);
        self.metrics.relay_orders.get_or_create(&ByResult { result }).inc();
        if let Some(door) = self.doors.get(usize::from(job.shard)) {
            door.tell(News::Relayed { order: job.order, reply, span: job.span }).await;
        }
    }

    async fn event(&self, state: &mut State, event: RelayEvent) {
        let session = match &event {
            RelayEvent::TimedOut { session, .. } | RelayEvent::Abandoned { session } => *session,
        };
        match state.homes.remove(&session) {
            Some(shard) => {
                if let Some(door) = self.doors.get(usize::from(shard)) {
                    door.tell(News::RelayEvent(event)).await;
                }
            }
            // Not opened by this process: a call that was adopted, or another pod's, whom it is told as well.
            None => {
                for door in &self.doors {
                    door.tell(News::RelayEvent(event.clone())).await;
                }
            }
        }
    }
}

/// Relays to try; what this pod put there since they told their load counts too.
fn choose(state: &mut State) -> Vec<(PodRef, Arc<dyn RelayPort>)> {
    let now = Instant::now();
    let taking = state.relays.iter_mut().filter(|(_, relay)| !relay.member.draining);
    let candidates = taking.map(|(pod, relay)| {
        while relay.fresh.front().is_some_and(|at| now.duration_since(*at) > UNSEEN) {
            relay.fresh.pop_front();
        }
        choice::Candidate {
            name: relay.member.name.clone(),
            load: u64::from(relay.member.load) + relay.fresh.len() as u64,
            failed: relay.failed.is_some_and(|at| now.duration_since(at) < SHUNNED),
            relay: (*pod, relay.port.clone()),
        }
    });
    let mut relays = choice::order(candidates.collect());
    relays.truncate(TRIES);
    relays
}

/// Asks one relay after the other while they cannot take it. Also says which could not be reached.
async fn carry_out(
    candidates: Vec<(PodRef, Arc<dyn RelayPort>)>,
    order: RelayOrder,
) -> (Result<RelayReply, RelayRefused>, Vec<PodRef>) {
    let mut refused = RelayRefused::Unreachable;
    let mut failed = Vec::new();
    let mut left = candidates.len();
    for (pod, relay) in candidates {
        left -= 1;
        // The last one has all the time that is left.
        let limit = if left > 0 { TRY_LIMIT } else { ORDER_LIMIT };
        let reply = match tokio::time::timeout(limit, relay.order(order.clone())).await {
            Ok(reply) => reply,
            Err(_) => {
                withdraw(relay, &order);
                Err(RelayRefused::Unreachable)
            }
        };
        match reply {
            Err(RelayRefused::Unreachable) => failed.push(pod),
            // "No port" says more than "cannot be reached".
            Err(next @ (RelayRefused::NoPort | RelayRefused::Busy)) => refused = next,
            done => return (done, failed),
        }
    }
    (Err(refused), failed)
}

/// A relay that was too slow may have opened the session all the same: it is told that nobody wants it.
fn withdraw(relay: Arc<dyn RelayPort>, order: &RelayOrder) {
    if let RelayOrder::Offer(offer) = order {
        let delete = RelayOrder::Delete(offer.session);
        tokio::spawn(async move {
            // Not heard: nobody renews the session, and it ends by itself.
            let _ = tokio::time::timeout(ORDER_LIMIT, relay.order(delete)).await;
        });
    }
}

fn result_label(reply: &Result<RelayReply, RelayRefused>) -> &'static str {
    match reply {
        Ok(_) => "ok",
        Err(RelayRefused::NoPort) => "no_port",
        Err(RelayRefused::BadDescription(_)) => "bad_description",
        Err(RelayRefused::UnknownSession) => "unknown_session",
        Err(RelayRefused::Busy) => "busy",
        Err(RelayRefused::Unreachable) => "unreachable",
    }
}

/// Listens to one relay for as long as it is a member.
async fn watch_relay(relay: Arc<dyn RelayPort>, until: CancellationToken, tell: mpsc::Sender<RelayEvent>) {
    let mut pause = Duration::from_millis(100);
    loop {
        let watching = async {
            if let Ok(mut events) = relay.watch().await {
                while let Some(event) = events.recv().await {
                    if tell.send(event).await.is_err() {
                        return;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = until.cancelled() => return,
            () = watching => {}
        }
        if tell.is_closed() {
            return;
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests;
