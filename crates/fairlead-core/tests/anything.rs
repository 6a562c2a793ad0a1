//! Anything at any time on a bad network: whatever two phones do, in the end nothing is left and nobody is in a call.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_testkit::{CallState, Incoming, Phone, Plan, Random};
use sip_wire::Method;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\n";

fn act(phone: &mut Phone, other: &str, random: &mut Random, now: std::time::Instant) {
    let calls = phone.calls().len();
    match random.below(12) {
        0..=2 => {
            phone.call(other, now);
        }
        3 => phone.set_incoming(match random.below(6) {
            0 => Incoming::Ring,
            1 => Incoming::Refuse(486),
            2 => Incoming::Silent,
            _ => Incoming::Answer(ms(random.below(3_000))),
        }),
        what if calls > 0 => {
            let call = random.below(calls as u64) as usize;
            let (state, outgoing) = (phone.calls()[call].state, phone.calls()[call].outgoing);
            match (state, what) {
                (CallState::Up, 4..=5) => phone.hang_up(call, now),
                (CallState::Up, 6..=7) => phone.reinvite(call, SDP, now),
                (CallState::Up, 8) => phone.send_in_call(call, Method::Info, now),
                (CallState::Calling | CallState::Ringing, 9) if outgoing => phone.cancel(call, now),
                (CallState::Ringing, 10) if !outgoing => phone.pick_up(call, now),
                (CallState::Ringing, 11) if !outgoing => phone.refuse(call, 603, now),
                _ => {}
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_they_do_nothing_is_left() {
    for seed in 0..40 {
        let plan = if seed % 2 == 0 { Plan::BAD } else { Plan { jitter: ms(40), ..Plan::PERFECT } };
        let mut scene = Scene::with(seed, plan, phone("ann", ANN), phone("bob", BOB));
        scene.edge().delay = ms(seed % 30);
        let mut random = Random::new(seed + 1000);
        for _ in 0..60 {
            scene.sim.run_for(ms(random.below(2_000)));
            let (who, other) = if random.below(2) == 0 { (scene.ann, "bob") } else { (scene.bob, "ann") };
            scene.sim.tell(who, |phone: &mut Phone, now| act(phone, other, &mut random, now));
        }
        scene.sim.net.set_plan(Plan::PERFECT);
        for _ in 0..40 {
            for who in [scene.ann, scene.bob] {
                scene.sim.tell(who, |phone: &mut Phone, now| {
                    for call in 0..phone.calls().len() {
                        let (state, outgoing) = (phone.calls()[call].state, phone.calls()[call].outgoing);
                        match state {
                            CallState::Up => phone.hang_up(call, now),
                            CallState::Ringing if !outgoing => phone.refuse(call, 486, now),
                            _ => {}
                        }
                    }
                });
            }
            scene.sim.run_for(ms(5_000));
        }
        println!("seed {seed}: {} calls", scene.edge().records.len());
        scene.quiet();
        let began = scene
            .edge()
            .events
            .iter()
            .filter(|e| matches!(e, fairlead_core::output::Event::CallBegan { .. }))
            .count();
        assert_eq!(began, scene.edge().records.len(), "seed {seed}: one record a call");
    }
}
