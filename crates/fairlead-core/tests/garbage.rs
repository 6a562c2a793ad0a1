//! Everything from the network is hostile: mutated messages of a living call, in any order, never panic a shard.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use fairlead_core::input::Input;
use fairlead_model::flow::{Flow, Transport};
use fairlead_testkit::{Packet, Phone, Plan, Random};
use sip_wire::Message;

/// All that was said in a call with a re-INVITE, an INFO and a CANCEL before it.
fn corpus() -> Vec<Packet> {
    let mut scene = Scene::new();
    let first = scene.ann_calls("bob");
    scene.sim.run_for(ms(300));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.cancel(first, now));
    scene.sim.run_for(ms(300));
    let call = scene.ann_calls("bob");
    scene.sim.run_for(ms(2_000));
    let sdp = "v=0\r\no=- 1 2 IN IP4 198.51.100.1\r\ns=-\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0\r\n";
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.reinvite(call, sdp, now));
    scene.sim.run_for(ms(300));
    scene.sim.tell(scene.bob, |bob: &mut Phone, now| bob.send_in_call(1, sip_wire::Method::Info, now));
    scene.sim.run_for(ms(300));
    scene.sim.tell(scene.ann, |ann: &mut Phone, now| ann.hang_up(call, now));
    scene.quiet();
    scene.sim.net.trace().iter().map(|(_, packet, _)| packet.clone()).collect()
}

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(6) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes.truncate(at),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, b"\r\n;,<>\"@: \0\xff"[random.below(12) as usize]),
            4 => {
                let end = (at + random.below(40) as usize).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                if let Some(at) = digits.get(random.below(digits.len().max(1) as u64) as usize) {
                    bytes.splice(at..at, *b"99999999999");
                }
            }
        }
    }
    bytes
}

#[test]
fn mutated_messages_of_a_living_call_never_panic_a_shard() {
    let corpus = corpus();
    assert!(corpus.len() > 40);
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut scene = Scene::with(seed, Plan::PERFECT, phone("ann", ANN), phone("bob", BOB));
        scene.ann_calls("bob");
        scene.sim.run_for(ms(2_000));
        let live: Vec<Packet> = scene.sim.net.trace().iter().map(|(_, packet, _)| packet.clone()).collect();
        for _ in 0..1_500 {
            let from = if random.below(2) == 0 { &corpus } else { &live };
            let packet = &from[random.below(from.len() as u64) as usize];
            let bytes = mutate(&packet.bytes, &mut random);
            let remote = [ip(ANN), ip(BOB), ip("203.0.113.77:9")][random.below(3) as usize];
            let transport = if random.below(4) == 0 { Transport::Tcp } else { Transport::Udp };
            scene.sim.tell(scene.edge, |edge: &mut Edge, now| {
                let flow =
                    Flow { pod: edge.pods[0].pod, transport, local: ip(EDGE), remote, connection: None };
                let input = match Message::parse(bytes.into()) {
                    Ok(message) => Input::Received { message, flow },
                    Err(malformed) => Input::Malformed { malformed, flow },
                };
                edge.input(0, input, now);
            });
            scene.sim.run_for(ms(random.below(30)));
        }
        // It still answers, and what began ends.
        scene.ann().register(3600, std::time::Instant::now());
        scene.sim.run_for(ms(60_000));
        assert_eq!(scene.ann().registered(), Some(200), "seed {seed}");
    }
}
