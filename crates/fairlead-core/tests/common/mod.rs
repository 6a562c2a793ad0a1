//! Pods of an edge on the simulated network, with a registrar and a relay that only remember.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_core::input::{Identity, Input, Network, Now};
use fairlead_core::output::{CallRecord, Event, Output, SendTo};
use fairlead_core::{Core, Limits};
use fairlead_model::ask::*;
use fairlead_model::binding::BindingKey;
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{CallRef, ConnectionRef, PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, MintKey, NonceKey, Role};
use fairlead_model::peer::{EffectiveNat, General, Peer};
use fairlead_model::relay::*;
use fairlead_testkit::{Node, NodeRef, Packet, Phone, Plan, Sim};
use sip_wire::Message;

mod registrar;
mod relay;

pub use registrar::*;
pub use relay::*;

pub const DOMAIN: &str = "edge.example";

pub fn ip(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Milliseconds.
pub fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// One pod of the edge.
pub struct Pod {
    pub core: Core,
    pub pod: PodRef,
    pub address: SocketAddr,
    pub alive: bool,
    later: VecDeque<(Instant, Input)>,
}

impl Pod {
    /// It listens on UDP and TCP, at its own address or at the one of a Service.
    pub fn listens_on_both(&mut self, behind_service: bool) {
        let mut networks = identity(self.pod, 0, 1, self.address).networks;
        if behind_service {
            self::behind_service(&mut networks[0], "203.0.113.10");
        }
        networks.push(Network { transport: Transport::Tcp, ..networks[0].clone() });
        self.core.set_networks(networks);
    }
}

/// A listener that the world reaches at the address of a Service.
pub fn behind_service(network: &mut Network, host: &str) {
    network.bind = ip("0.0.0.0:5060");
    network.advertised = (host.to_owned(), 5060);
    (network.told, network.awaits) = (true, true);
}

/// The edge: one node of the network with as many addresses as it has pods.
pub struct Edge {
    pub pods: Vec<Pod>,
    pub registrar: Registrar,
    pub relay: Relay,
    pub records: Vec<CallRecord>,
    pub events: Vec<Event>,
    /// How often a message crossed from pod to pod, by its first line and Via branch.
    pub crossings: HashMap<(String, String), u32>,
    /// How long the registrar and the relay take.
    pub delay: Duration,
    /// What names resolve to.
    pub names: HashMap<String, Vec<SocketAddr>>,
    /// Addresses that nothing can be sent to.
    pub unreachable: HashSet<SocketAddr>,
    /// Addresses towards which the queue is full.
    pub full: HashSet<SocketAddr>,
    /// Addresses that speak to us over a connection, which ends with its pod.
    pub connected: HashSet<SocketAddr>,
    /// Those of them that have closed it since: they can be connected to.
    pub hung_up: HashSet<SocketAddr>,
    /// Connections that are closed, and how many from an address were.
    closed: HashSet<ConnectionRef>,
    connections: HashMap<SocketAddr, u64>,
    /// The pod to which a Service brings what is sent to one that is gone.
    pub heir: Option<usize>,
    /// No pod can reach another one.
    pub mesh_is_down: bool,
    /// What crosses arrives, but no pod hears that it did.
    pub mesh_is_deaf: bool,
    /// So long after what was to leave by a pod that is gone the result comes.
    pub fails_after: Duration,
    /// How long the relay takes, when it takes longer than the registrar.
    pub relay_takes: Duration,
    /// The next pod that sends for another one ends with that; so long after it its result is that nobody had the flow.
    pub ends_with_sending: Option<Duration>,
    start: Instant,
    packets: VecDeque<Packet>,
}

pub fn briefing(pods: &[PodRef], trusted: &[&str]) -> Arc<Briefing> {
    Arc::new(Briefing {
        version: 1,
        mint_keys: vec![MintKey { version: b'a', key: [9; 16] }],
        nonce_keys: vec![NonceKey { id: 1, epoch: 1, key: [7; 32] }],
        members: pods
            .iter()
            .map(|pod| {
                let grpc = ip("192.0.2.250:1");
                Member::started(*pod, pod.to_string(), Role::Signaling, grpc, UnixMillis(0))
            })
            .collect(),
        general: General { realm: DOMAIN.to_owned(), ..General::default() },
        trusted: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        surroundings: Default::default(),
    })
}

pub fn identity(pod: PodRef, shard: u8, shards: u8, address: SocketAddr) -> Identity {
    Identity {
        pod,
        shard,
        shards,
        networks: vec![Network {
            name: String::new(),
            transport: Transport::Udp,
            bind: address,
            advertised: (address.ip().to_string(), address.port()),
            told: false,
            awaits: false,
            routed: false,
        }],
    }
}

impl Edge {
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let pods: Vec<PodRef> = (1..=addresses.len() as u64).map(PodRef).collect();
        let start = Instant::now();
        let now = Now { mono: start, wall: UnixMillis(1_800_000_000_000) };
        let pods = pods
            .iter()
            .zip(addresses)
            .map(|(pod, address)| {
                let mut core =
                    Core::new(identity(*pod, 0, 1, *address), [pod.0 as u8; 32], Limits::default());
                core.handle(Input::Briefed(briefing(&pods, &[])), now);
                Pod { core, pod: *pod, address: *address, alive: true, later: VecDeque::new() }
            })
            .collect();
        Edge {
            pods,
            registrar: Registrar { ring_time: 30, ..Registrar::default() },
            relay: Relay::default(),
            records: Vec::new(),
            events: Vec::new(),
            crossings: HashMap::new(),
            delay: ms(2),
            names: HashMap::new(),
            unreachable: HashSet::new(),
            full: HashSet::new(),
            connected: HashSet::new(),
            hung_up: HashSet::new(),
            closed: HashSet::new(),
            connections: HashMap::new(),
            heir: None,
            mesh_is_down: false,
            mesh_is_deaf: false,
            fails_after: ms(2),
            relay_takes: ms(0),
            ends_with_sending: None,
            start,
            packets: VecDeque::new(),
        }
    }

    /// From these networks somebody may come without credentials.
    pub fn trust(&mut self, nets: &[&str]) {
        let known: Vec<PodRef> = self.pods.iter().map(|pod| pod.pod).collect();
        let mut briefing = (*briefing(&known, nets)).clone();
        briefing.version = 2;
        for at in 0..self.pods.len() {
            let now = self.now(self.start);
            self.pods[at].core.handle(Input::Briefed(Arc::new(briefing.clone())), now);
        }
    }

    /// All pods that are alive hear that these are there, and that the first of them drains or does not.
    pub fn brief(&mut self, pods: &[u64], drains: bool, mono: Instant) {
        let pods: Vec<_> = pods.iter().copied().map(PodRef).collect();
        let mut briefing = (*briefing(&pods, &["198.51.100.9/32"])).clone();
        briefing.members[0].draining = drains;
        let briefing = Arc::new(briefing);
        for at in 0..self.pods.len() {
            if self.pods[at].alive {
                self.input(at, Input::Briefed(briefing.clone()), mono);
            }
        }
    }

    /// A pod dies without a word, and another takes its place at the same address.
    pub fn replace_pod(&mut self, at: usize, pod: PodRef, shard: u8, shards: u8, mono: Instant) {
        let address = self.pods[at].address;
        let mut core = Core::new(identity(pod, shard, shards, address), [pod.0 as u8; 32], Limits::default());
        core.handle(Input::Briefed(briefing(&[pod], &[])), self.now(mono));
        self.pods[at] = Pod { core, pod, address, alive: true, later: VecDeque::new() };
    }

    pub fn now(&self, mono: Instant) -> Now {
        let passed = mono.saturating_duration_since(self.start).as_millis() as u64;
        Now { mono, wall: UnixMillis(1_800_000_000_000 + passed) }
    }

    /// Tells a pod something and does what follows.
    pub fn input(&mut self, at: usize, input: Input, mono: Instant) {
        let now = self.now(mono);
        self.pods[at].core.handle(input, now);
        self.drain(at, mono);
    }

    fn drain(&mut self, at: usize, mono: Instant) {
        while let Some(output) = self.pods[at].core.poll_output() {
            let due = mono + self.delay;
            match output {
                Output::Send { send, to, message, report } => {
                    let mut ended = None;
                    let (from, remote) = match &to {
                        SendTo::Flow(flow) => {
                            let owner = self.pods.iter().position(|pod| pod.pod == flow.pod && pod.alive);
                            match owner.filter(|owner| *owner == at || !self.mesh_is_down) {
                                Some(owner) => {
                                    let from = self.pods[owner].address;
                                    if owner != at {
                                        self.count_crossing(&message);
                                        ended = self.ends_with_sending.take();
                                        self.pods[owner].alive = ended.is_none();
                                        ended = ended.or(self.mesh_is_deaf.then_some(ms(2_000)));
                                    }
                                    (from, flow.remote)
                                }
                                None => {
                                    let failed = Some(fairlead_core::input::SendFailed::NoSuchFlow);
                                    if report {
                                        let due = due.max(mono + self.fails_after);
                                        self.pods[at]
                                            .later
                                            .push_back((due, Input::Sent { send, failed, flow: None }));
                                    }
                                    continue;
                                }
                            }
                        }
                        SendTo::Address { remote, .. } => (self.pods[at].address, *remote),
                    };
                    let by_connection = matches!(&to, SendTo::Flow(flow) if flow.connection.is_some());
                    let closed = matches!(&to, SendTo::Flow(flow) if self.is_closed(flow));
                    let failed = if closed || (by_connection && self.hung_up.contains(&remote)) {
                        Some(fairlead_core::input::SendFailed::ConnectionGone)
                    } else if self.unreachable.contains(&remote) {
                        Some(fairlead_core::input::SendFailed::Socket)
                    } else if self.full.contains(&remote) {
                        Some(fairlead_core::input::SendFailed::Full)
                    } else {
                        None
                    };
                    if failed.is_some() {
                        // The socket says so at once, however long others take.
                        let due = mono + ms(2);
                        self.pods[at].later.push_back((due, Input::Sent { send, failed, flow: None }));
                        continue;
                    }
                    self.packets.push_back(Packet { from, to: remote, bytes: message });
                    if report {
                        let failed = ended.map(|_| fairlead_core::input::SendFailed::NoSuchFlow);
                        let due = ended.map_or(due, |after| mono + after);
                        let flow = match to {
                            SendTo::Flow(flow) => Some(flow),
                            SendTo::Address { .. } => None,
                        };
                        self.pods[at].later.push_back((due, Input::Sent { send, failed, flow }));
                    }
                }
                Output::Forward { pod, message, flow, report, .. } => {
                    let taker = self.pods.iter().position(|known| known.pod == pod && known.alive);
                    let taker = taker.filter(|taker| *taker == at || !self.mesh_is_down);
                    if let Some(taker) = taker {
                        self.count_crossing(&message);
                        let message = Message::parse(message).unwrap();
                        self.pods[taker].later.push_back((due, Input::Received { message, flow }));
                    }
                    if let Some(send) = report {
                        let gone = fairlead_core::input::SendFailed::NoSuchFlow;
                        let deaf = self.mesh_is_deaf && taker != Some(at);
                        let failed = (taker.is_none() || deaf).then_some(gone);
                        let due = if deaf { mono + ms(2_000) } else { due };
                        self.pods[at].later.push_back((due, Input::Sent { send, failed, flow: None }));
                    }
                }
                Output::Ask(envelope) => {
                    let answer = self.registrar.answer(self.pods[at].pod, envelope.ask);
                    self.pods[at].later.push_back((due, Input::Answered { ask: envelope.id, answer }));
                }
                Output::Relay { order, what, .. } => {
                    let reply = self.relay.carry_out(what);
                    let due = due.max(mono + self.relay_takes);
                    self.pods[at].later.push_back((due, Input::Relayed { order, reply }));
                }
                Output::Resolve { resolve, host, .. } => {
                    let addresses = self.names.get(&host).cloned().unwrap_or_default();
                    self.pods[at].later.push_back((due, Input::Resolved { resolve, addresses }));
                }
                Output::Close { .. } => {}
                Output::Event(Event::CallEnded(record)) => self.records.push(*record),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// The connection from this address is closed; what comes from there next comes by a new one.
    pub fn close(&mut self, remote: SocketAddr) {
        self.closed.insert(self.connection(remote));
        *self.connections.entry(remote).or_default() += 1;
    }

    /// The connection that what comes from there comes by.
    pub fn connection(&self, remote: SocketAddr) -> ConnectionRef {
        let before = self.connections.get(&remote).copied().unwrap_or_default();
        let std::net::IpAddr::V4(address) = remote.ip() else { return ConnectionRef(before) };
        ConnectionRef(before << 48 | u64::from(address.to_bits()) << 16 | u64::from(remote.port()))
    }

    fn is_closed(&self, flow: &Flow) -> bool {
        flow.connection.is_some_and(|connection| self.closed.contains(&connection))
    }

    fn count_crossing(&mut self, message: &Bytes) {
        let message = Message::parse(message.clone()).unwrap();
        let first = match message.status() {
            Some(status) => {
                format!("{status} {}", message.header(sip_wire::Header::CSeq).unwrap_or_default())
            }
            None => format!(
                "{} {}",
                message.method().label(),
                message.header(sip_wire::Header::CSeq).unwrap_or_default()
            ),
        };
        let branch = message.top_via().unwrap().branch.map(|branch| branch.to_string()).unwrap_or_default();
        *self.crossings.entry((first, branch)).or_default() += 1;
    }

    /// Nothing is left: no call, no slot, no relay session, nobody who remembers the first request.
    pub fn assert_nothing_left(&self) {
        for pod in self.pods.iter().filter(|pod| pod.alive) {
            assert_eq!(pod.core.calls(), 0, "calls: {:?}", pod.core.channels());
            assert!(pod.core.is_idle(), "{:?}", pod.core.statistics());
        }
        assert_eq!(self.relay.sessions.len(), 0, "relay sessions");
        assert!(self.registrar.slots.is_empty(), "slots: {:?}", self.registrar.slots);
        assert!(self.registrar.owners.is_empty(), "owners: {:?}", self.registrar.owners);
        assert!(self.registrar.checkpoints.is_empty(), "checkpoints");
    }
}

impl Node for Edge {
    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        let here = self.pods.iter().position(|pod| pod.address == packet.to && pod.alive);
        let Some(at) = here.or(self.heir) else { return };
        let connected = self.connected.contains(&packet.from);
        let flow = Flow {
            pod: self.pods[at].pod,
            transport: if connected { Transport::Tcp } else { Transport::Udp },
            local: packet.to,
            remote: packet.from,
            connection: connected.then(|| self.connection(packet.from)),
        };
        if sip_wire::is_keep_alive(&packet.bytes) {
            return self.input(at, Input::Heard { flow }, now);
        }
        let input = match Message::parse(packet.bytes) {
            Ok(message) => Input::Received { message, flow },
            Err(malformed) => Input::Malformed { malformed, flow },
        };
        self.input(at, input, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.pods.len() {
            if !self.pods[at].alive {
                continue;
            }
            while let Some(due) = self.pods[at].later.iter().position(|(due, _)| *due <= now) {
                if let Some((_, input)) = self.pods[at].later.remove(due) {
                    self.input(at, input, now);
                }
            }
            if self.pods[at].core.poll_timeout().is_some_and(|due| due <= now) {
                let now2 = self.now(now);
                self.pods[at].core.handle_timeout(now2);
                self.drain(at, now);
            }
        }
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.pods
            .iter()
            .filter(|pod| pod.alive)
            .flat_map(|pod| pod.later.iter().map(|(due, _)| *due).chain(pod.core.poll_timeout()))
            .min()
    }
}

/// Runs until nothing happens any more, and looks whether the edge has forgotten everything.
pub fn quiet(sim: &mut Sim, edge: NodeRef) {
    assert!(sim.run_until_quiet(Duration::from_secs(600)), "something never ends");
    sim.node::<Edge>(edge).assert_nothing_left();
}

/// How many packets went from here to there.
pub fn count(sim: &Sim, from: &str, to: &str) -> usize {
    let (from, to) = (ip(from), ip(to));
    sim.net.trace().iter().filter(|(_, packet, _)| packet.from == from && packet.to == to).count()
}

/// An edge of one pod with two registered phones.
pub struct Scene {
    pub sim: Sim,
    pub edge: NodeRef,
    pub ann: NodeRef,
    pub bob: NodeRef,
}

/// An edge of two pods; ann registers at pod A, bob at pod B.
pub fn two_pods() -> Scene {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let edge = sim.add(&[ip(EDGE), ip(POD_B)], Edge::new(&[ip(EDGE), ip(POD_B)]));
    let ann = sim.add(&[ip(ANN)], phone("ann", ANN));
    let bob = sim.add(&[ip(BOB)], Phone::new("bob", "secret", ip(BOB), ip(POD_B), DOMAIN));
    Scene { sim, edge, ann, bob }
}

/// The first pod, or the only one.
pub const EDGE: &str = "192.0.2.1:5060";
pub const POD_B: &str = "192.0.2.2:5060";
pub const ANN: &str = "198.51.100.1:5060";
pub const BOB: &str = "198.51.100.2:5060";
/// Somebody from a trusted network, without a registration.
pub const ZOE: &str = "198.51.100.9:5060";

/// What she says to call bob.
pub const INVITE: &str = "INVITE sip:bob@edge.example SIP/2.0
Via: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK-one;rport
Max-Forwards: 70
From: <sip:zoe@edge.example>;tag=z
To: <sip:bob@edge.example>
Call-ID: roaming
CSeq: 1 INVITE
Contact: <sip:zoe@198.51.100.9:5060>
Content-Length: 0

";

pub fn phone(name: &str, address: &str) -> Phone {
    Phone::new(name, "secret", ip(address), ip(EDGE), DOMAIN)
}

impl Scene {
    /// What ann's last INVITE ended with.
    pub fn final_status(&mut self) -> Option<u16> {
        self.ann().heard().iter().rev().find_map(|heard| match heard {
            fairlead_testkit::Heard::Response(sip_wire::Method::Invite, status)
                if *status >= 200 && *status != 401 =>
            {
                Some(*status)
            }
            _ => None,
        })
    }

    pub fn new() -> Self {
        Self::with(1, Plan::PERFECT, phone("ann", ANN), phone("bob", BOB))
    }

    pub fn with(seed: u64, plan: Plan, ann: Phone, bob: Phone) -> Self {
        let mut sim = Sim::new(seed, Plan::PERFECT);
        let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
        let (ann, bob) = (sim.add(&[ip(ANN)], ann), sim.add(&[ip(BOB)], bob));
        sim.tell(ann, |phone: &mut Phone, now| phone.register(3600, now));
        sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
        sim.run_for(ms(200));
        assert_eq!(sim.node::<Phone>(ann).registered(), Some(200));
        assert_eq!(sim.node::<Phone>(bob).registered(), Some(200));
        sim.net.set_plan(plan);
        Scene { sim, edge, ann, bob }
    }

    pub fn edge(&mut self) -> &mut Edge {
        self.sim.node(self.edge)
    }

    pub fn ann(&mut self) -> &mut Phone {
        self.sim.node(self.ann)
    }

    pub fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    pub fn ann_calls(&mut self, user: &str) -> usize {
        let user = user.to_owned();
        self.sim.tell(self.ann, move |phone: &mut Phone, now| phone.call(&user, now))
    }

    pub fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
    }

    /// First lines of all that went from here to there.
    pub fn lines(&self, from: &str, to: &str) -> Vec<String> {
        let (from, to) = (ip(from), ip(to));
        self.sim
            .net
            .trace()
            .iter()
            .filter(|(_, packet, _)| packet.from == from && packet.to == to)
            .map(|(_, packet, _)| packet.first_line())
            .collect()
    }
}

/// Something at an address that only listens, and says what it is told.
#[derive(Default)]
pub struct Wire {
    pub heard: Vec<Message>,
    packets: VecDeque<Packet>,
}

impl Wire {
    pub fn say(&mut self, from: &str, to: &str, text: &str) {
        let bytes = Bytes::from(text.replace('\n', "\r\n"));
        self.packets.push_back(Packet { from: ip(from), to: ip(to), bytes });
    }

    /// The last response with this status.
    pub fn response(&self, status: u16) -> Option<Message> {
        self.heard.iter().rev().find(|message| message.status() == Some(status)).cloned()
    }

    pub fn statuses(&self) -> Vec<u16> {
        self.heard.iter().filter_map(Message::status).collect()
    }
}

impl Node for Wire {
    fn handle_packet(&mut self, packet: Packet, _now: Instant) {
        self.heard.push(Message::parse(packet.bytes).unwrap());
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
