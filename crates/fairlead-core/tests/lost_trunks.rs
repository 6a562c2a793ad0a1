//! The pod that a trunk was last heard by ends, or its connection does. A trunk has no binding that says where another flow is; it is
//! reached by its address, as new calls to it are.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_model::ask::{LegPolicy, Target};
use fairlead_model::flow::Transport;
use fairlead_model::id::PodRef;
use fairlead_model::peer::EffectiveNat;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::Method;

const TRUNK: &str = "198.51.100.9:5060";

const HELD: &str = "v=0\r\no=- 1 2 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\na=sendonly\r\n";

/// How the trunk is reached and what the pod with its calls knows.
#[derive(Clone, Copy, Debug)]
struct Case {
    over_tcp: bool,
    /// Pod B has heard that pod A is gone.
    known: bool,
    force_rport: bool,
    behind_service: bool,
}

/// The trunk's calls come to pod A, which drains and passes them on to pod B; bob's phone speaks to pod B.
struct Scenery {
    sim: Sim,
    edge: NodeRef,
    trunk: NodeRef,
    bob: NodeRef,
    case: Case,
}

fn each(play: impl Fn(Scenery)) {
    for number in 0..16 {
        let bit = |at: u32| number >> at & 1 == 1;
        let case = Case { over_tcp: bit(0), known: bit(1), force_rport: bit(2), behind_service: bit(3) };
        play(scenery(case));
    }
}

fn scenery(case: Case) -> Scenery {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let edge = sim.add(&[ip(EDGE), ip(POD_B)], Edge::new(&[ip(EDGE), ip(POD_B)]));
    let trunk = sim.add(&[ip(TRUNK)], phone("trunk", TRUNK));
    let bob = sim.add(&[ip(BOB)], Phone::new("bob", "secret", ip(BOB), ip(POD_B), DOMAIN));
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    let of_the_edge = sim.node::<Edge>(edge);
    if case.over_tcp {
        of_the_edge.connected.insert(ip(TRUNK));
    }
    let nat = EffectiveNat { force_rport: case.force_rport, comedia: false };
    of_the_edge.registrar.policy = Some(LegPolicy { nat, ..policy("trunk") });
    let line = Target { policy: LegPolicy { nat, ..policy("trunk") }, ..target("trunk", ip(TRUNK)) };
    of_the_edge.registrar.targets.insert("123".to_owned(), vec![line]);
    for pod in &mut of_the_edge.pods {
        pod.listens_on_both(case.behind_service);
    }
    let mut scenery = Scenery { sim, edge, trunk, bob, case };
    scenery.brief(&[1, 2], true);
    scenery.sim.tell(scenery.edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
    scenery
}

impl Scenery {
    fn brief(&mut self, pods: &[u64], drains: bool) {
        let now = self.sim.now();
        self.sim.node::<Edge>(self.edge).brief(pods, drains, now);
    }

    /// Pod A ends. What the trunk says from now on reaches pod B; it says nothing by itself.
    fn a_ends(&mut self) {
        self.sim.node::<Edge>(self.edge).pods[0].alive = false;
        if self.case.known {
            self.brief(&[2], false);
        }
        self.trunk().set_edge(ip(POD_B));
    }

    fn trunk(&mut self) -> &mut Phone {
        self.sim.node(self.trunk)
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn trunk_calls(&mut self) -> usize {
        self.sim.tell(self.trunk, |trunk: &mut Phone, now| trunk.call("bob", now))
    }

    fn is_up(&mut self) -> bool {
        self.bob().calls().first().is_some_and(|call| call.state == CallState::Up)
            && self.trunk().calls()[0].state == CallState::Up
    }

    fn bob_hangs_up(&mut self) {
        self.sim.tell(self.bob, |bob: &mut Phone, now| bob.hang_up(0, now));
    }

    fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
    }
}

#[test]
fn a_trunk_whose_pod_ended_in_the_call_hears_the_callee_hang_up() {
    each(|mut scenery| {
        scenery.trunk_calls();
        scenery.sim.run_for(ms(3_000));
        assert!(scenery.is_up());
        scenery.a_ends();
        scenery.bob_hangs_up();
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.trunk().calls()[0].is_over(), "{:?}", scenery.case);
        scenery.quiet();
    });
}

