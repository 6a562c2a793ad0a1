//! INVITEs inside a dialog: cancelled, refused, answered late, and what they move.

use fairlead_model::ask::Usage;
use sip_wire::{Header, Method};

use crate::common::*;
use crate::lab::{Lab, SDP, YAN};

#[test]
fn a_reinvite_is_cancelled_from_either_side_and_the_call_stays() {
    let mut lab = Lab::new();
    let (mut zoe, mut yan) = lab.up();
    for turn in 0..2 {
        let (one, other) = if turn == 0 { (&mut zoe, YAN) } else { (&mut yan, ZOE) };
        let me = one.me;
        let text = lab.ask(one, "INVITE", SDP);
        let invite = lab.asked(other, &Method::Invite);
        lab.answer(other, &invite, 100, "");
        lab.say(
            me,
            &text
                .replace("INVITE", "CANCEL")
                .replace("Content-Type: application/sdp\n", "")
                .split_once("Content-Length")
                .map(|(head, _)| format!("{head}Content-Length: 0\n\n"))
                .unwrap(),
        );
        let cancel = lab.asked(other, &Method::Cancel);
        lab.answer(other, &cancel, 200, "");
        lab.answer(other, &invite, 487, "");
        assert!(lab.statuses(me).contains(&487), "{me}");
        assert_eq!(lab.edge().pods[0].core.bridges().len(), 1);
    }
    assert!(lab.edge().relay.orders.contains(&"withdraw"));
    lab.end(zoe);
}

#[test]
fn rfc3261_9_2_a_reinvite_is_cancelled_before_the_other_leg_hears_of_it() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    let invites = lab.count(YAN, &Method::Invite);
    // The relay takes its time.
    lab.edge().delay = ms(200);
    lab.ask(&mut zoe, "INVITE", SDP);
    let branch = lab.branch;
    lab.branch -= 1;
    lab.ask(&mut zoe, "CANCEL", "");
    assert_eq!(lab.branch, branch);
    assert!(lab.statuses(ZOE).contains(&487));
    lab.sim.run_for(ms(1_000));
    assert_eq!(lab.count(YAN, &Method::Invite), invites);
    lab.edge().delay = ms(0);
    // The next one goes through.
    lab.ask(&mut zoe, "ACK", "");
    lab.ask(&mut zoe, "INVITE", SDP);
    let invite = lab.asked(YAN, &Method::Invite);
    lab.answer(YAN, &invite, 200, SDP);
    lab.ask(&mut zoe, "ACK", "");
    lab.end(zoe);
}

#[test]
fn a_refused_reinvite_leaves_the_call_and_408_or_481_end_it() {
    for (status, passed, stays) in
        [(488, 488, true), (503, 500, true), (401, 403, true), (481, 481, false), (408, 408, false)]
    {
        let mut lab = Lab::new();
        let (mut zoe, _) = lab.up();
        lab.ask(&mut zoe, "INVITE", SDP);
        let invite = lab.asked(YAN, &Method::Invite);
        lab.answer(YAN, &invite, status, "");
        assert!(lab.statuses(ZOE).contains(&passed), "{status}");
        assert_eq!(lab.edge().pods[0].core.bridges().len(), usize::from(stays), "{status}");
        if stays {
            // What was agreed before holds, and the next offer is taken.
            lab.ask(&mut zoe, "INVITE", SDP);
            let invite = lab.asked(YAN, &Method::Invite);
            lab.answer(YAN, &invite, 200, SDP);
            lab.ask(&mut zoe, "ACK", "");
            lab.end(zoe);
        } else {
            assert_eq!((lab.count(ZOE, &Method::Bye), lab.count(YAN, &Method::Bye)), (1, 1));
            lab.quiet();
        }
    }
}

#[test]
fn a_bye_in_the_middle_of_a_reinvite_closes_both() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    lab.ask(&mut zoe, "INVITE", SDP);
    let invite = lab.asked(YAN, &Method::Invite);
    lab.answer(YAN, &invite, 100, "");
    lab.ask(&mut zoe, "BYE", "");
    assert!(lab.statuses(ZOE).contains(&487));
    let (cancel, bye) = (lab.asked(YAN, &Method::Cancel), lab.asked(YAN, &Method::Bye));
    lab.answer(YAN, &cancel, 200, "");
    lab.answer(YAN, &invite, 487, "");
    lab.answer(YAN, &bye, 200, "");
    lab.quiet();
}

