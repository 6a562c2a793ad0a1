//! The arithmetic: H(), A1, A2 and KD of RFC 7616 §3.4.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Algorithm;

/// A hash as lower-case hexadecimal digits, without allocation; wiped when dropped, as it may be an HA1.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Hex {
    digits: [u8; 64],
    len: usize,
}

impl Hex {
    fn of(hash: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex { digits, len: (hash.len() * 2).min(64) }
    }

    /// Takes digits that were computed elsewhere (`md5secret`), made lower-case; `None` unless there are exactly
    /// as many as `algorithm` makes and all are hexadecimal.
    pub(crate) fn read(text: &str, algorithm: Algorithm) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != algorithm.hex_len() || !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut digits = [0; 64];
        for (digit, given) in digits.iter_mut().zip(text) {
            *digit = given.to_ascii_lowercase();
        }
        Some(Hex { digits, len: text.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// The digits as text.
    pub(crate) fn to_text(&self) -> String {
        self.as_bytes().iter().map(|&digit| char::from(digit)).collect()
    }
}

/// H of `parts` joined by colons.
pub(crate) fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> Hex {
    fn run<D: Digest>(parts: &[&[u8]]) -> Hex {
        let mut hasher = D::new();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                hasher.update(b":");
            }
            hasher.update(part);
        }
        Hex::of(&hasher.finalize())
    }
    match algorithm {
        Algorithm::Md5 => run::<Md5>(parts),
        Algorithm::Sha256 => run::<Sha256>(parts),
        Algorithm::Sha512T256 => run::<Sha512_256>(parts),
    }
}

/// What a response is computed over, besides the secret.
pub(crate) struct Terms<'a> {
    pub algorithm: Algorithm,
    pub session: bool,
    pub nonce: &'a str,
    pub method: &'a str,
    pub uri: &'a str,
    /// `nc` as written and `cnonce`, when qop=auth is in use.
    pub auth: Option<(&'a str, &'a str)>,
    /// `cnonce`, for `-sess` without qop.
    pub cnonce: &'a str,
}

/// The response of RFC 7616 §3.4.1, or of RFC 2069 where there is no qop.
pub(crate) fn response(ha1: &Hex, terms: &Terms<'_>) -> Hex {
    let algorithm = terms.algorithm;
    let nonce = terms.nonce.as_bytes();
    let session_ha1;
    let ha1 = if terms.session {
        session_ha1 = hash(algorithm, &[ha1.as_bytes(), nonce, terms.cnonce.as_bytes()]);
        &session_ha1
    } else {
        ha1
    };
    let ha2 = hash(algorithm, &[terms.method.as_bytes(), terms.uri.as_bytes()]);
    match terms.auth {
        Some((nc, cnonce)) => hash(
            algorithm,
            &[ha1.as_bytes(), nonce, nc.as_bytes(), cnonce.as_bytes(), b"auth", ha2.as_bytes()],
        ),
        None => hash(algorithm, &[ha1.as_bytes(), nonce, ha2.as_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(algorithm: Algorithm, user: &str, realm: &str, password: &str, terms: Terms<'_>) -> String {
        let ha1 = hash(algorithm, &[user.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        response(&ha1, &terms).to_text()
    }

    fn get<'a>(algorithm: Algorithm, nonce: &'a str, uri: &'a str, cnonce: &'a str) -> Terms<'a> {
        Terms {
            algorithm,
            session: false,
            nonce,
            method: "GET",
            uri,
            auth: Some(("00000001", cnonce)),
            cnonce,
        }
    }

    #[test]
    fn rfc2617_3_5() {
        let terms = get(Algorithm::Md5, "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "0a4f113b");
        assert_eq!(
            given(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life", terms),
            "6629fae49393a05397450978507c4ef1"
        );
    }

    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    #[test]
    fn rfc7616_3_9_1_md5() {
        assert_eq!(
            given(
                Algorithm::Md5,
                "Mufasa",
                "http-auth@example.org",
                "Circle of Life",
                get(Algorithm::Md5, NONCE, "/dir/index.html", CNONCE)
            ),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
    }

    #[test]
    fn rfc7616_3_9_1_sha_256() {
        assert_eq!(
            given(
                Algorithm::Sha256,
                "Mufasa",
                "http-auth@example.org",
                "Circle of Life",
                get(Algorithm::Sha256, NONCE, "/dir/index.html", CNONCE)
            ),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// The response printed in RFC 7616 is that of a cut SHA-512; this is the one of its erratum 4897.
    #[test]
    fn rfc7616_3_9_2_sha_512_256() {
        let terms = get(
            Algorithm::Sha512T256,
            "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            "/doe.json",
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        );
        assert_eq!(
            given(Algorithm::Sha512T256, "Jäsøn Doe", "api@example.org", "Secret, or not?", terms),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
    }

    #[test]
    fn rfc2617_3_2_2_2_md5_sess_binds_the_session_to_nonce_and_cnonce() {
        let mut terms = get(Algorithm::Md5, "n", "/", "c");
        terms.session = true;
        let ha1 = hash(Algorithm::Md5, &[b"u", b"r", b"p"]);
        let by_hand = hash(Algorithm::Md5, &[ha1.as_bytes(), b"n", b"c"]);
        terms.session = true;
        let with = response(&ha1, &terms).to_text();
        terms.session = false;
        assert_eq!(with, response(&by_hand, &terms).to_text());
    }

    #[test]
    fn a_stored_hash_is_taken_in_any_case_but_only_whole() {
        let lower = "6629fae49393a05397450978507c4ef1";
        let read = |text: &str| Hex::read(text, Algorithm::Md5).map(|hex| hex.to_text());
        assert_eq!(read(&lower.to_uppercase()), Some(lower.to_owned()));
        assert_eq!(read(&lower[1..]), None);
        assert_eq!(read("xx29fae49393a05397450978507c4ef1"), None);
    }
}
