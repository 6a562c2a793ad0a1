//! The addresses of static peers, found by IP in one step.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fairlead_model::flow::{Flow, Transport};
use fairlead_model::peer::Peer;

/// Static peers by the address they are at. A peer whose `host=` is a name has the addresses that it was
/// resolved to. Peers are found in order of name, so several at one address are told apart the same way by
/// every registrar (chan_sip's order is undefined).
#[derive(Clone, Debug, Default)]
pub struct StaticAddresses {
    by_ip: HashMap<IpAddr, Vec<Entry>>,
    of_peer: HashMap<String, Vec<IpAddr>>,
}

#[derive(Clone, Debug)]
struct Entry {
    port: u16,
    peer: Arc<Peer>,
}

impl StaticAddresses {
    /// All static peers whose host is written as an IP address.
    pub fn of<'a>(peers: impl IntoIterator<Item = &'a Arc<Peer>>) -> Self {
        let mut table = StaticAddresses::default();
        for peer in peers {
            if let Some(address) = peer.static_address() {
                table.set(peer.clone(), &[address]);
            }
        }
        table
    }

    /// Puts a peer at these addresses and nowhere else. Only peers are matched by address, never `type=user`.
    pub fn set(&mut self, peer: Arc<Peer>, addresses: &[SocketAddr]) {
        self.remove(&peer.name);
        if !peer.is_peer() {
            return;
        }
        for address in addresses {
            let ip = address.ip().to_canonical();
            let entries = self.by_ip.entry(ip).or_default();
            let at = entries.partition_point(|entry| entry.peer.name < peer.name);
            entries.insert(at, Entry { port: address.port(), peer: peer.clone() });
            self.of_peer.entry(peer.name.clone()).or_default().push(ip);
        }
    }

    /// Takes a peer out.
    pub fn remove(&mut self, name: &str) {
        for ip in self.of_peer.remove(name).unwrap_or_default() {
            if let Some(entries) = self.by_ip.get_mut(&ip) {
                entries.retain(|entry| entry.peer.name != name);
                if entries.is_empty() {
                    self.by_ip.remove(&ip);
                }
            }
        }
    }

    /// Every peer with an address of its own, with that address.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Peer>, SocketAddr)> {
        self.by_ip
            .iter()
            .flat_map(|(ip, entries)| entries.iter().map(|e| (&e.peer, SocketAddr::new(*ip, e.port))))
    }

    /// Whether this peer is at that address (whatever its port).
    pub fn has(&self, name: &str, ip: IpAddr) -> bool {
        self.entries(ip).iter().any(|entry| entry.peer.name == name)
    }

    /// Peers that a request by this flow may come from, the best first (chan_sip.md §4.1): same address and port,
    /// else the same address alone when `insecure=port` (UDP) or when the transport is a connection, whose source
    /// port says nothing. The peer must allow the transport.
    pub fn matching(&self, flow: &Flow) -> impl Iterator<Item = &Arc<Peer>> {
        let port = flow.remote.port();
        let entries = self.entries(flow.remote.ip());
        let allowed = move |entry: &&Entry| entry.peer.allows_transport(flow.transport);
        let exact = move |entry: &&Entry| entry.port == port;
        let near = move |entry: &&Entry| {
            entry.port != port && (flow.transport != Transport::Udp || entry.peer.insecure.port)
        };
        let first = entries.iter().filter(allowed).filter(exact);
        first.chain(entries.iter().filter(allowed).filter(near)).map(|entry| &entry.peer)
    }

    fn entries(&self, ip: IpAddr) -> &[Entry] {
        self.by_ip.get(&ip.to_canonical()).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{flow_from, trunk};

    fn found(table: &StaticAddresses, flow: &Flow) -> Vec<String> {
        table.matching(flow).map(|peer| peer.name.clone()).collect()
    }

    fn table(peers: &[Peer]) -> StaticAddresses {
        StaticAddresses::of(&peers.iter().cloned().map(Arc::new).collect::<Vec<_>>())
    }

    #[test]
    fn the_port_counts_unless_insecure_says_it_does_not() {
        let mut loose = trunk("loose", "192.0.2.10");
        loose.insecure.port = true;
        let table = table(&[trunk("strict", "192.0.2.9"), loose]);
        assert_eq!(found(&table, &flow_from("192.0.2.9:5060")), ["strict"]);
        assert_eq!(found(&table, &flow_from("192.0.2.9:40000")), [""; 0]);
        assert_eq!(found(&table, &flow_from("192.0.2.10:40000")), ["loose"]);
        assert_eq!(found(&table, &flow_from("198.51.100.1:5060")), [""; 0]);
    }

    #[test]
    fn over_a_connection_the_source_port_does_not_count() {
        let table = table(&[trunk("strict", "192.0.2.9")]);
        let flow = Flow { transport: Transport::Tcp, ..flow_from("192.0.2.9:40000") };
        assert_eq!(found(&table, &flow), ["strict"]);
    }

    #[test]
    fn a_transport_that_is_not_allowed_does_not_match() {
        let mut tcp = trunk("tcp", "192.0.2.9");
        tcp.transports = vec![Transport::Tcp];
        assert_eq!(found(&table(&[tcp]), &flow_from("192.0.2.9:5060")), [""; 0]);
    }

    #[test]
    fn several_at_one_address_come_in_order_of_name_the_exact_port_first() {
        let mut a = trunk("a", "192.0.2.9");
        a.insecure.port = true;
        a.port = Some(5080);
        let table = table(&[trunk("c", "192.0.2.9"), a, trunk("b", "192.0.2.9")]);
        assert_eq!(found(&table, &flow_from("192.0.2.9:5060")), ["b", "c", "a"]);
    }

    #[test]
    fn a_peer_moves_and_goes() {
        let mut table = table(&[trunk("a", "192.0.2.9")]);
        table.set(Arc::new(trunk("a", "192.0.2.77")), &["192.0.2.77:5060".parse().unwrap()]);
        assert_eq!(found(&table, &flow_from("192.0.2.9:5060")), [""; 0]);
        assert!(table.has("a", "::ffff:192.0.2.77".parse().unwrap()));
        table.remove("a");
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn users_are_never_found_by_address() {
        let user = Peer { kind: fairlead_model::peer::PeerType::User, ..trunk("u", "192.0.2.9") };
        assert_eq!(found(&table(&[user]), &flow_from("192.0.2.9:5060")), [""; 0]);
    }
}
