//! What the operator sees of calls: channels (legs) and bridges (pairs of them).

use serde::{Deserialize, Serialize};

use crate::id::{CallRef, PodRef, Side, UnixMillis};
use crate::relay::SessionRef;

/// One leg of a call, with every fact that `sip show channels`, `sip show channel`, `sip show channelstats` and
/// `sip show bridged` print.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// The pod that has it.
    pub pod: PodRef,
    /// Its call.
    pub call: CallRef,
    /// Which leg.
    pub side: Side,
    /// The relay session, once there is one.
    pub session: Option<SessionRef>,
    /// The relay that has the session.
    pub relay: Option<PodRef>,
    /// Address that its messages come from or go to, without port.
    pub peer_address: String,
    /// The same with port.
    pub received_address: String,
    /// Host and port of the remote target (from signalling).
    pub theoretical_address: String,
    /// Digest user or caller number.
    pub user: String,
    /// Name of the peer, or empty for a guest.
    pub peer: String,
    /// Call-ID of this dialog.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Their tag.
    pub remote_tag: String,
    /// Codec names, as agreed or offered.
    pub formats: Vec<String>,
    /// It is held by its phone.
    pub hold: bool,
    /// It is over and only waits for retransmissions.
    pub ending: bool,
    /// `Rx: ACK`, `Tx: BYE`, `Init: INVITE`.
    pub last_message: String,
    /// Whether we began the last transaction.
    pub outgoing: bool,
    /// None, Calling, Proceeding, Early, Confirmed, …: state of the INVITE (chan_sip's words).
    pub state: String,
    /// User-Agent or Server of the other side.
    pub user_agent: String,
    /// Transport.
    pub transport: String,
    /// force_rport in effect.
    pub force_rport: bool,
    /// Route set, topmost first.
    pub route: Vec<String>,
    /// `"name" <number>` of the caller.
    pub caller_id: String,
    /// The remote target; before there is a dialog the Request-URI of the INVITE.
    pub uri: String,
    /// Option tags of the other side.
    pub options: Vec<String>,
    /// When the leg began.
    pub since: UnixMillis,
    /// When the call was answered.
    pub answered: Option<UnixMillis>,
}

/// Two legs that hear each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bridge {
    /// The pod that has the call.
    pub pod: PodRef,
    /// The call.
    pub call: CallRef,
    /// Peer name (or address) of leg A.
    pub peer_a: String,
    /// Call-ID of leg A.
    pub call_id_a: String,
    /// Peer name (or address) of leg B.
    pub peer_b: String,
    /// Call-ID of leg B.
    pub call_id_b: String,
    /// Codec in use.
    pub format: String,
    /// When it was answered.
    pub answered: UnixMillis,
}
