//! A pod with its certificates, and what it says of itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef};
use fairlead_model::member::Role;
use fairlead_model::relay::{
    RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef, SessionStatistics,
};
use fairlead_model::surroundings::Diagnosis;
use fairlead_proto::client::{DiagnosisClient, RegistrarClient, RelayClient, connection};
use fairlead_proto::link::{Down, RegistrarPort, RelayPort, Up};
use fairlead_proto::operator::{SessionsPort, Unanswered};
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::server;
use fairlead_proto::tls::{self, PodTls, TlsMetrics};
use fairlead_proto::trace::TraceHooks;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tonic::service::Routes;

use crate::DOMAIN;
use crate::authority::{Authority, HOUR};
use crate::desk::member;

/// A pod with its certificates, that serves as a relay whatever its role is.
pub struct Pod {
    pub at: SocketAddr,
    pub tls: PodTls,
    pub events: broadcast::Sender<RelayEvent>,
    pub registry: Registry,
    pub folder: TempDir,
}

impl Pod {
    pub async fn start(ca: &Authority, role: Role) -> Self {
        let relay = |port: Arc<Relay>| {
            Routes::new(server::relay(port.clone(), TraceHooks::default()))
                .add_service(server::diagnosis(port))
        };
        Self::with(ca, role, relay).await
    }

    /// One that serves something else.
    pub async fn with(ca: &Authority, role: Role, routes: impl FnOnce(Arc<Relay>) -> Routes) -> Self {
        let folder = TempDir::new().unwrap();
        ca.write(folder.path(), &[&format!("{}.{DOMAIN}", role.word())], HOUR, &[ca]);
        let (metrics, registry) = metrics();
        let tls = PodTls::from_dir(folder.path(), DOMAIN, role, metrics).await.unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let (events, _) = broadcast::channel(8);
        let routes = routes(Arc::new(Relay(events.clone())));
        let serving = tls.clone();
        tokio::spawn(async move { tls::serve(listener, routes, &serving, std::future::pending()).await });
        Pod { at, tls, events, registry, folder }
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub async fn orders(&self, at: SocketAddr) -> Result<RelayReply, RelayRefused> {
        let client = RelayClient::new(connection(at, &self.tls, Role::Media), TraceHooks::default());
        client.order(RelayOrder::Delete(session())).await
    }

    pub async fn diagnoses(&self, at: SocketAddr, as_role: Role) -> Result<Diagnosis, Unanswered> {
        DiagnosisClient::new(connection(at, &self.tls, as_role)).diagnose().await
    }

    /// As a member of this role, whatever its certificate says.
    pub async fn attaches(
        &self,
        registrar: &Pod,
        as_role: Role,
    ) -> Option<(mpsc::Sender<Up>, mpsc::Receiver<Down>)> {
        let client = RegistrarClient::connect(vec![registrar.at.to_string()], 0, self.tls.clone());
        let (up, from_us) = mpsc::channel(8);
        Some((up, client.attach(member(as_role), from_us).await.ok()?))
    }

    /// Through a relay of bytes, so that it comes from another address.
    pub async fn diagnoses_from(&self, address: &str, at: SocketAddr) -> bool {
        let middle = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let by = middle.local_addr().unwrap();
        let from = SocketAddr::new(address.parse().unwrap(), 0);
        tokio::spawn(async move {
            let (mut inner, _) = middle.accept().await.unwrap();
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(from).unwrap();
            let mut outer = socket.connect(at).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
        });
        self.diagnoses(by, Role::Media).await.is_ok()
    }

    pub fn metric(&self, line: &str) -> bool {
        shows(&self.registry, line)
    }

    pub async fn reloaded(&self, times: u32) {
        let line = format!("fairlead_tls_reloads_total{{result=\"ok\"}} {times}");
        within(Duration::from_secs(5), || self.metric(&line)).await;
    }

    pub async fn refused(&self, times: u32) {
        let line = format!("fairlead_tls_reloads_total{{result=\"refused\"}} {times}");
        within(Duration::from_secs(6), || self.metric(&line)).await;
    }
}

pub fn metrics() -> (TlsMetrics, Registry) {
    let mut registry = Registry::default();
    (TlsMetrics::registered(&mut registry), registry)
}

pub fn shows(registry: &Registry, line: &str) -> bool {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text.contains(line)
}

pub async fn within(limit: Duration, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not in {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn session() -> SessionRef {
    SessionRef { call: CallRef { pod: PodRef(1), shard: ShardRef(0), number: 7 }, attempt: AttemptRef(1) }
}

/// What every one of them serves.
pub struct Relay(broadcast::Sender<RelayEvent>);

#[async_trait::async_trait]
impl RelayPort for Relay {
    async fn order(&self, _: RelayOrder) -> Result<RelayReply, RelayRefused> {
        Ok(RelayReply::Done { missing: Vec::new() })
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        let (tell, told) = mpsc::channel(8);
        let mut events = self.0.subscribe();
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if tell.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(told)
    }
}

#[async_trait::async_trait]
impl SessionsPort for Relay {
    async fn list_sessions(
        &self,
        _: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered> {
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl DiagnosisPort for Relay {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        Ok(Diagnosis::default())
    }
}
