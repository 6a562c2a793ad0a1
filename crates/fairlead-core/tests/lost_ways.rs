//! The pod of a phone's flow ends in the middle of its call, which is another pod's: what is meant for the phone waits for its
//! next packet, which reaches that other pod.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Sim};
use sip_wire::Method;

/// Ann's phone speaks to pod A, which drains and passes her calls on to pod B; bob's speaks to pod B.
struct Two {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
}

fn two(over_tcp: bool) -> Two {
    one_of_two(over_tcp, false)
}

/// With an address that both pods share, as behind a Service, or with one each.
fn one_of_two(over_tcp: bool, one_address: bool) -> Two {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    if over_tcp {
        sim.node::<Edge>(edge).connected.insert(ip(ANN));
    }
    sim.tell(ann, |phone: &mut Phone, now| phone.register(3600, now));
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    let mut two = Two { sim, edge, ann, bob };
    if one_address {
        for pod in &mut two.sim.node::<Edge>(edge).pods {
            pod.listens_on_both(true);
        }
    }
    two.brief(&[1, 2], true);
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
    two
}

impl Two {
    /// All pods that are alive hear who is there; the first of them drains.
    fn brief(&mut self, pods: &[u64], drains: bool) {
        let now = self.sim.now();
        self.sim.node::<Edge>(self.edge).brief(pods, drains, now);
    }

    /// Pod A ends, and pod B has heard of it or not.
    fn a_ends(&mut self, known: bool) {
        self.sim.node::<Edge>(self.edge).pods[0].alive = false;
        if known {
            self.brief(&[2], false);
        }
    }

    /// Ann's packets reach pod B from now on; over UDP she says nothing but that she is there.
    fn ann_is_heard_at_b(&mut self, over_tcp: bool) {
        self.sim.tell(self.ann, |ann: &mut Phone, now| {
            ann.set_edge(ip(POD_B));
            match over_tcp {
                true => ann.register(3600, now),
                false => ann.send_raw("\r\n\r\n"),
            }
        });
    }

    fn ann_calls(&mut self) -> usize {
        self.sim.tell(self.ann, |ann: &mut Phone, now| ann.call("bob", now))
    }

    fn ann(&mut self) -> &mut Phone {
        self.sim.node(self.ann)
    }

    fn count(&self, from: &str, to: &str) -> usize {
        count(&self.sim, from, to)
    }

    fn is_up(&mut self) -> bool {
        let bob =
            self.sim.node::<Phone>(self.bob).calls().first().is_some_and(|call| call.state == CallState::Up);
        bob && self.ann().calls()[0].state == CallState::Up
    }

    fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
    }

    fn hangs_up(&mut self, call: usize) {
        self.sim.tell(self.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
        self.quiet();
        assert!(self.sim.node::<Phone>(self.bob).heard().contains(&Heard::Request(Method::Bye)));
    }
}

/// Over UDP and over a connection, with pod B knowing at once that pod A is gone and not.
fn each(play: impl Fn(Two, bool, bool)) {
    for over_tcp in [false, true] {
        for known in [true, false] {
            play(one_of_two(over_tcp, false), over_tcp, known);
            play(one_of_two(over_tcp, true), over_tcp, known);
        }
    }
}

#[test]
fn an_answer_waits_for_a_caller_whose_pod_ended_while_it_rang() {
    each(|mut two, over_tcp, known| {
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        let call = two.ann_calls();
        two.sim.run_for(ms(1_000));
        assert_eq!(two.ann().calls()[0].state, CallState::Ringing);
        two.a_ends(known);
        two.sim.run_for(ms(1_000));
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        two.sim.run_for(ms(11_000));
        assert_eq!(two.count(POD_B, ANN), 0, "pod B does not speak first: her NAT lets nothing through");
        two.ann_is_heard_at_b(over_tcp);
        two.sim.run_for(ms(2_200));
        assert!(two.is_up(), "tcp: {over_tcp}, known: {known}");
        two.hangs_up(call);
    });
}

#[test]
fn a_refusal_waits_for_a_caller_whose_pod_ended_while_it_rang() {
    each(|mut two, over_tcp, known| {
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        two.ann_calls();
        two.sim.run_for(ms(1_000));
        two.a_ends(known);
        two.sim.run_for(ms(1_000));
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.refuse(0, 486, now));
        two.sim.run_for(ms(11_000));
        assert_eq!(two.count(POD_B, ANN), 0, "pod B does not speak first: her NAT lets nothing through");
        two.ann_is_heard_at_b(over_tcp);
        two.sim.run_for(ms(2_200));
        let ended = CallState::Ended { status: Some(486) };
        assert_eq!(two.ann().calls()[0].state, ended, "tcp: {over_tcp}, known: {known}");
        two.quiet();
    });
}

