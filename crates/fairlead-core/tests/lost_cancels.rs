//! The pod of the callee's flow ends while his phone rings, and the caller hangs up.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_model::ask::{LegPolicy, Target};
use fairlead_model::flow::Hop;
use fairlead_model::id::PodRef;
use fairlead_model::peer::EffectiveNat;
use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Sim};
use sip_wire::Method;

#[derive(Clone, Copy, Debug, Default)]
struct Case {
    over_tcp: bool,
    /// Pod A has heard that pod B is gone.
    known: bool,
    behind_service: bool,
    /// Bob's phone is heard at pod A before ann hangs up, not after.
    first: bool,
}

/// Ann's phone speaks to pod A, which has the call; bob's speaks to pod B, and rings.
struct Scenery {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
    case: Case,
}

fn each(play: impl Fn(Scenery)) {
    for number in 0..16 {
        let bit = |at: u32| number >> at & 1 == 1;
        play(rings(Case { over_tcp: bit(0), known: bit(1), behind_service: bit(2), first: bit(3) }, true));
    }
}

fn rings(case: Case, force_rport: bool) -> Scenery {
    let mut scenery = registered(case, force_rport);
    scenery.ann_calls();
    scenery.sim.run_for(ms(1_000));
    assert_eq!(scenery.state_of_ann(), CallState::Ringing);
    scenery
}

fn registered(case: Case, force_rport: bool) -> Scenery {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    if case.over_tcp {
        sim.node::<Edge>(edge).connected.insert(ip(BOB));
    }
    sim.tell(ann, |phone: &mut Phone, now| phone.register(3600, now));
    sim.tell(bob, |phone: &mut Phone, now| phone.register(3600, now));
    sim.run_for(ms(200));
    let of_the_edge = sim.node::<Edge>(edge);
    for pod in &mut of_the_edge.pods {
        pod.listens_on_both(case.behind_service);
    }
    if !force_rport {
        let (uri, flow) = of_the_edge.registrar.bindings["bob"].clone();
        let nat = EffectiveNat { force_rport, comedia: false };
        let target = Target {
            policy: LegPolicy { nat, ..policy("bob") },
            hop: Hop::Flow(flow),
            binding: Some(fairlead_model::binding::BindingKey(uri)),
            ..target("bob", flow.remote)
        };
        of_the_edge.registrar.targets.insert("bob".to_owned(), vec![target]);
    }
    sim.node::<Phone>(bob).set_incoming(Incoming::Ring);
    Scenery { sim, edge, ann, bob, case }
}

impl Scenery {
    fn ann_calls(&mut self) {
        self.sim.tell(self.ann, |ann: &mut Phone, now| ann.call("bob", now));
    }

    fn state_of_ann(&mut self) -> CallState {
        self.sim.node::<Phone>(self.ann).calls()[0].state
    }

    /// The 180 that he sent.
    fn ringing_of_bob(&self) -> bytes::Bytes {
        let trace = self.sim.net.trace().iter();
        let mut ringing =
            trace.filter(|(_, packet, _)| packet.from == ip(BOB) && packet.first_line().contains(" 180 "));
        ringing.next().unwrap().1.bytes.clone()
    }

    fn b_ends(&mut self) {
        let now = self.sim.now();
        let edge = self.sim.node::<Edge>(self.edge);
        edge.pods[1].alive = false;
        if self.case.known {
            edge.input(0, Input::Briefed(briefing(&[PodRef(1)], &[])), now);
        }
    }

    fn ann_hangs_up(&mut self) {
        self.sim.tell(self.ann, |ann: &mut Phone, now| ann.cancel(0, now));
        self.sim.run_for(ms(200));
        assert!(self.sim.node::<Phone>(self.ann).heard().contains(&Heard::Response(Method::Invite, 487)));
    }

    /// Bob's next packet reaches pod A: a keep-alive, or the REGISTER of a new connection.
    fn bob_is_heard_at_a(&mut self) {
        let over_tcp = self.case.over_tcp;
        self.sim.node::<Edge>(self.edge).heir = Some(0);
        self.sim.tell(self.bob, |bob: &mut Phone, now| {
            bob.set_edge(ip(EDGE));
            match over_tcp {
                true => bob.register(3600, now),
                false => bob.send_raw("\r\n\r\n"),
            }
        });
    }

    fn bob(&mut self) -> &mut Phone {
        self.sim.node(self.bob)
    }

    fn count_to_bob(&self) -> usize {
        count(&self.sim, EDGE, BOB)
    }

    fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
    }
}

