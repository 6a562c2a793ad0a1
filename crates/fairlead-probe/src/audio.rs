//! The voice of both phones: a packet of PCMU every 20 ms each way, and what became of each (RFC 3550, RFC 3551).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtp::{Kind, Reception};
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

/// One packet in so much time: 160 samples at 8 kHz.
pub(crate) const EVERY: Duration = Duration::from_millis(20);
/// What is still on its way at the end may take this long.
const LAST: Duration = Duration::from_millis(300);
/// PCMU (RFC 3551 §6) and its clock, Hz.
const PCMU: u8 = 0;
const RATE: u32 = 8_000;
const SAMPLES: u32 = 160;
/// A silent sample of PCMU.
const SILENCE: u8 = 0xff;
/// RTP's fixed header, octets.
const HEADER: usize = 12;

/// The audio end of one phone.
#[derive(Debug)]
pub(crate) struct Ear {
    socket: UdpSocket,
    local: SocketAddr,
    /// Where it speaks to, and where it must hear from.
    remote: SocketAddr,
    ssrc: u32,
    first: u16,
    sent: u32,
    started: u32,
    heard: Heard,
}

/// What one phone heard of the other.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    reception: Reception,
    /// By number of the packet: it came.
    came: Vec<bool>,
    /// The number of the first packet that came.
    first: Option<u32>,
    twice: u64,
    /// Packets that came from another address than the one spoken to, and the last such.
    elsewhere: u64,
    last_elsewhere: Option<SocketAddr>,
}

/// One direction, in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// Who spoke.
    pub from: String,
    /// Who listened.
    pub to: String,
    /// Where the listener had its packets from: an address of the edge.
    pub relay: SocketAddr,
    /// Packets sent while both could hear.
    pub sent: u64,
    /// Those of them that came.
    pub received: u64,
    /// Those that did not.
    pub lost: u64,
    /// Packets sent before the first one was heard: the relay learns from them where the phones are.
    pub before: u64,
    /// Came twice, or behind a later one.
    pub out_of_order: u64,
    /// Interarrival jitter (RFC 3550 §A.8), microseconds.
    pub jitter_us: u32,
    /// Came from another address than the one spoken to; a phone behind a NAT would not have had them.
    pub elsewhere: u64,
    /// The last such address.
    pub elsewhere_from: Option<SocketAddr>,
}

impl Direction {
    /// Lost packets, thousandths of those sent; all when none was heard.
    pub fn loss(&self) -> u32 {
        if self.received == 0 {
            return 1_000;
        }
        u32::try_from((self.lost * 1_000).div_ceil(self.sent.max(1))).unwrap_or(1_000)
    }
}

impl Ear {
    /// On an even port, as RTP wants it (RFC 3550 §11).
    pub async fn open(local: IpAddr) -> io::Result<Ear> {
        let mut odd = Vec::new();
        let socket = loop {
            let socket = UdpSocket::bind((local, 0)).await?;
            if socket.local_addr()?.port() % 2 == 0 || odd.len() >= 32 {
                break socket;
            }
            // Held until an even one is found, or the system would give the same again.
            odd.push(socket);
        };
        let local = socket.local_addr()?;
        Ok(Ear {
            socket,
            local,
            remote: local,
            ssrc: rand::random(),
            first: rand::random(),
            sent: 0,
            started: rand::random(),
            heard: Heard::default(),
        })
    }

    /// What the phone says of it.
    pub fn description(&self) -> Bytes {
        let family = if self.local.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (self.local.ip(), self.local.port());
        let session: u32 = rand::random();
        Bytes::from(format!(
            "v=0\r\no=- {session} 1 IN {family} {ip}\r\ns=probe\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {PCMU}\r\na=rtpmap:{PCMU} PCMU/{RATE}\r\na=ptime:20\r\na=sendrecv\r\n"
        ))
    }

    /// Speaks to this address from now on.
    pub fn speak_to(&mut self, remote: SocketAddr) {
        self.remote = remote;
    }

    async fn speak(&mut self) {
        let mut packet = [SILENCE; HEADER + SAMPLES as usize];
        // The number stays below 2^16: the longest call is ten minutes.
        let sequence = self.first.wrapping_add(self.sent as u16);
        let timestamp = self.started.wrapping_add(self.sent.wrapping_mul(SAMPLES));
        let marker = if self.sent == 0 { 0x80 } else { 0 };
        let [s0, s1] = sequence.to_be_bytes();
        let [t0, t1, t2, t3] = timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        packet[..HEADER].copy_from_slice(&[0x80, marker | PCMU, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]);
        self.sent += 1;
        // One that the system did not take counts as sent, and so as lost.
        let _ = self.socket.send_to(&packet, self.remote).await;
    }

    /// A datagram came: `ssrc` and `first` are those of the other phone.
    fn hear(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], ssrc: u32, first: u16) {
        let Kind::Rtp(header) = Kind::of(datagram) else { return };
        if header.ssrc != ssrc {
            return;
        }
        self.heard.packet(now, from == self.remote, from, &header, datagram.len(), first);
    }
}

impl Heard {
    fn packet(
        &mut self,
        now: Instant,
        expected: bool,
        from: SocketAddr,
        header: &rtp::Header,
        bytes: usize,
        first: u16,
    ) {
        if !expected {
            self.elsewhere += 1;
            self.last_elsewhere = Some(from);
            return;
        }
        let number = header.sequence.wrapping_sub(first);
        let at = usize::from(number);
        if self.came.len() <= at {
            self.came.resize(at + 1, false);
        }
        self.first.get_or_insert(number.into());
        match self.came.get_mut(at) {
            Some(came) if !*came => *came = true,
            _ => self.twice += 1,
        }
        self.reception.received(now, header, bytes, Some(RATE));
    }

