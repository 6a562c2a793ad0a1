//! The role as signaling meets it: found through the registrar, ordered by gRPC.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Phone, audio_of, config, order, told};
use fairlead_media::{Config, Grpc, Slices, run};
use fairlead_model::ask::AskFailed;
use fairlead_model::id::{AttemptRef, Side};
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::peer::General;
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef};
use fairlead_model::surroundings::{Finding, MediaAddress, Surroundings, code};
use fairlead_proto::client::{DiagnosisClient, RelayClient, connection};
use fairlead_proto::link::{Down, RegistrarPort, RelayPort, Up};
use fairlead_proto::operator::SessionsPort;
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::tls::PodTls;
use fairlead_proto::trace::TraceHooks;
use fairlead_runtime::common::Handles;
use fairlead_runtime::{drain::Drain, health::Health, identity::Identity, metrics::Metrics};
use tokio::sync::mpsc;

/// A registrar that writes down who comes, and tells them what the test wants.
struct Book {
    came: mpsc::Sender<(Member, mpsc::Receiver<Up>, mpsc::Sender<Down>)>,
}

#[async_trait::async_trait]
impl RegistrarPort for Book {
    async fn attach(&self, who: Member, up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let (down, from_us) = mpsc::channel(1);
        self.came.send((who, up, down)).await.map_err(|_| AskFailed::Unreachable)?;
        Ok(from_us)
    }
}

fn handles() -> Handles {
    Handles {
        who: Identity::new(Role::Media, Some("relay-7")),
        metrics: Metrics::new("media"),
        health: Health::new(),
        drain: Drain::new(),
    }
}

