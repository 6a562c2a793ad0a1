//! Nodes at addresses, one network, one clock.

use std::any::Any;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{Net, Packet, Plan};

/// Something that has an address: a phone, or the machine under test.
pub trait Node: Any {
    /// A packet arrived.
    fn handle_packet(&mut self, packet: Packet, now: Instant);

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);

    /// The next packet to be sent; drained after every input.
    fn poll_packet(&mut self, now: Instant) -> Option<Packet>;

    /// When to wake it up.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Names a node of a [`Sim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRef(usize);

/// A small world.
pub struct Sim {
    /// The network, to be made worse.
    pub net: Net,
    start: Instant,
    now: Instant,
    nodes: Vec<(Vec<SocketAddr>, Box<dyn Node>)>,
    /// Steps since the clock last moved.
    still: u32,
}

/// So many steps without time passing are a node that always wants to be woken at once.
const SPINNING: u32 = 100_000;

impl Sim {
    /// An empty world.
    pub fn new(seed: u64, plan: Plan) -> Self {
        // Any instant does: all that counts are the differences.
        let start = Instant::now();
        Sim { net: Net::new(seed, plan), start, now: start, nodes: Vec::new(), still: 0 }
    }

    /// Puts a node at these addresses.
    pub fn add(&mut self, addresses: &[SocketAddr], node: impl Node) -> NodeRef {
        self.nodes.push((addresses.to_vec(), Box::new(node)));
        NodeRef(self.nodes.len() - 1)
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// A node, to look at or to be told something; what it then wants to send leaves with the next step.
    ///
    /// # Panics
    /// When it is of another type: a defect of the test.
    #[allow(clippy::panic)]
    pub fn node<T: Node>(&mut self, node: NodeRef) -> &mut T {
        let any: &mut dyn Any = self.nodes[node.0].1.as_mut();
        match any.downcast_mut() {
            Some(node) => node,
            None => panic!("node {} is of another type", node.0),
        }
    }

    /// Tells a node something with the time at hand, and lets it send at once.
    pub fn tell<T: Node, R>(&mut self, node: NodeRef, what: impl FnOnce(&mut T, Instant) -> R) -> R {
        let now = self.now;
        let result = what(self.node(node), now);
        self.send();
        result
    }

    /// Runs so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until no packet is under way and no node waits for anything; false when `limit` passes before that.
    pub fn run_until_quiet(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        while self.step(end) {}
        self.next().is_none()
    }

    /// Does what comes next unless it comes after `end`; whether there was something.
    fn step(&mut self, end: Instant) -> bool {
        self.send();
        let Some(next) = self.next().filter(|next| *next <= end) else { return false };
        // A deadline in the past (a node was told something late) does not turn time back.
        let before = self.now;
        self.now = next.max(self.now);
        self.still = if self.now > before { 0 } else { self.still + 1 };
        assert!(self.still < SPINNING, "a node is due again and again at {:?}", self.elapsed());
        if let Some(packet) = self.net.poll_arrival(self.now) {
            let to = packet.to;
            if let Some((_, node)) = self.nodes.iter_mut().find(|(addresses, _)| addresses.contains(&to)) {
                node.handle_packet(packet, self.now);
            }
            return true;
        }
        for (_, node) in &mut self.nodes {
            if node.poll_timeout().is_some_and(|at| at <= self.now) {
                node.handle_timeout(self.now);
                return true;
            }
        }
        true
    }

    fn send(&mut self) {
        for (_, node) in &mut self.nodes {
            while let Some(packet) = node.poll_packet(self.now) {
                self.net.send(packet, self.now);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let nodes = self.nodes.iter().filter_map(|(_, node)| node.poll_timeout());
        nodes.chain(self.net.poll_timeout()).min()
    }
}
