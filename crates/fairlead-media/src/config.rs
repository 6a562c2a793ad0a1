//! What a relay is told at its start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use fairlead_model::id::PodRef;

use crate::slices::NoSlice;

/// How long a port behind a Service stays silent towards an address that it has not heard: long enough for a phone that
/// opens its flow at the answer, short enough for two relays that face each other.
pub const HEAR_LIMIT: Duration = Duration::from_secs(3);

/// A relay's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The incarnation of this pod; replies name it.
    pub pod: PodRef,
    /// UDP ports. Each even one carries RTP, the odd one after it RTCP. A pod that owns none (and why) runs all the same,
    /// says so, and takes no session.
    pub ports: Result<RangeInclusive<u16>, NoSlice>,
    /// Worker threads; 0 for one per core, as far as each then has four even ports. Never more than there are even ports.
    pub workers: usize,
    /// Where it binds and what it writes into SDP, by network. The one with the empty name is the default.
    pub networks: Vec<Network>,
    /// Where no address is given or told, its own is written into SDP. Behind a Service nobody outside could use that.
    pub own_address: bool,
    /// Behind a Service: be silent towards an address until it was heard, but no longer than this (see [`HEAR_LIMIT`]).
    /// `None` with hostNetwork or routable pods.
    pub hear_before_speak: Option<Duration>,
    /// A heard flow that nothing else is sent to for this long is kept alive.
    pub keep_alive: Duration,
    /// A session that nobody renews for this long ends.
    pub renew_within: Duration,
    /// How long what still comes for a stream that ended is recognised and dropped.
    pub former: Duration,
    /// The most sessions at a time.
    pub max_sessions: usize,
}

/// One network of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name; empty for the default one.
    pub name: String,
    /// IPv4, when it has it.
    pub v4: Option<Place<Ipv4Addr>>,
    /// IPv6, when it has it.
    pub v6: Option<Place<Ipv6Addr>>,
}

/// Where a relay is in one network and address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<A> {
    /// What its sockets bind to. Unspecified with an advertised address that is one of this machine's: to that address, so
    /// that RTP leaves from where it is said to be.
    pub bind: A,
    /// What is written into SDP; `None`: the address bound to, or if that is unspecified the one that packets to the other
    /// side leave from.
    pub advertise: Option<A>,
}

impl Config {
    /// Unspecified addresses of both families, no Service before it, and the times of the architecture.
    pub fn new(pod: PodRef, ports: RangeInclusive<u16>) -> Self {
        Config {
            pod,
            ports: Ok(ports),
            workers: 0,
            networks: vec![Network {
                name: String::new(),
                v4: Some(Place { bind: Ipv4Addr::UNSPECIFIED, advertise: None }),
                v6: Some(Place { bind: Ipv6Addr::UNSPECIFIED, advertise: None }),
            }],
            own_address: true,
            hear_before_speak: None,
            keep_alive: Duration::from_secs(15),
            renew_within: Duration::from_secs(120),
            former: Duration::from_secs(30),
            max_sessions: 50_000,
        }
    }

    /// The even ports, each with an odd one after it that is in the range too.
    pub(crate) fn pairs(ports: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
        let (first, last) = (*ports.start(), *ports.end());
        (first..=last).filter(move |port| port % 2 == 0 && *port < last)
    }
}

impl Network {
    /// Where it is in a family.
    pub(crate) fn place(&self, ipv6: bool) -> Option<Place<IpAddr>> {
        if ipv6 {
            self.v6.map(|place| Place { bind: place.bind.into(), advertise: place.advertise.map(Into::into) })
        } else {
            self.v4.map(|place| Place { bind: place.bind.into(), advertise: place.advertise.map(Into::into) })
        }
    }
}

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The range has no even port with an odd one after it.
    #[error("the RTP ports {0}-{1} hold no even port with an odd one after it")]
    NoPair(u16, u16),
    /// No network has an address.
    #[error("no address to bind RTP ports to is configured")]
    NoAddress,
    /// Two networks have one name.
    #[error("the RTP network {0:?} is configured twice")]
    Twice(String),
    /// No port of the range could be bound.
    #[error("none of the RTP ports {first}-{last} could be bound")]
    AllTaken {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// A socket could not be made or bound, for another reason than that its port is in use.
    #[error("could not bind RTP port {port} on {bind}")]
    Bind {
        /// The address.
        bind: IpAddr,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A worker could not start.
    #[error("could not start a relay worker")]
    Worker(#[source] std::io::Error),
}
