//! What came over a connection and is another pod's crosses the mesh, which fails: its sender repeats nothing (RFC 3261 §17.1.2.2).

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Sim};
use sip_wire::Method;

/// Bob calls by pod B, over UDP; ann's phone has a connection to pod A.
struct Scenery {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
}

fn calls(incoming: Incoming) -> Scenery {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    sim.node::<Edge>(edge).connected.insert(ip(ANN));
    for pod in &mut sim.node::<Edge>(edge).pods {
        pod.listens_on_both(false);
    }
    sim.node::<Phone>(ann).set_incoming(incoming);
    sim.tell(ann, |ann: &mut Phone, now| ann.register(3600, now));
    sim.tell(bob, |bob: &mut Phone, now| bob.register(3600, now));
    sim.run_for(ms(200));
    // Her phone speaks over a connection, and says everything once.
    sim.net.lose_when({
        let mut said = std::collections::HashSet::new();
        move |packet| packet.from == ip(ANN) && !said.insert(packet.bytes.clone())
    });
    sim.tell(bob, |bob: &mut Phone, now| bob.call("ann", now));
    sim.run_for(ms(3_000));
    assert_eq!(sim.node::<Phone>(ann).live_calls(), 1);
    Scenery { sim, edge, ann, bob }
}

const ANSWERS: Incoming = Incoming::Answer(std::time::Duration::from_millis(200));

impl Scenery {
    fn mesh(&mut self, down: bool) {
        self.sim.node::<Edge>(self.edge).mesh_is_down = down;
    }

    fn ann_does(&mut self, what: impl FnOnce(&mut Phone, std::time::Instant)) {
        self.sim.tell(self.ann, what);
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn ann_heard(&mut self) -> Vec<Heard> {
        self.sim.node::<Phone>(self.ann).heard().to_vec()
    }
}

#[test]
fn whoever_hangs_up_while_no_pod_is_reached_does_not_leave_the_other_in_the_call() {
    let mut scenery = calls(ANSWERS);
    scenery.mesh(true);
    scenery.ann_does(|ann, now| ann.hang_up(0, now));
    scenery.sim.run_for(ms(5_000));
    assert_eq!(scenery.bob().live_calls(), 1);
    scenery.mesh(false);
    scenery.sim.run_for(ms(2_000));
    assert_eq!(scenery.bob().live_calls(), 0);
    assert!(scenery.ann_heard().contains(&Heard::Response(Method::Bye, 200)));
    quiet(&mut scenery.sim, scenery.edge);
}

#[test]
fn a_refusal_arrives_when_the_pod_is_reached_again() {
    let mut scenery = calls(Incoming::Ring);
    scenery.mesh(true);
    scenery.ann_does(|ann, now| ann.refuse(0, 486, now));
    scenery.sim.run_for(ms(5_000));
    scenery.mesh(false);
    scenery.sim.run_for(ms(2_000));
    assert_eq!(scenery.bob().calls()[0].state, CallState::Ended { status: Some(486) });
}

#[test]
fn whoever_asks_a_pod_that_is_gone_is_answered_as_soon_as_that_is_known() {
    let mut scenery = calls(ANSWERS);
    scenery.sim.node::<Edge>(scenery.edge).pods[1].alive = false;
    scenery.ann_does(|ann, now| ann.send_in_call(0, Method::Info, now));
    scenery.ann_does(|ann, now| ann.hang_up(0, now));
    scenery.sim.run_for(ms(5_000));
    let now = scenery.sim.now();
    scenery.sim.node::<Edge>(scenery.edge).brief(&[1], false, now);
    scenery.sim.run_for(ms(2_000));
    let heard = scenery.ann_heard();
    assert!(heard.contains(&Heard::Response(Method::Info, 481)), "{heard:?}");
    assert!(heard.contains(&Heard::Response(Method::Bye, 481)), "{heard:?}");
    scenery.sim.run_for(ms(40_000));
    assert!(scenery.sim.node::<Edge>(scenery.edge).pods[0].core.is_idle());
}

#[test]
fn a_pod_that_is_not_reached_for_long_is_given_up() {
    let mut scenery = calls(ANSWERS);
    scenery.mesh(true);
    scenery.ann_does(|ann, now| ann.hang_up(0, now));
    scenery.sim.run_for(ms(40_000));
    scenery.mesh(false);
    scenery.sim.run_for(ms(3_000));
    assert_eq!(scenery.bob().live_calls(), 1, "what is so old nobody waits for");
}

/// A pod that drains would end before the message has got there.
#[test]
fn a_pod_is_not_done_while_it_carries_something() {
    let mut scenery = calls(ANSWERS);
    let is_done =
        |scenery: &mut Scenery| scenery.sim.node::<Edge>(scenery.edge).pods[0].core.open().is_nothing();
    assert!(is_done(&mut scenery));
    scenery.mesh(true);
    scenery.ann_does(|ann, now| ann.hang_up(0, now));
    for _ in 0..5 {
        scenery.sim.run_for(ms(500));
        assert!(!is_done(&mut scenery));
    }
    scenery.mesh(false);
    scenery.sim.run_for(ms(2_000));
    assert!(is_done(&mut scenery));
    assert_eq!(scenery.bob().live_calls(), 0);
}
