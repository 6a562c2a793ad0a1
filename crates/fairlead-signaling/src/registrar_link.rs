//! The pod's stream to a registrar: questions of all shards in batches, answers back to whoever asked.
//!
//! What is on its way when a stream ends is asked again of the next registrar, with the same key and the time that is
//! left. A registrar that takes questions and answers nothing is left for another just so. One that cannot reach its store
//! is asked again while a new call can wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairlead_core::input::Command;
use fairlead_model::ask::{Answer, Ask, AskFailed, AskRef, Envelope, IdempotencyKey, QualifyTarget};
use fairlead_model::member::{Briefing, Member};
use fairlead_proto::link::{Down, RegistrarPort, Up};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::metrics::{ByResult, Metrics};
use crate::news::{News, ShardDoor};

/// How often the lease is renewed.
const BEAT: Duration = Duration::from_secs(1);

/// A stream that answers nothing for this long while a question waits is left: early enough that what a phone waits for is
/// asked of another registrar within the same question's time.
const SILENT: Duration = Duration::from_millis(1500);

/// How often that is looked at.
const LISTEN: Duration = Duration::from_millis(250);

/// The pause before attaching again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// After a stream that lasted this long the next one is opened at once.
const LASTED: Duration = Duration::from_secs(1);

/// A registrar that cannot ask its store is asked again after this long, for who waits with a new call: in a rolling update
/// another one is there within the time of the question.
const AGAIN: Duration = Duration::from_millis(250);

/// Questions in one batch.
const BATCH: usize = 512;

/// How long changes to what has to be qualified gather before the list is asked for again.
const REQUALIFY: Duration = Duration::from_secs(1);

/// The asker of the link's own questions.
const LINK: u8 = u8::MAX;

/// A question of a shard.
#[derive(Debug)]
pub(crate) struct AskJob {
    pub(crate) shard: u8,
    pub(crate) envelope: Envelope,
    pub(crate) span: Span,
}

/// What the link is made of.
pub(crate) struct RegistrarLink {
    pub(crate) registrar: Arc<dyn RegistrarPort>,
    pub(crate) who: Member,
    pub(crate) asks: mpsc::Receiver<AskJob>,
    pub(crate) doors: Vec<ShardDoor>,
    pub(crate) briefings: watch::Sender<Option<Arc<Briefing>>>,
    pub(crate) live: Arc<AtomicUsize>,
    pub(crate) draining: CancellationToken,
    pub(crate) stopping: CancellationToken,
    pub(crate) metrics: Metrics,
    pub(crate) traceparent: fn(&Span) -> Option<String>,
    /// The most questions on their way.
    pub(crate) most: usize,
}

struct Waiting {
    shard: u8,
    id: AskRef,
    key: IdempotencyKey,
    ask: Ask,
    asked: Instant,
    until: Instant,
    span: Span,
}

struct State {
    waiting: HashMap<u64, Waiting>,
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    next: u64,
    /// Questions that are asked again, and when.
    again: VecDeque<(Instant, u64)>,
    /// When to ask for the list of contacts to qualify.
    requalify: Option<Instant>,
    version: u64,
}

/// Why a stream was left.
enum Left {
    /// It ended, or answered nothing.
    Lost,
    /// The role stops.
    Stopping,
}

