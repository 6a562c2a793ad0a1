//! Two pods of one edge: what comes to one and belongs to the other, and what leaves by the other's flow.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Sim};
use sip_wire::Method;

struct Two {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
}

/// Ann is registered at pod A, bob at pod B.
fn two() -> Two {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    sim.tell(ann, |phone: &mut Phone, now| phone.register(3600, now));
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    assert_eq!(sim.node::<Phone>(bob).registered(), Some(200));
    Two { sim, edge, ann, bob }
}

impl Two {
    fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
        for (message, times) in &self.sim.node::<Edge>(self.edge).crossings {
            assert_eq!(*times, 1, "{message:?} crossed the mesh {times} times");
        }
    }

    fn count(&self, from: &str, to: &str) -> usize {
        count(&self.sim, from, to)
    }
}

/// Zoe's CANCEL of [`INVITE`].
fn cancel() -> String {
    INVITE.replace("INVITE", "CANCEL").replace("Contact: <sip:zoe@198.51.100.9:5060>\n", "")
}

/// Her ACK of a refusal with this tag.
fn ack(tag: &str) -> String {
    INVITE
        .replace("INVITE", "ACK")
        .replace("To: <sip:bob@edge.example>", &format!("To: <sip:bob@edge.example>;tag={tag}"))
}

/// Zoe, who is let in by her address, calls bob at pod A, and his phone rings.
fn zoe_calls(two: &mut Two) -> NodeRef {
    two.sim.node::<Edge>(two.edge).trust(&["198.51.100.9/32"]);
    two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
    two.sim.run_for(ms(300));
    zoe
}

#[test]
fn a_call_leaves_through_the_pod_that_the_phone_is_registered_at() {
    let mut two = two();
    let call = two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1);
    assert_eq!(two.count(EDGE, BOB), 0, "bob's filter lets nothing but pod B through");
    let held = "v=0\r\no=- 1 2 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";
    two.sim.tell(two.bob, |bob: &mut Phone, now| bob.reinvite(0, held, now));
    two.sim.run_for(ms(1_000));
    assert!(two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Request(Method::Invite)));
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    two.quiet();
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Bye)));
    assert_eq!(two.count(EDGE, BOB), 0);
    assert!(!two.sim.node::<Edge>(two.edge).crossings.is_empty());
}

#[test]
fn the_callee_hangs_up_through_its_own_pod() {
    let mut two = two();
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    two.sim.tell(two.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    two.quiet();
    assert!(two.sim.node::<Phone>(two.ann).calls()[0].is_over());
}

#[test]
fn a_first_invite_and_its_cancel_at_the_other_pod_find_their_call() {
    let mut two = two();
    let zoe = zoe_calls(&mut two);
    // The load balancer sends the repetition and the CANCEL to the other pod.
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, INVITE));
    two.sim.run_for(ms(300));
    assert_eq!(two.sim.node::<Edge>(two.edge).pods[1].core.calls(), 0);
    let cancel = cancel();
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &cancel));
    two.sim.run_for(ms(300));
    let statuses = two.sim.node::<Wire>(zoe).statuses();
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1, "bob was called once");
    let tag = two.sim.node::<Wire>(zoe).response(487).unwrap().to_tag().unwrap().to_owned();
    let ack = ack(&tag);
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &ack));
    two.sim.run_for(ms(300));
    let before = two.sim.node::<Wire>(zoe).statuses().len();
    two.sim.run_for(ms(5_000));
    assert_eq!(
        two.sim.node::<Wire>(zoe).statuses().len(),
        before,
        "the 487 was acknowledged at the other pod"
    );
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Cancel)));
    two.quiet();
}

