//! A call as the phone knows it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sip_wire::Message;

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// No response but 100 yet.
    Calling,
    /// 180 or 183, here or there.
    Ringing,
    /// Answered.
    Up,
    /// Over: the final status of its INVITE when that was no 2xx, `None` after BYE.
    Ended {
        /// The status.
        status: Option<u16>,
    },
}

/// One call, one dialog.
#[derive(Clone, Debug)]
pub struct PhoneCall {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Their tag, empty before there is one.
    pub remote_tag: String,
    /// Whether we called.
    pub outgoing: bool,
    /// Where it is.
    pub state: CallState,
    /// The last SDP from the other side.
    pub their_sdp: Bytes,
    /// From and To values of our requests.
    pub(super) local: String,
    pub(super) remote: String,
    pub(super) target: String,
    pub(super) routes: Vec<String>,
    pub(super) cseq: u32,
    /// CSeq of their last request.
    pub(super) their_cseq: u32,
    /// The INVITE that waits for our answer, and where it came from.
    pub(super) ringing: Option<(Message, SocketAddr)>,
    /// When it is answered by itself.
    pub(super) answer_at: Option<Instant>,
    /// Whether credentials were already given for the request on its way.
    pub(super) authenticated: bool,
    /// A CANCEL is wanted: should the call be answered all the same, it is hung up.
    pub(super) cancelled: bool,
    /// A CANCEL waits for the first provisional response.
    pub(super) cancelling: bool,
}

impl PhoneCall {
    pub(super) fn new(call_id: String, local_tag: String, outgoing: bool) -> Self {
        PhoneCall {
            call_id,
            local_tag,
            remote_tag: String::new(),
            outgoing,
            state: CallState::Calling,
            their_sdp: Bytes::new(),
            local: String::new(),
            remote: String::new(),
            target: String::new(),
            routes: Vec::new(),
            cseq: 0,
            their_cseq: 0,
            ringing: None,
            answer_at: None,
            authenticated: false,
            cancelled: false,
            cancelling: false,
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.state, CallState::Ended { .. })
    }
}
