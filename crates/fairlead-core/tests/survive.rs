//! Kill and restore: a fresh pod with another name and another number of shards goes on with a written call.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_core::output::Output;
use fairlead_core::route_message::{Belongs, Router};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::{PodRef, ShardRef};
use fairlead_testkit::{Heard, Phone};
use sip_wire::Method;

const HELD: &str = "v=0\r\no=- 1 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";

/// A call that is up, and its pod is killed and replaced by shard 2 of 3 of another.
fn survived() -> Scene {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    assert_eq!(scene.ann().live_calls(), 1);
    scene.sim.tell(scene.edge, |edge: &mut Edge, now| {
        edge.replace_pod(0, PodRef(99), 2, 3, now);
        let records: Vec<CheckpointRecord> = edge.registrar.checkpoints.values().cloned().collect();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].call_ids.len(), 2);
        // The flow of bob's registration was the dead pod's; his next packet moves it.
        for (_, flow) in edge.registrar.bindings.values_mut() {
            flow.pod = PodRef(99);
        }
        for record in records {
            edge.input(0, Input::Adopt(record), now);
        }
        assert_eq!(edge.pods[0].core.calls(), 1);
        assert_eq!(edge.pods[0].core.bridges().len(), 1);
    });
    scene.sim.run_for(ms(100));
    let record = scene.edge().registrar.checkpoints.values().next().unwrap().clone();
    assert_eq!((record.owner, record.epoch), (PodRef(99), 2));
    scene
}

fn last_cseq(phone: &Phone, method: Method) -> u32 {
    let message = phone.messages().iter().rfind(|m| m.is_request() && *m.method() == method).unwrap();
    message.cseq().unwrap().number
}

#[test]
fn the_caller_hangs_up_after_the_death_of_its_pod() {
    let mut scene = survived();
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
    assert!(scene.bob().calls()[0].is_over());
    assert!(last_cseq(scene.bob(), Method::Bye) > 1000);
    assert_eq!(scene.edge().records[0].ended_by, "caller");
}

#[test]
fn the_callee_hangs_up_after_the_death_of_its_pod() {
    let mut scene = survived();
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    scene.quiet();
    assert!(scene.ann().calls()[0].is_over());
    assert!(last_cseq(scene.ann(), Method::Bye) > 1000);
}

#[test]
fn both_sides_reinvite_after_the_death_of_their_pod() {
    let mut scene = survived();
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.reinvite(0, HELD, now));
    scene.sim.run_for(ms(1_000));
    assert!(scene.bob().heard().iter().filter(|h| **h == Heard::Request(Method::Invite)).count() == 2);
    assert!(last_cseq(scene.bob(), Method::Invite) > 1000);
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.reinvite(0, HELD.replace("100.1", "100.2"), now));
    scene.sim.run_for(ms(1_000));
    assert!(last_cseq(scene.ann(), Method::Invite) > 1000);
    // The record has the last offers, and a second death is survived as well.
    scene.sim.tell(scene.edge, |edge: &mut Edge, now| {
        edge.replace_pod(0, PodRef(100), 0, 1, now);
        let record = edge.registrar.checkpoints.values().next().unwrap().clone();
        edge.input(0, Input::Adopt(record), now);
    });
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
}

#[test]
fn the_table_of_adopted_dialogs_comes_before_what_was_minted() {
    let scene = survived();
    let mut router = Router::new(PodRef(99), 3);
    router.brief(&briefing(&[PodRef(99)], &[]));
    let bye = scene.sim.net.trace().iter().rev().find(|(_, p, _)| p.to == ip(EDGE)).unwrap().1.clone();
    let ack = sip_wire::Message::parse(bye.bytes).unwrap();
    router.adopt([ack.call_id()], ShardRef(2));
    assert_eq!(router.route(&ack), Belongs::Here(ShardRef(2)));
    router.forget([ack.call_id()]);
    assert_eq!(router.route(&ack), Belongs::Here(router.shard_of(ack.call_id())));
}

#[test]
fn a_pod_that_was_taken_for_dead_lets_go_of_its_call() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    let edge = scene.edge();
    for record in edge.registrar.checkpoints.values_mut() {
        // Somebody else has adopted it meanwhile.
        (record.epoch, record.owner) = (7, PodRef(50));
    }
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.reinvite(0, HELD, now));
    scene.sim.run_for(ms(1_000));
    assert_eq!(scene.edge().pods[0].core.calls(), 0);
    assert_eq!(scene.bob().live_calls(), 1, "nobody was told to hang up");
    assert_eq!(scene.edge().registrar.checkpoints.values().next().unwrap().epoch, 7);
}

#[test]
fn a_damaged_record_is_no_call_and_no_panic() {
    let mut scene = survived();
    let mut record = scene.edge().registrar.checkpoints.values().next().unwrap().clone();
    record.call.number += 1;
    record.state = bytes::Bytes::from_static(b"{\"reference\":");
    let mut edge = Edge::new(&[ip(EDGE)]);
    let now = edge.now(scene.sim.now());
    edge.pods[0].core.handle(Input::Adopt(record.clone()), now);
    record.schema = 999;
    edge.pods[0].core.handle(Input::Adopt(record), now);
    assert_eq!(edge.pods[0].core.calls(), 0);
    let dropped = std::iter::from_fn(|| edge.pods[0].core.poll_output())
        .filter(|o| matches!(o, Output::Event(_)))
        .count();
    assert_eq!(dropped, 2);
}
