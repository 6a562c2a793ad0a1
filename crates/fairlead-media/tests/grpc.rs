//! The role as signaling meets it: found through the registrar, ordered by gRPC.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Phone, audio_of, config, order};
use fairlead_media::{Grpc, run};
use fairlead_model::ask::AskFailed;
use fairlead_model::id::{AttemptRef, Side};
use fairlead_model::member::{Member, Role};
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef};
use fairlead_proto::client::{RelayClient, connection};
use fairlead_proto::link::{Down, RegistrarPort, RelayPort, Up};
use fairlead_proto::operator::SessionsPort;
use fairlead_proto::trace::TraceHooks;
use fairlead_runtime::common::Handles;
use fairlead_runtime::{drain::Drain, health::Health, identity::Identity, metrics::Metrics};
use tokio::sync::mpsc;

/// A registrar that only writes down who comes.
struct Book {
    came: mpsc::Sender<(Member, mpsc::Receiver<Up>)>,
}

#[async_trait::async_trait]
impl RegistrarPort for Book {
    async fn attach(&self, who: Member, up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let (down, from_us) = mpsc::channel(1);
        self.came.send((who, up)).await.map_err(|_| AskFailed::Unreachable)?;
        // The stream stays open for as long as the test lasts.
        std::mem::forget(down);
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
    let grpc = Grpc { listen: "127.0.0.1:0".parse().unwrap(), advertise: None };
    let config = config("127.0.32.1", 20_000, 10);
    let relay =
        run(&config, Some(grpc), Arc::new(Book { came }), &handles, TraceHooks::default()).await.unwrap();
    let (member, mut beats) = book.recv().await.unwrap();
    assert_eq!((member.role, member.name.as_str(), member.pod), (Role::Media, "relay-7", handles.who.pod));

    let client = RelayClient::new(connection(member.grpc), TraceHooks::default());
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
