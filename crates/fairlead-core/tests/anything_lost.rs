//! Anything at any time, while connections close and no pod reaches another one for a moment: in the end both sides agree on which
//! calls are up, and nothing is left.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use common::*;
use fairlead_testkit::{CallState, Incoming, NodeRef, Packet, Phone, Plan, Random, Sim};
use sip_wire::{Message, Method};

struct World {
    sim: Sim,
    edge: NodeRef,
    phones: [(NodeRef, &'static str, &'static str); 2],
    random: Random,
    over_tcp: [bool; 2],
    /// So that all calls are pod B's.
    only_bob_calls: bool,
}

/// Whether somebody who speaks over a connection says this once only (RFC 3261 §17; §13.3.1.4 for what is repeated anyway).
fn is_said_once(packet: &Packet) -> bool {
    let Ok(message) = Message::parse(packet.bytes.clone()) else { return false };
    match message.status() {
        Some(status) => !(*message.method() == Method::Invite && (200..300).contains(&status)),
        None => *message.method() != Method::Ack,
    }
}

fn world(seed: u64, only_bob_calls: bool) -> World {
    let Scene { mut sim, edge, ann, bob } = two_pods();
    let over_tcp = [seed & 1 == 0, seed & 2 == 0];
    let addresses = [ip(ANN), ip(BOB)];
    for (address, over_tcp) in addresses.iter().zip(over_tcp) {
        if over_tcp {
            sim.node::<Edge>(edge).connected.insert(*address);
        }
    }
    for pod in &mut sim.node::<Edge>(edge).pods {
        pod.listens_on_both(seed & 4 == 0);
    }
    let said_by =
        move |address: SocketAddr| addresses.iter().zip(over_tcp).any(|(a, tcp)| tcp && *a == address);
    let mut said = HashSet::new();
    sim.net.set_plan(Plan { jitter: ms(10), ..Plan::PERFECT });
    sim.net.lose_when(move |packet| {
        said_by(packet.from) && is_said_once(packet) && !said.insert((packet.from, packet.bytes.clone()))
    });
    let phones = [(ann, "ann", ANN), (bob, "bob", BOB)];
    let mut world = World { sim, edge, phones, random: Random::new(seed + 7), over_tcp, only_bob_calls };
    world.register_both();
    world.sim.run_for(ms(500));
    world
}

