//! What registrars tell each other through the store.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use fairlead_model::ask::IdempotencyKey;
use fairlead_model::binding::{Binding, Qualify};
use fairlead_model::id::PodRef;

use crate::record::BindingsRecord;

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
        /// The record itself, so that nobody has to read it; from an older release absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<Box<BoundRecord>>,
        /// Only times changed: nothing to tell people.
        #[serde(default)]
        quiet: bool,
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
    /// Peers were written or removed by whoever looks after them: forget what is held of them, and say so.
    Forget {
        /// Who asks.
        by: PodRef,
        /// Names the question.
        id: u64,
        /// The peers.
        names: Vec<String>,
        /// They are gone, their bindings with them.
        gone: bool,
        /// They may come without registering: to be read anew at once.
        #[serde(default)]
        fixed: bool,
    },
    /// What [`Notice::Forget`] asked for is done.
    Forgotten {
        /// Who did it.
        by: PodRef,
        /// Whose question.
        to: PodRef,
        /// Its name.
        id: u64,
    },
    /// Somebody else than its owner changed the record of a marked peer.
    Drifted {
        /// Who saw it.
        by: PodRef,
        /// The peer.
        name: String,
    },
    /// What lies around the edge has changed: read it.
    Surroundings {
        /// Who wrote it.
        by: PodRef,
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
    /// Not published by anybody: notices are heard from now on, for the first time.
    Listening,
    /// A notice of a newer release.
    #[serde(other)]
    Unknown,
}

/// A record of bindings in a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundRecord {
    contacts: Vec<Binding>,
    /// Hexadecimal: a number of this size does not come through a tagged notice.
    asked: Vec<String>,
}

impl BoundRecord {
    /// As it is put into a notice.
    pub fn of(record: &BindingsRecord) -> Self {
        let asked = record.asked.iter().map(|key| format!("{:032x}", key.0)).collect();
        BoundRecord { contacts: record.bindings.clone(), asked }
    }

    /// As it is kept, with the version of its notice.
    pub fn into_record(self, version: u64) -> BindingsRecord {
        let asked = self.asked.iter().filter_map(|key| u128::from_str_radix(key, 16).ok());
        BindingsRecord { version, bindings: self.contacts, asked: asked.map(IdempotencyKey).collect() }
    }
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

/// Tells all who listen. Nobody may, which is no fault.
pub(crate) fn tell(notices: Vec<Notice>, to: &broadcast::Sender<Notice>) {
    for notice in notices {
        let _ = to.send(notice);
    }
}
