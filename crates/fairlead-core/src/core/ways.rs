//! Networks and next hops: what our messages say about where they come from, and where they go.

use std::net::IpAddr;

use fairlead_call::call::NotReached;
use fairlead_call::leg::Outlet;
use fairlead_model::flow::Hop;
use fairlead_model::peer::EffectiveNat;
use sip_wire::Uri;

use super::*;
use crate::addresses::{self, Says};
use crate::input::Network;

impl Core {
    /// The network by which messages of a flow leave, and what they say of us; `None` while no address is known.
    ///
    /// A flow of another pod leaves from that pod's address: behind one Service all pods advertise what the operator
    /// said, and our own network of that kind says it; otherwise the flow's local address is what the phone sees.
    pub(super) fn outlet_of_flow(&self, flow: &Flow, nat: EffectiveNat) -> Option<(usize, Outlet)> {
        let networks = &self.identity.networks;
        let exact = networks.iter().position(|n| n.transport == flow.transport && n.bind == flow.local);
        let wild = || {
            networks.iter().position(|n| {
                n.transport == flow.transport
                    && n.bind.ip().is_unspecified()
                    && n.bind.port() == flow.local.port()
                    && serves(n, flow.local.ip())
            })
        };
        let found = exact.or_else(wild);
        let foreign = flow.pod != self.identity.pod;
        let host_port = match found.and_then(|at| networks.get(at)) {
            // A routed pod has an address of its own, which only its flows tell.
            Some(network) if foreign && network.routed => flow.local.to_string(),
            Some(network) => match addresses::says(network, &self.told, flow.remote.ip()) {
                Says::Told(host, port) => host_port(host, port),
                Says::Nothing => return None,
                Says::Own if !foreign && !network.bind.ip().is_unspecified() => {
                    host_port(&network.advertised.0, network.advertised.1)
                }
                // On a wildcard the phone talks to the address that its packets came to.
                Says::Own => flow.local.to_string(),
            },
            None if networks.iter().any(|network| network.awaits && network.transport == flow.transport) => {
                return None;
            }
            None => flow.local.to_string(),
        };
        let network = found.and_then(|at| networks.get(at)).map(|n| n.name.clone()).unwrap_or_default();
        let outlet = Outlet {
            network,
            transport: flow.transport,
            host_port,
            remote: flow.remote.ip(),
            port: flow.remote.port(),
            nat,
        };
        Some((found.unwrap_or(0), outlet))
    }

    /// The network for a message to an address, and what it says of us; `None` where no network leads there, or no
    /// address of ours is known.
    fn outlet_to(
        &self,
        transport: Transport,
        remote: SocketAddr,
        nat: EffectiveNat,
    ) -> Option<(usize, Outlet)> {
        let at =
            self.identity.networks.iter().position(|n| n.transport == transport && serves(n, remote.ip()))?;
        let network = self.identity.networks.get(at)?;
        let host_port = match addresses::says(network, &self.told, remote.ip()) {
            Says::Told(host, port) => host_port(host, port),
            Says::Nothing => return None,
            Says::Own if says_something(network) => host_port(&network.advertised.0, network.advertised.1),
            Says::Own => network.bind.to_string(),
        };
        let outlet = Outlet {
            network: network.name.clone(),
            transport,
            host_port,
            remote: remote.ip(),
            port: remote.port(),
            nat,
        };
        Some((at, outlet))
    }

    /// Whether a listener of this transport does not know yet how it is reached.
    pub(super) fn awaits_address(&self, transport: Transport) -> bool {
        let of_transport = self.identity.networks.iter().filter(|n| n.transport == transport);
        of_transport
            .into_iter()
            .any(|network| !addresses::are_known(std::slice::from_ref(network), &self.told))
    }

