//! Several shards in a pod, several pods: who hands what to whom, and what stays.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Instant;

use common::*;
use fairlead_core::input::{Input, Now};
use fairlead_core::mint::{Kind, Minted};
use fairlead_core::output::{Event, Output};
use fairlead_core::route_message::{Belongs, Router};
use fairlead_core::{Core, Limits};
use fairlead_model::ask::{Answer, Ask};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef, ShardRef, UnixMillis};
use fairlead_model::member::MintKey;
use sip_wire::Message;

const PODS: [PodRef; 3] = [PodRef(1), PodRef(2), PodRef(3)];

fn now() -> Now {
    Now { mono: Instant::now(), wall: UnixMillis(1_800_000_000_000) }
}

fn shard(number: u8) -> Core {
    let mut core = Core::new(identity(PODS[0], number, 4, ip(EDGE)), [number; 32], Limits::default());
    core.handle(Input::Briefed(briefing(&PODS, &[])), now());
    core
}

fn flow(pod: PodRef) -> Flow {
    Flow { pod, transport: Transport::Udp, local: ip(EDGE), remote: ip(ANN), connection: None }
}

fn options(call_id: &str, to: &str) -> Message {
    let text = format!(
        "OPTIONS sip:edge.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@edge.example>;tag=f\r\nTo: <sip:edge.example>{to}\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.into()).unwrap()
}

/// What a shard does with a message: hand it on, or answer it with this status.
fn done(core: &mut Core, message: Message, flow: Flow) -> Result<(PodRef, Option<u8>), u16> {
    core.handle(Input::Received { message, flow }, now());
    let mut result = None;
    while let Some(output) = core.poll_output() {
        match output {
            Output::Forward { pod, shard, .. } => result = Some(Ok((pod, shard))),
            Output::Send { message, .. } => result = Message::parse(message).unwrap().status().map(Err),
            _ => {}
        }
    }
    result.unwrap()
}

fn tag(pod: PodRef, shard: u8) -> String {
    let minted = Minted { kind: Kind::Call, pod, shard: ShardRef(shard), number: 1, index: 0 };
    format!(";tag={}", minted.write(&MintKey { version: b'a', key: [9; 16] }))
}

#[test]
fn what_carries_nothing_of_ours_belongs_to_the_shard_of_its_call_id() {
    let mut router = Router::new(PODS[0], 4);
    router.brief(&briefing(&PODS, &[]));
    let mut seen = [0; 4];
    for number in 0..200 {
        let message = options(&format!("call-{number}"), "");
        let Belongs::Here(ShardRef(owner)) = router.route(&message) else { panic!("another pod's") };
        seen[usize::from(owner)] += 1;
        let other = (owner + 1) % 4;
        assert_eq!(done(&mut shard(owner), message.clone(), flow(PODS[0])), Err(200));
        assert_eq!(done(&mut shard(other), message, flow(PODS[0])), Ok((PODS[0], Some(owner))));
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn a_message_is_counted_once_by_the_shard_that_deals_with_it() {
    let message = options("counted", &tag(PODS[0], 3));
    let counted = |number: u8| {
        let mut core = shard(number);
        while core.poll_output().is_some() {}
        core.handle(Input::Received { message: message.clone(), flow: flow(PODS[0]) }, now());
        std::iter::from_fn(move || core.poll_output())
            .filter(|output| matches!(output, Output::Event(Event::Received { .. })))
            .count()
    };
    assert_eq!((counted(0), counted(3)), (0, 1));
}

#[test]
fn what_carries_a_tag_belongs_to_who_wrote_it() {
    let message = options("x", &tag(PODS[0], 3));
    assert_eq!(done(&mut shard(3), message.clone(), flow(PODS[0])), Err(481));
    assert_eq!(done(&mut shard(0), message, flow(PODS[0])), Ok((PODS[0], Some(3))));
    let theirs = options("x", &tag(PODS[1], 2));
    assert_eq!(done(&mut shard(0), theirs, flow(PODS[0])), Ok((PODS[1], Some(2))));
}

#[test]
fn no_message_crosses_the_mesh_twice() {
    // It came from pod 3 and names pod 2: it is answered here, not sent on.
    let theirs = options("x", &tag(PODS[1], 2));
    assert_eq!(done(&mut shard(0), theirs, flow(PODS[2])), Err(481));
    // Between the shards of one pod nothing crosses the mesh.
    let ours = options("x", &tag(PODS[0], 3));
    assert_eq!(done(&mut shard(0), ours, flow(PODS[2])), Ok((PODS[0], Some(3))));
}

#[test]
fn a_full_shard_refuses_new_calls_with_retry_after() {
    let limits = Limits { transactions: 10, calls: 5, asks: 5, ..Limits::default() };
    let mut core = Core::new(identity(PODS[0], 0, 1, ip(EDGE)), [1; 32], limits);
    core.handle(Input::Briefed(briefing(&PODS, &["198.51.100.0/24"])), now());
    let mut answers = Vec::new();
    for number in 0..30 {
        let text = format!(
            "INVITE sip:bob@edge.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ann@edge.example>;tag=f\r\nTo: <sip:bob@edge.example>\r\nCall-ID: c{number}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:ann@198.51.100.1>\r\nContent-Length: 0\r\n\r\n"
        );
        core.handle(
            Input::Received { message: Message::parse(text.into()).unwrap(), flow: flow(PODS[0]) },
            now(),
        );
        while let Some(output) = core.poll_output() {
            if let Output::Send { message, .. } = output {
                let message = Message::parse(message).unwrap();
                answers.push((
                    message.status().unwrap(),
                    message.header(sip_wire::Header::RetryAfter).is_some(),
                ));
            }
        }
    }
    assert_eq!(
        answers.iter().filter(|answer| **answer == (100, false)).count(),
        5,
        "as many as may be asked for"
    );
    assert_eq!(answers.iter().filter(|answer| **answer == (503, true)).count(), 25);
    assert!(core.statistics().transactions <= 10);
}

#[test]
fn the_briefing_of_another_registrar_is_taken_though_it_counts_lower() {
    let mut core = shard(0);
    let theirs = options("x", &tag(PODS[1], 2));
    assert_eq!(done(&mut core, theirs.clone(), flow(PODS[0])), Ok((PODS[1], Some(2))));
    let mut other = (*briefing(&PODS[..1], &[])).clone();
    other.version = 0;
    core.handle(Input::Briefed(other.into()), now());
    let mut router = Router::new(PODS[0], 4);
    router.brief(&briefing(&PODS[..1], &[]));
    let Belongs::Here(ShardRef(owner)) = router.route(&theirs) else { panic!("that pod is gone") };
    let wanted = if owner == 0 { Err(481) } else { Ok((PODS[0], Some(owner))) };
    assert_eq!(done(&mut core, theirs, flow(PODS[0])), wanted);
}

#[test]
fn the_shard_that_passed_an_invite_on_sees_its_ack() {
    let request = |method: &str, to: &str| {
        let text =
            String::from_utf8(options("a-call", to).bytes().to_vec()).unwrap().replace("OPTIONS", method);
        Message::parse(text.into()).unwrap()
    };
    let mut shards: Vec<Core> = (0..4).map(shard).collect();
    for core in &mut shards {
        core.handle(Input::Drain, now());
    }
    let router = Router::new(PODS[0], 4);
    let own = router.shard_of("a-call").0;
    let other = (own + 1) % 4;
    let here = &mut shards[usize::from(own)];
    let (taker, _) = done(here, request("INVITE", ""), flow(PODS[0])).unwrap();
    assert_ne!(taker, PODS[0]);
    assert_eq!(here.passing(), 1);
    let ack = || request("ACK", &tag(taker, 2));
    let there = &mut shards[usize::from(other)];
    assert_eq!(done(there, ack(), flow(PODS[0])), Ok((PODS[0], Some(own))), "the socket's shard");
    let here = &mut shards[usize::from(own)];
    assert_eq!(done(here, ack(), flow(PODS[0])), Ok((taker, Some(2))));
    assert_eq!(here.passing(), 0);
}

/// An INVITE that another pod has is kept in case that ends, until its ACK comes by, whichever socket that comes by.
#[test]
fn the_shard_that_keeps_an_invite_for_another_pod_sees_its_ack() {
    let request = |method: &str, to: &str| {
        let text =
            String::from_utf8(options("a-call", to).bytes().to_vec()).unwrap().replace("OPTIONS", method);
        Message::parse(text.into()).unwrap()
    };
    let mut shards: Vec<Core> = (0..4).map(shard).collect();
    let own = Router::new(PODS[0], 4).shard_of("a-call").0;
    let here = &mut shards[usize::from(own)];
    let invite = Message::parse(
        String::from_utf8(request("INVITE", "").bytes().to_vec())
            .unwrap()
            .replace("Content-Length", "Contact: <sip:ann@198.51.100.1:5060>\r\nContent-Length")
            .into(),
    )
    .unwrap();
    here.handle(Input::Briefed(briefing(&PODS, &["198.51.100.1/32"])), now());
    here.handle(Input::Received { message: invite, flow: flow(PODS[0]) }, now());
    let asked = |core: &mut Core| {
        std::iter::from_fn(|| core.poll_output()).find_map(|output| match output {
            Output::Ask(envelope) if matches!(envelope.ask, Ask::Admit(_) | Ask::Owner { .. }) => {
                Some(envelope.id)
            }
            _ => None,
        })
    };
    let ask = asked(here).unwrap();
    let call = CallRef { pod: PODS[1], shard: ShardRef(2), number: 1 };
    here.handle(Input::Answered { ask, answer: Ok(Answer::Owned { pod: PODS[1], call }) }, now());
    while here.poll_output().is_some() {}
    let ack = request("ACK", &tag(PODS[1], 2));
    let there = &mut shards[usize::from((own + 1) % 4)];
    let owner = done(there, ack.clone(), flow(PODS[0])).unwrap();
    assert_eq!(owner, (PODS[0], Some(own)));
    let here = &mut shards[usize::from(own)];
    assert_eq!(done(here, ack, flow(PODS[0])), Ok((PODS[1], Some(2))));
    here.handle(Input::Briefed(briefing(&[PODS[0], PODS[2]], &[])), now());
    let later = Now { mono: Instant::now() + ms(5_000), ..now() };
    here.handle_timeout(later);
    assert_eq!(asked(here), None, "it is settled");
}