#[tokio::test]
async fn a_member_that_is_ordered_by_grpc_and_drains() {
    let (came, mut book) = mpsc::channel(1);
    let handles = handles();
    let grpc = Grpc { listen: "127.0.0.1:0".parse().unwrap(), advertise: None, tls: PodTls::off() };
    let config = config("127.0.32.1", 20_000, 10);
    let relay =
        run(&config, Some(grpc), Arc::new(Book { came }), &handles, TraceHooks::default()).await.unwrap();
    let (member, mut beats, _down) = book.recv().await.unwrap();
    assert_eq!((member.role, member.name.as_str(), member.pod), (Role::Media, "relay-7", handles.who.pod));

    let client =
        RelayClient::new(connection(member.grpc, &PodTls::off(), Role::Media), TraceHooks::default());
    let mut events = client.watch().await.unwrap();
    let (mut a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    a.media.rtp_timeout = 2;
    let session = SessionRef { call: "000000000001-0-7".parse().unwrap(), attempt: AttemptRef(0) };
    let describe = |reply| match reply {
        RelayReply::Described(described) => described,
        other => panic!("{other:?}"),
    };
    let offer = RelayOrder::Offer(Box::new(order(session, Side::A, &a.sdp(), &a, &b)));
    let offered = describe(client.order(offer.clone()).await.unwrap());
    assert_eq!(describe(client.order(offer).await.unwrap()), offered);
    let answer = RelayOrder::Answer(Box::new(order(session, Side::B, &b.sdp(), &a, &b)));
    let answered = describe(client.order(answer).await.unwrap());
    a.send(audio_of(&answered.sdp));
    assert!(b.hear().is_some());
    let RelayReply::Statistics(so_far) = client.order(RelayOrder::Query(session)).await.unwrap() else {
        panic!()
    };
    assert_eq!((so_far.streams[0].packets, so_far.streams[0].sent), (1, 1));
    assert_eq!(client.list_sessions(Some(session.call)).await.unwrap().len(), 1);
    loop {
        if matches!(beats.recv().await, Some(Up::Beat { load: 1, draining: false })) {
            break;
        }
    }

    let bad = RelayOrder::Offer(Box::new(order(
        session,
        Side::A,
        &"v=0\r\nm=audio 1 RTP/AVP 0\r\n".into(),
        &a,
        &b,
    )));
    assert!(matches!(client.order(bad).await, Err(RelayRefused::BadDescription(_))));

    handles.drain.start();
    loop {
        if matches!(beats.recv().await, Some(Up::Beat { draining: true, .. })) {
            break;
        }
    }
    let other = SessionRef { attempt: AttemptRef(1), ..session };
    let refused = client.order(RelayOrder::Offer(Box::new(order(other, Side::A, &a.sdp(), &a, &b)))).await;
    assert_eq!(refused, Err(RelayRefused::Busy));

    let ended = tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap();
    assert!(matches!(ended, RelayEvent::TimedOut { side: Side::A, .. }), "{ended:?}");
    let last = client.order(RelayOrder::Delete(session)).await.unwrap();
    assert!(matches!(last, RelayReply::Statistics(statistics) if statistics.streams[0].packets == 1));
    let unknown = client.order(RelayOrder::Query(session)).await;
    assert_eq!(unknown, Err(RelayRefused::UnknownSession));

    drop((client, events));
    assert!(
        handles.drain.finish(Duration::from_secs(5), move || relay.load() as usize).await,
        "tasks ended in time"
    );
    assert!(
        handles
            .metrics
            .encode()
            .unwrap()
            .contains("fairlead_media_sessions_ended_total{reason=\"silent\"} 1")
    );
}

fn briefing(version: u64, media: Vec<MediaAddress>, nodes: Vec<std::net::IpAddr>) -> Down {
    Down::Briefed(Arc::new(Briefing {
        version,
        mint_keys: Vec::new(),
        nonce_keys: Vec::new(),
        members: Vec::new(),
        general: General::default(),
        trusted: Vec::new(),
        surroundings: Surroundings { media, nodes, ..Surroundings::default() },
    }))
}

/// Waits for a beat that says so.
async fn beats_as(beats: &mut mpsc::Receiver<Up>, wanted: bool) {
    let found = async {
        while !matches!(beats.recv().await.unwrap(), Up::Beat { draining, .. } if draining == wanted) {}
    };
    tokio::time::timeout(Duration::from_secs(5), found).await.unwrap();
}

#[tokio::test]
async fn one_without_an_address_is_ready_is_not_to_be_chosen_and_learns_its_address_from_a_briefing() {
    let (came, mut book) = mpsc::channel(1);
    let handles = handles();
    let grpc = Grpc { listen: "127.0.0.1:0".parse().unwrap(), advertise: None, tls: PodTls::off() };
    let config = Config { own_address: false, ..config("127.0.32.2", 20_000, 10) };
    let relay =
        run(&config, Some(grpc), Arc::new(Book { came }), &handles, TraceHooks::default()).await.unwrap();
    assert!(handles.health.not_ready().is_empty(), "readiness looks at no address");
    let (member, mut beats, down) = book.recv().await.unwrap();
    assert!(member.draining);
    beats_as(&mut beats, true).await;
    let doctor = DiagnosisClient::new(connection(member.grpc, &PodTls::off(), Role::Media));
    let found = doctor.diagnose().await.unwrap().findings;
    let codes = |found: &[Finding]| -> Vec<String> { found.iter().map(|one| one.code.clone()).collect() };
    assert!(codes(&found).contains(&code::NO_ADDRESS.to_owned()), "{found:?}");

    let mut mine = told("127.0.32.2", &[]);
    let another = MediaAddress { pod: "relay-8".to_owned(), ..told("203.0.113.8", &[]) };
    down.send(briefing(1, vec![another.clone()], Vec::new())).await.unwrap();
    down.send(briefing(2, vec![another, mine.clone()], Vec::new())).await.unwrap();
    beats_as(&mut beats, false).await;
    let found = doctor.diagnose().await.unwrap().findings;
    assert!(
        !codes(&found).iter().any(|code| code.starts_with("No") || code.starts_with("Port")),
        "{found:?}"
    );

    // A registrar whose store was emptied takes nothing away; one that knows of no address any more does.
    down.send(briefing(3, Vec::new(), Vec::new())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(relay.is_of_use());
    down.send(briefing(4, Vec::new(), vec![[192, 0, 2, 1].into()])).await.unwrap();
    beats_as(&mut beats, true).await;
    mine.address = [203, 0, 113, 7].into();
    down.send(briefing(5, vec![mine], Vec::new())).await.unwrap();
    beats_as(&mut beats, false).await;
    assert!(handles.metrics.encode().unwrap().contains("fairlead_media_address_known 1"));
}

#[tokio::test]
async fn a_pod_beyond_the_last_slice_says_so_and_is_not_to_be_chosen() {
    let (came, mut book) = mpsc::channel(1);
    let handles = handles();
    let grpc = Grpc { listen: "127.0.0.1:0".parse().unwrap(), advertise: None, tls: PodTls::off() };
    let slices: Slices = "30000+20x4".parse().unwrap();
    let config = Config { ports: slices.of(&handles.who.name), ..config("127.0.32.3", 20_000, 10) };
    run(&config, Some(grpc), Arc::new(Book { came }), &handles, TraceHooks::default()).await.unwrap();
    assert!(handles.health.not_ready().is_empty());
    let (member, mut beats, _down) = book.recv().await.unwrap();
    beats_as(&mut beats, true).await;
    let doctor = DiagnosisClient::new(connection(member.grpc, &PodTls::off(), Role::Media));
    let found = doctor.diagnose().await.unwrap().findings;
    let finding = found.iter().find(|one| one.code == code::NO_MEDIA_SERVICE).unwrap();
    assert!(finding.text.contains("ordinal 7") && finding.text.contains("30000+20x4"), "{}", finding.text);
}

#[tokio::test]
async fn a_port_that_the_world_reaches_under_another_number_is_found() {
    let (came, mut book) = mpsc::channel(1);
    let handles = handles();
    let grpc = Grpc { listen: "127.0.0.1:0".parse().unwrap(), advertise: None, tls: PodTls::off() };
    let config = config("127.0.32.4", 24_100, 4);
    let _relay =
        run(&config, Some(grpc), Arc::new(Book { came }), &handles, TraceHooks::default()).await.unwrap();
    let (member, _beats, down) = book.recv().await.unwrap();
    // Somebody in between who gives port 24100 the packets for 24102.
    let between = std::net::UdpSocket::bind("127.0.32.5:24102").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((length, _)) = between.recv_from(&mut buffer) {
            between.send_to(&buffer[..length], "127.0.32.4:24100").unwrap();
        }
    });
    down.send(briefing(1, vec![told("127.0.32.5", &[])], Vec::new())).await.unwrap();
    let doctor = DiagnosisClient::new(connection(member.grpc, &PodTls::off(), Role::Media));
    let mut found = Vec::new();
    for _ in 0..50 {
        found = doctor.diagnose().await.unwrap().findings;
        found.retain(|one| one.code == code::PORT_CHANGED);
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = &found.first().unwrap().text;
    assert!(text.contains("127.0.32.5:24102") && text.contains("port 24100"), "{text}");
}
