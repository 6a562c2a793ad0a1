//! Keeping flows open behind a Service.
//!
//! There a phone's flow is an entry of connection tracking on a node: 30 s after the last packet of a short exchange (a
//! REGISTER is one), 120 s after that of a longer one, it is gone, and what we send then leaves from a port that the phone
//! never spoke to. So a datagram that says nothing follows every [`EVERY`]: an empty line, as RFC 5626 §4.4.1 has it on
//! connections and phones send it themselves. It goes to who is registered by a flow of this pod, and to who is in a call
//! of this shard by one. Where listeners have addresses of their own nothing is sent.

use std::hash::{Hash, Hasher};

use super::*;

/// Between two datagrams of one flow.
const EVERY: Duration = Duration::from_secs(20);
/// Flows are served in so many groups, one after the other, so that not all are at once.
const GROUPS: usize = 20;
/// So many flows are kept open by one shard; more is an edge that has too few pods.
const MAX_FLOWS: usize = 200_000;
/// A flow that moved here is kept for so long: its phone registers again before.
const MOVED: Duration = Duration::from_secs(3600);
/// What is sent.
const NOTHING: &[u8] = b"\r\n\r\n";

/// Flows that are kept open.
#[derive(Debug)]
pub(super) struct Kept {
    groups: Vec<HashMap<(SocketAddr, SocketAddr), Instant>>,
    len: usize,
    turn: usize,
    pub(super) scheduled: Scheduled,
}

impl Default for Kept {
    fn default() -> Self {
        let groups = (0..GROUPS).map(|_| HashMap::new()).collect();
        Kept { groups, len: 0, turn: 0, scheduled: Scheduled::default() }
    }
}

impl Kept {
    fn group(&mut self, remote: SocketAddr) -> Option<&mut HashMap<(SocketAddr, SocketAddr), Instant>> {
        let mut hasher = siphasher::sip::SipHasher13::new();
        remote.hash(&mut hasher);
        self.groups.get_mut((hasher.finish() % GROUPS as u64) as usize)
    }

    fn insert(&mut self, local: SocketAddr, remote: SocketAddr, until: Instant) {
        let full = self.len >= MAX_FLOWS;
        let Some(group) = self.group(remote) else { return };
        let new = !group.contains_key(&(local, remote));
        if new && full {
            return;
        }
        group.insert((local, remote), until);
        self.len += usize::from(new);
    }

    fn remove(&mut self, local: SocketAddr, remote: SocketAddr) {
        let there = self.group(remote).and_then(|group| group.remove(&(local, remote))).is_some();
        self.len -= usize::from(there);
    }

    /// The flows whose turn it is, without those whose time is over; and which turn it is.
    fn next(&mut self, now: Instant) -> (usize, Vec<(SocketAddr, SocketAddr)>) {
        let turn = self.turn;
        self.turn = (turn + 1) % GROUPS;
        let Some(group) = self.groups.get_mut(turn) else { return (turn, Vec::new()) };
        let before = group.len();
        group.retain(|_, until| *until > now);
        self.len -= before - group.len();
        (turn, group.keys().copied().collect())
    }
}

impl Core {
    /// Whether the network of a flow is behind a Service, and the flow one that can be kept open from here.
    fn is_kept(&self, flow: &Flow) -> bool {
        flow.pod == self.identity.pod
            && flow.transport == Transport::Udp
            && self.identity.networks.iter().any(|network| {
                network.awaits
                    && network.transport == Transport::Udp
                    && network.bind.port() == flow.local.port()
            })
    }

    /// A REGISTER was answered: its phone is there for `seconds`, or not at all.
    pub(super) fn keep_open(&mut self, flow: &Flow, seconds: u32, now: Now) {
        if !self.is_kept(flow) {
            return;
        }
        if seconds == 0 {
            return self.kept.remove(flow.local, flow.remote);
        }
        self.kept.insert(flow.local, flow.remote, now.mono + Duration::from_secs(u64::from(seconds)));
        self.keep_later(now);
    }

    /// A flow that somebody is registered by is this pod's now.
    pub(super) fn keep_moved(&mut self, flow: &Flow, now: Now) {
        if self.is_kept(flow) {
            self.kept.insert(flow.local, flow.remote, now.mono + MOVED);
            self.keep_later(now);
        }
    }

    /// How many phones only this shard's pod can reach, while another pod takes calls for them: worth lingering for when it ends.
    /// Behind a Service their flows stay pinned to this pod for as long as it lives.
    pub fn flows_left(&self) -> usize {
        if self.router.has_taker() { self.kept.len } else { 0 }
    }

    /// There is something to keep open.
    pub(super) fn keep_later(&mut self, now: Now) {
        if !self.identity.networks.iter().any(|network| network.awaits) {
            return;
        }
        let at = now.mono + EVERY / GROUPS as u32;
        if self.kept.scheduled.wants(at) {
            self.timers.add(at, Timer::KeepOpen);
        }
    }

    /// The next group is served.
    pub(super) fn keep_due(&mut self, now: Now) {
        self.kept.scheduled.fired(now.mono);
        let (turn, mut flows) = self.kept.next(now.mono);
        let in_turn = self.calls.iter().filter(|(call, _)| call.number % GROUPS as u64 == turn as u64);
        let legs: Vec<Flow> = in_turn
            .filter(|(_, entry)| !entry.call.is_ending())
            .flat_map(|(_, entry)| entry.ways.iter().filter_map(|(_, way)| way.flow))
            .filter(|flow| self.is_kept(flow))
            .collect();
        flows.extend(legs.into_iter().map(|flow| (flow.local, flow.remote)));
        flows.sort_unstable();
        flows.dedup();
        for (local, remote) in flows {
            let pod = self.identity.pod;
            let flow = Flow { pod, transport: Transport::Udp, local, remote, connection: None };
            let send = SendRef(self.next_number());
            let (to, message) = (SendTo::Flow(flow), Bytes::from_static(NOTHING));
            self.outputs.push_back(Output::Send { send, to, message, report: false });
        }
        if self.kept.len > 0 || !self.calls.is_empty() {
            self.keep_later(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], port))
    }

    #[test]
    fn each_flow_has_its_turn_once_in_a_round_until_its_time_is_over() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        for port in 1..=100 {
            kept.insert(at(5060), at(port), start + Duration::from_secs(60));
        }
        kept.insert(at(5060), at(7), start + Duration::from_secs(60));
        assert_eq!(kept.len, 100);
        let round = |kept: &mut Kept, now| (0..GROUPS).flat_map(|_| kept.next(now).1).collect::<Vec<_>>();
        let mut seen = round(&mut kept, start);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        kept.remove(at(5060), at(7));
        kept.remove(at(5060), at(7));
        assert_eq!(round(&mut kept, start).len(), 99);
        assert!(round(&mut kept, start + Duration::from_secs(60)).is_empty());
        assert_eq!(kept.len, 0);
    }
}
