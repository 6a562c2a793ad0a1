//! What of one leg reaches the other. Nothing else does.
//!
//! A message is never copied across: each leg writes its own, with its own Call-ID, tags, CSeq, Contact and Via,
//! and takes from the other leg's message the headers of this list, the body where the list says so, and, for
//! responses, the status as [`caller_gets`](crate::caller_gets) maps it. Max-Forwards crosses less one.

use sip_wire::{Header, Message, Method};

/// Headers of a request that pass, by method.
pub fn request_headers(method: &Method) -> &'static [Header] {
    match method {
        Method::Invite => &[Header::Subject, Header::Priority, Header::AcceptLanguage],
        Method::Bye | Method::Cancel => &[Header::Reason],
        // The body passes as it is, and with it what says how to read it.
        Method::Info => &[Header::InfoPackage, Header::ContentDisposition, Header::ContentEncoding],
        Method::Message => &[
            Header::Subject,
            Header::Date,
            Header::ContentDisposition,
            Header::ContentEncoding,
            Header::ContentLanguage,
        ],
        _ => &[],
    }
}

/// Headers of a response that pass, by its status as the other leg will send it.
///
/// Retry-After belongs to the callee where it says when to ring again (RFC 3261 §20.33); that of a 503 speaks of a
/// whole server and never passes (§16.7 step 6). Warning tells why a description was not acceptable (§21.4.26).
pub fn response_headers(method: &Method, status: u16) -> &'static [Header] {
    match (method, status) {
        (Method::Invite, 480 | 486 | 600 | 603) => &[Header::RetryAfter, Header::Reason],
        (Method::Invite, 488 | 606) => &[Header::Warning],
        (Method::Message, 415) | (Method::Info, 415) => &[Header::Accept],
        (Method::Info, 469) => &[Header::RecvInfo],
        _ => &[],
    }
}

/// Whether the body of such a request passes as it is. That of an INVITE goes through the relay instead.
pub fn body_passes(method: &Method) -> bool {
    matches!(method, Method::Info | Method::Message)
}

/// A header line on its way to the other leg.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// Which header.
    pub header: Header,
    /// Its value, unfolded.
    pub value: String,
}

/// The listed headers of a message.
pub fn pick(message: &Message, list: &[Header]) -> Vec<Passed> {
    let mut picked = Vec::new();
    for header in list {
        for value in message.headers(*header).take(MAX_LINES) {
            picked.push(Passed { header: *header, value: value.to_string() });
        }
    }
    picked
}

/// So many lines of one header pass at most.
const MAX_LINES: usize = 4;
