//! What a request is refused for, in the order of RFC 3261 §8.2 and §16.3, and what a stranger costs.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_core::output::Output;
use fairlead_model::ask::{Ask, Refusal};
use fairlead_testkit::{NodeRef, Plan, Sim};
use sip_wire::{Header, Message};

const STRANGER: &str = "198.51.100.66:5060";

const INVITE: &str = "INVITE sip:bob@edge.example SIP/2.0
Via: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK-1;rport
Max-Forwards: 70
From: <sip:zoe@edge.example>;tag=z
To: <sip:bob@edge.example>
Call-ID: one
CSeq: 1 INVITE
Contact: <sip:zoe@198.51.100.9:5060>
Content-Length: 0

";

struct Lab {
    sim: Sim,
    edge: NodeRef,
    zoe: NodeRef,
}

impl Lab {
    fn new() -> Self {
        let mut sim = Sim::new(1, Plan::PERFECT);
        let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
        sim.node::<Edge>(edge).trust(&["198.51.100.9/32"]);
        let zoe = sim.add(&[ip(ZOE), ip(STRANGER)], Wire::default());
        Lab { sim, edge, zoe }
    }

    fn say_from(&mut self, from: &str, text: &str) -> Vec<Message> {
        let (from, text) = (from.to_owned(), text.to_owned());
        let before = self.sim.node::<Wire>(self.zoe).heard.len();
        self.sim.tell(self.zoe, |zoe: &mut Wire, _| zoe.say(&from, EDGE, &text));
        self.sim.run_for(ms(100));
        self.sim.node::<Wire>(self.zoe).heard[before..].to_vec()
    }

    fn say(&mut self, text: &str) -> Vec<Message> {
        self.say_from(ZOE, text)
    }
}

fn refused(text: &str) -> Message {
    let mut lab = Lab::new();
    let answers = lab.say(text);
    let last = answers.last().unwrap_or_else(|| panic!("no answer to {text}")).clone();
    assert_eq!(lab.sim.node::<Edge>(lab.edge).pods[0].core.calls(), 0, "a call began");
    last
}

fn status(text: &str) -> u16 {
    refused(text).status().unwrap()
}