/// The registrar has not said yet whose the INVITE is that came again, when its CANCEL comes.
#[test]
fn a_cancel_that_is_quicker_than_the_registrar_reaches_who_has_the_call() {
    let mut two = two();
    let zoe = zoe_calls(&mut two);
    two.sim.node::<Edge>(two.edge).delay = ms(50);
    let cancel = cancel();
    for text in [INVITE.to_owned(), cancel] {
        two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &text));
    }
    two.sim.run_for(ms(500));
    let statuses = two.sim.node::<Wire>(zoe).statuses();
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Cancel)));
    assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 0);
}

#[test]
fn a_cancel_that_nobody_knows_is_481() {
    let mut two = two();
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    let cancel = INVITE.replace("INVITE", "CANCEL");
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &cancel));
    two.sim.run_for(ms(300));
    assert_eq!(two.sim.node::<Wire>(zoe).statuses(), [481]);
    assert!(two.sim.node::<Edge>(two.edge).registrar.asked.contains(&"owner"));
}

/// The pod of the callee's flow is gone: whether the other one may speak in its stead.
fn called_without_owner(force_rport: bool, awaits: bool) -> bool {
    let mut two = two();
    let edge = two.sim.node::<Edge>(two.edge);
    let flow = edge.registrar.bindings["bob"].1;
    let policy = fairlead_model::ask::LegPolicy {
        nat: fairlead_model::peer::EffectiveNat { force_rport, comedia: false },
        ..policy("bob")
    };
    let target = fairlead_model::ask::Target {
        policy,
        hop: fairlead_model::flow::Hop::Flow(flow),
        ..target("bob", flow.remote)
    };
    edge.registrar.targets.insert("bob".to_owned(), vec![target]);
    let mut networks = identity(edge.pods[0].pod, 0, 1, edge.pods[0].address).networks;
    networks[0].awaits = awaits;
    networks[0].told = awaits;
    edge.pods[0].core.set_networks(networks);
    // Dead, and nobody has noticed yet.
    edge.pods[1].alive = false;
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    let called = two.count(EDGE, BOB) > 0;
    assert!(called || two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 480)));
    called
}

#[test]
fn a_phone_whose_pod_is_gone_is_called_from_another_pod_only_where_it_would_hear_it() {
    assert!(called_without_owner(false, false), "its Contact leads there as well");
    assert!(!called_without_owner(true, false), "only its flow leads through its NAT");
    assert!(!called_without_owner(false, true), "behind a Service");
}

/// Pod A drains, and all pods know it; a third one is there or not.
fn drains(two: &mut Two) {
    let now = two.sim.now();
    let edge = two.sim.node::<Edge>(two.edge);
    let pods: Vec<_> = edge.pods.iter().map(|pod| pod.pod).collect();
    let mut briefing = (*briefing(&pods, &["198.51.100.9/32"])).clone();
    briefing.members[0].draining = true;
    let briefing = std::sync::Arc::new(briefing);
    for at in 0..pods.len() {
        edge.input(at, Input::Briefed(briefing.clone()), now);
    }
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
}

#[test]
fn a_draining_pod_passes_new_calls_on_and_their_answers_leave_by_its_flow() {
    let mut two = two();
    drains(&mut two);
    let call = two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    let edge = two.sim.node::<Edge>(two.edge);
    assert_eq!((edge.pods[0].core.calls(), edge.pods[1].core.calls()), (0, 1));
    assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1);
    assert_eq!(two.count(POD_B, ANN), 0, "ann's filter lets nothing but pod A through");
    assert!(!two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 503)));
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    two.quiet();
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Bye)));
}

