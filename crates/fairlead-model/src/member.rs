//! Who is there: pods as the registrar tells them to each other, and what it hands them.

use std::net::SocketAddr;

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
}

impl Role {
    /// The word of the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Signaling => "signaling",
            Role::Media => "media",
            Role::Registrar => "registrar",
            Role::Admin => "admin",
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
    /// Where its gRPC port is, as others reach it.
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
