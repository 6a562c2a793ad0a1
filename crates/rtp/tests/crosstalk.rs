//! RTP of one phone that reaches a port where another one of the same NAT is waited for.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::hash::RandomState;
use std::time::{Duration, Instant};

use common::{at, rtp, s};
use rtp::{Dropped, EndpointId, Learn, PortId, Remote, Settings, Signalled, Streams, Verdict};

const NAT: &str = "198.51.100.1";
const CALL: &str = "198.51.100.1:61000";
const OTHER: &str = "198.51.100.1:62000";
const NEXT: &str = "198.51.100.1:63000";
/// What the phone of the call sends.
const SSRC: u32 = 7;

/// A port, and a phone behind a NAT that is heard there.
struct Port {
    streams: Streams<RandomState>,
    now: Instant,
    call: Option<EndpointId>,
    sequence: u16,
}

fn signalled(learn: Learn) -> Signalled {
    Signalled {
        remote: Remote::At(at("10.0.0.9:4000")),
        learn,
        payloads: [(0, 8_000)].into_iter().collect(),
        ..Signalled::default()
    }
}

impl Port {
    fn new() -> Self {
        let streams = Streams::new(1, Settings::default(), RandomState::new());
        let mut port = Port { streams, now: Instant::now(), call: None, sequence: 65_530 };
        port.call = Some(port.next());
        port.call_sends(CALL);
        port.call_sends(CALL);
        assert_eq!(port.streams.source(port.call.unwrap()), Some(at(CALL)));
        port
    }

    fn waits(&mut self, learn: Learn) -> EndpointId {
        self.streams.open(self.now, &[PortId(0)], NAT.parse().unwrap(), signalled(learn)).unwrap()
    }

    fn next(&mut self) -> EndpointId {
        self.waits(Learn::From(NAT.parse().unwrap()))
    }

    fn packet(&mut self, from: &str, ssrc: u32, sequence: u16) -> Verdict {
        self.streams.packet(self.now, PortId(0), false, at(from), &rtp(ssrc, sequence))
    }

    fn call_sends(&mut self, from: &str) -> Verdict {
        self.sequence = self.sequence.wrapping_add(1);
        self.packet(from, SSRC, self.sequence)
    }

    /// The phone of the call goes on for so long, twice a second.
    fn call_goes_on(&mut self, seconds: u64, verdict: Verdict) {
        for half in 0..seconds * 2 {
            self.now += Duration::from_millis(500);
            assert_eq!(self.call_sends(CALL), verdict, "after {half} half seconds");
            self.streams.tick(self.now, |_| {});
        }
    }
}

#[test]
fn a_call_that_its_nat_gives_another_port_is_not_taken_for_the_next_one() {
    for learn in [Learn::From(NAT.parse().unwrap()), Learn::Anywhere] {
        let mut port = Port::new();
        let next = port.waits(learn);
        for _ in 0..500 {
            port.now += Duration::from_millis(20);
            assert_eq!(port.call_sends(OTHER), Verdict::Drop(Dropped::Elsewhere));
        }
        port.packet(NEXT, 9, 1);
        port.packet(NEXT, 9, 2);
        assert_eq!(port.streams.source(next), Some(at(NEXT)));
    }
}

#[test]
fn phones_that_always_have_the_same_ssrc_are_told_apart_by_address_and_sequence() {
    let mut port = Port::new();
    let other = port.waits(Learn::From(at("203.0.113.5:1").ip()));
    port.packet("203.0.113.5:61000", SSRC, port.sequence.wrapping_add(1));
    port.packet("203.0.113.5:61000", SSRC, port.sequence.wrapping_add(2));
    assert_eq!(port.streams.source(other), Some(at("203.0.113.5:61000")));
    let next = port.next();
    port.packet(NEXT, SSRC, 30_000);
    port.packet(NEXT, SSRC, 30_001);
    assert_eq!(port.streams.source(next), Some(at(NEXT)));
}

