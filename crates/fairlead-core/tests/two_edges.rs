//! Two Fairleads that send a call to each other: it ends, and nothing is held afterwards.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::*;
use fairlead_testkit::{Heard, Phone, Plan, Sim};
use sip_wire::Method;

const OTHER: &str = "203.0.113.1:5060";

#[test]
fn calls_in_a_circle_end_in_483_and_hold_nothing() {
    let mut sim = Sim::new(1, Plan::PERFECT);
    let one = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
    let two = sim.add(&[ip(OTHER)], Edge::new(&[ip(OTHER)]));
    for (node, other) in [(one, OTHER), (two, EDGE)] {
        let edge = sim.node::<Edge>(node);
        edge.trust(&["192.0.2.0/24", "203.0.113.0/24"]);
        edge.registrar.targets.insert("circle".to_owned(), vec![target("circle", ip(other))]);
    }
    let ann = sim.add(&[ip(ANN)], phone("ann", ANN));
    sim.tell(ann, |ann: &mut Phone, now| ann.call("circle", now));
    sim.run_for(Duration::from_secs(5));
    let heard = sim.node::<Phone>(ann).heard().to_vec();
    assert!(heard.contains(&Heard::Response(Method::Invite, 483)), "{heard:?}");
    assert!(sim.run_until_quiet(Duration::from_secs(300)));
    for node in [one, two] {
        let edge = sim.node::<Edge>(node);
        edge.assert_nothing_left();
        assert!(edge.records.len() >= 34, "the call went round: {}", edge.records.len());
    }
}
