//! Calls between two phones on the simulated network.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_testkit::{CallState, Heard, Incoming, Phone};
use sip_wire::Method;

#[test]
fn a_call_is_set_up_and_ended_by_the_caller() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    assert_eq!(scene.ann().live_calls(), 1);
    assert_eq!(scene.bob().live_calls(), 1);
    assert_eq!(scene.edge().relay.sessions.len(), 1);
    assert_eq!(scene.edge().pods[0].core.channels().len(), 2);
    assert_eq!(scene.edge().pods[0].core.bridges().len(), 1);
    assert_eq!(scene.edge().registrar.checkpoints.len(), 1);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
    let record = scene.edge().records.remove(0);
    assert_eq!(
        (record.status, record.ended_by, record.from.as_str(), record.to.as_str()),
        (200, "caller", "ann", "bob")
    );
    assert!(record.billed_ms >= 1900 && record.media.is_some());
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Bye)));
}

#[test]
fn a_call_is_ended_by_the_callee() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    scene.quiet();
    assert_eq!(scene.edge().records[0].ended_by, "callee");
    assert!(scene.ann().calls()[0].is_over());
}

#[test]
fn a_caller_who_cancels_gets_487_and_the_phone_stops_ringing() {
    let mut scene = Scene::new();
    scene.bob().set_incoming(Incoming::Ring);
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(500));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.cancel(call, now));
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 487)));
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Cancel)));
    assert_eq!(scene.edge().records[0].ended_by, "cancel");
}

fn refused(status: u16) -> (Scene, u16) {
    let mut scene = Scene::new();
    scene.bob().set_incoming(Incoming::Refuse(status));
    scene.ann_calls("bob");
    scene.quiet();
    let got = scene
        .ann()
        .heard()
        .iter()
        .rev()
        .find_map(|heard| match heard {
            Heard::Response(Method::Invite, status) if *status >= 200 => Some(*status),
            _ => None,
        })
        .unwrap();
    (scene, got)
}

#[test]
fn what_the_callee_says_reaches_the_caller_by_the_table() {
    for (status, wanted) in
        [(486, 486), (603, 603), (503, 500), (302, 480), (401, 403), (404, 404), (488, 488), (500, 500)]
    {
        assert_eq!(refused(status).1, wanted, "for {status}");
    }
}

#[test]
fn nobody_of_that_name_is_404() {
    let mut scene = Scene::new();
    scene.ann_calls("nobody");
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 404)));
}

#[test]
fn a_phone_that_rings_too_long_is_left() {
    let mut scene = Scene::new();
    scene.edge().registrar.ring_time = 10;
    scene.bob().set_incoming(Incoming::Ring);
    scene.ann_calls("bob");
    scene.sim.run_for(ms(9_000));
    assert!(!scene.bob().heard().contains(&Heard::Request(Method::Cancel)));
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 480)));
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Cancel)));
}

#[test]
fn a_silent_phone_is_a_timeout() {
    let mut scene = Scene::new();
    scene.edge().registrar.ring_time = 60;
    scene.bob().set_incoming(Incoming::Silent);
    scene.ann_calls("bob");
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 408)));
}

#[test]
fn a_relay_without_a_port_refuses_the_call() {
    let mut scene = Scene::new();
    scene.edge().relay.full = true;
    scene.ann_calls("bob");
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 500)));
    assert!(!scene.bob().heard().contains(&Heard::Request(Method::Invite)));
}

#[test]
fn a_peer_at_its_call_limit_is_480() {
    let mut scene = Scene::new();
    scene.edge().registrar.full.insert("bob".to_owned());
    scene.ann_calls("bob");
    scene.quiet();
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 480)));
}

#[test]
fn hold_and_resume_pass_both_ways() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    let held = "v=0\r\no=- 1 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.reinvite(call, held, now));
    scene.sim.run_for(ms(1000));
    let channels = scene.edge().pods[0].core.channels();
    assert!(channels.iter().any(|channel| channel.hold && channel.peer == "ann"), "{channels:?}");
    assert!(scene.edge().registrar.usages.contains(&("ann".to_owned(), fairlead_model::ask::Usage::OnHold)));
    let resumed = held.replace("a=sendonly", "a=sendrecv");
    scene.sim.tell(scene.ann, move |ann: &mut Phone, now| ann.reinvite(call, resumed, now));
    scene.sim.run_for(ms(1000));
    assert!(scene.edge().pods[0].core.channels().iter().all(|channel| !channel.hold));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.reinvite(0, held.replace("100.1", "100.2"), now));
    scene.sim.run_for(ms(1000));
    let reinvites =
        scene.ann().heard().iter().filter(|heard| **heard == Heard::Request(Method::Invite)).count();
    assert_eq!(reinvites, 1);
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    scene.quiet();
}

#[test]
fn reinvites_that_meet_are_491_on_both_sides_and_the_call_stays() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    let sdp = "v=0\r\no=- 1 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\n";
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.reinvite(call, sdp, now));
    scene.sim.run_for(ms(4));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.reinvite(0, sdp, now));
    scene.sim.run_for(ms(3000));
    assert!(scene.bob().heard().contains(&Heard::Response(Method::Invite, 491)));
    assert_eq!(scene.ann().live_calls(), 1);
    assert_eq!(scene.edge().pods[0].core.bridges().len(), 1);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
}