#[test]
fn one_that_never_heard_the_bye_is_not_taken_for_the_next_one_however_long_it_sends_on() {
    let mut port = Port::new();
    port.streams.close(port.now, port.call.unwrap());
    port.call_goes_on(300, Verdict::Drop(Dropped::Former));
    let next = port.next();
    port.call_goes_on(60, Verdict::Drop(Dropped::Former));
    port.packet(NEXT, 9, 1);
    port.packet(NEXT, 9, 2);
    assert_eq!(port.streams.source(next), Some(at(NEXT)));
    // It ends at last, and is forgotten.
    port.now += s(61);
    port.streams.tick(port.now, |_| {});
    assert_eq!(port.streams.sizes().2, 0);
}

#[test]
fn the_same_phone_with_the_same_ssrc_is_heard_in_its_next_call() {
    let mut port = Port::new();
    port.streams.close(port.now, port.call.unwrap());
    port.now += s(5);
    let next = port.next();
    port.call_goes_on(24, Verdict::Drop(Dropped::Former));
    port.now += s(2);
    port.streams.tick(port.now, |_| {});
    port.call_sends(CALL);
    port.call_sends(CALL);
    assert_eq!(port.streams.source(next), Some(at(CALL)), "30 s after it ended");
}

/// A phone behind some NAT that says the address of its own network.
fn far_away(port: &mut Port) -> EndpointId {
    let near = "203.0.113.5".parse().unwrap();
    let says = Signalled { remote: Remote::At(at(LOCAL)), ..signalled(Learn::From(near)) };
    port.streams.open(port.now, &[PortId(0)], near, says).unwrap()
}

/// Where a phone of our own network is, which has the same numbers.
const LOCAL: &str = "192.168.1.10:11780";

#[test]
fn one_that_comes_from_the_address_it_says_is_heard_although_its_signalling_comes_from_elsewhere() {
    let mut port = Port::new();
    let proxied = far_away(&mut port);
    port.packet(LOCAL, 9, 1);
    assert_eq!(port.streams.source(proxied), Some(at(LOCAL)), "the first packet");
    assert_eq!(port.packet("203.0.113.5:7000", 9, 2), Verdict::Drop(Dropped::Elsewhere));
    port.streams.close(port.now, proxied);
    // And again, but not what the last call left behind.
    let again = far_away(&mut port);
    assert_eq!(port.packet(LOCAL, 9, 3), Verdict::Drop(Dropped::Former));
    port.packet(LOCAL, 10, 1);
    assert_eq!(port.streams.source(again), Some(at(LOCAL)));
    assert_eq!(port.packet(LOCAL, 9, 4), Verdict::Drop(Dropped::Former));
}

#[test]
fn a_local_phone_is_not_taken_for_one_far_away_that_says_the_same_private_address() {
    // The local one is waited for, or its signalling says where it is.
    for learn in [Learn::From(at(LOCAL).ip()), Learn::Never] {
        let mut port = Port::new();
        let remote = far_away(&mut port);
        let says = Signalled { remote: Remote::At(at(LOCAL)), ..signalled(learn) };
        let local = port.streams.open(port.now, &[PortId(0)], at(LOCAL).ip(), says).unwrap();
        port.packet(LOCAL, 9, 1);
        port.packet(LOCAL, 9, 2);
        port.packet("203.0.113.5:7000", 10, 1);
        port.packet("203.0.113.5:7000", 10, 2);
        assert_eq!(port.streams.source(local), Some(at(LOCAL)));
        assert_eq!(port.streams.source(remote), Some(at("203.0.113.5:7000")));
    }
}

#[test]
fn one_that_is_waited_for_is_not_taken_for_one_that_says_its_address() {
    let mut port = Port::new();
    let remote = far_away(&mut port);
    let says =
        Signalled { remote: Remote::At(at("10.0.0.9:4000")), ..signalled(Learn::From(at(LOCAL).ip())) };
    let local = port.streams.open(port.now, &[PortId(0)], at(LOCAL).ip(), says).unwrap();
    port.packet(LOCAL, 9, 1);
    port.packet(LOCAL, 9, 2);
    assert_eq!((port.streams.source(local), port.streams.source(remote)), (Some(at(LOCAL)), None));
}

