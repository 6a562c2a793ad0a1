//! Qualify: OPTIONS spread evenly, faster while a contact is silent, with the words of chan_sip.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Instant;

use common::*;
use fairlead_core::input::{Command, Input};
use fairlead_core::output::{Output, SendTo};
use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{ConnectionRef, PodRef, UnixMillis};
use fairlead_testkit::{NodeRef, Plan, Sim};
use sip_wire::{Message, Method};

const PHONE: &str = "198.51.100.9:5060";

fn contact(name: &str, state: QualifyState) -> QualifyTarget {
    QualifyTarget {
        peer: name.to_owned(),
        key: None,
        uri: format!("sip:{name}@{PHONE}"),
        route: Vec::new(),
        hop: Hop::Address { transport: Transport::Udp, host: "198.51.100.9".to_owned(), port: Some(5060) },
        limit_ms: 1000,
        every: 60,
        last: Qualify { state, rtt_ms: 0, at: UnixMillis(0) },
    }
}

fn lab(list: Vec<QualifyTarget>) -> (Sim, NodeRef, NodeRef) {
    lab_of(Plan::PERFECT, list)
}

fn lab_of(plan: Plan, list: Vec<QualifyTarget>) -> (Sim, NodeRef, NodeRef) {
    let mut sim = Sim::new(1, plan);
    let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
    let phone = sim.add(&[ip(PHONE)], Wire::default());
    sim.tell(edge, |edge: &mut Edge, now| edge.input(0, Input::Command(Command::QualifyList(list)), now));
    (sim, edge, phone)
}

fn answer_all(sim: &mut Sim, phone: NodeRef, status: u16) {
    sim.tell(phone, |phone: &mut Wire, _| {
        let asked: Vec<Message> = phone.heard.drain(..).filter(Message::is_request).collect();
        for options in asked {
            let answer = options.response(status, "Whatever").to_tag("p").finish();
            phone.say(PHONE, EDGE, &String::from_utf8(answer.to_vec()).unwrap().replace("\r\n", "\n"));
        }
    });
}

/// How many different OPTIONS wait for an answer.
fn asked(sim: &mut Sim, phone: NodeRef) -> usize {
    let heard = &sim.node::<Wire>(phone).heard;
    heard.iter().map(Message::call_id).collect::<std::collections::HashSet<_>>().len()
}

fn results(sim: &mut Sim, edge: NodeRef) -> Vec<(String, QualifyState, u32)> {
    let edge = sim.node::<Edge>(edge);
    edge.registrar
        .qualified
        .iter()
        .map(|(peer, result)| (peer.clone(), result.state, result.rtt_ms))
        .collect()
}

#[test]
fn any_final_response_shows_that_the_phone_is_there() {
    for status in [200, 404, 486] {
        let (mut sim, edge, phone) = lab(vec![contact("ann", QualifyState::Unknown)]);
        sim.run_for(ms(100));
        assert_eq!(*sim.node::<Wire>(phone).heard[0].method(), Method::Options);
        answer_all(&mut sim, phone, status);
        sim.run_for(ms(50));
        let (_, state, rtt) = results(&mut sim, edge)[0].clone();
        assert_eq!(state, QualifyState::Ok);
        assert!((50..200).contains(&rtt), "{rtt}");
    }
}

#[test]
fn an_answer_within_a_millisecond_took_one_for_zero_is_not_known() {
    let plan = Plan { delay: ms(0), ..Plan::PERFECT };
    let (mut sim, edge, phone) = lab_of(plan, vec![contact("ann", QualifyState::Unknown)]);
    for _ in 0..1_000 {
        sim.run_for(ms(1) / 4);
        answer_all(&mut sim, phone, 200);
    }
    assert_eq!(results(&mut sim, edge)[0], ("ann".to_owned(), QualifyState::Ok, 1));
}

#[test]
fn an_answer_after_the_limit_is_lagged() {
    let (mut sim, edge, phone) = lab(vec![contact("ann", QualifyState::Unknown)]);
    sim.run_for(ms(1_500));
    answer_all(&mut sim, phone, 200);
    sim.run_for(ms(50));
    assert_eq!(results(&mut sim, edge)[0].1, QualifyState::Lagged);
}

#[test]
fn silence_of_twice_the_limit_is_unreachable_and_asked_again_after_ten_seconds() {
    let (mut sim, edge, phone) = lab(vec![contact("ann", QualifyState::Unknown)]);
    sim.run_for(ms(2_100));
    assert_eq!(results(&mut sim, edge), [("ann".to_owned(), QualifyState::Unreachable, 0)]);
    sim.node::<Wire>(phone).heard.clear();
    sim.run_for(ms(9_000));
    assert_eq!(sim.node::<Wire>(phone).heard.len(), 0, "nothing is repeated after it was given up");
    sim.run_for(ms(1_500));
    assert_eq!(asked(&mut sim, phone), 1);
    answer_all(&mut sim, phone, 200);
    sim.run_for(ms(50));
    assert_eq!(results(&mut sim, edge)[1].1, QualifyState::Ok);
    sim.run_for(ms(58_000));
    assert_eq!(sim.node::<Wire>(phone).heard.len(), 0);
    sim.run_for(ms(3_000));
    assert!(!sim.node::<Wire>(phone).heard.is_empty(), "the interval of a reachable one is its own");
}

