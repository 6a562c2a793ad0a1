//! Strangers write what they like into Authorization: it is read or not, and never more.

use sip_auth::{
    Algorithm, Challenge, Challenger, Credentials, Expected, NonceKey, NonceKeys, Secret, verify,
};

#[test]
fn mutated_credentials_and_nonces_are_refused_in_peace() {
    let keys = NonceKeys::new(vec![NonceKey::new(1, 1, &[9; 32])]);
    let challenger = Challenger::new("example.com", &Algorithm::ALL, keys);
    let good = "Digest username=\"2001\", realm=\"example.com\", nonce=\"n\", uri=\"sip:h\", \
                response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001";
    let expected =
        Expected { realm: "example.com", method: "REGISTER", uri: "sip:h", algorithms: &Algorithm::ALL };
    let mut seed = 1_u64;
    let mut random = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % end
    };
    let mut read = 0;
    for _ in 0..50_000 {
        let mut letters: Vec<char> = good.chars().collect();
        for _ in 0..=random(4) {
            let at = random(letters.len());
            let letter = ['"', '\\', ',', '=', ' ', '\0', 'ä', '\u{10ffff}', 'x', '9'][random(10)];
            match random(3) {
                0 => letters[at] = letter,
                1 => letters.insert(at, letter),
                _ => drop(letters.remove(at)),
            }
        }
        let text: String = letters.into_iter().collect();
        let _ = Challenge::parse(&text);
        if let Ok(credentials) = Credentials::parse(&text) {
            read += 1;
            challenger.check_nonce(&credentials.nonce);
            assert!(verify(&credentials, Secret::Unknown, &expected).is_err());
            assert!(verify(&credentials, Secret::Password("pw"), &expected).is_err());
        }
    }
    assert!(read > 1_000, "most of the way was walked: {read}");
}
