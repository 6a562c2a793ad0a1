//! Challenges written, recognised and answered: RFC 8760 §2, RFC 7616 §3.3.

use sip_auth::{
    Algorithm, Answering, CannotAnswer, Challenge, Challenger, Credentials, Expected, NonceId, NonceKey,
    NonceKeys, NonceState, NonceUse, Place, Secret, Use, answer, verify,
};
use sip_wire::Header;

fn challenger(algorithms: &[Algorithm]) -> Challenger {
    let key = NonceKey::new(3, 3, &NonceKey::derive(b"cluster", 3));
    Challenger::new("example.com", algorithms, NonceKeys::new(vec![key]))
}

fn ask<'a>(challenges: &'a [String], secret: Secret<'a>, allowed: &'a [Algorithm]) -> Answering<'a, String> {
    Answering {
        challenges,
        realm: None,
        user: "trunk",
        secret,
        method: "INVITE",
        uri: "sip:1@h",
        cnonce: "c0",
        nc: 1,
        allowed,
    }
}

#[test]
fn rfc8760_2_3_several_algorithms_share_the_nonce_strongest_first() {
    let values = challenger(&[Algorithm::Md5, Algorithm::Sha512T256, Algorithm::Sha256, Algorithm::Md5])
        .challenge(42, false);
    let read: Vec<_> = values.iter().filter_map(|value| Challenge::parse(value)).collect();
    let algorithms: Vec<_> = read.iter().map(|challenge| challenge.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha512T256, Algorithm::Sha256, Algorithm::Md5]);
    assert!(read.iter().all(|challenge| challenge.nonce == read[0].nonce && !challenge.stale));
    assert!(
        values.iter().all(|value| value.contains("realm=\"example.com\"") && value.contains("qop=\"auth\""))
    );
}

#[test]
fn md5_alone_is_the_default() {
    let values = challenger(&[]).challenge(42, true);
    assert_eq!(values.len(), 1);
    assert!(values[0].contains("algorithm=MD5") && values[0].contains("stale=true"), "{}", values[0]);
}

#[test]
fn fifty_challenges_have_fifty_nonces() {
    let challenger = challenger(&[]);
    let mut values: Vec<_> = (0..50).flat_map(|random| challenger.challenge(random, false)).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 50);
}

#[test]
fn without_a_key_there_is_no_challenge() {
    assert!(Challenger::new("r", &[], NonceKeys::default()).challenge(1, false).is_empty());
}

#[test]
fn rfc3261_22_the_realm_is_quoted() {
    let key = NonceKey::new(1, 1, &[7; 32]);
    let odd = Challenger::new("a \"b\", \\c", &[], NonceKeys::new(vec![key]));
    let read = Challenge::parse(&odd.challenge(1, false)[0]).expect("readable");
    assert_eq!(read.realm, "a \"b\", \\c");
    assert!(matches!(odd.check_nonce(&read.nonce), NonceState::Fresh(_)));
}

/// All that happens between a phone, the shard that challenges and the registrar that verifies.
#[test]
fn a_whole_round_with_replay() {
    let challenger = challenger(&[Algorithm::Sha256, Algorithm::Md5]);
    let challenges = challenger.challenge(42, false);
    let answered = answer(&ask(&challenges, Secret::Password("pw"), &[Algorithm::Md5])).expect("an answer");
    let credentials =
        Credentials::pick(&[answered.value], challenger.realm(), challenger.algorithms()).unwrap().unwrap();
    let expected = Expected {
        realm: challenger.realm(),
        method: "INVITE",
        uri: "sip:1@h",
        algorithms: challenger.algorithms(),
    };
    assert_eq!(verify(&credentials, Secret::Password("pw"), &expected), Ok(()));
    let id = NonceId { epoch: 3, random: 42 };
    assert_eq!(challenger.check_nonce(&credentials.nonce), NonceState::Fresh(id));
    let mut uses = NonceUse::default();
    assert_eq!(uses.note(credentials.nc()), Use::First);
    assert_eq!(uses.note(credentials.nc()), Use::Replayed);
}

