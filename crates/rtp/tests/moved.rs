//! A phone that was learned and of which signalling then says another address: it may have moved, or only say so.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{at, rtp, s, signalled};
use rtp::{Dropped, EndpointId, Learn, NoPort, PortId, Settings, Signalled, Streams, Verdict};

const X: &str = "192.0.2.1:40002";
const Y: &str = "192.0.2.1:40777";
const TRUNK: &str = "198.51.100.7:5000";

fn phone(says: &str) -> Signalled {
    signalled(says, Learn::From(at(X).ip()))
}

/// A phone behind a NAT that is heard at X, and a trunk, on one port behind a Service.
struct Call {
    streams: Streams<RandomState>,
    now: Instant,
    phone: EndpointId,
    sequence: u16,
}

impl Call {
    fn new() -> Self {
        let settings = Settings { hear_before_speak: Some(s(3)), ..Settings::default() };
        let mut streams = Streams::new(1, settings, RandomState::new());
        let (now, port) = (Instant::now(), [PortId(0)]);
        let id = streams.open(now, &port, at(X).ip(), phone("10.0.0.9:4000")).unwrap();
        let trunk = streams.open(now, &port, at(TRUNK).ip(), signalled(TRUNK, Learn::Never)).unwrap();
        streams.join(id, trunk);
        let mut call = Call { streams, now, phone: id, sequence: 0 };
        call.towards_phone();
        call.sends(X);
        assert!(call.sends(X) && call.towards_phone() == Some(at(X)));
        call
    }

    fn packet(&mut self, from: &str, ssrc: u32) -> Verdict {
        self.sequence += 1;
        self.streams.packet(self.now, PortId(0), false, at(from), &rtp(ssrc, self.sequence))
    }

    /// The phone sends from there and is heard.
    fn sends(&mut self, from: &str) -> bool {
        matches!(self.packet(from, 7), Verdict::Forward { .. })
    }

    /// Where something from the trunk goes.
    fn towards_phone(&mut self) -> Option<SocketAddr> {
        match self.packet(TRUNK, 8) {
            Verdict::Forward { to, .. } => Some(to),
            Verdict::Drop(_) => None,
        }
    }

    fn says(&mut self, address: &str) {
        self.streams.signal(self.now, self.phone, phone(address)).unwrap();
    }

    fn source(&self) -> Option<SocketAddr> {
        self.streams.source(self.phone)
    }

    /// Somebody else behind the same NAT, on the same port.
    fn other(&mut self) -> Result<EndpointId, NoPort> {
        self.streams.open(self.now, &[PortId(0)], at(X).ip(), phone("10.0.0.10:4000"))
    }
}

#[test]
fn a_hold_that_says_another_port_does_not_cost_the_place_where_a_phone_is_heard() {
    let mut call = Call::new();
    call.says("10.0.0.9:9");
    assert!(call.sends(X), "it says that it is elsewhere, and is not");
    assert_eq!(call.towards_phone(), Some(at(X)));
    call.now += s(5);
    call.says("10.0.0.9:4000");
    assert_eq!(call.towards_phone(), Some(at(X)));
    assert!(call.sends(X));
}

#[test]
fn what_is_still_sent_from_where_it_was_does_not_keep_it_from_being_heard_where_it_is() {
    let mut call = Call::new();
    call.says("10.0.0.9:5000");
    for _ in 0..50 {
        call.now += Duration::from_millis(20);
        assert!(call.sends(X), "on its way when the answer passed");
    }
    assert!(!call.sends(Y) && call.sends(Y));
    assert_eq!((call.source(), call.towards_phone()), (Some(at(Y)), Some(at(Y))));
    assert_eq!(call.packet(X, 7), Verdict::Drop(Dropped::Former));
}

#[test]
fn it_comes_back_to_where_it_was_before_within_30_seconds() {
    // Media between two phones for a while, then through their own PBX again.
    let mut call = Call::new();
    call.says("10.0.0.77:5000");
    call.sends(Y);
    assert!(call.sends(Y));
    call.now += s(8);
    call.says("10.0.0.9:4000");
    assert!(!call.sends(X) && call.sends(X), "as anybody who is waited for");
    assert_eq!((call.source(), call.towards_phone()), (Some(at(X)), Some(at(X))));
    assert_eq!(call.packet(Y, 7), Verdict::Drop(Dropped::Former));
}