/// RFC 3261 §13.2.2.4: each 2xx is acknowledged, also when the ACK before got lost and the next re-INVITE is on its way.
#[test]
fn a_2xx_that_comes_again_after_the_next_reinvite_is_acknowledged_again() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    lab.ask(&mut zoe, "INVITE", SDP);
    let first = lab.asked(YAN, &Method::Invite);
    lab.answer(YAN, &first, 200, SDP);
    lab.ask(&mut zoe, "ACK", "");
    let acks = lab.count(YAN, &Method::Ack);
    lab.ask(&mut zoe, "INVITE", SDP);
    lab.answer(YAN, &first, 200, SDP);
    assert_eq!(lab.count(YAN, &Method::Ack), acks + 1);
    assert_eq!(lab.asked(YAN, &Method::Ack).cseq().unwrap().number, first.cseq().unwrap().number);
    let second = lab.asked(YAN, &Method::Invite);
    lab.answer(YAN, &second, 200, SDP);
    lab.ask(&mut zoe, "ACK", "");
    lab.end(zoe);
}

#[test]
fn what_a_peer_does_is_told_when_it_changes() {
    let mut lab = Lab::new();
    let (mut zoe, mut yan) = lab.up();
    lab.ask(&mut yan, "INVITE", &format!("{SDP}a=sendonly\n"));
    let invite = lab.asked(ZOE, &Method::Invite);
    lab.answer(ZOE, &invite, 200, SDP);
    lab.ask(&mut yan, "ACK", "");
    let usages = lab.edge().registrar.usages.clone();
    assert_eq!(usages, [("yan".to_owned(), Usage::Up), ("yan".to_owned(), Usage::OnHold)]);
    zoe.cseq += 1;
    lab.end(zoe);
}

#[test]
fn a_target_refresh_moves_where_the_next_request_goes() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    zoe.me = ZOE;
    let text = lab.ask(&mut zoe, "INVITE", SDP);
    assert!(text.contains("Contact: <sip:198.51.100.9:5060>"));
    let invite = lab.asked(YAN, &Method::Invite);
    // The callee moves to another port with its 200.
    let moved = invite
        .response(200, "OK")
        .header(Header::Contact, "<sip:yan@198.51.100.8:7000>")
        .body("application/sdp", SDP.replace('\n', "\r\n"))
        .finish();
    lab.say(YAN, &String::from_utf8(moved.to_vec()).unwrap().replace("\r\n", "\n"));
    lab.ask(&mut zoe, "ACK", "");
    lab.ask(&mut zoe, "BYE", "");
    let bye = lab
        .sim
        .net
        .trace()
        .iter()
        .rev()
        .find(|(_, p, _)| p.first_line().starts_with("BYE") && p.from == ip(EDGE))
        .unwrap()
        .1
        .first_line();
    assert_eq!(bye, "BYE sip:yan@198.51.100.8:7000 SIP/2.0");
}

#[test]
fn rfc3261_20_11_a_body_that_need_not_be_read_is_as_none() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    for (disposition, passes) in [("signal;handling=optional", true), ("signal;handling=required", false)] {
        zoe.cseq += 1;
        let text = format!(
            "INVITE {} SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bKopt{};rport\nMax-Forwards: 70\nFrom: {}\nTo: {}\n\
             Call-ID: zoes\nCSeq: {} INVITE\nContact: <sip:{ZOE}>\nContent-Type: application/isup\n\
             Content-Disposition: {disposition}\nContent-Length: 1\n\nx",
            zoe.target, zoe.cseq, zoe.from, zoe.to, zoe.cseq
        );
        let before = lab.count(YAN, &Method::Invite);
        lab.say(ZOE, &text);
        assert_eq!(lab.count(YAN, &Method::Invite) > before, passes, "{disposition}");
        assert_eq!(lab.statuses(ZOE).contains(&415), !passes, "{disposition}");
        if passes {
            let invite = lab.asked(YAN, &Method::Invite);
            assert!(invite.body().is_empty());
            lab.answer(YAN, &invite, 488, "");
        }
    }
    lab.end(zoe);
}

#[test]
fn rfc3261_12_2_2_the_answer_to_a_reinvite_says_the_newest_address_of_the_edge() {
    let mut lab = Lab::new();
    let reached_under = |lab: &mut Lab, host: &str| {
        let pod = &mut lab.edge().pods[0];
        let mut networks = identity(pod.pod, 0, 1, pod.address).networks;
        behind_service(&mut networks[0], host);
        pod.core.set_networks(networks);
    };
    let contact = |lab: &mut Lab| {
        let ok = lab.sim.node::<Wire>(lab.zoe).response(200).unwrap();
        ok.contact().unwrap().unwrap().uri.as_str().to_owned()
    };
    reached_under(&mut lab, "203.0.113.10");
    let (mut zoe, _) = lab.up();
    assert!(contact(&mut lab).ends_with("@203.0.113.10:5060"));
    reached_under(&mut lab, "203.0.113.11");
    lab.ask(&mut zoe, "INVITE", SDP);
    let invite = lab.asked(YAN, &Method::Invite);
    lab.answer(YAN, &invite, 200, SDP);
    assert!(contact(&mut lab).ends_with("@203.0.113.11:5060"), "{}", contact(&mut lab));
    lab.ask(&mut zoe, "ACK", "");
    lab.end(zoe);
}
