//! Answers judged: RFC 3261 §22.4, RFC 7616 §3.4, RFC 8760 §2.6.

use sip_auth::{
    Algorithm, Answering, BadCredentials, Credentials, Expected, Rejected, Secret, answer, ha1, verify,
};

const REALM: &str = "example.com";
const URI: &str = "sip:example.com";

fn expected<'a>(algorithms: &'a [Algorithm]) -> Expected<'a> {
    Expected { realm: REALM, method: "REGISTER", uri: URI, algorithms }
}

/// What 2001 with the password "swordfish" answers to this challenge.
fn answered(challenge: &str, method: &str, uri: &str) -> Credentials {
    let answer = answer(&Answering {
        challenges: &[challenge],
        realm: None,
        user: "2001",
        secret: Secret::Password("swordfish"),
        method,
        uri,
        cnonce: "0a4f113b",
        nc: 1,
        allowed: &Algorithm::ALL,
    })
    .expect("an answer");
    Credentials::parse(&answer.value).expect("credentials")
}

fn challenge(algorithm: &str, qop: &str) -> String {
    format!("Digest realm=\"{REALM}\", nonce=\"n0nce\"{algorithm}{qop}")
}

#[test]
fn rfc8760_every_algorithm_with_and_without_qop_holds() {
    for algorithm in Algorithm::ALL {
        for qop in ["", ", qop=\"auth\"", ", qop=\"auth-int,auth\""] {
            let challenge = challenge(&format!(", algorithm={algorithm}"), qop);
            let credentials = answered(&challenge, "REGISTER", URI);
            assert_eq!(credentials.algorithm, Some(algorithm));
            assert_eq!(credentials.nc(), (!qop.is_empty()).then_some(1));
            let offered = [algorithm];
            let judged = |secret: Secret<'_>| verify(&credentials, secret, &expected(&offered));
            assert_eq!(judged(Secret::Password("swordfish")), Ok(()));
            assert_eq!(judged(Secret::Password("Swordfish")), Err(Rejected::Digest));
            let hex = ha1(algorithm, "2001", REALM, "swordfish");
            assert_eq!(judged(Secret::Ha1 { algorithm, hex: &hex }), Ok(()));
            assert_eq!(judged(Secret::Ha1 { algorithm, hex: &hex.to_uppercase() }), Ok(()));
            assert_eq!(judged(Secret::Unknown), Err(Rejected::Digest));
        }
    }
}

#[test]
fn rfc7616_3_3_no_algorithm_means_md5() {
    let credentials = answered(&challenge("", ""), "REGISTER", URI);
    assert_eq!(credentials.algorithm, Some(Algorithm::Md5));
    assert_eq!(verify(&credentials, Secret::Password("swordfish"), &expected(&[Algorithm::Md5])), Ok(()));
}

#[test]
fn the_password_of_an_unknown_user_cannot_be_guessed_from_ours() {
    // The dummy that an unknown user is computed with must never be a password that works.
    let answer = answer(&Answering {
        challenges: &[challenge("", "")],
        realm: None,
        user: "nobody",
        secret: Secret::Password("no such secret"),
        method: "REGISTER",
        uri: URI,
        cnonce: "c",
        nc: 1,
        allowed: &Algorithm::ALL,
    })
    .expect("an answer");
    let credentials = Credentials::parse(&answer.value).expect("credentials");
    let expected = expected(&[Algorithm::Md5]);
    assert_eq!(verify(&credentials, Secret::Unknown, &expected), Err(Rejected::Digest));
    let broken = Secret::Ha1 { algorithm: Algorithm::Md5, hex: "too short" };
    assert_eq!(verify(&credentials, broken, &expected), Err(Rejected::Digest));
    let other = Secret::Ha1 { algorithm: Algorithm::Sha256, hex: &"0".repeat(64) };
    assert_eq!(verify(&credentials, other, &expected), Err(Rejected::Digest));
}

