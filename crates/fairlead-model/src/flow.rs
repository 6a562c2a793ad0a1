//! How to reach somebody: transports, flows, hops.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{BadRef, ConnectionRef, PodRef};

/// A SIP transport (RFC 3261 §18, RFC 7118).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP
    Udp,
    /// TCP
    Tcp,
    /// TLS over TCP
    Tls,
    /// WebSocket
    Ws,
    /// WebSocket over TLS
    Wss,
}

impl Transport {
    /// `UDP`, `TCP`, …: as a Via and the operator's tables spell it.
    pub const fn upper(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// `udp`, `tcp`, …: as a URI parameter and the settings spell it.
    pub const fn lower(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// Whether the transport delivers each message once and in order (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The port that is meant where none is written (RFC 3261 §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lower())
    }
}

impl FromStr for Transport {
    type Err = BadRef;

    fn from_str(text: &str) -> Result<Self, BadRef> {
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
            .into_iter()
            .find(|known| known.lower().eq_ignore_ascii_case(text))
            .ok_or(BadRef("udp, tcp, tls, ws or wss is wanted"))
    }
}

/// The way a message came and the way back: which pod, which sockets, which connection.
///
/// Addresses are always plain: an IPv4-mapped IPv6 address is written as IPv4 by the socket layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The pod whose socket it is.
    pub pod: PodRef,
    /// The transport.
    pub transport: Transport,
    /// Our address as the packet saw it (never a wildcard).
    pub local: SocketAddr,
    /// Their address, from the socket, never from the message.
    pub remote: SocketAddr,
    /// The connection, for transports that have one.
    pub connection: Option<ConnectionRef>,
}

impl Flow {
    /// Whether `other` is the same conversation seen by whatever pod: same transport and remote address, and
    /// for connections the same connection of the same pod (architecture: a phone's packet moves its flow).
    pub fn is_same_source(&self, other: &Flow) -> bool {
        self.transport == other.transport
            && self.remote == other.remote
            && (self.connection.is_none() || (self.connection == other.connection && self.pod == other.pod))
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.transport, self.remote, self.pod)
    }
}

/// Where the next message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hop {
    /// Back through a flow, by whichever pod owns it.
    Flow(Flow),
    /// To a configured or signalled address that any pod may speak to first.
    Address {
        /// By which transport.
        transport: Transport,
        /// A name or an IP address without brackets.
        host: String,
        /// The port; `None` asks for the transport's default (and, for names, for SRV once that is built).
        port: Option<u16>,
    },
}