/// A stream that comes from the media server that its description names, beside the proxy that its signalling comes from.
fn server(port: &mut Port, learn: Learn) -> EndpointId {
    port.streams.open(port.now, &[PortId(0)], at("203.0.113.5:1").ip(), beside(SERVER, learn)).unwrap()
}

const SERVER: &str = "192.0.2.80:20000";
const MUSIC: &str = "192.0.2.81:30000";

fn beside(address: &str, learn: Learn) -> Signalled {
    Signalled { remote: Remote::At(at(address)), mux: true, ..signalled(learn) }
}

fn proxy() -> Learn {
    Learn::From(at("203.0.113.5:1").ip())
}

#[test]
fn a_side_beside_its_proxy_is_heard_again_where_it_was_before_its_music_on_hold() {
    let mut port = Port::new();
    let id = server(&mut port, proxy());
    assert!(matches!(port.packet(SERVER, 9, 1), Verdict::Drop(Dropped::NoDestination)));
    port.streams.signal(port.now, id, beside(MUSIC, proxy())).unwrap();
    port.packet(MUSIC, 10, 1);
    assert_eq!(port.streams.source(id), Some(at(MUSIC)));
    port.now += s(5);
    port.streams.signal(port.now, id, beside(SERVER, proxy())).unwrap();
    assert_eq!(port.packet(SERVER, 9, 2), Verdict::Drop(Dropped::NoDestination), "heard, nobody listens");
    assert_eq!(port.streams.source(id), Some(at(SERVER)));
}

#[test]
fn one_that_may_come_from_anywhere_and_comes_from_where_it_says_is_heard_from_its_first_packet() {
    let mut port = Port::new();
    let id = server(&mut port, Learn::Anywhere);
    port.packet(SERVER, 9, 1);
    assert_eq!(port.streams.source(id), Some(at(SERVER)));
}

#[test]
fn a_stream_that_another_call_takes_over_is_heard_where_its_description_says() {
    // INVITE with Replaces: the server sends on in the new call what it sent in the old one.
    let mut port = Port::new();
    let old = server(&mut port, proxy());
    port.packet(SERVER, 9, 1);
    assert_eq!(port.streams.source(old), Some(at(SERVER)));
    let said = "192.0.2.80:20002";
    let new = port.streams.open(port.now, &[PortId(0)], at(said).ip(), beside(said, proxy())).unwrap();
    port.packet(said, 9, 2);
    assert_eq!(port.streams.source(new), Some(at(said)));
}

#[test]
fn a_call_that_has_strayed_for_long_is_not_taken_for_the_next_one() {
    let mut port = Port::new();
    for _ in 0..500 {
        port.now += Duration::from_millis(20);
        assert_eq!(port.call_sends(OTHER), Verdict::Drop(Dropped::Elsewhere), "nobody waits");
    }
    let next = port.next();
    for _ in 0..10 {
        assert_eq!(port.call_sends(OTHER), Verdict::Drop(Dropped::Elsewhere));
    }
    assert_eq!(port.streams.source(next), None);
}

#[test]
fn one_that_sends_on_is_not_taken_for_the_next_one_between_two_looks_at_the_time() {
    for moved in [false, true] {
        let mut port = Port::new();
        let ended = far_away(&mut port);
        port.packet(LOCAL, 9, 1);
        port.streams.close(port.now, ended);
        let next = (!moved).then(|| far_away(&mut port));
        for sequence in 2..302 {
            port.now += Duration::from_millis(100);
            assert_eq!(port.packet(LOCAL, 9, sequence), Verdict::Drop(Dropped::Former), "{sequence}");
        }
        let next = next.unwrap_or_else(|| {
            let says = Signalled { remote: Remote::At(at(LOCAL)), ..signalled(Learn::Never) };
            port.streams.open(port.now, &[PortId(0)], at(LOCAL).ip(), says).unwrap()
        });
        port.now += Duration::from_millis(100);
        assert_eq!(port.packet(LOCAL, 9, 302), Verdict::Drop(Dropped::Former));
        assert_eq!(port.streams.counters(next).unwrap().reception.packets(), 0);
    }
}

