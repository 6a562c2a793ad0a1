//! Few ports, many streams: who is heard, who is dropped, and where what is heard goes.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{at, rtp, s};
use rtp::{
    Dropped, EndpointId, KeepAlive, Learn, NoPort, PortId, Remote, Settings, Signalled, Streams, Verdict,
};

fn receiver_report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet
}

fn signalled(address: &str) -> Signalled {
    let address = at(address);
    Signalled {
        remote: Remote::At(address),
        rtcp: Some(SocketAddr::new(address.ip(), address.port() + 1)),
        payloads: [(0, 8_000), (101, 0)].into_iter().collect(),
        ..Signalled::default()
    }
}

/// Behind a NAT: it says a private address, and its signalling comes from `ip`.
fn behind(ip: &str) -> Signalled {
    Signalled { learn: Learn::From(ip.parse().unwrap()), ..signalled("10.0.0.9:4000") }
}

struct Bench {
    streams: Streams<RandomState>,
    ports: Vec<PortId>,
    now: Instant,
}

impl Bench {
    fn with(ports: u32, settings: Settings) -> Self {
        Bench {
            streams: Streams::new(ports as usize, settings, RandomState::new()),
            ports: (0..ports).map(PortId).collect(),
            now: Instant::now(),
        }
    }

    fn new(ports: u32) -> Self {
        Self::with(ports, Settings::default())
    }

    fn open(&mut self, near: &str, signalled: Signalled) -> Result<EndpointId, NoPort> {
        self.streams.open(self.now, &self.ports, near.parse().unwrap(), signalled)
    }

    /// A call between two sides.
    fn call(&mut self, a: (&str, Signalled), b: (&str, Signalled)) -> (EndpointId, EndpointId) {
        let (a, b) = (self.open(a.0, a.1).unwrap(), self.open(b.0, b.1).unwrap());
        self.streams.join(a, b);
        (a, b)
    }

    fn send(&mut self, to: EndpointId, from: &str, packet: &[u8]) -> Verdict {
        let port = self.streams.port(to).unwrap();
        self.streams.packet(self.now, port, false, at(from), packet)
    }

    fn forward(&self, out_of: EndpointId, to: &str) -> Verdict {
        Verdict::Forward { port: self.streams.port(out_of).unwrap(), rtcp: false, to: at(to) }
    }
}

#[test]
fn what_comes_from_one_side_leaves_for_the_other() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 1)), bench.forward(b, "192.0.2.2:5000"));
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 1)), bench.forward(a, "192.0.2.1:4000"));
    assert_eq!(bench.streams.counters(a).unwrap().sent, 1);
}

#[test]
fn rtp_from_elsewhere_is_dropped_and_counted() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    for from in ["203.0.113.66:4000", "192.0.2.1:4002", "192.0.2.2:5000"] {
        assert_eq!(bench.send(a, from, &rtp(1, 1)), Verdict::Drop(Dropped::Elsewhere), "{from}");
    }
    assert_eq!(bench.streams.counters(a).unwrap().dropped, 3);
    assert_eq!(bench.send(a, "192.0.2.1:4000", b"\x00\x01 stun, perhaps"), Verdict::Drop(Dropped::WrongKind));
    assert_eq!(bench.streams.counters(b).unwrap().reception.packets(), 0);
}

#[test]
fn latching_takes_two_packets_in_sequence_of_one_ssrc() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let nat = "198.51.100.1:61000";
    assert_eq!(bench.send(a, nat, &rtp(1, 1)), Verdict::Drop(Dropped::Probation));
    assert_eq!(bench.send(a, nat, &rtp(1, 3)), Verdict::Drop(Dropped::Probation), "a gap");
    assert_eq!(bench.send(a, nat, &rtp(9, 4)), Verdict::Drop(Dropped::Probation), "another SSRC");
    assert_eq!(bench.send(a, nat, &rtp(1, 4)), bench.forward(b, "192.0.2.2:5000"));
    assert_eq!(bench.streams.source(a), Some(at(nat)));
}

#[test]
fn latching_takes_a_negotiated_payload_type() {
    let mut bench = Bench::new(2);
    let (a, _) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    for sequence in 1..5 {
        let mut packet = rtp(1, sequence);
        packet[1] = 96;
        assert_eq!(bench.send(a, "198.51.100.1:61000", &packet), Verdict::Drop(Dropped::WrongKind));
    }
    assert_eq!(bench.streams.source(a), None);
}

