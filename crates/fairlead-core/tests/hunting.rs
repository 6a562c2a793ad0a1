//! Leg B as a list of attempts: who is tried, who is left, and what the caller hears in the end.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::output::Event;
use fairlead_model::ask::{LegPolicy, Target};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::PodRef;
use fairlead_testkit::{Heard, Incoming, NodeRef, Phone, Plan};
use sip_wire::Method;

const CAT: &str = "198.51.100.3:5060";

/// Ann calls `sales`: first bob's phone, then cat's.
fn sales(bob: Incoming, cat: Incoming) -> (Scene, NodeRef) {
    let mut scene = Scene::with(1, Plan::PERFECT, phone("ann", ANN), phone("bob", BOB).incoming(bob));
    let node = scene.sim.add(&[ip(CAT)], phone("cat", CAT).incoming(cat));
    let targets = vec![target("bob", ip(BOB)), target("cat", ip(CAT))];
    scene.edge().registrar.targets.insert("sales".to_owned(), targets);
    (scene, node)
}

fn hang_up(scene: &mut Scene, call: usize) {
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
}

#[test]
fn after_five_seconds_of_silence_the_next_contact_is_tried() {
    let (mut scene, cat) = sales(Incoming::Silent, Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(4_900));
    assert_eq!(scene.sim.node::<Phone>(cat).calls().len(), 0);
    scene.sim.run_for(ms(1_000));
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
    assert_eq!(scene.edge().records[0].to, "cat");
}

#[test]
fn a_late_answer_of_a_contact_that_was_left_is_ended() {
    let (mut scene, cat) = sales(Incoming::Silent, Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(7_000));
    // Bob's phone wakes up: the next repetition of the INVITE is answered at once.
    scene.bob().set_incoming(Incoming::Answer(ms(0)));
    scene.sim.run_for(ms(20_000));
    assert_eq!(scene.bob().live_calls(), 0);
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn a_busy_contact_is_left_for_the_next() {
    let (mut scene, cat) = sales(Incoming::Refuse(486), Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(500));
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn a_contact_that_rings_too_long_is_cancelled_and_the_next_one_rings() {
    let (mut scene, cat) = sales(Incoming::Ring, Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(31_000));
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Cancel)));
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn rfc3261_16_7_six_hundred_ends_the_hunt() {
    let (mut scene, cat) = sales(Incoming::Refuse(603), Incoming::Answer(ms(10)));
    scene.ann_calls("sales");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(603));
    assert_eq!(scene.sim.node::<Phone>(cat).calls().len(), 0);
}

#[test]
fn of_several_failures_the_caller_hears_the_one_that_says_most() {
    let (mut scene, _) = sales(Incoming::Refuse(486), Incoming::Refuse(404));
    scene.ann_calls("sales");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(486));
}

fn lost_flow() -> Target {
    let flow = Flow {
        pod: PodRef(77),
        transport: Transport::Udp,
        local: ip(EDGE),
        remote: ip(BOB),
        connection: None,
    };
    Target { hop: Hop::Flow(flow), ..target("bob", ip(BOB)) }
}

#[test]
fn a_lost_flow_is_left_at_once_for_the_next_contact() {
    let (mut scene, cat) = sales(Incoming::Silent, Incoming::Answer(ms(10)));
    scene.edge().registrar.targets.insert("sales".to_owned(), vec![lost_flow(), target("cat", ip(CAT))]);
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(100));
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
    assert_eq!(scene.bob().calls().len(), 0);
}

#[test]
fn lost_flows_alone_are_480() {
    let mut scene = Scene::new();
    scene.edge().registrar.targets.insert("sales".to_owned(), vec![lost_flow()]);
    scene.ann_calls("sales");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(480));
}

#[test]
fn rfc3261_16_3_our_own_address_as_next_hop_is_482() {
    let mut scene = Scene::new();
    scene.edge().registrar.targets.insert("sales".to_owned(), vec![target("self", ip(EDGE))]);
    scene.ann_calls("sales");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(482));
}

#[test]
fn a_challenge_of_a_static_peer_is_answered_and_that_of_a_phone_is_not() {
    let mut scene = Scene::new();
    let trunk = scene.sim.add(&[ip(CAT)], Wire::default());
    let policy = LegPolicy { answers_challenges: true, ..policy("trunk") };
    let at_trunk = Target { policy, ..target("trunk", ip(CAT)) };
    scene.edge().registrar.targets.insert("world".to_owned(), vec![at_trunk]);
    scene.ann_calls("world");
    scene.sim.run_for(ms(100));
    scene.sim.tell(trunk, |wire: &mut Wire, _| {
        let invite = wire.heard.last().unwrap().clone();
        let answer = invite
            .response(407, "Proxy Authentication Required")
            .to_tag("t")
            .header(sip_wire::Header::ProxyAuthenticate, "Digest realm=\"trunk\", nonce=\"n\"")
            .finish();
        wire.say(CAT, EDGE, &String::from_utf8(answer.to_vec()).unwrap().replace("\r\n", "\n"));
    });
    scene.sim.run_for(ms(100));
    let again =
        scene.sim.node::<Wire>(trunk).heard.iter().rfind(|m| *m.method() == Method::Invite).unwrap().clone();
    assert!(again.header(sip_wire::Header::ProxyAuthorization).unwrap().contains("username=\"trunk\""));
    assert_eq!(again.cseq().unwrap().number, 2);
    assert_eq!(scene.edge().registrar.asked.iter().filter(|asked| **asked == "challenge").count(), 1);
    scene.quiet();
    assert!(scene.edge().events.iter().any(|event| matches!(event, Event::CallBegan { .. })));
}

fn by_name(name: &str) -> Target {
    let hop = Hop::Address { transport: Transport::Udp, host: name.to_owned(), port: None };
    let policy = LegPolicy { nat: Default::default(), ..policy("bob") };
    Target { policy, hop, uri: format!("sip:bob@{name}"), ..target("bob", ip(BOB)) }
}

#[test]
fn a_name_is_looked_up_and_its_next_address_tried_when_one_cannot_be_reached() {
    let mut scene = Scene::new();
    let edge = scene.edge();
    edge.registrar.targets.insert("sales".to_owned(), vec![by_name("phones.example")]);
    edge.names.insert(
        "phones.example".to_owned(),
        vec![ip("[2001:db8::1]:5060"), ip("198.51.100.99:5060"), ip(BOB)],
    );
    edge.unreachable.insert(ip("198.51.100.99:5060"));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(2_000));
    assert_eq!(scene.bob().live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn a_name_without_an_address_is_left_for_the_next_contact() {
    let (mut scene, cat) = sales(Incoming::Silent, Incoming::Answer(ms(10)));
    let targets = vec![by_name("nowhere.example"), target("cat", ip(CAT))];
    scene.edge().registrar.targets.insert("sales".to_owned(), targets);
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(200));
    assert_eq!(scene.sim.node::<Phone>(cat).live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn a_name_that_resolves_to_ourselves_is_482() {
    let mut scene = Scene::new();
    scene.edge().registrar.targets.insert("sales".to_owned(), vec![by_name("self.example")]);
    scene.edge().names.insert("self.example".to_owned(), vec![ip(EDGE)]);
    scene.ann_calls("sales");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(482));
}
