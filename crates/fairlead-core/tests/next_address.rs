//! RFC 3263 §4.3: a name with several addresses. The next one is tried when one is silent, refuses with 503 or cannot be sent
//! to; what the one before says afterwards is none of the call's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::{Command, Input, Network};
use fairlead_model::ask::{LegPolicy, QualifyTarget, Target};
use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::flow::{Hop, Transport};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_testkit::{Heard, Incoming, NodeRef, Phone, Plan};
use sip_wire::{Header, Message, Method};

const FIRST: &str = "198.51.100.98:5060";
const SIXTH: &str = "[2001:db8::98]:5060";
const CAT: &str = "198.51.100.3:5060";

/// Ann calls a name whose addresses are a host that only listens, and bob's phone.
fn two_addresses(bob: Incoming) -> (Scene, NodeRef) {
    let mut scene = Scene::with(1, Plan::PERFECT, phone("ann", ANN), phone("bob", BOB).incoming(bob));
    let first = scene.sim.add(&[ip(FIRST)], Wire::default());
    called(&mut scene, &[FIRST, BOB]);
    (scene, first)
}

/// What `sales` is called by, and where that is.
fn called(scene: &mut Scene, addresses: &[&str]) {
    let hop = Hop::Address { transport: Transport::Udp, host: "trunk.example".to_owned(), port: None };
    let policy = LegPolicy { nat: Default::default(), ..policy("bob") };
    let target = Target { policy, hop, uri: "sip:bob@trunk.example".to_owned(), ..target("bob", ip(BOB)) };
    scene.edge().registrar.targets.insert("sales".to_owned(), vec![target]);
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    scene.edge().names.insert("trunk.example".to_owned(), addresses);
}

fn hang_up(scene: &mut Scene, call: usize) {
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Bye)));
}

/// The methods of what an address that only listens has heard.
fn methods(scene: &mut Scene, node: NodeRef) -> Vec<String> {
    scene.sim.node::<Wire>(node).heard.iter().map(|message| message.method().label().to_owned()).collect()
}

fn count(scene: &mut Scene, node: NodeRef, method: &str) -> usize {
    methods(scene, node).iter().filter(|known| *known == method).count()
}

/// The first host answers the INVITE that it has heard.
fn say(scene: &mut Scene, first: NodeRef, status: &str, tag: &str) {
    let invite: Message = scene.sim.node::<Wire>(first).heard[0].clone();
    let header = |name| invite.header(name).unwrap().to_string();
    let mut answer = format!(
        "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {};tag={tag}\nCall-ID: {}\nCSeq: {}\nContact: <sip:x@{FIRST}>\n",
        header(Header::Via),
        header(Header::From),
        header(Header::To),
        invite.call_id(),
        header(Header::CSeq),
    );
    answer.push_str("Content-Length: 0\n\n");
    scene.sim.tell(first, move |first: &mut Wire, _| first.say(FIRST, EDGE, &answer));
}

#[test]
fn after_five_seconds_of_silence_the_next_address_gets_the_invite_and_the_call_comes_up() {
    let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(4_900));
    assert!(scene.bob().calls().is_empty());
    scene.sim.run_for(ms(1_000));
    assert_eq!(scene.bob().live_calls(), 1);
    assert_eq!(scene.final_status(), Some(200));
    let branches = |message: &Message| message.top_via().unwrap().branch.unwrap().to_string();
    let there: Vec<_> = scene.sim.node::<Wire>(first).heard.iter().map(branches).collect();
    let here: Vec<_> = scene.bob().messages().iter().filter(|m| m.is_request()).map(branches).collect();
    assert!(!there.is_empty() && here.iter().all(|branch| !there.contains(branch)));
    hang_up(&mut scene, call);
    // RFC 3261 §9.1: nobody who has said nothing is sent a CANCEL.
    assert!(methods(&mut scene, first).iter().all(|method| method == "INVITE"));
}

#[test]
fn of_a_name_only_addresses_of_the_first_ones_family_are_tried() {
    let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
    let sixth = scene.sim.add(&[ip(SIXTH)], Wire::default());
    // A listener for each family, or one for both.
    let each = vec![at_edge(EDGE), at_edge("[2001:db8::1]:5060")];
    for networks in [each, vec![at_edge("[::]:5060")]] {
        scene.edge().pods[0].core.set_networks(networks);
        called(&mut scene, &[FIRST, SIXTH, BOB]);
        let before = count(&mut scene, first, "INVITE");
        let call = scene.ann_calls("sales");
        scene.sim.run_for(ms(5_500));
        assert!(count(&mut scene, first, "INVITE") > before);
        assert_eq!((scene.bob().live_calls(), count(&mut scene, sixth, "INVITE")), (1, 0));
        hang_up(&mut scene, call);
    }
}

