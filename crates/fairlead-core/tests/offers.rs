//! Offer and answer apart from their carriers: late offers, early media, forks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_model::ask::LegPolicy;
use fairlead_model::id::Side;
use fairlead_model::peer::RtpSource;
use fairlead_testkit::{Heard, NodeRef, Phone, Plan};
use sip_wire::{Header, Message, Method};

const SDP: &str = "v=0
o=- 5 5 IN IP4 198.51.100.9
s=-
c=IN IP4 198.51.100.9
t=0 0
m=audio 30000 RTP/AVP 0
";

fn request(method: &str, uri: &str, to_tag: &str, branch: &str, cseq: u32, body: &str) -> String {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    let length = body.replace('\n', "\r\n").len();
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP {ZOE};branch=z9hG4bK{branch};rport\nMax-Forwards: 70\n\
         From: <sip:zoe@edge.example>;tag=z\nTo: <sip:bob@edge.example>{tag}\nCall-ID: zoes\nCSeq: {cseq} {method}\n\
         Contact: <sip:zoe@{ZOE}>\n{kind}Content-Length: {length}\n\n{body}"
    )
}

fn contact(message: &Message) -> String {
    message.contact().unwrap().unwrap().uri.as_str().to_owned()
}

/// Zoe needs no credentials and speaks for herself.
fn with_zoe() -> (Scene, NodeRef) {
    let mut scene = Scene::with(1, Plan::PERFECT, phone("ann", ANN), phone("bob", BOB));
    scene.edge().trust(&["198.51.100.9/32"]);
    let zoe = scene.sim.add(&[ip(ZOE)], Wire::default());
    (scene, zoe)
}

fn say(scene: &mut Scene, zoe: NodeRef, text: String) {
    scene.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, &text));
}

#[test]
fn rtp_from_anywhere_is_taken_for_the_peer_that_wants_it_and_for_no_other() {
    let mut scene = Scene::new();
    scene.edge().registrar.policy = Some(LegPolicy { rtp_source: RtpSource::Any, ..policy("ann") });
    scene.ann_calls("bob");
    scene.sim.run_for(ms(3_000));
    let sides = std::mem::take(&mut scene.edge().relay.sides);
    assert!(sides.len() >= 2, "offer and answer");
    for (a, b) in sides {
        assert_eq!((a.source, b.source), (RtpSource::Any, RtpSource::Signalling));
    }
    scene.edge().registrar.policy = None;
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.sim.run_for(ms(1_000));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.call("ann", now));
    scene.sim.run_for(ms(3_000));
    let sides = std::mem::take(&mut scene.edge().relay.sides);
    assert!(!sides.is_empty());
    assert!(sides.iter().all(|(a, b)| [a.source, b.source] == [RtpSource::Signalling; 2]));
}

#[test]
fn a_late_offer_is_answered_in_the_ack_on_both_legs() {
    let (mut scene, zoe) = with_zoe();
    say(&mut scene, zoe, request("INVITE", "sip:bob@edge.example", "", "1", 1, ""));
    scene.sim.run_for(ms(1_500));
    let ok = scene.sim.node::<Wire>(zoe).response(200).unwrap();
    assert!(ok.body().starts_with(b"v=0"), "the 200 brings the callee's offer");
    let acks =
        |scene: &mut Scene| scene.lines(EDGE, BOB).iter().filter(|line| line.starts_with("ACK")).count();
    assert_eq!(acks(&mut scene), 0, "the callee's ACK waits for the answer");
    let tag = ok.to_tag().unwrap().to_owned();
    say(&mut scene, zoe, request("ACK", &contact(&ok), &tag, "2", 1, SDP));
    scene.sim.run_for(ms(100));
    assert_eq!(acks(&mut scene), 1);
    let ack = scene
        .sim
        .net
        .trace()
        .iter()
        .rev()
        .find(|(_, p, _)| p.first_line().starts_with("ACK") && p.to == ip(BOB))
        .unwrap()
        .1
        .clone();
    let ack = Message::parse(ack.bytes).unwrap();
    assert!(ack.body().starts_with(b"v=0"));
    let seen: Vec<Side> = scene.edge().relay.seen.iter().map(|(side, _)| *side).collect();
    assert_eq!(seen, [Side::B, Side::A]);
    assert_eq!(scene.edge().pods[0].core.bridges().len(), 1);
    say(&mut scene, zoe, request("BYE", &contact(&ok), &tag, "3", 2, ""));
    scene.quiet();
}

