//! Redis behind TLS, with an ACL user whose password lies in a file: a single server, behind Sentinel, as a Cluster.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guarded;
mod suite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fairlead_store::{RedisSettings, RedisStore, Step, Store};
use guarded::{Authority, Guarded, PASSWORD, USER};
use suite::load;

#[tokio::test]
async fn a_single_server_is_reached_with_the_user_of_the_address_and_the_password_of_a_file() {
    let ca = Authority::new();
    let (server, password) = (Guarded::start(&ca), Password::new(PASSWORD));
    let store = present(&ca, &password, format!("rediss://{USER}@127.0.0.1:{}", server.port)).await;
    suite::conforms(&store).await;
}

#[tokio::test]
async fn a_password_may_stand_in_the_address() {
    let ca = Authority::new();
    let server = Guarded::start(&ca);
    let url = format!("rediss://{USER}:p%3Aw%2F%40%25@127.0.0.1:{}/0", server.port);
    let store =
        RedisStore::open(RedisSettings { ca_file: Some(ca.file()), ..RedisSettings::new(url) }).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn three_nodes_of_a_cluster_are_reached() {
    let ca = Authority::new();
    let (nodes, password) = (Guarded::start_cluster(&ca), Password::new(PASSWORD));
    let hosts: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let store = present(&ca, &password, format!("rediss+cluster://{USER}@{}", hosts.join(","))).await;
    suite::conforms(&store).await;
    let held = nodes.iter().filter(|node| node.command(&["DBSIZE"]).trim() != "0").count();
    assert_eq!(held, 3, "keys lie on every node");
}

#[tokio::test]
async fn the_master_that_sentinel_names_is_reached() {
    let ca = Authority::new();
    let (master, password) = (Guarded::start(&ca), Password::new(PASSWORD));
    let sentinel = Guarded::start_sentinel(&ca, &master);
    let url = format!("rediss+sentinel://{USER}@127.0.0.1:{}/edge", sentinel.port);
    let store = present(&ca, &password, url).await;
    suite::conforms(&store).await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let (ca, other) = (Authority::new(), Authority::new());
    let (server, password) = (Guarded::start(&ca), Password::new(PASSWORD));
    let url = format!("rediss://{USER}@127.0.0.1:{}", server.port);
    let store = open(Some(other.file()), password.path(), url.clone());
    assert!(!store.wait_until_present(Duration::from_secs(1)).await);
    let store = open(None, password.path(), url);
    assert!(
        !store.wait_until_present(Duration::from_secs(1)).await,
        "the system's authorities did not sign it either"
    );
}

#[tokio::test]
async fn until_password_and_authority_are_there_redis_is_away_and_a_new_password_is_read() {
    let ca = Authority::new();
    let server = Guarded::start(&ca);
    let dir = tempfile::tempdir().unwrap();
    let (password, authority) = (dir.path().join("password"), dir.path().join("ca.crt"));
    let url = format!("rediss://{USER}@127.0.0.1:{}", server.port);
    let store = open(Some(authority.clone()), &password, url);
    assert!(!store.wait_until_present(Duration::from_millis(500)).await);
    assert!(store.run_one(Step::Load { name: "x".into() }).await.is_err(), "away, and said at once");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    assert!(!store.wait_until_present(Duration::from_millis(500)).await);
    std::fs::copy(ca.file(), &authority).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);

    server.command(&["ACL", "SETUSER", USER, "resetpass", ">another"]);
    std::fs::write(&password, "another").unwrap();
    // Who is in stays in; the next connection needs the new one.
    assert!(load(&store, "x").await.0.is_none());
    let kill = std::process::Command::new("redis-cli")
        .args(["--tls", "--cacert"])
        .arg(ca.file())
        .args(["-p", &server.port.to_string(), "--no-auth-warning", "--user", USER, "--pass", "another"])
        .args(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .output()
        .unwrap();
    assert!(kill.status.success());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    assert!(load(&store, "x").await.0.is_none());
}

struct Password(tempfile::NamedTempFile);

impl Password {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Password(file)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn open(ca_file: Option<PathBuf>, password: &Path, url: String) -> RedisStore {
    let password_file = Some(password.to_owned());
    RedisStore::open(RedisSettings { ca_file, password_file, ..RedisSettings::new(url) }).unwrap()
}

async fn present(ca: &Authority, password: &Password, url: String) -> RedisStore {
    let store = open(Some(ca.file()), password.path(), url);
    assert!(store.wait_until_present(Duration::from_secs(10)).await);
    store
}
