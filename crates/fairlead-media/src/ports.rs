//! The relay's ports: opened once at start, each owned by one worker, and where each is seen from outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use fairlead_model::surroundings::{MediaAddress, reach};
use parking_lot::RwLock;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, Network, StartError};

/// What a socket asks the kernel to keep for it, bytes. Without CAP_NET_ADMIN it gives what `net.core.rmem_max` allows.
const BUFFER: usize = 4 * 1024 * 1024;

/// One port with the one after it, on one bound address.
#[derive(Debug)]
pub(crate) struct PortPair {
    /// Index into [`Places::binds`].
    pub bind: usize,
    /// The even port.
    pub port: u16,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    /// What the kernel had dropped of both when it was last asked.
    pub overflowed: [u32; 2],
}

/// Where the relay is.
#[derive(Debug)]
pub(crate) struct Places {
    /// Each address that ports are bound to, once.
    pub binds: Vec<IpAddr>,
    /// `None`: this pod owns no ports.
    range: Option<(u16, u16)>,
    /// As it was started.
    networks: Vec<Network>,
    /// Where nothing else is known, the machine's own address will do.
    own_address: bool,
    /// What it was told at run time.
    told: RwLock<Vec<MediaAddress>>,
    /// Addresses of this machine that were written into SDP because nothing else was configured; few.
    found: RwLock<Vec<IpAddr>>,
}

/// Where one side of a session is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index into [`Places::binds`].
    pub bind: usize,
    /// The address for SDP.
    pub advertise: IpAddr,
}

/// Opens every port. Those in use by somebody else are left out with a warning.
pub(crate) fn open(config: &Config) -> Result<(Places, Vec<Vec<PortPair>>), StartError> {
    let range = config.ports.as_ref().ok().map(|ports| (*ports.start(), *ports.end()));
    let pairs: Vec<u16> =
        config.ports.as_ref().map(|ports| Config::pairs(ports).collect()).unwrap_or_default();
    if let Some((first, last)) = range
        && pairs.is_empty()
    {
        return Err(StartError::NoPair(first, last));
    }
    let mut binds: Vec<IpAddr> = Vec::new();
    let networks: Vec<Network> = config.networks.iter().map(bound).collect();
    for (at, network) in networks.iter().enumerate() {
        if networks.iter().take(at).any(|other| other.name == network.name) {
            return Err(StartError::Twice(network.name.clone()));
        }
        for place in [network.place(false), network.place(true)].into_iter().flatten() {
            if !binds.contains(&place.bind) && family_exists(place.bind) {
                binds.push(place.bind);
            }
        }
    }
    if binds.is_empty() {
        return Err(StartError::NoAddress);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut owned: Vec<Vec<PortPair>> =
        (0..workers(config.workers, cores, pairs.len())).map(|_| Vec::new()).collect();
    let count = owned.len();
    for (at, &port) in pairs.iter().enumerate() {
        for (bind, &address) in binds.iter().enumerate() {
            let opened = udp(address, port).and_then(|rtp| udp(address, port + 1).map(|rtcp| (rtp, rtcp)));
            match opened {
                Ok((rtp, rtcp)) => {
                    owned[at % count].push(PortPair { bind, port, rtp, rtcp, overflowed: [0; 2] })
                }
                Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!(port, %address, "RTP port is in use by somebody else and left out");
                }
                Err(cause) => return Err(StartError::Bind { bind: address, port, cause }),
            }
        }
    }
    owned.retain(|ports| !ports.is_empty());
    if let Some((first, last)) = range
        && owned.is_empty()
    {
        return Err(StartError::AllTaken { first, last });
    }
    let places = Places {
        binds,
        range,
        networks,
        own_address: config.own_address,
        told: RwLock::default(),
        found: RwLock::default(),
    };
    Ok((places, owned))
}

