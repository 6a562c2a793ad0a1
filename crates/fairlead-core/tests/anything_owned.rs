//! Anything at any time while a pod passes calls on, pods lose each other, and one that has calls is killed: no caller waits for ever.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashSet;

use common::*;
use fairlead_core::input::Input;
use fairlead_testkit::{CallState, Incoming, NodeRef, Packet, Phone, Plan, Random, Sim};
use sip_wire::{Message, Method};

const C: &str = "192.0.2.3:5060";

/// Ann's phone speaks to pod A, which drains; her calls go to pods B and C. Bob's phone speaks to one of these.
struct World {
    sim: Sim,
    edge: NodeRef,
    ann: NodeRef,
    bob: NodeRef,
    random: Random,
    bob_is_at_b: bool,
}

/// Whether somebody who speaks over a connection says this once only (RFC 3261 §17).
fn is_said_once(packet: &Packet) -> bool {
    let Ok(message) = Message::parse(packet.bytes.clone()) else { return false };
    message.is_request() && *message.method() != Method::Ack
}

fn world(seed: u64) -> World {
    let (over_tcp, bob_is_at_b, behind_service) = (seed & 1 == 0, seed & 2 == 0, seed & 4 == 0);
    let mut sim = Sim::new(seed, Plan { jitter: ms(10), ..Plan::PERFECT });
    let addresses = [ip(EDGE), ip(POD_B), ip(C)];
    let edge = sim.add(&addresses, Edge::new(&addresses));
    let ann = sim.add(&[ip(ANN)], phone("ann", ANN));
    let bobs = ip(if bob_is_at_b { POD_B } else { C });
    let bob = sim.add(&[ip(BOB)], Phone::new("bob", "secret", ip(BOB), bobs, DOMAIN));
    if over_tcp {
        sim.node::<Edge>(edge).connected.insert(ip(ANN));
        let mut said = HashSet::new();
        sim.net.lose_when(move |packet| {
            packet.from == ip(ANN) && is_said_once(packet) && !said.insert(packet.bytes.clone())
        });
    }
    for pod in &mut sim.node::<Edge>(edge).pods {
        pod.listens_on_both(behind_service);
    }
    for who in [ann, bob] {
        sim.tell(who, |phone: &mut Phone, now| phone.register(3600, now));
    }
    sim.run_for(ms(300));
    let mut world = World { sim, edge, ann, bob, random: Random::new(seed + 99), bob_is_at_b };
    world.brief(&[1, 2, 3]);
    world.sim.tell(edge, |edge: &mut Edge, now| edge.input(0, Input::Drain, now));
    world
}

impl World {
    fn brief(&mut self, pods: &[u64]) {
        let now = self.sim.now();
        self.sim.node::<Edge>(self.edge).brief(pods, true, now);
    }

    fn runs_for(&mut self, at_most: u64) {
        let time = self.random.below(at_most);
        self.sim.run_for(ms(time));
    }

    fn b_is_killed(&mut self) {
        self.sim.node::<Edge>(self.edge).pods[1].alive = false;
        if self.bob_is_at_b {
            self.sim.tell(self.bob, |bob: &mut Phone, now| {
                bob.set_edge(ip(C));
                bob.register(3600, now);
            });
        }
    }

    fn step(&mut self) {
        match self.random.below(8) {
            what @ 0..=1 => {
                for fails in [true, false] {
                    let edge = self.sim.node::<Edge>(self.edge);
                    if what == 0 {
                        edge.mesh_is_down = fails
                    } else {
                        edge.mesh_is_deaf = fails
                    }
                    self.runs_for(if fails { 1_500 } else { 1 });
                }
            }
            2..=3 => {
                self.sim.tell(self.ann, |ann: &mut Phone, now| ann.call("bob", now));
            }
            _ => {
                let who = if self.random.below(2) == 0 { self.ann } else { self.bob };
                let random = &mut self.random;
                self.sim.tell(who, |phone: &mut Phone, now| act(phone, random, now));
            }
        }
    }
}

fn act(phone: &mut Phone, random: &mut Random, now: std::time::Instant) {
    phone.set_incoming(if random.below(3) == 0 { Incoming::Answer(ms(500)) } else { Incoming::Ring });
    let live: Vec<usize> = (0..phone.calls().len()).filter(|call| !phone.calls()[*call].is_over()).collect();
    let Some(call) = live.get(random.below(live.len().max(1) as u64) as usize).copied() else { return };
    let (state, outgoing) = (phone.calls()[call].state, phone.calls()[call].outgoing);
    match (state, random.below(6)) {
        (CallState::Up, 0..=1) if outgoing => phone.hang_up(call, now),
        (CallState::Calling | CallState::Ringing, 0) if outgoing => phone.cancel(call, now),
        (CallState::Ringing, 3) if !outgoing => phone.refuse(call, 603, now),
        (CallState::Ringing, 4..=5) if !outgoing => phone.pick_up(call, now),
        _ => {}
    }
}

#[test]
fn every_caller_is_answered_though_the_pod_that_has_his_call_is_killed() {
    for seed in 0..96 {
        let mut world = world(seed);
        let (killed, known) = (5 + world.random.below(20), world.random.below(10));
        for step in 0..40 {
            world.runs_for(1_200);
            if step == killed {
                world.b_is_killed();
            }
            if step == killed + known {
                world.brief(&[1, 3]);
            }
            world.step();
        }
        world.sim.run_for(ms(75_000));
        let calls = world.sim.node::<Phone>(world.ann).calls();
        let waits = calls.iter().filter(|call| matches!(call.state, CallState::Calling | CallState::Ringing));
        assert_eq!(waits.count(), 0, "seed {seed}");
        for pod in [0, 2] {
            let statistics = world.sim.node::<Edge>(world.edge).pods[pod].core.statistics();
            let open = (statistics.ending, statistics.asks, statistics.orders);
            assert_eq!(open, (0, 0, 0), "seed {seed}: {statistics:?}");
        }
    }
}
