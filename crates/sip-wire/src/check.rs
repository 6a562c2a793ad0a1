//! What every element must refuse, whatever the method (RFC 3261 §8.2, §16.3; RFC 4475).

use crate::header::Header;
use crate::malformed::MalformedReason;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddrView;
use crate::uri::Parts;
use crate::via::ViaView;

impl Message {
    /// Checks what RFC 4475 wants a 400 for: mandatory header fields present once and readable, CSeq and Max-Forwards
    /// in range, the method in CSeq that of the request (unless it is an extension method), every Via and Contact readable, the Request-URI sound.
    ///
    /// A response that fails is to be dropped. Max-Forwards may be missing (RFC 2543 clients, RFC 4475 §3.4.1).
    pub fn check_mandatory(&self) -> Result<(), MalformedReason> {
        self.check_once()?;
        for header in [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq] {
            if self.header(header).is_none() {
                return Err(MalformedReason::Missing(header));
            }
        }
        let cseq = self.cseq()?;
        // An unknown method is answered with 501 whatever its CSeq says (RFC 4475 §3.1.2.18).
        let known = !matches!(self.method(), Method::Other(_));
        if self.is_request() && known && cseq.method != *self.method() {
            return Err(MalformedReason::CSeqMethod);
        }
        for header in [Header::From, Header::To] {
            self.check_address(header)?;
        }
        if !is_call_id(self.call_id()) {
            return Err(MalformedReason::Bad(Header::CallId));
        }
        if !self.values(Header::Via).all(|via| ViaView::parse(via).is_some()) {
            return Err(MalformedReason::Bad(Header::Via));
        }
        self.check_contacts()?;
        if let Some(Err(reason)) = self.max_forwards() {
            return Err(reason);
        }
        self.check_request_uri()
    }

    fn check_once(&self) -> Result<(), MalformedReason> {
        let mut seen = 0_u128;
        for header in self.lines().iter().filter_map(|line| line.header).filter(|header| header.is_single()) {
            let bit = 1_u128 << (header as u8);
            if seen & bit != 0 {
                return Err(MalformedReason::Repeated(header));
            }
            seen |= bit;
        }
        Ok(())
    }

    fn check_address(&self, header: Header) -> Result<(), MalformedReason> {
        self.header(header)
            .and_then(NameAddrView::parse)
            .filter(NameAddrView::has_sound_uri)
            .map(|_| ())
            .ok_or(MalformedReason::Bad(header))
    }

    fn check_contacts(&self) -> Result<(), MalformedReason> {
        let mut values = self.values(Header::Contact);
        if values.next() == Some("*") && values.next().is_none() {
            return Ok(());
        }
        let sound = |value| NameAddrView::parse(value).is_some_and(|address| address.has_sound_uri());
        if self.values(Header::Contact).all(sound) {
            Ok(())
        } else {
            Err(MalformedReason::Bad(Header::Contact))
        }
    }

    /// The Request-URI of a request is a URI; one of SIP has no headers (RFC 3261 §19.1.1).
    fn check_request_uri(&self) -> Result<(), MalformedReason> {
        if !self.is_request() {
            return Ok(());
        }
        let uri = self.request_uri();
        let parts = Parts::find(uri).ok_or(MalformedReason::RequestUri)?;
        if parts.has_headers() { Err(MalformedReason::RequestUri) } else { Ok(()) }
    }
}

/// `word [ "@" word ]` (RFC 3261 §25.1), told by what it must not hold.
fn is_call_id(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|octet| octet > b' ' && octet != 0x7f)
}