#[test]
fn a_caller_who_is_heard_while_one_callee_after_the_other_is_tried_is_heard_by_the_last() {
    // Each try is a session of its own. The caller hears an announcement of the first, and sends the same stream on.
    let mut streams = Streams::new(2, Settings::default(), RandomState::new());
    let (now, ports, near) = (Instant::now(), [PortId(0), PortId(1)], NAT.parse().unwrap());
    for address in ["192.0.2.1:4000", "192.0.2.2:4000"] {
        let says = Signalled { remote: Remote::At(at(address)), ..signalled(Learn::Never) };
        streams.open(now, &ports, at(address).ip(), says).unwrap();
    }
    let told = signalled(Learn::From(near));
    let untold = Signalled { untold: true, ..told.clone() };
    let first = streams.open(now, &ports, near, untold.clone()).unwrap();
    streams.signal(now, first, told.clone()).unwrap();
    let sends = |streams: &mut Streams<RandomState>, id, sequence| {
        let port = streams.port(id).unwrap();
        streams.packet(now, port, false, at(CALL), &rtp(SSRC, sequence))
    };
    sends(&mut streams, first, 1);
    sends(&mut streams, first, 2);
    assert_eq!(streams.source(first), Some(at(CALL)));
    let second = streams.open(now, &ports, near, untold).unwrap();
    streams.close(now, first);
    streams.signal(now, second, told).unwrap();
    sends(&mut streams, second, 3);
    sends(&mut streams, second, 4);
    assert_eq!(streams.source(second), Some(at(CALL)));
}

#[test]
fn the_same_phone_in_the_next_try_of_its_call_is_heard_where_it_was_in_the_last() {
    for learn in [Learn::From(NAT.parse().unwrap()), Learn::Anywhere, Learn::Never] {
        let mut streams = Streams::new(1, Settings::default(), RandomState::new());
        let (now, port, near) = (Instant::now(), [PortId(0)], NAT.parse().unwrap());
        let says = |party| Signalled { remote: Remote::At(at(CALL)), party, ..signalled(learn) };
        let mut sends = |party, sequence| {
            let id = streams.open(now, &port, near, says(party)).unwrap();
            streams.packet(now, PortId(0), false, at(CALL), &rtp(SSRC, sequence));
            streams.packet(now, PortId(0), false, at(CALL), &rtp(SSRC, sequence + 1));
            streams.close(now, id).unwrap().reception.packets()
        };
        assert!(sends(Some(5), 1) > 0 && sends(Some(5), 3) > 0, "{learn:?}");
        assert_eq!((sends(Some(6), 5), sends(None, 7)), (0, 0), "{learn:?}");
    }
}

#[test]
fn a_phone_behind_a_nat_is_known_in_the_next_try_of_its_call() {
    let mut streams = Streams::new(1, Settings::default(), RandomState::new());
    let (now, port, near) = (Instant::now(), [PortId(0)], NAT.parse().unwrap());
    for (sequence, party, heard) in [(1, 5, true), (3, 5, true), (5, 6, false)] {
        let says = Signalled { party: Some(party), ..signalled(Learn::From(near)) };
        let id = streams.open(now, &port, near, says).unwrap();
        streams.packet(now, PortId(0), false, at(CALL), &rtp(SSRC, sequence));
        streams.packet(now, PortId(0), false, at(CALL), &rtp(SSRC, sequence + 1));
        assert_eq!(streams.source(id).is_some(), heard, "{sequence}");
        streams.close(now, id);
    }
}
