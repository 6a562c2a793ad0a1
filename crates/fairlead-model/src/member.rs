//! Who is there: pods as the registrar tells them to each other, and what it hands them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::id::{PodRef, UnixMillis};

/// What a pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// SIP.
    Signaling,
    /// RTP.
    Media,
    /// Peers, bindings, authentication.
    Registrar,
    /// The operator's door.
    Admin,
    /// Kubernetes objects become peers.
    Operator,
}

impl Role {
    /// The word of the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Signaling => "signaling",
            Role::Media => "media",
            Role::Registrar => "registrar",
            Role::Admin => "admin",
            Role::Operator => "operator",
        }
    }
}

/// One pod as the others see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its incarnation.
    pub pod: PodRef,
    /// Its name for people (`POD_NAME`, else host name and role).
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Where its gRPC port is, as others reach it; [`Member::ASKED_NOTHING`] when it has none.
    pub grpc: SocketAddr,
    /// When it started.
    pub started: UnixMillis,
    /// When its lease was last renewed.
    pub seen: UnixMillis,
    /// It takes no new calls or sessions.
    pub draining: bool,
    /// Calls, sessions or streams it holds now; new ones go to the least loaded.
    pub load: u32,
    /// Its release.
    pub version: String,
}

impl Member {
    /// The gRPC port of a pod that has none.
    pub const ASKED_NOTHING: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    /// One that has just started: it holds nothing and takes what comes. Its release is not said.
    pub fn started(
        pod: PodRef,
        name: impl Into<String>,
        role: Role,
        grpc: SocketAddr,
        at: UnixMillis,
    ) -> Self {
        Member {
            pod,
            name: name.into(),
            role,
            grpc,
            started: at,
            seen: at,
            draining: false,
            load: 0,
            version: String::new(),
        }
    }
}

/// What a registrar hands to a pod at the start of its stream and again at each change. No secret of a peer is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Briefing {
    /// Counts up with each change; a pod ignores an older one.
    pub version: u64,
    /// Keys under which branches, tags, Contact users and Call-IDs are minted; the first is used for new ones.
    pub mint_keys: Vec<MintKey>,
    /// Keys of nonces: the current first, then the two before.
    pub nonce_keys: Vec<NonceKey>,
    /// Everybody who is there.
    pub members: Vec<Member>,
    /// [general] of sip.conf without secrets.
    pub general: crate::peer::General,
    /// Sources from which somebody may come without credentials (guests, `insecure=invite`, peers without a secret).
    /// A request without credentials from anywhere else is challenged on the shard.
    pub trusted: Vec<IpNet>,
    /// Where the world reaches the edge.
    pub surroundings: crate::surroundings::Surroundings,
}

/// A key of the cluster under which a pod mints names that others can check (not a secret of a peer).
#[derive(Clone, PartialEq, Eq)]
pub struct MintKey {
    /// One digit or letter that is written in front of what was minted.
    pub version: u8,
    /// The key.
    pub key: [u8; 16],
}

/// A key of nonces with the epoch it was handed out for (architecture: no pod's clock decides).
#[derive(Clone, PartialEq, Eq)]
pub struct NonceKey {
    /// Names the key.
    pub id: u8,
    /// The number of the epoch.
    pub epoch: u32,
    /// The key.
    pub key: [u8; 32],
}

impl std::fmt::Debug for MintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MintKey({})", self.version as char)
    }
}

impl std::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NonceKey({} of epoch {})", self.id, self.epoch)
    }
}
