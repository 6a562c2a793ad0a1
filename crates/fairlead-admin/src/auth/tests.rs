//! The static token and this host; token reviews are tested against an API server in `tests/review.rs`.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const LOOPBACK: &str = "127.0.0.1:8080";
const ANYWHERE: &str = "0.0.0.0:8080";

fn with(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

fn bearing(token: &str) -> HeaderMap {
    with(&[(header::AUTHORIZATION, token)])
}

fn access(token: Option<&str>, file: Option<&Path>, listen: &str) -> Result<Access, AccessError> {
    Access::new(token.map(Secret::new), file, None, listen.parse().unwrap())
}

#[tokio::test]
async fn only_the_right_token_lets_in() {
    let access = access(Some("right-token"), None, ANYWHERE).unwrap();
    assert!(access.who(&bearing("Bearer right-token"), None, HERE).await.is_ok());
    assert!(access.who(&bearing("bearer right-token"), None, HERE).await.is_ok());
    for bad in ["Bearer wrong-token", "Bearer right-toke", "Bearer right-token2"] {
        let refusal = access.who(&bearing(bad), None, HERE).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Wrong(_)), "{bad}");
    }
    for missing in [bearing("Basic right-token"), bearing("Bearer "), HeaderMap::new()] {
        assert_eq!(access.who(&missing, None, HERE).await.unwrap_err(), Refusal::Missing);
    }
}

#[test]
fn without_a_token_only_loopback_is_listened_on() {
    assert!(matches!(access(None, None, ANYWHERE), Err(AccessError::Open(_))));
    assert!(matches!(access(None, None, "[::]:8080"), Err(AccessError::Open(_))));
    assert!(access(None, None, LOOPBACK).is_ok());
    assert!(access(None, None, "[::1]:8080").is_ok());
}

#[tokio::test]
async fn without_a_token_a_web_page_cannot_make_a_browser_ask() {
    let access = access(None, None, LOOPBACK).unwrap();
    for host in [LOOPBACK, "[::1]:8080", "localhost"] {
        assert!(access.who(&with(&[(header::HOST, host)]), None, HERE).await.is_ok(), "{host}");
    }
    let rebound = with(&[(header::HOST, "rebound.example:8080")]);
    assert!(access.who(&rebound, None, HERE).await.is_err());
    assert!(access.who(&HeaderMap::new(), Some("rebound.example"), HERE).await.is_err());
    let page = with(&[(header::HOST, LOOPBACK), (header::ORIGIN, "https://evil.example")]);
    assert!(access.who(&page, None, HERE).await.is_err());
}

#[tokio::test]
async fn until_the_file_of_the_token_is_there_nobody_knows_who_comes() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(None, Some(&folder.path().join("token")), ANYWHERE).unwrap();
    let refusal = access.who(&bearing("Bearer from-the-file"), None, HERE).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Undecided(why) if why.contains("admin-token-file")), "{refusal:?}");
    assert_eq!(access.who(&HeaderMap::new(), None, HERE).await.unwrap_err(), Refusal::Missing);
}

#[test]
fn the_file_of_the_token_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let (file, mut now) = (TokenFile::open(&path).unwrap(), Instant::now());
    let mut later = || {
        now += token_file::LOOK_AGAIN;
        file.current(now).ok().map(|token| token.expose().to_owned())
    };
    assert_eq!(later(), None);
    std::fs::write(&path, "  from-the-file\n").unwrap();
    assert_eq!(later().as_deref(), Some("from-the-file"));
    std::fs::write(&path, "another-token").unwrap();
    assert_eq!(later().as_deref(), Some("another-token"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(later(), None, "what was taken back counts no more");
}

#[test]
fn a_token_that_no_header_can_carry_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "\n").unwrap();
    assert!(matches!(access(None, Some(&file), LOOPBACK), Err(AccessError::Token)));
    assert!(matches!(access(Some("short"), None, LOOPBACK), Err(AccessError::Token)));
    assert!(matches!(access(Some("long-enough"), Some(&file), LOOPBACK), Err(AccessError::Twice)));
}

#[test]
fn the_audience_names_namespace_and_release() {
    assert_eq!(Reviewer::new("fairlead-admin/sip/edge").unwrap().namespace(), "sip");
    for bad in [
        "",
        "fairlead-admin",
        "fairlead-admin/sip",
        "fairlead-admin//edge",
        "fairlead-admin/sip/edge/x",
        "x/sip/edge",
    ] {
        assert!(matches!(Reviewer::new(bad), Err(AccessError::Audience(_))), "{bad}");
    }
}
