//! Values of settings that name SIP listeners and addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use fairlead_model::flow::Transport;
use fairlead_runtime::settings::value::{BadValue, SettingValue};

/// `[NETWORK=]TRANSPORT:IP:PORT[,routed]`: one SIP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its network; empty for the default one.
    pub network: String,
    /// By which transport.
    pub transport: Transport,
    /// Where it is bound.
    pub bind: SocketAddr,
    /// Any pod of the edge may send from it: phones are reached without their packets having come here first.
    pub routed: bool,
}

impl SettingValue for Listen {
    const ALLOWED: &'static str = "[NETWORK=]udp|tcp:IP:PORT[,routed], with brackets around an IPv6 address";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (network, rest) = network(text)?;
        let (rest, routed) = match rest.split_once(',') {
            None => (rest, false),
            Some((rest, "routed")) => (rest, true),
            Some(_) => return Err(BadValue),
        };
        let (transport, address) = rest.split_once(':').ok_or(BadValue)?;
        let transport: Transport = transport.parse().map_err(|_| BadValue)?;
        if !matches!(transport, Transport::Udp | Transport::Tcp) {
            return Err(BadValue);
        }
        let bind = address.parse().map_err(|_| BadValue)?;
        Ok(Listen { network: network.to_owned(), transport, bind, routed })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.bind)
    }
}

/// `[NETWORK=]HOST[:PORT]`: what Via and Contact say for the listeners of a network. An IP address counts for its
/// family alone, a name for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// The network; empty for the default one.
    pub network: String,
    /// A name or an IP address without brackets.
    pub host: String,
    /// The port, if not the listener's own.
    pub port: Option<u16>,
}

impl Advertise {
    /// Whether it is meant for a listener of this network and family.
    pub fn is_for(&self, listen: &Listen) -> bool {
        self.network == listen.network
            && match self.host.parse::<IpAddr>() {
                Ok(address) => {
                    address.is_ipv4() == listen.bind.is_ipv4() || listen.bind.ip().is_unspecified()
                }
                Err(_) => true,
            }
    }
}

impl SettingValue for Advertise {
    const ALLOWED: &'static str = "[NETWORK=]HOST[:PORT], with brackets around an IPv6 address";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (network, rest) = network(text)?;
        let network = network.to_owned();
        if let Some(inner) = rest.strip_prefix('[') {
            let (address, rest) = inner.split_once(']').ok_or(BadValue)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| BadValue)?;
            let port = match rest {
                "" => None,
                _ => Some(port(rest.strip_prefix(':').ok_or(BadValue)?)?),
            };
            return Ok(Advertise { network, host: address.to_owned(), port });
        }
        let (host, port) = match rest.split_once(':') {
            Some((host, digits)) => (host, Some(port(digits)?)),
            None => (rest, None),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(BadValue);
        }
        Ok(Advertise { network, host: host.to_owned(), port })
    }
}

/// `[NETWORK=]IP`: what descriptions name for RTP on a network and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpAddress {
    /// The network; empty for the default one.
    pub network: String,
    /// The address.
    pub address: IpAddr,
}

impl SettingValue for RtpAddress {
    const ALLOWED: &'static str = "[NETWORK=]IP";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (network, rest) = network(text)?;
        Ok(RtpAddress { network: network.to_owned(), address: rest.parse().map_err(|_| BadValue)? })
    }
}

/// `BASE+COUNTxN`: the RTP ports of many pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpSlices(pub fairlead_media::Slices);

impl SettingValue for RtpSlices {
    const ALLOWED: &'static str =
        "BASE+COUNTxN such as 30000+20x4, BASE and COUNT even, all ports from 1024 to 65535";

    fn parse(text: &str) -> Result<Self, BadValue> {
        text.parse().map(RtpSlices).map_err(|_| BadValue)
    }
}

fn network(text: &str) -> Result<(&str, &str), BadValue> {
    match text.split_once('=') {
        None => Ok(("", text)),
        Some((name, rest))
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') =>
        {
            Ok((name, rest))
        }
        Some(_) => Err(BadValue),
    }
}

fn port(digits: &str) -> Result<u16, BadValue> {
    match digits.parse() {
        Ok(0) | Err(_) => Err(BadValue),
        Ok(port) => Ok(port),
    }
}

