//! One shard: transactions, calls, REGISTER, qualify, composed.
//!
//! By the way of a message through the files below:
//!
//! * [`receive`]: what came in, and whose it is
//! * [`checks`]: what RFC 3261 §8.2 and §16.3 refuse, in their order
//! * [`challenge`]: the stateless 401
//! * [`respond`]: answers outside of calls
//! * [`register`], [`admit`]: questions to the registrar about new requests
//! * [`cancel`]: CANCEL with and without its INVITE
//! * [`drive`]: what calls want done
//! * [`dialog_requests`]: requests of calls on their way to the next hop
//! * [`ways`]: networks, next hops, what is our own address
//! * [`tell`]: what the registrar has to hear in the end
//! * [`flows`]: a phone's packet moves its flow
//! * [`keep_open`]: flows behind a Service
//! * [`lost`]: what could not leave because its flow is gone; [`hold`]: where it waits for another; [`heard`]: what ends that;
//!   [`unbound`]: the same of a trunk
//! * [`ending`]: how a shard ends; [`pass_on`]: new calls while it drains; [`crossed`]: what another pod has, should that end; [`carried`]: what has to get there;
//!   [`missed`]: since when pods are not there
//! * [`qualify`], [`checkpoint`], [`operator`]

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_call::call::{Call, Failure};
use fairlead_call::output::{EndedBy, LegRef, OrderTag, ServerRef, Ticket};
use fairlead_model::ask::{Ask, AskRef, Envelope, IdempotencyKey};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef};
use fairlead_model::member::Briefing;
use fairlead_model::peer::General;
use fairlead_model::relay::{RelayEvent, RelayReply};
use fairlead_model::surroundings::SipAddress;
use sip_auth::{Algorithm, Challenger, NonceKey, NonceKeys};
use sip_transaction::{self as transaction, TransactionId, Transactions};
use sip_wire::{Header, Message, Method};

use crate::input::{Command, Identity, Input, Now};
use crate::mint::{CallNames, Kind, MAX_NUMBER, Minted};
use crate::output::{Event, OrderRef, Output, ResolveRef, SendRef, SendTo};
use crate::random::Random;
use crate::route_message::{Belongs, Router};
use crate::timers::{Scheduled, Timers};

mod admit;
mod cancel;
mod carried;
mod challenge;
mod checkpoint;
mod checks;
mod crossed;
mod dialog_requests;
mod drive;
mod ending;
mod flows;
mod heard;
mod hold;
mod keep_open;
mod lost;
mod missed;
mod operator;
mod pass_on;
mod qualify;
mod receive;
mod register;
mod respond;
mod stray;
mod tell;
mod unbound;
mod ways;

pub use ending::Open;
pub use operator::Statistics;

/// How much one shard holds. What is over is refused, new requests first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions, both kinds.
    pub transactions: usize,
    /// Calls, ringing or up.
    pub calls: usize,
    /// Questions to the registrar that wait for an answer; a tenth more is kept for calls that are up.
    pub asks: usize,
    /// Octets of requests that wait for their answer: one request may have 64 KiB.
    pub octets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { transactions: 200_000, calls: 50_000, asks: 20_000, octets: 256 << 20 }
    }
}

/// How long the registrar may take for what a phone waits for.
const ASK_DEADLINE: Duration = Duration::from_secs(4);
/// How long it may take for what nobody waits for.
const TELL_DEADLINE: Duration = Duration::from_secs(10);
/// Relay sessions are renewed this often (a relay ends what nobody renewed for 120 s).
const RENEW_EVERY: Duration = Duration::from_secs(40);

