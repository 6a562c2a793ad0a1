//! A draining pod passes a new call on to one that was killed a moment ago and is still among those that take calls.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_core::route_message::Router;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::PodRef;
use fairlead_model::member::Briefing;
use fairlead_testkit::{Heard, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::{Header, Message, Method};
use std::sync::Arc;

const B: &str = "192.0.2.2:5060";
const C: &str = "192.0.2.3:5060";
const ZOE: &str = "198.51.100.9:5060";

/// Zoe, who may call without credentials, speaks to pod A, which drains; her calls go to pod B. Bob is registered at pod C.
struct Three {
    sim: Sim,
    edge: NodeRef,
    zoe: NodeRef,
    bob: NodeRef,
    call_id: String,
}

fn three(over_tcp: bool, bob: Incoming) -> Three {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let addresses = [ip(EDGE), ip(B), ip(C)];
    let edge = sim.add(&addresses, Edge::new(&addresses));
    let zoe = sim.add(&[ip(ZOE)], Wire::default());
    let phone = Phone::new("bob", "secret", ip(BOB), ip(C), DOMAIN).incoming(bob);
    let bob = sim.add(&[ip(BOB)], phone);
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    if over_tcp {
        sim.node::<Edge>(edge).connected.insert(ip(ZOE));
    }
    let briefing = briefed();
    let mut router = Router::new(PodRef(1), 1);
    router.brief(&briefing);
    let call_id = (0..).map(|n| format!("call-{n}")).find(|name| router.taker(name) == Some(PodRef(2)));
    let mut three = Three { sim, edge, zoe, bob, call_id: call_id.unwrap() };
    for at in 0..3 {
        three.tell(at, Input::Briefed(briefing.clone()));
    }
    three.tell(0, Input::Drain);
    three
}

/// All three are there, and pod A drains.
fn briefed() -> Arc<Briefing> {
    let pods = [PodRef(1), PodRef(2), PodRef(3)];
    let mut briefing = (*briefing(&pods, &["198.51.100.9/32"])).clone();
    briefing.version = 2;
    briefing.members[0].draining = true;
    Arc::new(briefing)
}

impl Three {
    fn tell(&mut self, pod: usize, input: Input) {
        self.sim.tell(self.edge, move |edge: &mut Edge, now| edge.input(pod, input, now));
    }

    fn kill(&mut self, pod: usize) {
        self.sim.node::<Edge>(self.edge).pods[pod].alive = false;
    }

    fn say(&mut self, method: &str) {
        let text = self.text(method);
        self.sim.tell(self.zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &text));
    }

    /// What she said to pod A reaches another pod by the mesh.
    fn passed_on_to(&mut self, pod: usize, method: &str) {
        let message = Message::parse(self.text(method).replace('\n', "\r\n").into()).unwrap();
        let (local, remote) = (ip(EDGE), ip(ZOE));
        let flow = Flow { pod: PodRef(1), transport: Transport::Udp, local, remote, connection: None };
        self.tell(pod, Input::Received { message, flow });
    }

    fn text(&self, method: &str) -> String {
        let contact = if method == "INVITE" { format!("Contact: <sip:zoe@{ZOE}>\n") } else { String::new() };
        format!(
            "{method} sip:bob@edge.example SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK-one;rport\n\
             Max-Forwards: 70\nFrom: <sip:zoe@edge.example>;tag=z\nTo: <sip:bob@edge.example>\nCall-ID: {}\n\
             CSeq: 1 {method}\n{contact}Content-Length: 0\n\n",
            self.call_id
        )
    }

    fn statuses(&mut self) -> Vec<u16> {
        self.sim.node::<Wire>(self.zoe).statuses()
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn passing(&mut self) -> usize {
        self.sim.node::<Edge>(self.edge).pods[0].core.passing()
    }

    /// How often an INVITE of zoe's was taken by another pod.
    fn crossings(&mut self) -> u32 {
        let crossings = &self.sim.node::<Edge>(self.edge).crossings;
        crossings.iter().filter(|((line, _), _)| line.starts_with("INVITE")).map(|(_, times)| *times).sum()
    }
}

#[test]
fn the_next_pod_takes_a_call_that_the_first_one_did_not() {
    for over_tcp in [false, true] {
        let mut three = three(over_tcp, Incoming::Ring);
        three.kill(1);
        three.say("INVITE");
        three.sim.run_for(ms(300));
        assert!(three.statuses().contains(&180), "{over_tcp}: {:?}", three.statuses());
        let edge = three.sim.node::<Edge>(three.edge);
        assert_eq!((edge.pods[0].core.calls(), edge.pods[2].core.calls()), (0, 1));
        // What belongs to it follows.
        three.say("CANCEL");
        three.sim.run_for(ms(300));
        assert!(three.statuses().contains(&487));
        assert!(three.bob().heard().contains(&Heard::Request(Method::Cancel)));
    }
}

#[test]
fn repetitions_while_it_is_tried_double_nothing() {
    let mut three = three(false, Incoming::Ring);
    three.kill(1);
    three.sim.node::<Edge>(three.edge).delay = ms(900);
    for _ in 0..3 {
        three.say("INVITE");
        three.sim.run_for(ms(250));
    }
    assert_eq!(three.crossings(), 0);
    three.sim.run_for(ms(8_000));
    assert_eq!(three.crossings(), 1);
    assert_eq!(three.bob().calls().len(), 1);
    assert!(three.statuses().contains(&180));
    assert!(!three.statuses().contains(&503));
}

#[test]
fn a_repetition_after_it_was_taken_goes_the_same_way() {
    let mut three = three(false, Incoming::Ring);
    three.kill(1);
    for _ in 0..2 {
        three.say("INVITE");
        three.sim.run_for(ms(300));
    }
    assert_eq!(three.crossings(), 2, "its answers come again");
    assert_eq!(three.bob().calls().len(), 1);
}

#[test]
fn where_the_next_one_does_not_either_the_caller_hears_503() {
    for over_tcp in [false, true] {
        let mut three = three(over_tcp, Incoming::Ring);
        three.kill(1);
        three.kill(2);
        three.say("INVITE");
        three.sim.run_for(ms(300));
        assert_eq!(three.statuses(), [503]);
        let refusal = three.sim.node::<Wire>(three.zoe).response(503).unwrap();
        let seconds: u32 = refusal.header(Header::RetryAfter).unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds));
        assert_eq!(three.passing(), 0, "nothing is waited for");
        // Pod C is there again.
        three.sim.node::<Edge>(three.edge).pods[2].alive = true;
        three.say("INVITE");
        three.sim.run_for(ms(300));
        assert!(three.statuses().contains(&180));
    }
}

