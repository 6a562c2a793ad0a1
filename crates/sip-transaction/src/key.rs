//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3).
//!
//! Keys are written into a buffer that is used again, so that looking up allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use sip_wire::{Header, Message, Method};
use siphasher::sip::SipHasher13;

use crate::TransactionId;

/// What every branch minted by RFC 3261 begins with (§8.1.1.7).
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

/// Writes the key of the client transaction that a response belongs to: branch and CSeq method. False when the
/// message has no top Via with a branch, or no CSeq.
pub(crate) fn client(message: &Message, key: &mut Vec<u8>) -> bool {
    key.clear();
    let Ok(via) = message.top_via_view() else { return false };
    let Some(branch) = via.branch() else { return false };
    // Of a response this is the method of its CSeq, empty when that cannot be read.
    let method = message.method().as_str();
    push(key, branch);
    push(key, method);
    !branch.is_empty() && !method.is_empty()
}

/// Writes the key of the server transaction that a request belongs to, as if its method were `method`: INVITE for
/// an ACK and for finding what a CANCEL cancels (§9.2). False when the message has no usable top Via.
pub(crate) fn server(message: &Message, method: &Method, key: &mut Vec<u8>) -> bool {
    key.clear();
    let Ok(via) = message.top_via_view() else { return false };
    push(key, method.as_str());
    match via.branch() {
        Some(branch) if branch.starts_with(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len() => {
            push(key, branch);
            // sent-by: hosts are compared without case.
            let start = key.len();
            push(key, via.host);
            key[start..].make_ascii_lowercase();
            key.extend_from_slice(&via.port.unwrap_or(0).to_be_bytes());
            true
        }
        _ => before_rfc3261(message, key),
    }
}

/// §17.2.3, for branches without the magic cookie: Request-URI, From tag, Call-ID, CSeq number and top Via. The To
/// tag is left out: the ACK's is that of our response, the CANCEL's that of the INVITE, and none of them can tell
/// apart what the rest has not.
fn before_rfc3261(message: &Message, key: &mut Vec<u8>) -> bool {
    let Ok(cseq) = message.cseq() else { return false };
    let Some(via) = message.values(Header::Via).next() else { return false };
    push(key, message.request_uri());
    push(key, message.from_tag().unwrap_or_default());
    push(key, message.call_id());
    push(key, via);
    key.extend_from_slice(&cseq.number.to_be_bytes());
    true
}

fn push(key: &mut Vec<u8>, part: &str) {
    key.extend_from_slice(part.as_bytes());
    // No part of a key can hold a NUL: none of the grammars allows one.
    key.push(0);
}

/// The hash of keys that strangers choose: keyed, so that they cannot aim at one bucket.
#[derive(Clone, Copy)]
pub(crate) struct Hash(pub u64, pub u64);

impl std::hash::BuildHasher for Hash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// Transactions by key.
pub(crate) type Keys = HashMap<Arc<[u8]>, TransactionId, Hash>;
