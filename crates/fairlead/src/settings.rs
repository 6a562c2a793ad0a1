//! The settings of each role. Each is described once, here; the command line, the file, the environment and the printed
//! list are made from these tables.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fairlead_runtime::settings;
use fairlead_runtime::settings::value::{HostPort, PortRange, Secret};

use crate::values::{Advertise, Listen, RtpAddress};

settings! {
    /// All roles in one process, with a file instead of Redis.
    pub struct StandaloneSettings in "standalone" {
        /// The peers and what is general to them.
        sip_conf: PathBuf,
        /// Folder of the embedded store; made when it is not there.
        state: PathBuf,
        /// Where gRPC, REST, /livez, /readyz and /metrics of admin are served.
        admin: SocketAddr = "127.0.0.1:8080",
        /// Bearer token of admin, at least 8 visible characters of ASCII. None is possible on loopback only.
        admin_token: Option<Secret>,
        /// File that holds the bearer token of admin.
        admin_token_file: Option<PathBuf>,
        /// SIP listeners; without any, those that sip.conf names.
        listen: Vec<Listen>,
        /// What Via and Contact say instead of the listener's own address.
        advertise: Vec<Advertise>,
        /// Number of signaling shards; 0: one a core.
        shards: u32 = "0",
        /// UDP ports for RTP and RTCP.
        rtp_ports: PortRange = "10000-10099",
        /// Addresses that RTP ports are bound to, one a family; without any, all addresses of this host.
        rtp_bind: Vec<IpAddr>,
        /// Addresses that descriptions (SDP) name, one a network and family.
        rtp_advertise: Vec<RtpAddress>,
        /// The relay is silent towards an address until it has heard from it: true behind a Kubernetes Service.
        rtp_hear_first: bool = "false",
        /// Number of RTP workers; 0: one a core.
        rtp_workers: u32 = "0",
    }
}

settings! {
    /// Peers, credentials and bindings: the only role that talks to Redis and holds secrets.
    pub struct RegistrarSettings in "registrar" {
        /// Redis, with user, password, database and TLS in the URL.
        redis: Secret,
        /// The static peers and what is general to all.
        sip_conf: Option<PathBuf>,
        /// Where the other roles reach this one.
        listen_grpc: SocketAddr = "127.0.0.1:7001",
        /// How the other roles reach it, if not at the address it listens on.
        grpc_advertise: Option<SocketAddr>,
    }
}

settings! {
    /// SIP: sockets, transactions, calls. Holds no secret of any peer.
    pub struct SignalingSettings in "signaling" {
        /// Registrars; a name may stand for several.
        registrar: Vec<HostPort> = ["127.0.0.1:7001"],
        /// SIP listeners.
        listen: Vec<Listen> = ["udp:[::]:5060", "tcp:[::]:5060"],
        /// What Via and Contact say instead of the listener's own address.
        advertise: Vec<Advertise>,
        /// Where the other pods reach this one (mesh and operator, gRPC).
        mesh: SocketAddr = "127.0.0.1:7002",
        /// How the other pods reach it, if not at the address it listens on.
        grpc_advertise: Option<SocketAddr>,
        /// Number of shards; 0: one a core.
        shards: u32 = "0",
    }
}

settings! {
    /// RTP: relays media between the legs of calls. Knows no SIP.
    pub struct MediaSettings in "media" {
        /// Registrars; a name may stand for several.
        registrar: Vec<HostPort> = ["127.0.0.1:7001"],
        /// UDP ports for RTP and RTCP.
        rtp_ports: PortRange = "10000-10099",
        /// Addresses that RTP ports are bound to, one a family; without any, all addresses of this host.
        rtp_bind: Vec<IpAddr>,
        /// Addresses that descriptions (SDP) name, one a network and family.
        rtp_advertise: Vec<RtpAddress>,
        /// The relay is silent towards an address until it has heard from it: true behind a Kubernetes Service.
        rtp_hear_first: bool = "false",
        /// Number of RTP workers; 0: one a core.
        rtp_workers: u32 = "0",
        /// Where signaling and admin reach this one.
        listen_grpc: SocketAddr = "127.0.0.1:7003",
        /// How they reach it, if not at the address it listens on.
        grpc_advertise: Option<SocketAddr>,
    }
}

settings! {
    /// The operator's door: gRPC, REST and chan_sip's tables, for the whole edge.
    pub struct AdminSettings in "admin" {
        /// Registrars; a name may stand for several.
        registrar: Vec<HostPort> = ["127.0.0.1:7001"],
        /// Where gRPC, REST, /livez, /readyz and /metrics are served.
        listen: SocketAddr = "127.0.0.1:8080",
        /// Bearer token, at least 8 visible characters of ASCII. None is possible on loopback only.
        admin_token: Option<Secret>,
        /// File that holds the bearer token.
        admin_token_file: Option<PathBuf>,
        /// How long pods are waited for before an answer names them as missing.
        fan_out_deadline: Duration = "2s",
    }
}
