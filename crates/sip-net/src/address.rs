//! Addresses as everybody else sees them, and as a socket of two families wants them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// An IPv4-mapped IPv6 address as the IPv4 address that it is (architecture: normalised at the socket).
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port()).with_scope_of(address)
}

trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> SocketAddr;
}

impl WithScope for SocketAddr {
    /// Only link-local addresses mean nothing without their interface.
    fn with_scope_of(mut self, other: SocketAddr) -> SocketAddr {
        if let (SocketAddr::V6(this), SocketAddr::V6(other)) = (&mut self, other)
            && this.ip().is_unicast_link_local()
        {
            this.set_scope_id(other.scope_id());
        }
        self
    }
}

/// The address as an IPv6 socket writes it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

/// From which of this host's addresses a packet to somebody leaves.
///
/// A wildcard socket learns that only for answers (the packet said it); for requests that we begin the routing
/// table is asked, and its word is kept for a while.
#[derive(Debug)]
pub struct LocalAddresses {
    known: HashMap<IpAddr, (IpAddr, Instant)>,
}

/// How long a looked-up local address is believed.
const BELIEVED: Duration = Duration::from_secs(30);

/// How many are kept.
const KEPT: usize = 4096;

impl Default for LocalAddresses {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalAddresses {
    /// With nothing known.
    pub fn new() -> Self {
        LocalAddresses { known: HashMap::new() }
    }

    /// The local address that reaches `remote`, or why there is none.
    pub fn towards(&mut self, remote: SocketAddr, now: Instant) -> io::Result<IpAddr> {
        if let Some((local, at)) = self.known.get(&remote.ip())
            && now.duration_since(*at) < BELIEVED
        {
            return Ok(*local);
        }
        let local = ask_routing(remote)?;
        if self.known.len() >= KEPT {
            self.known.retain(|_, (_, at)| now.duration_since(*at) < BELIEVED);
            if self.known.len() >= KEPT {
                self.known.clear();
            }
        }
        self.known.insert(remote.ip(), (local, now));
        Ok(local)
    }
}

/// Asks the routing table by connecting a UDP socket: no packet is sent.
pub fn ask_routing(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Port 0 cannot be connected to everywhere; any other does.
    let port = if remote.port() == 0 { 5060 } else { remote.port() };
    let mut to = remote;
    to.set_port(port);
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let mapped_form: SocketAddr = "[::ffff:192.0.2.1]:5060".parse().unwrap();
        let plain_form: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        assert_eq!(plain(mapped_form), plain_form);
        assert_eq!(mapped(plain_form), mapped_form);
        let v6: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
        assert_eq!(plain(v6), v6);
        assert_eq!(mapped(v6), v6);
    }

    #[test]
    fn the_loopback_is_reached_from_the_loopback() {
        let mut local = LocalAddresses::new();
        let now = Instant::now();
        let there: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        assert_eq!(local.towards(there, now).unwrap(), there.ip());
        assert_eq!(local.towards(there, now).unwrap(), there.ip());
    }
}
