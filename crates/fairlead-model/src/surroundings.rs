//! What lies around the edge: the addresses at which the world reaches it, the nodes it runs on, and what is wrong with
//! either. The operator role finds it out from Kubernetes, a registrar keeps it and hands it to every pod
//! ([`crate::member::Briefing`]), so that no pod on the path of a call asks the API server.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::flow::Transport;

/// All of it. Whoever sets it replaces it as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Where phones and trunks reach signaling; empty while nobody knows.
    pub sip: Vec<SipAddress>,
    /// Where they reach each relay, where that is not what the relay itself was started with.
    pub media: Vec<MediaAddress>,
    /// Addresses of the cluster's nodes: a packet that comes from one of them was masqueraded on its way.
    pub nodes: Vec<IpAddr>,
    /// What the operator role found wrong.
    pub findings: Vec<Finding>,
}

/// Where signaling is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipAddress {
    /// Name of the listener's network; empty for the default one.
    pub network: String,
    /// By which transport.
    pub transport: Transport,
    /// What Via and Contact say: an IP address or a host name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Towards these destinations it is said; empty for all that no other address of the network and transport names.
    /// The longest prefix decides.
    pub destinations: Vec<IpNet>,
}

/// Where a relay is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaAddress {
    /// The name of its pod ([`crate::member::Member::name`]).
    pub pod: String,
    /// Name of the network; empty for the default one.
    pub network: String,
    /// What `c=` says.
    pub address: IpAddr,
    /// Towards these destinations it is said; empty for all that no other address names.
    pub destinations: Vec<IpNet>,
}

/// How well an address that is said towards these destinations fits one: by the length of the longest prefix that holds it,
/// 0 for one that is for all others; `None` when it is for others alone. The best fit counts.
pub fn reach(destinations: &[IpNet], destination: IpAddr) -> Option<u8> {
    if destinations.is_empty() {
        return Some(0);
    }
    let holding = destinations.iter().filter(|net| net.contains(&destination));
    // One more than nothing: a prefix of length 0 that was written down says more than none.
    holding.map(|net| net.prefix_len().saturating_add(1)).max()
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Calls or registrations fail because of it.
    Error,
}

/// One thing that `doctor` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Names the kind, for scripts: see [`code`].
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a pod, a Service, a node, `redis`.
    pub about: String,
    /// What is wrong, with what was seen, in one sentence.
    pub text: String,
    /// The value or setting to change.
    pub remedy: String,
}

impl Finding {
    /// One of the kind `code`.
    pub fn new(
        code: &str,
        severity: Severity,
        about: impl Into<String>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            code: code.to_owned(),
            severity,
            about: about.into(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}

/// The kinds of findings.
pub mod code {
    /// Signaling or a relay has no address that the world can reach.
    pub const NO_ADDRESS: &str = "NoAddress";
    /// Phones' packets come from addresses of nodes: their own are hidden.
    pub const SOURCE_HIDDEN: &str = "SourceHidden";
    /// UDP and TCP are reached at different addresses.
    pub const ADDRESSES_DIFFER: &str = "AddressesDiffer";
    /// A media port is reached under another number than the pod knows.
    pub const PORT_CHANGED: &str = "PortChanged";
    /// A relay's ordinal has no ports or no Service.
    pub const NO_MEDIA_SERVICE: &str = "NoMediaService";
    /// Redis keeps nothing on disk.
    pub const REDIS_NOT_PERSISTENT: &str = "RedisNotPersistent";
    /// Redis may throw keys away when memory is short.
    pub const REDIS_EVICTS: &str = "RedisEvicts";
    /// Redis cannot be reached.
    pub const REDIS_AWAY: &str = "RedisAway";
    /// The operator role has not written all peers.
    pub const PEERS_AWAITED: &str = "PeersAwaited";
    /// The clocks of pods are apart.
    pub const CLOCKS_APART: &str = "ClocksApart";
    /// The MTU is smaller than SIP over UDP needs.
    pub const MTU_SMALL: &str = "MtuSmall";
    /// Pods of several releases are running.
    pub const VERSIONS_DIFFER: &str = "VersionsDiffer";
    /// A pod that should be there does not answer.
    pub const NO_ANSWER: &str = "NoAnswer";
    /// There is no pod of a role.
    pub const NO_POD: &str = "NoPod";
    /// Pods speak to each other without TLS.
    pub const TLS_OFF: &str = "TlsOff";
}

/// What a pod says of itself when it is examined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Its wall clock when it answered, milliseconds since 1970.
    pub clock_ms: u64,
    /// Its release.
    pub version: String,
    /// The smallest MTU of its interfaces but loopback, octets; 0 when it cannot tell.
    pub mtu: u32,
    /// What is wrong, as far as it can tell by itself.
    pub findings: Vec<Finding>,
}