#[test]
fn an_answer_is_given_again_when_the_pod_ended_before_its_ack() {
    each(|mut two, over_tcp, known| {
        let call = two.ann_calls();
        for _ in 0..5_000 {
            if two.ann().calls()[0].state != CallState::Up {
                two.sim.run_for(ms(1));
            }
        }
        assert_eq!(two.ann().calls()[0].state, CallState::Up);
        // Her ACK is on its way to a pod that is not there any more.
        two.a_ends(known);
        two.sim.run_for(ms(3_000));
        assert_eq!(two.sim.node::<Edge>(two.edge).registrar.checkpoints.len(), 0, "pod B waits for an ACK");
        two.ann_is_heard_at_b(over_tcp);
        two.sim.run_for(ms(1_500));
        let edge = two.sim.node::<Edge>(two.edge);
        assert_eq!(edge.registrar.checkpoints.len(), 1, "tcp: {over_tcp}, known: {known}");
        two.hangs_up(call);
    });
}

#[test]
fn a_caller_whose_pod_ended_in_the_call_hears_the_callee_hang_up() {
    each(|mut two, over_tcp, known| {
        two.ann_calls();
        two.sim.run_for(ms(3_000));
        assert!(two.is_up());
        two.a_ends(known);
        two.sim.run_for(ms(500));
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
        two.sim.run_for(ms(12_000));
        assert!(!two.ann().calls()[0].is_over());
        assert_eq!(two.count(POD_B, ANN), 0);
        two.ann_is_heard_at_b(over_tcp);
        two.sim.run_for(ms(2_200));
        assert!(two.ann().calls()[0].is_over(), "tcp: {over_tcp}, known: {known}");
        two.quiet();
    });
}

#[test]
fn whoever_is_never_heard_again_is_given_up_after_32_seconds() {
    each(|mut two, _, known| {
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        two.ann_calls();
        two.sim.run_for(ms(1_000));
        two.a_ends(known);
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        two.sim.run_for(ms(70_000));
        assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 0, "nobody is on the line with him");
        two.quiet();
    });
}

#[test]
fn an_invite_that_comes_again_by_another_pod_takes_its_answers_along() {
    for known in [true, false] {
        let mut two = two(false);
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
        two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
        // On its way to pod B, and nothing has been answered.
        two.sim.run_for(ms(2));
        two.a_ends(known);
        // Her filter lets nobody in whom she has not spoken to.
        two.sim.node::<Edge>(two.edge).unreachable.insert(ip(ZOE));
        two.sim.run_for(ms(500));
        two.sim.node::<Edge>(two.edge).unreachable.clear();
        assert!(two.sim.node::<Wire>(zoe).statuses().is_empty());
        two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, INVITE));
        two.sim.run_for(ms(100));
        assert_eq!(two.sim.node::<Wire>(zoe).statuses(), [180], "known: {known}");
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        two.sim.run_for(ms(100));
        assert_eq!(two.sim.node::<Wire>(zoe).statuses().last(), Some(&200));
        assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1, "bob was called once");
    }
}

#[test]
fn a_pod_that_fades_leaves_new_calls_to_others_and_ends_what_it_passed_on() {
    let mut two = two(false);
    two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Answer(ms(400)));
    let passing = |two: &mut Two| two.sim.node::<Edge>(two.edge).pods[0].core.passing();
    let call = two.ann_calls();
    two.sim.run_for(ms(100));
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(0, Input::Fade, now));
    assert_eq!(passing(&mut two), 1);
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
    two.sim.run_for(ms(1_000));
    assert!(two.is_up(), "what was passed on before goes on");
    assert_eq!(passing(&mut two), 0, "its ACK has come by");
    assert!(two.sim.node::<Wire>(zoe).statuses().is_empty(), "not even refused");
    two.a_ends(true);
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, INVITE));
    two.sim.run_for(ms(100));
    assert!(two.sim.node::<Wire>(zoe).statuses().contains(&180));
    two.ann_is_heard_at_b(false);
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    two.sim.run_for(ms(1_000));
    assert!(two.ann().calls()[0].is_over());
}

#[test]
fn over_a_connection_where_nobody_repeats_a_pod_that_fades_says_when_to_call_again() {
    let mut two = two(false);
    two.sim.node::<Edge>(two.edge).connected.insert(ip(ZOE));
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(0, Input::Fade, now));
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
    two.sim.run_for(ms(100));
    let refused = two.sim.node::<Wire>(zoe).response(503).unwrap();
    let again: u32 = refused.header(sip_wire::Header::RetryAfter).unwrap().parse().unwrap();
    assert!((1..=5).contains(&again), "{again}");
    assert_eq!(two.sim.node::<Edge>(two.edge).pods[0].core.passing(), 0, "nothing is kept of it");
}

#[test]
fn where_nobody_else_takes_calls_a_pod_that_fades_refuses_them_aloud() {
    let mut two = two(false);
    two.brief(&[1], true);
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(0, Input::Fade, now));
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
    two.sim.run_for(ms(100));
    let refused = two.sim.node::<Wire>(zoe).response(503).unwrap();
    assert!(refused.header(sip_wire::Header::RetryAfter).is_some());
}
