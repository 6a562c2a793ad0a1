//! The pod that has a call ends while it rings, and the caller's messages went by another pod: it does not let him wait for ever.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_core::route_message::Router;
use fairlead_model::id::PodRef;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::Method;

const C: &str = "192.0.2.3:5060";

/// Zoe, who may call without credentials, speaks to pod A; bob is registered at pod C, and pod B gets the call.
struct Three {
    sim: Sim,
    edge: NodeRef,
    zoe: NodeRef,
    bob: NodeRef,
    call_id: String,
}

fn three(over_tcp: bool) -> Three {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let addresses = [ip(EDGE), ip(POD_B), ip(C)];
    let edge = sim.add(&addresses, Edge::new(&addresses));
    let zoe = sim.add(&[ip(ZOE)], Wire::default());
    let phone = Phone::new("bob", "secret", ip(BOB), ip(C), DOMAIN).incoming(Incoming::Ring);
    let bob = sim.add(&[ip(BOB)], phone);
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    if over_tcp {
        sim.node::<Edge>(edge).connected.insert(ip(ZOE));
        for pod in &mut sim.node::<Edge>(edge).pods {
            pod.listens_on_both(false);
        }
    }
    let mut router = Router::new(PodRef(1), 1);
    router.brief(&briefing(&[PodRef(1), PodRef(2), PodRef(3)], &[]));
    let call_id = (0..).map(|n| format!("call-{n}")).find(|name| router.taker(name) == Some(PodRef(2)));
    let mut three = Three { sim, edge, zoe, bob, call_id: call_id.unwrap() };
    three.brief(&[1, 2, 3], false);
    three
}

impl Three {
    fn brief(&mut self, pods: &[u64], drains: bool) {
        let now = self.sim.now();
        self.sim.node::<Edge>(self.edge).brief(pods, drains, now);
    }

    fn drains(&mut self) {
        self.brief(&[1, 2, 3], true);
        self.sim.tell(self.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
    }

    /// Pod B is killed; that its lease has run out the others hear some seconds later.
    fn b_is_killed(&mut self, drains: bool) {
        self.sim.node::<Edge>(self.edge).pods[1].alive = false;
        self.sim.run_for(ms(5_000));
        self.brief(&[1, 3], drains);
    }

    fn say(&mut self, method: &str, to: &'static str) {
        let contact = if method == "INVITE" { format!("Contact: <sip:zoe@{ZOE}>\n") } else { String::new() };
        let text = format!(
            "{method} sip:bob@edge.example SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK-one;rport\n\
             Max-Forwards: 70\nFrom: <sip:zoe@edge.example>;tag=z\nTo: <sip:bob@edge.example>\nCall-ID: {}\n\
             CSeq: 1 {method}\n{contact}Content-Length: 0\n\n",
            self.call_id
        );
        self.sim.tell(self.zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, to, &text));
    }

    fn acks(&mut self, status: u16, to: &'static str) {
        let answer = self.sim.node::<Wire>(self.zoe).response(status).unwrap();
        let ack = format!(
            "ACK sip:bob@edge.example SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK-one;rport\nMax-Forwards: 70\n\
             From: <sip:zoe@edge.example>;tag=z\nTo: {}\nCall-ID: {}\nCSeq: 1 ACK\nContent-Length: 0\n\n",
            answer.header(sip_wire::Header::To).unwrap(),
            self.call_id
        );
        self.sim.tell(self.zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, to, &ack));
        self.sim.run_for(ms(100));
    }

    fn statuses(&mut self) -> Vec<u16> {
        self.sim.node::<Wire>(self.zoe).statuses()
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn bob_answers_what_is_new(&mut self) {
        let last = self.bob().calls().len() - 1;
        assert_eq!(last, 1, "he is called anew");
        self.sim.tell(self.bob, move |bob: &mut Phone, now| bob.pick_up(last, now));
        self.sim.run_for(ms(200));
        assert_eq!(self.bob().calls()[last].state, CallState::Up);
        assert!(self.statuses().contains(&200), "{:?}", self.statuses());
    }
}

#[test]
fn a_call_that_was_passed_on_is_taken_by_the_next_pod_when_its_owner_ends() {
    for over_tcp in [false, true] {
        let mut three = three(over_tcp);
        three.drains();
        three.say("INVITE", EDGE);
        three.sim.run_for(ms(1_000));
        assert!(three.statuses().contains(&180));
        assert_eq!(three.sim.node::<Edge>(three.edge).pods[1].core.calls(), 1);
        three.b_is_killed(true);
        three.sim.run_for(ms(4_000));
        assert_eq!(three.sim.node::<Edge>(three.edge).pods[2].core.calls(), 1, "tcp: {over_tcp}");
        three.bob_answers_what_is_new();
    }
}