#[test]
fn one_that_only_says_so_is_waited_for_no_longer_than_what_was_on_its_way_can_take() {
    let mut call = Call::new();
    call.says("10.0.0.9:5000");
    assert_eq!(call.other(), Err(NoPort), "what came would be the phone's as well as its own");
    call.now += s(29);
    call.towards_phone();
    assert!(call.sends(X));
    assert_eq!(call.streams.sizes().1, 1);
    call.now += s(2);
    assert!(call.sends(X));
    assert_eq!(call.streams.sizes().1, 0);
    call.other().unwrap();
}

#[test]
fn one_that_says_an_address_from_which_it_may_come_is_spoken_to_there() {
    let mut call = Call::new();
    call.says("192.0.2.1:6000");
    assert!(call.sends(X));
    assert_eq!(call.towards_phone(), None, "it was not heard there yet");
    call.now += s(4);
    assert_eq!(call.towards_phone(), Some(at("192.0.2.1:6000")));
    assert!(call.sends("192.0.2.1:6000"), "the first packet");
    assert_eq!(call.source(), Some(at("192.0.2.1:6000")));
    assert_eq!(call.packet(X, 7), Verdict::Drop(Dropped::Former));
}

#[test]
fn one_whose_signalling_comes_from_elsewhere_has_left_the_place_where_it_was() {
    let mut call = Call::new();
    let now = call.now;
    let roamed = signalled("10.0.0.9:4000", Learn::From(at("203.0.113.5:1").ip()));
    call.streams.signal(now, call.phone, roamed).unwrap();
    assert_eq!((call.source(), call.packet(X, 7)), (None, Verdict::Drop(Dropped::Former)));
    assert!(!call.sends("203.0.113.5:7000") && call.sends("203.0.113.5:7000"));
}

#[test]
fn nothing_is_left_of_one_that_ends_before_it_is_heard_where_it_moved() {
    for moved in ["10.0.0.9:5000", "192.0.2.1:6000"] {
        let mut call = Call::new();
        call.says(moved);
        call.streams.close(call.now, call.phone);
        assert_eq!(call.streams.sizes().1, 0);
        for from in [X, Y] {
            assert!(!call.sends(from) && !call.sends(from), "{from}");
        }
        call.now += s(31);
        call.streams.tick(call.now, |_| {});
        assert_eq!(call.streams.sizes(), (1, 0, 0), "the trunk's");
    }
}

#[test]
fn rtcp_goes_with_one_that_is_heard_where_it_moved() {
    let mut streams = Streams::new(1, Settings::default(), RandomState::new());
    let (now, port) = (Instant::now(), [PortId(0)]);
    let apart = |signalled: Signalled| Signalled { mux: false, ..signalled };
    let id = streams.open(now, &port, at(X).ip(), apart(phone("10.0.0.9:4000"))).unwrap();
    let trunk = apart(signalled(TRUNK, Learn::Never));
    let trunk = Signalled { rtcp: Some(at("198.51.100.7:5001")), ..trunk };
    let trunk = streams.open(now, &port, at(TRUNK).ip(), trunk).unwrap();
    streams.join(id, trunk);
    let report = |ssrc: u8| [0x80, 201, 0, 1, 0, 0, 0, ssrc];
    for sequence in 1..3 {
        streams.packet(now, port[0], false, at(X), &rtp(7, sequence));
    }
    streams.packet(now, port[0], true, at("192.0.2.1:50001"), &report(7));
    let towards_phone = |streams: &mut Streams<RandomState>| match streams.packet(
        now,
        port[0],
        true,
        at("198.51.100.7:5001"),
        &report(8),
    ) {
        Verdict::Forward { to, .. } => Some(to),
        Verdict::Drop(_) => None,
    };
    streams.signal(now, id, apart(phone("10.0.0.77:5000"))).unwrap();
    assert_eq!(towards_phone(&mut streams), Some(at("192.0.2.1:50001")), "where it was, for now");
    for sequence in 1..3 {
        streams.packet(now, port[0], false, at(Y), &rtp(9, sequence));
    }
    assert_eq!(streams.source(id), Some(at(Y)));
    assert_eq!(towards_phone(&mut streams), Some(at("192.0.2.1:40778")));
}
