//! Both phones by hand: what ordinary phones seldom do, at the moment the test wants it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::{Input, SendFailed};
use fairlead_core::output::{Output, SendTo};
use fairlead_model::ask::Usage;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{ConnectionRef, PodRef, Side};
use fairlead_model::relay::{RelayEvent, SessionStatistics};
use fairlead_testkit::{NodeRef, Plan, Sim};
use sip_wire::{Header, Message, Method};

const ZOE: &str = "198.51.100.9:5060";
const YAN: &str = "198.51.100.8:5060";
const SDP: &str =
    "v=0\no=- 5 5 IN IP4 198.51.100.9\ns=-\nc=IN IP4 198.51.100.9\nt=0 0\nm=audio 30000 RTP/AVP 0\n";

struct Lab {
    sim: Sim,
    edge: NodeRef,
    zoe: NodeRef,
    yan: NodeRef,
    branch: u32,
}

/// The dialog of one of the two, as it sees it.
struct Dialog {
    me: &'static str,
    target: String,
    from: String,
    to: String,
    call_id: String,
    cseq: u32,
}

impl Lab {
    fn new() -> Self {
        let mut sim = Sim::new(1, Plan::PERFECT);
        let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
        sim.node::<Edge>(edge).trust(&["198.51.100.9/32"]);
        sim.node::<Edge>(edge).registrar.targets.insert("yan".to_owned(), vec![target("yan", ip(YAN))]);
        let (zoe, yan) = (sim.add(&[ip(ZOE)], Wire::default()), sim.add(&[ip(YAN)], Wire::default()));
        Lab { sim, edge, zoe, yan, branch: 0 }
    }

    fn node(&self, address: &str) -> NodeRef {
        if address == ZOE { self.zoe } else { self.yan }
    }

    fn edge(&mut self) -> &mut Edge {
        self.sim.node(self.edge)
    }

    fn say(&mut self, from: &'static str, text: &str) {
        let text = text.to_owned();
        self.sim.tell(self.node(from), move |wire: &mut Wire, _| wire.say(from, EDGE, &text));
        self.sim.run_for(ms(20));
    }

    /// The newest request of a method that this one heard.
    fn asked(&mut self, who: &str, method: &Method) -> Message {
        let node = self.node(who);
        let heard = &self.sim.node::<Wire>(node).heard;
        heard.iter().rev().find(|m| m.is_request() && m.method() == method).unwrap().clone()
    }

    fn count(&mut self, who: &str, method: &Method) -> usize {
        let node = self.node(who);
        self.sim.node::<Wire>(node).heard.iter().filter(|m| m.is_request() && m.method() == method).count()
    }

    fn statuses(&mut self, who: &str) -> Vec<u16> {
        let node = self.node(who);
        self.sim.node::<Wire>(node).statuses()
    }

    fn answer(&mut self, who: &'static str, request: &Message, status: u16, sdp: &str) {
        let mut writer =
            request.response(status, "Whatever").to_tag("t").header(Header::Contact, format!("<sip:{who}>"));
        if !sdp.is_empty() {
            writer = writer.body("application/sdp", sdp.replace('\n', "\r\n"));
        }
        let text = String::from_utf8(writer.finish().to_vec()).unwrap().replace("\r\n", "\n");
        self.say(who, &text);
    }

    fn ask(&mut self, dialog: &mut Dialog, method: &str, sdp: &str) -> String {
        self.branch += 1;
        if !matches!(method, "ACK" | "CANCEL") {
            dialog.cseq += 1;
        }
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        let text = format!(
            "{method} {} SIP/2.0\nVia: SIP/2.0/UDP {};branch=z9hG4bK{}{};rport\nMax-Forwards: 70\nFrom: {}\nTo: {}\n\
             Call-ID: {}\nCSeq: {} {method}\nContact: <sip:{}>\n{kind}Content-Length: {}\n\n{sdp}",
            dialog.target,
            dialog.me,
            &dialog.me[11..12],
            self.branch,
            dialog.from,
            dialog.to,
            dialog.call_id,
            dialog.cseq,
            dialog.me,
            sdp.replace('\n', "\r\n").len(),
        );
        self.say(dialog.me, &text);
        text
    }

