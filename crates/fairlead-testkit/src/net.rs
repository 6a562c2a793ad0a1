//! Packets under way: lost, doubled and reordered by a plan whose seed makes it the same in every run.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Random;

/// What the network does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The shortest way.
    pub delay: Duration,
    /// Up to this is added to each packet by chance, so that packets overtake each other.
    pub jitter: Duration,
    /// How many of 1000 packets are lost.
    pub lost: u32,
    /// How many of 1000 packets arrive twice.
    pub doubled: u32,
}

impl Plan {
    /// Everything arrives once, in order, after 1 ms.
    pub const PERFECT: Plan =
        Plan { delay: Duration::from_millis(1), jitter: Duration::ZERO, lost: 0, doubled: 0 };

    /// One packet in five is lost, one in ten doubled, and up to 300 ms reorder them.
    pub const BAD: Plan = Plan {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(300),
        lost: 200,
        doubled: 100,
    };
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub from: SocketAddr,
    /// Destination address.
    pub to: SocketAddr,
    /// What it carries.
    pub bytes: Bytes,
}

impl Packet {
    /// The first line, for assertions and traces.
    pub fn first_line(&self) -> String {
        let end = self.bytes.iter().position(|&byte| byte == b'\r').unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

type Rule = Box<dyn FnMut(&Packet) -> bool>;

/// The network.
pub struct Net {
    plan: Plan,
    random: Random,
    under_way: BinaryHeap<UnderWay>,
    count: u64,
    losing: Vec<Rule>,
    trace: Vec<(Instant, Packet, bool)>,
}

impl Net {
    /// An empty network with this plan; the seed decides whom it hits.
    pub fn new(seed: u64, plan: Plan) -> Self {
        Net {
            plan,
            random: Random::new(seed),
            under_way: BinaryHeap::new(),
            count: 0,
            losing: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// From now on another plan holds; packets under way keep their time.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Loses every packet of which `rule` says so, besides those the plan loses.
    pub fn lose_when(&mut self, rule: impl FnMut(&Packet) -> bool + 'static) {
        self.losing.push(Box::new(rule));
    }

    /// Loses the first `count` packets whose first line begins with `start`.
    pub fn lose_first(&mut self, count: usize, start: &str) {
        let (start, mut left) = (start.to_owned(), count);
        self.lose_when(move |packet| {
            let hit = left > 0 && packet.first_line().starts_with(&start);
            left -= usize::from(hit);
            hit
        });
    }

    /// Ends all rules given by [`lose_when`](Self::lose_when) and [`lose_first`](Self::lose_first).
    pub fn lose_no_more(&mut self) {
        self.losing.clear();
    }

    /// Takes a packet in.
    pub fn send(&mut self, packet: Packet, now: Instant) {
        // Every rule sees every packet, and the plan draws as often, so that one rule does not move the others.
        let mut lost = self.random.per_mille(self.plan.lost);
        for rule in &mut self.losing {
            lost |= rule(&packet);
        }
        self.trace.push((now, packet.clone(), lost));
        let copies = if self.random.per_mille(self.plan.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.random.below(self.plan.jitter.as_micros() as u64 + 1);
            let at = now + self.plan.delay + Duration::from_micros(jitter);
            self.count += 1;
            if !lost {
                self.under_way.push(UnderWay { at, order: self.count, packet: packet.clone() });
            }
        }
    }

    /// When the next packet arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.peek().map(|next| next.at)
    }

    /// The next packet that has arrived by `now`.
    pub fn poll_arrival(&mut self, now: Instant) -> Option<Packet> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.under_way.pop().map(|next| next.packet)
    }

    /// Every packet that was sent: when, what, and whether it was lost.
    pub fn trace(&self) -> &[(Instant, Packet, bool)] {
        &self.trace
    }
}

struct UnderWay {
    at: Instant,
    order: u64,
    packet: Packet,
}

impl Ord for UnderWay {
    /// The greatest is the next to arrive: BinaryHeap is a max-heap.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for UnderWay {}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> Packet {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Packet { from: at(1), to: at(2), bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    /// What arrives of a hundred numbered packets sent 10 ms apart.
    fn arrivals(seed: u64, plan: Plan) -> Vec<String> {
        let mut net = Net::new(seed, plan);
        let start = Instant::now();
        for number in 0..100_u32 {
            net.send(packet(&number.to_string()), start + Duration::from_millis(10) * number);
        }
        let end = start + Duration::from_secs(60);
        std::iter::from_fn(|| net.poll_arrival(end)).map(|packet| packet.first_line()).collect()
    }

    #[test]
    fn a_perfect_network_keeps_all_in_order() {
        let all: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(arrivals(1, Plan::PERFECT), all);
    }

    #[test]
    fn a_bad_one_loses_doubles_and_reorders_the_same_way_for_the_same_seed() {
        let first = arrivals(7, Plan::BAD);
        assert_eq!(first, arrivals(7, Plan::BAD));
        assert_ne!(first, arrivals(8, Plan::BAD));
        let mut unique = first.clone();
        unique.sort_by_key(|number| number.parse::<u32>().unwrap());
        assert_ne!(first, unique, "reordered");
        unique.dedup();
        assert!(unique.len() < 100, "lost");
        assert!(unique.len() < first.len(), "doubled");
    }

    #[test]
    fn nothing_arrives_early() {
        let mut net = Net::new(1, Plan::PERFECT);
        let start = Instant::now();
        net.send(packet("x"), start);
        assert_eq!(net.poll_arrival(start), None);
        assert_eq!(net.poll_timeout(), Some(start + Plan::PERFECT.delay));
        assert!(net.poll_arrival(start + Plan::PERFECT.delay).is_some());
    }

    #[test]
    fn the_first_of_a_kind_can_be_lost() {
        let mut net = Net::new(1, Plan::PERFECT);
        net.lose_first(2, "BYE");
        let start = Instant::now();
        for text in ["BYE 1", "ACK 1", "BYE 2", "BYE 3"] {
            net.send(packet(text), start);
        }
        let end = start + Duration::from_secs(1);
        let arrived: Vec<_> =
            std::iter::from_fn(|| net.poll_arrival(end)).map(|packet| packet.first_line()).collect();
        assert_eq!(arrived, ["ACK 1", "BYE 3"]);
    }
}