#[test]
fn every_part_of_the_answer_counts() {
    let good = answered(&challenge(", algorithm=MD5", ", qop=\"auth\""), "REGISTER", URI);
    let judged = |change: &dyn Fn(&mut Credentials)| {
        let mut changed = good.clone();
        change(&mut changed);
        verify(&changed, Secret::Password("swordfish"), &expected(&[Algorithm::Md5]))
    };
    assert_eq!(judged(&|_| {}), Ok(()));
    assert_eq!(judged(&|c| c.realm = "other.example".into()), Err(Rejected::Realm));
    assert_eq!(judged(&|c| c.uri = "sip:other.example".into()), Err(Rejected::Uri));
    assert_eq!(judged(&|c| c.algorithm = Some(Algorithm::Sha256)), Err(Rejected::Algorithm));
    assert_eq!(judged(&|c| c.algorithm = None), Err(Rejected::Algorithm));
    assert_eq!(judged(&|c| c.username = "2002".into()), Err(Rejected::Digest));
    assert_eq!(judged(&|c| c.nonce = "other".into()), Err(Rejected::Digest));
    assert_eq!(judged(&|c| c.response = String::new()), Err(Rejected::Digest));
    assert_eq!(judged(&|c| c.response.push('0')), Err(Rejected::Digest));
    assert_eq!(judged(&|c| c.response = c.response.to_uppercase()), Ok(()));
    assert_eq!(judged(&|c| c.protection = None), Err(Rejected::Digest));
    let with = |c: &mut Credentials, nc: &str, cnonce: &str| {
        if let Some(p) = &mut c.protection {
            (p.nc_text, p.cnonce) = (nc.into(), cnonce.into());
        }
    };
    assert_eq!(judged(&|c| with(c, "00000002", "0a4f113b")), Err(Rejected::Digest));
    assert_eq!(judged(&|c| with(c, "00000001", "other")), Err(Rejected::Digest));
}

#[test]
fn the_method_of_the_request_counts() {
    let invite = answered(&challenge("", ", qop=\"auth\""), "INVITE", URI);
    assert_eq!(
        verify(&invite, Secret::Password("swordfish"), &expected(&[Algorithm::Md5])),
        Err(Rejected::Digest)
    );
}

#[test]
fn rfc7616_3_4_6_the_same_uri_may_be_written_differently() {
    let judged = |uri: &str, request_uri: &str| {
        let credentials = answered(&challenge("", ", qop=\"auth\""), "REGISTER", uri);
        let expected = Expected { uri: request_uri, ..expected(&[Algorithm::Md5]) };
        verify(&credentials, Secret::Password("swordfish"), &expected)
    };
    assert_eq!(judged("sip:EXAMPLE.com", "sip:example.com"), Ok(()));
    assert_eq!(judged("sip:%32001@example.com", "sip:2001@example.com"), Ok(()));
    assert_eq!(judged("sip:2001@example.com", "sip:2002@example.com"), Err(Rejected::Uri));
    assert_eq!(judged("sips:example.com", "sip:example.com"), Err(Rejected::Uri));
    assert_eq!(judged("/", "sip:example.com"), Err(Rejected::Uri));
    assert_eq!(judged("sip:example.com:5060", "sip:2002@example.com"), Ok(()), "names the server");
    assert_eq!(judged("sip:example.org", "sip:2002@example.com"), Err(Rejected::Uri));
    assert_eq!(judged("sip:example.com:5070", "sip:2002@example.com"), Err(Rejected::Uri));
    assert_eq!(judged("sips:example.com", "sip:2002@example.com"), Err(Rejected::Uri));
}

