//! Answers that come when their INVITE is over, or that were never meant for us.

use sip_wire::{Header, Method};

use crate::common::*;
use crate::lab::{Dialog, Lab, SDP, YAN};

#[test]
fn rfc3261_13_2_2_4_who_answers_when_all_is_forgotten_gets_ack_and_bye() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    lab.branch -= 1;
    lab.ask(&mut zoe, "CANCEL", "");
    // §9.2: both answers, to the CANCEL and to its INVITE, are of one dialog.
    let wire = lab.sim.node::<Wire>(lab.zoe);
    let tag = |status| wire.response(status).unwrap().to_tag().unwrap().to_string();
    assert_eq!((tag(200), tag(200)), (tag(487), tag(180)));
    // The callee is deaf to its CANCEL for 64*T1 (§9.1).
    lab.quiet();
    for _ in 0..2 {
        lab.answer(YAN, &invite, 200, SDP);
    }
    assert_eq!((lab.count(YAN, &Method::Ack), lab.count(YAN, &Method::Bye)), (2, 1));
    let (ack, bye) = (lab.asked(YAN, &Method::Ack), lab.asked(YAN, &Method::Bye));
    assert_eq!((ack.header(Header::CSeq), bye.header(Header::CSeq)), (Some("1 ACK"), Some("2 BYE")));
    for request in [&ack, &bye] {
        assert_eq!(request.request_uri(), format!("sip:{YAN}"));
        assert_eq!(
            (request.call_id(), request.header(Header::From)),
            (invite.call_id(), invite.header(Header::From))
        );
        assert_eq!(request.to_tag(), Some("t"));
    }
    lab.answer(YAN, &bye, 200, "");
    lab.quiet();
}

#[test]
fn who_answers_after_timer_b_gets_ack_and_bye_while_another_rings() {
    let mut lab = Lab::new();
    let mut second = target("yin", ip(YAN));
    second.ring_time = 0;
    let targets = vec![target("yan", ip(YAN)), second];
    lab.edge().registrar.targets.insert("yan".to_owned(), targets);
    let mut zoe = Dialog::of_caller();
    lab.ask(&mut zoe, "INVITE", SDP);
    let first = lab.asked(YAN, &Method::Invite);
    // Five seconds of silence, then the next contact rings.
    lab.sim.run_for(ms(6_000));
    let ringing = lab.asked(YAN, &Method::Invite);
    assert_ne!(ringing.call_id(), first.call_id());
    lab.answer(YAN, &ringing, 180, "");
    lab.sim.run_for(ms(40_000));
    lab.answer(YAN, &first, 200, SDP);
    let (ack, bye) = (lab.asked(YAN, &Method::Ack), lab.asked(YAN, &Method::Bye));
    assert_eq!((ack.call_id(), bye.call_id()), (first.call_id(), first.call_id()));
    lab.answer(YAN, &bye, 200, "");
    assert_eq!(lab.edge().pods[0].core.calls(), 1, "the other one still rings");
    lab.answer(YAN, &ringing, 486, "");
    assert!(lab.statuses(ZOE).contains(&486));
    lab.quiet();
}

#[test]
fn a_2xx_under_names_that_are_not_ours_is_left_alone() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    lab.branch -= 1;
    lab.ask(&mut zoe, "CANCEL", "");
    lab.quiet();
    let ok = String::from_utf8(invite.response(200, "OK").to_tag("t").finish().to_vec()).unwrap();
    let ok = ok.replace("\r\n\r\n", &format!("\r\nContact: <sip:{YAN}>\r\n\r\n"));
    lab.say(YAN, &ok.replace(invite.call_id(), "invented").replace("\r\n", "\n"));
    assert_eq!((lab.count(YAN, &Method::Ack), lab.count(YAN, &Method::Bye)), (0, 0));
}

#[test]
fn rfc3261_8_1_3_3_a_response_with_a_second_via_is_not_for_us() {
    let mut lab = Lab::new();
    let (_, invite, _) = lab.ring();
    let busy = String::from_utf8(invite.response(486, "Busy").to_tag("t").finish().to_vec()).unwrap();
    let astray = busy.replacen("\r\nFrom:", "\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKx\r\nFrom:", 1);
    lab.say(YAN, &astray.replace("\r\n", "\n"));
    assert!(!lab.statuses(ZOE).contains(&486));
    lab.say(YAN, &busy.replace("\r\n", "\n"));
    assert!(lab.statuses(ZOE).contains(&486));
    lab.quiet();
}
