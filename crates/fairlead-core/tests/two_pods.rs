//! Two pods of one edge: what comes to one and belongs to the other, and what leaves by the other's flow.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_testkit::{Heard, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::Method;

const POD_B: &str = "192.0.2.2:5060";

struct Two {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
}

/// Ann is registered at pod A, bob at pod B.
fn two() -> Two {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let edge = sim.add(&[ip(EDGE), ip(POD_B)], Edge::new(&[ip(EDGE), ip(POD_B)]));
    let ann = sim.add(&[ip(ANN)], phone("ann", ANN));
    let bob = sim.add(&[ip(BOB)], Phone::new("bob", "secret", ip(BOB), ip(POD_B), DOMAIN));
    sim.tell(ann, |phone: &mut Phone, now| phone.register(3600, now));
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    assert_eq!(sim.node::<Phone>(bob).registered(), Some(200));
    Two { sim, edge, ann, bob }
}

impl Two {
    fn quiet(&mut self) {
        assert!(self.sim.run_until_quiet(std::time::Duration::from_secs(600)));
        let edge = self.sim.node::<Edge>(self.edge);
        edge.assert_nothing_left();
        for (message, times) in &edge.crossings {
            assert_eq!(*times, 1, "{message:?} crossed the mesh {times} times");
        }
    }

    fn count(&self, from: &str, to: &str) -> usize {
        let (from, to) = (ip(from), ip(to));
        self.sim.net.trace().iter().filter(|(_, packet, _)| packet.from == from && packet.to == to).count()
    }
}

#[test]
fn a_call_leaves_through_the_pod_that_the_phone_is_registered_at() {
    let mut two = two();
    let call = two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    assert_eq!(two.sim.node::<Phone>(two.bob).live_calls(), 1);
    assert_eq!(two.count(EDGE, BOB), 0, "bob's filter lets nothing but pod B through");
    let held = "v=0\r\no=- 1 2 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";
    two.sim.tell(two.bob, |bob: &mut Phone, now| bob.reinvite(0, held, now));
    two.sim.run_for(ms(1_000));
    assert!(two.sim.node::<Phone>(two.ann).heard().contains(&Heard::Request(Method::Invite)));
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    two.quiet();
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Bye)));
    assert_eq!(two.count(EDGE, BOB), 0);
    assert!(!two.sim.node::<Edge>(two.edge).crossings.is_empty());
}

#[test]
fn the_callee_hangs_up_through_its_own_pod() {
    let mut two = two();
    two.sim.tell(two.ann, |ann: &mut Phone, now| ann.call("bob", now));
    two.sim.run_for(ms(3_000));
    two.sim.tell(two.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    two.quiet();
    assert!(two.sim.node::<Phone>(two.ann).calls()[0].is_over());
}

const INVITE: &str = "INVITE sip:bob@edge.example SIP/2.0
Via: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK-one;rport
Max-Forwards: 70
From: <sip:zoe@edge.example>;tag=z
To: <sip:bob@edge.example>
Call-ID: roaming
CSeq: 1 INVITE
Contact: <sip:zoe@198.51.100.9:5060>
Content-Length: 0

";
const ZOE: &str = "198.51.100.9:5060";

#[test]
fn a_first_invite_and_its_cancel_at_the_other_pod_find_their_call() {
    let mut two = two();
    two.sim.node::<Edge>(two.edge).trust(&["198.51.100.9/32"]);
    two.sim.node::<Phone>(two.bob).set_incoming(Incoming::Ring);
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, EDGE, INVITE));
    two.sim.run_for(ms(300));
    // The load balancer sends the repetition and the CANCEL to the other pod.
    two.sim.tell(zoe, |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, INVITE));
    two.sim.run_for(ms(300));
    assert_eq!(two.sim.node::<Edge>(two.edge).pods[1].core.calls(), 0);
    let cancel = INVITE.replace("INVITE", "CANCEL").replace("Contact: <sip:zoe@198.51.100.9:5060>\n", "");
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &cancel));
    two.sim.run_for(ms(300));
    let statuses = two.sim.node::<Wire>(zoe).statuses();
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(two.sim.node::<Phone>(two.bob).calls().len(), 1, "bob was called once");
    let tag = two.sim.node::<Wire>(zoe).response(487).unwrap().to_tag().unwrap().to_owned();
    let ack = INVITE
        .replace("INVITE", "ACK")
        .replace("To: <sip:bob@edge.example>", &format!("To: <sip:bob@edge.example>;tag={tag}"));
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &ack));
    two.sim.run_for(ms(300));
    let before = two.sim.node::<Wire>(zoe).statuses().len();
    two.sim.run_for(ms(5_000));
    assert_eq!(
        two.sim.node::<Wire>(zoe).statuses().len(),
        before,
        "the 487 was acknowledged at the other pod"
    );
    assert!(two.sim.node::<Phone>(two.bob).heard().contains(&Heard::Request(Method::Cancel)));
    two.quiet();
}

#[test]
fn a_cancel_that_nobody_knows_is_481() {
    let mut two = two();
    let zoe = two.sim.add(&[ip(ZOE)], Wire::default());
    let cancel = INVITE.replace("INVITE", "CANCEL");
    two.sim.tell(zoe, move |zoe: &mut Wire, _| zoe.say(ZOE, POD_B, &cancel));
    two.sim.run_for(ms(300));
    assert_eq!(two.sim.node::<Wire>(zoe).statuses(), [481]);
    assert!(two.sim.node::<Edge>(two.edge).registrar.asked.contains(&"owner"));
}
