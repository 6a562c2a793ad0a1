//! Two tables talk over a network that loses, doubles and reorders, in many seeded runs. Each request must come to
//! one end at its sender, be new once at its receiver, and leave nothing behind.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_testkit::{Node, NodeRef, Packet, Plan, Random, Sim};
use sip_transaction::{Failure, Limits, Output, Received, Request, Timers, TransactionId, Transactions};
use sip_wire::{Header, Message, Method, RequestWriter};

use crate::lab::ms;

/// A user of transactions that does everything by chance.
struct Chance {
    address: SocketAddr,
    peer: SocketAddr,
    table: Transactions<String>,
    random: Random,
    todo: Vec<(Instant, Todo)>,
    packets: VecDeque<Packet>,
    reliable: bool,
    made: u32,
    /// What each request of ours came to, by branch.
    ends: BTreeMap<String, Vec<String>>,
    /// How often each request was new here.
    new: BTreeMap<String, u32>,
    /// 2xx of ours that wait for their ACK, by Call-ID.
    unacknowledged: BTreeMap<String, TransactionId>,
    ended: u32,
    opened: u32,
}

#[derive(Clone)]
enum Todo {
    Request(Method),
    Respond(TransactionId, u16, Message),
    Cancel(TransactionId),
    /// The user's own repetition of a 2xx (§13.3.1.4).
    Repeat {
        id: TransactionId,
        call_id: String,
        bytes: Bytes,
        after: Duration,
        left: u32,
    },
}

impl Chance {
    fn new(seed: u64, address: SocketAddr, peer: SocketAddr, reliable: bool) -> Self {
        Chance {
            address,
            peer,
            table: Transactions::new(Limits::default(), (seed, seed)),
            random: Random::new(seed),
            todo: Vec::new(),
            packets: VecDeque::new(),
            reliable,
            made: 0,
            ends: BTreeMap::new(),
            new: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            ended: 0,
            opened: 0,
        }
    }

    fn later(&mut self, now: Instant, most: u64, todo: Todo) {
        let at = now + ms(self.random.below(most));
        self.todo.push((at, todo));
    }

    fn writer(&mut self, method: &Method, call_id: &str, to: &str) -> (String, RequestWriter) {
        self.made += 1;
        let branch = format!("z9hG4bK{}-{}", self.address.port(), self.made);
        let writer = RequestWriter::new(method, "sip:peer@192.0.2.2")
            .header(Header::Via, format!("SIP/2.0/UDP {};branch={branch}", self.address))
            .header(Header::MaxForwards, "70")
            .header(Header::From, "<sip:me@192.0.2.1>;tag=f")
            .header(Header::To, to)
            .header(Header::CallId, call_id)
            .header(Header::CSeq, format!("1 {}", method.as_str()));
        (branch, writer)
    }

    fn request(&mut self, method: Method, now: Instant) {
        let call_id = format!("call-{}-{}", self.address.port(), self.made);
        let (branch, writer) = self.writer(&method, &call_id, "<sip:peer@192.0.2.2>");
        let message = Message::parse(writer.finish()).unwrap();
        self.ends.insert(branch.clone(), Vec::new());
        let id = self.table.open_client(message, branch, self.reliable, Timers::default(), now).unwrap();
        self.opened += 1;
        if method == Method::Invite && self.random.per_mille(400) {
            self.later(now, 6_000, Todo::Cancel(id));
        }
    }

    fn receive_request(&mut self, message: &Message, now: Instant) {
        match self.table.handle_request(message, now) {
            Request::New | Request::Cancel { .. } => self.receive_new(message, now),
            Request::Ack => {
                self.unacknowledged.remove(message.call_id());
            }
            Request::Acknowledged(_) | Request::Retransmission(_) => {}
            Request::Unmatchable => panic!("every message of the test has a branch"),
        }
    }