#[test]
fn a_call_whose_repetition_came_by_another_pod_is_taken_by_that() {
    for over_tcp in [false, true] {
        let mut three = three(over_tcp);
        three.say("INVITE", POD_B);
        three.sim.run_for(ms(300));
        three.say("INVITE", EDGE);
        three.sim.run_for(ms(1_000));
        assert_eq!(three.bob().calls().len(), 1);
        three.b_is_killed(false);
        three.sim.run_for(ms(4_000));
        assert_eq!(three.sim.node::<Edge>(three.edge).pods[0].core.calls(), 1, "tcp: {over_tcp}");
        three.bob_answers_what_is_new();
    }
}

#[test]
fn a_repetition_that_comes_when_the_owner_is_known_to_be_gone_is_taken_too() {
    let mut three = three(false);
    three.say("INVITE", POD_B);
    three.sim.run_for(ms(300));
    three.b_is_killed(false);
    three.say("INVITE", EDGE);
    three.sim.run_for(ms(4_000));
    three.bob_answers_what_is_new();
}

#[test]
fn whoever_cancelled_hears_487_and_nobody_is_called_anew() {
    for drains in [false, true] {
        let mut three = three(false);
        if drains {
            three.drains();
        } else {
            three.say("INVITE", POD_B);
            three.sim.run_for(ms(300));
        }
        three.say("INVITE", EDGE);
        three.sim.run_for(ms(300));
        three.sim.node::<Edge>(three.edge).pods[1].alive = false;
        three.say("CANCEL", EDGE);
        three.b_is_killed(drains);
        three.sim.run_for(ms(4_000));
        assert!(three.statuses().contains(&487), "{drains}: {:?}", three.statuses());
        assert_eq!(three.bob().calls().len(), 1);
        three.acks(487, EDGE);
        let heard = three.statuses().len();
        three.sim.run_for(ms(40_000));
        assert_eq!(three.statuses().len(), heard, "it was acknowledged");
    }
}

#[test]
fn an_owner_that_ended_before_it_could_say_so_is_503_until_its_ack() {
    let mut three = three(true);
    three.drains();
    // Pod B has the INVITE, and ends before the registrar hears of it.
    three.sim.node::<Edge>(three.edge).registrar.away = true;
    three.say("INVITE", EDGE);
    three.sim.run_for(ms(3));
    three.sim.node::<Edge>(three.edge).pods[1].alive = false;
    three.sim.run_for(ms(100));
    three.sim.node::<Edge>(three.edge).registrar.away = false;
    three.b_is_killed(true);
    three.sim.run_for(ms(4_000));
    assert_eq!(three.statuses().last(), Some(&503), "{:?}", three.statuses());
    assert_eq!(three.sim.node::<Edge>(three.edge).pods[0].core.passing(), 0);
    assert!(three.bob().calls().is_empty());
    three.acks(503, EDGE);
}

#[test]
fn what_was_acknowledged_is_not_begun_again() {
    let mut three = three(false);
    three.say("INVITE", POD_B);
    three.sim.run_for(ms(300));
    three.say("INVITE", EDGE);
    three.sim.run_for(ms(300));
    three.sim.tell(three.bob, |bob: &mut Phone, now| bob.refuse(0, 486, now));
    three.sim.run_for(ms(300));
    // Its ACK goes by pod B alone.
    three.acks(486, POD_B);
    three.sim.run_for(ms(15_000));
    let heard = three.statuses().len();
    three.b_is_killed(false);
    three.sim.run_for(ms(40_000));
    assert_eq!(three.bob().calls().len(), 1);
    assert_eq!(three.statuses().len(), heard, "{:?}", three.statuses());
}