#[test]
fn rfc3261_16_3_form_is_400_and_the_phrase_names_the_header() {
    let answer = refused(&INVITE.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    assert_eq!((answer.status(), answer.reason()), (Some(400), "CSeq Method Does Not Match Request Method"));
    let answer = refused(&INVITE.replace("Max-Forwards: 70", "Max-Forwards: 300"));
    assert_eq!((answer.status(), answer.reason()), (Some(400), "Bad Max-Forwards Header Field"));
    let answer = refused(&INVITE.replace("Contact: <sip:zoe@198.51.100.9:5060>\n", ""));
    assert_eq!((answer.status(), answer.reason()), (Some(400), "Missing Contact Header Field"));
}

#[test]
fn rfc3261_7_1_another_version_is_505() {
    assert_eq!(status(&INVITE.replacen("SIP/2.0", "SIP/3.0", 1)), 505);
}

#[test]
fn rfc3261_8_2_1_methods() {
    let unknown = refused(&INVITE.replace("INVITE", "DANCE"));
    assert_eq!((unknown.status(), unknown.header(Header::Allow).is_some()), (Some(501), true));
    for method in ["MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "UPDATE", "PRACK", "NOTIFY"] {
        let answer = refused(&INVITE.replace("INVITE", method));
        assert_eq!(answer.status(), Some(405), "{method}");
        assert!(!answer.header(Header::Allow).unwrap().contains(method));
    }
}

#[test]
fn rfc3261_8_2_2_1_schemes() {
    assert_eq!(status(&INVITE.replace("INVITE sip:bob@edge.example", "INVITE tel:+4912345")), 416);
    assert_eq!(status(&INVITE.replace("INVITE sip:bob@edge.example", "INVITE nobody:bob@edge.example")), 416);
}

#[test]
fn rfc3261_16_3_max_forwards() {
    assert_eq!(status(&INVITE.replace("Max-Forwards: 70", "Max-Forwards: 0")), 483);
    // What ends here may arrive with none left.
    assert_eq!(
        status(&INVITE.replace("INVITE", "OPTIONS").replace("Max-Forwards: 70", "Max-Forwards: 0")),
        200
    );
}

#[test]
fn rfc3261_8_2_2_3_extensions() {
    for header in ["Require", "Proxy-Require"] {
        let answer = refused(
            &INVITE.replace("Max-Forwards: 70", &format!("Max-Forwards: 70\n{header}: 100rel, nothing")),
        );
        assert_eq!(
            (answer.status(), answer.header(Header::Unsupported)),
            (Some(420), Some("100rel, nothing"))
        );
        assert!(answer.reason().contains(header));
    }
}

#[test]
fn rfc3261_8_2_3_bodies() {
    let body = |kind: &str| {
        INVITE.replace("Content-Length: 0\n\n", &format!("Content-Type: {kind}\nContent-Length: 3\n\nabc"))
    };
    let answer = refused(&body("text/plain"));
    assert_eq!((answer.status(), answer.header(Header::Accept).is_some()), (Some(415), true));
    // RFC 5621 §3.1: none of the parts is a description.
    assert_eq!(status(&body("multipart/mixed;boundary=b")), 415);
    let encoded = body("application/sdp\nContent-Encoding: gzip");
    let answer = refused(&encoded);
    assert_eq!((answer.status(), answer.header(Header::AcceptEncoding)), (Some(415), Some("identity")));
}

#[test]
fn rfc3261_12_2_2_no_such_dialog() {
    let bye = INVITE
        .replace("INVITE", "BYE")
        .replace("To: <sip:bob@edge.example>", "To: <sip:bob@edge.example>;tag=x");
    assert_eq!(status(&bye), 481);
    assert_eq!(status(&bye.replace(";tag=x", "")), 481);
    let ack = bye.replace("BYE", "ACK");
    assert!(Lab::new().say(&ack).is_empty(), "an ACK is never answered");
}

#[test]
fn rfc3261_8_2_2_2_the_same_request_by_another_path_is_482() {
    let mut lab = Lab::new();
    let one = target("bob", ip("198.51.100.77:5060"));
    lab.sim.node::<Edge>(lab.edge).registrar.targets.insert("bob".to_owned(), vec![one]);
    assert_eq!(lab.say(INVITE)[0].status(), Some(100));
    let other = lab.say(&INVITE.replace("z9hG4bK-1", "z9hG4bK-2"));
    assert_eq!(other[0].status(), Some(482));
}

#[test]
fn rfc3261_8_2_6_1_a_100_returns_the_timestamp() {
    let mut lab = Lab::new();
    let one = target("bob", ip("198.51.100.77:5060"));
    lab.sim.node::<Edge>(lab.edge).registrar.targets.insert("bob".to_owned(), vec![one]);
    let answers = lab.say(&INVITE.replace("Contact:", "Timestamp: 54.2\nContact:"));
    assert_eq!((answers[0].status(), answers[0].header(Header::Timestamp)), (Some(100), Some("54.2")));
}

#[test]
fn rfc3261_21_4_16_a_421_says_what_is_required() {
    let mut lab = Lab::new();
    lab.sim.node::<Edge>(lab.edge).registrar.refuses = Some(Refusal::new(421, "Extension Required"));
    let register =
        INVITE.replace("INVITE", "REGISTER").replace("Contact:", "Path: <sip:p.example;lr>\nContact:");
    let answer = lab.say(&register).pop().unwrap();
    assert_eq!((answer.status(), answer.header(Header::Require)), (Some(421), Some("path")));
}

#[test]
fn options_is_answered_by_the_edge_itself() {
    let answer = refused(&INVITE.replace("INVITE", "OPTIONS"));
    assert_eq!(answer.status(), Some(200));
    assert!(answer.header(Header::Allow).unwrap().contains("REGISTER"));
    let stranger = INVITE.replace("INVITE", "OPTIONS");
    assert_eq!(Lab::new().say_from(STRANGER, &stranger)[0].status(), Some(200));
}

#[test]
fn a_stranger_costs_one_answer_and_no_question() {
    let mut lab = Lab::new();
    for (at, method) in ["INVITE", "REGISTER"].iter().enumerate() {
        let text = INVITE.replace("INVITE", method).replace("z9hG4bK-1", &format!("z9hG4bK-s{at}"));
        let answers = lab.say_from(STRANGER, &text);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].status(), Some(401));
        assert!(
            answers[0].header(Header::WwwAuthenticate).unwrap().starts_with("Digest realm=\"edge.example\"")
        );
        // Forged credentials are none.
        let forged = text.replace(
            "Max-Forwards: 70",
            "Max-Forwards: 70\nAuthorization: Digest username=\"a\", realm=\"edge.example\", nonce=\"abc\", uri=\"x\", response=\"y\"",
        );
        assert_eq!(lab.say_from(STRANGER, &forged)[0].status(), Some(401));
    }
    let edge = lab.sim.node::<Edge>(lab.edge);
    assert!(edge.registrar.asked.is_empty(), "{:?}", edge.registrar.asked);
    assert_eq!(edge.pods[0].core.statistics().transactions, 0);
    // Neither is anything repeated, and the ACK is swallowed.
    lab.sim.run_for(ms(40_000));
    let before = lab.sim.node::<Wire>(lab.zoe).heard.len();
    let tag = lab.sim.node::<Wire>(lab.zoe).heard[0].to_tag().unwrap().to_owned();
    let ack = INVITE
        .replace("INVITE", "ACK")
        .replace("To: <sip:bob@edge.example>", &format!("To: <sip:bob@edge.example>;tag={tag}"));
    lab.say_from(STRANGER, &ack);
    assert_eq!(lab.sim.node::<Wire>(lab.zoe).heard.len(), before);
}