fn at_edge(bind: &str) -> Network {
    let bind = ip(bind);
    let network = identity(PodRef(1), 0, 1, bind).networks.remove(0);
    Network { advertised: (ip(EDGE).ip().to_string(), 5060), ..network }
}

#[test]
fn a_host_that_rings_when_it_was_left_is_cancelled() {
    let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(6_000));
    say(&mut scene, first, "180 Ringing", "late");
    scene.sim.run_for(ms(300));
    assert_eq!(count(&mut scene, first, "CANCEL"), 1);
    say(&mut scene, first, "487 Request Terminated", "late");
    scene.sim.run_for(ms(300));
    assert_eq!(count(&mut scene, first, "ACK"), 1);
    assert_eq!(scene.bob().live_calls(), 1);
    hang_up(&mut scene, call);
}

#[test]
fn a_host_that_answers_when_it_was_left_is_acknowledged_and_ended() {
    // While its transaction lives, and when Timer B has ended it.
    for wait in [6_000, 40_000] {
        let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
        let call = scene.ann_calls("sales");
        scene.sim.run_for(ms(wait));
        say(&mut scene, first, "200 OK", "late");
        scene.sim.run_for(ms(300));
        assert_eq!((count(&mut scene, first, "ACK"), count(&mut scene, first, "BYE")), (1, 1), "{wait}");
        let acked = scene.sim.node::<Wire>(first).heard.iter().find(|m| *m.method() == Method::Ack).cloned();
        let cseq = |message: &Message| message.cseq().unwrap().number;
        assert_eq!(cseq(&acked.unwrap()), cseq(&scene.sim.node::<Wire>(first).heard[0]));
        say(&mut scene, first, "200 OK", "late");
        scene.sim.run_for(ms(100));
        assert_eq!(count(&mut scene, first, "ACK"), 2, "the ACK was lost: {wait}");
        assert_eq!(scene.bob().live_calls(), 1);
        scene.sim.run_for(ms(1_000));
        assert_eq!(scene.ann().live_calls(), 1);
        hang_up(&mut scene, call);
    }
}

#[test]
fn a_host_that_answers_first_after_all_does_not_keep_the_next_from_ringing() {
    let (mut scene, first) = two_addresses(Incoming::Ring);
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(6_000));
    say(&mut scene, first, "200 OK", "late");
    scene.sim.run_for(ms(300));
    assert_eq!(count(&mut scene, first, "BYE"), 1);
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
    scene.sim.run_for(ms(300));
    assert_eq!((scene.bob().live_calls(), scene.final_status()), (1, Some(200)));
    hang_up(&mut scene, call);
}

#[test]
fn a_host_that_is_out_of_service_is_left_at_once() {
    let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(300));
    say(&mut scene, first, "100 Trying", "busy");
    say(&mut scene, first, "503 Service Unavailable", "busy");
    scene.sim.run_for(ms(300));
    assert_eq!(scene.bob().live_calls(), 1);
    assert_eq!(methods(&mut scene, first), ["INVITE", "ACK"]);
    scene.sim.run_for(ms(3_000));
    hang_up(&mut scene, call);
}

#[test]
fn any_other_refusal_is_the_answer() {
    let (mut scene, first) = two_addresses(Incoming::Answer(ms(10)));
    scene.ann_calls("sales");
    scene.sim.run_for(ms(300));
    say(&mut scene, first, "486 Busy Here", "busy");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(486));
    assert!(scene.bob().calls().is_empty());
}

#[test]
fn where_all_are_silent_the_caller_hears_408_and_where_all_refuse_500() {
    let (mut scene, _) = two_addresses(Incoming::Silent);
    scene.ann_calls("sales");
    scene.sim.run_for(ms(34_000));
    assert_eq!(scene.final_status(), None, "the last one has its whole ring time, which begins anew");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(408));

    let (mut scene, first) = two_addresses(Incoming::Refuse(503));
    scene.ann_calls("sales");
    scene.sim.run_for(ms(300));
    say(&mut scene, first, "503 Service Unavailable", "busy");
    scene.quiet();
    assert_eq!(scene.final_status(), Some(500));
}

#[test]
fn a_caller_who_gives_up_stops_the_host_that_rings_now() {
    let (mut scene, first) = two_addresses(Incoming::Ring);
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(6_000));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.cancel(call, now));
    scene.quiet();
    assert!(scene.bob().heard().contains(&Heard::Request(Method::Cancel)));
    assert_eq!(scene.final_status(), Some(487));
    assert_eq!(count(&mut scene, first, "CANCEL"), 0);
}

/// The same for a trunk whose challenges are answered. The first host challenges the INVITE; the registrar takes a second.
fn challenged(after: u64) -> (Scene, NodeRef) {
    let (mut scene, first) = two_addresses(Incoming::Ring);
    let targets = scene.edge().registrar.targets.get_mut("sales").unwrap();
    targets[0].policy.answers_challenges = true;
    scene.ann_calls("sales");
    scene.sim.run_for(ms(after));
    scene.edge().delay = ms(1_000);
    say(
        &mut scene,
        first,
        "407 Unauthorized\nProxy-Authenticate: Digest realm=\"trunk\", nonce=\"n\"",
        "who",
    );
    (scene, first)
}

