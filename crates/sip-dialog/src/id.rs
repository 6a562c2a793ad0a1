//! What identifies a dialog (RFC 3261 §12).

use sip_wire::Message;

/// Call-ID, our tag, their tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Their tag; empty for a peer of RFC 2543 that gave none.
    pub remote_tag: String,
}

impl DialogId {
    /// Of a request that came in: To is ours. `None` without a To tag, as then it is in no dialog.
    pub fn of_request(request: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: request.call_id().to_string(),
            local_tag: request.to_tag()?.to_string(),
            remote_tag: request.from_tag().map(|tag| tag.to_string()).unwrap_or_default(),
        })
    }

    /// Of a response that came in: From is ours. `None` without a From tag.
    pub fn of_response(response: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: response.call_id().to_string(),
            local_tag: response.from_tag()?.to_string(),
            remote_tag: response.to_tag().map(|tag| tag.to_string()).unwrap_or_default(),
        })
    }
}
