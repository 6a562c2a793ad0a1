//! An edge of pods made of memory, with admin in front of it on a real port.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use fairlead_admin::auth::Access;
use fairlead_admin::directory::{Directory, Door, Together};
use fairlead_admin::engine::Engine;
use fairlead_admin::serve;
use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef, Side, UnixMillis};
use fairlead_model::member::{Member, Role};
use fairlead_model::operator::{
    InUseView, NatView, PeerAddress, PeerDetail, PeerPage, PeerSource, PeerView, PruneReceipt, PruneSelector,
    UnregisterOutcome, UserView,
};
use fairlead_model::relay::{SessionRef, SessionStatistics, StreamStatistics};
use fairlead_model::surroundings::{Diagnosis, SipAddress, Surroundings};
use fairlead_proto::operator::{ChannelsPort, Page, PeersPort, SessionsPort, Unanswered};
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_runtime::common::Handles;
use fairlead_runtime::drain::Drain;
use fairlead_runtime::health::Health;
use fairlead_runtime::identity::Identity;
use fairlead_runtime::metrics::Metrics;
use fairlead_runtime::settings::value::Secret;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;

const DEADLINE: Duration = Duration::from_millis(300);

/// The edge, and where its admin listens.
pub struct Edge {
    pub url: String,
    pub token: Option<String>,
    silent: HashMap<&'static str, Arc<AtomicBool>>,
}

/// `peer00000`, `peer00001`, …
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("peer{number:05}")).collect()
}

impl Edge {
    /// Pods of this process: so many realtime peers, of whom each of two registrars holds all but some.
    pub async fn start(peers: usize, token: Option<&str>) -> Self {
        let mut silent: HashMap<&str, Arc<AtomicBool>> = HashMap::new();
        let mut hush = |name: &'static str| silent.entry(name).or_default().clone();
        let unregistered = Arc::new(Mutex::new(BTreeSet::new()));
        let registrars = [("registrar-0", 0), ("registrar-1", 1)].map(|(name, number)| {
            // Each lacks what the other has: every third one in turn.
            let held = names(peers).into_iter().enumerate().filter(|(at, _)| at % 3 != number);
            let port = Registrar {
                peers: Mutex::new(held.map(|(_, name)| (name.clone(), row(&name))).collect()),
                unregistered: unregistered.clone(),
                silent: hush(name),
            };
            door(number as u64, name, Role::Registrar, Arc::new(port) as Arc<dyn PeersPort>)
        });
        let signaling = [("signaling-0", 10), ("signaling-1", 11)].map(|(name, pod)| {
            let port = Signaling { pod: PodRef(pod), silent: hush(name) };
            door(pod, name, Role::Signaling, Arc::new(port) as Arc<dyn ChannelsPort>)
        });
        let relay = Arc::new(Relay { silent: hush("media-0") }) as Arc<dyn SessionsPort>;
        let directory = Together {
            registrars: registrars.into(),
            signaling: signaling.into(),
            relays: vec![door(20, "media-0", Role::Media, relay)],
            every_pod: every_pod(&mut hush),
            surroundings: Surroundings {
                sip: vec![reached_at(Transport::Tcp), reached_at(Transport::Udp)],
                ..Surroundings::default()
            },
        };
        let edge = Self::open(Arc::new(directory), token).await;
        Edge { silent, ..edge }
    }

    /// Whoever this directory names.
    pub async fn open(directory: Arc<dyn Directory>, token: Option<&str>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::new(token.map(Secret::new), None, None, address).unwrap();
        Self::guarded(directory, access, listener, token).await
    }

    /// With admin on this listener, behind this access.
    pub async fn guarded(
        directory: Arc<dyn Directory>,
        access: Access,
        listener: tokio::net::TcpListener,
        token: Option<&str>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let handles = Handles {
            who: Identity::new(Role::Admin, Some("admin-0")),
            metrics: Metrics::new("admin"),
            health: Health::new(),
            drain: Drain::new(),
        };
        let engine = Engine::new(directory, DEADLINE);
        let router = serve::router(engine, access, &handles).await.unwrap();
        tokio::spawn(async move { serve::serve(listener, router, &handles).await });
        Edge { url: format!("http://{address}"), token: token.map(str::to_owned), silent: HashMap::new() }
    }