#[test]
fn locked_until_signalling_moves_it() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    for sequence in 1..3 {
        bench.send(a, "198.51.100.1:61000", &rtp(1, sequence));
    }
    for sequence in 3..9 {
        assert_eq!(bench.send(a, "198.51.100.1:62000", &rtp(7, sequence)), Verdict::Drop(Dropped::Elsewhere));
    }
    let now = bench.now;
    bench.streams.signal(now, a, behind("198.51.100.1")).unwrap();
    assert_eq!(bench.streams.source(a), Some(at("198.51.100.1:61000")), "the same again moves nothing");
    bench.streams.signal(now, a, Signalled { ..signalled("192.0.2.77:4444") }).unwrap();
    assert_eq!(bench.send(a, "198.51.100.1:61000", &rtp(1, 9)), Verdict::Drop(Dropped::Former));
    assert_eq!(bench.send(a, "192.0.2.77:4444", &rtp(1, 10)), bench.forward(b, "192.0.2.2:5000"));
}

#[test]
fn nobody_outside_the_signalling_address_can_latch() {
    let mut bench = Bench::new(2);
    let (a, _) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    for sequence in 1..200 {
        assert_eq!(bench.send(a, "203.0.113.66:9", &rtp(1, sequence)), Verdict::Drop(Dropped::Elsewhere));
    }
    assert_eq!(bench.streams.counters(a).unwrap().dropped, 199);
}

#[test]
fn a_peer_behind_no_nat_is_heard_at_the_address_it_said() {
    let mut bench = Bench::new(2);
    let said =
        Signalled { learn: Learn::From("198.51.100.1".parse().unwrap()), ..signalled("198.51.100.1:4000") };
    let (a, b) = bench.call(("198.51.100.1", said), ("192.0.2.2", signalled("192.0.2.2:5000")));
    assert_eq!(bench.send(a, "198.51.100.1:4000", &rtp(1, 1)), bench.forward(b, "192.0.2.2:5000"));
}

#[test]
fn a_sends_on_after_bye_while_b_behind_the_same_address_is_called_on_that_port() {
    let mut bench = Bench::new(1);
    let first = bench.open("198.51.100.1", behind("198.51.100.1")).unwrap();
    for sequence in 1..4 {
        bench.send(first, "198.51.100.1:61000", &rtp(1, sequence));
    }
    assert_eq!(bench.streams.source(first), Some(at("198.51.100.1:61000")));
    bench.streams.close(bench.now, first);

    let (b, other) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    assert_eq!(bench.streams.port(b), Some(PortId(0)));
    for sequence in 4..1_400 {
        assert_eq!(bench.send(b, "198.51.100.1:61000", &rtp(1, sequence)), Verdict::Drop(Dropped::Former));
        bench.now += Duration::from_millis(20);
    }
    bench.send(b, "198.51.100.1:62000", &rtp(2, 1));
    assert_eq!(bench.send(b, "198.51.100.1:62000", &rtp(2, 2)), bench.forward(other, "192.0.2.2:5000"));
    assert_eq!(bench.streams.source(b), Some(at("198.51.100.1:62000")));
    assert_eq!(bench.send(b, "198.51.100.1:61000", &rtp(1, 1_400)), Verdict::Drop(Dropped::Former));
}

#[test]
fn a_former_triple_is_free_after_30_seconds() {
    let mut bench = Bench::new(1);
    let first = bench.open("192.0.2.1", signalled("192.0.2.1:4000")).unwrap();
    bench.streams.close(bench.now, first);
    assert_eq!(bench.streams.sizes(), (0, 0, 1));
    bench.now += s(31);
    bench.streams.tick(bench.now, |_| {});
    assert_eq!(bench.streams.sizes(), (0, 0, 0));
}

#[test]
fn two_calls_to_one_remote_address_and_port_take_two_ports() {
    let mut bench = Bench::new(2);
    let one = bench.open("192.0.2.1", signalled("192.0.2.1:4000")).unwrap();
    let two = bench.open("192.0.2.1", signalled("192.0.2.1:4000")).unwrap();
    assert_ne!(bench.streams.port(one), bench.streams.port(two));
    assert_eq!(bench.open("192.0.2.1", signalled("192.0.2.1:4000")), Err(NoPort));
    bench.open("192.0.2.1", signalled("192.0.2.1:4002")).unwrap();
}