    /// Whether an address is one of ours: a request sent there would come back (RFC 3261 §16.3 (4)).
    fn is_own(&self, transport: Transport, remote: SocketAddr) -> bool {
        self.identity.networks.iter().filter(|n| n.transport == transport).any(|network| {
            let (host, port) = &network.advertised;
            let advertised = host_port(host, *port).parse::<SocketAddr>().ok();
            let wild = network.bind.ip().is_unspecified()
                && network.bind.port() == remote.port()
                && remote.ip().is_loopback();
            network.bind == remote || advertised == Some(remote) || wild
        }) || self.sources.is_local(transport, remote)
            || addresses::leads_home(&self.told, transport, &remote.ip().to_string(), remote.port())
    }

    /// Whether a name is one that we advertise.
    fn is_own_name(&self, transport: Transport, host: &str, port: Option<u16>) -> bool {
        let port = port.unwrap_or(transport.default_port());
        self.identity.networks.iter().any(|network| {
            network.transport == transport
                && network.advertised.0.eq_ignore_ascii_case(host)
                && network.advertised.1 == port
        }) || addresses::leads_home(&self.told, transport, host, port)
    }

    /// Finds the way of an attempt.
    pub(super) fn reach(&mut self, call: CallRef, attempt: AttemptRef, now: Now) {
        let Some(target) = self.calls.get(&call).and_then(|entry| entry.call.target(attempt)) else { return };
        let nat = target.policy.nat;
        match target.hop.clone() {
            Hop::Flow(flow) if self.router.is_there(flow.pod) => self.reach_flow(call, attempt, &flow, now),
            Hop::Flow(flow) => self.reach_without_owner(call, attempt, &flow, nat, now),
            Hop::Address { transport, host, port } => {
                if let Some(ip) = literal(&host) {
                    let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
                    return self.reach_address(call, attempt, transport, vec![remote], now);
                }
                if self.is_own_name(transport, &host, port) {
                    return self.with_call(call, now, |c, now| c.not_reached(attempt, NotReached::Loop, now));
                }
                self.resolve(host, port, transport, Resolving::Attempt { call, attempt, transport });
            }
        }
    }

    /// An attempt goes out by a flow whose owner is there.
    pub(super) fn reach_flow(&mut self, call: CallRef, attempt: AttemptRef, flow: &Flow, now: Now) {
        let Some(target) = self.calls.get(&call).and_then(|entry| entry.call.target(attempt)) else { return };
        let nat = target.policy.nat;
        let Some((network, outlet)) = self.outlet_of_flow(flow, nat) else {
            let why = NotReached::NoAddress;
            return self.with_call(call, now, |call, now| call.not_reached(attempt, why, now));
        };
        // Its pod may be gone without our knowing it yet.
        let foreign = flow.pod != self.identity.pod;
        let others = match self.speaks_without_owner(flow, nat) {
            Some(own) if foreign && own == network => VecDeque::from([flow.remote]),
            _ => VecDeque::new(),
        };
        let way = Way { to: SendTo::Flow(*flow), flow: Some(*flow), located: Some(*flow), others, network };
        self.set_way(call, Some(attempt), way);
        self.with_call(call, now, |call, now| call.reached(attempt, outlet, 0, now));
    }

    /// The network from which we may speak to a phone whose flow is another pod's: over UDP one that is routed, or, when the
    /// phone's own Contact leads there as well (no force_rport), any but one behind a Service, whose packets the phone
    /// would not hear (architecture: a binding names its flow).
    pub(super) fn speaks_without_owner(&self, flow: &Flow, nat: EffectiveNat) -> Option<usize> {
        self.identity.networks.iter().position(|network| {
            flow.transport == Transport::Udp
                && network.transport == Transport::Udp
                && (network.routed || !(nat.force_rport || network.awaits))
                && serves(network, flow.remote.ip())
        })
    }

