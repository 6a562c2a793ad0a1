//! One shard: a thread, its sockets, its machine. One input, drain the outputs, sleep.
//!
//! [`wake`] waits for anything to happen; [`send`] does what the machine wants sent; [`act`] everything else that it wants, which goes
//! to the links in a bounded queue and comes back as news.

mod act;
mod send;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fairlead_core::input::{Command, Identity, Input, Now, SendFailed};
use fairlead_model::ask::AskRef;
use fairlead_model::binding::{BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{ConnectionRef, UnixMillis};
use fairlead_runtime::health::Heartbeat;
use sip_net::address::LocalAddresses;
use sip_net::connection::{Dialer, Event as NetEvent, Writer};
use sip_net::udp::{Datagram, UdpSocket};
use sip_wire::Message;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::diagnosis::Registrations;
use crate::ending::Progress;
use crate::machine::Machine;
use crate::media_link::OrderJob;
use crate::mesh::Mesh;
use crate::metrics::ShardMetrics;
use crate::news::{Handed, News, Query, ShardDoor};
use crate::registrar_link::AskJob;
use crate::resolver::Resolver;

/// The longest sleep: a loop that does not turn at least this often is not well.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long a new shard leaves packets where they are while it has no keys: they wait in the system's buffers, which is
/// better than a 503 for whoever registers while a pod starts.
pub(crate) const DEAF: Duration = Duration::from_secs(3);

/// A listener's UDP socket.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) socket: UdpSocket,
}

/// Where a shard's outputs go.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) shards: Vec<ShardDoor>,
    pub(crate) asks: mpsc::Sender<AskJob>,
    pub(crate) orders: mpsc::Sender<OrderJob>,
    pub(crate) mesh: Mesh,
    pub(crate) resolver: Resolver,
}

/// Where a shard's inputs come from.
#[derive(Debug)]
pub(crate) struct Inlets {
    pub(crate) handed: mpsc::Receiver<Handed>,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) connections: mpsc::Receiver<NetEvent>,
}

/// One shard. Built on its own thread, inside its own runtime.
pub(crate) struct Shard<M> {
    pub(crate) machine: M,
    pub(crate) identity: Identity,
    pub(crate) udp: Vec<Listening>,
    pub(crate) dialer: Dialer,
    pub(crate) links: Links,
    pub(crate) inlets: Inlets,
    pub(crate) metrics: ShardMetrics,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) live: Arc<AtomicUsize>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) traced: bool,
    /// Connections whose tasks run here.
    connections: HashMap<ConnectionRef, Connection>,
    /// Connections to use again for an address (RFC 3261 §18.1.1).
    by_remote: HashMap<(Transport, std::net::SocketAddr), ConnectionRef>,
    dialling: send::Dialling,
    local: LocalAddresses,
    /// Inputs that came of outputs.
    pending: VecDeque<Input>,
    /// Operators who wait for an OPTIONS.
    qualifying: Vec<Qualifying>,
    /// What the machine does is part of this.
    span: Span,
    overflow: u32,
    /// Packets are not looked at before this, unless the first briefing comes.
    deaf_until: Option<Instant>,
    /// Calls that began and are not over.
    calls: usize,
    /// Callers of whom the registrar was asked whether they may come in: calls that an end waits for as well.
    admitting: HashSet<AskRef>,
    registrations: Registrations,
    draining: bool,
    stopped: bool,
}

#[derive(Debug)]
struct Connection {
    flow: Flow,
    writer: Writer,
}

#[derive(Debug)]
struct Qualifying {
    peer: String,
    key: Option<BindingKey>,
    answer: oneshot::Sender<Qualify>,
}

/// How many operators may wait for an OPTIONS at once.
const MOST_QUALIFYING: usize = 256;

