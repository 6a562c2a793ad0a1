//! Behind a Service: a pod that does not know its address, one that learns it, one whose address changes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::*;
use fairlead_core::input::{Identity, Input, Network, Now};
use fairlead_core::output::{Event, Output};
use fairlead_core::{Core, Limits};
use fairlead_model::ask::{Ask, QualifyTarget};
use fairlead_model::binding::{BindingKey, Qualify};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::surroundings::SipAddress;
use fairlead_testkit::{NodeRef, Phone, Plan, Sim};
use sip_wire::{Header, Message};

const POD: &str = "10.244.1.7:5060";

/// A pod that awaits its address. What phones send reaches it as its own address, and answers leave from there.
struct Pod {
    core: Core,
    now: Now,
}

fn told(host: &str, destinations: &[&str]) -> SipAddress {
    SipAddress {
        network: String::new(),
        transport: Transport::Udp,
        host: host.to_owned(),
        port: 5060,
        destinations: destinations.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

impl Pod {
    fn new() -> Self {
        let network = Network {
            name: String::new(),
            transport: Transport::Udp,
            bind: ip("0.0.0.0:5060"),
            advertised: ("10.244.1.7".to_owned(), 5060),
            told: false,
            awaits: true,
            routed: false,
        };
        let identity = Identity { pod: PodRef(1), shard: 0, shards: 1, networks: vec![network] };
        let now = Now { mono: std::time::Instant::now(), wall: UnixMillis(1_800_000_000_000) };
        let mut pod = Pod { core: Core::new(identity, [1; 32], Limits::default()), now };
        pod.learn(&[]);
        pod
    }

    fn learn(&mut self, sip: &[SipAddress]) {
        let mut briefing = (*briefing(&[PodRef(1)], &["198.51.100.0/24"])).clone();
        briefing.surroundings.sip = sip.to_vec();
        self.core.handle(Input::Briefed(Arc::new(briefing)), self.now);
    }

    fn flow(remote: &str) -> Flow {
        let (pod, remote) = (PodRef(1), ip(remote));
        Flow { pod, transport: Transport::Udp, local: ip(POD), remote, connection: None }
    }

    /// Says something, and hears all that leaves because of it. The registrar lets everybody in and calls bob.
    fn say(&mut self, text: &str) -> Vec<Message> {
        let message = Message::parse(text.replace('\n', "\r\n").into()).unwrap();
        self.input(Input::Received { message, flow: Pod::flow(ANN) })
    }

    fn input(&mut self, input: Input) -> Vec<Message> {
        self.core.handle(input, self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Message> {
        let mut registrar = Registrar { ring_time: 30, ..Registrar::default() };
        registrar.bindings.insert("bob".to_owned(), ("sip:bob@10.0.0.9".to_owned(), Pod::flow(BOB)));
        let mut sent = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { message, .. } => sent.push(Message::parse(message).unwrap()),
                Output::Ask(envelope) if !matches!(envelope.ask, Ask::MoveFlow { .. }) => {
                    let answer = registrar.answer(PodRef(1), envelope.ask);
                    self.core.handle(Input::Answered { ask: envelope.id, answer }, self.now);
                }
                Output::Relay { order, what, .. } => {
                    let reply = Relay::default().carry_out(what);
                    self.core.handle(Input::Relayed { order, reply }, self.now);
                }
                _ => {}
            }
        }
        sent
    }
}

fn request(method: &str, uri: &str, branch: &str, body: &str) -> String {
    let contact = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP {ANN};branch=z9hG4bK-{branch};rport\nMax-Forwards: 70\n\
         From: <sip:ann@edge.example>;tag=a\nTo: <{uri}>\nCall-ID: {branch}\nCSeq: 1 {method}\n\
         Contact: <sip:ann@{ANN}>\n{contact}Content-Length: {}\n\n{body}",
        body.replace('\n', "\r\n").len()
    )
}

fn invite(branch: &str) -> String {
    let sdp =
        "v=0\no=- 5 5 IN IP4 198.51.100.1\ns=-\nc=IN IP4 198.51.100.1\nt=0 0\nm=audio 30000 RTP/AVP 0\n";
    request("INVITE", "sip:bob@edge.example", branch, sdp)
}

fn status(messages: &[Message]) -> Vec<u16> {
    messages.iter().filter_map(Message::status).collect()
}

fn invite_of(messages: &[Message]) -> Message {
    messages.iter().find(|message| message.is_request()).cloned().unwrap()
}

#[test]
fn without_an_address_options_and_register_are_answered_and_calls_are_refused_with_a_reason() {
    let mut pod = Pod::new();
    assert_eq!(status(&pod.say(&request("OPTIONS", "sip:edge.example", "o", ""))), [200]);
    assert_eq!(status(&pod.say(&request("REGISTER", "sip:edge.example", "r", ""))), [200]);
    let refused = pod.say(&invite("i"));
    assert_eq!(status(&refused), [503]);
    let seconds: u32 = refused[0].header(Header::RetryAfter).unwrap().parse().unwrap();
    assert!((5..=30).contains(&seconds));
    assert!(refused[0].header(Header::Warning).unwrap().contains("address"), "{:?}", refused[0]);
    assert!(!String::from_utf8_lossy(refused[0].bytes()).contains("10.244"), "the pod's own address");
}

#[test]
fn once_an_address_is_told_calls_name_it_on_both_legs() {
    let mut pod = Pod::new();
    pod.learn(&[told("203.0.113.5", &[])]);
    let sent = pod.say(&invite("i"));
    let invite = invite_of(&sent);
    assert!(invite.header(Header::Via).unwrap().contains("203.0.113.5:5060"), "{invite:?}");
    assert!(invite.header(Header::Contact).unwrap().contains("203.0.113.5:5060"), "{invite:?}");
    assert!(sent.iter().all(|message| !String::from_utf8_lossy(message.bytes()).contains("10.244")));
}

#[test]
fn each_destination_is_told_the_address_of_its_longest_prefix() {
    let mut pod = Pod::new();
    pod.learn(&[told("203.0.113.5", &[]), told("10.0.0.5", &["198.51.100.2/32"])]);
    let invite = invite_of(&pod.say(&invite("i")));
    assert!(invite.header(Header::Contact).unwrap().contains("10.0.0.5:5060"), "{invite:?}");
}

#[test]
fn new_dialogs_use_the_new_address_and_one_that_is_known_stays_known() {
    let mut pod = Pod::new();
    pod.learn(&[told("203.0.113.5", &[])]);
    pod.learn(&[told("203.0.113.6", &[])]);
    let contact = |sent: &[Message]| invite_of(sent).header(Header::Contact).unwrap().to_owned();
    assert!(contact(&pod.say(&invite("1"))).contains("203.0.113.6"));
    // A registrar with an empty store knows none yet.
    pod.learn(&[]);
    assert!(contact(&pod.say(&invite("2"))).contains("203.0.113.6"));
}

#[test]
fn a_call_to_the_address_by_which_the_world_reaches_us_is_a_loop() {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
    let ann: NodeRef = sim.add(&[ip(ANN)], phone("ann", ANN));
    let home = ip("203.0.113.5:5060");
    let scene = sim.node::<Edge>(edge);
    scene.registrar.targets.insert("home".to_owned(), vec![target("home", home)]);
    let mut briefing = (*briefing(&[PodRef(1)], &["198.51.100.0/24"])).clone();
    briefing.surroundings.sip = vec![told("203.0.113.5", &[])];
    let start = std::time::Instant::now();
    scene.input(0, Input::Briefed(Arc::new(briefing)), start);
    let call = sim.tell(ann, |ann: &mut Phone, now| ann.call("home", now));
    sim.run_for(ms(2_000));
    let _ = call;
    let lines = sim.net.trace().iter().map(|(_, packet, _)| packet.first_line()).collect::<Vec<_>>();
    assert!(lines.iter().any(|line| line.contains("482")), "{lines:?}");
    assert!(sim.net.trace().iter().all(|(_, packet, _)| packet.to != home));
}

#[test]
fn without_an_address_nobody_is_qualified_and_nobody_becomes_unreachable() {
    let mut pod = Pod::new();
    let target = QualifyTarget {
        peer: "bob".to_owned(),
        key: Some(BindingKey("sip:bob@10.0.0.9".to_owned())),
        uri: "sip:bob@10.0.0.9".to_owned(),
        route: Vec::new(),
        hop: Hop::Flow(Pod::flow(BOB)),
        limit_ms: 2_000,
        every: 60,
        last: Qualify::default(),
    };
    pod.input(Input::Command(fairlead_core::input::Command::QualifyList(vec![target])));
    let mut told_at = None;
    for second in 1..20 {
        pod.now.mono += ms(1_000);
        pod.core.handle_timeout(pod.now);
        let mut unreachable = false;
        let mut sent = 0;
        while let Some(output) = pod.core.poll_output() {
            match output {
                Output::Send { message, .. } => {
                    sent += 1;
                    let text = String::from_utf8_lossy(&message).into_owned();
                    assert!(text.contains("203.0.113.5") && !text.contains("10.244"), "{text}");
                }
                Output::Event(Event::Qualified { .. }) => unreachable = true,
                _ => {}
            }
        }
        assert!(!unreachable || told_at.is_some());
        match told_at {
            None => assert_eq!(sent, 0),
            Some(at) if sent > 0 => return assert!(second - at <= 3),
            Some(_) => {}
        }
        if second == 10 {
            pod.learn(&[self::told("203.0.113.5", &[])]);
            told_at = Some(second);
        }
    }
    panic!("never asked");
}

/// How many datagrams that say nothing leave for an address within so many seconds.
fn kept_open(pod: &mut Pod, to: &str, seconds: u64) -> usize {
    let mut count = 0;
    for _ in 0..seconds {
        pod.now.mono += ms(1_000);
        pod.core.handle_timeout(pod.now);
        while let Some(output) = pod.core.poll_output() {
            if let Output::Send { to: fairlead_core::output::SendTo::Flow(flow), message, .. } = output
                && flow.remote == ip(to)
                && message.iter().all(|octet| b"\r\n".contains(octet))
            {
                count += 1;
            }
        }
    }
    count
}

#[test]
fn behind_a_service_the_flow_of_who_is_registered_is_kept_open_while_he_is() {
    let mut pod = Pod::new();
    pod.say(&request("REGISTER", "sip:edge.example", "r", ""));
    assert!((4..=6).contains(&kept_open(&mut pod, ANN, 100)), "inside the 30 s of connection tracking");
    kept_open(&mut pod, ANN, 3_520);
    assert_eq!(kept_open(&mut pod, ANN, 100), 0, "it has expired");
    // Elsewhere the flow is nobody's who needs to be told.
    let mut scene = Scene::new();
    scene.sim.run_for(ms(120_000));
    assert!(scene.lines(EDGE, ANN).iter().all(|line| line.starts_with("SIP/2.0")));
}

#[test]
fn behind_a_service_the_flows_of_a_call_are_kept_open() {
    let mut pod = Pod::new();
    pod.learn(&[told("203.0.113.5", &[])]);
    pod.say(&invite("i"));
    assert!(kept_open(&mut pod, ANN, 30) >= 1);
}

#[test]
fn a_flow_that_moved_here_is_kept_open_and_a_strangers_is_not() {
    for (answer, kept) in [
        (fairlead_model::ask::Answer::Located(Some(Hop::Flow(Pod::flow(ANN)))), true),
        (fairlead_model::ask::Answer::Done, false),
    ] {
        let mut pod = Pod::new();
        pod.core.handle(Input::Heard { flow: Pod::flow(ANN) }, pod.now);
        let Some(Output::Ask(envelope)) = pod.core.poll_output() else { panic!("it asks") };
        assert!(matches!(envelope.ask, Ask::MoveFlow { .. }));
        pod.core.handle(Input::Answered { ask: envelope.id, answer: Ok(answer) }, pod.now);
        assert_eq!(kept_open(&mut pod, ANN, 60) > 0, kept);
    }
}

#[test]
fn phones_that_only_this_pod_reaches_are_left_while_another_pod_takes_calls_for_them() {
    let mut pod = Pod::new();
    pod.say(&request("REGISTER", "sip:edge.example", "r", ""));
    assert_eq!(pod.core.flows_left(), 0, "nobody could call them through another pod");
    let mut briefing = (*briefing(&[PodRef(1), PodRef(2)], &["198.51.100.0/24"])).clone();
    pod.input(Input::Briefed(Arc::new(briefing.clone())));
    assert_eq!(pod.core.flows_left(), 1);
    briefing.members[1].draining = true;
    pod.input(Input::Briefed(Arc::new(briefing)));
    assert_eq!(pod.core.flows_left(), 0, "the last ones end together");
}
