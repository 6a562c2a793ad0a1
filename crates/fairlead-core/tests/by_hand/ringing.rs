//! Before anybody has answered: how long it rings, and a way to the callee that is gone.

use fairlead_core::input::{Input, SendFailed};
use fairlead_core::output::{Output, SendTo};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{ConnectionRef, PodRef};
use sip_wire::{Message, Method};

use crate::common::*;
use crate::lab::{Dialog, Lab, SDP, YAN};

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
fn rfc3261_9_2_a_cancel_before_the_registrar_answered_has_the_tag_of_its_invite() {
    let mut lab = Lab::new();
    lab.edge().delay = ms(300);
    let mut zoe = Dialog::of_caller();
    lab.ask(&mut zoe, "INVITE", SDP);
    lab.branch -= 1;
    lab.ask(&mut zoe, "CANCEL", "");
    let wire = lab.sim.node::<Wire>(lab.zoe);
    let tag = |status| wire.response(status).unwrap().to_tag().unwrap().to_string();
    assert_eq!(tag(200), tag(487));
    zoe.to = format!("{};tag={}", zoe.to, tag(487));
    lab.branch -= 1;
    lab.ask(&mut zoe, "ACK", "");
    lab.quiet();
    assert_eq!(lab.count(YAN, &Method::Invite), 0);
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
