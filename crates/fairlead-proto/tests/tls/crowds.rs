//! Many at once: one who opens more and more leaves room for the others.

use std::time::{Duration, Instant};

use fairlead_model::member::Role;
use fairlead_proto::client::{DiagnosisClient, RelayClient, connection};
use fairlead_proto::link::RelayPort;
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::trace::TraceHooks;
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::pod::Pod;

#[tokio::test]
async fn those_who_connect_and_say_nothing_keep_nobody_waiting() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(relay.at).await.unwrap());
    }
    // From another address: one host has a share of the handshakes, not all of them.
    let admin = Pod::start(&ca, Role::Admin).await;
    let began = Instant::now();
    assert!(admin.diagnoses_from("127.0.0.9", relay.at).await);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(relay.metric("fairlead_tls_handshake_failures_total{side=\"server\",reason=\"too_many\"} 184"));
}

#[tokio::test]
async fn a_pod_that_opens_ever_more_leaves_room_for_the_others() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let admin = Pod::start(&ca, Role::Admin).await;
    let mut open = Vec::new();
    for number in 0..256 {
        let client = DiagnosisClient::new(connection(relay.at, &admin.tls, Role::Media));
        assert!(client.diagnose().await.is_ok(), "{number}");
        open.push(client);
    }
    assert_eq!(admin.diagnoses(relay.at, Role::Media).await, Err(Unanswered::Unreachable));
    assert!(admin.diagnoses_from("127.0.0.9", relay.at).await, "others are served");
    open.clear();
    let began = Instant::now();
    while admin.diagnoses(relay.at, Role::Media).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "what was closed counts no more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn streams_of_one_connection_are_bounded_and_the_next_one_waits() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let signaling = Pod::start(&ca, Role::Signaling).await;
    let client = RelayClient::new(connection(relay.at, &signaling.tls, Role::Media), TraceHooks::default());
    let mut streams = Vec::new();
    for _ in 0..1024 {
        streams.push(client.watch().await.unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(500), client.watch()).await;
    assert!(more.is_err(), "it waits");
    streams.pop();
    let more = tokio::time::timeout(Duration::from_secs(5), client.watch()).await;
    assert!(more.unwrap().is_ok());
}
