//! What is written down of an established call (architecture §2), so that another pod, or this one after its death,
//! goes on with it. JSON with a schema number; fields that a reader does not know are left alone.

use bytes::Bytes;
use fairlead_model::ask::{LegPolicy, Target};
use fairlead_model::binding::BindingKey;
use fairlead_model::id::{AttemptRef, CallRef, PodRef, UnixMillis};
use fairlead_model::relay::SessionRef;
use serde::{Deserialize, Serialize};
use sip_dialog::Dialog;

use crate::leg::{Facts, Outlet};
use crate::negotiation::Negotiation;

/// The schema that is written. One that is higher is not read.
pub const SCHEMA: u32 = 1;

/// One call, up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The call.
    pub reference: CallRef,
    /// Who calls.
    pub caller: LegPolicy,
    /// His binding, if he is registered.
    #[serde(default)]
    pub caller_binding: Option<BindingKey>,
    /// Leg A.
    pub a: Leg,
    /// The target that was reached: its peer, its binding or static address.
    pub target: Target,
    /// Which attempt it was.
    pub attempt: AttemptRef,
    /// Leg B.
    pub b: Leg,
    /// The relay session.
    pub session: Option<Media>,
    /// When the INVITE came.
    pub began: UnixMillis,
    /// When it was answered.
    pub answered: UnixMillis,
    /// When it ends by itself.
    pub deadline: Option<UnixMillis>,
    /// Whose slots it holds.
    pub occupied: Vec<String>,
}

/// One leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    /// Call-ID, tags, both CSeqs, route set, remote target.
    pub dialog: Dialog,
    /// Last offer and answer, `o=` version.
    pub negotiation: Negotiation,
    /// How its messages left.
    pub outlet: Outlet,
    /// What the operator sees.
    #[serde(default)]
    pub facts: Facts,
}

/// A relay session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Its name.
    pub session: SessionRef,
    /// Who has it.
    pub relay: Option<PodRef>,
    /// Codec names.
    pub formats: Vec<String>,
}

/// Why a record cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A newer release wrote it.
    #[error("schema {0} is newer than {SCHEMA}")]
    Newer(u32),
    /// It is damaged.
    #[error("the state of the call cannot be read")]
    Damaged(#[from] serde_json::Error),
}

impl State {
    /// As it is stored.
    pub fn to_bytes(&self) -> Result<Bytes, Unreadable> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// From what was stored.
    pub fn from_bytes(schema: u32, bytes: &[u8]) -> Result<Self, Unreadable> {
        if schema > SCHEMA {
            return Err(Unreadable::Newer(schema));
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}
