//! What a verifier knows of a user.

use std::fmt;

use crate::Algorithm;
use crate::digest::{Hex, hash};

/// A user's secret in one of the forms it is kept in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Secret<'a> {
    /// The password itself: good for every algorithm.
    Password(&'a str),
    /// The hexadecimal H(user:realm:password) of one algorithm (`md5secret` for MD5): good for that one only.
    Ha1 {
        /// The algorithm it was made with.
        algorithm: Algorithm,
        /// Its digits.
        hex: &'a str,
    },
    /// There is no such user. Verification fails, after the same work.
    Unknown,
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Password(_) => "Password(..)",
            Secret::Ha1 { .. } => "Ha1(..)",
            Secret::Unknown => "Unknown",
        })
    }
}

impl Secret<'_> {
    /// HA1 for these terms, and whether it is a real one. The work is the same in every case: one hash of about
    /// the same length, of a dummy where there is no password.
    pub(crate) fn ha1(&self, algorithm: Algorithm, user: &str, realm: &str) -> (Hex, bool) {
        let (password, known) = match *self {
            Secret::Password(password) => (password, true),
            Secret::Ha1 { .. } | Secret::Unknown => ("no such secret", false),
        };
        let computed = hash(algorithm, &[user.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        match *self {
            Secret::Ha1 { algorithm: made_with, hex } if made_with == algorithm => {
                Hex::read(hex, algorithm).map_or((computed, false), |stored| (stored, true))
            }
            _ => (computed, known),
        }
    }
}

/// H(user:realm:password), as it is kept in place of a password (RFC 7616 §3.4.2): hexadecimal, lower case.
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    hash(algorithm, &[user.as_bytes(), realm.as_bytes(), password.as_bytes()]).to_text()
}