    /// The owner of the flow is gone.
    fn reach_without_owner(
        &mut self,
        call: CallRef,
        attempt: AttemptRef,
        flow: &Flow,
        nat: EffectiveNat,
        now: Now,
    ) {
        match self.speaks_without_owner(flow, nat) {
            Some(network) => {
                let Some((_, outlet)) = self.outlet_to(Transport::Udp, flow.remote, nat) else {
                    let why = NotReached::NoAddress;
                    return self.with_call(call, now, |call, now| call.not_reached(attempt, why, now));
                };
                let to = SendTo::Address { network, remote: flow.remote };
                let way = Way { to, flow: None, located: Some(*flow), others: VecDeque::new(), network };
                self.set_way(call, Some(attempt), way);
                self.with_call(call, now, |call, now| call.reached(attempt, outlet, 0, now));
            }
            None if self.hold_attempt(call, attempt, flow, now) => {}
            None => {
                self.with_call(call, now, |call, now| call.not_reached(attempt, NotReached::FlowLost, now))
            }
        }
    }

    fn reach_address(
        &mut self,
        call: CallRef,
        attempt: AttemptRef,
        transport: Transport,
        addresses: Vec<SocketAddr>,
        now: Now,
    ) {
        let Some(target) = self.calls.get(&call).and_then(|entry| entry.call.target(attempt)) else { return };
        let nat = target.policy.nat;
        if addresses.iter().any(|remote| self.is_own(transport, *remote)) {
            return self.with_call(call, now, |call, now| call.not_reached(attempt, NotReached::Loop, now));
        }
        let mut others = self.usable(transport, addresses, nat);
        let first =
            others.pop_front().and_then(|remote| Some((remote, self.outlet_to(transport, remote, nat)?)));
        match first {
            Some((remote, (network, outlet))) => {
                let to = SendTo::Address { network, remote };
                let more = others.len();
                let way = Way { to, flow: None, located: None, others, network };
                self.set_way(call, Some(attempt), way);
                self.with_call(call, now, |call, now| call.reached(attempt, outlet, more, now));
            }
            None => {
                self.with_call(call, now, |call, now| call.not_reached(attempt, NotReached::NoAddress, now))
            }
        }
    }

    /// The addresses of a name that one INVITE may be sent to, one after the other: its offer is written once, with an address
    /// of the family and the network (RFC 8866 §5.7) of the first that can be reached.
    pub(super) fn usable(
        &self,
        transport: Transport,
        addresses: Vec<SocketAddr>,
        nat: EffectiveNat,
    ) -> VecDeque<SocketAddr> {
        let mut first = None;
        addresses
            .into_iter()
            .filter(|remote| {
                let Some((network, _)) = self.outlet_to(transport, *remote, nat) else { return false };
                let kind = (network, remote.is_ipv4());
                *first.get_or_insert(kind) == kind
            })
            .collect()
    }

    pub(super) fn resolve(&mut self, host: String, port: Option<u16>, transport: Transport, why: Resolving) {
        let resolve = ResolveRef(self.next_number());
        self.resolves.insert(resolve, why);
        self.outputs.push_back(Output::Resolve { resolve, host, port, transport });
    }

    pub(super) fn resolved(&mut self, resolve: ResolveRef, addresses: Vec<SocketAddr>, now: Now) {
        match self.resolves.remove(&resolve) {
            Some(Resolving::Attempt { call, attempt, transport }) => {
                self.reach_address(call, attempt, transport, addresses, now);
            }
            Some(Resolving::Request { call, ticket, leg, transport }) => {
                match self.way_to(transport, &addresses) {
                    Some(to) => self.transmit(call, ticket, leg, to, now),
                    None => {
                        self.with_call(call, now, |call, now| call.failed(ticket, Failure::Transport, now))
                    }
                }
            }
            Some(Resolving::Ack { call, leg, message, transport }) => {
                if let Some(to) = self.way_to(transport, &addresses) {
                    if let Some(way) = self.way_mut(call, leg) {
                        way.to = to.clone();
                    }
                    self.send_once(to, "ACK", message);
                }
            }
            Some(Resolving::Qualify { number }) => self.qualify_name(number, addresses, now),
            None => {}
        }
    }