#[test]
fn where_there_is_no_other_the_caller_hears_503() {
    let mut three = three(true, Incoming::Ring);
    let mut briefing = (*briefed()).clone();
    briefing.version = 3;
    briefing.members[2].draining = true;
    three.tell(0, Input::Briefed(Arc::new(briefing)));
    three.kill(1);
    three.say("INVITE");
    three.sim.run_for(ms(300));
    assert_eq!(three.statuses(), [503]);
}

/// Whoever cancels without having heard anything.
#[test]
fn a_call_that_is_cancelled_while_it_is_tried_is_tried_no_more() {
    let mut three = three(false, Incoming::Ring);
    three.kill(1);
    three.sim.node::<Edge>(three.edge).delay = ms(500);
    three.say("INVITE");
    three.sim.run_for(ms(100));
    three.say("CANCEL");
    three.sim.run_for(ms(2_000));
    assert!(three.statuses().contains(&487), "{:?}", three.statuses());
    assert!(three.bob().calls().is_empty());
}

#[test]
fn when_both_have_it_after_all_only_the_owner_answers() {
    // The result of pod B got lost on its way; then the INVITE reaches pod B, or pod C, later than the other.
    for late in [1, 2] {
        let mut three = three(false, Incoming::Ring);
        three.passed_on_to(3 - late, "INVITE");
        three.sim.run_for(ms(300));
        assert!(three.statuses().contains(&180), "{:?}", three.statuses());
        three.passed_on_to(late, "INVITE");
        three.sim.run_for(ms(1_000));
        assert!(three.statuses().iter().all(|status| *status < 200), "{:?}", three.statuses());
        let edge = three.sim.node::<Edge>(three.edge);
        assert_eq!((edge.pods[late].core.calls(), edge.pods[3 - late].core.calls()), (0, 1));
        assert_eq!(three.bob().calls().len(), 1);
        let bob = three.bob;
        three.sim.tell(bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        three.sim.run_for(ms(100));
        assert!(three.statuses().contains(&200));
    }
}
