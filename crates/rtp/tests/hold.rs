//! Calls on hold behind a Service: flows that nobody uses for minutes, and who is heard when it goes on.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::Instant;

use common::{at, rtp, s, signalled};
use rtp::{Dropped, EndpointId, KeepAlive, Learn, PortId, Remote, Settings, Signalled, Streams, Verdict};

const NAT: &str = "192.0.2.1:40002";
const TRUNK: &str = "198.51.100.7:5000";

/// A phone behind a NAT (A) and a trunk (B), who have heard each other through a relay behind a Service.
struct Held {
    streams: Streams<RandomState>,
    now: Instant,
    a: EndpointId,
    b: EndpointId,
    /// Of A and of B.
    sequences: [u16; 2],
}

fn phone() -> Signalled {
    signalled("10.0.0.9:4000", Learn::From(at(NAT).ip()))
}

impl Held {
    fn new() -> Self {
        let settings = Settings { hear_before_speak: Some(s(3)), ..Settings::default() };
        let mut streams = Streams::new(2, settings, RandomState::new());
        let now = Instant::now();
        let ports = [PortId(0), PortId(1)];
        let a = streams.open(now, &ports, at(NAT).ip(), phone()).unwrap();
        let b = streams.open(now, &ports, at(TRUNK).ip(), signalled(TRUNK, Learn::Never)).unwrap();
        streams.join(a, b);
        let mut held = Held { streams, now, a, b, sequences: [0; 2] };
        for _ in 0..3 {
            held.a_sends(NAT);
            held.b_sends();
        }
        assert!(matches!(held.a_sends(NAT), Verdict::Forward { .. }));
        assert!(matches!(held.b_sends(), Verdict::Forward { .. }));
        held
    }

    fn a_sends(&mut self, from: &str) -> Verdict {
        self.sequences[0] += 1;
        let port = self.streams.port(self.a).unwrap();
        self.streams.packet(self.now, port, false, at(from), &rtp(7, self.sequences[0]))
    }

    fn b_sends(&mut self) -> Verdict {
        self.sequences[1] += 1;
        let port = self.streams.port(self.b).unwrap();
        self.streams.packet(self.now, port, false, at(TRUNK), &rtp(8, self.sequences[1]))
    }

    /// Where something from B goes.
    fn towards_a(&mut self) -> Option<SocketAddr> {
        match self.b_sends() {
            Verdict::Forward { to, .. } => Some(to),
            Verdict::Drop(_) => None,
        }
    }

    /// Nobody says anything for so long; what is sent to keep flows alive.
    fn silence(&mut self, seconds: u64) -> Vec<(u64, SocketAddr)> {
        let mut sent = Vec::new();
        for second in 1..=seconds {
            self.now += s(1);
            self.streams.tick(self.now, |keep: KeepAlive| sent.push((second, keep.to)));
        }
        sent
    }

    /// A re-INVITE and its answer say the same addresses again.
    fn signal_again(&mut self) {
        self.streams.signal(self.now, self.a, phone()).unwrap();
        self.streams.signal(self.now, self.b, signalled(TRUNK, Learn::Never)).unwrap();
    }
}

#[test]
fn rfc_6263_4_1_after_150_seconds_of_hold_both_hear_at_the_first_packet() {
    let mut held = Held::new();
    held.signal_again();
    let sent = held.silence(150);
    let to = |address: &str| -> Vec<u64> {
        sent.iter().filter(|(_, to)| *to == at(address)).map(|(second, _)| *second).collect()
    };
    let every_15: Vec<u64> = (1..=10).map(|n| n * 15).collect();
    assert_eq!((to(NAT), to(TRUNK)), (every_15.clone(), every_15));
    held.signal_again();
    assert_eq!(held.towards_a(), Some(at(NAT)));
    assert!(matches!(held.a_sends(NAT), Verdict::Forward { .. }), "the first packet, not the second");
}

#[test]
fn rfc_6263_3_a_hold_with_the_zero_address_is_kept_alive_too() {
    let mut held = Held::new();
    let zero = Signalled { remote: Remote::Zero, ..phone() };
    held.streams.signal(held.now, held.a, zero).unwrap();
    assert_eq!(held.towards_a(), None, "RFC 3264 section 8.4");
    let sent = held.silence(40);
    assert_eq!(sent.iter().filter(|(_, to)| *to == at(NAT)).count(), 2);
    held.signal_again();
    assert_eq!(held.towards_a(), Some(at(NAT)));
}

#[test]
fn a_nat_that_forgot_the_phone_on_hold_gives_it_another_port_which_is_learned_when_it_goes_on() {
    let mut held = Held::new();
    held.signal_again();
    held.silence(150);
    held.signal_again();
    let moved = "192.0.2.1:40777";
    assert_eq!(held.towards_a(), Some(at(NAT)), "as long as nothing else is known");
    assert_eq!(held.a_sends(moved), Verdict::Drop(Dropped::Probation));
    assert!(matches!(held.a_sends(moved), Verdict::Forward { .. }));
    assert_eq!(held.towards_a(), Some(at(moved)));
    assert_eq!(held.streams.source(held.a), Some(at(moved)));
    assert_eq!(held.a_sends(NAT), Verdict::Drop(Dropped::Former), "where it was is over");
    assert_eq!(held.a_sends("192.0.2.1:40778"), Verdict::Drop(Dropped::Elsewhere), "learned once");
    assert_eq!(held.streams.sizes().1, 0, "nobody waits any more");
}