/// One signaling shard.
pub struct Core {
    identity: Identity,
    limits: Limits,
    random: Random,
    router: Router,
    challenger: Option<Challenger>,
    general: General,
    trusted: Vec<ipnet::IpNet>,
    briefed: bool,
    /// Where the world reaches the edge, as last told.
    told: Vec<SipAddress>,
    draining: bool,
    /// New calls are left to others.
    fading: bool,
    /// Calls that are left are being ended.
    ending: bool,
    /// New requests are not heard any more.
    closing: bool,
    transactions: Transactions<User>,
    servers: HashMap<u64, Server>,
    /// Octets of the requests in `servers`.
    held: usize,
    merged: HashMap<u64, u64>,
    calls: HashMap<CallRef, Entry>,
    /// Dialogs of calls that began elsewhere, by Call-ID.
    adopted: HashMap<String, CallRef>,
    asks: HashMap<AskRef, Asked>,
    /// Questions whether a flow has moved, which nobody waits for: they take nobody's room.
    moving: HashMap<AskRef, Flow>,
    kept: keep_open::Kept,
    orders: HashMap<OrderRef, Ordered>,
    resolves: HashMap<ResolveRef, Resolving>,
    /// What is to be told of the sending of whose message, and by which way it went.
    sends: HashMap<SendRef, (TransactionId, SendTo)>,
    qualify: qualify::Qualifier,
    sources: flows::Sources,
    gone: flows::Gone,
    strays: stray::Strays,
    passed_on: pass_on::PassedOn,
    crossed: crossed::Crossed,
    carried: carried::Carried,
    missed: missed::Missed,
    holding: HashMap<u64, hold::Holding>,
    untold: HashMap<u64, tell::Told>,
    timers: Timers<Timer>,
    renewal: Scheduled,
    number: u64,
    counts: operator::Counts,
    outputs: VecDeque<Output>,
}

/// What a transaction needs to be sent and recognised.
#[derive(Clone, Debug)]
enum User {
    Server {
        id: u64,
        to: SendTo,
        method: &'static str,
    },
    /// `left`: it is known to have left.
    Client {
        to: SendTo,
        of: Of,
        method: &'static str,
        left: bool,
    },
}