#[test]
fn a_new_call_from_an_address_prefers_a_port_where_it_has_nothing_former() {
    let mut bench = Bench::new(3);
    let first = bench.open("192.0.2.1", signalled("192.0.2.1:4000")).unwrap();
    let used = bench.streams.port(first);
    bench.streams.close(bench.now, first);
    for _ in 0..2 {
        let again = bench.open("192.0.2.1", behind("192.0.2.1")).unwrap();
        assert_ne!(bench.streams.port(again), used);
    }
}

#[test]
fn a_signalled_address_that_is_former_on_every_port_is_taken_back_and_the_old_ssrc_barred() {
    let mut bench = Bench::new(1);
    let first = bench.open("192.0.2.1", signalled("192.0.2.1:4000")).unwrap();
    bench.send(first, "192.0.2.1:4000", &rtp(1, 1));
    bench.streams.close(bench.now, first);
    let (again, other) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    assert_eq!(bench.send(again, "192.0.2.1:4000", &rtp(1, 2)), Verdict::Drop(Dropped::Former));
    assert_eq!(bench.send(again, "192.0.2.1:4000", &rtp(2, 1)), bench.forward(other, "192.0.2.2:5000"));
}

#[test]
fn no_two_on_a_port_wait_for_the_same_address() {
    let mut bench = Bench::new(2);
    bench.open("198.51.100.1", behind("198.51.100.1")).unwrap();
    let second = bench.open("198.51.100.1", behind("198.51.100.1")).unwrap();
    assert_eq!(bench.open("198.51.100.1", behind("198.51.100.1")), Err(NoPort));
    bench.open("198.51.100.2", behind("198.51.100.2")).unwrap();
    // It has been heard, so its port may wait for another.
    for sequence in 1..3 {
        bench.send(second, "198.51.100.1:61000", &rtp(1, sequence));
    }
    bench.open("198.51.100.1", behind("198.51.100.1")).unwrap();
}

#[test]
fn what_overtakes_the_answer_is_heard_and_goes_on_being_heard() {
    let mut bench = Bench::new(1);
    let (nat, phone) = ("198.51.100.1", "198.51.100.1:61000");
    let rings = Signalled { remote: Remote::Unknown, rtcp: None, ..behind(nat) };
    let (callee, caller) = bench.call((nat, rings.clone()), ("192.0.2.2", signalled("192.0.2.2:5000")));
    bench.send(callee, phone, &rtp(1, 1));
    assert_eq!(bench.send(callee, phone, &rtp(1, 2)), bench.forward(caller, "192.0.2.2:5000"));
    // Somebody else of that NAT is waited for on the port since then, which the answer does not mind.
    let other = bench.open(nat, rings).unwrap();
    bench.streams.signal(bench.now, callee, behind(nat)).unwrap();
    assert_eq!(bench.streams.source(callee), Some(at(phone)));
    assert_eq!(bench.send(callee, phone, &rtp(1, 3)), bench.forward(caller, "192.0.2.2:5000"));
    assert_eq!(bench.send(caller, "192.0.2.2:5000", &rtp(2, 1)), bench.forward(callee, phone));
    assert_eq!(bench.streams.source(other), None);
    // The same description again moves nothing, another address does.
    bench.streams.signal(bench.now, callee, behind(nat)).unwrap();
    assert_eq!(bench.send(callee, phone, &rtp(1, 4)), bench.forward(caller, "192.0.2.2:5000"));
    bench.streams.close(bench.now, other);
    let moved = Signalled { remote: Remote::At(at("10.0.0.10:4000")), ..behind(nat) };
    bench.streams.signal(bench.now, callee, moved).unwrap();
    bench.send(callee, "198.51.100.1:62000", &rtp(1, 5));
    let second = bench.send(callee, "198.51.100.1:62000", &rtp(1, 6));
    assert_eq!(second, bench.forward(caller, "192.0.2.2:5000"));
}

#[test]
fn who_has_not_been_told_its_port_takes_nobodys_place() {
    let mut bench = Bench::new(2);
    let nat = "198.51.100.1";
    let untold = Signalled { untold: true, ..behind(nat) };
    let callers: Vec<_> = (0..5).map(|_| bench.open(nat, untold.clone()).unwrap()).collect();
    assert_eq!(bench.streams.sizes(), (0, 0, 0), "nothing is waited for");
    let (caller, callee) = (callers[0], bench.open("192.0.2.2", signalled("192.0.2.2:5000")).unwrap());
    bench.streams.join(caller, callee);
    for sequence in 1..4 {
        let verdict = bench.send(caller, "198.51.100.1:61000", &rtp(1, sequence));
        assert_eq!(verdict, Verdict::Drop(Dropped::Elsewhere), "it cannot know the port");
    }
    // What the one called sends before its answer is known goes where the caller said it listens.
    assert_eq!(bench.send(callee, "192.0.2.2:5000", &rtp(2, 1)), bench.forward(caller, "10.0.0.9:4000"));
    // The answer tells it: from now on it is waited for, as its address says.
    bench.streams.signal(bench.now, caller, behind(nat)).unwrap();
    bench.send(caller, "198.51.100.1:61000", &rtp(1, 4));
    let second = bench.send(caller, "198.51.100.1:61000", &rtp(1, 5));
    assert_eq!(second, bench.forward(callee, "192.0.2.2:5000"));
    assert_eq!(bench.streams.source(caller), Some(at("198.51.100.1:61000")));
}

