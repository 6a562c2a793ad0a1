//! One shard: a thread, its sockets, its machine. One input, drain the outputs, sleep.
//!
//! [`wake`] waits for anything to happen; [`send`] does what the machine wants sent; everything else that it wants goes
//! to the links in a bounded queue and comes back as news.

mod send;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fairlead_core::input::{Command, Identity, Input, Now, SendFailed};
use fairlead_core::output::{Event, Output};
use fairlead_model::ask::AskFailed;
use fairlead_model::binding::{BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{ConnectionRef, UnixMillis};
use fairlead_model::relay::RelayRefused;
use fairlead_runtime::health::Heartbeat;
use sip_net::address::LocalAddresses;
use sip_net::connection::{Dialer, Event as NetEvent, Writer};
use sip_net::udp::{Datagram, UdpSocket};
use sip_wire::Message;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

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
const DEAF: Duration = Duration::from_secs(3);

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
        }
        // Whoever waits for the last call must not wait for those that end with the shard.
        self.live.fetch_sub(self.calls, Ordering::Relaxed);
    }

    fn datagram(&mut self, datagram: Datagram) {
        if sip_wire::is_keep_alive(&datagram.bytes) {
            return;
        }
        let flow = Flow {
            pod: self.identity.pod,
            transport: Transport::Udp,
            local: datagram.local,
            remote: datagram.remote,
            connection: None,
        };
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
            News::Drain => self.input(Input::Drain),
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
        self.machine.handle(input, now);
        self.settle(now);
    }

    fn settle(&mut self, now: Now) {
        self.drain_outputs();
        while let Some(next) = self.pending.pop_front() {
            self.machine.handle(next, now);
            self.drain_outputs();
        }
    }

    fn drain_outputs(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.act(output);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Send { send, to, message, report } => self.send(send, to, message, report),
            Output::Forward { pod, shard, message, flow } => self.forward(pod, shard, message, flow),
            Output::Ask(envelope) => {
                let id = envelope.id;
                let span = if self.traced {
                    tracing::info_span!(parent: &self.span, "ask", question = envelope.ask.word())
                } else {
                    Span::none()
                };
                let job = AskJob { shard: self.identity.shard, envelope, span };
                if self.links.asks.try_send(job).is_err() {
                    self.metrics.shed("asks");
                    let answer = Err(AskFailed::Overloaded);
                    self.pending.push_back(Input::Answered { ask: id, answer });
                }
            }
            Output::Relay { order, relay, what } => {
                let span = if self.traced {
                    tracing::info_span!(parent: &self.span, "relay", order = crate::media_link::word(&what))
                } else {
                    Span::none()
                };
                let job = OrderJob { shard: self.identity.shard, order, relay, what, span };
                if self.links.orders.try_send(job).is_err() {
                    self.metrics.shed("orders");
                    self.pending.push_back(Input::Relayed { order, reply: Err(RelayRefused::Busy) });
                }
            }
            Output::Resolve { resolve, host, port, transport } => {
                let door = self.links.shards.get(usize::from(self.identity.shard));
                let port = port.unwrap_or_else(|| transport.default_port());
                match (crate::resolver::literal(&host, port), door) {
                    (Some(address), _) => {
                        self.pending.push_back(Input::Resolved { resolve, addresses: vec![address] });
                    }
                    (None, Some(door)) if self.links.resolver.look_up(host, port, resolve, door) => {}
                    _ => {
                        self.metrics.shed("lookups");
                        self.pending.push_back(Input::Resolved { resolve, addresses: Vec::new() });
                    }
                }
            }
            Output::Close { flow } => self.close(&flow),
            Output::Event(event) => {
                self.metrics.event(&event);
                self.tell_event(event);
            }
        }
    }

    fn tell_event(&mut self, event: Event) {
        match event {
            Event::Qualified { peer, key, result } => {
                let mut at = 0;
                while let Some(waiting) = self.qualifying.get(at) {
                    if waiting.peer == peer && waiting.key == key {
                        let waiting = self.qualifying.swap_remove(at);
                        let _ = waiting.answer.send(result);
                    } else {
                        at += 1;
                    }
                }
            }
            Event::CallBegan { call } => {
                self.calls += 1;
                self.live.fetch_add(1, Ordering::Relaxed);
                self.metrics.all.calls.inc();
                tracing::debug!(%call, "a call began");
            }
            Event::CallAnswered { call, setup_ms } => tracing::info!(%call, setup_ms, "a call is up"),
            Event::CallEnded(record) => {
                // A call that was adopted ends here and began elsewhere.
                if self.calls > 0 {
                    self.calls -= 1;
                    self.live.fetch_sub(1, Ordering::Relaxed);
                    self.metrics.all.calls.dec();
                }
                tracing::info!(
                    call = %record.call,
                    status = record.status,
                    ended_by = record.ended_by,
                    duration_ms = record.duration_ms,
                    billed_ms = record.billed_ms,
                    "a call is over"
                );
                tracing::debug!(call = %record.call, from = record.from, to = record.to, call_id = record.call_id);
            }
            _ => {}
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
