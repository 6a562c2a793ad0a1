//! A peer of the probe and how it proves who it is.

use std::fmt;

use sip_auth::{Algorithm, Answering, Place, Secret, answer};
use sip_wire::{Header, Message};

use crate::text::token;

/// A peer and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name by which it registers and is called.
    pub name: String,
    password: String,
}

impl Peer {
    /// With a password as it stands in a file: one line end after it does not count.
    pub fn new(name: impl Into<String>, password: &str) -> Self {
        let password = password.strip_suffix('\n').unwrap_or(password);
        let password = password.strip_suffix('\r').unwrap_or(password);
        Peer { name: name.into(), password: password.to_owned() }
    }

    /// The header that answers a 401 or 407; `None` where nothing in it can be answered.
    pub(crate) fn answer(&self, challenge: &Message, method: &str, uri: &str) -> Option<(Header, String)> {
        let place = match challenge.status() {
            Some(401) => Place::Www,
            Some(407) => Place::Proxy,
            _ => return None,
        };
        let challenges: Vec<&str> = challenge.headers(place.challenge_header()).collect();
        let cnonce = token();
        let asked = Answering {
            challenges: &challenges,
            realm: None,
            user: &self.name,
            secret: Secret::Password(&self.password),
            method,
            uri,
            cnonce: &cnonce,
            nc: 1,
            allowed: &Algorithm::ALL,
        };
        answer(&asked).ok().map(|answer| (place.credentials_header(), answer.value))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}, ..)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(algorithm: &str) -> Message {
        let text = format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm={algorithm}, qop=\"auth\"\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn md5_and_sha_256_are_answered_and_others_are_not() {
        let peer = Peer::new("ann", "secret\n");
        for algorithm in ["MD5", "SHA-256"] {
            let (header, value) = peer.answer(&challenge(algorithm), "REGISTER", "sip:h").unwrap();
            assert_eq!(header, Header::Authorization);
            assert!(value.contains(&format!("algorithm={algorithm}")), "{value}");
        }
        assert_eq!(peer.answer(&challenge("FOO"), "REGISTER", "sip:h"), None);
    }

    #[test]
    fn a_password_never_shows_and_one_line_end_of_its_file_is_none_of_it() {
        assert_eq!(format!("{:?}", Peer::new("ann", "secret")), "Peer(ann, ..)");
        assert_eq!(Peer::new("ann", "secret \r\n"), Peer::new("ann", "secret "));
        assert_ne!(Peer::new("ann", "secret\n\n"), Peer::new("ann", "secret"));
    }
}