    /// Something came from where it should.
    fn anything(&self) -> bool {
        self.first.is_some()
    }

    /// What became of `sent` packets of the other phone.
    fn direction(&self, from: &str, to: &str, relay: SocketAddr, sent: u32) -> Direction {
        let first = self.first.unwrap_or(sent).min(sent);
        // Those before the first that came are what the way was opened with; a late one of them does not count.
        let counted = self.came.iter().enumerate().skip(first as usize);
        let received = counted.filter(|(at, came)| **came && *at < sent as usize).count() as u64;
        let expected = u64::from(sent - first);
        Direction {
            from: from.to_owned(),
            to: to.to_owned(),
            relay,
            sent: expected,
            received,
            lost: expected.saturating_sub(received),
            before: first.into(),
            out_of_order: self.reception.out_of_order().max(self.twice),
            jitter_us: self.reception.jitter_us(),
            elsewhere: self.elsewhere,
            elsewhere_from: self.last_elsewhere,
        }
    }
}

/// Both speak: until each has heard the other, at most for `within`, and then for `duration`. What is told is each
/// direction, the first that of `a` to `b`.
pub(crate) async fn talk(
    [a, b]: [&mut Ear; 2],
    [name_a, name_b]: [&str; 2],
    within: Duration,
    duration: Duration,
) -> [Direction; 2] {
    let began = Instant::now();
    let mut both_since: Option<Instant> = None;
    let mut ticks = tokio::time::interval(EVERY);
    // Late ones are made up for: the number of packets is as said.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut at_a, mut at_b) = (vec![0; 2_048], vec![0; 2_048]);
    let mut end: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if both_since.is_none() && a.heard.anything() && b.heard.anything() {
            both_since = Some(now);
        }
        let over = match both_since {
            Some(since) => now.saturating_duration_since(since) >= duration,
            None => now.saturating_duration_since(began) >= within,
        };
        if over && end.is_none() {
            end = Some(now + LAST);
        }
        if end.is_some_and(|end| now >= end) {
            break;
        }
        tokio::select! {
            _ = ticks.tick() => if end.is_none() {
                a.speak().await;
                b.speak().await;
            },
            Ok((length, from)) = a.socket.recv_from(&mut at_a) => {
                a.hear(Instant::now(), from, at_a.get(..length).unwrap_or_default(), b.ssrc, b.first);
            }
            Ok((length, from)) = b.socket.recv_from(&mut at_b) => {
                b.hear(Instant::now(), from, at_b.get(..length).unwrap_or_default(), a.ssrc, a.first);
            }
        }
    }
    [b.heard.direction(name_a, name_b, b.remote, a.sent), a.heard.direction(name_b, name_a, a.remote, b.sent)]
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ears() -> (Ear, Ear) {
        let local = [127, 0, 0, 1].into();
        let (mut a, mut b) = (Ear::open(local).await.unwrap(), Ear::open(local).await.unwrap());
        a.speak_to(b.local);
        b.speak_to(a.local);
        (a, b)
    }

    #[tokio::test]
    async fn two_that_hear_each_other_lose_nothing() {
        let (mut a, mut b) = ears().await;
        let second = Duration::from_secs(1);
        let [there, back] = talk([&mut a, &mut b], ["ann", "ben"], second, second).await;
        for direction in [&there, &back] {
            assert!((45..=55).contains(&direction.sent), "{direction:?}");
            assert_eq!((direction.lost, direction.loss()), (0, 0), "{direction:?}");
            assert!(direction.jitter_us < 20_000, "{direction:?}");
        }
        assert_eq!((there.from.as_str(), there.to.as_str()), ("ann", "ben"));
    }

    #[tokio::test]
    async fn what_comes_from_elsewhere_is_not_heard_and_named() {
        let (mut a, mut b) = ears().await;
        // The way back has another port than the one that A speaks to.
        let other = Ear::open([127, 0, 0, 1].into()).await.unwrap();
        a.speak_to(other.local);
        let short = Duration::from_millis(300);
        let [_, back] = talk([&mut a, &mut b], ["ann", "ben"], short, short).await;
        assert_eq!((back.received, back.loss()), (0, 1_000));
        assert_eq!(back.elsewhere_from, Some(b.local));
    }

    #[test]
    fn loss_counts_from_the_first_packet_that_came_to_the_last_that_was_sent() {
        let mut heard = Heard::default();
        let now = Instant::now();
        let from: SocketAddr = "192.0.2.1:4".parse().unwrap();
        for number in [3_u16, 4, 6, 6, 7] {
            let header = rtp::Header {
                payload: 0,
                marker: false,
                sequence: 65_534_u16.wrapping_add(number),
                timestamp: u32::from(number) * SAMPLES,
                ssrc: 1,
            };
            heard.packet(now, true, from, &header, 172, 65_534);
        }
        let direction = heard.direction("a", "b", from, 10);
        assert_eq!((direction.before, direction.sent, direction.received, direction.lost), (3, 7, 4, 3));
        assert_eq!(direction.loss(), 429);
        assert_eq!(direction.out_of_order, 1);
        let silent = Heard::default().direction("a", "b", from, 10);
        assert_eq!((silent.sent, silent.before, silent.received, silent.loss()), (0, 10, 0, 1_000));
    }
}
