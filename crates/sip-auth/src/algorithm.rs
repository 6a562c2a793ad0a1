//! The hash algorithms of RFC 8760 §2.1.

use std::fmt;
use std::str::FromStr;

/// A digest algorithm, without the `-sess` variant (that is a property of a challenge, see
/// [`Challenge::session`](crate::Challenge)).
///
/// Ordered by strength, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `MD5`: what every phone knows; also meant where a header names none.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256` (SHA-512/256 of FIPS 180-4, not a cut SHA-512).
    Sha512T256,
}

impl Algorithm {
    /// All of them, strongest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha512T256, Algorithm::Sha256, Algorithm::Md5];

    /// As it is written in `algorithm=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512T256 => "SHA-512-256",
        }
    }

    /// How many hexadecimal digits a response has.
    pub const fn hex_len(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 | Algorithm::Sha512T256 => 64,
        }
    }

    /// Reads an `algorithm` value: the algorithm, and whether it is the `-sess` variant.
    pub(crate) fn parse_with_session(text: &str) -> Option<(Algorithm, bool)> {
        let (name, session) = match text.len().checked_sub(5) {
            Some(at) if text.is_char_boundary(at) && text[at..].eq_ignore_ascii_case("-sess") => {
                (&text[..at], true)
            }
            _ => (text, false),
        };
        Algorithm::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .map(|algorithm| (algorithm, session))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reading failed: MD5, SHA-256 or SHA-512-256 is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MD5, SHA-256 or SHA-512-256 is wanted")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        match Algorithm::parse_with_session(text) {
            Some((algorithm, false)) => Ok(algorithm),
            _ => Err(UnknownAlgorithm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_written_in_theirs() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().to_lowercase().parse(), Ok(algorithm));
        }
        assert_eq!("SHA256".parse::<Algorithm>(), Err(UnknownAlgorithm));
        assert_eq!("MD5-sess".parse::<Algorithm>(), Err(UnknownAlgorithm));
        assert_eq!(Algorithm::parse_with_session("md5-SESS"), Some((Algorithm::Md5, true)));
        assert_eq!(Algorithm::parse_with_session("ä-ses"), None);
    }

    #[test]
    fn strength_orders_them() {
        assert!(Algorithm::Md5 < Algorithm::Sha256 && Algorithm::Sha256 < Algorithm::Sha512T256);
    }
}
