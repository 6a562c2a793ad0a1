//! The ports over real connections on the loopback.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::ask::{Answer, Ask, AskFailed, AskRef, Envelope, IdempotencyKey};
use fairlead_model::id::{AttemptRef, CallRef, PodRef, ShardRef, Side, UnixMillis};
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::peer::General;
use fairlead_model::relay::{
    Described, RelayEvent, RelayOrder, RelayRefused, RelayReply, SdpOrder, SessionRef, SessionStatistics,
    SideMedia,
};
use fairlead_proto::attached::stay_attached;
use fairlead_proto::client::{RegistrarClient, RelayClient, connection};
use fairlead_proto::link::{Down, RegistrarPort, RelayPort, Up};
use fairlead_proto::operator::{SessionsPort, Unanswered};
use fairlead_proto::server;
use fairlead_proto::tls::PodTls;
use fairlead_proto::trace::TraceHooks;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;

fn member(role: Role) -> Member {
    Member::started(PodRef(1), "pod", role, "127.0.0.1:1".parse().unwrap(), UnixMillis(1))
}

/// Answers every question, and writes down what came.
#[derive(Clone, Default)]
struct Echo {
    number: u64,
    seen: Arc<Mutex<Vec<String>>>,
    /// Its streams end, and it takes no more.
    gone: tokio_util::sync::CancellationToken,
}

#[async_trait::async_trait]
impl RegistrarPort for Echo {
    async fn attach(
        &self,
        who: Member,
        mut up: mpsc::Receiver<Up>,
    ) -> Result<mpsc::Receiver<Down>, AskFailed> {
        if self.gone.is_cancelled() {
            return Err(AskFailed::Unreachable);
        }
        let (down, from_us) = mpsc::channel(8);
        let this = self.clone();
        this.seen.lock().push(format!("attach {}", who.name));
        tokio::spawn(async move {
            let briefing = Briefing {
                version: this.number,
                mint_keys: Vec::new(),
                nonce_keys: Vec::new(),
                members: vec![who],
                general: General::default(),
                trusted: Vec::new(),
                surroundings: Default::default(),
            };
            down.send(Down::Briefed(Arc::new(briefing))).await.unwrap();
            while let Some(Some(next)) = this.gone.run_until_cancelled(up.recv()).await {
                let answers = match next {
                    Up::Asks(asks) => asks,
                    other => {
                        this.seen.lock().push(format!("{other:?}"));
                        continue;
                    }
                };
                let answers = answers.into_iter().map(|one| (one.id, Ok(Answer::NotOwned))).collect();
                if down.send(Down::Answers(answers)).await.is_err() {
                    break;
                }
            }
            this.seen.lock().push("end".to_owned());
        });
        Ok(from_us)
    }
}

async fn serve_registrar(echo: Echo) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let service = server::registrar(Arc::new(echo));
        let incoming = TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    (address, task)
}

fn ask(id: u64) -> Envelope {
    let ask = Ask::Owner { call_id: "c".to_owned(), from_tag: "f".to_owned() };
    Envelope { id: AskRef(id), key: IdempotencyKey(id.into()), deadline: Duration::from_secs(1), ask }
}

async fn next(down: &mut mpsc::Receiver<Down>) -> Option<Down> {
    timeout(Duration::from_secs(5), down.recv()).await.expect("in time")
}