    fn ring(&mut self) -> (Dialog, Message, String) {
        let mut zoe = Dialog {
            me: ZOE,
            target: "sip:yan@edge.example".to_owned(),
            from: "<sip:zoe@edge.example>;tag=z".to_owned(),
            to: "<sip:yan@edge.example>".to_owned(),
            call_id: "zoes".to_owned(),
            cseq: 0,
        };
        let text = self.ask(&mut zoe, "INVITE", SDP);
        let invite = self.asked(YAN, &Method::Invite);
        self.answer(YAN, &invite, 180, "");
        (zoe, invite, text)
    }

    /// A call that is up: both dialogs.
    fn up(&mut self) -> (Dialog, Dialog) {
        let (mut zoe, invite, _) = self.ring();
        self.answer(YAN, &invite, 200, SDP);
        let ok = self.sim.node::<Wire>(self.zoe).response(200).unwrap();
        zoe.target = ok.contact().unwrap().unwrap().uri.as_str().to_owned();
        zoe.to = ok.header(Header::To).unwrap().to_owned();
        self.ask(&mut zoe, "ACK", "");
        let yan = Dialog {
            me: YAN,
            target: invite.contact().unwrap().unwrap().uri.as_str().to_owned(),
            from: format!("{};tag=t", invite.header(Header::To).unwrap()),
            to: invite.header(Header::From).unwrap().to_owned(),
            call_id: invite.call_id().to_owned(),
            cseq: 0,
        };
        assert_eq!(self.edge().pods[0].core.bridges().len(), 1);
        (zoe, yan)
    }

    fn end(&mut self, mut zoe: Dialog) {
        self.ask(&mut zoe, "BYE", "");
        let bye = self.asked(YAN, &Method::Bye);
        self.answer(YAN, &bye, 200, "");
        self.quiet();
    }

    fn quiet(&mut self) {
        assert!(self.sim.run_until_quiet(std::time::Duration::from_secs(600)));
        self.edge().assert_nothing_left();
    }
}

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

#[test]
fn rfc3261_15_a_bye_in_an_early_dialog_ends_the_invite() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    let ringing = lab.sim.node::<Wire>(lab.zoe).response(180).unwrap();
    zoe.to = ringing.header(Header::To).unwrap().to_owned();
    zoe.target = ringing.contact().unwrap().unwrap().uri.as_str().to_owned();
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
    zoe.target = ok.contact().unwrap().unwrap().uri.as_str().to_owned();
    zoe.to = ok.header(Header::To).unwrap().to_owned();
    let mut yan = Dialog {
        me: YAN,
        target: invite.contact().unwrap().unwrap().uri.as_str().to_owned(),
        from: format!("{};tag=t", invite.header(Header::To).unwrap()),
        to: invite.header(Header::From).unwrap().to_owned(),
        call_id: invite.call_id().to_owned(),
        cseq: 0,
    };
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
fn rfc3261_16_6_timer_c_ends_what_rings_for_ever() {
    let mut lab = Lab::new();
    let mut forever = target("yan", ip(YAN));
    forever.ring_time = 0;
    lab.edge().registrar.targets.insert("yan".to_owned(), vec![forever]);
    let (_, invite, _) = lab.ring();
    lab.sim.run_for(ms(170_000));
    // Each provisional response begins it anew.
    lab.answer(YAN, &invite, 180, "");
    lab.sim.run_for(ms(170_000));
    assert_eq!(lab.count(YAN, &Method::Cancel), 0);
    lab.sim.run_for(ms(12_000));
    assert!(lab.count(YAN, &Method::Cancel) >= 1);
    assert!(lab.statuses(ZOE).contains(&408));
    lab.quiet();
}

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