#[test]
fn where_it_was_is_believed_at_once_and_ends_the_waiting() {
    let mut held = Held::new();
    held.silence(150);
    held.signal_again();
    assert!(matches!(held.a_sends(NAT), Verdict::Forward { .. }));
    for _ in 0..3 {
        assert_eq!(held.a_sends("192.0.2.1:40777"), Verdict::Drop(Dropped::Elsewhere));
    }
}

#[test]
fn silence_alone_lets_nobody_in_nor_does_signalling_while_the_phone_speaks() {
    let mut held = Held::new();
    held.silence(150);
    for _ in 0..3 {
        assert_eq!(held.a_sends("192.0.2.1:40777"), Verdict::Drop(Dropped::Elsewhere), "no signalling");
    }
    assert!(matches!(held.a_sends(NAT), Verdict::Forward { .. }));
    held.signal_again();
    for _ in 0..3 {
        assert_eq!(held.a_sends("192.0.2.1:40777"), Verdict::Drop(Dropped::Elsewhere), "it has just spoken");
    }
}

#[test]
fn somebody_at_another_address_is_not_learned_after_a_hold() {
    let mut held = Held::new();
    held.silence(150);
    held.signal_again();
    for _ in 0..5 {
        assert_eq!(held.a_sends("203.0.113.66:40002"), Verdict::Drop(Dropped::Elsewhere));
    }
    assert!(matches!(held.a_sends(NAT), Verdict::Forward { .. }));
}

#[test]
fn nothing_is_left_of_one_that_ends_while_it_waits_again() {
    let mut held = Held::new();
    held.silence(150);
    held.signal_again();
    assert_eq!(held.streams.sizes(), (2, 1, 0));
    held.streams.close(held.now, held.a);
    held.streams.close(held.now, held.b);
    assert_eq!(held.streams.sizes(), (0, 0, 2));
    held.silence(31);
    assert_eq!(held.streams.sizes(), (0, 0, 0));
}

#[test]
fn two_phones_that_may_come_from_anywhere_take_a_port_each_and_hear_each_other() {
    let settings = Settings { hear_before_speak: Some(s(3)), ..Settings::default() };
    let mut streams = Streams::new(2, settings, RandomState::new());
    let (now, ports) = (Instant::now(), [PortId(0), PortId(1)]);
    let pod = |address| signalled(address, Learn::Anywhere);
    let a = streams.open(now, &ports, at("10.1.0.5:1").ip(), pod("10.1.0.5:4000")).unwrap();
    let b = streams.open(now, &ports, at("10.1.0.5:1").ip(), pod("10.1.0.5:5000")).unwrap();
    streams.join(a, b);
    assert_ne!(streams.port(a), streams.port(b));
    // Masqueraded: from addresses of nodes, with any ports.
    let (from_a, from_b) = (at("172.18.0.2:61001"), at("172.18.0.3:33007"));
    let mut last = [None, None];
    for sequence in 1..=4 {
        let (port_a, port_b) = (streams.port(a).unwrap(), streams.port(b).unwrap());
        last[0] = Some(streams.packet(now, port_a, false, from_a, &rtp(1, sequence)));
        last[1] = Some(streams.packet(now, port_b, false, from_b, &rtp(2, sequence)));
    }
    assert!(matches!(last[0], Some(Verdict::Forward { to, .. }) if to == from_b), "{last:?}");
    assert!(matches!(last[1], Some(Verdict::Forward { to, .. }) if to == from_a), "{last:?}");
}

#[test]
fn rfc_3264_8_4_one_that_is_not_to_speak_yet_keeps_the_place_where_it_is_waited_for() {
    let mut streams = Streams::new(1, Settings::default(), RandomState::new());
    let (now, port, near) = (Instant::now(), [PortId(0)], at(NAT).ip());
    let rings = Signalled { remote: Remote::Unknown, ..phone() };
    let a = streams.open(now, &port, near, rings).unwrap();
    let b = streams.open(now, &port, at(TRUNK).ip(), signalled(TRUNK, Learn::Never)).unwrap();
    streams.join(a, b);
    // Its answer holds. It knows the port, and keeps its NAT open with RTP although it is not asked to.
    streams.signal(now, a, Signalled { remote: Remote::Zero, ..phone() }).unwrap();
    assert!(streams.open(now, &port, near, phone()).is_err(), "that RTP would be the next one's");
    for sequence in 1..3 {
        streams.packet(now, PortId(0), false, at(NAT), &rtp(7, sequence));
    }
    assert_eq!(streams.source(a), Some(at(NAT)));
    streams.open(now, &port, near, phone()).unwrap();
    // It goes on: heard at once where it is.
    streams.signal(now, a, phone()).unwrap();
    assert!(matches!(streams.packet(now, PortId(0), false, at(NAT), &rtp(7, 3)), Verdict::Forward { .. }));
    let back = streams.packet(now, PortId(0), false, at(TRUNK), &rtp(8, 1));
    assert!(matches!(back, Verdict::Forward { to, .. } if to == at(NAT)));
}
