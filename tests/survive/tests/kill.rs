//! kill -9: a fresh process with another pod id and another number of shards reads a call from the store and goes on
//! with it at CSeq + 1000: re-INVITE and BYE from each side. On a redb file and on a real Redis.
//!
//! The phones live in this process, the edge in a child that is this very test binary; between them is UDP on the
//! loopback. What the edge's registrar is told of the call, the child writes into the store.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../crates/fairlead-core/tests/common/mod.rs"]
mod common;
#[path = "../../../crates/fairlead-store/tests/server/mod.rs"]
mod server;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use fairlead_core::input::Input;
use fairlead_model::id::{CallRef, PodRef};
use fairlead_store::{FileStore, RedisSettings, RedisStore, Step, Store};
use fairlead_testkit::{CallState, Heard, Node, Packet, Phone};
use sip_wire::Method;

/// `pod;store;edge address;phone addresses;Call-ID to go on with`.
const CHILD: &str = "FAIRLEAD_SURVIVE_CHILD";
const HELD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";

/// Runs a node on a socket for one turn of at most 5 ms.
fn turn(node: &mut dyn Node, socket: &UdpSocket) {
    let mut buffer = [0; 65_535];
    let local = socket.local_addr().unwrap();
    while let Some(packet) = node.poll_packet(Instant::now()) {
        socket.send_to(&packet.bytes, packet.to).unwrap();
    }
    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let bytes = bytes::Bytes::copy_from_slice(&buffer[..length]);
        node.handle_packet(Packet { from, to: local, bytes }, Instant::now());
    }
    if node.poll_timeout().is_some_and(|at| at <= Instant::now()) {
        node.handle_timeout(Instant::now());
    }
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(ms(5))).unwrap();
    socket
}

async fn open(store: &str) -> Box<dyn Store> {
    match store.strip_prefix("file:") {
        Some(path) => {
            // Whoever had it before may still be dying.
            for _ in 0..100 {
                if let Ok(store) = FileStore::open(path) {
                    return Box::new(store);
                }
                tokio::time::sleep(ms(20)).await;
            }
            panic!("{path} is not free");
        }
        None => {
            let store = RedisStore::open(RedisSettings::new(store)).unwrap();
            assert!(store.wait_until_present(Duration::from_secs(5)).await);
            Box::new(store)
        }
    }
}

/// The edge, when this process is a child; otherwise nothing to do.
#[test]
fn the_edge_in_a_process_of_its_own() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut told = told.split(';');
    let mut next = || told.next().unwrap().to_owned();
    let (pod, store, address, phones, call_id) = (next(), next(), next(), next(), next());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = runtime.block_on(open(&store));
    let run = |step| runtime.block_on(store.run_one(step)).unwrap();
    let mut edge = Edge::new(&[ip(&address)]);
    edge.trust(&["127.0.0.0/8"]);
    let phone = target("bob", ip(phones.split(',').nth(1).unwrap()));
    edge.registrar.targets.insert("bob".to_owned(), vec![phone]);
    if !call_id.is_empty() {
        // Another pod, and another number of shards.
        edge.replace_pod(0, PodRef(pod.parse().unwrap()), 2, 3, Instant::now());
        let record = run(Step::CheckpointByCallId { call_id }).checkpoint().unwrap().expect("a record");
        edge.registrar.checkpoints.insert(record.call, (*record).clone());
        edge.input(0, Input::Adopt(*record), Instant::now());
    }
    let socket = socket(&address);
    let mut written: HashMap<CallRef, u64> = HashMap::new();
    loop {
        turn(&mut edge, &socket);
        for record in edge.registrar.checkpoints.values() {
            if written.insert(record.call, record.written.0) != Some(record.written.0) {
                run(Step::WriteCheckpoint(Box::new(record.clone())));
            }
        }
        written.retain(|call, _| {
            let there = edge.registrar.checkpoints.contains_key(call);
            if !there {
                run(Step::EndCheckpoint { call: *call });
            }
            there
        });
    }
}

/// The edge's process; killed with the test.
struct EdgeProcess(Child);