#[tokio::test]
async fn a_stream_carries_batches_beats_traces_and_briefings_and_ends_with_the_pod() {
    let echo = Echo { number: 3, ..Echo::default() };
    let (address, _server) = serve_registrar(echo.clone()).await;
    let client = RegistrarClient::connect(vec![address.to_string()], 0, PodTls::off());
    let (up, from_us) = mpsc::channel(8);
    let mut down = client.attach(member(Role::Signaling), from_us).await.unwrap();
    let Some(Down::Briefed(briefing)) = next(&mut down).await else { panic!("no briefing") };
    assert_eq!((briefing.version, briefing.members.len()), (3, 1));

    up.send(Up::Beat { load: 7, draining: true }).await.unwrap();
    up.send(Up::Traces(vec![(AskRef(1), "00-trace".to_owned())])).await.unwrap();
    up.send(Up::Asks(vec![ask(1), ask(2)])).await.unwrap();
    let Some(Down::Answers(answers)) = next(&mut down).await else { panic!("no answers") };
    assert_eq!(answers, [(AskRef(1), Ok(Answer::NotOwned)), (AskRef(2), Ok(Answer::NotOwned))]);

    drop(up);
    assert!(next(&mut down).await.is_none());
    let seen = echo.seen.lock().clone();
    assert_eq!(
        seen,
        ["attach pod", "Beat { load: 7, draining: true }", "Traces([(AskRef(1), \"00-trace\")])", "end"]
    );
}

#[tokio::test]
async fn attaching_again_reaches_another_registrar_and_those_that_are_gone_are_passed_over() {
    let (first, _one) = serve_registrar(Echo { number: 1, ..Echo::default() }).await;
    let (second, _two) = serve_registrar(Echo { number: 2, ..Echo::default() }).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = RegistrarClient::connect(
        vec![first.to_string(), second.to_string(), gone.to_string()],
        0,
        PodTls::off(),
    );
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let (_up, from_us) = mpsc::channel(8);
        let mut down = client.attach(member(Role::Signaling), from_us).await.unwrap();
        let Some(Down::Briefed(briefing)) = next(&mut down).await else { panic!("no briefing") };
        numbers.push(briefing.version);
    }
    assert!(numbers.contains(&1) && numbers.contains(&2), "{numbers:?}");

    let nobody = RegistrarClient::connect(vec![gone.to_string()], 0, PodTls::off());
    let (_up, from_us) = mpsc::channel(8);
    assert_eq!(nobody.attach(member(Role::Media), from_us).await.unwrap_err(), AskFailed::Unreachable);
}

#[tokio::test]
async fn a_registrar_that_stops_answering_pings_is_noticed_within_three_seconds() {
    // Takes the connection, shakes hands through a proxy, and then lets nothing through any more.
    let (address, _server) = serve_registrar(Echo::default()).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxied = proxy.local_addr().unwrap();
    let (cut, mut is_cut) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let (mut pod, _) = proxy.accept().await.unwrap();
        let mut registrar = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut pod, &mut registrar) => {}
            _ = is_cut.changed() => {}
        }
        // Both connections stay open, and nothing moves on them any more.
        std::future::pending::<()>().await;
        drop((pod, registrar));
    });
    let client = RegistrarClient::connect(vec![proxied.to_string()], 0, PodTls::off());
    let (_up, from_us) = mpsc::channel(8);
    let mut down = client.attach(member(Role::Signaling), from_us).await.unwrap();
    assert!(next(&mut down).await.is_some());
    cut.send(true).unwrap();
    let before = Instant::now();
    assert!(next(&mut down).await.is_none());
    assert!(before.elapsed() < Duration::from_millis(3_500), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_role_that_asks_nothing_stays_attached_at_another_registrar_when_one_goes() {
    let echoes = [1, 2].map(|number| Echo { number, ..Echo::default() });
    let (first, _one) = serve_registrar(echoes[0].clone()).await;
    let (second, _two) = serve_registrar(echoes[1].clone()).await;
    let client =
        Arc::new(RegistrarClient::connect(vec![first.to_string(), second.to_string()], 0, PodTls::off()));
    let mut briefings = stay_attached(client, member(Role::Media), || (4, false));
    let briefed =
        timeout(Duration::from_secs(5), briefings.wait_for(Option::is_some)).await.unwrap().unwrap();
    let (here, there) = if briefed.as_ref().unwrap().version == 1 { (0, 2) } else { (1, 1) };
    drop(briefed);
    echoes[here].gone.cancel();
    let moved = briefings.wait_for(|briefing| briefing.as_ref().is_some_and(|one| one.version == there));
    timeout(Duration::from_secs(5), moved).await.unwrap().unwrap();
}

/// Refuses or carries out by what the order's description says.
struct Desk;

#[async_trait::async_trait]
impl RelayPort for Desk {
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        match order {
            RelayOrder::Offer(order) | RelayOrder::Answer(order) => match order.sdp.as_ref() {
                b"busy" => Err(RelayRefused::Busy),
                b"full" => Err(RelayRefused::NoPort),
                b"bad" => Err(RelayRefused::BadDescription("no m= line".to_owned())),
                _ => Ok(RelayReply::Described(Described {
                    relay: PodRef(8),
                    sdp: order.sdp,
                    narrowed: 0,
                    hold: false,
                    formats: vec!["ulaw".to_owned()],
                })),
            },
            RelayOrder::Withdraw(_) => Ok(RelayReply::Done { missing: Vec::new() }),
            RelayOrder::Delete(_) => Ok(RelayReply::Statistics(SessionStatistics::default())),
            RelayOrder::Query(_) => Err(RelayRefused::UnknownSession),
            RelayOrder::Renew(sessions) => Ok(RelayReply::Done { missing: sessions }),
        }
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        let (tell, events) = mpsc::channel(4);
        tell.send(RelayEvent::Abandoned { session: session() }).await.unwrap();
        Ok(events)
    }
}

