//! A phone's connection closes in the middle of its call, and it registers again over a new one: what is meant for it waits, and
//! takes that one. Its own pod has the call, or another one, which hears of the loss only by what it sends.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_model::ask::LegPolicy;
use fairlead_model::peer::EffectiveNat;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Sim};
use sip_wire::Method;

#[derive(Clone, Copy, Debug, Default)]
struct Case {
    /// The pod that has the call has the connection too.
    own: bool,
    /// The new connection is one to the pod that has the call.
    new_at_own: bool,
    /// The phone is back before something is sent to it.
    first: bool,
}

/// Bob calls by pod B, over UDP; ann's phone has a connection.
struct Scenery {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
    case: Case,
}

const HOLDS: &str = "v=0\r\no=- 1 2 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";

fn each(play: impl Fn(Case)) {
    for number in 0..8 {
        let bit = |at: u32| number >> at & 1 == 1;
        play(Case { own: bit(0), new_at_own: bit(1), first: bit(2) });
    }
}

fn calls(case: Case, incoming: Incoming) -> Scenery {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    sim.node::<Edge>(edge).connected.insert(ip(ANN));
    for pod in &mut sim.node::<Edge>(edge).pods {
        pod.listens_on_both(false);
    }
    sim.tell(ann, |ann: &mut Phone, now| {
        ann.set_edge(ip(if case.own { POD_B } else { EDGE }));
        ann.set_incoming(incoming);
        ann.register(3600, now);
    });
    sim.tell(bob, |bob: &mut Phone, now| bob.register(3600, now));
    sim.run_for(ms(200));
    sim.tell(bob, |bob: &mut Phone, now| bob.call("ann", now));
    sim.run_for(ms(3_000));
    assert_eq!(sim.node::<Phone>(ann).live_calls(), 1);
    Scenery { sim, edge, ann, bob, case }
}

impl Scenery {
    fn connection_closes(&mut self) {
        self.sim.node::<Edge>(self.edge).close(ip(ANN));
    }

    fn ann_is_back(&mut self) {
        let edge = ip(if self.case.new_at_own { POD_B } else { EDGE });
        self.sim.tell(self.ann, |ann: &mut Phone, now| {
            ann.set_edge(edge);
            ann.register(3600, now);
        });
        self.sim.run_for(ms(100));
    }

    /// The connection closes, bob's phone does something, and ann's registers before that or some seconds later.
    fn closes_and(&mut self, later: u64, what: impl FnOnce(&mut Phone, std::time::Instant)) {
        self.connection_closes();
        if self.case.first {
            self.ann_is_back();
        }
        self.sim.tell(self.bob, what);
        if !self.case.first {
            self.sim.run_for(ms(later));
            self.ann_is_back();
        }
        self.sim.run_for(ms(2_200));
    }