#[test]
fn a_cancel_waits_for_the_phone_and_stops_its_ringing() {
    each(|mut scenery| {
        scenery.b_ends();
        if scenery.case.first {
            scenery.bob_is_heard_at_a();
            scenery.sim.run_for(ms(500));
            scenery.ann_hangs_up();
        } else {
            scenery.ann_hangs_up();
            scenery.sim.run_for(ms(11_000));
            assert_eq!(scenery.count_to_bob(), 0, "his filter would let nothing through");
            assert_eq!(scenery.bob().live_calls(), 1);
            scenery.bob_is_heard_at_a();
            scenery.sim.run_for(ms(2_000));
        }
        scenery.sim.run_for(ms(600));
        let case = scenery.case;
        assert!(scenery.bob().heard().contains(&Heard::Request(Method::Cancel)), "{case:?}");
        assert_eq!(scenery.bob().live_calls(), 0, "{case:?}");
        assert!(scenery.bob().heard().contains(&Heard::Request(Method::Ack)), "his 487 is acknowledged");
        scenery.quiet();
    });
}

#[test]
fn where_the_phone_would_hear_another_pod_that_one_cancels_at_once() {
    for known in [true, false] {
        let mut scenery = rings(Case { known, ..Case::default() }, false);
        scenery.b_ends();
        scenery.ann_hangs_up();
        scenery.bob().set_edge(ip(EDGE));
        scenery.sim.run_for(ms(100));
        assert_eq!(scenery.bob().live_calls(), 0, "known: {known}");
        scenery.quiet();
    }
}

#[test]
fn a_phone_that_is_never_heard_again_keeps_nothing_open() {
    each(|mut scenery| {
        if scenery.case.first {
            return;
        }
        scenery.b_ends();
        scenery.ann_hangs_up();
        scenery.sim.run_for(ms(40_000));
        assert_eq!(scenery.sim.node::<Edge>(scenery.edge).pods[0].core.calls(), 0, "{:?}", scenery.case);
        scenery.quiet();
    });
}

/// His 200 crosses the CANCEL that waits: he is not left in a call with nobody.
#[test]
fn whoever_picks_up_while_the_cancel_waits_is_hung_up_on() {
    each(|mut scenery| {
        // Whoever lost his connection registers before he answers.
        if scenery.case.first || scenery.case.over_tcp {
            return;
        }
        scenery.b_ends();
        scenery.ann_hangs_up();
        scenery.sim.run_for(ms(3_000));
        scenery.sim.node::<Edge>(scenery.edge).heir = Some(0);
        scenery.sim.tell(scenery.bob, |bob: &mut Phone, now| bob.pick_up(0, now));
        scenery.sim.run_for(ms(2_000));
        let case = scenery.case;
        assert!(scenery.bob().heard().contains(&Heard::Request(Method::Bye)), "{case:?}");
        assert!(!scenery.bob().heard().contains(&Heard::Request(Method::Cancel)), "{case:?}");
        scenery.quiet();
    });
}

/// The INVITE leaves by pod B, which ends with that, so that nobody says it left. It rings all the same.
#[test]
fn an_invite_whose_response_came_is_not_held_any_more() {
    for result in [ms(2), ms(500)] {
        let case = Case { behind_service: true, ..Case::default() };
        let mut scenery = registered(case, true);
        let edge = scenery.sim.node::<Edge>(scenery.edge);
        edge.heir = Some(0);
        edge.ends_with_sending = Some(result);
        edge.registrar.moves_nothing = true;
        scenery.ann_calls();
        scenery.sim.run_for(ms(20_000));
        assert_eq!(scenery.state_of_ann(), CallState::Ringing, "result after {result:?}");
        scenery.ann_hangs_up();
        scenery.sim.run_for(ms(600));
        assert_eq!(scenery.bob().live_calls(), 0, "result after {result:?}");
        assert_eq!(scenery.bob().calls().len(), 1);
        scenery.quiet();
    }
}

/// Its phone says by another pod that it rings, while the CANCEL waits, or before.
#[test]
fn a_provisional_response_shows_the_cancel_its_way() {
    for known in [true, false] {
        for first in [true, false] {
            let mut scenery = rings(Case { known, first, behind_service: true, ..Case::default() }, true);
            scenery.sim.node::<Edge>(scenery.edge).registrar.moves_nothing = true;
            scenery.b_ends();
            if !first {
                scenery.ann_hangs_up();
            }
            scenery.sim.node::<Edge>(scenery.edge).heir = Some(0);
            let ringing = scenery.ringing_of_bob();
            scenery.sim.tell(scenery.bob, |bob: &mut Phone, _| {
                bob.set_edge(ip(EDGE));
                bob.send_raw(ringing);
            });
            scenery.sim.run_for(ms(100));
            // At once, before the CANCEL would be repeated.
            if first {
                scenery.ann_hangs_up();
            }
            assert_eq!(scenery.bob().live_calls(), 0, "known: {known}, first: {first}");
            scenery.quiet();
        }
    }
}
