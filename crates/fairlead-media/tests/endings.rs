//! How sessions end, and orders that come twice.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::time::Duration;

use common::{Phone, Scene, config, order, sdp};
use fairlead_media::Config;
use fairlead_model::id::Side;
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply};
use fairlead_proto::link::RelayPort;

#[tokio::test]
async fn orders_are_idempotent() {
    let mut scene = Scene::new(&config("127.0.30.11", 20_000, 10));
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    let offer = || order(session, Side::A, &a.sdp(), &a, &b);
    let answer = || order(session, Side::B, &b.sdp(), &a, &b);
    let first = scene.offer(offer()).await.unwrap();
    assert_eq!(scene.offer(offer()).await.unwrap(), first);
    let answered = scene.answer(answer()).await.unwrap();
    assert_eq!(scene.answer(answer()).await.unwrap(), answered);
    assert_eq!(scene.offer(offer()).await.unwrap(), first, "a refresh of the session");
    assert_eq!(scene.answer(answer()).await.unwrap(), answered);
    let last = scene.delete(session).await.unwrap();
    assert_eq!(scene.delete(session).await, Some(last));
    assert_eq!(scene.delete(scene_unknown()).await, None);
    let refused = scene.answer(answer()).await;
    assert_eq!(refused, Err(RelayRefused::UnknownSession));
}

fn scene_unknown() -> fairlead_model::relay::SessionRef {
    let call = "000000000001-0-1".parse().unwrap();
    fairlead_model::relay::SessionRef { call, attempt: fairlead_model::id::AttemptRef(9) }
}

#[tokio::test]
async fn a_side_that_falls_silent_ends_the_session_and_is_named() {
    let mut scene = Scene::new(&config("127.0.30.20", 20_000, 4));
    let mut events = scene.relay.watch().await.unwrap();
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    a.media.rtp_timeout = 2;
    b.media.rtp_timeout = 2;
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    b.send(for_b);
    let ended = loop {
        a.send(for_a);
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(200), events.recv()).await {
            break event.unwrap();
        }
    };
    let RelayEvent::TimedOut { session: which, side, statistics } = ended else { panic!("{ended:?}") };
    assert_eq!((which, side), (session, Side::B));
    assert!(statistics.streams[0].packets > 5 && statistics.streams[1].packets == 1);
    assert_eq!(scene.relay.load(), 0);
    assert_eq!(scene.delete(session).await, Some(*statistics), "a late Delete has its last words");
}

#[tokio::test]
async fn on_hold_only_the_hold_timeout_counts() {
    let mut scene = Scene::new(&config("127.0.30.21", 20_000, 4));
    let mut events = scene.relay.watch().await.unwrap();
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    a.media.rtp_timeout = 1;
    a.media.rtp_hold_timeout = 3;
    b.media.rtp_timeout = 0;
    let session = scene.session();
    scene.offer(order(session, Side::A, &sdp(a.says, "a=inactive\r\n"), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &sdp(b.says, "a=inactive\r\n"), &a, &b)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(2_500), events.recv()).await.is_err());
    let ended = tokio::time::timeout(Duration::from_secs(3), events.recv()).await.unwrap().unwrap();
    assert!(matches!(ended, RelayEvent::TimedOut { side: Side::A, .. }));
}

#[tokio::test]
async fn a_phone_that_holds_with_sendonly_may_be_silent_as_one_with_inactive() {
    let mut scene = Scene::new(&config("127.0.30.24", 20_000, 4));
    let mut events = scene.relay.watch().await.unwrap();
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    for phone in [&mut a, &mut b] {
        phone.media.rtp_timeout = 1;
        phone.media.rtp_hold_timeout = 4;
    }
    let session = scene.session();
    scene.offer(order(session, Side::A, &sdp(a.says, "a=sendonly\r\n"), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &sdp(b.says, "a=recvonly\r\n"), &a, &b)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(3_000), events.recv()).await.is_err());
    let ended = tokio::time::timeout(Duration::from_secs(4), events.recv()).await.unwrap().unwrap();
    assert!(matches!(ended, RelayEvent::TimedOut { .. }));
}

#[tokio::test]
async fn a_session_that_nobody_renews_ends() {
    let settings = Config { renew_within: Duration::from_millis(1_500), ..config("127.0.30.22", 20_000, 10) };
    let mut scene = Scene::new(&settings);
    let mut events = scene.relay.watch().await.unwrap();
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (wanted, ..) = scene.call(&a, &b).await.unwrap();
    let (c, d) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (forgotten, ..) = scene.call(&c, &d).await.unwrap();
    let ended = loop {
        let renewed = scene.order(RelayOrder::Renew(vec![wanted, scene_unknown()])).await.unwrap();
        assert_eq!(renewed, RelayReply::Done { missing: vec![scene_unknown()] });
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(300), events.recv()).await {
            break event.unwrap();
        }
    };
    assert_eq!(ended, RelayEvent::Abandoned { session: forgotten });
    assert_eq!(scene.relay.load(), 1);
}

#[tokio::test]
async fn a_relay_that_drains_takes_no_new_session_and_keeps_those_it_has() {
    let mut scene = Scene::new(&config("127.0.30.23", 20_000, 10));
    let (mut a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (session, for_a, _) = scene.call(&a, &b).await.unwrap();
    scene.relay.drain();
    let new = scene.session();
    assert_eq!(scene.offer(order(new, Side::A, &b.sdp(), &a, &b)).await, Err(RelayRefused::Busy));
    a.send(for_a);
    assert!(b.hear().is_some());
    scene.offer(order(session, Side::A, &sdp(a.says, "a=sendonly\r\n"), &a, &b)).await.unwrap();
    let drained = |outcome| format!("fairlead_media_drain_sessions_total{{outcome=\"{outcome}\"}}");
    assert_eq!((scene.metric(&drained("at_start")), scene.metric(&drained("in_peace"))), (1, 0));
    scene.delete(session).await.unwrap();
    assert_eq!((scene.metric(&drained("in_peace")), scene.relay.load()), (1, 0));
    scene.relay.end();
    assert_eq!(scene.metric(&drained("cut")), 0);
}

#[tokio::test]
async fn an_order_that_nobody_waits_for_any_more_is_carried_out_and_leaves_nothing_behind() {
    let mut scene = Scene::new(&config("127.0.30.36", 20_000, 2));
    let (a, b) = (Phone::new("127.0.0.2:0"), Phone::behind_nat("127.0.0.1:0"));
    for _ in 0..3 {
        let session = scene.session();
        let offer = scene.offer(order(session, Side::A, &a.sdp(), &a, &b));
        // Signaling gives up as soon as the order is under way.
        tokio::select! {
            biased;
            done = offer => panic!("{done:?}"),
            () = std::future::ready(()) => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(scene.delete(session).await.is_some(), "and deletes what may be there");
        assert_eq!((scene.relay.load(), scene.metric("fairlead_media_sessions")), (0, 0));
    }
    let session = scene.session();
    scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
}