    fn ann(&mut self) -> &mut Phone {
        self.sim.node(self.ann)
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn ann_heard(&mut self, method: Method) -> usize {
        self.ann().heard().iter().filter(|heard| **heard == Heard::Request(method.clone())).count()
    }
}

const ANSWERS: Incoming = Incoming::Answer(std::time::Duration::from_millis(200));

#[test]
fn whoever_is_hung_up_on_hears_it_over_the_new_connection() {
    each(|case| {
        let mut scenery = calls(case, ANSWERS);
        scenery.closes_and(20_000, |bob, now| bob.hang_up(0, now));
        assert_eq!(scenery.ann_heard(Method::Bye), 1, "{case:?}");
        assert_eq!(scenery.ann().live_calls(), 0, "{case:?}");
        quiet(&mut scenery.sim, scenery.edge);
    });
}

#[test]
fn a_reinvite_waits_for_the_new_connection() {
    each(|case| {
        let mut scenery = calls(case, ANSWERS);
        scenery.closes_and(10_000, |bob, now| bob.reinvite(0, HOLDS, now));
        assert_eq!(scenery.ann_heard(Method::Invite), 2, "{case:?}");
        let heard = scenery.bob().heard().to_vec();
        assert_eq!(
            heard.iter().filter(|h| **h == Heard::Response(Method::Invite, 200)).count(),
            2,
            "{case:?}"
        );
        assert_eq!((scenery.ann().live_calls(), scenery.bob().live_calls()), (1, 1), "{case:?}");
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
        quiet(&mut scenery.sim, scenery.edge);
        assert_eq!(scenery.ann().live_calls(), 0, "{case:?}");
    });
}

#[test]
fn the_answer_of_a_call_reaches_its_caller_over_the_new_connection() {
    each(|case| {
        let mut scenery = calls(case, ANSWERS);
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
        scenery.sim.run_for(ms(1_000));
        scenery.bob().set_incoming(Incoming::Ring);
        let call = scenery.sim.tell(scenery.ann, |ann: &mut Phone, now| ann.call("bob", now));
        scenery.sim.run_for(ms(1_000));
        assert_eq!(scenery.ann().calls()[call].state, CallState::Ringing);
        scenery.closes_and(10_000, |bob, now| bob.pick_up(1, now));
        assert_eq!(scenery.ann().calls()[call].state, CallState::Up, "{case:?}");
    });
}

#[test]
fn a_cancel_waits_for_the_new_connection_and_stops_the_ringing() {
    each(|case| {
        let mut scenery = calls(case, Incoming::Ring);
        scenery.closes_and(10_000, |bob, now| bob.cancel(0, now));
        assert!(scenery.bob().heard().contains(&Heard::Response(Method::Invite, 487)));
        assert_eq!(scenery.ann_heard(Method::Cancel), 1, "{case:?}");
        assert_eq!(scenery.ann().live_calls(), 0, "{case:?}");
        quiet(&mut scenery.sim, scenery.edge);
    });
}

/// Whoever declines over the new connection hears the ACK there (RFC 3261 §17.1.1.3).
#[test]
fn a_refusal_over_the_new_connection_is_acknowledged_there() {
    each(|case| {
        let mut scenery = calls(case, Incoming::Ring);
        scenery.connection_closes();
        scenery.ann_is_back();
        scenery.sim.tell(scenery.ann, |ann: &mut Phone, now| ann.refuse(0, 486, now));
        scenery.sim.run_for(ms(500));
        assert!(scenery.bob().heard().contains(&Heard::Response(Method::Invite, 486)));
        assert_eq!(scenery.ann_heard(Method::Ack), 1, "{case:?}");
    });
}

/// A phone without a NAT is reached at its Contact as well; where nobody listens there it is waited for like any other.
#[test]
fn a_caller_that_listens_at_his_contact_is_connected_to() {
    for listens in [true, false] {
        for (closes, known) in [(true, true), (false, true), (false, false)] {
            let mut scenery = calls(Case::default(), ANSWERS);
            let nat = EffectiveNat { force_rport: false, comedia: false };
            scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
            let edge = scenery.sim.node::<Edge>(scenery.edge);
            edge.registrar.policy = Some(LegPolicy { nat, ..policy("ann") });
            let now = scenery.sim.now();
            scenery.sim.node::<Edge>(scenery.edge).brief(&[1, 2], true, now);
            scenery.sim.tell(scenery.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
            let call = scenery.sim.tell(scenery.ann, |ann: &mut Phone, now| ann.call("bob", now));
            scenery.sim.run_for(ms(3_000));
            assert_eq!(scenery.ann().calls()[call].state, CallState::Up);
            scenery.connection_closes();
            let now = scenery.sim.now();
            let edge = scenery.sim.node::<Edge>(scenery.edge);
            edge.pods[0].alive = closes;
            if known && !closes {
                edge.brief(&[2], false, now);
            }
            if !listens {
                edge.unreachable.insert(ip(ANN));
            }
            scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(1, now));
            scenery.sim.run_for(ms(5_000));
            if !listens {
                assert!(!scenery.ann().calls()[call].is_over());
                scenery.sim.node::<Edge>(scenery.edge).unreachable.clear();
                scenery.case.new_at_own = true;
                scenery.ann_is_back();
                scenery.sim.run_for(ms(2_000));
            } else if !known {
                let now = scenery.sim.now();
                scenery.sim.node::<Edge>(scenery.edge).brief(&[2], false, now);
                scenery.sim.run_for(ms(1_000));
            }
            assert!(
                scenery.ann().calls()[call].is_over(),
                "listens: {listens}, closes: {closes}, known: {known}"
            );
        }
    }
}

/// A new call is for a connection of a pod that is not reached for a moment, or is gone, which is known later.
#[test]
fn a_call_is_not_lost_with_a_moment_in_which_its_pod_was_not_reached() {
    for gone in [false, true] {
        let mut scenery = calls(Case::default(), ANSWERS);
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
        scenery.sim.run_for(ms(500));
        let edge = scenery.sim.node::<Edge>(scenery.edge);
        edge.mesh_is_down = true;
        edge.pods[0].alive = !gone;
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.call("ann", now));
        scenery.sim.run_for(ms(3_000));
        let now = scenery.sim.now();
        let edge = scenery.sim.node::<Edge>(scenery.edge);
        edge.mesh_is_down = false;
        if gone {
            edge.brief(&[2], false, now);
        }
        scenery.sim.run_for(ms(4_000));
        assert_eq!(scenery.ann().calls().len(), if gone { 1 } else { 2 });
        let expected = if gone { CallState::Ended { status: Some(480) } } else { CallState::Up };
        assert_eq!(scenery.bob().calls()[1].state, expected);
    }
}