#[async_trait::async_trait]
impl SessionsPort for Desk {
    async fn list_sessions(
        &self,
        call: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered> {
        if call.is_some() { Ok(Vec::new()) } else { Ok(vec![(session(), SessionStatistics::default())]) }
    }
}

fn session() -> SessionRef {
    let call = CallRef { pod: PodRef(1), shard: ShardRef(0), number: 5 };
    SessionRef { call, attempt: AttemptRef(0) }
}

fn order(sdp: &'static str) -> Box<SdpOrder> {
    let side = || SideMedia {
        network: String::new(),
        signalling: "192.0.2.1".parse().unwrap(),
        comedia: false,
        source: Default::default(),
        rtp_timeout: 0,
        rtp_hold_timeout: 0,
        ipv6: false,
    };
    Box::new(SdpOrder { session: session(), from: Side::A, sdp: sdp.into(), a: side(), b: side() })
}

#[tokio::test]
async fn a_relay_is_the_same_in_process_and_over_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let service = server::relay(Arc::new(Desk), TraceHooks::default());
        let incoming = TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    let remote = RelayClient::new(connection(address, &PodTls::off(), Role::Media), TraceHooks::default());
    let orders = [
        RelayOrder::Offer(order("v=0")),
        RelayOrder::Offer(order("busy")),
        RelayOrder::Offer(order("full")),
        RelayOrder::Answer(order("bad")),
        RelayOrder::Answer(order("v=0")),
        RelayOrder::Withdraw(session()),
        RelayOrder::Delete(session()),
        RelayOrder::Query(session()),
        RelayOrder::Renew(vec![session()]),
    ];
    for order in orders {
        assert_eq!(remote.order(order.clone()).await, Desk.order(order).await);
    }
    assert_eq!(remote.list_sessions(None).await.unwrap().len(), 1);
    assert!(remote.list_sessions(Some(session().call)).await.unwrap().is_empty());
    let mut events = remote.watch().await.unwrap();
    assert_eq!(events.recv().await, Some(RelayEvent::Abandoned { session: session() }));
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_unreachable_at_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let remote = RelayClient::new(connection(gone, &PodTls::off(), Role::Media), TraceHooks::default());
    let before = Instant::now();
    assert_eq!(remote.order(RelayOrder::Query(session())).await, Err(RelayRefused::Unreachable));
    assert!(before.elapsed() < Duration::from_secs(2));
}