    fn receive_new(&mut self, message: &Message, now: Instant) {
        let method = message.method().clone();
        let branch = message.top_via().unwrap().branch.unwrap().to_string();
        *self.new.entry(format!("{branch} {}", method.as_str())).or_default() += 1;
        let invite = self.table.invite_of(message);
        let user = String::new();
        let id = self.table.open_server(message, user, self.reliable, Timers::default(), now).unwrap();
        self.opened += 1;
        if method == Method::Cancel {
            self.respond(id, 200, message, now);
            if let Some(invite) = invite {
                self.respond(invite, 487, message, now);
            }
            return;
        }
        let last = 200 + 100 * self.random.below(5) as u16;
        if method == Method::Invite {
            self.later(now, 1_000, Todo::Respond(id, 180, message.clone()));
            self.later(now, 40_000, Todo::Respond(id, last, message.clone()));
        } else if self.random.per_mille(900) {
            // One in ten is never answered.
            self.later(now, 5_000, Todo::Respond(id, last, message.clone()));
        }
    }

    /// Answers if it still may; a CANCEL may have been faster, and the other way round.
    fn respond(&mut self, id: TransactionId, status: u16, request: &Message, now: Instant) {
        let invite = *request.method() != Method::Cancel || status == 487;
        let mut writer = request.response(status, "By Chance").to_tag(&format!("t{}", self.address.port()));
        if status == 487 && *request.method() == Method::Cancel {
            // The 487 answers the INVITE: same head, other method in CSeq.
            let text = String::from_utf8(writer.finish().to_vec()).unwrap().replace("1 CANCEL", "1 INVITE");
            let _ = self.table.respond(id, status, Bytes::from(text), now);
            return;
        }
        writer = writer.header(Header::Contact, format!("<sip:peer@{}>", self.address));
        let bytes = writer.finish();
        let sent = self.table.respond(id, status, bytes.clone(), now).is_ok();
        if sent && invite && *request.method() == Method::Invite && (200..300).contains(&status) {
            let call_id = request.call_id().to_owned();
            self.unacknowledged.insert(call_id.clone(), id);
            let repeat = Todo::Repeat { id, call_id, bytes, after: ms(500), left: 10 };
            self.todo.push((now + ms(500), repeat));
        }
    }

    fn receive_response(&mut self, message: &Message, now: Instant) {
        let status = message.status().unwrap();
        let invite = *message.method() == Method::Invite;
        match self.table.handle_response(message, now) {
            Received::ForUser(id) => {
                let branch = self.table.user(id).cloned().unwrap();
                let end = self.ends.get_mut(&branch).unwrap();
                // A 2xx to an INVITE may come up again.
                if status >= 200 && !(invite && status < 300 && !end.is_empty()) {
                    end.push(status.to_string());
                }
            }
            Received::Absorbed | Received::Stray => {}
        }
        if invite && (200..300).contains(&status) {
            let to = message.header(Header::To).unwrap().to_owned();
            let (_, ack) = self.writer(&Method::Ack, message.call_id(), &to);
            self.send(ack.finish());
        }
    }

    fn send(&mut self, bytes: Bytes) {
        self.packets.push_back(Packet { from: self.address, to: self.peer, bytes });
    }

    fn drain(&mut self) {
        while let Some(output) = self.table.poll_output() {
            match output {
                Output::Send { message, .. } => self.send(message),
                Output::Failed { user, why, .. } => {
                    if let Some(end) = self.ends.get_mut(&user) {
                        end.push(format!("{why:?}"));
                    } else {
                        assert_eq!(why, Failure::NoAck);
                    }
                }
                Output::TryingDue { .. } => {}
                Output::Ended { .. } => self.ended += 1,
            }
        }
    }

