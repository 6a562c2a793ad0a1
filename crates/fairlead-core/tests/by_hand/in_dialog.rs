//! Requests of a dialog that are neither INVITE nor BYE, and those that are not of it.

use sip_wire::{Header, Method};

use crate::common::*;
use crate::lab::{Dialog, Lab, SDP, YAN};

#[test]
fn rfc3261_12_2_2_requests_out_of_order_are_500() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    zoe.cseq -= 1;
    lab.ask(&mut zoe, "INFO", "");
    assert!(lab.statuses(ZOE).contains(&500));
    lab.end(zoe);
}

#[test]
fn an_info_passes_with_its_body_and_its_refusal_comes_back() {
    let mut lab = Lab::new();
    let (mut zoe, _) = lab.up();
    zoe.cseq += 1;
    let text = format!(
        "INFO {} SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bKinfo;rport\nMax-Forwards: 3\nFrom: {}\nTo: {}\nCall-ID: zoes\n\
         CSeq: {} INFO\nInfo-Package: dtmf\nX-Other: 1\nContent-Type: application/dtmf-relay\nContent-Length: 8\n\nSignal=5",
        zoe.target, zoe.from, zoe.to, zoe.cseq
    );
    lab.say(ZOE, &text);
    let info = lab.asked(YAN, &Method::Info);
    assert_eq!((info.body(), info.content_type()), (&b"Signal=5"[..], Some("application/dtmf-relay")));
    assert_eq!(info.header(Header::InfoPackage), Some("dtmf"));
    assert_eq!(info.max_forwards().unwrap().unwrap(), 2);
    assert!(info.header_named("X-Other").is_none());
    lab.answer(YAN, &info, 415, "");
    assert!(lab.statuses(ZOE).contains(&415));
    lab.end(zoe);
}

#[test]
fn an_info_passes_from_the_200_on_and_before_it_ends_no_dialog() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    let ringing = lab.sim.node::<Wire>(lab.zoe).response(180).unwrap();
    zoe.follows(&ringing);
    lab.ask(&mut zoe, "INFO", "");
    // RFC 5057 §5.1: 480 would end the usage.
    let refused = lab.sim.node::<Wire>(lab.zoe).response(500).unwrap();
    assert!(refused.header(Header::RetryAfter).is_some());
    lab.answer(YAN, &invite, 200, SDP);
    let mut yan = Dialog::of_callee(&invite);
    // The caller's ACK is lost; a digit of the callee reaches the caller all the same.
    lab.ask(&mut yan, "INFO", "");
    let info = lab.asked(ZOE, &Method::Info);
    lab.answer(ZOE, &info, 200, "");
    assert!(lab.statuses(YAN).contains(&200));
    zoe.cseq = 1;
    lab.ask(&mut zoe, "ACK", "");
    zoe.cseq = 2;
    lab.end(zoe);
}

/// Somebody else, who knows the names of a dialog.
const EVE: &str = "203.0.113.66:5060";

#[test]
fn rfc3261_12_2_2_an_old_request_or_ack_from_elsewhere_moves_nothing() {
    let mut lab = Lab::new();
    let (zoe, mut yan) = lab.up();
    let eve = lab.sim.add(&[ip(EVE)], Wire::default());
    for (method, cseq) in [("INFO", 1), ("ACK", 1), ("ACK", 9)] {
        let text = format!(
            "{method} {} SIP/2.0\nVia: SIP/2.0/UDP {EVE};branch=z9hG4bKe{cseq}{method};rport\nMax-Forwards: 70\n\
             From: {}\nTo: {}\nCall-ID: {}\nCSeq: {} {method}\nContent-Length: 0\n\n",
            zoe.target, zoe.from, zoe.to, zoe.call_id, cseq,
        );
        lab.sim.tell(eve, move |eve: &mut Wire, _| eve.say(EVE, EDGE, &text));
        lab.sim.run_for(ms(20));
    }
    assert_eq!(lab.sim.node::<Wire>(eve).statuses(), [500], "CSeq out of order");
    lab.ask(&mut yan, "INVITE", SDP);
    let (invite, trusted) =
        (lab.asked(ZOE, &Method::Invite), lab.edge().relay.sides.last().unwrap().0.clone());
    assert_eq!(trusted.signalling, ip(ZOE).ip());
    lab.answer(ZOE, &invite, 200, SDP);
    lab.ask(&mut yan, "ACK", "");
    lab.ask(&mut yan, "BYE", "");
    let bye = lab.asked(ZOE, &Method::Bye);
    lab.answer(ZOE, &bye, 200, "");
    let heard = &lab.sim.node::<Wire>(eve).heard;
    assert!(heard.iter().all(|message| !message.is_request()), "{heard:?}");
    lab.quiet();
}
