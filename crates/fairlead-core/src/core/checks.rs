//! What a request is refused for before anybody asks who it is from, in the order of RFC 3261 §8.2 and §16.3.
//!
//! | § | what | status |
//! |---|---|---|
//! | 16.3 (1) | form: mandatory headers, CSeq, URIs; version | 400, 505 |
//! | 8.2.1 | method known; allowed | 501, 405 |
//! | 16.3 (2), 8.2.2.1 | Request-URI scheme | 416 |
//! | 16.3 (3) | Max-Forwards of what would go on | 483 |
//! | 8.2.2.2 | the same request by another path | 482 |
//! | 8.2.2.3, 16.3 (5) | Require, Proxy-Require | 420 |
//! | 8.2.3 | body type and encoding | 415 |
//! | 12.2.2 | To tag without a dialog of ours | 481 |
//! | 8.2, 22 | who is it | 401, by [`challenge`](super::challenge) |

use fairlead_model::ask::Refusal;
use sip_wire::{Contacts, Uri};

use super::*;

/// What we understand outside of a call.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER";

/// A refusal with the headers that go with it, and a name to count it by.
#[derive(Debug)]
pub(super) struct Refused {
    pub refusal: Refusal,
    pub headers: Vec<(Header, String)>,
    pub reason: &'static str,
}

impl Refused {
    pub fn new(status: u16, phrase: impl Into<String>, reason: &'static str) -> Self {
        Refused { refusal: Refusal::new(status, phrase), headers: Vec::new(), reason }
    }

    pub fn with(mut self, header: Header, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

impl Core {
    /// All checks but for the dialog and the sender's identity.
    pub(super) fn check(&self, request: &Message) -> Result<(), Refused> {
        request
            .check_mandatory()
            .map_err(|reason| Refused::new(reason.status(), reason.phrase(), reason.label()))?;
        let in_dialog = request.to_tag().is_some();
        check_method(request.method(), in_dialog)?;
        check_scheme(request)?;
        check_hops(request)?;
        if !in_dialog && self.is_merged(request) {
            return Err(Refused::new(482, "Merged Request", "merged"));
        }
        check_require(request)?;
        check_body(request)?;
        check_contact(request)
    }

    /// RFC 3261 §8.2.2.2: the same From-tag, Call-ID and CSeq in a transaction with another branch.
    fn is_merged(&self, request: &Message) -> bool {
        self.merged.contains_key(&self.merge_key(request))
    }

    pub(super) fn merge_key(&self, request: &Message) -> u64 {
        self.key_by(request, request.header(Header::CSeq).unwrap_or_default())
    }

    /// The number in our tag of an answer outside of a call. An INVITE and its CANCEL, whose CSeq differ in the method
    /// alone, have the same (§9.2).
    pub(super) fn tag_number(&self, request: &Message) -> u64 {
        let cseq = request.header(Header::CSeq).unwrap_or_default();
        self.key_by(request, cseq.split_ascii_whitespace().next().unwrap_or_default()) & MAX_NUMBER
    }

    fn key_by(&self, request: &Message, cseq: &str) -> u64 {
        use std::hash::{Hash, Hasher};
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.identity.pod.0, 0);
        request.call_id().hash(&mut hasher);
        request.from_tag().unwrap_or_default().hash(&mut hasher);
        cseq.hash(&mut hasher);
        hasher.finish()
    }
}

fn check_method(method: &Method, in_dialog: bool) -> Result<(), Refused> {
    let allow = if in_dialog { fairlead_call::call::ALLOW } else { ALLOW };
    match method {
        Method::Invite | Method::Options | Method::Bye | Method::Cancel | Method::Ack => Ok(()),
        Method::Info | Method::Message if in_dialog => Ok(()),
        // §12.2.2: INFO lives in a dialog only (RFC 6086 §4.2.1).
        Method::Info => Err(Refused::new(481, "Call/Transaction Does Not Exist", "no_dialog")),
        Method::Register if !in_dialog => Ok(()),
        Method::Other(_) => {
            Err(Refused::new(501, "Not Implemented", "method_unknown").with(Header::Allow, allow))
        }
        _ => Err(Refused::new(405, "Method Not Allowed", "method").with(Header::Allow, allow)),
    }
}

fn check_scheme(request: &Message) -> Result<(), Refused> {
    match request.uri() {
        Ok(uri) if uri.is_sip() && !uri.is_sips() => Ok(()),
        Ok(_) => Err(Refused::new(416, "Unsupported URI Scheme in Request-URI", "scheme")),
        Err(_) => Err(Refused::new(400, "Bad Request-URI", "request_uri")),
    }
}

/// §16.3 (3). What ends here (REGISTER, OPTIONS, BYE) may arrive with none left.
fn check_hops(request: &Message) -> Result<(), Refused> {
    let goes_on = matches!(request.method(), Method::Invite | Method::Info | Method::Message);
    match request.max_forwards() {
        Some(Ok(0)) if goes_on => Err(Refused::new(483, "Too Many Hops: Max-Forwards is 0", "max_forwards")),
        _ => Ok(()),
    }
}

fn check_require(request: &Message) -> Result<(), Refused> {
    // §8.2.2.3: not looked at in ACK and CANCEL.
    let supported: &[&str] = if *request.method() == Method::Register { &["path"] } else { &[] };
    for header in [Header::Require, Header::ProxyRequire] {
        let unknown: Vec<&str> = request
            .values(header)
            .filter(|tag| !tag.is_empty() && !supported.iter().any(|known| known.eq_ignore_ascii_case(tag)))
            .take(16)
            .collect();
        if !unknown.is_empty() {
            let phrase = format!("Bad Extension in {}", header.name());
            return Err(Refused::new(420, phrase, "require").with(Header::Unsupported, unknown.join(", ")));
        }
    }
    Ok(())
}

/// §8.2.3. INFO and MESSAGE pass as they are, whatever they carry.
fn check_body(request: &Message) -> Result<(), Refused> {
    if *request.method() != Method::Invite || request.body().is_empty() {
        return Ok(());
    }
    // §20.11: then it is as if there were none.
    if fairlead_call::call::body_is_optional(request) {
        return Ok(());
    }
    let encoded =
        request.values(Header::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case("identity"));
    if encoded {
        return Err(Refused::new(415, "Unsupported Content-Encoding", "content_encoding")
            .with(Header::AcceptEncoding, "identity"));
    }
    // RFC 5621 §3.1: of several parts one has to be the description, else all is for somebody who knows more.
    if fairlead_call::call::has_description(request) {
        return Ok(());
    }
    Err(Refused::new(415, "Unsupported Content-Type", "content_type")
        .with(Header::Accept, "application/sdp, multipart/mixed"))
}

/// §8.1.1.8: an INVITE has exactly one Contact with a SIP URI.
fn check_contact(request: &Message) -> Result<(), Refused> {
    if *request.method() != Method::Invite {
        return Ok(());
    }
    let sound = |uri: &Uri| uri.is_sip();
    match request.contacts() {
        Ok(Contacts::List(list)) if list.len() == 1 && list.iter().all(|contact| sound(&contact.uri)) => {
            Ok(())
        }
        Ok(Contacts::List(list)) if list.is_empty() => {
            Err(Refused::new(400, "Missing Contact Header Field", "missing_header"))
        }
        _ => Err(Refused::new(400, "Bad Contact Header Field", "bad_header")),
    }
}
