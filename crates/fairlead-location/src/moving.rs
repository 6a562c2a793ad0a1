//! A phone's packet moves its flow to the pod that received it (architecture §2).

use fairlead_model::binding::Binding;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{PodRef, UnixMillis};

/// A flow moves at most once in this time, milliseconds.
pub const DAMPING_MS: u64 = 5_000;

/// What a packet of this transport and source, seen by this pod, does.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// These bindings move: pod and local address are the new ones, the generation is one more. Nothing else changed.
    To(Vec<Binding>),
    /// They are there already.
    Already,
    /// They moved less than [`DAMPING_MS`] ago; ask again after this many milliseconds.
    Damped(u64),
    /// No live binding has that transport, source address and port (the answer may be kept for a while).
    NotOurs,
}

/// Plans the move of all bindings of one peer that the packet's source belongs to.
///
/// Only datagrams move a flow: a connection is where it is. The remote address never changes here, that takes an
/// authenticated REGISTER; so a stranger who forges a source can at most turn a flow to another pod of ours, and
/// that for [`DAMPING_MS`]. `stays` says whether a pod is there and means to be: away from one that is not, a flow moves
/// at once.
pub fn move_flow(bindings: &[Binding], seen: &Flow, now: UnixMillis, stays: impl Fn(PodRef) -> bool) -> Move {
    if seen.transport != Transport::Udp {
        return Move::NotOurs;
    }
    let theirs: Vec<_> = bindings
        .iter()
        .filter(|binding| binding.expires_at > now && binding.flow.is_same_source(seen))
        .collect();
    if theirs.is_empty() {
        return Move::NotOurs;
    }
    let away: Vec<_> = theirs
        .into_iter()
        .filter(|binding| binding.flow.pod != seen.pod || binding.flow.local != seen.local)
        .collect();
    let wait = |binding: &&Binding| match binding.moved_at {
        UnixMillis(0) => 0,
        // Nobody is there to whom it could be turned back and forth.
        _ if !stays(binding.flow.pod) => 0,
        moved_at => DAMPING_MS.saturating_sub(now.since(moved_at)),
    };
    match away.iter().map(wait).max() {
        None => Move::Already,
        Some(0) => Move::To(
            away.into_iter()
                .map(|binding| Binding {
                    flow: Flow { pod: seen.pod, local: seen.local, ..binding.flow },
                    generation: binding.generation.saturating_add(1),
                    moved_at: now,
                    ..binding.clone()
                })
                .collect(),
        ),
        Some(wait) => Move::Damped(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{NOW, binding, flow};
    use fairlead_model::id::ConnectionRef;

    fn seen_by(pod: u64) -> Flow {
        Flow { pod: PodRef(pod), local: "10.0.0.2:5060".parse().unwrap(), ..flow() }
    }

    #[test]
    fn a_datagram_at_another_pod_moves_pod_and_local_address_only() {
        let before = binding("a");
        let Move::To(moved) = move_flow(std::slice::from_ref(&before), &seen_by(2), NOW, |_| true) else {
            panic!("it moves")
        };
        let expected =
            Binding { flow: seen_by(2), generation: before.generation + 1, moved_at: NOW, ..before.clone() };
        assert_eq!(moved, [expected]);
    }

    #[test]
    fn it_moves_once_in_five_seconds() {
        let Move::To(moved) = move_flow(&[binding("a")], &seen_by(2), NOW, |_| true) else {
            panic!("it moves")
        };
        assert_eq!(move_flow(&moved, &seen_by(2), NOW, |_| true), Move::Already);
        assert_eq!(move_flow(&moved, &seen_by(3), NOW.plus_millis(1000), |_| true), Move::Damped(4000));
        assert!(matches!(move_flow(&moved, &seen_by(3), NOW.plus_millis(5000), |_| true), Move::To(_)));
        let ends = |pod| pod != PodRef(2);
        assert!(matches!(move_flow(&moved, &seen_by(3), NOW.plus_millis(1000), ends), Move::To(_)));
    }

    #[test]
    fn another_source_port_or_an_expired_binding_is_not_ours() {
        let elsewhere = Flow { remote: "198.51.100.7:40002".parse().unwrap(), ..seen_by(2) };
        assert_eq!(move_flow(&[binding("a")], &elsewhere, NOW, |_| true), Move::NotOurs);
        let over = Binding { expires_at: NOW, ..binding("a") };
        assert_eq!(move_flow(&[over], &seen_by(2), NOW, |_| true), Move::NotOurs);
    }

    #[test]
    fn connections_never_move() {
        let mut tcp = binding("a");
        tcp.flow.transport = Transport::Tcp;
        tcp.flow.connection = Some(ConnectionRef(4));
        let seen = Flow { pod: PodRef(2), ..tcp.flow };
        assert_eq!(move_flow(&[tcp], &seen, NOW, |_| true), Move::NotOurs);
    }

    #[test]
    fn all_contacts_behind_one_source_move_together() {
        let Move::To(moved) = move_flow(&[binding("a"), binding("b")], &seen_by(2), NOW, |_| true) else {
            panic!("they move")
        };
        assert_eq!(moved.len(), 2);
    }
}