#[test]
fn who_proves_nothing_is_not_remembered_and_is_repeated_little() {
    let mut lab = Lab::new();
    lab.sim.node::<Edge>(lab.edge).registrar.strangers = Some(Refusal::new(403, "Forbidden"));
    for at in 0..20 {
        let text = INVITE.replace("INVITE", "REGISTER").replace("z9hG4bK-1", &format!("z9hG4bK-w{at}"));
        assert_eq!(lab.say(&text).pop().unwrap().status(), Some(403));
        // A CANCEL of nothing, with and without a tag.
        let cancel = text.replace("REGISTER", "CANCEL");
        assert_eq!(lab.say(&cancel).pop().unwrap().status(), Some(481));
        let tagged = cancel.replace("To: <sip:bob@edge.example>", "To: <sip:bob@edge.example>;tag=x");
        assert_eq!(lab.say(&tagged).pop().unwrap().status(), Some(481));
    }
    assert_eq!(lab.sim.node::<Edge>(lab.edge).pods[0].core.statistics().transactions, 0);
    // Three times what he sent, at most: nobody is flooded in his name.
    let large = INVITE.replace("Max-Forwards: 70", &format!("Max-Forwards: 70\nX: {}", "x".repeat(300)));
    lab.say(&large);
    lab.sim.run_for(ms(40_000));
    let heard: Vec<_> = lab
        .sim
        .node::<Wire>(lab.zoe)
        .heard
        .iter()
        .filter(|m| m.method().as_str() == "INVITE")
        .cloned()
        .collect();
    assert_eq!(heard.iter().map(|m| m.status().unwrap()).collect::<Vec<_>>(), [100, 403, 403, 403]);
    assert!(heard.iter().map(|m| m.bytes().len()).sum::<usize>() <= 3 * large.len());
    assert_eq!(lab.sim.node::<Edge>(lab.edge).pods[0].core.statistics().transactions, 0);
}

#[test]
fn requests_that_wait_for_the_registrar_are_bounded_in_octets() {
    let limits = fairlead_core::core::Limits { octets: 100_000, ..Default::default() };
    let start = std::time::Instant::now();
    let now =
        fairlead_core::input::Now { mono: start, wall: fairlead_model::id::UnixMillis(1_800_000_000_000) };
    let pod = fairlead_model::id::PodRef(1);
    let mut core = fairlead_core::core::Core::new(identity(pod, 0, 1, ip(EDGE)), [3; 32], limits);
    core.handle(Input::Briefed(briefing(&[pod], &["198.51.100.9/32"])), now);
    let flow = fairlead_model::flow::Flow {
        pod,
        transport: fairlead_model::flow::Transport::Udp,
        local: ip(EDGE),
        remote: ip(ZOE),
        connection: None,
    };
    let (mut asked, mut refused) = (Vec::new(), 0);
    let mut send = |core: &mut fairlead_core::core::Core, at: usize| {
        let text = INVITE
            .replace("INVITE", "REGISTER")
            .replace("z9hG4bK-1", &format!("z9hG4bK-o{at}"))
            .replace("Content-Length: 0\n\n", &format!("Content-Length: 40000\n\n{}", "x".repeat(40_000)));
        let message = Message::parse(bytes::Bytes::from(text.replace('\n', "\r\n"))).unwrap();
        core.handle(Input::Received { message, flow }, now);
        let mut questions = Vec::new();
        while let Some(output) = core.poll_output() {
            match output {
                Output::Ask(envelope) if matches!(envelope.ask, Ask::Register(_)) => {
                    questions.push(envelope.id)
                }
                Output::Send { message, .. } if message.starts_with(b"SIP/2.0 503") => refused += 1,
                _ => {}
            }
        }
        questions
    };
    for at in 0..10 {
        asked.extend(send(&mut core, at));
    }
    assert_eq!(asked.len(), 2);
    // Once they are answered others have their turn.
    for ask in asked {
        let answer = Ok(fairlead_model::ask::Answer::Refused(Refusal::new(403, "Forbidden")));
        core.handle(Input::Answered { ask, answer }, now);
        while core.poll_output().is_some() {}
    }
    assert_eq!(send(&mut core, 11).len(), 1);
    assert_eq!(refused, 8);
}

