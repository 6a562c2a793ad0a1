//! Certificates come, are replaced and run out while connections live.

use std::time::Duration;

use fairlead_model::member::Role;
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused};
use fairlead_proto::client::{RelayClient, connection};
use fairlead_proto::link::RelayPort;
use fairlead_proto::tls::{PodTls, TlsMetrics};
use fairlead_proto::trace::TraceHooks;
use tempfile::TempDir;

use crate::DOMAIN;
use crate::authority::{Authority, HOUR, now};
use crate::pod::{Pod, metrics, session, shows, within};

#[tokio::test]
async fn new_certificates_are_used_from_then_on_and_no_stream_ends() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let signaling = Pod::start(&ca, Role::Signaling).await;
    let client = RelayClient::new(connection(relay.at, &signaling.tls, Role::Media), TraceHooks::default());
    let mut events = client.watch().await.unwrap();

    let next = Authority::new("next");
    // Both authorities are trusted before anybody shows a certificate of the new one.
    ca.write(relay.dir(), &["media.edge.sip"], HOUR, &[&ca, &next]);
    ca.write(signaling.dir(), &["signaling.edge.sip"], HOUR, &[&ca, &next]);
    relay.reloaded(1).await;
    signaling.reloaded(1).await;
    next.write(relay.dir(), &["media.edge.sip"], 2 * HOUR, &[&ca, &next]);
    relay.reloaded(2).await;
    assert!(signaling.orders(relay.at).await.is_ok(), "an old certificate at a pod that has a new one");
    next.write(signaling.dir(), &["signaling.edge.sip"], 2 * HOUR, &[&next]);
    signaling.reloaded(2).await;
    assert!(signaling.orders(relay.at).await.is_ok(), "the old authority is gone from one of them");
    next.write(relay.dir(), &["media.edge.sip"], 2 * HOUR, &[&next]);
    relay.reloaded(3).await;
    assert!(signaling.orders(relay.at).await.is_ok());
    let late = Pod::start(&ca, Role::Signaling).await;
    assert!(late.orders(relay.at).await.is_err(), "nobody trusts the old authority any more");

    let event = RelayEvent::Abandoned { session: session() };
    relay.events.send(event.clone()).unwrap();
    assert_eq!(events.recv().await, Some(event), "the stream of the beginning lives");
    assert!(relay.tls.expires().unwrap() > now() + HOUR);
}

#[tokio::test]
async fn a_set_that_does_not_fit_together_is_not_taken() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let before = relay.tls.expires();
    let (chain, _) = ca.leaf(&["media.edge.sip"], 2 * HOUR);
    std::fs::write(relay.dir().join("tls.crt"), chain).unwrap();
    relay.refused(1).await;
    assert_eq!(relay.tls.expires(), before);
    let admin = Pod::start(&ca, Role::Admin).await;
    assert!(admin.diagnoses(relay.at, Role::Media).await.is_ok(), "those before stay");

    // One of another role would be refused by everybody, so it is refused here.
    ca.write(relay.dir(), &["registrar.edge.sip"], 2 * HOUR, &[&ca]);
    relay.refused(2).await;
    ca.write(relay.dir(), &["media.edge.sip"], 2 * HOUR, &[&Authority::new("ca")]);
    relay.refused(3).await;
    std::fs::remove_file(relay.dir().join("ca.crt")).unwrap();
    relay.refused(4).await;
    ca.write(relay.dir(), &["media.edge.sip"], 2 * HOUR, &[&ca]);
    relay.reloaded(1).await;
}

#[tokio::test]
async fn files_behind_a_link_that_is_swapped_are_read_as_one_set() {
    let ca = Authority::new("ca");
    let folder = TempDir::new().unwrap();
    let version = |name: &str| {
        let dir = folder.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        ca.write(&dir, &["media.edge.sip"], HOUR, &[&ca]);
    };
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, folder.path().join("..next")).unwrap();
        std::fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
    };
    version("..1");
    link("..1");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    }
    let (metrics, registry) = metrics();
    let tls = PodTls::from_dir(folder.path(), DOMAIN, Role::Media, metrics).await.unwrap();
    version("..2");
    link("..2");
    within(Duration::from_secs(5), || shows(&registry, "fairlead_tls_reloads_total{result=\"ok\"} 1")).await;
    assert!(shows(&registry, "fairlead_tls_reloads_total{result=\"refused\"} 0"));
    drop(tls);
}

#[tokio::test]
async fn a_stream_outlives_the_certificates_it_was_made_with() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let folder = TempDir::new().unwrap();
    ca.write(folder.path(), &["signaling.edge.sip"], 3, &[&ca]);
    let short =
        PodTls::from_dir(folder.path(), DOMAIN, Role::Signaling, TlsMetrics::default()).await.unwrap();
    let client = RelayClient::new(connection(relay.at, &short, Role::Media), TraceHooks::default());
    let mut events = client.watch().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;

    let event = RelayEvent::Abandoned { session: session() };
    relay.events.send(event.clone()).unwrap();
    assert_eq!(events.recv().await, Some(event));
    assert!(client.order(RelayOrder::Delete(session())).await.is_ok(), "the same connection");
    let again = RelayClient::new(connection(relay.at, &short, Role::Media), TraceHooks::default());
    assert_eq!(again.order(RelayOrder::Delete(session())).await, Err(RelayRefused::Unreachable), "a new one");
    assert!(relay.metric("fairlead_tls_handshake_failures_total{side=\"server\",reason=\"expired\"}"));
}

#[tokio::test]
async fn a_pod_waits_for_its_certificates() {
    let ca = Authority::new("ca");
    let folder = TempDir::new().unwrap();
    let dir = folder.path().to_owned();
    let waiting =
        tokio::spawn(async move { PodTls::from_dir(&dir, DOMAIN, Role::Media, TlsMetrics::default()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    ca.write(folder.path(), &["media.edge.sip"], HOUR, &[&ca]);
    let tls = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
    assert!(tls.is_on());
    let bad = PodTls::from_dir(folder.path(), "no domain", Role::Media, TlsMetrics::default()).await;
    assert!(bad.is_err());
}