impl User {
    fn to(&self) -> &SendTo {
        let (User::Server { to, .. } | User::Client { to, .. }) = self;
        to
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Call(CallRef, Ticket),
    /// An INVITE that went to an address of a name which was left for the next one.
    Former(CallRef),
    Qualify(u64),
    /// The BYE to who answered when everybody had forgotten.
    Stray,
}

/// A request that came in and is in a transaction.
#[derive(Debug)]
struct Server {
    transaction: TransactionId,
    request: Message,
    flow: Flow,
    forced: bool,
    call: Option<CallRef>,
    /// On which leg of it.
    leg: LegRef,
    /// What cancelled it before the registrar answered.
    cancelled: Option<Message>,
    /// Key of the table of requests that could come again by another path (RFC 3261 §8.2.2.2).
    merged: Option<u64>,
}

/// A call with what the core keeps for it.
struct Entry {
    call: Call,
    ways: Vec<(Option<AttemptRef>, Way)>,
    open: Vec<(Ticket, TransactionId)>,
    /// What waits for a flow (`hold.rs`).
    held: Vec<u64>,
    /// The INVITE of the caller that was refused by a way that may be gone: the call is remembered until that is known.
    refusal: Option<u64>,
    /// Call-ID and From-tag of the first INVITE, while the registrar remembers them.
    owned: Option<(String, String)>,
    checkpointed: bool,
    adopted: Vec<String>,
    call_id: String,
    scheduled: Scheduled,
}

/// How a leg's messages leave.
#[derive(Clone, Debug)]
struct Way {
    to: SendTo,
    /// The flow of the last message that came from it.
    flow: Option<Flow>,
    /// The flow of its binding, as the registrar said last.
    located: Option<Flow>,
    /// Further addresses of its name.
    others: VecDeque<SocketAddr>,
    network: usize,
}

/// A question whose answer somebody waits for.
#[derive(Debug)]
enum Asked {
    Register { server: u64 },
    Admit { server: u64, call: CallRef },
    Owner { server: u64 },
    OwnerOf(u64),
    Disowned(u64),
    Occupy { call: CallRef, attempt: AttemptRef },
    Locate { call: CallRef, ticket: Ticket, leg: LegRef },
    Held { number: u64 },
    Challenge { call: CallRef, ticket: Ticket, cseq: u32, proxy: bool },
    Checkpoint { call: CallRef },
    Told(tell::Told),
}

#[derive(Clone, Copy, Debug)]
enum Ordered {
    Call(CallRef, OrderTag),
    Renew,
}

/// A name that is looked up.
#[derive(Debug)]
enum Resolving {
    Attempt { call: CallRef, attempt: AttemptRef, transport: Transport },
    Request { call: CallRef, ticket: Ticket, leg: LegRef, transport: Transport },
    Ack { call: CallRef, leg: LegRef, message: Bytes, transport: Transport },
    Qualify { number: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    Call(CallRef),
    Qualify(u64),
    Renew,
    KeepOpen,
    Owners,
    Carry(u64),
    TellAgain(u64),
    Checkpoint(CallRef),
    Hold(u64),
}

impl Core {
    /// A shard at birth. `seed` must be random and secret; the same seed mints the same names.
    pub fn new(identity: Identity, seed: [u8; 32], limits: Limits) -> Self {
        let mut random = Random::new(seed);
        let table =
            transaction::Limits { transactions: limits.transactions, reserve: limits.transactions / 10 };
        let hash = (random.bits(), random.bits());
        Core {
            router: Router::new(identity.pod, identity.shards),
            identity,
            limits,
            random,
            challenger: None,
            general: General::default(),
            trusted: Vec::new(),
            briefed: false,
            told: Vec::new(),
            draining: false,
            fading: false,
            ending: false,
            closing: false,
            transactions: Transactions::new(table, hash),
            servers: HashMap::new(),
            held: 0,
            merged: HashMap::new(),
            calls: HashMap::new(),
            adopted: HashMap::new(),
            asks: HashMap::new(),
            moving: HashMap::new(),
            kept: keep_open::Kept::default(),
            orders: HashMap::new(),
            resolves: HashMap::new(),
            sends: HashMap::new(),
            qualify: qualify::Qualifier::default(),
            sources: flows::Sources::default(),
            gone: flows::Gone::default(),
            strays: stray::Strays::default(),
            passed_on: pass_on::PassedOn::default(),
            crossed: crossed::Crossed::default(),
            carried: carried::Carried::default(),
            missed: missed::Missed::default(),
            holding: HashMap::new(),
            untold: HashMap::new(),
            timers: Timers::default(),
            renewal: Scheduled::default(),
            number: 0,
            counts: operator::Counts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Its addresses have changed. Pod, shard and their number stay as they were at birth.
    pub fn set_networks(&mut self, networks: Vec<crate::input::Network>) {
        self.identity.networks = networks;
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Received { message, flow } => self.received(message, flow, now),
            Input::Malformed { malformed, flow } => self.malformed(&malformed, &flow, now),
            Input::Sent { send, failed, flow } => self.sent(send, failed, flow, now),
            Input::Heard { flow } => self.note_source(&flow, now),
            Input::Closed { flow } => self.closed(&flow),
            Input::Answered { ask, answer } => self.answered(ask, answer, now),
            Input::Relayed { order, reply } => match (self.orders.remove(&order), reply) {
                (Some(Ordered::Call(reference, tag)), reply) => {
                    self.with_call(reference, now, |call, now| call.relayed(tag, reply, now));
                }
                (Some(Ordered::Renew), Ok(RelayReply::Done { missing })) => self.renewed(missing, now),
                _ => {}
            },
            Input::RelayEvent(RelayEvent::TimedOut { session, statistics, .. }) => {
                self.with_call(session.call, now, |call, now| {
                    call.session_ended(session, Some(*statistics), EndedBy::RtpTimeout, now);
                });
            }
            Input::RelayEvent(RelayEvent::Abandoned { session }) => {
                self.with_call(session.call, now, |call, now| {
                    call.session_ended(session, None, EndedBy::Failure, now);
                });
            }
            Input::Resolved { resolve, addresses } => self.resolved(resolve, addresses, now),
            Input::Briefed(briefing) => self.brief(&briefing, now),
            Input::Command(Command::HangUp { call }) => {
                self.with_call(call, now, |call, now| call.end_by(EndedBy::Operator, now));
            }
            Input::Command(Command::Qualify(target)) => self.qualify_now(*target, now),
            Input::Command(Command::QualifyList(list)) => self.set_qualify_list(list, now),
            Input::Adopt(record) => self.adopt(&record, now),
            Input::Drain => self.draining = true,
            Input::Fade => self.fading = true,
            Input::EndCalls => self.end_calls(now),
            Input::Close => self.closing = true,
        }
        self.drain_transactions(now);
    }

    /// The next thing to be done. Drain after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); may be earlier than needed, never later.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.transactions.poll_timeout(), self.timers.next()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.transactions.handle_timeout(now.mono);
        self.drain_transactions(now);
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Call(reference) => {
                    if let Some(entry) = self.calls.get_mut(&reference) {
                        entry.scheduled.fired(now.mono);
                    }
                    self.with_call(reference, now, |call, now| {
                        if call.poll_timeout().is_some_and(|at| at <= now.mono) {
                            call.handle_timeout(now);
                        }
                    });
                }
                Timer::Qualify(number) => self.qualify_due(number, now),
                Timer::Renew => self.renew(now),
                Timer::KeepOpen => self.keep_due(now),
                Timer::Owners => self.look_for_owners(now),
                Timer::Carry(number) => self.carry_again(number, now),
                Timer::TellAgain(number) => self.tell_again(number),
                Timer::Checkpoint(call) => self.confirmed(call, now),
                Timer::Hold(number) => self.look_again(number, now),
            }
        }
        self.drain_transactions(now);
    }

