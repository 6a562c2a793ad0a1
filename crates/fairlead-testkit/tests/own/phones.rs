//! Two scripted phones call each other, without anything of ours between: the bench itself is sound.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_testkit::{CallState, Heard, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::Method;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

fn sec(time: u64) -> Duration {
    Duration::from_secs(time)
}

struct Pair {
    sim: Sim,
    ann: NodeRef,
    bob: NodeRef,
}

fn pair(seed: u64, plan: Plan, incoming: Incoming) -> Pair {
    let mut sim = Sim::new(seed, plan);
    let ann = sim.add(&[address(1)], Phone::new("ann", "a", address(1), address(2), "example.com"));
    let bob = Phone::new("bob", "b", address(2), address(1), "example.com").incoming(incoming);
    let bob = sim.add(&[address(2)], bob);
    Pair { sim, ann, bob }
}

impl Pair {
    fn states(&mut self) -> (Vec<CallState>, Vec<CallState>) {
        let states = |phone: &Phone| phone.calls().iter().map(|call| call.state).collect();
        (states(self.sim.node(self.ann)), states(self.sim.node(self.bob)))
    }

    fn ann(&mut self, what: impl FnOnce(&mut Phone, std::time::Instant)) {
        self.sim.tell(self.ann, what);
    }
}

const BYE: CallState = CallState::Ended { status: None };

#[test]
fn a_call_is_answered_and_hung_up() {
    let mut pair = pair(1, Plan::PERFECT, Incoming::Answer(sec(1)));
    pair.ann(|ann, now| {
        ann.call("bob", now);
    });
    pair.sim.run_for(Duration::from_millis(500));
    assert_eq!(pair.states(), (vec![CallState::Ringing], vec![CallState::Ringing]));
    pair.sim.run_for(sec(1));
    assert_eq!(pair.states(), (vec![CallState::Up], vec![CallState::Up]));
    assert!(!pair.sim.node::<Phone>(pair.ann).calls()[0].their_sdp.is_empty());
    pair.ann(|ann, now| ann.hang_up(0, now));
    assert!(pair.sim.run_until_quiet(sec(60)));
    assert_eq!(pair.states(), (vec![BYE], vec![BYE]));
}

#[test]
fn a_call_is_refused() {
    let mut pair = pair(1, Plan::PERFECT, Incoming::Refuse(486));
    pair.ann(|ann, now| {
        ann.call("bob", now);
    });
    assert!(pair.sim.run_until_quiet(sec(60)));
    let busy = CallState::Ended { status: Some(486) };
    assert_eq!(pair.states(), (vec![busy], vec![busy]));
}

#[test]
fn a_call_is_cancelled_before_and_after_it_rings() {
    for after in [0, 700] {
        let mut pair = pair(1, Plan::PERFECT, Incoming::Ring);
        pair.ann(|ann, now| {
            ann.call("bob", now);
        });
        pair.sim.run_for(Duration::from_millis(after));
        pair.ann(|ann, now| ann.cancel(0, now));
        assert!(pair.sim.run_until_quiet(sec(60)));
        let cancelled = CallState::Ended { status: Some(487) };
        assert_eq!(pair.states(), (vec![cancelled], vec![cancelled]));
    }
}

#[test]
fn a_silent_phone_is_no_answer() {
    let mut pair = pair(1, Plan::PERFECT, Incoming::Silent);
    pair.ann(|ann, now| {
        ann.call("bob", now);
    });
    assert!(pair.sim.run_until_quiet(sec(60)));
    assert_eq!(pair.states().0, [CallState::Ended { status: Some(408) }]);
    assert_eq!(pair.sim.elapsed(), sec(32));
    assert_eq!(pair.sim.node::<Phone>(pair.ann).heard(), [Heard::NoAnswer(Method::Invite)]);
}

#[test]
fn bad_networks_change_nothing_but_the_time() {
    for seed in 0..50 {
        let mut pair = pair(seed, Plan::BAD, Incoming::Answer(sec(2)));
        pair.ann(|ann, now| {
            ann.call("bob", now);
        });
        pair.sim.run_for(sec(25));
        assert_eq!(pair.states(), (vec![CallState::Up], vec![CallState::Up]), "seed {seed}");
        pair.ann(|ann, now| ann.reinvite(0, "v=0\r\n", now));
        pair.sim.run_for(sec(25));
        let bob: &mut Phone = pair.sim.node(pair.bob);
        assert_eq!(bob.calls()[0].their_sdp, "v=0\r\n", "seed {seed}");
        pair.ann(|ann, now| ann.hang_up(0, now));
        assert!(pair.sim.run_until_quiet(sec(300)), "seed {seed}");
        assert_eq!(pair.states(), (vec![BYE], vec![BYE]), "seed {seed}");
    }
}
