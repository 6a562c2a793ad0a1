//! What tests of streams are made of.
#![allow(dead_code, clippy::unwrap_used)] // each test uses some of it; one that unwraps fails as it should

use std::net::SocketAddr;
use std::time::Duration;

use rtp::{Learn, Remote, Signalled};

/// An address.
pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Seconds.
pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An RTP packet of PCMU.
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(172, 0xff);
    packet
}

/// A side that muxes RTCP and says that it is there.
pub fn signalled(address: &str, learn: Learn) -> Signalled {
    Signalled {
        remote: Remote::At(at(address)),
        mux: true,
        learn,
        payloads: [(0, 8_000)].into_iter().collect(),
        ..Signalled::default()
    }
}
