//! Answering a challenge (RFC 3261 §22.2, RFC 7616 §3.4, RFC 8760 §2.4).

use std::fmt::Write;

use sip_wire::params::quote;

use crate::digest::{Terms, response};
use crate::{Algorithm, Challenge, Qop, Secret};

/// All that an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Answering<'a, V> {
    /// The values of all WWW-Authenticate (or all Proxy-Authenticate) headers of the response, in their order.
    pub challenges: &'a [V],
    /// Answer only this realm; `None`: any.
    pub realm: Option<&'a str>,
    /// Who we are.
    pub user: &'a str,
    /// Our secret.
    pub secret: Secret<'a>,
    /// The method of the request to be sent again.
    pub method: &'a str,
    /// Its Request-URI.
    pub uri: &'a str,
    /// A fresh client nonce, hexadecimal or other token characters.
    pub cnonce: &'a str,
    /// How often the nonce has been used with this answer, from 1.
    pub nc: u32,
    /// The algorithms that may be used.
    pub allowed: &'a [Algorithm],
}

/// A header value and what it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The value of Authorization or Proxy-Authorization.
    pub value: String,
    /// The challenge that was chosen, to count uses of its nonce.
    pub challenge: Challenge,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotAnswer {
    /// None of the challenges is a Digest challenge with an algorithm that we know.
    #[error("no challenge can be read")]
    Unreadable,
    /// They are for another realm than the one we may answer.
    #[error("the challenge is for another realm")]
    Realm,
    /// The algorithm is not allowed here, or the secret is kept as the hash of another one.
    #[error("no challenge uses an allowed algorithm")]
    Algorithm,
    /// There is no secret.
    #[error("there is no secret to answer with")]
    Secret,
}

/// Answers the topmost challenge that can be answered (RFC 8760 §2.4: the order is the server's preference).
pub fn answer<V: AsRef<str>>(ask: &Answering<'_, V>) -> Result<Answer, CannotAnswer> {
    if ask.secret == Secret::Unknown {
        return Err(CannotAnswer::Secret);
    }
    // The error kept is that of the challenge that came closest.
    let mut error = CannotAnswer::Unreadable;
    for challenge in ask.challenges.iter().filter_map(|value| Challenge::parse(value.as_ref())) {
        if ask.realm.is_some_and(|realm| realm != challenge.realm) {
            if error == CannotAnswer::Unreadable {
                error = CannotAnswer::Realm;
            }
            continue;
        }
        match write(ask, &challenge) {
            Some(value) => return Ok(Answer { value, challenge }),
            None => error = CannotAnswer::Algorithm,
        }
    }
    Err(error)
}

fn write<V>(ask: &Answering<'_, V>, challenge: &Challenge) -> Option<String> {
    let algorithm = challenge.algorithm;
    if !ask.allowed.contains(&algorithm) {
        return None;
    }
    let (ha1, true) = ask.secret.ha1(algorithm, ask.user, &challenge.realm) else { return None };
    let nc = format!("{:08x}", ask.nc);
    let terms = Terms {
        algorithm,
        session: challenge.session,
        nonce: &challenge.nonce,
        method: ask.method,
        uri: ask.uri,
        auth: challenge.qop.map(|Qop::Auth| (nc.as_str(), ask.cnonce)),
        cnonce: ask.cnonce,
    };
    let response = response(&ha1, &terms).to_text();
    let mut value = format!(
        "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
        quote(ask.user),
        quote(&challenge.realm),
        quote(&challenge.nonce),
        quote(ask.uri),
    );
    // Writing to a String cannot fail.
    if let Some(text) = &challenge.algorithm_text {
        let _ = write!(value, ", algorithm={text}");
    }
    if challenge.qop.is_some() {
        let _ = write!(value, ", qop=auth, nc={nc}");
    }
    if challenge.qop.is_some() || challenge.session {
        let _ = write!(value, ", cnonce={}", quote(ask.cnonce));
    }
    if let Some(opaque) = &challenge.opaque {
        let _ = write!(value, ", opaque={}", quote(opaque));
    }
    Some(value)
}
