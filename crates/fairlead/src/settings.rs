//! The settings of each role. Each is described once, here; the command line, the file, the environment and the printed
//! list are made from these tables.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fairlead_runtime::settings;
use fairlead_runtime::settings::value::{HostPort, PortRange, Secret};

use crate::values::{Advertise, Listen, MediaExposure, Network, ReachedSip, RtpAddress, RtpSlices, TlsMode};

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
        /// File that holds the bearer token of admin. It is waited for, and read again when it changes.
        admin_token_file: Option<PathBuf>,
        /// SIP listeners; without any, those that sip.conf names. NETWORK= says which network one belongs to (without it: the default one); --advertise and --rtp-advertise speak of networks by that name. With routed any pod may send from it, not only the one that a phone's packets reach.
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
        /// Number of RTP workers; 0: one a core, as far as each has four port pairs.
        rtp_workers: u32 = "0",
    }
}

settings! {
    /// How pods prove to each other who they are; for every role but standalone.
    pub struct TlsSettings in "tls" {
        /// Folder with tls.crt, tls.key and ca.crt: gRPC between pods is mutual TLS. Waits for the files, takes new ones at once.
        tls_dir: Option<PathBuf>,
        /// The domain of this edge: certificates name a role as ROLE.DOMAIN, such as registrar.edge-fairlead.sip.
        tls_domain: Option<String>,
    }
}

settings! {
    /// Peers, credentials and bindings: the only role that talks to Redis and holds secrets.
    pub struct RegistrarSettings in "registrar" {
        /// Redis: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], redis+sentinel://HOST:PORT,HOST:PORT/MASTER[/DB] or redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS.
        redis: Secret,
        /// File that holds the password of Redis. Waited for, and read at each connection.
        redis_password_file: Option<PathBuf>,
        /// File with the authorities (PEM) that Redis's certificate may come from; without it those of the system. Read at each connection.
        redis_ca_file: Option<PathBuf>,
        /// Peers are written by the operator role: until it has written all of them, after an install or when Redis was emptied, a user that
        /// is not known is answered 503 with Retry-After instead of 403 or 404. For registrars beside an operator role.
        await_peers: bool = "false",
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
        /// SIP listeners. NETWORK= says which network one belongs to (without it: the default one); --advertise and --rtp-advertise speak of networks by that name. With routed any pod may send from it, not only the one that a phone's packets reach.
        listen: Vec<Listen> = ["udp:[::]:5060", "tcp:[::]:5060"],
        /// What Via and Contact say instead of the listener's own address.
        advertise: Vec<Advertise>,
        /// Listeners on a wildcard have no address of their own that anybody could use: true behind a Kubernetes Service.
        /// Until one is advertised, or told by the operator role, INVITEs are refused with 503.
        await_address: bool = "false",
        /// Where the other pods reach this one (mesh and operator, gRPC).
        mesh: SocketAddr = "127.0.0.1:7002",
        /// How the other pods reach it, if not at the address it listens on.
        grpc_advertise: Option<SocketAddr>,
        /// How long a pod that drains stays, without calls as well, for phones behind a Kubernetes Service that only it can reach. A
        /// phone is reached elsewhere after its next packet, so it should be as long as phones are silent; within the grace period.
        flow_linger: Duration = "30s",
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
        /// Instead of --rtp-ports: one range for many pods. The number N at the end of this pod's name owns the ports BASE+N*COUNT to BASE+(N+1)*COUNT-1; without a slice for it the pod takes no call.
        rtp_slices: Option<RtpSlices>,
        /// Addresses that RTP ports are bound to, one a family; without any, all addresses of this host.
        rtp_bind: Vec<IpAddr>,
        /// Addresses that descriptions (SDP) name, one a network and family.
        rtp_advertise: Vec<RtpAddress>,
        /// The address of the pod itself is never named: true behind a Kubernetes Service. Until one is given with --rtp-advertise, or told by the operator role, no call is sent to this relay.
        rtp_await_address: bool = "false",
        /// The relay is silent towards an address until it has heard from it: true behind a Kubernetes Service.
        rtp_hear_first: bool = "false",
        /// Number of RTP workers; 0: one a core, as far as each has four port pairs.
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
        /// File that holds the bearer token. It is waited for, and read again when it changes.
        admin_token_file: Option<PathBuf>,
        /// fairlead-admin/NAMESPACE/RELEASE: tokens that Kubernetes issued for this audience let in too, and RBAC on
        /// sippeers.fairlead.dev in that namespace says what whoever bears one may do.
        token_review_audience: Option<String>,
        /// How long pods are waited for before an answer names them as missing.
        fan_out_deadline: Duration = "2s",
    }
}

settings! {
    /// Kubernetes: SipPeer objects become peers, their state comes back; certificates, addresses.
    pub struct OperatorSettings in "operator" {
        /// Registrars; a name may stand for several.
        registrar: Vec<HostPort> = ["127.0.0.1:7001"],
        /// The namespace of the release.
        namespace: String,
        /// The name of the release, as the label app.kubernetes.io/instance has it.
        release: String,
        /// What names of the release's objects begin with.
        full_name: String,
        /// Namespaces whose SipPeer objects become peers too, separated by commas, beside that of the release.
        watch_namespaces: Vec<String>,
        /// Most status writes a second, for all objects together; 0 for none.
        status_writes_per_second: u32 = "5",
        /// The Service that SIP comes in by; without it, the full name with -sip. Those named after it with a dash and
        /// more are looked at too.
        sip_service: Option<String>,
        /// Addresses at which the world reaches SIP, instead of those found for their network and transport.
        sip_address: Vec<ReachedSip>,
        /// How the world reaches relays.
        media_exposure: MediaExposure = "nodePort",
        /// Networks of destinations that reach nodes at their internal addresses.
        internal_networks: Vec<Network>,
        /// Whether certificates of pods are made here, or come as files from elsewhere.
        tls_mode: TlsMode = "files",
        /// How long a certificate lives that is made here; it is renewed at two thirds of that.
        tls_leaf_life: Duration = "2160h",
        /// How long an authority lives that is made here; it is replaced at two thirds of that.
        tls_authority_life: Duration = "17520h",
        /// How long it may take until a changed Secret is in every pod.
        tls_grace: Duration = "15m",
        /// The Secret of admin's token, which is made when it is not there; without it, none is made.
        admin_token_secret: Option<String>,
        /// The Secret of Redis' password, which is made when it is not there; without it, none is made.
        redis_password_secret: Option<String>,
    }
}