/// His phone rings on for the pod that is gone, and he picks up: he is not left on the line with nobody.
#[test]
fn whoever_answers_a_pod_that_is_gone_is_hung_up_on() {
    for known in [true, false] {
        let mut three = three(false);
        three.say("INVITE", POD_B);
        three.sim.run_for(ms(300));
        three.sim.node::<Edge>(three.edge).pods[1].alive = false;
        if known {
            three.brief(&[1, 3], false);
            three.sim.run_for(ms(10_000));
        }
        three.sim.tell(three.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        three.sim.run_for(ms(3_000));
        let heard = |three: &mut Three, method| three.bob().heard().contains(&Heard::Request(method));
        assert_eq!(heard(&mut three, Method::Bye), known);
        if !known {
            three.brief(&[1, 3], false);
            three.sim.run_for(ms(12_000));
        }
        assert!(heard(&mut three, Method::Ack) && heard(&mut three, Method::Bye), "known: {known}");
        assert_eq!(three.bob().live_calls(), 0);
        three.sim.run_for(ms(40_000));
        assert!(three.sim.node::<Edge>(three.edge).pods[2].core.is_idle());
    }
}

/// A registrar that has just begun does not know all pods yet.
#[test]
fn an_answer_for_a_pod_that_is_missed_for_a_moment_is_left_to_it() {
    let mut three = three(false);
    three.say("INVITE", POD_B);
    three.sim.run_for(ms(300));
    three.brief(&[1, 3], false);
    three.sim.run_for(ms(300));
    three.sim.tell(three.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
    three.sim.run_for(ms(1_000));
    three.brief(&[1, 2, 3], false);
    three.sim.run_for(ms(6_000));
    assert_eq!(three.bob().calls()[0].state, CallState::Up);
    assert!(three.statuses().contains(&200));
}

/// A pod begins and takes calls before all others have heard of it; what is answered to it by one of those is its.
#[test]
fn an_answer_for_a_pod_that_is_not_known_yet_is_left_to_it() {
    let mut three = three(false);
    three.brief(&[1, 3], false);
    three.sim.run_for(ms(20_000));
    let now = three.sim.now();
    let edge = three.sim.node::<Edge>(three.edge);
    edge.replace_pod(1, PodRef(4), 0, 1, now);
    edge.input(1, Input::Briefed(briefing(&[PodRef(1), PodRef(3), PodRef(4)], &["198.51.100.9/32"])), now);
    three.say("INVITE", POD_B);
    three.sim.run_for(ms(300));
    three.sim.tell(three.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
    three.sim.run_for(ms(2_000));
    three.brief(&[1, 3, 4], false);
    three.sim.run_for(ms(6_000));
    assert!(!three.bob().heard().contains(&Heard::Request(Method::Bye)));
    assert_eq!(three.bob().calls()[0].state, CallState::Up);
    assert!(three.statuses().contains(&200));
}

#[test]
fn a_pod_that_is_missed_for_a_moment_keeps_its_calls() {
    let mut three = three(false);
    three.say("INVITE", POD_B);
    three.sim.run_for(ms(300));
    three.say("INVITE", EDGE);
    three.sim.run_for(ms(300));
    three.brief(&[1, 3], false);
    three.sim.run_for(ms(1_000));
    three.brief(&[1, 2, 3], false);
    three.sim.run_for(ms(10_000));
    assert_eq!(three.bob().calls().len(), 1);
    assert!(three.statuses().iter().all(|status| *status < 200));
}

/// While the registrar cannot say whose a call is, nobody knows better than that it rings.
#[test]
fn an_owner_is_not_given_up_while_the_registrar_is_away() {
    for gone in [false, true] {
        let mut three = three(false);
        three.say("INVITE", POD_B);
        three.sim.run_for(ms(300));
        three.say("INVITE", EDGE);
        three.sim.run_for(ms(300));
        three.sim.node::<Edge>(three.edge).registrar.away = true;
        three.sim.node::<Edge>(three.edge).pods[1].alive = !gone;
        three.brief(&[1, 3], false);
        three.sim.run_for(ms(8_000));
        assert!(three.statuses().iter().all(|status| *status < 200), "{:?}", three.statuses());
        if gone {
            three.sim.run_for(ms(8_000));
            assert_eq!(three.statuses().last(), Some(&503));
            continue;
        }
        three.brief(&[1, 2, 3], false);
        three.sim.node::<Edge>(three.edge).registrar.away = false;
        three.sim.run_for(ms(1_000));
        three.sim.tell(three.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        three.sim.run_for(ms(5_000));
        assert_eq!(three.bob().calls().len(), 1);
        assert_eq!(three.statuses().iter().find(|status| **status >= 200), Some(&200));
    }
}

#[test]
fn a_cancel_that_comes_while_it_is_asked_whose_the_call_is_counts() {
    for waits in [200, 1_700] {
        let mut three = three(false);
        three.say("INVITE", POD_B);
        three.sim.run_for(ms(300));
        three.say("INVITE", EDGE);
        three.sim.run_for(ms(300));
        three.b_is_killed(false);
        three.sim.node::<Edge>(three.edge).delay = ms(1_500);
        three.sim.run_for(ms(2_000 + waits));
        three.say("CANCEL", EDGE);
        three.sim.run_for(ms(10_000));
        assert_eq!(three.bob().calls().len(), 1, "he is not called anew");
        assert!(three.statuses().contains(&487), "{:?}", three.statuses());
    }
}
