//! Challenges: what WWW-Authenticate and Proxy-Authenticate say, written and read.

use sip_wire::Header;
use sip_wire::params::{AuthParams, quote};

use crate::nonce::{NonceKeys, NonceState};
use crate::{Algorithm, Qop};

/// Which pair of headers a challenge and its answer travel in (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// 401, WWW-Authenticate, Authorization: from the one who answers the request himself.
    Www,
    /// 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Place {
    /// 401 or 407.
    pub const fn status(self) -> u16 {
        match self {
            Place::Www => 401,
            Place::Proxy => 407,
        }
    }

    /// The header that challenges.
    pub const fn challenge_header(self) -> Header {
        match self {
            Place::Www => Header::WwwAuthenticate,
            Place::Proxy => Header::ProxyAuthenticate,
        }
    }

    /// The header that answers.
    pub const fn credentials_header(self) -> Header {
        match self {
            Place::Www => Header::Authorization,
            Place::Proxy => Header::ProxyAuthorization,
        }
    }
}

/// Mints challenges for one realm and recognises its nonces.
///
/// What it writes depends on nothing but realm, algorithms, keys and the random bits, so that it is the same for
/// every name (no enumeration of users).
#[derive(Clone, Debug)]
pub struct Challenger {
    realm: String,
    algorithms: Vec<Algorithm>,
    keys: NonceKeys,
}

impl Challenger {
    /// For a realm and the algorithms to offer, in any order; none at all means MD5.
    pub fn new(realm: impl Into<String>, algorithms: &[Algorithm], keys: NonceKeys) -> Self {
        let mut algorithms = algorithms.to_vec();
        // RFC 8760 §2.3: the most preferred first.
        algorithms.sort_unstable_by(|a, b| b.cmp(a));
        algorithms.dedup();
        if algorithms.is_empty() {
            algorithms.push(Algorithm::Md5);
        }
        Challenger { realm: realm.into(), algorithms, keys }
    }

    /// Uses these keys from now on.
    pub fn set_keys(&mut self, keys: NonceKeys) {
        self.keys = keys;
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The algorithms it offers, strongest first.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The values of the challenge headers of one response, in the order they must be written: one an algorithm,
    /// strongest first, all with the same nonce. Empty while there is no key: then nobody can be challenged
    /// (answer 503).
    ///
    /// `random` must be 64 fresh random bits. `stale` says that the digest held but its nonce is used up or too
    /// old, so that the phone need not ask its user again (RFC 7616 §3.3).
    pub fn challenge(&self, random: u64, stale: bool) -> Vec<String> {
        let Some(nonce) = self.keys.mint(&self.realm, random) else { return Vec::new() };
        let realm = quote(&self.realm);
        let stale = if stale { ", stale=true" } else { "" };
        let value = |algorithm: &Algorithm| {
            format!("Digest realm={realm}, nonce=\"{nonce}\"{stale}, algorithm={algorithm}, qop=\"auth\"")
        };
        self.algorithms.iter().map(value).collect()
    }

    /// Whether a nonce was minted for this realm under a valid key.
    pub fn check_nonce(&self, nonce: &str) -> NonceState {
        self.keys.check(&self.realm, nonce)
    }
}

/// A challenge that was sent to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Realm, unquoted.
    pub realm: String,
    /// Nonce, unquoted.
    pub nonce: String,
    /// Returned as it is (RFC 7616 §3.3).
    pub opaque: Option<String>,
    /// The algorithm; MD5 when none is named.
    pub algorithm: Algorithm,
    /// Whether it is the `-sess` variant.
    pub session: bool,
    /// The algorithm as it was written, `None` when it was not.
    pub algorithm_text: Option<String>,
    /// Which of the offered protections we know: `None` where there is no qop at all (RFC 2069).
    pub qop: Option<Qop>,
    /// The digest of the last answer held, only its nonce did not.
    pub stale: bool,
}

impl Challenge {
    /// Reads one value of WWW-Authenticate or Proxy-Authenticate. `None` when it is no Digest challenge, lacks
    /// realm or nonce, or wants an algorithm or protection that we do not know (to be ignored, RFC 7616 §3.3).
    pub fn parse(value: &str) -> Option<Challenge> {
        let params = AuthParams::parse(value).ok()?;
        if !params.scheme().eq_ignore_ascii_case("digest") {
            return None;
        }
        let owned = |name: &str| params.get(name).map(|value| value.to_string());
        let algorithm_text = owned("algorithm");
        let (algorithm, session) = match &algorithm_text {
            Some(text) => Algorithm::parse_with_session(text)?,
            None => (Algorithm::Md5, false),
        };
        let qop = match params.get("qop") {
            Some(list) if list.split(',').any(|each| each.trim().eq_ignore_ascii_case("auth")) => {
                Some(Qop::Auth)
            }
            Some(list) if !list.trim().is_empty() => return None,
            _ => None,
        };
        Some(Challenge {
            realm: owned("realm")?,
            nonce: owned("nonce")?,
            opaque: owned("opaque"),
            algorithm,
            session,
            algorithm_text,
            qop,
            stale: params.get("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}