    /// From now on this pod does not answer.
    pub fn silence(&self, pod: &str) {
        self.silent[pod].store(true, Ordering::Relaxed);
    }
}

/// What the pods say of themselves: nothing is wrong, and the same from all.
fn every_pod(hush: &mut impl FnMut(&'static str) -> Arc<AtomicBool>) -> Vec<Door<dyn DiagnosisPort>> {
    let well = |version: &str| Diagnosis { version: version.to_owned(), ..Diagnosis::default() };
    [("registrar-0", 0, Role::Registrar), ("signaling-0", 10, Role::Signaling), ("media-0", 20, Role::Media)]
        .into_iter()
        .map(|(name, pod, role)| {
            let port = Examined { ahead_ms: 0, says: well("0.1.0"), silent: hush(name) };
            door(pod, name, role, Arc::new(port) as Arc<dyn DiagnosisPort>)
        })
        .collect()
}

/// The port of a pod whose clock is so far ahead, and that says this of itself.
pub fn examined(ahead_ms: i64, says: Diagnosis) -> Arc<dyn DiagnosisPort> {
    Arc::new(Examined { ahead_ms, says, silent: Arc::default() })
}

/// An address of signaling.
pub fn reached_at(transport: Transport) -> SipAddress {
    let (network, host) = (String::new(), "203.0.113.7".to_owned());
    SipAddress { network, transport, host, port: 5060, destinations: Vec::new() }
}

struct Examined {
    ahead_ms: i64,
    says: Diagnosis,
    silent: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl DiagnosisPort for Examined {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        silence(&self.silent).await;
        let clock_ms = fairlead_runtime::identity::now().0.saturating_add_signed(self.ahead_ms);
        Ok(Diagnosis { clock_ms, ..self.says.clone() })
    }
}

/// The port of a registrar that holds so many realtime peers.
pub fn registrar(peers: usize) -> Arc<dyn PeersPort> {
    Arc::new(Registrar {
        peers: Mutex::new(names(peers).into_iter().map(|name| (name.clone(), row(&name))).collect()),
        unregistered: Arc::default(),
        silent: Arc::default(),
    })
}

/// The port of a signaling pod with one call.
pub fn signaling(pod: PodRef) -> Arc<dyn ChannelsPort> {
    Arc::new(Signaling { pod, silent: Arc::default() })
}

/// Asks by HTTP: status, headers, body.
pub async fn ask(
    edge: &Edge,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::builder().method(method).uri(format!("{}{path}", edge.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Asks for JSON.
pub async fn json(edge: &Edge, path: &str) -> (u16, serde_json::Value) {
    let (status, _, body) = ask(edge, "GET", path, &[]).await;
    (status, serde_json::from_str(&body).unwrap())
}

fn door<P: ?Sized>(pod: u64, name: &str, role: Role, port: Arc<P>) -> Door<P> {
    Door { pod: PodRef(pod), name: name.to_owned(), role, port }
}

fn row(name: &str) -> PeerView {
    PeerView {
        name: name.to_owned(),
        address: Some(PeerAddress { host: "192.0.2.1".to_owned(), port: 5060 }),
        dynamic: true,
        force_rport: NatView::Yes,
        source: PeerSource::Cached,
        pod: Some(PodRef(11)),
        ..PeerView::default()
    }
}

async fn silence(silent: &AtomicBool) {
    if silent.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

struct Registrar {
    peers: Mutex<BTreeMap<String, PeerView>>,
    unregistered: Arc<Mutex<BTreeSet<String>>>,
    silent: Arc<AtomicBool>,
}

impl Registrar {
    async fn page(&self, page: PeerPage) -> Result<Page<PeerView>, Unanswered> {
        silence(&self.silent).await;
        let like = page.like.as_deref().map(regex::Regex::new).transpose();
        let like = like.map_err(|cause| Unanswered::Invalid(cause.to_string()))?;
        // All of them are in the common store, whoever holds them.
        let peers = self.peers.lock();
        let known = peers.values().filter(|peer| {
            like.as_ref().is_none_or(|like| like.is_match(&peer.name))
                && page.after.as_ref().is_none_or(|after| peer.name > *after)
        });
        let mut known = known.cloned();
        let entries: Vec<_> = known.by_ref().take(page.limit as usize).collect();
        Ok(Page { entries, more: known.next().is_some() })
    }
}

fn as_rows<T>(page: Page<PeerView>, row: impl Fn(PeerView) -> T) -> Page<T> {
    Page { entries: page.entries.into_iter().map(row).collect(), more: page.more }
}

#[async_trait::async_trait]
impl PeersPort for Registrar {
    async fn list_peers(&self, page: PeerPage) -> Result<Page<PeerView>, Unanswered> {
        self.page(page).await
    }

    async fn get_peer(&self, name: &str, _load: bool) -> Result<Option<PeerDetail>, Unanswered> {
        silence(&self.silent).await;
        let view = self.peers.lock().get(name).cloned();
        Ok(view.map(|view| PeerDetail { view, ..PeerDetail::default() }))
    }

    async fn list_users(&self, page: PeerPage) -> Result<Page<UserView>, Unanswered> {
        let row = |peer: PeerView| UserView { name: peer.name, ..UserView::default() };
        Ok(as_rows(self.page(page).await?, row))
    }

    async fn in_use(&self, _all: bool, page: PeerPage) -> Result<Page<InUseView>, Unanswered> {
        let row = |peer: PeerView| InUseView { name: peer.name, limit: Some(2), ..InUseView::default() };
        Ok(as_rows(self.page(page).await?, row))
    }

    async fn prune(&self, which: PruneSelector) -> Result<PruneReceipt, Unanswered> {
        silence(&self.silent).await;
        let mut peers = self.peers.lock();
        let names: Vec<String> = match which {
            PruneSelector::Name(name) if name == "static" => {
                return Ok(PruneReceipt { is_static: true, ..PruneReceipt::default() });
            }
            PruneSelector::Name(name) => peers.remove(&name).map(|peer| peer.name).into_iter().collect(),
            _ => std::mem::take(&mut *peers).into_keys().collect(),
        };
        Ok(PruneReceipt { pruned: names.len() as u32, is_static: false, names })
    }

    async fn unregister(&self, name: &str) -> Result<UnregisterOutcome, Unanswered> {
        silence(&self.silent).await;
        if !name.starts_with("peer") {
            return Ok(UnregisterOutcome::UnknownPeer);
        }
        let is_first = self.unregistered.lock().insert(name.to_owned());
        Ok(if is_first { UnregisterOutcome::Unregistered } else { UnregisterOutcome::NotRegistered })
    }

    async fn qualify_peer(&self, name: &str) -> Result<Option<Vec<QualifyTarget>>, Unanswered> {
        silence(&self.silent).await;
        if !name.starts_with("peer") {
            return Ok(None);
        }
        let flow = Flow {
            pod: PodRef(11),
            transport: Transport::Udp,
            local: "192.0.2.9:5060".parse().unwrap(),
            remote: "192.0.2.1:5060".parse().unwrap(),
            connection: None,
        };
        Ok(Some(vec![QualifyTarget {
            peer: name.to_owned(),
            key: None,
            uri: format!("sip:{name}@192.0.2.1"),
            route: vec![],
            hop: Hop::Flow(flow),
            limit_ms: 2000,
            every: 60,
            last: Qualify::default(),
        }]))
    }

    async fn reindex(&self) -> Result<u64, Unanswered> {
        Ok(self.peers.lock().len() as u64)
    }

    async fn members(&self) -> Result<Vec<Member>, Unanswered> {
        silence(&self.silent).await;
        let at = "127.0.0.1:1".parse().unwrap();
        Ok(vec![
            Member::started(PodRef(11), "signaling-1", Role::Signaling, at, UnixMillis(1)),
            Member::started(PodRef(12), "operator-1", Role::Operator, Member::ASKED_NOTHING, UnixMillis(1)),
        ])
    }
}

struct Signaling {
    pod: PodRef,
    silent: Arc<AtomicBool>,
}

impl Signaling {
    fn call(&self) -> CallRef {
        CallRef { pod: self.pod, shard: ShardRef(0), number: self.pod.0 }
    }

    fn channel(&self, side: Side) -> Channel {
        let letter = if side == Side::A { 'a' } else { 'b' };
        let text = str::to_owned;
        Channel {
            pod: self.pod,
            call: self.call(),
            side,
            session: Some(SessionRef { call: self.call(), attempt: AttemptRef(0) }),
            relay: Some(PodRef(20)),
            peer_address: text("192.0.2.1"),
            received_address: text("192.0.2.1:5060"),
            theoretical_address: text("192.0.2.1:5060"),
            user: format!("user-{letter}"),
            peer: format!("peer-{letter}"),
            call_id: format!("call-{}-{letter}", self.pod.0 - 10),
            local_tag: text("l"),
            remote_tag: text("r"),
            formats: vec![text("ulaw")],
            hold: false,
            ending: false,
            last_message: text("Rx: ACK"),
            outgoing: side == Side::B,
            state: text("Confirmed"),
            user_agent: text("phone"),
            transport: text("UDP"),
            force_rport: true,
            route: vec![],
            caller_id: String::new(),
            uri: text("sip:x@y"),
            options: vec![],
            since: UnixMillis(0),
            answered: None,
        }
    }
}

#[async_trait::async_trait]
impl ChannelsPort for Signaling {
    async fn list_channels(&self, prefix: &str) -> Result<Vec<Channel>, Unanswered> {
        silence(&self.silent).await;
        let mut channels = vec![self.channel(Side::A), self.channel(Side::B)];
        channels.retain(|channel| channel.call_id.starts_with(prefix));
        Ok(channels)
    }

    async fn list_bridges(&self) -> Result<Vec<Bridge>, Unanswered> {
        silence(&self.silent).await;
        let (a, b) = (self.channel(Side::A), self.channel(Side::B));
        Ok(vec![Bridge {
            pod: self.pod,
            call: self.call(),
            peer_a: a.peer,
            call_id_a: a.call_id,
            peer_b: b.peer,
            call_id_b: b.call_id,
            format: "ulaw".to_owned(),
            answered: UnixMillis(0),
        }])
    }

    async fn hang_up(&self, call: CallRef) -> Result<bool, Unanswered> {
        Ok(call == self.call())
    }

    async fn qualify(&self, _: QualifyTarget) -> Result<Qualify, Unanswered> {
        silence(&self.silent).await;
        Ok(Qualify { state: QualifyState::Ok, rtt_ms: 3, at: UnixMillis(1) })
    }
}

struct Relay {
    silent: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl SessionsPort for Relay {
    async fn list_sessions(
        &self,
        _: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered> {
        silence(&self.silent).await;
        let stream = |from: Side, packets: u64, sent: u64| StreamStatistics {
            index: 0,
            media: "audio".to_owned(),
            from,
            local: Some("127.0.10.1:10000".parse().unwrap()),
            remote: None,
            packets,
            bytes: packets * 172,
            sent,
            lost: 2,
            out_of_order: 0,
            jitter_us: 1000,
            reported_lost: 0,
            reported_jitter_us: 0,
            round_trip_us: None,
            dropped: 0,
        };
        let session = |pod: u64| {
            let call = CallRef { pod: PodRef(pod), shard: ShardRef(0), number: pod };
            let streams = vec![stream(Side::A, 101, 99), stream(Side::B, 100, 98)];
            (SessionRef { call, attempt: AttemptRef(0) }, SessionStatistics { streams, duration_ms: 2000 })
        };
        Ok(vec![session(10), session(11)])
    }
}