/// How many workers there are. One that has a single port could not open a call between two phones behind one address: both
/// would wait on it. Unless somebody says a number, each therefore has some ports.
fn workers(wanted: usize, cores: usize, pairs: usize) -> usize {
    const PAIRS_OF_A_WORKER: usize = 4;
    match wanted {
        0 => cores.min((pairs / PAIRS_OF_A_WORKER).max(1)).min(pairs),
        wanted => wanted.min(pairs),
    }
}

/// A wildcard that is known as an address of this very machine is bound to that address: else the kernel would choose
/// another one for what leaves, and phones that were told this one would drop it.
fn bound(network: &Network) -> Network {
    let mut network = network.clone();
    if let Some(v4) = &mut network.v4
        && let Some(advertise) = v4.advertise.filter(|_| v4.bind.is_unspecified())
        && is_here(advertise.into())
    {
        v4.bind = advertise;
    }
    if let Some(v6) = &mut network.v6
        && let Some(advertise) = v6.advertise.filter(|_| v6.bind.is_unspecified())
        && is_here(advertise.into())
    {
        v6.bind = advertise;
    }
    network
}

fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// `::` is bound by default and skipped on machines that have no IPv6 at all.
fn family_exists(address: IpAddr) -> bool {
    if address.is_ipv4() {
        return true;
    }
    let exists = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.bind(&SocketAddr::new(address, 0).into()))
        .is_ok();
    if !exists && address.is_unspecified() {
        tracing::warn!("this machine has no IPv6; RTP is relayed over IPv4 only");
    }
    exists || !address.is_unspecified()
}

fn udp(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Each family has sockets of its own, so that no address ever is a mapped one.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Beyond what the system allows only with CAP_NET_ADMIN.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    socket.set_send_buffer_size(BUFFER)?;
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket.into())
}

impl Places {
    /// Writes these addresses into SDP from now on, instead of those that it was started with; per network and family.
    /// No port is bound anew: a network goes on where it was, one that is new where the default one is.
    pub fn tell(&self, told: Vec<MediaAddress>) {
        *self.told.write() = told;
    }

    /// Whether there is an address in any network.
    pub fn is_known(&self) -> bool {
        let places = |network: &Network| [network.place(false), network.place(true)];
        let given = |network| places(network).into_iter().flatten().any(|place| place.advertise.is_some());
        let is_of_use =
            |told: &MediaAddress| self.bound_place(&told.network, told.address.is_ipv6()).is_some();
        self.own_address || self.networks.iter().any(given) || self.told.read().iter().any(is_of_use)
    }

    /// All addresses that may be written, with the address that the sockets behind them are bound to.
    pub fn advertised(&self) -> Vec<(IpAddr, IpAddr)> {
        let mut all = Vec::new();
        let mut add = |address: IpAddr, bind: IpAddr| {
            if !all.contains(&(address, bind)) {
                all.push((address, bind));
            }
        };
        let told = self.told.read();
        for told in told.iter() {
            if let Some(place) = self.bound_place(&told.network, told.address.is_ipv6()) {
                add(told.address, place.bind);
            }
        }
        for network in &self.networks {
            for (place, ipv6) in [(network.place(false), false), (network.place(true), true)] {
                let replaced =
                    told.iter().any(|told| told.network == network.name && told.address.is_ipv6() == ipv6);
                if let Some(place) = place.filter(|_| !replaced)
                    && let Some(address) = place.advertise
                {
                    add(address, place.bind);
                }
            }
        }
        all
    }

    /// What a network was started with in a family; a new one is where the default one is.
    fn bound_place(&self, network: &str, ipv6: bool) -> Option<crate::config::Place<IpAddr>> {
        let known = self.networks.iter().find(|known| known.name == network);
        let place = match known {
            Some(known) => known.place(ipv6)?,
            None => crate::config::Place { advertise: None, ..self.networks.first()?.place(ipv6)? },
        };
        self.binds.contains(&place.bind).then_some(place)
    }