impl EdgeProcess {
    fn start(pod: u64, store: &str, address: SocketAddr, phones: &[SocketAddr], call_id: &str) -> Self {
        let phones: Vec<String> = phones.iter().map(SocketAddr::to_string).collect();
        let told = format!("{pod};{store};{address};{};{call_id}", phones.join(","));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_edge_in_a_process_of_its_own", "--exact", "--nocapture"])
            .env(CHILD, told)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        EdgeProcess(child)
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for EdgeProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Phones {
    nodes: [Phone; 2],
    sockets: [UdpSocket; 2],
}

impl Phones {
    fn run_until(&mut self, what: &str, mut done: impl FnMut(&[Phone; 2]) -> bool) {
        let end = Instant::now() + Duration::from_secs(15);
        while !done(&self.nodes) {
            assert!(Instant::now() < end, "not in time: {what}");
            for (node, socket) in self.nodes.iter_mut().zip(&self.sockets) {
                turn(node, socket);
            }
        }
    }
}

fn last_cseq(phone: &Phone, method: Method) -> u32 {
    let of = |m: &&sip_wire::Message| m.is_request() && *m.method() == method;
    phone.messages().iter().rfind(of).unwrap().cseq().unwrap().number
}

fn is_up(phone: &Phone) -> bool {
    phone.calls().iter().any(|call| call.state == CallState::Up)
}

fn reinvites(phone: &Phone) -> usize {
    phone.heard().iter().filter(|heard| **heard == Heard::Request(Method::Invite)).count()
}

/// One call over the death of its process; `ender` hangs up: 0 the caller, 1 the callee.
fn a_call_outlives_its_process(store: &str, ender: usize) {
    let edge_socket = socket("127.0.0.1:0");
    let edge = edge_socket.local_addr().unwrap();
    drop(edge_socket);
    let sockets = [socket("127.0.0.1:0"), socket("127.0.0.1:0")];
    let addresses = [sockets[0].local_addr().unwrap(), sockets[1].local_addr().unwrap()];
    let nodes = [0, 1].map(|at| Phone::new(["ann", "bob"][at], "secret", addresses[at], edge, DOMAIN));
    let mut phones = Phones { nodes, sockets };

    let first = EdgeProcess::start(1, store, edge, &addresses, "");
    phones.nodes[0].call("bob", Instant::now());
    phones.run_until("the call is up", |nodes| nodes.iter().all(is_up));
    // The caller's ACK, and the record behind it.
    let settled = Instant::now() + ms(500);
    phones.run_until("the record is written", |_| Instant::now() > settled);
    first.kill();

    let call_id = phones.nodes[0].calls()[0].call_id.clone();
    let second = EdgeProcess::start(99, store, edge, &addresses, &call_id);
    let before = [reinvites(&phones.nodes[0]), reinvites(&phones.nodes[1])];
    phones.nodes[0].reinvite(0, HELD, Instant::now());
    phones.run_until("the caller's re-INVITE arrives", |[_, bob]| reinvites(bob) == before[1] + 1);
    assert!(last_cseq(&phones.nodes[1], Method::Invite) > 1000);
    let settled = Instant::now() + ms(300);
    phones.run_until("it is acknowledged", |_| Instant::now() > settled);
    phones.nodes[1].reinvite(0, HELD, Instant::now());
    phones.run_until("the callee's re-INVITE arrives", |[ann, _]| reinvites(ann) == before[0] + 1);
    assert!(last_cseq(&phones.nodes[0], Method::Invite) > 1000);
    let settled = Instant::now() + ms(300);
    phones.run_until("it is acknowledged", |_| Instant::now() > settled);
    phones.nodes[ender].hang_up(0, Instant::now());
    phones.run_until("both have hung up", |[ann, bob]| ann.calls()[0].is_over() && bob.calls()[0].is_over());
    assert!(last_cseq(&phones.nodes[1 - ender], Method::Bye) > 1000);
    let settled = Instant::now() + ms(300);
    phones.run_until("the record is gone", |_| Instant::now() > settled);
    second.kill();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let left = runtime.block_on(async {
        let by = Step::CheckpointByCallId { call_id };
        open(store).await.run_one(by).await.unwrap().checkpoint().unwrap()
    });
    assert!(left.is_none(), "a record of a call that is over");
}

#[test]
fn on_a_file_the_caller_hangs_up() {
    let dir = tempfile::tempdir().unwrap();
    a_call_outlives_its_process(&format!("file:{}", dir.path().join("store.redb").display()), 0);
}

#[test]
fn on_a_file_the_callee_hangs_up() {
    let dir = tempfile::tempdir().unwrap();
    a_call_outlives_its_process(&format!("file:{}", dir.path().join("store.redb").display()), 1);
}

#[test]
fn on_redis_the_caller_hangs_up() {
    let redis = server::Server::start();
    a_call_outlives_its_process(&redis.url(), 0);
}

#[test]
fn on_redis_the_callee_hangs_up() {
    let redis = server::Server::start();
    a_call_outlives_its_process(&redis.url(), 1);
}
