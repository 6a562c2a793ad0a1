//! Registered contacts of a peer (RFC 3261 §10, RFC 3327, RFC 5626).

use serde::{Deserialize, Serialize};

use crate::flow::Flow;
use crate::id::UnixMillis;
use crate::peer::EffectiveNat;

/// One registered contact of one peer, with the flow that reaches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Names this binding within its peer: see [`BindingKey`].
    pub key: BindingKey,
    /// The Contact URI as the phone wrote it (inside the angle brackets).
    pub uri: String,
    /// The whole Contact value as the phone sent it, without its `expires` parameter; echoed in the 200.
    pub value: String,
    /// Preference in thousandths, 0 to 1000 (RFC 3261 §20.10); 1000 when the phone gave none.
    pub q: u16,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// When this contact was last registered or refreshed.
    pub registered_at: UnixMillis,
    /// The Path vector, topmost first (RFC 3327).
    #[serde(default)]
    pub path: Vec<String>,
    /// `+sip.instance` (RFC 5626), without quotes.
    #[serde(default)]
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626).
    #[serde(default)]
    pub reg_id: Option<u32>,
    /// Call-ID of the REGISTER that set it (RFC 3261 §10.3 step 7).
    pub call_id: String,
    /// CSeq of that REGISTER.
    pub cseq: u32,
    /// User-Agent of that REGISTER.
    #[serde(default)]
    pub user_agent: String,
    /// The flow it is reached by.
    pub flow: Flow,
    /// How often a packet of the phone has moved the flow to another pod since the last REGISTER.
    #[serde(default)]
    pub generation: u64,
    /// When a packet last moved it; 0 when none has.
    #[serde(default)]
    pub moved_at: UnixMillis,
    /// Whether the next hop of requests is the flow (force_rport in effect when it registered, or a connection)
    /// or the URI.
    pub by_flow: bool,
    /// What the peer's `nat` came to when it registered; holds for calls to it too.
    #[serde(default)]
    pub nat: EffectiveNat,
    /// The last qualify result.
    #[serde(default)]
    pub qualify: Qualify,
    /// Fields of a newer release, kept as they are.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// What identifies a contact of a peer: `+sip.instance` with `reg-id`, else the URI, and for peers reached
/// by their flow the URI together with the flow's remote address. Opaque outside of `fairlead-location`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BindingKey(pub String);

/// What qualify knows of a contact. Words as chan_sip prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualify {
    /// The state.
    pub state: QualifyState,
    /// Round trip of the last answer, milliseconds; 0 before the first.
    pub rtt_ms: u32,
    /// When the state was last confirmed.
    pub at: UnixMillis,
}

/// Reachability as chan_sip knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualifyState {
    /// Not asked yet (`UNKNOWN`).
    #[default]
    Unknown,
    /// Answered within the limit (`OK (n ms)`).
    Ok,
    /// Answered too late (`LAGGED (n ms)`); not called.
    Lagged,
    /// No answer (`UNREACHABLE`); not called.
    Unreachable,
}

impl QualifyState {
    /// Whether a contact in this state is called (chan_sip refuses LAGGED and UNREACHABLE).
    pub const fn may_be_called(self) -> bool {
        matches!(self, QualifyState::Unknown | QualifyState::Ok)
    }
}