#[test]
fn a_registrar_that_is_away_is_503_with_a_spread_retry_after() {
    let mut lab = Lab::new();
    lab.sim.node::<Edge>(lab.edge).registrar.away = true;
    let mut seen = std::collections::HashSet::new();
    for at in 0..10 {
        let register = INVITE.replace("INVITE", "REGISTER").replace("z9hG4bK-1", &format!("z9hG4bK-r{at}"));
        let answer = lab.say(&register).pop().unwrap();
        assert_eq!(answer.status(), Some(503));
        seen.insert(answer.number(Header::RetryAfter).unwrap());
    }
    assert!(seen.len() > 2 && seen.iter().all(|seconds| (5..=30).contains(seconds)), "{seen:?}");
    assert_eq!(lab.say(INVITE).pop().unwrap().status(), Some(503));
}

#[test]
fn a_draining_shard_refuses_calls_and_nothing_else() {
    let mut lab = Lab::new();
    lab.sim.tell(lab.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
    let answer = lab.say(INVITE).pop().unwrap();
    assert_eq!(answer.status(), Some(503));
    assert!(answer.header(Header::RetryAfter).is_some());
    let register = INVITE.replace("INVITE", "REGISTER");
    assert_eq!(lab.say(&register).pop().unwrap().status(), Some(200));
}

#[test]
fn rfc3581_answers_go_where_the_packet_came_from_only_when_asked() {
    let mut lab = Lab::new();
    let plain =
        INVITE.replace("INVITE", "OPTIONS").replace(";rport", "").replace("9:5060;branch", "9:7777;branch");
    assert!(lab.say(&plain).is_empty(), "it went to the port of the Via");
    let sent = lab.sim.net.trace().last().unwrap().1.to;
    assert_eq!(sent, ip("198.51.100.9:7777"));
    let asked = lab.say(&plain.replace(";branch=z9hG4bK-1", ";branch=z9hG4bK-2;rport"));
    let via = asked[0].top_via().unwrap();
    assert_eq!((via.rport, via.received.as_deref()), (Some(Some(5060)), Some("198.51.100.9")));
}

#[test]
fn malformed_messages_are_answered_where_that_is_possible_and_never_panic() {
    let mut lab = Lab::new();
    let cut = &INVITE[..INVITE.len() - 30];
    lab.say(cut);
    let short = INVITE.replace("Content-Length: 0", "Content-Length: 99");
    assert_eq!(lab.say(&short).pop().unwrap().status(), Some(400));
    for end in 0..INVITE.len() {
        let now = lab.sim.now();
        let edge = lab.sim.node::<Edge>(lab.edge);
        let now = edge.now(now);
        let flow = fairlead_model::flow::Flow {
            pod: edge.pods[0].pod,
            transport: fairlead_model::flow::Transport::Udp,
            local: ip(EDGE),
            remote: ip(STRANGER),
            connection: None,
        };
        let bytes = bytes::Bytes::from(INVITE[..end].replace('\n', "\r\n"));
        let input = match Message::parse(bytes) {
            Ok(message) => Input::Received { message, flow },
            Err(malformed) => Input::Malformed { malformed, flow },
        };
        edge.pods[0].core.handle(input, now);
        while let Some(output) = edge.pods[0].core.poll_output() {
            assert!(!matches!(output, Output::Ask(envelope) if matches!(envelope.ask, Ask::Admit(_))));
        }
    }
}