    /// Where a side of `network` is served in a family, when its other end is at `near`. What was told counts first; the
    /// longest prefix that holds `near` decides, what is told for no prefix in particular is for all others.
    pub fn place(&self, network: &str, ipv6: bool, near: IpAddr) -> Option<Place> {
        let near = near.to_canonical();
        let told = self.told.read();
        let of_network = || told.iter().filter(|told| told.network == network);
        if of_network().next().is_none() && !self.networks.iter().any(|known| known.name == network) {
            return None;
        }
        let place = self.bound_place(network, ipv6)?;
        let bind = self.binds.iter().position(|&bind| bind == place.bind)?;
        let mut best: Option<(u8, IpAddr)> = None;
        for told in of_network().filter(|told| told.address.is_ipv6() == ipv6) {
            if let Some(fit) = reach(&told.destinations, near)
                && best.is_none_or(|(known, _)| fit > known)
            {
                best = Some((fit, told.address));
            }
        }
        let advertise = match best.map(|(_, address)| address).or(place.advertise) {
            Some(address) => address,
            None if !self.own_address => return None,
            None if !place.bind.is_unspecified() => place.bind,
            None => self.leaving(near, ipv6)?,
        };
        Some(Place { bind, advertise })
    }

    /// The address of this machine that packets to `near` leave from. No packet is sent.
    fn leaving(&self, near: IpAddr, ipv6: bool) -> Option<IpAddr> {
        let unspecified: IpAddr =
            if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let near = match (near.is_ipv6() == ipv6, ipv6) {
            (true, _) => near,
            // The other family's default route: any public address will do.
            (false, true) => Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888).into(),
            (false, false) => Ipv4Addr::new(8, 8, 8, 8).into(),
        };
        let address = UdpSocket::bind((unspecified, 0))
            .and_then(|socket| socket.connect((near, 9)).and_then(|()| socket.local_addr()))
            .ok()
            .map(|local| local.ip())
            .filter(|address| !address.is_unspecified())
            // Without a route: the only address that is left.
            .unwrap_or(if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
        if !self.found.read().contains(&address) {
            self.found.write().push(address);
        }
        Some(address)
    }

    /// A remote address as this machine reaches it, and whether it is a port of this very relay: a call that went out
    /// and came back. Such packets take the short way, whatever stands between the pod and the address that it advertises.
    pub fn reach(&self, remote: SocketAddr) -> (SocketAddr, bool) {
        if !self.range.is_some_and(|(first, last)| (first..=last).contains(&remote.port())) {
            return (remote, false);
        }
        let started = self.networks.iter().filter_map(|network| network.place(remote.is_ipv6()));
        let bind = started
            .filter(|place| place.advertise == Some(remote.ip()) || place.bind == remote.ip())
            .map(|place| place.bind)
            .next()
            .or_else(|| {
                let told = self.told.read();
                let told = told.iter().find(|told| told.address == remote.ip())?;
                Some(self.bound_place(&told.network, remote.is_ipv6())?.bind)
            });
        match bind {
            Some(bind) if !bind.is_unspecified() => (SocketAddr::new(bind, remote.port()), true),
            Some(IpAddr::V4(_)) => (SocketAddr::new(Ipv4Addr::LOCALHOST.into(), remote.port()), true),
            Some(IpAddr::V6(_)) => (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), remote.port()), true),
            None => (remote, self.found.read().contains(&remote.ip())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::workers;

    #[test]
    fn many_cores_do_not_leave_a_worker_with_a_single_port() {
        // The chart's default: ten pairs a pod.
        for cores in 1..=128 {
            let count = workers(0, cores, 10);
            assert!(10 / count >= 4, "{cores} cores: {count} workers");
        }
        assert_eq!(workers(0, 8, 200), 8);
        assert_eq!(workers(0, 8, 2), 1);
        assert_eq!(workers(0, 8, 0), 0);
        assert_eq!(workers(8, 2, 10), 8, "as somebody says");
        assert_eq!(workers(8, 2, 3), 3);
    }
}