/// A leg over a connection that is gone.
#[test]
fn a_call_to_a_closed_connection_is_flow_lost_at_once() {
    let mut edge = Edge::new(&[ip(EDGE)]);
    edge.trust(&["198.51.100.9/32"]);
    let flow = Flow {
        pod: PodRef(1),
        transport: Transport::Tcp,
        local: ip(EDGE),
        remote: ip("198.51.100.8:40000"),
        connection: Some(ConnectionRef(3)),
    };
    let mut one = target("yan", ip(YAN));
    one.hop = Hop::Flow(flow);
    edge.registrar.targets.insert("yan".to_owned(), vec![one]);
    let start = std::time::Instant::now();
    let now = edge.now(start);
    let invite = format!(
        "INVITE sip:yan@edge.example SIP/2.0\r\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:zoe@edge.example>;tag=z\r\nTo: <sip:yan@edge.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:zoe@{ZOE}>\r\nContent-Length: 0\r\n\r\n"
    );
    let udp = Flow { transport: Transport::Udp, remote: ip(ZOE), connection: None, ..flow };
    let core = &mut edge.pods[0].core;
    core.handle(Input::Received { message: Message::parse(invite.into()).unwrap(), flow: udp }, now);
    let mut statuses = Vec::new();
    let mut open: Vec<Input> = Vec::new();
    for _ in 0..20 {
        while let Some(output) = core.poll_output() {
            match output {
                Output::Ask(envelope) => {
                    let answer = edge.registrar.answer(PodRef(1), envelope.ask);
                    open.push(Input::Answered { ask: envelope.id, answer });
                }
                Output::Send { send, to: SendTo::Flow(to), report: true, .. } if to == flow => {
                    open.push(Input::Sent { send, failed: Some(SendFailed::ConnectionGone), flow: None });
                }
                Output::Send { message, .. } => statuses.extend(Message::parse(message).unwrap().status()),
                _ => {}
            }
        }
        for input in open.drain(..) {
            core.handle(input, now);
        }
    }
    assert_eq!(statuses, [100, 480]);
    assert_eq!(core.calls(), 0);
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
fn who_answers_after_timer_b_gets_ack_and_bye_while_another_rings() {
    let mut lab = Lab::new();
    let mut second = target("yin", ip(YAN));
    second.ring_time = 0;
    let targets = vec![target("yan", ip(YAN)), second];
    lab.edge().registrar.targets.insert("yan".to_owned(), targets);
    let mut zoe = Dialog {
        me: ZOE,
        target: "sip:yan@edge.example".to_owned(),
        from: "<sip:zoe@edge.example>;tag=z".to_owned(),
        to: "<sip:yan@edge.example>".to_owned(),
        call_id: "zoes".to_owned(),
        cseq: 0,
    };
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

#[test]
fn an_info_passes_from_the_200_on_and_before_it_ends_no_dialog() {
    let mut lab = Lab::new();
    let (mut zoe, invite, _) = lab.ring();
    let ringing = lab.sim.node::<Wire>(lab.zoe).response(180).unwrap();
    zoe.to = ringing.header(Header::To).unwrap().to_owned();
    zoe.target = ringing.contact().unwrap().unwrap().uri.as_str().to_owned();
    lab.ask(&mut zoe, "INFO", "");
    // RFC 5057 §5.1: 480 would end the usage.
    let refused = lab.sim.node::<Wire>(lab.zoe).response(500).unwrap();
    assert!(refused.header(Header::RetryAfter).is_some());
    lab.answer(YAN, &invite, 200, SDP);
    let mut yan = Dialog {
        me: YAN,
        target: invite.contact().unwrap().unwrap().uri.as_str().to_owned(),
        from: format!("{};tag=t", invite.header(Header::To).unwrap()),
        to: invite.header(Header::From).unwrap().to_owned(),
        call_id: invite.call_id().to_owned(),
        cseq: 0,
    };
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
fn rfc3261_13_3_1_1_a_caller_hears_every_minute_that_it_rings() {
    let mut lab = Lab::new();
    let mut patient = target("yan", ip(YAN));
    patient.ring_time = 0;
    lab.edge().registrar.targets.insert("yan".to_owned(), vec![patient]);
    let (_, invite, _) = lab.ring();
    let heard = |lab: &mut Lab| lab.statuses(ZOE).iter().filter(|status| **status == 180).count();
    assert_eq!(heard(&mut lab), 1);
    lab.sim.run_for(ms(59_000));
    assert_eq!(heard(&mut lab), 1);
    lab.sim.run_for(ms(65_000));
    assert_eq!(heard(&mut lab), 3);
    lab.answer(YAN, &invite, 486, "");
    lab.quiet();
    assert_eq!(heard(&mut lab), 3);
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