#[test]
fn rfc8760_2_4_the_topmost_challenge_that_is_allowed_is_answered() {
    let challenges = challenger(&Algorithm::ALL).challenge(1, false);
    let chosen = |allowed: &[Algorithm], secret| {
        answer(&ask(&challenges, secret, allowed)).map(|answer| answer.challenge.algorithm)
    };
    let password = Secret::Password("pw");
    assert_eq!(chosen(&Algorithm::ALL, password), Ok(Algorithm::Sha512T256));
    assert_eq!(chosen(&[Algorithm::Md5, Algorithm::Sha256], password), Ok(Algorithm::Sha256));
    assert_eq!(chosen(&[], password), Err(CannotAnswer::Algorithm));
    let hex = "0".repeat(32);
    let hash = Secret::Ha1 { algorithm: Algorithm::Md5, hex: &hex };
    assert_eq!(chosen(&Algorithm::ALL, hash), Ok(Algorithm::Md5));
    assert_eq!(chosen(&[Algorithm::Sha256], hash), Err(CannotAnswer::Algorithm));
    assert_eq!(chosen(&Algorithm::ALL, Secret::Unknown), Err(CannotAnswer::Secret));
}

#[test]
fn only_the_realm_that_may_be_answered_is() {
    let challenges = challenger(&[]).challenge(1, false);
    let mut asked = ask(&challenges, Secret::Password("pw"), &Algorithm::ALL);
    asked.realm = Some("trunk.example");
    assert_eq!(answer(&asked), Err(CannotAnswer::Realm));
    asked.realm = Some("example.com");
    assert!(answer(&asked).is_ok());
}

#[test]
fn rfc7616_3_3_unknown_algorithms_protections_and_schemes_are_ignored() {
    let challenges = [
        "Basic realm=\"x\"",
        "Digest realm=\"x\", nonce=\"n\", algorithm=SHA3-256",
        "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
        "Digest realm=\"x\"",
        "Digest nonce=\"n\"",
        "rubbish\"",
        "",
    ]
    .map(str::to_owned);
    let asked = ask(&challenges, Secret::Password("pw"), &Algorithm::ALL);
    assert_eq!(answer(&asked), Err(CannotAnswer::Unreadable));
}

#[test]
fn opaque_and_the_spelling_of_the_algorithm_come_back() {
    let challenges = ["Digest realm=\"x\", nonce=\"n\", opaque=\"o\\\"p\", algorithm=md5-sess".to_owned()];
    let answered = answer(&ask(&challenges, Secret::Password("pw"), &Algorithm::ALL)).expect("an answer");
    assert!(answered.value.contains("opaque=\"o\\\"p\""), "{}", answered.value);
    assert!(answered.value.contains("algorithm=md5-sess"), "{}", answered.value);
    // RFC 2617 §3.2.2.2: a session key is made with the cnonce, even without qop.
    assert!(
        answered.value.contains("cnonce=\"c0\"") && !answered.value.contains("qop"),
        "{}",
        answered.value
    );
}

#[test]
fn nc_is_eight_digits_and_qop_unquoted() {
    let challenges = challenger(&[]).challenge(1, false);
    let mut asked = ask(&challenges, Secret::Password("pw"), &Algorithm::ALL);
    asked.nc = 171;
    let value = answer(&asked).expect("an answer").value;
    assert!(value.contains("qop=auth, nc=000000ab"), "{value}");
}

#[test]
fn rfc3261_22_2_22_3_the_two_places() {
    assert_eq!(Place::Www.status(), 401);
    assert_eq!(Place::Www.challenge_header(), Header::WwwAuthenticate);
    assert_eq!(Place::Www.credentials_header(), Header::Authorization);
    assert_eq!(Place::Proxy.status(), 407);
    assert_eq!(Place::Proxy.challenge_header(), Header::ProxyAuthenticate);
    assert_eq!(Place::Proxy.credentials_header(), Header::ProxyAuthorization);
}
