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
use fairlead_model::id::{CallRef, PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, MintKey, NonceKey, Role};
use fairlead_model::peer::{EffectiveNat, General, RtpSource};
use fairlead_model::relay::*;
use fairlead_testkit::{Node, Packet, Phone, Plan, Sim};
use sip_wire::Message;

pub const DOMAIN: &str = "edge.example";

pub fn ip(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Milliseconds.
pub fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// What the registrar of the tests knows.
#[derive(Default)]
pub struct Registrar {
    /// What every REGISTER gets, when it is refused.
    pub refuses: Option<Refusal>,
    /// What everybody gets who asks to be let in.
    pub strangers: Option<Refusal>,
    /// Targets of names that are configured rather than registered.
    pub targets: HashMap<String, Vec<Target>>,
    /// Registered contacts: URI and flow.
    pub bindings: BTreeMap<String, (String, Flow)>,
    pub owners: HashMap<(String, String), CallRef>,
    pub checkpoints: HashMap<CallRef, CheckpointRecord>,
    pub slots: HashSet<(CallRef, String)>,
    pub usages: Vec<(String, Usage)>,
    pub asked: Vec<&'static str>,
    pub qualified: Vec<(String, fairlead_model::binding::Qualify)>,
    /// Peers whose slots are all taken.
    pub full: HashSet<String>,
    pub policy: Option<LegPolicy>,
    pub ring_time: u32,
    pub away: bool,
}

pub fn policy(peer: &str) -> LegPolicy {
    LegPolicy {
        peer: Some(peer.to_owned()),
        nat: EffectiveNat { force_rport: true, comedia: false },
        rtp_source: RtpSource::Signalling,
        rtp_timeout: 0,
        rtp_hold_timeout: 0,
        caller_name: String::new(),
        caller_number: String::new(),
        from_user: None,
        from_domain: None,
        answers_challenges: false,
        max_duration: 0,
        t1_ms: 500,
        uncounted: false,
    }
}

pub fn target(peer: &str, address: SocketAddr) -> Target {
    Target {
        policy: policy(peer),
        uri: format!("sip:{peer}@{address}"),
        route: Vec::new(),
        hop: Hop::Address {
            transport: Transport::Udp,
            host: address.ip().to_string(),
            port: Some(address.port()),
        },
        binding: None,
        ring_time: 30,
    }
}

impl Registrar {
    pub fn answer(&mut self, pod: PodRef, ask: Ask) -> Result<Answer, AskFailed> {
        if self.away {
            return Err(AskFailed::Unreachable);
        }
        Ok(match ask {
            Ask::Register(_) if self.refuses.is_some() => {
                Answer::Refused(self.refuses.clone().unwrap_or_else(|| Refusal::new(500, "")))
            }
            Ask::Register(request) => {
                self.asked.push("register");
                if let Some(refusal) = self.strangers.clone() {
                    return Ok(Answer::Refused(refusal));
                }
                let Contacts::List(list) = &request.contacts else {
                    return Ok(Answer::Registered(Registered::default()));
                };
                let change = &list[0];
                let expires = change.expires.or(request.expires).unwrap_or(3600);
                if expires == 0 {
                    self.bindings.remove(&request.user);
                    return Ok(Answer::Registered(Registered::default()));
                }
                self.bindings.insert(request.user.clone(), (change.uri.clone(), request.flow));
                Answer::Registered(Registered {
                    contacts: vec![(change.value.clone(), expires)],
                    path: Vec::new(),
                    qualify: false,
                })
            }
            Ask::Admit(request) => {
                self.asked.push("admit");
                if let Some(refusal) = self.strangers.clone() {
                    return Ok(Answer::Refused(refusal));
                }
                let name = (request.call_id.clone(), request.from_tag.clone());
                if let Some(call) = self.owners.get(&name).filter(|call| **call != request.call) {
                    return Ok(Answer::Owned { pod: call.pod, call: *call });
                }
                let targets = match self.targets.get(&request.target_user) {
                    Some(targets) => targets.clone(),
                    None => match self.bindings.get(&request.target_user) {
                        Some((uri, flow)) => vec![Target {
                            uri: uri.clone(),
                            hop: Hop::Flow(*flow),
                            binding: Some(BindingKey(uri.clone())),
                            ring_time: self.ring_time.max(1),
                            ..target(&request.target_user, flow.remote)
                        }],
                        None => return Ok(Answer::Refused(Refusal::new(404, "Not Found"))),
                    },
                };
                self.owners.insert(name, request.call);
                self.slots.insert((request.call, request.from_user.clone()));
                let caller = self.policy.clone().unwrap_or_else(|| policy(&request.from_user));
                Answer::Admitted(Box::new(Admitted { caller, targets }))
            }
            Ask::Owner { call_id, from_tag } => {
                self.asked.push("owner");
                match self.owners.get(&(call_id, from_tag)) {
                    Some(call) => Answer::Owned { pod: call.pod, call: *call },
                    None => Answer::NotOwned,
                }
            }
            Ask::Disown { call_id, from_tag, .. } => {
                self.owners.remove(&(call_id, from_tag));
                Answer::Done
            }
            Ask::Locate { peer, .. } => {
                self.asked.push("locate");
                Answer::Located(self.bindings.get(&peer).map(|(_, flow)| Hop::Flow(*flow)))
            }
            Ask::Release { call } => {
                self.slots.retain(|(known, _)| *known != call);
                Answer::Done
            }
            Ask::Occupy { call, peer } => {
                if self.full.contains(&peer) {
                    return Ok(Answer::Refused(Refusal::new(480, "Call limit")));
                }
                self.slots.insert((call, peer));
                Answer::Done
            }
            Ask::Usage { peer, usage, .. } => {
                self.usages.push((peer, usage));
                Answer::Done
            }
            Ask::Checkpoint { call, record } => {
                match record {
                    Some(record) => {
                        let stored = self.checkpoints.get(&call).map_or(0, |record| record.epoch);
                        if record.epoch < stored {
                            return Ok(Answer::Refused(Refusal::new(481, "Call is another pod's")));
                        }
                        self.checkpoints.insert(call, record);
                    }
                    None => {
                        self.checkpoints.remove(&call);
                    }
                }
                Answer::Done
            }
            Ask::Qualified { peer, result, .. } => {
                self.qualified.push((peer, result));
                Answer::Done
            }
            Ask::AnswerChallenge(question) => {
                self.asked.push("challenge");
                Answer::ChallengeAnswered {
                    value: format!("Digest username=\"{}\", response=\"x\"", question.peer),
                }
            }
            Ask::QualifyList => Answer::QualifyList(Vec::new()),
            Ask::MoveFlow { .. } => {
                let _ = pod;
                Answer::Done
            }
        })
    }
}

/// A relay that rewrites nothing but `o=` and remembers who has a session.
#[derive(Default)]
pub struct Relay {
    pub sessions: HashSet<SessionRef>,
    pub orders: Vec<&'static str>,
    pub full: bool,
    /// Sides that every offer came from, with what it said.
    pub seen: Vec<(fairlead_model::id::Side, Bytes)>,
}

pub const RELAY: PodRef = PodRef(0xee);

impl Relay {
    fn carry_out(&mut self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        match order {
            RelayOrder::Offer(order) => {
                self.orders.push("offer");
                if self.full {
                    return Err(RelayRefused::NoPort);
                }
                if !order.sdp.starts_with(b"v=0") {
                    return Err(RelayRefused::BadDescription("no description".to_owned()));
                }
                self.sessions.insert(order.session);
                self.seen.push((order.from, order.sdp.clone()));
                Ok(described(&order.sdp))
            }
            RelayOrder::Answer(order) => {
                self.orders.push("answer");
                self.seen.push((order.from, order.sdp.clone()));
                if !self.sessions.contains(&order.session) {
                    return Err(RelayRefused::UnknownSession);
                }
                Ok(described(&order.sdp))
            }
            RelayOrder::Withdraw(_) => {
                self.orders.push("withdraw");
                Ok(RelayReply::Done { missing: Vec::new() })
            }
            RelayOrder::Delete(session) => {
                self.orders.push("delete");
                self.sessions.remove(&session);
                Ok(RelayReply::Statistics(SessionStatistics { streams: Vec::new(), duration_ms: 1 }))
            }
            RelayOrder::Query(_) => Ok(RelayReply::Statistics(SessionStatistics::default())),
            RelayOrder::Renew(list) => {
                self.orders.push("renew");
                let missing = list.into_iter().filter(|session| !self.sessions.contains(session)).collect();
                Ok(RelayReply::Done { missing })
            }
        }
    }
}

fn described(sdp: &Bytes) -> RelayReply {
    let text = String::from_utf8_lossy(sdp);
    let hold = text.contains("a=sendonly") || text.contains("a=inactive");
    let lines: Vec<String> =
        text.split("\r\n")
            .map(|line| {
                if line.starts_with("o=") { "o=- 0 0 IN IP4 203.0.113.9".to_owned() } else { line.to_owned() }
            })
            .collect();
    RelayReply::Described(Described {
        relay: RELAY,
        sdp: Bytes::from(lines.join("\r\n")),
        narrowed: 0,
        hold,
        formats: vec!["ulaw".to_owned()],
    })
}

/// One pod of the edge.
pub struct Pod {
    pub core: Core,
    pub pod: PodRef,
    pub address: SocketAddr,
    pub alive: bool,
    later: VecDeque<(Instant, Input)>,
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
            .map(|pod| Member {
                pod: *pod,
                name: pod.to_string(),
                role: Role::Signaling,
                grpc: ip("192.0.2.250:1"),
                started: UnixMillis(0),
                seen: UnixMillis(0),
                draining: false,
                load: 0,
                version: String::new(),
            })
            .collect(),
        general: General { realm: DOMAIN.to_owned(), ..General::default() },
        trusted: trusted.iter().map(|net| net.parse().unwrap()).collect(),
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
                    let (from, remote) = match &to {
                        SendTo::Flow(flow) => {
                            match self.pods.iter().find(|pod| pod.pod == flow.pod && pod.alive) {
                                Some(owner) => {
                                    let crosses = owner.pod != self.pods[at].pod;
                                    let from = owner.address;
                                    if crosses {
                                        self.count_crossing(&message);
                                    }
                                    (from, flow.remote)
                                }
                                None => {
                                    let failed = Some(fairlead_core::input::SendFailed::NoSuchFlow);
                                    if report {
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
                    if self.unreachable.contains(&remote) {
                        let failed = Some(fairlead_core::input::SendFailed::Socket);
                        self.pods[at].later.push_back((due, Input::Sent { send, failed, flow: None }));
                        continue;
                    }
                    self.packets.push_back(Packet { from, to: remote, bytes: message });
                    if report {
                        self.pods[at].later.push_back((due, Input::Sent { send, failed: None, flow: None }));
                    }
                }
                Output::Forward { pod, message, flow, .. } => {
                    self.count_crossing(&message);
                    let message = Message::parse(message).unwrap();
                    if let Some(other) = self.pods.iter_mut().find(|known| known.pod == pod && known.alive) {
                        other.later.push_back((due, Input::Received { message, flow }));
                    }
                }
                Output::Ask(envelope) => {
                    let answer = self.registrar.answer(self.pods[at].pod, envelope.ask);
                    self.pods[at].later.push_back((due, Input::Answered { ask: envelope.id, answer }));
                }
                Output::Relay { order, what, .. } => {
                    let reply = self.relay.carry_out(what);
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
        let Some(at) = self.pods.iter().position(|pod| pod.address == packet.to && pod.alive) else { return };
        let flow = Flow {
            pod: self.pods[at].pod,
            transport: Transport::Udp,
            local: packet.to,
            remote: packet.from,
            connection: None,
        };
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

/// An edge of one pod with two registered phones.
pub struct Scene {
    pub sim: Sim,
    pub edge: fairlead_testkit::NodeRef,
    pub ann: fairlead_testkit::NodeRef,
    pub bob: fairlead_testkit::NodeRef,
}

pub const EDGE: &str = "192.0.2.1:5060";
pub const ANN: &str = "198.51.100.1:5060";
pub const BOB: &str = "198.51.100.2:5060";

pub fn phone(name: &str, address: &str) -> Phone {
    Phone::new(name, "secret", ip(address), ip(EDGE), DOMAIN)
}

impl Scene {
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
        assert!(self.sim.run_until_quiet(Duration::from_secs(600)), "something never ends");
        self.sim.node::<Edge>(self.edge).assert_nothing_left();
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