impl World {
    fn register_both(&mut self) {
        for (phone, ..) in self.phones {
            self.sim.tell(phone, |phone: &mut Phone, now| phone.register(3600, now));
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    /// A phone does something, or something happens to its connection or to the mesh.
    fn step(&mut self) {
        let at = self.below(2) as usize;
        let (phone, _, address) = self.phones[at];
        match self.below(10) {
            0 if self.over_tcp[at] => {
                self.sim.node::<Edge>(self.edge).close(ip(address));
                let (wait, pod) = (self.below(4_000), self.below(2));
                self.sim.run_for(ms(wait));
                let stays = self.only_bob_calls && at == 1;
                let edge = ip(if pod == 0 && !stays { EDGE } else { POD_B });
                self.sim.tell(phone, |phone: &mut Phone, now| {
                    phone.set_edge(edge);
                    phone.register(3600, now);
                });
            }
            what @ 1..=2 => {
                let mesh = |world: &mut World, fails: bool| {
                    let edge = world.sim.node::<Edge>(world.edge);
                    if what == 1 { edge.mesh_is_down = fails } else { edge.mesh_is_deaf = fails }
                };
                mesh(self, true);
                for _ in 0..3 {
                    self.acts();
                    let wait = self.below(1_000);
                    self.sim.run_for(ms(wait));
                }
                mesh(self, false);
            }
            _ => self.acts(),
        }
    }

    /// Pod A, which ann's phone speaks to, is killed; pod B hears of it when its lease has run out, her phone at once or later.
    fn pod_is_killed(&mut self) {
        self.sim.node::<Edge>(self.edge).pods[0].alive = false;
        let (ann, ..) = self.phones[0];
        let begin = self.sim.elapsed();
        let mut known = Some(ms(self.below(6_000)));
        let mut back = Some(ms(self.below(12_000)));
        while known.is_some() || back.is_some() {
            let wait = self.below(1_000);
            self.sim.run_for(ms(wait));
            let passed = self.sim.elapsed() - begin;
            if known.take_if(|at| passed >= *at).is_some() {
                let now = self.sim.now();
                self.sim.node::<Edge>(self.edge).brief(&[2], false, now);
            }
            if back.take_if(|at| passed >= *at).is_some() {
                self.sim.tell(ann, |ann: &mut Phone, now| {
                    ann.set_edge(ip(POD_B));
                    ann.register(3600, now);
                });
            }
            self.acts();
        }
    }

    fn acts(&mut self) {
        let at = self.below(2) as usize;
        let (phone, other) = (self.phones[at].0, self.phones[1 - at].1);
        let calls = at == 1 || !self.only_bob_calls;
        let random = &mut self.random;
        self.sim.tell(phone, |phone: &mut Phone, now| act(phone, calls.then_some(other), random, now));
    }

    /// States of the calls of each phone that are not over.
    fn live(&mut self) -> [Vec<CallState>; 2] {
        self.phones.map(|(phone, ..)| {
            let calls = self.sim.node::<Phone>(phone).calls();
            calls.iter().filter(|call| !call.is_over()).map(|call| call.state).collect()
        })
    }
}

/// RFC 3261 §15: whoever was called does not hang up before the ACK.
fn may_hang_up(phone: &Phone, call: usize) -> bool {
    let call = &phone.calls()[call];
    let is_ack = |message: &Message| *message.method() == Method::Ack && message.call_id() == call.call_id;
    call.outgoing || phone.messages().iter().any(is_ack)
}

fn act(phone: &mut Phone, other: Option<&str>, random: &mut Random, now: Instant) {
    let live: Vec<usize> = (0..phone.calls().len()).filter(|call| !phone.calls()[*call].is_over()).collect();
    let Some(call) = live.get(random.below(live.len().max(1) as u64) as usize).copied() else {
        phone.set_incoming(if random.below(2) == 0 { Incoming::Ring } else { Incoming::Answer(ms(700)) });
        if let Some(other) = other {
            phone.call(other, now);
        }
        return;
    };
    let (state, outgoing) = (phone.calls()[call].state, phone.calls()[call].outgoing);
    match (state, random.below(6)) {
        (CallState::Up, 0..=1) if may_hang_up(phone, call) => phone.hang_up(call, now),
        (CallState::Up, 2) => phone.send_in_call(call, Method::Info, now),
        (CallState::Calling | CallState::Ringing, 0..=2) if outgoing => phone.cancel(call, now),
        (CallState::Ringing, 3) if !outgoing => phone.refuse(call, 603, now),
        (CallState::Ringing, 4..=5) if !outgoing => phone.pick_up(call, now),
        _ => {}
    }
}

/// After a while both sides have heard what the other did, and everything is forgotten once they have hung up.
fn agree(mut world: World, seed: u64) {
    world.register_both();
    world.sim.run_for(ms(75_000));
    let [ann, bob] = world.live();
    assert_eq!(ann.len(), bob.len(), "seed {seed}: {ann:?} {bob:?}");
    for (phone, ..) in world.phones {
        world.sim.tell(phone, |phone: &mut Phone, now| {
            for call in 0..phone.calls().len() {
                if phone.calls()[call].state == CallState::Up {
                    phone.hang_up(call, now);
                }
            }
        });
    }
    world.sim.run_for(ms(75_000));
    let [ann, bob] = world.live();
    assert!(ann.is_empty() && bob.is_empty(), "seed {seed}: {ann:?} {bob:?}");
    world.sim.node::<Edge>(world.edge).assert_nothing_left();
}

#[test]
fn whatever_gets_lost_both_sides_agree_in_the_end() {
    for seed in 0..64 {
        let mut world = world(seed, false);
        for _ in 0..40 {
            let wait = world.below(1_500);
            world.sim.run_for(ms(wait));
            world.step();
        }
        agree(world, seed);
    }
}

#[test]
fn so_they_do_when_the_pod_of_one_is_killed() {
    for seed in 0..64 {
        let mut world = world(seed, true);
        for step in 0..40 {
            let wait = world.below(1_500);
            world.sim.run_for(ms(wait));
            match step {
                ..20 => world.step(),
                20 => world.pod_is_killed(),
                _ => world.acts(),
            }
        }
        agree(world, seed);
    }
}