    /// Keys, members, `[general]`. Whoever holds the stream leaves out older ones: each registrar counts by itself, so
    /// that here a lower number may well be the newer briefing, of another registrar.
    fn brief(&mut self, briefing: &Arc<Briefing>, now: Now) {
        self.briefed = true;
        let before: Vec<PodRef> = self.router.pods().to_vec();
        if self.router.brief(briefing) {
            self.missed.note(&before, &self.router, now.mono);
            // Pods came or went: packets of phones may arrive at others than before.
            self.sources.forget_all();
            self.look_for_owners_soon(now);
        }
        // A registrar that was not told yet (its store is empty) knows less than we do.
        if !briefing.surroundings.sip.is_empty() {
            self.told = briefing.surroundings.sip.clone();
        }
        let keys = briefing.nonce_keys.iter().map(|key| NonceKey::new(key.id, key.epoch, &key.key)).collect();
        let algorithms: Vec<Algorithm> =
            briefing.general.auth_algorithms.iter().filter_map(|name| name.parse().ok()).collect();
        self.challenger =
            Some(Challenger::new(briefing.general.realm.clone(), &algorithms, NonceKeys::new(keys)));
        self.general = briefing.general.clone();
        self.trusted = briefing.trusted.clone();
    }

    /// The key under which new names are minted; without one nothing new begins.
    fn mint(&self, kind: Kind, number: u64, index: u16) -> Option<String> {
        let minted = Minted {
            kind,
            pod: self.identity.pod,
            shard: ShardRef(self.identity.shard),
            number: number & MAX_NUMBER,
            index,
        };
        self.router.keys().first().map(|key| minted.write(key))
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1) & MAX_NUMBER;
        self.number
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Asks, and remembers what for.
    fn ask(&mut self, ask: Ask, key: IdempotencyKey, why: Asked) {
        let id = AskRef(self.next_number());
        self.asks.insert(id, why);
        self.outputs.push_back(Output::Ask(Envelope { id, key, deadline: ASK_DEADLINE, ask }));
    }

    /// Tells; nobody waits for the answer. What would be held for ever if it got lost is told again until it is heard.
    fn tell(&mut self, ask: Ask) {
        let key = self.fresh_key();
        if tell::must_arrive(&ask) {
            return self.tell_surely(ask, key, 0);
        }
        let id = AskRef(self.next_number());
        self.outputs.push_back(Output::Ask(Envelope { id, key, deadline: TELL_DEADLINE, ask }));
    }

    fn fresh_key(&mut self) -> IdempotencyKey {
        IdempotencyKey(u128::from(self.random.bits()) << 64 | u128::from(self.random.bits()))
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("pod", &self.identity.pod)
            .field("shard", &self.identity.shard)
            .field("calls", &self.calls.len())
            .field("transactions", &self.transactions.len())
            .finish_non_exhaustive()
    }
}