    fn act(&mut self, todo: Todo, now: Instant) {
        match todo {
            Todo::Request(method) => self.request(method, now),
            Todo::Respond(id, status, request) => self.respond(id, status, &request, now),
            Todo::Cancel(id) => {
                self.table.cancel(id, None, now);
            }
            Todo::Repeat { id, call_id, bytes, after, left } => {
                if self.unacknowledged.contains_key(&call_id) && left > 0 {
                    let _ = self.table.respond(id, 200, bytes.clone(), now);
                    let after = (after * 2).min(ms(4_000));
                    let repeat = Todo::Repeat { id, call_id, bytes, after, left: left - 1 };
                    self.todo.push((now + after, repeat));
                }
            }
        }
    }
}

impl Node for Chance {
    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        let message = Message::parse(packet.bytes).unwrap();
        if message.is_request() {
            self.receive_request(&message, now);
        } else {
            self.receive_response(&message, now);
        }
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.table.handle_timeout(now);
        self.drain();
        let due: Vec<_> = self.todo.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, todo) in due {
            self.act(todo, now);
        }
        self.drain();
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.todo.iter().map(|(at, _)| *at).chain(self.table.poll_timeout()).min()
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// Both sides send twenty requests at times of their own.
fn run(seed: u64, plan: Plan, reliable: bool) -> (Sim, [NodeRef; 2]) {
    let mut sim = Sim::new(seed, plan);
    let nodes = [(1, 2), (2, 1)].map(|(own, peer)| {
        let mut node = Chance::new(seed * 2 + u64::from(own), address(own), address(peer), reliable);
        let methods = [Method::Invite, Method::Register, Method::Options, Method::Invite];
        for method in methods.iter().cycle().take(20).cloned() {
            node.later(sim.now(), 20_000, Todo::Request(method));
        }
        sim.add(&[address(own)], node)
    });
    assert!(sim.run_until_quiet(Duration::from_secs(600)), "seed {seed}: not quiet after ten minutes");
    (sim, nodes)
}

fn prove(seed: u64, plan: Plan, reliable: bool) {
    let (mut sim, nodes) = run(seed, plan, reliable);
    for node in nodes {
        let node: &mut Chance = sim.node(node);
        assert!(node.table.is_empty(), "seed {seed}: {} transactions left", node.table.len());
        assert_eq!(node.table.poll_timeout(), None, "seed {seed}");
        assert_eq!(node.ended, node.opened, "seed {seed}: each that was opened ends once");
        for (branch, ends) in &node.ends {
            assert_eq!(ends.len(), 1, "seed {seed}: {branch} came to {ends:?}");
        }
        for (branch, times) in &node.new {
            assert_eq!(*times, 1, "seed {seed}: {branch} was new {times} times");
        }
    }
}

#[test]
fn bad_networks_end_in_quiet_with_each_request_at_one_end() {
    for seed in 1..=60 {
        prove(seed, Plan::BAD, false);
    }
}

#[test]
fn worse_networks_too() {
    // Not slower, though: a copy that is older than 64*T1 is a new request by design (§17.2.2).
    let worse = Plan { lost: 600, doubled: 300, ..Plan::BAD };
    for seed in 1..=40 {
        prove(seed, worse, false);
    }
}

#[test]
fn a_dead_network_ends_in_quiet() {
    prove(1, Plan { lost: 1_000, ..Plan::BAD }, false);
}

#[test]
fn reliable_transports_too() {
    for seed in 1..=40 {
        prove(seed, Plan::PERFECT, true);
    }
}

#[test]
fn over_a_perfect_network_nothing_fails_but_what_is_never_answered() {
    let (mut sim, nodes) = run(5, Plan::PERFECT, false);
    let ends: Vec<String> = nodes
        .iter()
        .flat_map(|node| sim.node::<Chance>(*node).ends.values().flatten().cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(ends.len(), 40);
    let timeouts = ends.iter().filter(|end| *end == "Timeout").count();
    assert!((1..10).contains(&timeouts), "{ends:?}");
    assert!(ends.iter().all(|end| end == "Timeout" || end.parse::<u16>().is_ok()), "{ends:?}");
}