/// `[NETWORK=]TRANSPORT:HOST:PORT[,DESTINATION…]`: where the world reaches SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedSip(pub fairlead_model::surroundings::SipAddress);

impl SettingValue for ReachedSip {
    const ALLOWED: &'static str =
        "[NETWORK=]udp|tcp|tls|ws|wss:HOST:PORT[,NETWORK/BITS...], with brackets around an IPv6 address";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (network, rest) = network(text)?;
        let mut parts = rest.split(',');
        let (transport, address) = parts.next().and_then(|first| first.split_once(':')).ok_or(BadValue)?;
        let (host, port) = address.rsplit_once(':').ok_or(BadValue)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadValue)?;
        if host.is_empty() || (host.contains(':') && host.parse::<IpAddr>().is_err()) {
            return Err(BadValue);
        }
        Ok(ReachedSip(fairlead_model::surroundings::SipAddress {
            network: network.to_owned(),
            transport: transport.parse().map_err(|_| BadValue)?,
            host: host.to_owned(),
            port,
            destinations: parts
                .map(|net| net.trim().parse().map_err(|_| BadValue))
                .collect::<Result<_, _>>()?,
        }))
    }
}

/// A network of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub ipnet::IpNet);

impl SettingValue for Network {
    const ALLOWED: &'static str = "ADDRESS/BITS";

    fn parse(text: &str) -> Result<Self, BadValue> {
        text.parse().map(Network).map_err(|_| BadValue)
    }
}

/// How the world reaches relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaExposure(pub fairlead_operator::Exposure);

impl SettingValue for MediaExposure {
    const ALLOWED: &'static str = "nodePort, loadBalancer, hostPort, hostNetwork or podIP";

    fn parse(text: &str) -> Result<Self, BadValue> {
        use fairlead_operator::Exposure;
        Ok(MediaExposure(match text {
            "nodePort" => Exposure::NodePort,
            "loadBalancer" => Exposure::LoadBalancer,
            "hostPort" => Exposure::HostPort,
            "hostNetwork" => Exposure::HostNetwork,
            "podIP" => Exposure::PodIp,
            _ => return Err(BadValue),
        }))
    }
}

/// Where certificates of pods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// The operator makes them.
    Generated,
    /// From elsewhere (cert-manager, by hand), or there are none.
    Files,
}

impl SettingValue for TlsMode {
    const ALLOWED: &'static str = "generated or files";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "generated" => Ok(TlsMode::Generated),
            "files" => Ok(TlsMode::Files),
            _ => Err(BadValue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_names_transport_address_and_perhaps_a_network() {
        let listen = Listen::parse("udp:[::]:5060").unwrap();
        assert_eq!((listen.network.as_str(), listen.transport, listen.routed), ("", Transport::Udp, false));
        let listen = Listen::parse("lan=tcp:10.0.0.1:5070,routed").unwrap();
        assert_eq!((listen.network.as_str(), listen.bind.port(), listen.routed), ("lan", 5070, true));
        for bad in
            ["udp", "udp:5060", "sctp:1.2.3.4:5060", "=udp:1.2.3.4:1", "udp:1.2.3.4:1,x", "tls:1.2.3.4:1"]
        {
            assert!(Listen::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_advertised_address_is_for_its_family() {
        let v4 = Advertise::parse("203.0.113.7").unwrap();
        let v6 = Advertise::parse("[2001:db8::1]:5070").unwrap();
        let name = Advertise::parse("lan=sip.example.com").unwrap();
        let listen = |text| Listen::parse(text).unwrap();
        assert!(v4.is_for(&listen("udp:10.0.0.1:5060")) && !v4.is_for(&listen("udp:[fd00::1]:5060")));
        assert!(v6.is_for(&listen("udp:[fd00::1]:5060")) && !v6.is_for(&listen("udp:10.0.0.1:5060")));
        assert!(name.is_for(&listen("lan=udp:10.0.0.1:5060")) && !name.is_for(&listen("udp:10.0.0.1:5060")));
        assert_eq!(v6.port, Some(5070));
        assert!(
            Advertise::parse("a b").is_err()
                && Advertise::parse("[x]").is_err()
                && Advertise::parse("h:0").is_err()
        );
    }
}