#[test]
fn the_last_port_of_an_address_is_left_for_who_answers() {
    let mut bench = Bench::new(3);
    let nat = "198.51.100.1";
    let rings = Signalled { remote: Remote::Unknown, rtcp: None, ..behind(nat) };
    let caller = bench.open(nat, Signalled { untold: true, ..behind(nat) }).unwrap();
    let first = bench.open(nat, rings.clone()).unwrap();
    bench.open(nat, rings.clone()).unwrap();
    assert_eq!(bench.open(nat, rings.clone()), Err(NoPort));
    bench.open("198.51.100.2", Signalled { remote: Remote::Unknown, ..behind("198.51.100.2") }).unwrap();
    // The first answers: it is waited for already, and its caller has a port as well, if not the one it had in mind.
    bench.streams.signal(bench.now, first, behind(nat)).unwrap();
    if bench.streams.signal(bench.now, caller, behind(nat)).is_err() {
        bench.open(nat, behind(nat)).unwrap();
    }
    // One port alone is not kept back.
    let mut bench = Bench::new(1);
    bench.open(nat, rings).unwrap();
}

#[test]
fn one_that_may_come_from_anywhere_waits_alone() {
    let mut bench = Bench::new(2);
    let anywhere = || Signalled { learn: Learn::Anywhere, ..signalled("10.0.0.9:4000") };
    let (a, b) = bench.call(("198.51.100.1", anywhere()), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let other = bench.open("198.51.100.2", behind("198.51.100.2")).unwrap();
    assert_ne!(bench.streams.port(a), bench.streams.port(other));
    assert_eq!(bench.open("198.51.100.1", anywhere()), Err(NoPort));
    bench.send(a, "203.0.113.5:7000", &rtp(1, 1));
    assert_eq!(bench.send(a, "203.0.113.5:7000", &rtp(1, 2)), bench.forward(b, "192.0.2.2:5000"));
    bench.open("198.51.100.1", anywhere()).unwrap();
}

#[test]
fn one_that_may_come_from_anywhere_is_followed_once_its_source_is_silent() {
    let mut bench = Bench::new(1);
    let anywhere = Signalled { learn: Learn::Anywhere, ..signalled("10.0.0.9:4000") };
    let (a, b) = bench.call(("198.51.100.1", anywhere), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let (old, new) = ("203.0.113.5:7000", "203.0.113.5:7001");
    bench.send(a, old, &rtp(1, 1));
    bench.send(a, old, &rtp(1, 2));
    bench.now += Duration::from_millis(20);
    for sequence in 3..6 {
        assert_eq!(
            bench.send(a, new, &rtp(1, sequence)),
            Verdict::Drop(Dropped::Elsewhere),
            "it was just heard"
        );
    }
    bench.now += Duration::from_millis(40);
    for sequence in 3..6 {
        assert_eq!(
            bench.send(a, new, &rtp(7, sequence)),
            Verdict::Drop(Dropped::Elsewhere),
            "another stream"
        );
    }
    assert_eq!(bench.send(a, new, &rtp(1, 3)), Verdict::Drop(Dropped::Probation));
    assert_eq!(bench.streams.source(a), Some(at(old)));
    assert_eq!(bench.send(a, new, &rtp(1, 4)), bench.forward(b, "192.0.2.2:5000"));
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 1)), bench.forward(a, new), "so does what it hears");
    assert_eq!(bench.send(a, old, &rtp(1, 5)), Verdict::Drop(Dropped::Former));
    // And back to the first one, which is its own.
    bench.now += Duration::from_millis(60);
    assert_eq!(bench.send(a, old, &rtp(1, 6)), Verdict::Drop(Dropped::Probation));
    assert_eq!(bench.send(a, old, &rtp(1, 7)), bench.forward(b, "192.0.2.2:5000"));
    assert_eq!(bench.streams.source(a), Some(at(old)));
}