#[test]
fn info_and_message_pass_and_their_answers_come_back() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.send_in_call(call, Method::Info, now));
    scene.sim.run_for(ms(500));
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Info)));
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Info, 200)));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.send_in_call(0, Method::Message, now));
    scene.sim.run_for(ms(500));
    assert!(scene.ann().heard().contains(&Heard::Request(Method::Message)));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.send_in_call(call, Method::Update, now));
    scene.sim.run_for(ms(500));
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Update, 405)));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
}

#[test]
fn the_operator_hangs_up() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3000));
    let call = scene.edge().pods[0].core.channels()[0].call;
    scene.sim.tell(scene.edge, |edge: &mut Edge, now| {
        edge.input(
            0,
            fairlead_core::input::Input::Command(fairlead_core::input::Command::HangUp { call }),
            now,
        );
    });
    scene.quiet();
    assert_eq!(scene.edge().records[0].ended_by, "operator");
    assert!(scene.ann().calls()[0].is_over() && scene.bob().calls()[0].is_over());
}

#[test]
fn the_longest_time_allowed_ends_a_call() {
    let mut scene = Scene::new();
    let limited = fairlead_model::ask::LegPolicy { max_duration: 20, ..policy("ann") };
    scene.edge().registrar.policy = Some(limited);
    scene.ann_calls("bob");
    scene.sim.run_for(ms(20_500));
    assert_eq!(scene.ann().live_calls(), 1);
    scene.sim.run_for(ms(2_000));
    assert_eq!(scene.ann().live_calls(), 0);
    scene.quiet();
    assert_eq!(scene.edge().records[0].ended_by, "max-duration");
}

#[test]
fn a_cancel_that_crosses_the_answer_ends_in_bye() {
    // Whatever the moment: before, at, and after the 200 of the callee.
    for at in 990..1030 {
        let mut scene = Scene::new();
        let call = scene.ann_calls("bob");
        scene.sim.run_for(ms(at));
        scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.cancel(call, now));
        scene.sim.run_for(ms(5_000));
        if scene.ann().calls()[0].state == CallState::Up {
            scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
        }
        scene.quiet();
        assert_eq!(scene.bob().live_calls(), 0, "cancelled at {at}");
        assert_eq!(scene.edge().records.len(), 1);
    }
}

#[test]
fn lost_doubled_and_reordered_messages_change_nothing() {
    for seed in 0..25 {
        let mut scene = Scene::with(seed, fairlead_testkit::Plan::BAD, phone("ann", ANN), phone("bob", BOB));
        let call = scene.ann_calls("bob");
        scene.sim.run_for(ms(20_000));
        scene.sim.tell(scene.ann, |ann: &mut Phone, now| {
            if ann.calls()[call].state == CallState::Up {
                ann.hang_up(call, now)
            } else {
                ann.cancel(call, now)
            }
        });
        scene.quiet();
        assert_eq!(scene.edge().records.len(), 1, "seed {seed}");
        assert_eq!((scene.ann().live_calls(), scene.bob().live_calls()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_caller_who_never_acknowledges_is_ended() {
    let mut scene = Scene::new();
    scene.ann_calls("bob");
    scene.sim.net.lose_first(usize::MAX, "ACK sip:a");
    let acks_to_edge = ip(EDGE);
    scene
        .sim
        .net
        .lose_when(move |packet| packet.to == acks_to_edge && packet.first_line().starts_with("ACK"));
    scene.quiet();
    assert_eq!(scene.edge().records[0].ended_by, "failure");
    assert_eq!(scene.bob().live_calls(), 0);
}

#[test]
fn what_the_registrar_has_to_hear_is_told_again_until_it_is_heard() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    scene.edge().registrar.away = true;
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(20_000));
    assert_eq!(scene.edge().pods[0].core.calls(), 0, "the call is over all the same");
    assert!(!scene.edge().registrar.slots.is_empty() && !scene.edge().registrar.checkpoints.is_empty());
    scene.edge().registrar.away = false;
    scene.quiet();
}

#[test]
fn a_record_that_could_not_be_written_is_written_as_it_is_later() {
    let mut scene = Scene::new();
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(900));
    scene.edge().registrar.away = true;
    scene.sim.run_for(ms(1_500));
    assert_eq!((scene.ann().live_calls(), scene.edge().registrar.checkpoints.len()), (1, 0));
    scene.edge().registrar.away = false;
    scene.sim.run_for(ms(5_000));
    assert_eq!(scene.edge().registrar.checkpoints.len(), 1);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
}

#[test]
fn section_17_1_1_2_a_datagram_that_finds_no_room_is_sent_again() {
    let mut scene = Scene::new();
    scene.edge().full.insert(ip(BOB));
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(1_200));
    assert!(scene.lines(EDGE, BOB).iter().all(|line| !line.starts_with("INVITE")));
    scene.edge().full.clear();
    scene.sim.run_for(ms(4_000));
    assert_eq!((scene.ann().live_calls(), scene.bob().live_calls()), (1, 1));
    scene.edge().full.insert(ip(BOB));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.sim.run_for(ms(1_200));
    assert_eq!(scene.bob().live_calls(), 1);
    scene.edge().full.clear();
    scene.quiet();
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Bye)));
}

#[test]
fn section_17_1_4_a_connection_that_takes_nothing_is_an_error_at_once() {
    let mut scene = Scene::new();
    scene.edge().connected.insert(ip(BOB));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.register(3600, now));
    scene.sim.run_for(ms(200));
    scene.edge().full.insert(ip(BOB));
    scene.ann_calls("bob");
    scene.sim.run_for(ms(300));
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 480)));
    scene.quiet();
}