/// CSeq of each INVITE that was sent to an address, once each.
fn invited(scene: &Scene, to: &str) -> Vec<u32> {
    let packets = scene.sim.net.trace().iter().map(|(_, packet, _)| packet).filter(|p| p.to == ip(to));
    let mut known: Vec<u32> = packets
        .filter_map(|packet| Message::parse(packet.bytes.clone()).ok())
        .filter(|message| message.is_request() && *message.method() == Method::Invite)
        .map(|message| message.cseq().unwrap().number)
        .collect();
    known.dedup();
    known
}

#[test]
fn a_host_that_has_challenged_is_not_silent_until_it_has_had_the_credentials_for_five_seconds() {
    let (mut scene, first) = challenged(4_900);
    scene.sim.run_for(ms(5_900));
    assert_eq!((invited(&scene, FIRST), invited(&scene, BOB)), (vec![1, 2], vec![]));
    let last = scene.sim.node::<Wire>(first).heard.last().unwrap().clone();
    assert!(last.header(Header::ProxyAuthorization).is_some());
    scene.sim.run_for(ms(300));
    assert_eq!((invited(&scene, FIRST), invited(&scene, BOB)), (vec![1, 2], vec![3]));
    assert_eq!(scene.bob().calls().len(), 1);
    scene.quiet();
}

#[test]
fn credentials_for_a_host_that_was_left_meanwhile_are_sent_to_nobody() {
    let (mut scene, _) = challenged(300);
    // Not even the ACK reaches it.
    scene.edge().unreachable.insert(ip(FIRST));
    scene.sim.run_for(ms(3_000));
    assert_eq!((invited(&scene, FIRST), invited(&scene, BOB)), (vec![1], vec![2]));
    assert!(scene.edge().registrar.asked.contains(&"challenge"));
    assert_eq!(scene.bob().calls().len(), 1);
    scene.quiet();
}

#[test]
fn once_somebody_answered_no_other_host_hears_of_the_call() {
    let mut scene = Scene::new();
    let cat = scene.sim.add(&[ip(CAT)], Wire::default());
    called(&mut scene, &[BOB, CAT]);
    let call = scene.ann_calls("sales");
    scene.sim.run_for(ms(3_000));
    assert_eq!(scene.bob().live_calls(), 1);
    scene.edge().unreachable.insert(ip(BOB));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
    assert!(scene.sim.node::<Wire>(cat).heard.is_empty());
}

#[test]
fn a_name_is_reachable_when_one_of_its_addresses_answers_options() {
    let (mut scene, first) = two_addresses(Incoming::Ring);
    qualify(&mut scene);
    scene.sim.run_for(ms(1_900));
    assert!(scene.edge().registrar.qualified.is_empty());
    scene.sim.run_for(ms(300));
    assert!(count(&mut scene, first, "OPTIONS") > 0);
    assert_eq!(scene.edge().registrar.qualified[0].1.state, QualifyState::Ok);

    called(&mut scene, &[FIRST, CAT]);
    scene.edge().registrar.qualified.clear();
    qualify(&mut scene);
    scene.sim.run_for(ms(4_100));
    assert_eq!(scene.edge().registrar.qualified[0].1.state, QualifyState::Unreachable);
}

#[test]
fn an_address_that_no_call_is_tried_at_is_not_qualified_either() {
    let (mut scene, _) = two_addresses(Incoming::Ring);
    let sixth = scene.sim.add(&[ip(SIXTH)], Wire::default());
    scene.edge().pods[0].core.set_networks(vec![at_edge("[::]:5060")]);
    called(&mut scene, &[FIRST, SIXTH]);
    qualify(&mut scene);
    scene.sim.run_for(ms(4_100));
    assert_eq!(scene.edge().registrar.qualified[0].1.state, QualifyState::Unreachable);
    assert!(scene.sim.node::<Wire>(sixth).heard.is_empty());
}

fn qualify(scene: &mut Scene) {
    let trunk = QualifyTarget {
        peer: "trunk".to_owned(),
        key: None,
        uri: "sip:trunk.example".to_owned(),
        route: Vec::new(),
        hop: Hop::Address { transport: Transport::Udp, host: "trunk.example".to_owned(), port: None },
        limit_ms: 1000,
        every: 60,
        last: Qualify { state: QualifyState::Unknown, rtt_ms: 0, at: UnixMillis(0) },
    };
    let command = Command::Qualify(Box::new(trunk));
    scene.sim.tell(scene.edge, |edge: &mut Edge, now| edge.input(0, Input::Command(command), now));
}
