//! How a shard ends: new calls are refused, everything else goes on; then calls are cut on both legs; then nothing new is
//! heard.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_model::id::PodRef;
use fairlead_testkit::{Heard, Phone};
use sip_wire::Method;

fn tell(scene: &mut Scene, input: Input) {
    scene.sim.tell(scene.edge, move |edge: &mut Edge, now| edge.input(0, input, now));
}

fn statuses(scene: &Scene, to: &str, method: &str) -> Vec<u16> {
    let of = |bytes: &bytes::Bytes| {
        let message = sip_wire::Message::parse(bytes.clone()).ok()?;
        let cseq = message.header(sip_wire::Header::CSeq)?.to_owned();
        message.status().filter(|_| cseq.ends_with(method))
    };
    let trace = scene.sim.net.trace();
    trace.iter().filter(|(_, packet, _)| packet.to == ip(to)).filter_map(|(_, p, _)| of(&p.bytes)).collect()
}

fn say(scene: &mut Scene, method: &str) {
    let text = format!(
        "{method} sip:edge.example SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK-{method};rport\nMax-Forwards: 70\n\
         From: <sip:zoe@edge.example>;tag=z\nTo: <sip:zoe@edge.example>\nCall-ID: {method}\nCSeq: 1 {method}\n\
         Content-Length: 0\n\n"
    );
    let wire = scene.sim.add(&[ip(ZOE)], Wire::default());
    scene.sim.tell(wire, move |wire: &mut Wire, _| wire.say(ZOE, EDGE, &text));
    scene.sim.run_for(ms(100));
}

const ZOE: &str = "203.0.113.77:5060";

#[test]
fn while_it_drains_calls_are_refused_and_registrations_go_on() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    tell(&mut scene, Input::Drain);
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.register(3600, now));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.call("ann", now));
    scene.sim.run_for(ms(1_000));
    assert_eq!(statuses(&scene, BOB, "INVITE").last(), Some(&503));
    assert_eq!(statuses(&scene, BOB, "REGISTER").last(), Some(&200));
    assert_eq!(scene.edge().pods[0].core.open().calls, 1, "the call goes on");
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
    assert!(scene.edge().pods[0].core.open().is_nothing());
    assert_eq!(scene.edge().records[0].ended_by, "caller");
}

#[test]
fn a_trunk_hears_503_to_options_of_a_shard_that_drains_and_everybody_else_200() {
    for (trusted, expected) in [("203.0.113.0/24", 503), ("0.0.0.0/0", 200), ("10.0.0.0/8", 200)] {
        let mut scene = Scene::new();
        scene.edge().trust(&[trusted]);
        tell(&mut scene, Input::Drain);
        say(&mut scene, "OPTIONS");
        assert_eq!(statuses(&scene, ZOE, "OPTIONS"), [expected], "{trusted}");
    }
}

#[test]
fn a_trunk_hears_200_to_options_while_another_pod_takes_its_calls() {
    let mut scene = Scene::new();
    let now = scene.sim.now();
    let both = briefing(&[PodRef(1), PodRef(2)], &["203.0.113.0/24"]);
    scene.edge().input(0, Input::Briefed(both), now);
    tell(&mut scene, Input::Drain);
    say(&mut scene, "OPTIONS");
    assert_eq!(statuses(&scene, ZOE, "OPTIONS"), [200]);
}

#[test]
fn calls_that_are_left_end_with_bye_on_both_legs_and_leave_nothing() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    tell(&mut scene, Input::EndCalls);
    let open = scene.edge().pods[0].core.open();
    assert_eq!((open.calls, open.ending), (0, 1), "its last messages are waited for");
    scene.sim.run_for(ms(500));
    assert!(scene.ann().heard().contains(&Heard::Request(Method::Bye)));
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Bye)));
    assert!(scene.edge().pods[0].core.open().is_nothing(), "half a second is enough");
    assert_eq!(scene.edge().records[0].ended_by, "shutdown");
    scene.quiet();
}

#[test]
fn a_caller_that_waits_to_be_let_in_when_calls_are_ended_is_refused() {
    let mut scene = Scene::new();
    scene.edge().delay = ms(300);
    scene.ann_calls("bob");
    scene.sim.run_for(ms(500));
    assert_eq!(scene.edge().pods[0].core.open().calls, 1, "one that asks to come in counts");
    tell(&mut scene, Input::EndCalls);
    scene.sim.run_for(ms(2_000));
    let refused = statuses(&scene, ANN, "INVITE");
    assert!(refused.iter().any(|status| *status >= 400 && *status != 401), "{refused:?}");
    assert_eq!(scene.bob().live_calls(), 0);
    scene.quiet();
}

#[test]
fn a_shard_that_closes_hears_no_new_requests_but_what_ends_others() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    tell(&mut scene, Input::Close);
    say(&mut scene, "OPTIONS");
    assert!(statuses(&scene, ZOE, "OPTIONS").is_empty());
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
    assert_eq!(statuses(&scene, ANN, "BYE"), [200]);
}

#[test]
fn over_a_connection_a_shard_that_closes_answers_503() {
    let mut scene = Scene::new();
    scene.edge().connected.insert(ip(ZOE));
    tell(&mut scene, Input::Close);
    say(&mut scene, "OPTIONS");
    assert_eq!(statuses(&scene, ZOE, "OPTIONS"), [503]);
    assert!(scene.edge().pods[0].core.open().is_nothing());
}