#[test]
fn repetitions_cancel_and_ack_follow_an_invite_that_was_passed_on() {
    let mut two = two();
    drains(&mut two);
    two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    for _ in 0..2 {
        two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
        two.sim.run_for(ms(300));
    }
    let cancel = cancel();
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &cancel));
    two.sim.run_for(ms(300));
    let statuses = two.sim.node::<Wire>(zoe).statuses();
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1, "bob was called once");
    assert!(!two.sim.node::<Edge>(two.edge).registrar.asked.contains(&"owner"), "nobody had to be asked");
    let tag = two.sim.node::<Wire>(zoe).response(487).unwrap().to_tag().unwrap().to_owned();
    let ack = ack(&tag);
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &ack));
    two.sim.run_for(ms(300));
    let before = two.sim.node::<Wire>(zoe).statuses().len();
    two.sim.run_for(ms(5_000));
    assert_eq!(two.sim.node::<Wire>(zoe).statuses().len(), before, "the 487 was acknowledged");
    two.sim.run_for(ms(40_000));
    assert_eq!(two.sim.node::<Edge>(two.edge).records.len(), 1);
}

#[test]
fn an_invite_that_came_before_the_drain_stays_where_it_is() {
    let mut two = two();
    let zoe = zoe_calls(&mut two);
    drains(&mut two);
    let cancel = cancel();
    for text in [INVITE.to_owned(), cancel] {
        two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &text));
        two.sim.run_for(ms(300));
    }
    assert!(two.sim.node::<Wire>(zoe).statuses().contains(&487));
    assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1);
    let crossings = &two.sim.node::<Edge>(two.edge).crossings;
    assert!(crossings.keys().all(|(_, branch)| branch != "z9hG4bK-one"), "{crossings:?}");
}

#[test]
fn where_all_pods_drain_new_calls_are_503_and_what_was_passed_on_is_taken() {
    let mut two = two();
    drains(&mut two);
    two.sim.tell(two.edge, |edge: &mut Edge, now| edge.input(1, Input::Drain, now));
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1, "pod A did not know yet that B drains too");
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, INVITE));
    two.sim.run_for(ms(300));
    assert_eq!(two.sim.node::<Wire>(zoe).statuses(), [503]);
}

/// Pod B, which bob's flow belongs to, is gone, and pod A knows it or not.
fn loses_b(two: &mut Two, known: bool) {
    let now = two.sim.now();
    let edge = two.sim.node::<Edge>(two.edge);
    edge.pods[1].alive = false;
    let pods: Vec<_> = edge.pods.iter().map(|pod| pod.pod).take(if known { 1 } else { 2 }).collect();
    edge.input(0, Input::Briefed(briefing(&pods, &["198.51.100.9/32"])), now);
}

/// Bob's next packet reaches pod A.
fn bob_is_heard_at_a(two: &mut Two) {
    two.sim.tell(two.bob, |bob: &mut Phone, now| {
        bob.set_edge(ip(EDGE));
        bob.register(3600, now);
    });
}

#[test]
fn a_call_is_held_until_the_phone_whose_pod_is_gone_is_heard_by_another() {
    for known in [true, false] {
        let mut two = two();
        loses_b(&mut two, known);
        let call = two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
        two.sim.run_for(ms(5_000));
        let heard = two.sim.node::<Phone>(two.ann).heard().to_vec();
        assert!(heard.contains(&Heard::Response(Method::Invite, 100)), "{heard:?}");
        assert!(!heard.contains(&Heard::Response(Method::Invite, 480)), "{heard:?}");
        assert_eq!(two.count(EDGE, BOB), 0, "bob's filter would let nothing through");
        bob_is_heard_at_a(&mut two);
        two.sim.run_for(ms(2_000));
        assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1, "known: {known}");
        two.sim.tell(two.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
        two.quiet();
        assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Bye)));
    }
}

#[test]
fn a_keep_alive_that_is_no_sip_moves_a_flow() {
    let stun = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
    for keep_alive in [&b"\0\0\0\0"[..], b"\0", b"jaK", stun] {
        let mut two = two();
        loses_b(&mut two, true);
        two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
        two.sim.run_for(ms(1_000));
        two.sim.tell(two.bob, |bob: &mut Phone, _| {
            bob.set_edge(ip(EDGE));
            bob.send_raw(keep_alive.to_vec());
        });
        two.sim.run_for(ms(3_000));
        assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1, "{keep_alive:?}");
    }
}

