//! What the role is told at its start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use fairlead_core::input::Network;
use fairlead_model::flow::Transport;
use fairlead_proto::tls::PodTls;
use sip_net::limits::ConnectionLimits;

/// All of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// SIP listeners; the first of a transport and family is the default for messages to addresses.
    pub listeners: Vec<Listener>,
    /// How many shards; 0 for one per core.
    pub shards: u8,
    /// Where mesh and operator are served by gRPC; `None` where nobody else could ask (`standalone`).
    pub grpc: Option<SocketAddr>,
    /// How other pods reach it, if not at the address it listens on.
    pub grpc_advertise: Option<SocketAddr>,
    /// Limits of connections.
    pub connections: ConnectionLimits,
    /// Limits of queues.
    pub queues: Queues,
    /// Receive buffer of each UDP socket, octets; the system may grant less.
    pub udp_buffer: usize,
    /// Whether spans are made for messages, questions and orders. To be set when traces are exported.
    pub traced: bool,
    /// How other pods are known, and how they know this one.
    pub tls: PodTls,
    /// How long a pod that drains stays, without calls as well, for phones whose flows only it has (behind a Service).
    pub flow_linger: Duration,
    /// Addresses of the node that this pod runs on, if it does: who comes from there may hide somebody else.
    pub host_ips: Vec<IpAddr>,
}

impl Config {
    /// These listeners, everything else as it is usually wanted.
    pub fn new(listeners: Vec<Listener>, grpc: Option<SocketAddr>) -> Self {
        Config {
            listeners,
            shards: 0,
            grpc,
            grpc_advertise: None,
            connections: ConnectionLimits::default(),
            queues: Queues::default(),
            udp_buffer: 4 << 20,
            traced: false,
            tls: PodTls::off(),
            flow_linger: Duration::from_secs(30),
            host_ips: Vec::new(),
        }
    }

    /// The number of shards that is meant, 1 to 64.
    pub fn shard_count(&self) -> u8 {
        let wanted = match self.shards {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64)),
            some => usize::from(some),
        };
        u8::try_from(wanted.clamp(1, 64)).unwrap_or(1)
    }
}

/// How long queues may be. New requests are shed at half of each; responses, ACK, CANCEL and BYE at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Messages from other shards and pods that wait for one shard.
    pub messages: usize,
    /// Answers and other news that wait for one shard.
    pub news: usize,
    /// Questions of this pod that are on their way.
    pub asks: usize,
    /// Orders to relays that are on their way.
    pub orders: usize,
    /// Messages that wait for one other pod.
    pub mesh: usize,
    /// Names that are looked up at once.
    pub lookups: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Queues { messages: 4096, news: 16_384, asks: 16_384, orders: 4096, mesh: 4096, lookups: 64 }
    }
}

/// One SIP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its network; empty for the default one.
    pub network: String,
    /// UDP or TCP.
    pub transport: Transport,
    /// Where it is bound; an IPv6 wildcard takes IPv4 as well.
    pub bind: SocketAddr,
    /// What Via and Contact say instead of the listener's own address: host (name or address) and port (the
    /// listener's own when absent). An address counts for its family alone, a name for both.
    pub advertise: Vec<(String, Option<u16>)>,
    /// Any pod of the edge may send from it, not only the one that a phone's packets reach.
    pub routed: bool,
    /// It has no address of its own that anybody could use (behind a Kubernetes Service): until one is advertised or told
    /// at run time, calls are refused. For a wildcard only.
    pub awaits: bool,
}

impl Listener {
    /// One of the default network that advertises where it is.
    pub fn new(transport: Transport, bind: SocketAddr) -> Self {
        Listener {
            network: String::new(),
            transport,
            bind,
            advertise: Vec::new(),
            routed: false,
            awaits: false,
        }
    }

    /// Its networks as a shard knows them, one a family: `bound` is where it is really bound.
    pub(crate) fn networks(&self, bound: SocketAddr) -> Vec<Network> {
        let mut families = vec![bound.ip()];
        if matches!(bound.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
            // First the older one: it is what most phones have.
            families.insert(0, IpAddr::from([0, 0, 0, 0]));
        }
        families.into_iter().filter_map(|ip| self.network(ip, bound.port())).collect()
    }

    fn network(&self, ip: IpAddr, port: u16) -> Option<Network> {
        let fits = |host: &str| match host.parse::<IpAddr>() {
            Ok(address) => address.is_ipv4() == ip.is_ipv4(),
            Err(_) => true,
        };
        let told = self.advertise.iter().any(|(host, _)| fits(host));
        let advertised = match self.advertise.iter().find(|(host, _)| fits(host)) {
            Some((host, said)) => (host.clone(), said.unwrap_or(port)),
            None => (own_address(ip)?.to_string(), port),
        };
        let awaits = self.awaits && ip.is_unspecified();
        Some(Network {
            name: self.network.clone(),
            transport: self.transport,
            bind: SocketAddr::new(ip, port),
            advertised,
            told,
            awaits,
            routed: self.routed,
        })
    }
}

/// The address itself; for a wildcard the one by which this host would reach the world, else the loopback. `None` for a
/// family that this host does not have.
fn own_address(ip: IpAddr) -> Option<IpAddr> {
    if !ip.is_unspecified() {
        return Some(ip);
    }
    let loopback: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    towards_world(ip)
        .or_else(|| sip_net::address::ask_routing(SocketAddr::new(loopback, 5060)).ok().map(|_| loopback))
}

/// The address by which this host would reach the world in the family of `any`; `None` where it does not.
pub fn towards_world(any: IpAddr) -> Option<IpAddr> {
    // Documentation addresses (RFC 5737, RFC 3849): routed like any other, and nothing is sent.
    let world: IpAddr = match any {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    sip_net::address::ask_routing(SocketAddr::new(world, 5060)).ok().filter(|own| !own.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_of_both_families_is_two_networks_with_what_is_advertised_for_each() {
        let listener = Listener {
            advertise: vec![("203.0.113.5".to_owned(), Some(5080)), ("2001:db8::5".to_owned(), None)],
            ..Listener::new(Transport::Udp, "[::]:0".parse().unwrap())
        };
        let networks = listener.networks("[::]:5061".parse().unwrap());
        let written: Vec<_> = networks.iter().map(|n| (n.bind.to_string(), n.advertised.clone())).collect();
        assert_eq!(
            written,
            [
                ("0.0.0.0:5061".to_owned(), ("203.0.113.5".to_owned(), 5080)),
                ("[::]:5061".to_owned(), ("2001:db8::5".to_owned(), 5061)),
            ]
        );
    }

    #[test]
    fn a_name_is_advertised_for_both_families_and_an_address_of_its_own_by_itself() {
        let mut listener = Listener::new(Transport::Tcp, "127.0.0.1:5060".parse().unwrap());
        assert_eq!(listener.networks(listener.bind)[0].advertised, ("127.0.0.1".to_owned(), 5060));
        listener.advertise.push(("sip.example.org".to_owned(), None));
        assert_eq!(listener.networks(listener.bind)[0].advertised, ("sip.example.org".to_owned(), 5060));
    }
}