#[test]
fn a_late_offer_whose_ack_brings_no_answer_ends_the_call() {
    let (mut scene, zoe) = with_zoe();
    say(&mut scene, zoe, request("INVITE", "sip:bob@edge.example", "", "1", 1, ""));
    scene.sim.run_for(ms(1_500));
    let ok = scene.sim.node::<Wire>(zoe).response(200).unwrap();
    say(&mut scene, zoe, request("ACK", &contact(&ok), ok.to_tag().unwrap(), "2", 1, ""));
    scene.sim.run_for(ms(100));
    let heard = &scene.sim.node::<Wire>(zoe).heard;
    assert!(heard.iter().any(|message| message.is_request() && *message.method() == Method::Bye));
    assert!(scene.bob().calls()[0].is_over());
    scene.quiet();
}

#[test]
fn a_reinvite_without_an_offer_asks_the_other_leg_for_one() {
    let (mut scene, zoe) = with_zoe();
    say(&mut scene, zoe, request("INVITE", "sip:bob@edge.example", "", "1", 1, SDP));
    scene.sim.run_for(ms(1_500));
    let ok = scene.sim.node::<Wire>(zoe).response(200).unwrap();
    let (target, tag) = (contact(&ok), ok.to_tag().unwrap().to_owned());
    say(&mut scene, zoe, request("ACK", &target, &tag, "2", 1, ""));
    scene.sim.run_for(ms(100));
    say(&mut scene, zoe, request("INVITE", &target, &tag, "3", 2, ""));
    scene.sim.run_for(ms(200));
    let again =
        scene.sim.node::<Wire>(zoe).heard.iter().rev().find(|m| m.status() == Some(200)).unwrap().clone();
    assert_eq!(again.cseq().unwrap().number, 2);
    assert!(again.body().starts_with(b"v=0"));
    // §13.3.1.4: repeated until the ACK.
    scene.sim.run_for(ms(1_600));
    let repeated = scene
        .sim
        .node::<Wire>(zoe)
        .heard
        .iter()
        .filter(|m| m.header(Header::CSeq) == Some("2 INVITE") && m.status() == Some(200))
        .count();
    assert_eq!(repeated, 3);
    say(&mut scene, zoe, request("ACK", &target, &tag, "4", 2, SDP));
    scene.sim.run_for(ms(200));
    assert_eq!(scene.edge().pods[0].core.bridges().len(), 1);
    say(&mut scene, zoe, request("BYE", &target, &tag, "5", 3, ""));
    scene.quiet();
}

/// Zoe is a static target that ann calls; she answers by hand.
fn ann_calls_zoe() -> (Scene, NodeRef, Message) {
    let (mut scene, zoe) = with_zoe();
    scene.edge().registrar.targets.insert("zoe".to_owned(), vec![target("zoe", ip(ZOE))]);
    scene.ann_calls("zoe");
    scene.sim.run_for(ms(100));
    let invite = scene.sim.node::<Wire>(zoe).heard[0].clone();
    (scene, zoe, invite)
}

fn answer(invite: &Message, status: u16, tag: &str, sdp: Option<&str>) -> String {
    let mut writer =
        invite.response(status, "Whatever").to_tag(tag).header(Header::Contact, format!("<sip:zoe@{ZOE}>"));
    if let Some(sdp) = sdp {
        writer = writer.body("application/sdp", sdp.replace('\n', "\r\n"));
    }
    String::from_utf8(writer.finish().to_vec()).unwrap().replace("\r\n", "\n")
}

fn to_ann(scene: &Scene) -> Vec<Message> {
    let trace = scene.sim.net.trace().iter();
    trace
        .filter(|(_, p, _)| p.to == ip(ANN))
        .map(|(_, p, _)| Message::parse(p.bytes.clone()).unwrap())
        .collect()
}

#[test]
fn early_media_reaches_the_caller_and_the_200_repeats_it() {
    let (mut scene, zoe, invite) = ann_calls_zoe();
    say(&mut scene, zoe, answer(&invite, 183, "f1", Some(SDP)));
    scene.sim.run_for(ms(100));
    let progress = to_ann(&scene).into_iter().rev().find(|m| m.status() == Some(183)).unwrap();
    assert!(progress.body().starts_with(b"v=0"));
    say(&mut scene, zoe, answer(&invite, 200, "f1", Some(SDP)));
    scene.sim.run_for(ms(100));
    let ok = to_ann(&scene).into_iter().rev().find(|m| m.status() == Some(200)).unwrap();
    assert_eq!((ok.body(), ok.to_tag()), (progress.body(), progress.to_tag()));
    // Again, now that it is the answer: only from here on does silence end the call.
    assert_eq!(scene.edge().relay.orders, ["offer", "answer", "answer"]);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.sim.run_for(ms(100));
    let bye = scene.sim.node::<Wire>(zoe).heard.last().unwrap().clone();
    assert_eq!(*bye.method(), Method::Bye);
    say(&mut scene, zoe, answer(&bye, 200, "f1", None));
    scene.quiet();
}