impl RegistrarLink {
    /// Until the role stops.
    pub(crate) async fn run(mut self) {
        let mut state = State {
            waiting: HashMap::new(),
            deadlines: BinaryHeap::new(),
            next: 0,
            again: VecDeque::new(),
            requalify: None,
            version: 0,
        };
        let mut pause = PAUSE.0;
        loop {
            match self.attach(&mut state).await {
                Some((up, down)) => {
                    self.metrics.registrar_streams.inc();
                    pause = PAUSE.0;
                    state.version = 0;
                    let begun = Instant::now();
                    if matches!(self.one_stream(&mut state, up, down).await, Left::Stopping) {
                        return;
                    }
                    // A registrar that ends in good order sends us to another one: what was asked is asked there at once.
                    if begun.elapsed() > LASTED {
                        continue;
                    }
                }
                None if self.stopping.is_cancelled() => return,
                None => {}
            }
            if !self.pause(&mut state, pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Opens a stream while questions gather and deadlines pass.
    async fn attach(&mut self, state: &mut State) -> Option<(mpsc::Sender<Up>, mpsc::Receiver<Down>)> {
        let (up, from_us) = mpsc::channel(64);
        let registrar = self.registrar.clone();
        let attaching = registrar.attach(self.who.clone(), from_us);
        tokio::pin!(attaching);
        loop {
            tokio::select! {
                attached = &mut attaching => return match attached {
                    Ok(down) => Some((up, down)),
                    Err(error) => {
                        tracing::warn!(%error, "no registrar takes us");
                        None
                    }
                },
                goes_on = self.gather(state) => if !goes_on { return None },
            }
        }
    }

    /// Waits before the next try while questions gather and deadlines pass. `false`: the role stops.
    async fn pause(&mut self, state: &mut State, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                goes_on = self.gather(state) => if !goes_on { return false },
            }
        }
    }

    /// Takes one batch of questions, or lets one deadline pass. `false`: the role stops.
    async fn gather(&mut self, state: &mut State) -> bool {
        let mut jobs = Vec::new();
        tokio::select! {
            () = self.stopping.cancelled() => return false,
            taken = self.asks.recv_many(&mut jobs, BATCH) => {
                if taken == 0 {
                    return false;
                }
                self.enter(state, jobs).await;
            }
            () = passed(&state.deadlines) => self.expire(state).await,
        }
        true
    }

    async fn one_stream(
        &mut self,
        state: &mut State,
        up: mpsc::Sender<Up>,
        mut down: mpsc::Receiver<Down>,
    ) -> Left {
        // What waits since the stream before is asked again; and whom to qualify may have changed meanwhile.
        state.again.clear();
        let mut again: Vec<u64> = state.waiting.keys().copied().collect();
        again.sort_unstable();
        if !self.put(state, &up, again).await {
            return Left::Lost;
        }
        state.requalify = Some(Instant::now());
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut listening = tokio::time::interval(LISTEN);
        listening.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let draining = self.draining.clone();
        let mut said = draining.is_cancelled();
        let mut heard = Instant::now();
        let mut jobs = Vec::new();
        loop {
            let requalify = state.requalify;
            let again = state.again.front().map(|(at, _)| *at);
            tokio::select! {
                () = self.stopping.cancelled() => return Left::Stopping,
                next = down.recv() => {
                    let Some(next) = next else { return Left::Lost };
                    heard = Instant::now();
                    self.take(state, next).await;
                }
                taken = self.asks.recv_many(&mut jobs, BATCH) => {
                    if taken == 0 {
                        return Left::Stopping;
                    }
                    let entered = self.enter(state, std::mem::take(&mut jobs)).await;
                    if !self.put(state, &up, entered).await {
                        return Left::Lost;
                    }
                }
                () = passed(&state.deadlines) => self.expire(state).await,
                // A pod without calls is gone before its next beat: flows leave who ends without delay.
                () = draining.cancelled(), if !said => {
                    said = true;
                    beats.reset_immediately();
                }
                _ = beats.tick() => {
                    let load = u32::try_from(self.live.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
                    let beat = Up::Beat { load, draining: self.draining.is_cancelled() };
                    if matches!(up.try_send(beat), Err(mpsc::error::TrySendError::Closed(_))) {
                        return Left::Lost;
                    }
                    self.metrics.asks_in_flight.set(state.waiting.len() as i64);
                }
                _ = listening.tick(), if !state.waiting.is_empty() => {
                    let silent = Instant::now().duration_since(heard) > SILENT
                        && state.waiting.values().any(|waiting| waiting.asked.elapsed() > SILENT);
                    if silent {
                        tracing::warn!("the registrar answers nothing: trying another");
                        return Left::Lost;
                    }
                }
                () = at(again) => {
                    let now = Instant::now();
                    let due = state.again.iter().take_while(|(at, _)| *at <= now).count();
                    let due = state.again.drain(..due).map(|(_, id)| id).collect();
                    if !self.put(state, &up, due).await {
                        return Left::Lost;
                    }
                }
                () = at(requalify) => {
                    state.requalify = None;
                    let entered = self.enter(state, vec![qualify_list()]).await;
                    if !self.put(state, &up, entered).await {
                        return Left::Lost;
                    }
                }
            }
        }
    }

    /// Takes questions in; those that are too many are answered at once. The ids of the others.
    async fn enter(&self, state: &mut State, jobs: Vec<AskJob>) -> Vec<u64> {
        let now = Instant::now();
        let mut entered = Vec::with_capacity(jobs.len());
        let mut refused = Vec::new();
        for AskJob { shard, envelope, span } in jobs {
            let Envelope { id, key, deadline, ask } = envelope;
            if state.waiting.len() >= self.most {
                refused.push((shard, id, Err(AskFailed::Overloaded), span));
                continue;
            }
            state.next += 1;
            let until = now + deadline;
            state.deadlines.push(Reverse((until, state.next)));
            state.waiting.insert(state.next, Waiting { shard, id, key, ask, asked: now, until, span });
            entered.push(state.next);
        }
        self.deliver(state, refused).await;
        entered
    }

    /// Puts questions on the stream. `false`: it is gone.
    async fn put(&self, state: &State, up: &mpsc::Sender<Up>, ids: Vec<u64>) -> bool {
        let now = Instant::now();
        for ids in ids.chunks(BATCH) {
            let mut asks = Vec::with_capacity(ids.len());
            let mut traces = Vec::new();
            for id in ids {
                let Some(waiting) = state.waiting.get(id) else { continue };
                let link_id = AskRef(*id);
                if let Some(traceparent) =
                    (!waiting.span.is_none()).then(|| (self.traceparent)(&waiting.span)).flatten()
                {
                    traces.push((link_id, traceparent));
                }
                asks.push(Envelope {
                    id: link_id,
                    key: waiting.key,
                    deadline: waiting.until.saturating_duration_since(now),
                    ask: waiting.ask.clone(),
                });
            }
            if !traces.is_empty() && !send(up, Up::Traces(traces)).await {
                return false;
            }
            if !asks.is_empty() && !send(up, Up::Asks(asks)).await {
                return false;
            }
        }
        true
    }

    async fn take(&self, state: &mut State, down: Down) {
        match down {
            Down::Answers(answers) => {
                let now = Instant::now();
                let answers = answers.into_iter().filter_map(|(link_id, answer)| {
                    let waiting = state.waiting.remove(&link_id.0)?;
                    // A new call waits: its caller has a 100.
                    let patient = matches!(waiting.ask, Ask::Admit(_) | Ask::Occupy { .. });
                    if patient && answer == Err(AskFailed::Unreachable) && now + AGAIN < waiting.until {
                        state.again.push_back((now + AGAIN, link_id.0));
                        state.waiting.insert(link_id.0, waiting);
                        return None;
                    }
                    self.metrics.ask_seconds.observe(waiting.asked.elapsed().as_secs_f64());
                    Some((waiting.shard, waiting.id, answer, waiting.span))
                });
                let answers = answers.collect();
                self.deliver(state, answers).await;
            }
            Down::Briefed(briefing) => {
                // Of one registrar a briefing never grows older; another may count from elsewhere.
                if briefing.version < state.version {
                    return;
                }
                state.version = briefing.version;
                self.briefings.send_replace(Some(briefing.clone()));
                for door in &self.doors {
                    door.tell(News::Briefed(briefing.clone())).await;
                }
            }
            Down::Requalify => plan_requalify(state),
        }
    }

    async fn expire(&self, state: &mut State) {
        let now = Instant::now();
        let mut late = Vec::new();
        while let Some(Reverse((until, id))) = state.deadlines.peek().copied() {
            if until > now {
                break;
            }
            state.deadlines.pop();
            if let Some(waiting) = state.waiting.remove(&id) {
                late.push((waiting.shard, waiting.id, Err(AskFailed::Deadline), waiting.span));
            }
        }
        self.deliver(state, late).await;
    }

    /// Gives answers to the shards that asked, each shard's at once.
    async fn deliver(&self, state: &mut State, answers: Vec<(u8, AskRef, Result<Answer, AskFailed>, Span)>) {
        let mut by_shard: Vec<Vec<_>> = self.doors.iter().map(|_| Vec::new()).collect();
        let shards = by_shard.len().max(1);
        for (shard, id, answer, span) in answers {
            let result = match &answer {
                Ok(Answer::Refused(_)) => "refused",
                Ok(Answer::Challenge { .. }) => "challenge",
                Ok(Answer::Registered(registered)) => {
                    if registered.qualify {
                        plan_requalify(state);
                    }
                    "ok"
                }
                Ok(_) => "ok",
                Err(AskFailed::Deadline) => "deadline",
                Err(AskFailed::Overloaded) => "overloaded",
                Err(AskFailed::Unreachable) => "unreachable",
                Err(AskFailed::Unknown) => "unknown",
            };
            self.metrics.asks.get_or_create(&ByResult { result }).inc();
            match (shard, answer) {
                (LINK, Ok(Answer::QualifyList(targets))) => {
                    for (shard, door) in self.doors.iter().enumerate() {
                        let share = share(&targets, shard, shards);
                        door.tell(News::Command(Command::QualifyList(share))).await;
                    }
                }
                (LINK, Ok(_)) => {}
                // The next try comes with the next stream, or the next change.
                (LINK, Err(AskFailed::Unknown)) => {}
                (LINK, Err(_)) => plan_requalify(state),
                (shard, Ok(Answer::QualifyList(targets))) => {
                    let share = share(&targets, usize::from(shard), shards);
                    push(&mut by_shard, shard, (id, Ok(Answer::QualifyList(share)), span));
                }
                (shard, answer) => push(&mut by_shard, shard, (id, answer, span)),
            }
        }
        for (door, answers) in self.doors.iter().zip(by_shard) {
            if !answers.is_empty() {
                door.tell(News::Answers(answers)).await;
            }
        }
    }
}

fn push<T>(by_shard: &mut [Vec<T>], shard: u8, item: T) {
    if let Some(list) = by_shard.get_mut(usize::from(shard)) {
        list.push(item);
    }
}

/// The contacts that one shard qualifies: each is some shard's, the same as long as there are so many.
fn share(targets: &[QualifyTarget], shard: usize, shards: usize) -> Vec<QualifyTarget> {
    targets.iter().filter(|target| share_of(target, shards) == shard).cloned().collect()
}

/// The shard that qualifies a contact.
pub(crate) fn share_of(target: &QualifyTarget, shards: usize) -> usize {
    // FNV-1a: any spread that stays the same will do.
    let text = target.peer.bytes().chain(target.key.iter().flat_map(|key| key.0.bytes()));
    let hash = text.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 16) as usize % shards.max(1)
}

fn plan_requalify(state: &mut State) {
    state.requalify.get_or_insert_with(|| Instant::now() + REQUALIFY);
}

fn qualify_list() -> AskJob {
    let envelope = Envelope {
        id: AskRef(0),
        // It reads only: acting twice is acting once.
        key: IdempotencyKey(rand::random()),
        deadline: Duration::from_secs(5),
        ask: Ask::QualifyList,
    };
    AskJob { shard: LINK, envelope, span: Span::none() }
}

/// A stream that takes nothing for as long as its pings may stay unanswered is gone.
async fn send(up: &mpsc::Sender<Up>, what: Up) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(3), up.send(what)).await, Ok(Ok(())))
}

async fn passed(deadlines: &BinaryHeap<Reverse<(Instant, u64)>>) {
    match deadlines.peek() {
        Some(Reverse((until, _))) => tokio::time::sleep_until(*until).await,
        None => std::future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