    /// The first of some addresses that a network of ours can reach.
    pub(super) fn way_to(&self, transport: Transport, addresses: &[SocketAddr]) -> Option<SendTo> {
        addresses.iter().find_map(|remote| {
            let (network, _) = self.outlet_to(transport, *remote, EffectiveNat::default())?;
            Some(SendTo::Address { network, remote: *remote })
        })
    }

    /// What messages that go there say of us.
    pub(super) fn outlet_of(&self, to: &SendTo, nat: EffectiveNat) -> Option<(usize, Outlet)> {
        match to {
            SendTo::Flow(flow) => self.outlet_of_flow(flow, nat),
            SendTo::Address { network, remote } => {
                let transport = self.identity.networks.get(*network)?.transport;
                self.outlet_to(transport, *remote, nat)
            }
        }
    }

    /// What messages of a leg say of us. A dialog goes on with the address that it has should none be known any more.
    pub(super) fn outlet_of_leg(
        &mut self,
        call: CallRef,
        leg: LegRef,
        to: &SendTo,
        nat: EffectiveNat,
    ) -> Option<(usize, Outlet)> {
        if let Some(found) = self.outlet_of(to, nat) {
            return Some(found);
        }
        let network = self.way_mut(call, leg)?.network;
        let outlet = self.calls.get(&call)?.call.outlet(leg)?;
        Some((network, Outlet { nat, ..outlet.clone() }))
    }

    /// The topmost Via of a request of ours, with a branch never used before.
    pub(super) fn via(&mut self, outlet: &Outlet) -> Option<String> {
        let number = self.next_number();
        let branch = self.mint(Kind::Branch, number, 0)?;
        Some(format!(
            "SIP/2.0/{} {};branch={}{branch};rport",
            outlet.transport.upper(),
            outlet.host_port,
            crate::mint::MAGIC_COOKIE
        ))
    }

    pub(super) fn set_way(&mut self, call: CallRef, attempt: Option<AttemptRef>, way: Way) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        match entry.ways.iter_mut().find(|(known, _)| *known == attempt) {
            Some((_, known)) => *known = way,
            None => entry.ways.push((attempt, way)),
        }
    }

    pub(super) fn way_mut(&mut self, call: CallRef, leg: LegRef) -> Option<&mut Way> {
        let entry = self.calls.get_mut(&call)?;
        let attempt = entry.call.attempt_of(leg);
        entry.ways.iter_mut().find(|(known, _)| *known == attempt).map(|(_, way)| way)
    }

    /// The peer of a leg is reached by this flow from now on.
    pub(super) fn set_flow(&mut self, call: CallRef, leg: LegRef, flow: &Flow) {
        if let Some(way) = self.way_mut(call, leg) {
            way.flow = Some(*flow);
        }
    }
}

/// A URI's next hop: transport, host, port (RFC 3263 §4 without DNS).
pub(super) fn hop_of(uri: &str) -> Option<(Transport, String, Option<u16>)> {
    let uri = Uri::parse(uri).ok().filter(Uri::is_sip)?;
    let transport = match uri.transport() {
        Some(name) => name.parse().ok()?,
        None => Transport::Udp,
    };
    let host = uri.param("maddr").unwrap_or(uri.host());
    Some((transport, host.trim_start_matches('[').trim_end_matches(']').to_owned(), uri.port()))
}

/// An IP address written as such.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn serves(network: &Network, ip: IpAddr) -> bool {
    match network.bind.ip() {
        IpAddr::V4(_) => ip.is_ipv4(),
        // A wildcard listener of IPv6 serves both families.
        IpAddr::V6(bound) => ip.is_ipv6() || bound.is_unspecified(),
    }
}

/// Whether the network advertises an address at all; a wildcard that was told none says the local one.
fn says_something(network: &Network) -> bool {
    let host = &network.advertised.0;
    !host.is_empty() && !literal(host).is_some_and(|ip| ip.is_unspecified())
}

fn host_port(host: &str, port: u16) -> String {
    match literal(host) {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}
