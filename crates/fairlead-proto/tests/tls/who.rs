//! Who reaches what: a certificate names a role of one edge, and nothing else counts.

use std::sync::Arc;

use fairlead_model::member::Role;
use fairlead_model::surroundings::Diagnosis;
use fairlead_proto::client::{DiagnosisClient, connection};
use fairlead_proto::link::{Down, Up};
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::server;
use fairlead_proto::tls::{PodTls, TlsMetrics};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tonic::service::Routes;

use crate::authority::{Authority, HOUR};
use crate::desk::{Desk, question};
use crate::pod::Pod;
use crate::trusting;

#[tokio::test]
async fn a_role_reaches_what_it_needs_and_hears_why_it_may_not_reach_the_rest() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let signaling = Pod::start(&ca, Role::Signaling).await;
    assert!(signaling.orders(relay.at).await.is_ok());

    let denied = signaling.diagnoses(relay.at, Role::Media).await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        Unanswered::Unable(
            "fairlead.common.v1.Diagnosis is for admin; the certificate of the caller names signaling".into()
        )
        .to_string()
    );
    assert!(relay.metric("fairlead_tls_denied_total{service=\"fairlead.common.v1.Diagnosis\"} 1"));
    let admin = Pod::start(&ca, Role::Admin).await;
    assert_eq!(admin.diagnoses(relay.at, Role::Media).await, Ok(Diagnosis::default()));
}

#[tokio::test]
async fn who_shows_no_certificate_gets_no_answer() {
    let relay = Pod::start(&Authority::new("ca"), Role::Media).await;

    // Plain HTTP/2.
    let plain = DiagnosisClient::new(connection(relay.at, &PodTls::off(), Role::Media));
    let failed = plain.diagnose().await.unwrap_err().to_string();
    assert!(!failed.contains("certificate"), "nobody there said this: {failed}");

    // TLS that trusts everything and has nothing to show.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anybody = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trusting::Everything))
        .with_no_client_auth();
    let stream = TcpStream::connect(relay.at).await.unwrap();
    let name = "media.edge.sip".try_into().unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(anybody)).connect(name, stream).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    assert!(read.unwrap_err().to_string().contains("CertificateRequired"));
    assert_eq!(answer, b"");
    assert!(
        relay.metric("fairlead_tls_handshake_failures_total{side=\"server\",reason=\"no_certificate\"} 1")
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_worth_nothing() {
    let relay = Pod::start(&Authority::new("ca"), Role::Media).await;
    // It has the same name, only not the same key.
    let stranger = Pod::start(&Authority::new("ca"), Role::Admin).await;
    assert_eq!(stranger.diagnoses(relay.at, Role::Media).await, Err(Unanswered::Unreachable));
    assert!(stranger.metric("fairlead_tls_handshake_failures_total{side=\"client\",reason=\"not_trusted\"}"));
}

#[tokio::test]
async fn a_pod_of_another_role_is_not_taken_for_the_one_that_is_wanted() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    let admin = Pod::start(&ca, Role::Admin).await;
    assert_eq!(admin.diagnoses(relay.at, Role::Registrar).await, Err(Unanswered::Unreachable));
    assert!(admin.metric("fairlead_tls_handshake_failures_total{side=\"client\",reason=\"wrong_role\"}"));
}

#[tokio::test]
async fn a_certificate_of_another_edge_names_no_role() {
    let ca = Authority::new("ca");
    let relay = Pod::start(&ca, Role::Media).await;
    // Both edges know this relay, so that it is the relay that has to tell them apart.
    ca.write(relay.dir(), &["media.edge.sip", "media.other.sip"], HOUR, &[&ca]);
    relay.reloaded(1).await;
    let folder = TempDir::new().unwrap();
    let names =
        ["admin.other.sip", "admin.edge.sip.other.org", "xadmin.edge.sip", "a.admin.edge.sip", "*.edge.sip"];
    ca.write(folder.path(), &names, HOUR, &[&ca]);
    let other =
        PodTls::from_dir(folder.path(), "other.sip", Role::Admin, TlsMetrics::default()).await.unwrap();
    let client = DiagnosisClient::new(connection(relay.at, &other, Role::Media));
    let denied = client.diagnose().await.unwrap_err().to_string();
    assert!(denied.ends_with("the certificate of the caller names no role of this edge"), "{denied}");
}

#[tokio::test]
async fn a_wildcard_is_no_role_at_either_end() {
    let ca = Authority::new("ca");
    let admin = Pod::start(&ca, Role::Admin).await;
    // A server that shows a certificate of all names, which rustls takes for any of them.
    let (chain, key) = ca.leaf(&["*.edge.sip"], HOUR);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(acceptor.accept(stream).await);
        }
    });
    assert_eq!(admin.diagnoses(at, Role::Media).await, Err(Unanswered::Unreachable));
    assert!(admin.metric("fairlead_tls_handshake_failures_total{side=\"client\",reason=\"wrong_role\"}"));

    // And one of ours does not begin with what the others would refuse.
    let relay = Pod::start(&ca, Role::Media).await;
    ca.write(relay.dir(), &["*.edge.sip"], 2 * HOUR, &[&ca]);
    relay.refused(1).await;
}

#[tokio::test]
async fn a_pod_is_a_member_as_what_it_is_and_only_signaling_asks_and_mints() {
    let ca = Authority::new("ca");
    let registrar = Pod::with(&ca, Role::Registrar, |_| Routes::new(server::registrar(Arc::new(Desk)))).await;
    let media = Pod::start(&ca, Role::Media).await;
    let signaling = Pod::start(&ca, Role::Signaling).await;

    assert!(media.attaches(&registrar, Role::Signaling).await.is_none(), "it is no signaling pod");
    assert!(media.attaches(&registrar, Role::Registrar).await.is_none());
    let operator = Pod::start(&ca, Role::Operator).await;
    let (_up, mut down) = operator.attaches(&registrar, Role::Operator).await.unwrap();
    let Some(Down::Briefed(briefing)) = down.recv().await else { panic!("no briefing") };
    assert_eq!((briefing.mint_keys.len(), briefing.nonce_keys.len(), briefing.trusted.len()), (0, 0, 0));
    let (up, mut down) = media.attaches(&registrar, Role::Media).await.unwrap();
    let Some(Down::Briefed(briefing)) = down.recv().await else { panic!("no briefing") };
    assert_eq!((briefing.mint_keys.len(), briefing.nonce_keys.len()), (0, 0), "nothing for it to mint");
    assert_eq!((briefing.trusted.len(), briefing.members.len()), (0, 1));
    up.send(Up::Beat { load: 1, draining: false }).await.unwrap();
    up.send(Up::Asks(vec![question()])).await.unwrap();
    assert!(down.recv().await.is_none(), "no answer, and the stream has ended");

    let (up, mut down) = signaling.attaches(&registrar, Role::Signaling).await.unwrap();
    let Some(Down::Briefed(briefing)) = down.recv().await else { panic!("no briefing") };
    assert_eq!((briefing.mint_keys.len(), briefing.nonce_keys.len(), briefing.trusted.len()), (1, 1, 1));
    up.send(Up::Asks(vec![question()])).await.unwrap();
    assert!(matches!(down.recv().await, Some(Down::Answers(_))));
}