#[test]
fn nobody_else_is_followed_without_signalling() {
    let mut bench = Bench::new(1);
    let (a, _) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    bench.send(a, "198.51.100.1:61000", &rtp(1, 1));
    bench.send(a, "198.51.100.1:61000", &rtp(1, 2));
    bench.now += s(5);
    for sequence in 3..8 {
        let verdict = bench.send(a, "198.51.100.1:61001", &rtp(1, sequence));
        assert_eq!(verdict, Verdict::Drop(Dropped::Elsewhere));
    }
    assert_eq!(bench.streams.source(a), Some(at("198.51.100.1:61000")));
}

#[test]
fn the_answer_tells_where_a_called_phone_is() {
    let mut bench = Bench::new(1);
    let (a, b) = bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", Signalled::default()));
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 1)), Verdict::Drop(Dropped::Elsewhere));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 1)), Verdict::Drop(Dropped::NoDestination));
    bench.streams.signal(bench.now, b, signalled("192.0.2.2:5000")).unwrap();
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 2)), bench.forward(a, "192.0.2.1:4000"));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 2)), bench.forward(b, "192.0.2.2:5000"));
}

#[test]
fn rfc_3264_8_4_a_zero_address_mutes_and_keeps_the_source() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let hold = Signalled { remote: Remote::Zero, rtcp: None, ..signalled("192.0.2.1:4000") };
    bench.streams.signal(bench.now, a, hold).unwrap();
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 1)), Verdict::Drop(Dropped::NoDestination));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 1)), bench.forward(b, "192.0.2.2:5000"));
    bench.streams.signal(bench.now, a, signalled("192.0.2.1:4000")).unwrap();
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 2)), bench.forward(a, "192.0.2.1:4000"));
}

#[test]
fn rtcp_never_waits_its_ssrc_names_the_stream() {
    let mut bench = Bench::new(1);
    let (a, b) =
        bench.call(("198.51.100.1", behind("198.51.100.1")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let port = bench.streams.port(a).unwrap();
    let from = at("198.51.100.1:61999");
    let now = bench.now;
    let unknown = bench.streams.packet(now, port, true, from, &receiver_report(1));
    assert_eq!(unknown, Verdict::Drop(Dropped::UnknownReport));
    for sequence in 1..3 {
        bench.send(a, "198.51.100.1:61000", &rtp(1, sequence));
    }
    let known = bench.streams.packet(now, port, true, from, &receiver_report(1));
    assert_eq!(
        known,
        Verdict::Forward { port: bench.streams.port(b).unwrap(), rtcp: true, to: at("192.0.2.2:5001") }
    );
    let forged = bench.streams.packet(now, port, true, at("203.0.113.66:9"), &receiver_report(1));
    assert_eq!(forged, Verdict::Drop(Dropped::UnknownReport));
    // The other way it goes where it was heard from.
    let back = bench.streams.packet(now, port, true, at("192.0.2.2:5001"), &receiver_report(2));
    assert_eq!(back, Verdict::Forward { port, rtcp: true, to: from });
}

#[test]
fn rfc_5761_one_leg_muxes_and_the_other_does_not() {
    let mut bench = Bench::new(2);
    let mux = Signalled { mux: true, rtcp: None, ..signalled("192.0.2.1:4000") };
    let (a, b) = bench.call(("192.0.2.1", mux), ("192.0.2.2", signalled("192.0.2.2:5000")));
    let out = bench.send(a, "192.0.2.1:4000", &receiver_report(1));
    assert_eq!(
        out,
        Verdict::Forward { port: bench.streams.port(b).unwrap(), rtcp: true, to: at("192.0.2.2:5001") }
    );
    let port = bench.streams.port(b).unwrap();
    let back = bench.streams.packet(bench.now, port, true, at("192.0.2.2:5001"), &receiver_report(2));
    assert_eq!(back, bench.forward(a, "192.0.2.1:4000"));
    assert_eq!(bench.send(b, "192.0.2.2:5000", &receiver_report(2)), Verdict::Drop(Dropped::WrongKind));
}

#[test]
fn rfc_3550_6_4_1_the_round_trip_is_known_from_reports() {
    let mut bench = Bench::new(2);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    bench.send(a, "192.0.2.1:4000", &rtp(1, 1));
    bench.send(b, "192.0.2.2:5000", &rtp(2, 1));
    let mut sender = vec![0x80, 200, 0, 6];
    sender.extend(1_u32.to_be_bytes());
    sender.extend(0x0000_1111_2222_0000_u64.to_be_bytes());
    sender.extend([0; 12]);
    let (port_a, port_b) = (bench.streams.port(a).unwrap(), bench.streams.port(b).unwrap());
    let passed = bench.streams.packet(bench.now, port_a, true, at("192.0.2.1:4001"), &sender);
    assert!(matches!(passed, Verdict::Forward { .. }));
    let mut receiver = vec![0x81, 201, 0, 7];
    receiver.extend(2_u32.to_be_bytes());
    receiver.extend(1_u32.to_be_bytes());
    receiver.extend([0, 0, 0, 7]);
    receiver.extend(1_u32.to_be_bytes());
    receiver.extend(80_u32.to_be_bytes());
    receiver.extend(0x1111_2222_u32.to_be_bytes());
    receiver.extend(32_768_u32.to_be_bytes());
    bench.now += Duration::from_millis(540);
    let back = bench.streams.packet(bench.now, port_b, true, at("192.0.2.2:5001"), &receiver);
    assert!(matches!(back, Verdict::Forward { .. }));
    let counters = bench.streams.counters(b).unwrap();
    assert_eq!(counters.round_trip_us, Some(40_000));
    assert_eq!((counters.reported_lost, counters.reported_jitter_us), (7, 10_000));
}

#[test]
fn a_port_behind_a_service_hears_before_it_speaks() {
    let settings = Settings { hear_before_speak: Some(s(3)), ..Settings::default() };
    let mut bench = Bench::with(2, settings);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 1)), Verdict::Drop(Dropped::Unheard));
    assert_eq!(bench.send(b, "192.0.2.2:5000", &rtp(2, 1)), bench.forward(a, "192.0.2.1:4000"));
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 2)), bench.forward(b, "192.0.2.2:5000"));
    // Kept alive while nothing else is sent …
    bench.now += s(16);
    let mut due: Vec<KeepAlive> = Vec::new();
    bench.streams.tick(bench.now, |keep| due.push(keep));
    due.sort_by_key(|keep| keep.to);
    assert_eq!(
        due.iter().map(|keep| keep.to).collect::<Vec<_>>(),
        [at("192.0.2.1:4000"), at("192.0.2.2:5000")]
    );
    // … and unheard when nothing passed for 25 s all the same.
    bench.now += s(26);
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 3)), Verdict::Drop(Dropped::Unheard));
}

