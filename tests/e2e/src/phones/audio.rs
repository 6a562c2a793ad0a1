//! The voice of a phone: 50 packets a second whose payload says who sent it, in which chapter, as which one.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

/// PCMU, 20 ms.
const PAYLOAD: usize = 160;
const MAGIC: &[u8; 8] = b"fairlead";

/// What a phone sent and heard.
pub struct Audio {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    voice: u64,
    chapter: u32,
    sent: HashMap<u32, u64>,
    heard: HashMap<u32, Heard>,
    foreign: u64,
}

#[derive(Default)]
struct Heard {
    packets: HashSet<(u64, u64)>,
    doubled: u64,
    last: Option<Instant>,
    longest_gap_ms: u64,
}

/// What one chapter comes to.
pub struct Chapter {
    pub sent: u64,
    pub heard: u64,
    pub doubled: u64,
    pub longest_gap_ms: u64,
    pub foreign: u64,
}

impl Audio {
    /// A voice that no other phone has.
    pub fn new(voice: u64) -> Self {
        Audio {
            ssrc: voice as u32 ^ (voice >> 32) as u32,
            sequence: voice as u16,
            timestamp: voice as u32,
            voice,
            chapter: 0,
            sent: HashMap::new(),
            heard: HashMap::new(),
            foreign: 0,
        }
    }

    /// Counts under this number from now on.
    pub fn begin(&mut self, chapter: u32) {
        self.chapter = chapter;
        self.foreign = 0;
    }

    /// A new stream: another SSRC, as with every new call.
    pub fn renew(&mut self) {
        self.ssrc = self.ssrc.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }

    /// The next packet.
    pub fn next(&mut self) -> Vec<u8> {
        let sent = self.sent.entry(self.chapter).or_default();
        let mut packet = Vec::with_capacity(12 + PAYLOAD);
        packet.extend_from_slice(&[0x80, 0]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(MAGIC);
        packet.extend_from_slice(&self.voice.to_be_bytes());
        packet.extend_from_slice(&self.chapter.to_be_bytes());
        packet.extend_from_slice(&sent.to_be_bytes());
        packet.resize(12 + PAYLOAD, 0xff);
        *sent += 1;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(PAYLOAD as u32);
        packet
    }

    /// A packet came.
    pub fn hear(&mut self, packet: &[u8], now: Instant) {
        let Some((voice, chapter, number)) = read(packet).filter(|(voice, ..)| *voice != self.voice) else {
            self.foreign += 1;
            return;
        };
        let heard = self.heard.entry(chapter).or_default();
        if !heard.packets.insert((voice, number)) {
            heard.doubled += 1;
        }
        if let Some(last) = heard.last {
            heard.longest_gap_ms = heard.longest_gap_ms.max((now - last).as_millis() as u64);
        }
        heard.last = Some(now);
    }

    /// The figures of a chapter.
    pub fn chapter(&self, chapter: u32) -> Chapter {
        let none = Heard::default();
        let heard = self.heard.get(&chapter).unwrap_or(&none);
        Chapter {
            sent: self.sent.get(&chapter).copied().unwrap_or(0),
            heard: heard.packets.len() as u64,
            doubled: heard.doubled,
            longest_gap_ms: heard.longest_gap_ms,
            foreign: self.foreign,
        }
    }
}

fn read(packet: &[u8]) -> Option<(u64, u32, u64)> {
    let payload = packet.get(12..)?.strip_prefix(MAGIC)?;
    let voice = u64::from_be_bytes(payload.get(..8)?.try_into().ok()?);
    let chapter = u32::from_be_bytes(payload.get(8..12)?.try_into().ok()?);
    let number = u64::from_be_bytes(payload.get(12..20)?.try_into().ok()?);
    Some((voice, chapter, number))
}

/// Where an SDP says that audio goes.
pub fn destination(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let of = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::trim);
    let ip = of("c=IN IP4 ").or_else(|| of("c=IN IP6 "))?.split('/').next()?.parse().ok()?;
    let port: u16 = of("m=audio ")?.split(' ').next()?.parse().ok()?;
    (port != 0).then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_counts_once_and_in_the_chapter_it_was_sent_in() {
        let (mut ann, mut ben) = (Audio::new(1), Audio::new(2));
        let now = Instant::now();
        let early = ann.next();
        ann.begin(1);
        let (first, second) = (ann.next(), ann.next());
        for packet in [&early, &first, &first, &second] {
            ben.hear(packet, now);
        }
        let (before, after) = (ben.chapter(0), ben.chapter(1));
        assert_eq!((before.heard, after.heard, after.doubled), (1, 2, 1));
        assert_eq!(ann.chapter(1).sent, 2);
    }

    #[test]
    fn what_is_not_ours_is_no_voice() {
        let mut ann = Audio::new(1);
        ann.hear(&[0x80, 13, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], Instant::now());
        let own = ann.next();
        ann.hear(&own, Instant::now());
        let chapter = ann.chapter(0);
        assert_eq!((chapter.heard, chapter.foreign), (0, 2));
    }

    #[test]
    fn the_address_of_a_stream_is_read() {
        let sdp = b"v=0\r\nc=IN IP4 10.41.0.11\r\nm=audio 30002 RTP/AVP 0\r\n";
        assert_eq!(destination(sdp), "10.41.0.11:30002".parse().ok());
        assert_eq!(destination(b"c=IN IP4 10.41.0.11\r\nm=audio 0 RTP/AVP 0\r\n"), None);
    }
}