#[test]
fn a_phone_that_is_heard_late_rings_as_long_as_any() {
    for known in [true, false] {
        let mut two = two();
        loses_b(&mut two, known);
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
        two.sim.run_for(ms(14_000));
        bob_is_heard_at_a(&mut two);
        two.sim.run_for(ms(18_000));
        let bob = two.sim.node::<Phone>(two.bob).calls()[0].state;
        assert_eq!(bob, CallState::Ringing, "known: {known}; his 20 s began when he was called");
        two.sim.tell(two.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        two.sim.run_for(ms(1_000));
        assert_eq!(two.sim.node::<Phone>(two.ann).calls()[0].state, CallState::Up);
    }
}

/// Bob is heard in the last moment, the registrar takes as long to say so as it may, and the relay to rewrite the offer.
#[test]
fn a_call_that_all_are_slow_for_is_not_given_up_while_each_is_within_its_time() {
    let mut two = two();
    loses_b(&mut two, true);
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(15_300));
    two.sim.node::<Edge>(two.edge).delay = ms(3_900);
    bob_is_heard_at_a(&mut two);
    two.sim.run_for(ms(600));
    two.sim.node::<Edge>(two.edge).relay_takes = ms(10_900);
    two.sim.run_for(ms(16_000));
    assert!(!two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 480)));
    assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1);
}

#[test]
fn what_is_held_is_not_given_up_when_its_ring_time_is_over_before() {
    for known in [true, false] {
        let mut two = two();
        loses_b(&mut two, known);
        two.sim.node::<Edge>(two.edge).registrar.ring_time = 10;
        two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
        two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
        two.sim.run_for(ms(14_000));
        bob_is_heard_at_a(&mut two);
        two.sim.run_for(ms(8_000));
        assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1, "known: {known}; he rings for 10 s");
        two.sim.run_for(ms(4_000));
        assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 0, "known: {known}; and not for longer");
        assert!(two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 480)));
    }
}

#[test]
fn a_call_to_a_phone_that_is_not_heard_again_is_480_after_16_seconds() {
    for known in [true, false] {
        let mut two = two();
        loses_b(&mut two, known);
        two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
        two.sim.run_for(ms(15_500));
        assert!(!two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 480)));
        two.sim.run_for(ms(1_500));
        assert!(two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Response(Method::Invite, 480)));
        two.quiet();
    }
}

#[test]
fn a_call_that_is_held_can_be_cancelled_and_bob_is_not_called() {
    for known in [true, false] {
        let mut two = two();
        loses_b(&mut two, known);
        let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
        two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
        two.sim.run_for(ms(1_200));
        let cancel = cancel();
        two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &cancel));
        two.sim.run_for(ms(300));
        let statuses = two.sim.node::<Wire>(zoe).statuses();
        assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
        bob_is_heard_at_a(&mut two);
        two.quiet();
        assert!(two.sim.node::<Phone>(two.bob).calls().is_empty());
    }
}

#[test]
fn a_call_to_a_phone_that_another_contact_can_be_tried_for_is_not_held() {
    let mut two = two();
    loses_b(&mut two, true);
    let flow = two.sim.node::<Edge>(two.edge).registrar.bindings["bob"].1;
    let lost = fairlead_model::ask::Target {
        hop: fairlead_model::flow::Hop::Flow(flow),
        binding: Some(fairlead_model::binding::BindingKey("bob".to_owned())),
        ..target("bob", ip(BOB))
    };
    let targets = vec![lost, target("bob", ip(BOB))];
    two.sim.node::<Edge>(two.edge).registrar.targets.insert("bob".to_owned(), targets);
    two.sim.tell(two.bob, |bob: &mut Phone, _| bob.set_edge(ip(EDGE)));
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(300));
    assert!(two.count(EDGE, BOB) > 0, "the second contact was tried at once");
}
