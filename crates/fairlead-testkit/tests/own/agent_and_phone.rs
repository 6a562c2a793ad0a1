//! Our machines and a foreign phone over good and bad networks: they agree in the end, and nothing is left.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_testkit::{CallState, Incoming, NodeRef, Phone, Plan, Sim};
use sip_wire::Method;

use crate::agent::Agent;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

fn sec(time: u64) -> Duration {
    Duration::from_secs(time)
}

struct World {
    sim: Sim,
    agent: NodeRef,
    phone: NodeRef,
}

fn world(seed: u64, plan: Plan, incoming: Incoming, password: &str) -> World {
    let mut sim = Sim::new(seed, plan);
    let agent = sim.add(&[address(1)], Agent::new(address(1)));
    let phone = Phone::new("phone", password, address(2), address(1), "example.com").incoming(incoming);
    let phone = sim.add(&[address(2)], phone);
    World { sim, agent, phone }
}

impl World {
    fn agent(&mut self) -> &mut Agent {
        self.sim.node(self.agent)
    }

    fn phone(&mut self) -> &mut Phone {
        self.sim.node(self.phone)
    }

    fn ends_in_quiet(&mut self, seed: u64) {
        assert!(self.sim.run_until_quiet(sec(600)), "seed {seed}: not quiet");
        assert!(self.agent().is_idle(), "seed {seed}: something is left");
        assert_eq!(self.phone().live_calls(), 0, "seed {seed}");
    }
}

#[test]
fn a_phone_registers_with_digest() {
    for seed in 0..40 {
        let mut world = world(seed, Plan::BAD, Incoming::Ring, "secret");
        world.sim.tell(world.phone, |phone: &mut Phone, now| phone.register(3600, now));
        world.ends_in_quiet(seed);
        assert_eq!(world.phone().registered(), Some(200), "seed {seed}");
        assert_eq!(world.agent().registered, 1, "seed {seed}: repetitions are absorbed");
    }
}

#[test]
fn a_wrong_password_does_not() {
    let mut world = world(1, Plan::PERFECT, Incoming::Ring, "wrong");
    world.sim.tell(world.phone, |phone: &mut Phone, now| phone.register(3600, now));
    world.ends_in_quiet(1);
    assert_eq!(world.phone().registered(), Some(401));
    assert_eq!(world.agent().challenged, 2);
}

#[test]
fn a_phone_calls_us_and_hangs_up() {
    for seed in 0..60 {
        let mut world = world(seed, Plan::BAD, Incoming::Ring, "secret");
        world.sim.tell(world.phone, |phone: &mut Phone, now| {
            phone.call("agent", now);
        });
        world.sim.run_for(sec(40));
        assert_eq!(world.phone().calls()[0].state, CallState::Up, "seed {seed}");
        assert_eq!(world.agent().live(), 1, "seed {seed}");
        world.sim.tell(world.phone, |phone: &mut Phone, now| {
            phone.send_in_call(0, Method::Info, now);
            phone.hang_up(0, now);
        });
        world.ends_in_quiet(seed);
    }
}

#[test]
fn we_hang_up_on_a_phone_that_called() {
    for seed in 0..40 {
        let mut world = world(seed, Plan::BAD, Incoming::Ring, "secret");
        world.sim.tell(world.phone, |phone: &mut Phone, now| {
            phone.call("agent", now);
        });
        world.sim.run_for(sec(40));
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.hang_up_all(now));
        world.ends_in_quiet(seed);
    }
}

#[test]
fn a_phone_cancels_at_any_moment() {
    for seed in 0..60 {
        let mut world = world(seed, Plan::BAD, Incoming::Ring, "secret");
        world.sim.tell(world.phone, |phone: &mut Phone, now| {
            phone.call("agent", now);
        });
        world.sim.run_for(Duration::from_millis(50 * seed));
        world.sim.tell(world.phone, |phone: &mut Phone, now| phone.cancel(0, now));
        world.sim.run_for(sec(60));
        // It may have been answered before: then it is an ordinary call.
        world.sim.tell(world.phone, |phone: &mut Phone, now| {
            if !phone.calls()[0].is_over() {
                phone.hang_up(0, now);
            }
        });
        world.ends_in_quiet(seed);
    }
}

#[test]
fn we_call_a_phone_and_hang_up() {
    for seed in 0..60 {
        let mut world = world(seed, Plan::BAD, Incoming::Answer(sec(1)), "secret");
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.call(address(2), now));
        world.sim.run_for(sec(40));
        assert_eq!(world.agent().live(), 1, "seed {seed}");
        assert_eq!(world.phone().calls()[0].state, CallState::Up, "seed {seed}");
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.hang_up_all(now));
        world.ends_in_quiet(seed);
    }
}

#[test]
fn we_cancel_a_call_at_any_moment() {
    for seed in 0..60 {
        let mut world = world(seed, Plan::BAD, Incoming::Answer(sec(2)), "secret");
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.call(address(2), now));
        world.sim.run_for(Duration::from_millis(60 * seed));
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.cancel_all(now));
        world.sim.run_for(sec(60));
        // The answer may have been there before: then it is an ordinary call.
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.hang_up_all(now));
        world.ends_in_quiet(seed);
    }
}

#[test]
fn a_busy_and_a_silent_phone() {
    for (incoming, status) in [(Incoming::Refuse(486), 486), (Incoming::Silent, 408)] {
        let mut world = world(3, Plan::BAD, incoming, "secret");
        world.sim.tell(world.agent, |agent: &mut Agent, now| agent.call(address(2), now));
        world.ends_in_quiet(3);
        assert_eq!(world.agent().failed, [status]);
    }
}

#[test]
fn s13_3_1_4_a_2xx_whose_ack_never_comes_ends_in_bye() {
    let mut world = world(1, Plan::PERFECT, Incoming::Ring, "secret");
    world.sim.net.lose_when(|packet| packet.first_line().starts_with("ACK sip:agent@192"));
    world.sim.tell(world.phone, |phone: &mut Phone, now| {
        phone.call("agent", now);
    });
    world.sim.run_for(sec(30));
    assert_eq!(world.agent().live(), 1);
    world.ends_in_quiet(1);
}

#[test]
fn s13_2_2_4_a_lost_ack_is_sent_again_for_the_next_2xx() {
    let mut world = world(1, Plan::PERFECT, Incoming::Answer(sec(1)), "secret");
    world.sim.net.lose_first(3, "ACK");
    world.sim.tell(world.agent, |agent: &mut Agent, now| agent.call(address(2), now));
    world.sim.run_for(sec(100));
    assert_eq!(world.agent().live(), 1);
    assert_eq!(world.phone().live_calls(), 1);
    let acks = world.sim.net.trace().iter().filter(|(_, packet, _)| packet.first_line().starts_with("ACK"));
    assert_eq!(acks.count(), 4);
}
