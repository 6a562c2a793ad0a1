//! What our messages say of us: the address that the operator named, the one by which the world reaches the edge
//! ([`fairlead_model::surroundings`]), or the listener's own.
//!
//! Behind a Kubernetes Service a listener has no address of its own: the pod's is gone with the pod, and no phone can
//! reach it. Such a listener *awaits* one ([`Network::awaits`]); until it is told, nothing that would carry an address
//! leaves by it: OPTIONS and REGISTER are answered (their answers name nothing of ours), calls are not begun.

use std::net::IpAddr;

use fairlead_model::flow::Transport;
use fairlead_model::surroundings::{SipAddress, reach};

use crate::input::Network;

/// What a network says of us towards a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says<'a> {
    /// This host and port, for every pod of the edge alike.
    Told(&'a str, u16),
    /// Its own address.
    Own,
    /// Nothing: no address is known yet.
    Nothing,
}

/// What a network says towards a destination: what the setting says, else what is known of the surroundings (the longest
/// prefix decides), else its own address, if it has one.
pub(crate) fn says<'a>(network: &'a Network, told: &'a [SipAddress], destination: IpAddr) -> Says<'a> {
    if network.told {
        return Says::Told(&network.advertised.0, network.advertised.1);
    }
    let fitting = told.iter().filter(|address| is_for(address, network) && family_fits(address, destination));
    let best = fitting
        .filter_map(|address| Some((reach(&address.destinations, destination)?, address)))
        .max_by(|a, b| {
            // Of several that fit equally well the first one counts.
            a.0.cmp(&b.0).then(std::cmp::Ordering::Greater)
        });
    match best {
        Some((_, address)) => Says::Told(&address.host, address.port),
        None if network.awaits => Says::Nothing,
        None => Says::Own,
    }
}

/// Whether every listener can say how it is reached, by one family at least.
pub fn are_known(networks: &[Network], told: &[SipAddress]) -> bool {
    networks.iter().all(|network| {
        let twins = networks.iter().filter(|n| (&n.name, n.transport) == (&network.name, network.transport));
        twins.into_iter().any(|twin| !twin.awaits || twin.told)
            || told.iter().any(|address| is_for(address, network))
    })
}

/// Whether a request to this address would come back to the edge.
pub(crate) fn leads_home(told: &[SipAddress], transport: Transport, host: &str, port: u16) -> bool {
    told.iter().any(|address| {
        address.transport == transport && address.port == port && address.host.eq_ignore_ascii_case(host)
    })
}

fn is_for(address: &SipAddress, network: &Network) -> bool {
    address.network == network.name && address.transport == network.transport
}

/// A name may stand for both families, an address only for its own.
fn family_fits(address: &SipAddress, destination: IpAddr) -> bool {
    match address.host.parse::<IpAddr>() {
        Ok(ip) => ip.is_ipv4() == destination.is_ipv4(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(awaits: bool) -> Network {
        Network {
            name: String::new(),
            transport: Transport::Udp,
            bind: ([0, 0, 0, 0], 5060).into(),
            advertised: ("10.244.1.7".to_owned(), 5060),
            told: false,
            awaits,
            routed: false,
        }
    }

    fn address(host: &str, destinations: &[&str]) -> SipAddress {
        SipAddress {
            network: String::new(),
            transport: Transport::Udp,
            host: host.to_owned(),
            port: 5060,
            destinations: destinations.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_that_awaits_an_address_says_nothing_before_it_is_told() {
        let far = ip("198.51.100.9");
        assert_eq!(says(&network(true), &[], far), Says::Nothing);
        assert_eq!(says(&network(false), &[], far), Says::Own);
        let told = [address("203.0.113.5", &[])];
        assert_eq!(says(&network(true), &told, far), Says::Told("203.0.113.5", 5060));
        assert_eq!(says(&network(false), &told, far), Says::Told("203.0.113.5", 5060));
        let v6 = [address("2001:db8::5", &[])];
        assert_eq!(says(&network(true), &v6, far), Says::Nothing, "the other family's address is none");
    }

    #[test]
    fn the_longest_prefix_of_the_destination_decides() {
        let told = [
            address("203.0.113.5", &[]),
            address("10.0.0.5", &["10.0.0.0/8", "192.168.0.0/16"]),
            address("10.1.0.5", &["10.1.0.0/16"]),
            address("203.0.113.6", &[]),
        ];
        let awaiting = network(true);
        let at = |destination| says(&awaiting, &told, ip(destination));
        assert_eq!(at("198.51.100.9"), Says::Told("203.0.113.5", 5060));
        assert_eq!(at("10.9.9.9"), Says::Told("10.0.0.5", 5060));
        assert_eq!(at("192.168.7.7"), Says::Told("10.0.0.5", 5060));
        assert_eq!(at("10.1.9.9"), Says::Told("10.1.0.5", 5060));
    }

    #[test]
    fn what_the_setting_says_counts_before_what_is_found_out() {
        let fixed = Network { told: true, ..network(true) };
        assert_eq!(
            says(&fixed, &[address("203.0.113.5", &[])], ip("198.51.100.9")),
            Says::Told("10.244.1.7", 5060)
        );
    }

    #[test]
    fn another_network_or_transport_has_its_own_address() {
        let tcp = SipAddress { transport: Transport::Tcp, ..address("203.0.113.5", &[]) };
        let lan = SipAddress { network: "lan".to_owned(), ..address("203.0.113.5", &[]) };
        assert_eq!(says(&network(true), &[tcp, lan], ip("198.51.100.9")), Says::Nothing);
    }

    #[test]
    fn addresses_are_known_when_each_listener_has_one_of_either_family() {
        let v6 = Network { bind: "[::]:5060".parse().unwrap(), ..network(true) };
        let tcp = Network { transport: Transport::Tcp, ..network(true) };
        let told = [address("203.0.113.5", &[])];
        assert!(are_known(&[network(true), v6.clone()], &told));
        assert!(!are_known(&[network(true), v6, tcp], &told));
        assert!(!are_known(&[network(true)], &[]));
        assert!(are_known(&[network(false)], &[]));
    }
}
