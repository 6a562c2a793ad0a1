//! A split edge: admin finds pods by what a registrar tells it, and asks them over gRPC.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod edge;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge::{Edge, json};
use fairlead_admin::directory::{Directory, Members};
use fairlead_model::ask::AskFailed;
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::peer::General;
use fairlead_proto::link::{Down, RegistrarPort, Up};
use fairlead_proto::server;
use fairlead_proto::tls::PodTls;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// Tells whoever attaches who is there, and again at each change.
struct Tells {
    members: watch::Receiver<Vec<Member>>,
}

#[async_trait::async_trait]
impl RegistrarPort for Tells {
    async fn attach(&self, _: Member, mut up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let (tell, down) = mpsc::channel(4);
        let mut members = self.members.clone();
        tokio::spawn(async move { while up.recv().await.is_some() {} });
        tokio::spawn(async move {
            for version in 1.. {
                let briefing = Briefing {
                    version,
                    mint_keys: vec![],
                    nonce_keys: vec![],
                    members: members.borrow_and_update().clone(),
                    general: General::default(),
                    trusted: vec![],
                    surroundings: Default::default(),
                };
                if tell.send(Down::Briefed(Arc::new(briefing))).await.is_err()
                    || members.changed().await.is_err()
                {
                    return;
                }
            }
        });
        Ok(down)
    }
}

fn member(pod: u64, name: &str, role: Role, grpc: SocketAddr) -> Member {
    Member::started(PodRef(pod), name, role, grpc, UnixMillis(1))
}

async fn listener() -> (TcpListenerStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListenerStream::new(listener), address)
}

async fn until(holds: impl AsyncFn() -> bool) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(holds().await, "it never came to hold");
}

#[tokio::test]
async fn pods_are_asked_over_grpc_as_they_come_and_go() {
    let (registrar, registrar_at) = listener().await;
    let (signaling, signaling_at) = listener().await;
    let here = member(1, "registrar-0", Role::Registrar, registrar_at);
    let (change, members) = watch::channel(vec![here.clone()]);
    tokio::spawn(
        Server::builder()
            .add_service(server::registrar(Arc::new(Tells { members })))
            .add_service(server::peers(edge::registrar(1200)))
            .serve_with_incoming(registrar),
    );
    tokio::spawn(
        Server::builder()
            .add_service(server::channels(edge::signaling(PodRef(10))))
            .serve_with_incoming(signaling),
    );

    let me = member(9, "admin-0", Role::Admin, "127.0.0.1:1".parse().unwrap());
    let directory = Members::attach(vec![registrar_at.to_string()], me, PodTls::off())
        .patient_for(Duration::from_secs(1));
    let directory = Arc::new(directory);
    let edge = Edge::open(directory.clone(), None).await;
    until(async || directory.is_briefed()).await;
    let (status, page) = json(&edge, "/v1/peers?limit=2000").await;
    assert_eq!((status, page["peers"].as_array().unwrap().len()), (200, 1200));
    let (status, problem) = json(&edge, "/v1/channels").await;
    assert_eq!((status, problem["detail"].as_str()), (503, Some("no signaling pod answered")));

    let pod = member(10, "signaling-0", Role::Signaling, signaling_at);
    // Nobody listens there: it cannot be reached.
    let gone = member(11, "signaling-1", Role::Signaling, "127.0.0.1:9".parse().unwrap());
    change.send(vec![here, pod, gone]).unwrap();
    until(async || directory.signaling().await.len() == 2).await;
    let (status, page) = json(&edge, "/v1/channels").await;
    assert_eq!((status, page["channels"].as_array().unwrap().len()), (200, 2));
    assert_eq!(page["channels"][0]["pod"], "signaling-0");
    assert_eq!(page["missing"][0]["pod"], "signaling-1");
    assert_eq!(page["missing"][0]["reason"], "cannot be reached");
}

#[tokio::test]
async fn before_the_first_briefing_registrars_are_found_by_their_name() {
    let (registrar, registrar_at) = listener().await;
    tokio::spawn(
        Server::builder().add_service(server::peers(edge::registrar(3))).serve_with_incoming(registrar),
    );
    let me = member(9, "admin-0", Role::Admin, "127.0.0.1:1".parse().unwrap());
    let directory = Arc::new(Members::attach(vec![registrar_at.to_string()], me, PodTls::off()));
    let edge = Edge::open(directory, None).await;
    let (status, page) = json(&edge, "/v1/peers").await;
    assert_eq!((status, page["peers"].as_array().unwrap().len()), (200, 3));
}