#[test]
fn a_trunk_whose_pod_ended_while_it_rang_hears_the_answer() {
    each(|mut scenery| {
        scenery.bob().set_incoming(Incoming::Ring);
        scenery.trunk_calls();
        scenery.sim.run_for(ms(1_000));
        assert_eq!(scenery.trunk().calls()[0].state, CallState::Ringing);
        scenery.a_ends();
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.is_up(), "{:?}", scenery.case);
        scenery.bob_hangs_up();
        scenery.quiet();
        assert!(scenery.trunk().calls()[0].is_over());
    });
}

#[test]
fn a_refusal_reaches_it_as_well() {
    each(|mut scenery| {
        scenery.bob().set_incoming(Incoming::Ring);
        scenery.trunk_calls();
        scenery.sim.run_for(ms(1_000));
        scenery.a_ends();
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.refuse(0, 486, now));
        scenery.sim.run_for(ms(1_000));
        assert!(
            scenery.trunk().heard().contains(&Heard::Response(Method::Invite, 486)),
            "{:?}",
            scenery.case
        );
        scenery.quiet();
    });
}

#[test]
fn requests_within_the_call_reach_it_and_their_ack_does() {
    each(|mut scenery| {
        scenery.trunk_calls();
        scenery.sim.run_for(ms(3_000));
        scenery.a_ends();
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.reinvite(0, HELD, now));
        scenery.sim.run_for(ms(1_000));
        let heard = scenery.trunk().heard().to_vec();
        assert!(heard.contains(&Heard::Request(Method::Invite)), "{:?}: {heard:?}", scenery.case);
        assert!(heard.contains(&Heard::Request(Method::Ack)), "{:?}: {heard:?}", scenery.case);
        assert!(scenery.bob().heard().contains(&Heard::Response(Method::Invite, 200)));
        scenery.bob_hangs_up();
        scenery.quiet();
        assert!(scenery.trunk().calls()[0].is_over());
    });
}

#[test]
fn a_trunk_that_was_called_is_reached_by_its_address_too() {
    each(|mut scenery| {
        let call = scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.call("123", now));
        scenery.sim.run_for(ms(3_000));
        assert_eq!(scenery.trunk().live_calls(), 1);
        // What it was heard by last is pod A.
        let held = HELD.replace("198.51.100.2", "198.51.100.9");
        scenery.sim.tell(scenery.trunk, move |trunk: &mut Phone, now| trunk.reinvite(0, held, now));
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.bob().heard().contains(&Heard::Request(Method::Invite)));
        scenery.a_ends();
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.hang_up(call, now));
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.trunk().calls()[0].is_over(), "{:?}", scenery.case);
        scenery.quiet();
    });
}

/// It has only this call on its connection, and closes that for want of traffic while it rings or after the answer.
#[test]
fn a_trunk_that_closed_its_connection_is_connected_to() {
    for told in [true, false] {
        let case = Case { over_tcp: true, known: true, force_rport: false, behind_service: true };
        let mut scenery = scenery(case);
        scenery.a_ends();
        scenery.bob().set_incoming(Incoming::Ring);
        scenery.trunk_calls();
        scenery.sim.run_for(ms(1_000));
        let closed = fairlead_model::flow::Flow {
            pod: PodRef(2),
            transport: Transport::Tcp,
            local: ip(POD_B),
            remote: ip(TRUNK),
            connection: Some(scenery.sim.node::<Edge>(scenery.edge).connection(ip(TRUNK))),
        };
        let close = |scenery: &mut Scenery| {
            scenery.sim.node::<Edge>(scenery.edge).hung_up.insert(ip(TRUNK));
            if told {
                let now = scenery.sim.now();
                scenery.sim.node::<Edge>(scenery.edge).input(1, Input::Closed { flow: closed }, now);
            }
        };
        close(&mut scenery);
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.is_up(), "told: {told}");
        close(&mut scenery);
        scenery.bob_hangs_up();
        scenery.sim.run_for(ms(1_000));
        assert!(scenery.trunk().calls()[0].is_over(), "told: {told}");
        scenery.quiet();
    }
}