#[test]
fn a_200_that_overtakes_the_relay_is_one_answer() {
    let (mut scene, zoe, invite) = ann_calls_zoe();
    scene.edge().delay = ms(50);
    say(&mut scene, zoe, answer(&invite, 183, "f1", Some(SDP)));
    say(&mut scene, zoe, answer(&invite, 200, "f1", Some(SDP)));
    scene.sim.run_for(ms(500));
    assert_eq!(scene.edge().pods[0].core.bridges().len(), 1);
    assert_eq!(scene.ann().live_calls(), 1);
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
}

#[test]
fn each_fork_has_a_tag_of_its_own_and_a_second_answer_is_ended() {
    let (mut scene, zoe, invite) = ann_calls_zoe();
    say(&mut scene, zoe, answer(&invite, 183, "f1", Some(SDP)));
    say(&mut scene, zoe, answer(&invite, 183, "f2", Some(&SDP.replace("30000", "30002"))));
    scene.sim.run_for(ms(100));
    let tags: std::collections::HashSet<String> = to_ann(&scene)
        .iter()
        .filter(|m| m.status() == Some(183))
        .map(|m| m.to_tag().unwrap().to_owned())
        .collect();
    assert_eq!(tags.len(), 2);
    say(&mut scene, zoe, answer(&invite, 200, "f2", Some(&SDP.replace("30000", "30002"))));
    say(&mut scene, zoe, answer(&invite, 200, "f1", Some(SDP)));
    scene.sim.run_for(ms(200));
    let heard = scene.sim.node::<Wire>(zoe).heard.clone();
    let acked: Vec<&str> =
        heard.iter().filter(|m| *m.method() == Method::Ack).filter_map(Message::to_tag).collect();
    assert_eq!(acked, ["f2", "f1"]);
    let byes: Vec<&Message> = heard.iter().filter(|m| *m.method() == Method::Bye).collect();
    assert_eq!(byes[0].to_tag(), Some("f1"));
    // §13.2.2.4: each repetition of the 2xx gets its ACK again.
    say(&mut scene, zoe, answer(&invite, 200, "f2", Some(&SDP.replace("30000", "30002"))));
    scene.sim.run_for(ms(100));
    let again = scene.sim.node::<Wire>(zoe).heard.iter().filter(|m| *m.method() == Method::Ack).count();
    assert_eq!(again, 3);
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 200)));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(0, now));
    scene.quiet();
}

#[test]
fn a_200_without_any_description_is_ended_and_the_caller_hears_500() {
    let (mut scene, zoe, invite) = ann_calls_zoe();
    say(&mut scene, zoe, answer(&invite, 200, "f1", None));
    scene.sim.run_for(ms(200));
    let heard = scene.sim.node::<Wire>(zoe).heard.clone();
    assert!(
        heard.iter().any(|m| *m.method() == Method::Ack) && heard.iter().any(|m| *m.method() == Method::Bye)
    );
    assert!(scene.ann().heard().contains(&Heard::Response(Method::Invite, 500)));
    scene.quiet();
}

#[test]
fn nothing_passes_that_the_list_does_not_name() {
    let (mut scene, zoe) = with_zoe();
    let invite = request("INVITE", "sip:bob@edge.example", "", "1", 1, SDP).replace(
        "Max-Forwards: 70\n",
        "Max-Forwards: 70\nSubject: lunch\nX-Secret: 1\nP-Asserted-Identity: <sip:boss@edge.example>\n\
         Record-Route: <sip:evil.example;lr>\nUser-Agent: Zoe\n",
    );
    say(&mut scene, zoe, invite);
    scene.sim.run_for(ms(100));
    let got = scene
        .bob()
        .messages()
        .iter()
        .rev()
        .find(|m| *m.method() == Method::Invite && m.is_request())
        .unwrap()
        .clone();
    assert_eq!(got.header(Header::Subject), Some("lunch"));
    assert_eq!(got.max_forwards().unwrap().unwrap(), 69);
    let text = String::from_utf8_lossy(got.bytes()).into_owned();
    for secret in ["X-Secret", "P-Asserted", "Record-Route", "Zoe", "zoes", "tag=z"] {
        assert!(!text.contains(secret), "{secret} passed:\n{text}");
    }
    say(
        &mut scene,
        zoe,
        request("CANCEL", "sip:bob@edge.example", "", "1", 1, "")
            .replace(&format!("Contact: <sip:zoe@{ZOE}>\n"), ""),
    );
    scene.quiet();
}
