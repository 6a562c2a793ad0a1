//! The two requests that a client transaction makes by itself: ACK (§17.1.1.3) and CANCEL (§9.1).

use bytes::Bytes;
use sip_wire::{Header, Message, Method, RequestWriter};

/// The ACK for a non-2xx final response: of the same transaction, with the response's To.
pub(crate) fn ack(invite: &Message, response: &Message) -> Bytes {
    hop_by_hop(invite, Method::Ack, response, None)
}

/// The CANCEL for an INVITE, with a Reason (RFC 3326) if there is one.
pub(crate) fn cancel(invite: &Message, reason: Option<&str>) -> Bytes {
    hop_by_hop(invite, Method::Cancel, invite, reason)
}

/// Request-URI, top Via, Route, From, Call-ID and the CSeq number of `invite`, the To of `to_of`.
fn hop_by_hop(invite: &Message, method: Method, to_of: &Message, reason: Option<&str>) -> Bytes {
    let cseq = invite.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let via = invite.values(Header::Via).next().unwrap_or_default();
    let mut writer = RequestWriter::new(&method, invite.request_uri())
        .header(Header::Via, via)
        .header(Header::MaxForwards, "70")
        .copy_from(invite, Header::Route)
        .copy_from(invite, Header::From)
        .copy_from(to_of, Header::To)
        .copy_from(invite, Header::CallId)
        .header(Header::CSeq, format!("{cseq} {}", method.as_str()));
    if let Some(reason) = reason {
        writer = writer.header(Header::Reason, reason);
    }
    writer.finish()
}
