//! What registrars tell each other through the store.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use fairlead_model::binding::Qualify;
use fairlead_model::id::PodRef;

/// What one registrar tells all, itself included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "notice")]
pub enum Notice {
    /// The bindings of a peer have this version now.
    Bound {
        /// Who did it.
        by: PodRef,
        /// The peer.
        name: String,
        /// The version.
        version: u64,
    },
    /// A peer was written or removed by an operator: read it anew.
    PeerChanged {
        /// Who did it.
        by: PodRef,
        /// The peer.
        name: String,
    },
    /// Forget cached realtime peers.
    Prune {
        /// Who asks.
        by: PodRef,
        /// Which ones.
        which: PeerSelector,
    },
    /// What qualify found of a static peer (it has no binding to keep it in).
    Qualified {
        /// Who was told.
        by: PodRef,
        /// The peer.
        name: String,
        /// The result.
        result: Qualify,
    },
    /// Members came or went, or the epoch changed: brief your pods.
    Cluster {
        /// Who saw it.
        by: PodRef,
    },
    /// Not published by anybody: the store was away, and notices may have been missed.
    Resumed,
    /// A notice of a newer release.
    #[serde(other)]
    Unknown,
}

/// Which realtime peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSelector {
    /// All.
    All,
    /// The one with this name.
    Name(String),
    /// Those whose name matches this regular expression.
    Like(String),
}

/// Where notices come out.
pub type NoticeStream = broadcast::Receiver<Notice>;