impl<M: Machine> Shard<M> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        machine: M,
        identity: Identity,
        udp: Vec<Listening>,
        dialer: Dialer,
        links: Links,
        inlets: Inlets,
        metrics: ShardMetrics,
        heartbeat: Heartbeat,
        live: Arc<AtomicUsize>,
        progress: Arc<Progress>,
        traced: bool,
    ) -> Self {
        Shard {
            machine,
            identity,
            udp,
            dialer,
            links,
            inlets,
            metrics,
            heartbeat,
            live,
            progress,
            traced,
            connections: HashMap::new(),
            by_remote: HashMap::new(),
            dialling: send::Dialling::default(),
            local: LocalAddresses::new(),
            pending: VecDeque::new(),
            qualifying: Vec::new(),
            span: Span::none(),
            overflow: 0,
            deaf_until: Some(Instant::now() + DEAF),
            calls: 0,
            admitting: HashSet::new(),
            registrations: Registrations::default(),
            draining: false,
            stopped: false,
        }
    }

    /// Until it is told to stop.
    pub(crate) async fn run(mut self) {
        let mut batch = wake::Batch::default();
        while !self.stopped {
            self.wake(&mut batch).await;
            self.heartbeat.beat();
            for news in batch.news.drain(..) {
                self.news(news);
            }
            for event in batch.connections.drain(..) {
                self.connection_event(event);
            }
            for handed in batch.handed.drain(..) {
                self.handed(handed);
            }
            for datagram in batch.datagrams.drain(..) {
                self.datagram(datagram);
            }
            let now = now();
            if self.machine.poll_timeout().is_some_and(|at| at <= now.mono) {
                self.machine.handle_timeout(now);
                self.settle(now);
            }
            self.forget_old_dials();
            self.progress.keeps(self.machine.flows_left());
            if self.draining {
                self.progress.passes(self.machine.passing());
                self.progress.note(self.machine.open());
            }
        }
        // Whoever waits for the last call must not wait for those that end with the shard.
        self.live.fetch_sub(self.calls + self.admitting.len(), Ordering::Relaxed);
    }

    fn datagram(&mut self, datagram: Datagram) {
        let flow = Flow {
            pod: self.identity.pod,
            transport: Transport::Udp,
            local: datagram.local,
            remote: datagram.remote,
            connection: None,
        };
        if sip_wire::is_keep_alive(&datagram.bytes) {
            return self.input(Input::Heard { flow });
        }
        match Message::parse_with(datagram.bytes, &self.dialer.door.limits().message) {
            Ok(message) => self.received(message, flow),
            Err(malformed) => self.malformed(malformed, flow),
        }
    }

    fn received(&mut self, message: Message, flow: Flow) {
        if self.traced {
            let label = message.method().label();
            self.span =
                tracing::info_span!(parent: None, "sip_message", method = label, status = message.status());
        }
        self.input(Input::Received { message, flow });
    }

    fn malformed(&mut self, malformed: sip_wire::Malformed, flow: Flow) {
        self.metrics.malformed(malformed.reason.label());
        self.input(Input::Malformed { malformed, flow });
    }

    fn handed(&mut self, handed: Handed) {
        match handed {
            Handed::Message { message, flow } => self.received(message, flow),
            Handed::Send { message, flow, reply } => {
                let failed = self.send_by_own(message, &flow);
                self.reply(reply, failed, Some(flow));
            }
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Answers(answers) => {
                for (ask, answer, span) in answers {
                    self.span = span;
                    self.input(Input::Answered { ask, answer });
                }
            }
            News::Relayed { order, reply, span } => {
                self.span = span;
                self.input(Input::Relayed { order, reply });
            }
            News::RelayEvent(event) => self.input(Input::RelayEvent(event)),
            News::Resolved { resolve, addresses } => self.input(Input::Resolved { resolve, addresses }),
            News::Sent { send, failed, flow } => self.input(Input::Sent { send, failed, flow }),
            News::Briefed(briefing) => {
                self.deaf_until = None;
                self.input(Input::Briefed(briefing));
            }
            News::Command(command) => self.input(Input::Command(command)),
            News::Query(query) => self.query(query),
            News::Drain => {
                self.draining = true;
                self.metrics.drain("at_start", self.calls);
                self.input(Input::Drain);
            }
            News::Fade => {
                self.input(Input::Fade);
                self.progress.passes(self.machine.passing());
                self.progress.fades();
            }
            News::EndCalls => {
                self.draining = true;
                self.input(Input::EndCalls);
                self.progress.note(self.machine.open());
                self.progress.cuts();
            }
            News::Close => {
                self.input(Input::Close);
                self.progress.note(self.machine.open());
                self.progress.closes();
            }
            News::Stop => self.stopped = true,
        }
    }

    /// Whoever asked and went away does not want to know.
    fn query(&mut self, query: Query) {
        match query {
            Query::Channels { prefix, answer } => {
                let mut channels = self.machine.channels();
                channels.retain(|channel| channel.call_id.starts_with(&prefix));
                let _ = answer.send(channels);
            }
            Query::Bridges { answer } => {
                let _ = answer.send(self.machine.bridges());
            }
            Query::Registrations { answer } => {
                let _ = answer.send(self.registrations.counts(Instant::now()));
            }
            Query::HangUp { call, answer } => {
                let found = self.machine.channels().iter().any(|channel| channel.call == call);
                if found {
                    self.input(Input::Command(Command::HangUp { call }));
                }
                let _ = answer.send(found);
            }
            Query::Qualify { target, answer } => {
                self.qualifying.retain(|waiting| !waiting.answer.is_closed());
                if self.qualifying.len() >= MOST_QUALIFYING {
                    return;
                }
                let (peer, key) = (target.peer.clone(), target.key.clone());
                self.qualifying.push(Qualifying { peer, key, answer });
                self.input(Input::Command(Command::Qualify(target)));
            }
        }
    }

    /// One input, and all that comes of it.
    fn input(&mut self, input: Input) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if span.is_none() {
            self.step(input);
        } else {
            let entered = span.clone();
            self.span = span;
            entered.in_scope(|| self.step(input));
            self.span = Span::none();
        }
    }

    fn step(&mut self, input: Input) {
        let now = now();
        self.handle(input, now);
        self.settle(now);
    }

    fn handle(&mut self, input: Input, now: Now) {
        let admitted = match &input {
            Input::Answered { ask, .. } => self.admitting.remove(ask),
            _ => false,
        };
        self.machine.handle(input, now);
        self.drain_outputs();
        if admitted {
            // Only now: a call that began has been counted meanwhile, and never were there fewer than there are.
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn settle(&mut self, now: Now) {
        self.drain_outputs();
        while let Some(next) = self.pending.pop_front() {
            self.handle(next, now);
        }
    }

    fn drain_outputs(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.act(output);
        }
    }

    fn connection_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Opened { flow, writer, dialled } => {
                let Some(name) = flow.connection else { return };
                self.metrics.all.connections.inc();
                self.connections.insert(name, Connection { flow, writer });
                self.by_remote.insert((flow.transport, flow.remote), name);
                if let Some(number) = dialled {
                    self.dialled(number, Ok(flow));
                }
            }
            NetEvent::NotOpened { dialled, error } => {
                tracing::debug!(%error, "a connection could not be opened");
                self.dialled(dialled, Err(SendFailed::ConnectionGone));
            }
            NetEvent::Received { flow, message } => self.received(message, flow),
            NetEvent::Malformed { flow, malformed } => self.malformed(malformed, flow),
            NetEvent::Closed { flow, why } => {
                let reason = why.label();
                self.metrics.all.connections.dec();
                let labels = crate::metrics::Reason { reason };
                self.metrics.all.connections_closed.get_or_create(&labels).inc();
                self.forget_connection(&flow);
                self.input(Input::Closed { flow });
            }
            NetEvent::TurnedAway(why) => {
                let labels = crate::metrics::Reason { reason: why.label() };
                self.metrics.all.connections_refused.get_or_create(&labels).inc();
            }
        }
    }
}

/// Both clocks.
pub(crate) fn now() -> Now {
    // A wall clock before 1970 is set wrong; deadlines that others must understand cannot be right then.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), wall: UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}
