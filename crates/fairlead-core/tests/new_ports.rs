//! A phone's NAT gives it a new port in the middle of a call: it is spoken to where it was heard last, until its registration
//! says something else.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_model::flow::Flow;
use fairlead_testkit::{NodeRef, Phone};
use sip_wire::{Header, Message, Method};

/// The new port, and one that bob registers from later.
const NEW: &str = "198.51.100.2:40001";
const REGISTERED: &str = "198.51.100.2:40002";

/// A call that is up, in which bob's phone is heard from its new port with INFO.
fn heard_from_a_new_port() -> (Scene, NodeRef, usize) {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    assert_eq!(scene.bob().live_calls(), 1);
    let behind_nat = is_heard_from_a_new_port(&mut scene);
    (scene, behind_nat, call)
}

fn is_heard_from_a_new_port(scene: &mut Scene) -> NodeRef {
    let behind_nat = scene.sim.add(&[ip(NEW), ip(REGISTERED)], Wire::default());
    let said = scene.sim.net.trace().iter().filter(|(_, packet, _)| packet.from == ip(BOB));
    let answered = said
        .filter_map(|(_, packet, _)| Message::parse(packet.bytes.clone()).ok())
        .find(|message| message.status() == Some(200) && *message.method() == Method::Invite)
        .unwrap();
    let header = |name| answered.header(name).unwrap().to_string();
    let info = format!(
        "INFO sip:edge@{EDGE} SIP/2.0\nVia: SIP/2.0/UDP {BOB};branch=z9hG4bK-new-port;rport\nMax-Forwards: 70\n\
         From: {}\nTo: {}\nCall-ID: {}\nCSeq: 4000 INFO\nContent-Length: 0\n\n",
        header(Header::To),
        header(Header::From),
        answered.call_id(),
    );
    scene.sim.tell(behind_nat, move |wire: &mut Wire, _| wire.say(NEW, EDGE, &info));
    scene.sim.run_for(ms(1_000));
    behind_nat
}

/// First lines of the requests that went from the edge to an address.
fn requests(scene: &Scene, to: &str) -> Vec<String> {
    scene.lines(EDGE, to).into_iter().filter(|line| !line.starts_with("SIP/2.0")).collect()
}

#[test]
fn a_phone_that_was_heard_from_a_new_port_is_spoken_to_there() {
    let (mut scene, _, call) = heard_from_a_new_port();
    let before = requests(&scene, BOB).len();
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(300));
    let heard = requests(&scene, NEW);
    assert!(heard.iter().any(|line| line.starts_with("BYE")), "{heard:?}");
    assert_eq!(requests(&scene, BOB).len(), before, "nothing goes to the old port");
}

#[test]
fn what_it_registers_afterwards_counts_more() {
    let (mut scene, _, call) = heard_from_a_new_port();
    let edge = scene.edge();
    let (uri, flow) = edge.registrar.bindings["bob"].clone();
    edge.registrar.bindings.insert("bob".to_owned(), (uri, Flow { remote: ip(REGISTERED), ..flow }));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(300));
    assert!(requests(&scene, REGISTERED).iter().any(|line| line.starts_with("BYE")));
    assert!(!requests(&scene, NEW).iter().any(|line| line.starts_with("BYE")));
}

#[test]
fn repetitions_of_a_request_to_the_old_port_do_not_undo_what_it_registered() {
    let mut scene = Scene::new();
    scene.sim.add(&[ip(REGISTERED)], Wire::default());
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    assert_eq!(scene.bob().live_calls(), 1);
    let before = requests(&scene, BOB).len();
    scene.sim.net.lose_when(|packet| packet.to == ip(BOB));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.send_in_call(call, Method::Info, now));
    scene.sim.run_for(ms(1_700));
    let edge = scene.edge();
    let (uri, flow) = edge.registrar.bindings["bob"].clone();
    edge.registrar.bindings.insert("bob".to_owned(), (uri, Flow { remote: ip(REGISTERED), ..flow }));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.send_in_call(call, Method::Info, now));
    scene.sim.run_for(ms(100));
    assert_eq!(requests(&scene, REGISTERED).len(), 1);
    // RFC 3261 §17.1.2.2: the first one is repeated after 0.5, 1.5 and 3.5 s, the second one after 0.5 and 1.5 s.
    scene.sim.run_for(ms(2_000));
    assert_eq!(requests(&scene, BOB).len(), before + 4);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(100));
    assert!(requests(&scene, REGISTERED).iter().any(|line| line.starts_with("BYE")));
    assert_eq!(requests(&scene, BOB).len(), before + 4);
}

/// Its pod ends, and what waited for it left by where the registrar said that it is. From there its NAT moves it once more.
#[test]
fn what_the_registrar_said_to_whatever_waited_is_nothing_new_afterwards() {
    let mut scene = two_pods();
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.register(3600, now));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.register(3600, now));
    scene.sim.run_for(ms(200));
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    scene.edge().pods[1].alive = false;
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.send_in_call(call, Method::Info, now));
    scene.sim.run_for(ms(1_000));
    scene.sim.tell(scene.bob, |bob: &mut Phone, _| {
        bob.set_edge(ip(EDGE));
        bob.send_raw("\r\n\r\n");
    });
    scene.sim.run_for(ms(2_000));
    assert_eq!(requests(&scene, BOB).len(), 1, "the INFO that waited");
    is_heard_from_a_new_port(&mut scene);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(300));
    assert!(requests(&scene, NEW).iter().any(|line| line.starts_with("BYE")));
    assert_eq!(requests(&scene, BOB).len(), 1);
}