#[test]
fn rfc3261_20_7_phones_write_credentials_in_many_ways() {
    let read = Credentials::parse(
        "digest nonce=abc , realm = \"a \\\"b\\\"\",username=\"x,y\", uri=\"sip:h;transport=tls\",\
         response=\"00\",qop=\"auth\",nc=\"0000000a\", cnonce=\"\", algorithm=\"md5\", opaque=\"\",",
    )
    .expect("readable");
    assert_eq!(read.username, "x,y");
    assert_eq!(read.realm, "a \"b\"");
    assert_eq!(read.nc(), Some(10));
    assert_eq!(read.algorithm, Some(Algorithm::Md5));
    let empty_qop = Credentials::parse("Digest username=u,realm=r,nonce=n,uri=\"s\",response=x,qop=\"\"");
    assert_eq!(empty_qop.map(|c| c.nc()), Ok(None));
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let read = |text: &str| Credentials::parse(text).map(|_| ());
    assert_eq!(read("Basic YTpi"), Err(BadCredentials::Syntax));
    assert_eq!(read("Basic x=y"), Err(BadCredentials::Scheme));
    assert_eq!(read(""), Err(BadCredentials::Syntax));
    assert_eq!(read("Digest"), Err(BadCredentials::Missing("username")));
    assert_eq!(read("Digest username=u,realm=r,nonce=n,uri=s"), Err(BadCredentials::Missing("response")));
    let qop = "Digest username=u,realm=r,nonce=n,uri=s,response=x,qop=";
    assert_eq!(read(&format!("{qop}auth-int,nc=1,cnonce=c")), Err(BadCredentials::Qop));
    assert_eq!(read(&format!("{qop}auth,cnonce=c")), Err(BadCredentials::Missing("nc")));
    assert_eq!(read(&format!("{qop}auth,nc=1")), Err(BadCredentials::Missing("cnonce")));
    for nc in ["+1", "\"\"", "g", "100000000", "-1"] {
        assert_eq!(read(&format!("{qop}auth,cnonce=c,nc={nc}")), Err(BadCredentials::Nc), "{nc}");
    }
}

fn value(realm: &str, algorithm: &str) -> String {
    format!("Digest username=u,realm=\"{realm}\",nonce=n,uri=s,response=x{algorithm}")
}

#[test]
fn rfc3261_22_3_the_credentials_for_our_realm_are_picked() {
    let all = [value("one", ""), value(REALM, ""), value(REALM, ",algorithm=SHA-256"), value("two", "")];
    let pick = |values: &[String], offered: &[Algorithm]| {
        Credentials::pick(values, REALM, offered).map(|found| found.and_then(|c| c.algorithm))
    };
    assert_eq!(pick(&all, &[Algorithm::Md5, Algorithm::Sha256]), Ok(Some(Algorithm::Sha256)));
    assert_eq!(pick(&all, &[Algorithm::Md5]), Ok(Some(Algorithm::Md5)));
    assert_eq!(pick(&all[..1], &[Algorithm::Md5]), Ok(None));
    assert_eq!(pick(&[], &[Algorithm::Md5]), Ok(None));
}

#[test]
fn unusable_credentials_matter_only_when_there_are_no_others() {
    let broken = "Digest realm=\"example.com\"".to_owned();
    let both = [broken.clone(), value(REALM, "")];
    assert!(matches!(Credentials::pick(&both, REALM, &[Algorithm::Md5]), Ok(Some(_))));
    assert_eq!(
        Credentials::pick(&[broken], REALM, &[Algorithm::Md5]),
        Err(BadCredentials::Missing("username"))
    );
}

/// Not the clock but the work is compared: an unknown user's answer goes through as many hashes.
#[test]
fn an_unknown_user_is_refused_with_the_same_words() {
    let credentials = answered(&challenge("", ", qop=\"auth\""), "REGISTER", URI);
    let judged =
        |secret| verify(&credentials, secret, &expected(&[Algorithm::Md5])).map_err(|e| e.to_string());
    assert_eq!(judged(Secret::Unknown), judged(Secret::Password("wrong")));
}

#[test]
fn secrets_are_not_printed() {
    let secrets = [Secret::Password("swordfish"), Secret::Ha1 { algorithm: Algorithm::Md5, hex: "abcdef" }];
    let printed = format!("{secrets:?}");
    assert!(!printed.contains("swordfish") && !printed.contains("abcdef"), "{printed}");
}