#[test]
fn known_contacts_are_spread_over_their_interval() {
    let list = (0..600).map(|n| contact(&format!("p{n}"), QualifyState::Ok)).collect();
    let (mut sim, _, phone) = lab(list);
    let mut each = Vec::new();
    for _ in 0..6 {
        let mut count = 0;
        for _ in 0..50 {
            sim.run_for(ms(200));
            count += asked(&mut sim, phone);
            answer_all(&mut sim, phone, 200);
        }
        each.push(count);
    }
    assert!(each.iter().all(|count| (60..=150).contains(count)), "{each:?}");
}

#[test]
fn a_contact_that_is_not_on_the_list_any_more_is_not_asked() {
    let (mut sim, edge, phone) = lab(vec![contact("ann", QualifyState::Unknown)]);
    sim.run_for(ms(100));
    answer_all(&mut sim, phone, 200);
    sim.tell(edge, |edge: &mut Edge, now| {
        edge.input(0, Input::Command(Command::QualifyList(Vec::new())), now)
    });
    sim.run_for(ms(200_000));
    assert_eq!(sim.node::<Wire>(phone).heard.len(), 0);
    assert_eq!(sim.node::<Edge>(edge).pods[0].core.statistics().qualified, 0);
    assert!(sim.node::<Edge>(edge).pods[0].core.is_idle());
}

/// Where a contact was, by name: first an address that is silent, then one that answers.
const FORMER: [&str; 2] = ["198.51.100.21:5060", "198.51.100.22:5060"];

/// A peer whose name has two addresses is asked at the first one when its contact moves to [`PHONE`]; `delay`: the name is still
/// being looked up.
fn moves_while_it_is_asked(delay: u64) -> (Sim, NodeRef, NodeRef, NodeRef) {
    let (mut sim, edge, phone) = lab(Vec::new());
    let former = sim.add(&FORMER.map(ip), Wire::default());
    let named = Hop::Address { transport: Transport::Udp, host: "peer.example".to_owned(), port: Some(5060) };
    let edge_of = sim.node::<Edge>(edge);
    edge_of.delay = ms(delay);
    edge_of.names.insert("peer.example".to_owned(), FORMER.map(ip).to_vec());
    let before = vec![QualifyTarget { hop: named, ..contact("ann", QualifyState::Unknown) }];
    for list in [before, vec![contact("ann", QualifyState::Unknown)]] {
        sim.tell(edge, |edge: &mut Edge, now| edge.input(0, Input::Command(Command::QualifyList(list)), now));
        sim.run_for(ms(400));
    }
    (sim, edge, phone, former)
}

#[test]
fn a_contact_that_moved_is_not_asked_at_another_address_of_its_former_name() {
    for delay in [2, 900] {
        let (mut sim, edge, phone, former) = moves_while_it_is_asked(delay);
        let before = sim.node::<Wire>(former).heard.len();
        assert_eq!(before == 0, delay == 900);
        sim.run_for(ms(1_200));
        answer_all(&mut sim, phone, 200);
        sim.run_for(ms(10_000));
        assert_eq!(sim.node::<Wire>(former).heard.len(), before, "delay: {delay}");
        assert_eq!(results(&mut sim, edge).len(), 1, "delay: {delay}");
        assert_eq!(
            results(&mut sim, edge)[0].1,
            QualifyState::Lagged,
            "asked where it is now, delay: {delay}"
        );
    }
}

#[test]
fn a_contact_that_is_off_the_list_while_it_is_asked_hears_nothing_more() {
    let (mut sim, edge, phone) = lab(vec![contact("ann", QualifyState::Unknown)]);
    sim.run_for(ms(100));
    let before = sim.node::<Wire>(phone).heard.len();
    let nobody = Input::Command(Command::QualifyList(Vec::new()));
    sim.tell(edge, |edge: &mut Edge, now| edge.input(0, nobody, now));
    sim.run_for(ms(40_000));
    assert_eq!(sim.node::<Wire>(phone).heard.len(), before);
}

#[test]
fn a_flow_that_is_gone_is_unreachable_at_once() {
    let flow = Flow {
        pod: PodRef(1),
        transport: Transport::Tcp,
        local: ip(EDGE),
        remote: ip(PHONE),
        connection: Some(ConnectionRef(7)),
    };
    let mut edge = Edge::new(&[ip(EDGE)]);
    let now = edge.now(Instant::now());
    let target = QualifyTarget { hop: Hop::Flow(flow), ..contact("ann", QualifyState::Ok) };
    let core = &mut edge.pods[0].core;
    core.handle(Input::Command(Command::Qualify(Box::new(target))), now);
    let send = std::iter::from_fn(|| core.poll_output())
        .find_map(|output| match output {
            Output::Send { send, to: SendTo::Flow(to), report: true, .. } if to == flow => Some(send),
            _ => None,
        })
        .unwrap();
    let failed = Some(fairlead_core::input::SendFailed::ConnectionGone);
    core.handle(Input::Sent { send, failed, flow: None }, now);
    let result = std::iter::from_fn(|| core.poll_output()).find_map(|output| match output {
        Output::Event(fairlead_core::output::Event::Qualified { result, .. }) => Some(result.state),
        _ => None,
    });
    assert_eq!(result, Some(QualifyState::Unreachable));
    assert!(core.is_idle() || core.statistics().asks == 0);
}