#[test]
fn two_relays_that_face_each_other_speak_after_the_limit() {
    let settings = Settings { hear_before_speak: Some(s(3)), ..Settings::default() };
    let mut bench = Bench::with(2, settings);
    let (a, b) =
        bench.call(("192.0.2.1", signalled("192.0.2.1:4000")), ("192.0.2.2", signalled("192.0.2.2:5000")));
    for sequence in 0..149 {
        bench.now += Duration::from_millis(20);
        assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, sequence)), Verdict::Drop(Dropped::Unheard));
    }
    bench.now += Duration::from_millis(40);
    assert_eq!(bench.send(a, "192.0.2.1:4000", &rtp(1, 149)), bench.forward(b, "192.0.2.2:5000"));
}

#[test]
fn after_100_000_streams_nothing_is_left() {
    let mut bench = Bench::new(5);
    for call in 0..50_000_u32 {
        let address = |port: u32| format!("192.0.{}.{}:{port}", call % 7, call % 250);
        let (a, b) = (address(4_000 + call % 1_000), address(5_100 + call % 999));
        let waits = behind(a.split(':').next().unwrap());
        let first = if call % 3 == 0 { waits } else { signalled(&a) };
        let Ok(a_id) = bench.open("192.0.2.1", first) else { continue };
        if let Ok(b_id) = bench.open("192.0.2.2", signalled(&b)) {
            bench.streams.join(a_id, b_id);
            bench.send(a_id, &a, &rtp(call, 1));
            bench.send(a_id, &a, &rtp(call, 2));
            assert!(bench.streams.close(bench.now, b_id).is_some());
        }
        assert!(bench.streams.close(bench.now, a_id).is_some());
        assert!(bench.streams.close(bench.now, a_id).is_none(), "closed once");
        bench.now += Duration::from_millis(5);
        if call % 200 == 0 {
            bench.streams.tick(bench.now, |_| {});
        }
    }
    bench.now += s(31);
    bench.streams.tick(bench.now, |_| {});
    assert_eq!(bench.streams.sizes(), (0, 0, 0));
}
