//! BYE, when it comes early, and calls that end without one of the two having wanted it.

use fairlead_core::input::Input;
use fairlead_model::id::Side;
use fairlead_model::relay::{RelayEvent, SessionStatistics};
use sip_wire::Method;

use crate::common::*;
use crate::lab::{Dialog, Lab, SDP, YAN};

#[test]
fn rfc3261_15_a_bye_in_an_early_dialog_ends_the_invite() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    let ringing = lab.sim.node::<Wire>(lab.zoe).response(180).unwrap();
    zoe.follows(&ringing);
    // §12.2.2: one that does not follow the INVITE is an old one.
    zoe.cseq = 0;
    lab.ask(&mut zoe, "BYE", "");
    assert_eq!((lab.statuses(ZOE).last(), lab.count(YAN, &Method::Cancel)), (Some(&500), 0));
    lab.ask(&mut zoe, "BYE", "");
    let statuses = lab.statuses(ZOE);
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    let cancel = lab.asked(YAN, &Method::Cancel);
    lab.answer(YAN, &cancel, 200, "");
    lab.answer(YAN, &invite, 487, "");
    lab.quiet();
    assert_eq!(lab.edge().records[0].ended_by, "caller");
}

#[test]
fn rfc3261_15_the_caller_gets_no_bye_before_it_has_acknowledged() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    lab.answer(YAN, &invite, 200, SDP);
    let ok = lab.sim.node::<Wire>(lab.zoe).response(200).unwrap();
    zoe.follows(&ok);
    let mut yan = Dialog::of_callee(&invite);
    lab.ask(&mut yan, "BYE", "");
    assert_eq!(lab.count(ZOE, &Method::Bye), 0);
    lab.ask(&mut zoe, "ACK", "");
    assert_eq!(lab.count(ZOE, &Method::Bye), 1);
    let bye = lab.asked(ZOE, &Method::Bye);
    lab.answer(ZOE, &bye, 200, "");
    lab.quiet();
    assert_eq!(lab.edge().records[0].ended_by, "callee");
}

#[test]
fn rtp_that_stops_ends_the_call() {
    let mut lab = Lab::new();
    let _ = lab.up();
    let session = *lab.edge().relay.sessions.iter().next().unwrap();
    lab.edge().relay.sessions.clear();
    let statistics = Box::new(SessionStatistics { streams: Vec::new(), duration_ms: 9 });
    lab.sim.tell(lab.edge, |edge: &mut Edge, now| {
        edge.input(0, Input::RelayEvent(RelayEvent::TimedOut { session, side: Side::A, statistics }), now);
    });
    lab.sim.run_for(ms(100));
    for who in [ZOE, YAN] {
        let bye = lab.asked(who, &Method::Bye);
        lab.answer(who, &bye, 200, "");
    }
    lab.quiet();
    let record = &lab.edge().records[0];
    assert_eq!((record.ended_by, record.media.as_ref().unwrap().duration_ms), ("rtp-timeout", 9));
}

#[test]
fn relay_sessions_are_renewed_and_a_lost_one_ends_its_call() {
    let mut lab = Lab::new();
    let _ = lab.up();
    lab.sim.run_for(ms(100_000));
    assert_eq!(lab.edge().relay.orders.iter().filter(|order| **order == "renew").count(), 2);
    assert_eq!(lab.edge().pods[0].core.bridges().len(), 1);
    lab.edge().relay.sessions.clear();
    lab.sim.run_for(ms(45_000));
    assert_eq!(lab.count(ZOE, &Method::Bye).min(1), 1);
    lab.quiet();
    assert_eq!(lab.edge().records[0].ended_by, "failure");
}