/// For a moment the pod that has the call cannot reach the one that has the connection, which is as good as ever.
#[test]
fn a_connection_whose_pod_was_not_reached_for_a_moment_is_tried_again() {
    type Says = fn(&mut Phone, std::time::Instant);
    let says: [(Incoming, Says, Method); 3] = [
        (ANSWERS, |bob, now| bob.hang_up(0, now), Method::Bye),
        (ANSWERS, |bob, now| bob.reinvite(0, HOLDS, now), Method::Invite),
        (Incoming::Ring, |bob, now| bob.cancel(0, now), Method::Cancel),
    ];
    for (incoming, says, method) in says {
        let mut scenery = calls(Case::default(), incoming);
        let before = scenery.ann_heard(method.clone());
        scenery.sim.node::<Edge>(scenery.edge).mesh_is_down = true;
        scenery.sim.tell(scenery.bob, says);
        scenery.sim.run_for(ms(3_000));
        scenery.sim.node::<Edge>(scenery.edge).mesh_is_down = false;
        scenery.sim.run_for(ms(4_000));
        assert_eq!(scenery.ann_heard(method.clone()), before + 1, "{method:?}");
        let up = usize::from(method == Method::Invite);
        assert_eq!((scenery.ann().live_calls(), scenery.bob().live_calls()), (up, up), "{method:?}");
    }
}

/// That an INVITE left is not known when no word of that comes back; where it did, its phone rings, and is not left ringing.
#[test]
fn a_call_that_may_have_arrived_while_its_pod_was_not_reached_is_cancelled() {
    for over_tcp in [true, false] {
        let Scene { mut sim, edge, ann, bob } = two_pods();
        if over_tcp {
            sim.node::<Edge>(edge).connected.insert(ip(ANN));
        }
        for pod in &mut sim.node::<Edge>(edge).pods {
            pod.listens_on_both(false);
        }
        sim.tell(ann, |ann: &mut Phone, now| ann.register(3600, now));
        sim.tell(bob, |bob: &mut Phone, now| bob.register(3600, now));
        sim.run_for(ms(200));
        sim.node::<Phone>(ann).set_incoming(Incoming::Ring);
        sim.node::<Edge>(edge).mesh_is_deaf = true;
        sim.tell(bob, |bob: &mut Phone, now| bob.call("ann", now));
        while sim.node::<Phone>(ann).calls().is_empty() {
            sim.run_for(ms(1));
        }
        sim.node::<Edge>(edge).mesh_is_down = true;
        sim.run_for(ms(2_300));
        sim.tell(bob, |bob: &mut Phone, now| bob.cancel(0, now));
        sim.run_for(ms(700));
        let now = sim.node::<Edge>(edge);
        (now.mesh_is_down, now.mesh_is_deaf) = (false, false);
        sim.run_for(ms(5_000));
        assert!(sim.node::<Phone>(bob).heard().contains(&Heard::Response(Method::Invite, 487)));
        assert_eq!(sim.node::<Phone>(ann).live_calls(), 0, "tcp: {over_tcp}");
        quiet(&mut sim, edge);
    }
}

#[test]
fn a_phone_that_does_not_come_back_keeps_nothing_open() {
    for own in [true, false] {
        let mut scenery = calls(Case { own, ..Case::default() }, ANSWERS);
        scenery.connection_closes();
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.reinvite(0, HOLDS, now));
        scenery.sim.run_for(ms(25_000));
        assert!(
            scenery.bob().heard().iter().any(|h| matches!(h, Heard::Response(Method::Invite, 500))),
            "{own}"
        );
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
        scenery.sim.run_for(ms(40_000));
        quiet(&mut scenery.sim, scenery.edge);
    }
}
