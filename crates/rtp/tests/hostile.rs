//! Whatever comes from the network: nothing panics, nothing grows, nothing is learned from it.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::{Kind, Learn, PortId, Remote, Settings, Signalled, Streams, Verdict, read_reports};

fn numbers(mut state: u64) -> impl FnMut() -> usize {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    }
}

/// SR with a report block, SDES, BYE, XR; RR with a block; RTP with an extension.
fn seeds() -> Vec<Vec<u8>> {
    let mut compound = vec![0x81, 200, 0, 12];
    compound.extend([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11]);
    compound.extend([0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 2, 3, 4, 5, 6, 0, 1, 0, 0]);
    compound.extend([0x81, 202, 0, 3, 0, 0, 0, 1, 1, 2, b'a', b'b', 0, 0, 0, 0]);
    compound.extend([0x81, 203, 0, 2, 0, 0, 0, 1, 2, b'b', b'y', 0]);
    compound.extend([0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut receiver = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
    receiver.extend([0, 0, 0, 1, 1, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 3, 4, 5, 6, 0, 1, 0, 0]);
    let mut media =
        vec![0x91, 0x80, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 1, 2, 3, 4];
    media.resize(160, 0xff);
    vec![compound, receiver, media]
}

fn mutated(seed: &[u8], random: &mut impl FnMut() -> usize) -> Vec<u8> {
    let mut packet = seed.to_vec();
    for _ in 0..random() % 6 {
        match (random() % 4, packet.len()) {
            (_, 0) => packet.push(random() as u8),
            (0, length) => packet.truncate(random() % length),
            (1, length) => packet[random() % length] = random() as u8,
            (2, length) => packet[random() % length] ^= 1 << (random() % 8),
            (_, length) => packet.insert(random() % length, random() as u8),
        }
    }
    packet
}

#[test]
fn mutated_datagrams_never_panic() {
    let mut random = numbers(0x2545_f491_4f6c_dd1d);
    let (seeds, mut blocks) = (seeds(), 0_u32);
    let mut streams = Streams::new(2, Settings::default(), RandomState::new());
    let (start, ports) = (Instant::now(), [PortId(0), PortId(1)]);
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let side = |address: &str, learn| Signalled {
        remote: Remote::At(at(address)),
        learn,
        payloads: [(0, 8_000)].into_iter().collect(),
        mux: true,
        ..Signalled::default()
    };
    let a =
        streams.open(start, &ports, at("192.0.2.1:1").ip(), side("192.0.2.1:4000", Learn::Never)).unwrap();
    let b =
        streams.open(start, &ports, at("192.0.2.2:1").ip(), side("10.0.0.1:5000", Learn::Anywhere)).unwrap();
    streams.join(a, b);
    for n in 0..200_000_u32 {
        let seed = &seeds[random() % seeds.len()];
        let packet = mutated(seed, &mut random);
        let _ = Kind::of(&packet);
        read_reports(&packet, |_| blocks += 1);
        let from = if random().is_multiple_of(2) { at("192.0.2.1:4000") } else { at("203.0.113.9:7") };
        let now = start + Duration::from_micros(u64::from(n) * 50);
        let _ = streams.packet(now, PortId((random() % 3) as u32), random().is_multiple_of(3), from, &packet);
    }
    assert!(blocks > 1_000, "some of them could be read: {blocks}");
    let counters = streams.counters(a).unwrap();
    assert!(counters.reception.packets() > 1_000 && counters.dropped > 1_000);
}

#[test]
fn a_flood_of_strangers_leaves_no_trace() {
    let mut random = numbers(0x9e37_79b9_7f4a_7c15);
    let mut streams = Streams::new(1, Settings::default(), RandomState::new());
    let start = Instant::now();
    let signalled = Signalled {
        remote: Remote::At("192.0.2.1:4000".parse().unwrap()),
        payloads: [(0, 8_000)].into_iter().collect(),
        ..Signalled::default()
    };
    let a = streams.open(start, &[PortId(0)], [192, 0, 2, 1].into(), signalled).unwrap();
    for _ in 0..100_000 {
        let from = SocketAddr::from(([203, 0, random() as u8, random() as u8], random() as u16));
        let mut packet = vec![0x80, 0];
        packet.extend((random() as u64).to_be_bytes());
        packet.resize(172, 0);
        assert!(matches!(
            streams.packet(start, PortId(0), random().is_multiple_of(2), from, &packet),
            Verdict::Drop(_)
        ));
    }
    assert_eq!(streams.sizes(), (1, 0, 0));
    assert_eq!(streams.counters(a).unwrap().reception.packets(), 0);
}
