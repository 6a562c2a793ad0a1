//! Calls through a relay, with real sockets on loopback.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{Phone, Scene, at, audio_of, config, order, sdp, until};
use fairlead_media::{Config, Network, Place};
use fairlead_model::id::Side;
use fairlead_model::peer::RtpSource;
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply};
use fairlead_proto::link::RelayPort;
use fairlead_proto::operator::SessionsPort;

#[tokio::test]
async fn audio_passes_both_ways_and_every_packet_is_counted() {
    let mut scene = Scene::new(&config("127.0.30.1", 20_000, 10));
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    for n in 1..=50 {
        a.send(for_a);
        assert_eq!(b.hear(), Some((a.ssrc, n, for_b)));
        b.send(for_b);
        assert_eq!(a.hear(), Some((b.ssrc, n, for_a)));
    }
    let statistics = scene.delete(session).await.unwrap();
    let [from_a, from_b] = &statistics.streams[..] else { panic!("{statistics:?}") };
    assert_eq!((from_a.packets, from_a.sent, from_a.bytes, from_a.lost), (50, 50, 50 * 172, 0));
    assert_eq!((from_b.packets, from_b.sent, from_b.from, from_b.remote), (50, 50, Side::B, Some(b.says)));
    assert_eq!((from_a.local, from_a.media.as_str()), (Some(for_a), "audio"));
    assert_eq!(scene.metric("fairlead_media_packets_sent_total"), 100);
}

#[tokio::test]
async fn rtp_from_elsewhere_is_dropped_and_counted() {
    let mut scene = Scene::new(&config("127.0.30.2", 20_000, 2));
    let (mut a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let mut stranger = Phone::new("127.0.0.66:0");
    let (_, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    for _ in 0..20 {
        stranger.send(for_a);
        stranger.send(for_b);
    }
    assert!(b.hears_nothing() && a.hears_nothing());
    until(|| scene.metric("fairlead_media_packets_dropped_total{reason=\"elsewhere\"}") == 40).await;
    a.send(for_a);
    assert!(b.hear().is_some());
}

#[tokio::test]
async fn a_phone_behind_a_nat_is_latched_and_locked() {
    let mut scene = Scene::new(&config("127.0.30.3", 20_000, 4));
    let (mut a, mut b) = (Phone::behind_nat("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let mut thief = Phone::new("127.0.0.1:0");
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    a.send(for_a);
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 2, for_b)), "the first packet only proved it");
    b.send(for_b);
    assert_eq!(a.hear(), Some((b.ssrc, 1, for_a)));
    for _ in 0..5 {
        thief.send(for_a);
    }
    assert!(b.hears_nothing());
    let statistics = scene.query(session).await;
    assert_eq!(statistics.streams[0].remote, Some(a.socket.local_addr().unwrap()));
    // The same description again moves nothing; another one does.
    scene.offer(order(session, Side::A, &sdp(a.says, "a=ptime:20\r\n"), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &sdp(b.says, "a=ptime:20\r\n"), &a, &b)).await.unwrap();
    a.send(for_a);
    assert!(b.hear().is_some());
}

#[tokio::test]
async fn one_that_comes_from_outside_its_signalling_address_is_heard_only_when_the_setting_says_so() {
    let mut scene = Scene::new(&config("127.0.30.4", 20_000, 6));
    let b = Phone::new("127.0.0.1:0");
    for (source, heard) in
        [(RtpSource::Signalled, false), (RtpSource::Signalling, false), (RtpSource::Any, true)]
    {
        let mut a = Phone::behind_nat("127.0.0.5:0");
        a.media.signalling = at("127.0.0.77:1").ip();
        a.media.source = source;
        let (session, for_a, _) = scene.call(&a, &b).await.unwrap();
        for _ in 0..3 {
            a.send(for_a);
        }
        assert_eq!(b.hear().is_some(), heard, "{source:?}");
        scene.delete(session).await.unwrap();
        while b.hear().is_some() {}
    }
}

#[tokio::test]
async fn a_sends_on_after_bye_while_b_behind_the_same_address_is_called_on_that_port() {
    let mut scene = Scene::new(&config("127.0.30.5", 20_000, 2));
    let (mut a, mut first) = (Phone::behind_nat("127.0.0.1:0"), Phone::new("127.0.0.9:0"));
    let (session, for_a, for_first) = scene.call(&a, &first).await.unwrap();
    for _ in 0..3 {
        a.send(for_a);
        first.send(for_first);
    }
    assert!(a.hear().is_some() && first.hear().is_some());
    scene.delete(session).await.unwrap();
    while a.hear().is_some() || first.hear().is_some() {}

    let (caller, mut b) = (Phone::new("127.0.0.9:0"), Phone::behind_nat("127.0.0.1:0"));
    let (_, _, for_b) = scene.call(&caller, &b).await.unwrap();
    assert_eq!(for_b, for_a, "there is but one port");
    for _ in 0..20 {
        a.send(for_a);
    }
    assert!(caller.hears_nothing(), "what A sends on is not B's");
    for _ in 0..2 {
        b.send(for_b);
    }
    assert_eq!(caller.hear().map(|(ssrc, ..)| ssrc), Some(b.ssrc));
    for _ in 0..20 {
        a.send(for_a);
    }
    assert!(caller.hears_nothing());
    assert!(scene.metric("fairlead_media_packets_dropped_total{reason=\"former\"}") >= 40);
}

#[tokio::test]
async fn two_calls_to_one_remote_address_and_port() {
    let mut scene = Scene::new(&Config { workers: 1, ..config("127.0.30.6", 20_000, 4) });
    let (mut one, mut two) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let mut gateway = Phone::new("127.0.0.2:0");
    let (_, for_one, by_one) = scene.call(&one, &gateway).await.unwrap();
    let (_, for_two, by_two) = scene.call(&two, &gateway).await.unwrap();
    assert_ne!(by_one, by_two, "the gateway tells them apart by our port, and so do we");
    one.send(for_one);
    assert_eq!(gateway.hear(), Some((one.ssrc, 1, by_one)));
    two.send(for_two);
    assert_eq!(gateway.hear(), Some((two.ssrc, 1, by_two)));
    gateway.send(by_two);
    assert!(two.hear().is_some() && one.hears_nothing());
    let three = Phone::new("127.0.0.1:0");
    let session = scene.session();
    scene.offer(order(session, Side::A, &three.sdp(), &three, &gateway)).await.unwrap();
    let refused = scene.answer(order(session, Side::B, &gateway.sdp(), &three, &gateway)).await;
    assert_eq!(refused, Err(RelayRefused::NoPort), "a third cannot be told apart on two ports");
}

#[tokio::test]
async fn a_call_out_and_back_into_the_same_relay() {
    for (scene, mut config) in
        [config("127.0.30.7", 20_000, 8), config("0.0.0.0", 24_000, 8)].into_iter().enumerate()
    {
        // The second is known outside by an address that nothing here can reach.
        if scene == 1
            && let Some(place) = &mut config.networks[0].v4
        {
            place.advertise = Some([203, 0, 113, 9].into());
            config.hear_before_speak = Some(Duration::from_secs(60));
        }
        let mut scene = Scene::new(&config);
        let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
        let mut far = Phone::new("127.0.0.1:0");
        // Out: A to somebody far away, who sends the call back to us.
        let out = scene.session();
        let offered = scene.offer(order(out, Side::A, &a.sdp(), &a, &far)).await.unwrap();
        far.says = audio_of(&offered.sdp);
        let back = scene.session();
        let for_b = scene.offer(order(back, Side::A, &offered.sdp, &far, &b)).await.unwrap();
        let returned = scene.answer(order(back, Side::B, &b.sdp(), &far, &b)).await.unwrap();
        let for_a = scene.answer(order(out, Side::B, &returned.sdp, &a, &far)).await.unwrap();
        let (to_a, to_b) = (audio_of(&for_a.sdp), audio_of(&for_b.sdp));
        let reached = |address: std::net::SocketAddr| match config.networks[0].v4.unwrap().advertise {
            Some(_) => at(&format!("127.0.0.1:{}", address.port())),
            None => address,
        };
        for n in 1..=10 {
            // Behind a Service each side is heard first.
            b.send(reached(to_b));
            a.send(reached(to_a));
            if n > 1 {
                assert_eq!(b.hear().map(|(ssrc, ..)| ssrc), Some(a.ssrc), "{config:?}");
                assert_eq!(a.hear().map(|(ssrc, ..)| ssrc), Some(b.ssrc));
            } else {
                while a.hear().is_some() || b.hear().is_some() {}
            }
        }
        assert_eq!(scene.query(out).await.streams[1].packets, 10);
    }
}

#[tokio::test]
async fn a_thousand_calls_through_ten_ports() {
    let mut scene = Scene::new(&config("127.0.30.8", 20_000, 10));
    let mut calls = Vec::new();
    for n in 0..1_000_u32 {
        let ip = |side: u8| format!("127.0.{side}.{}:0", n % 200 + 1);
        let (mut a, mut b) = (Phone::new(&ip(51)), Phone::new(&ip(52)));
        if n % 3 == 0 {
            a.media.comedia = true;
            a.says = at("10.9.8.7:4000");
        }
        let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
        for _ in 0..2 {
            a.send(for_a);
        }
        b.send(for_b);
        assert_eq!(b.hear().map(|(ssrc, ..)| ssrc), Some(a.ssrc));
        calls.push((session, a, b, for_a, for_b));
    }
    let ports: HashSet<u16> = calls.iter().flat_map(|(_, _, _, a, b)| [a.port(), b.port()]).collect();
    assert!(ports.len() <= 5 && ports.iter().all(|port| (20_000..20_010).contains(port)), "{ports:?}");
    assert_eq!(scene.relay.load(), 1_000);
    for (_, a, b, for_a, for_b) in &mut calls {
        while a.socket.set_nonblocking(true).is_ok() && a.hear().is_some() {}
        while b.socket.set_nonblocking(true).is_ok() && b.hear().is_some() {}
        a.socket.set_nonblocking(false).unwrap();
        b.socket.set_nonblocking(false).unwrap();
        a.send(*for_a);
        assert_eq!(b.hear(), Some((a.ssrc, 3, *for_b)));
        b.send(*for_b);
        assert_eq!(a.hear(), Some((b.ssrc, 2, *for_a)));
    }
    assert_eq!(scene.relay.list_sessions(None).await.unwrap().len(), 1_000);
    for (session, ..) in &calls {
        assert!(scene.delete(*session).await.is_some());
    }
    assert_eq!(scene.relay.load(), 0);
}

#[tokio::test]
async fn no_port_is_a_clear_refusal_and_leaves_nothing_behind() {
    let mut scene = Scene::new(&config("127.0.30.9", 20_000, 2));
    let (a, b) = (Phone::behind_nat("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let first = scene.session();
    scene.offer(order(first, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    let second = scene.session();
    let refused = scene.offer(order(second, Side::A, &a.sdp(), &a, &b)).await;
    assert_eq!(refused, Err(RelayRefused::NoPort), "two would wait for one address on one port");
    assert_eq!(scene.relay.load(), 1);
    assert_eq!(scene.metric("fairlead_media_orders_total{order=\"offer\",result=\"no_port\"}"), 1);
    scene.delete(first).await;
    scene.offer(order(second, Side::A, &a.sdp(), &a, &b)).await.unwrap();
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn after_10_000_sessions_no_port_and_no_descriptor_is_left() {
    let settings = Config { former: Duration::from_millis(20), ..config("127.0.30.10", 20_000, 4) };
    let mut scene = Scene::new(&settings);
    let phones: Vec<(Phone, Phone)> = (0..8)
        .map(|n| (Phone::behind_nat(&format!("127.0.53.{}:0", n + 1)), Phone::new("127.0.0.1:0")))
        .collect();
    let before = open_files();
    for n in 0..10_000 {
        let (a, b) = &phones[n % phones.len()];
        let session = scene.session();
        scene.offer(order(session, Side::A, &a.sdp(), a, b)).await.unwrap();
        if n % 3 > 0 {
            // An answer that finds its triple taken is refused; the session is deleted all the same.
            let _ = scene.answer(order(session, Side::B, &b.sdp(), a, b)).await;
        }
        if n % 5 == 0 {
            scene.order(RelayOrder::Withdraw(session)).await.unwrap();
        }
        assert!(scene.delete(session).await.is_some());
    }
    assert!(open_files() <= before + 8, "{} then, {} now", before, open_files());
    assert_eq!((scene.relay.load(), scene.metric("fairlead_media_sessions")), (0, 0));
    // Each port can wait for each address again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for (a, b) in &phones {
        for _ in 0..2 {
            let session = scene.session();
            scene.offer(order(session, Side::A, &a.sdp(), a, b)).await.unwrap();
        }
    }
    drop(scene);
    let again = Scene::new(&settings);
    assert_eq!(again.metric("fairlead_media_ports"), 2, "the ports were given back");
}

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
async fn hold_and_resume_by_either_side_keep_ports_and_audio() {
    let mut scene = Scene::new(&config("127.0.30.12", 20_000, 10));
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    let held = scene.offer(order(session, Side::B, &sdp(b.says, "a=sendonly\r\n"), &a, &b)).await.unwrap();
    assert!(held.hold && audio_of(&held.sdp) == for_a);
    let narrowed =
        scene.answer(order(session, Side::A, &sdp(a.says, "a=sendrecv\r\n"), &a, &b)).await.unwrap();
    assert_eq!(narrowed.narrowed, 1);
    assert!(String::from_utf8_lossy(&narrowed.sdp).contains("a=recvonly"), "{:?}", narrowed.sdp);
    assert_eq!(audio_of(&narrowed.sdp), for_b);
    let resumed = scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    assert!(!resumed.hold);
    scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
    a.send(for_a);
    assert!(b.hear().is_some());
    b.send(for_b);
    assert!(a.hear().is_some());
}

#[tokio::test]
async fn a_refused_offer_leaves_what_was_agreed() {
    let mut scene = Scene::new(&config("127.0.30.13", 20_000, 10));
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    let moved = Phone::new("127.0.0.1:0");
    let more = format!("m=video {} RTP/AVP 34\r\n", moved.says.port() + 1);
    scene.offer(order(session, Side::A, &sdp(moved.says, &more), &a, &b)).await.unwrap();
    assert_eq!(scene.query(session).await.streams.len(), 4);
    scene.order(RelayOrder::Withdraw(session)).await.unwrap();
    assert_eq!(scene.query(session).await.streams.len(), 2);
    a.send(for_a);
    assert!(b.hear().is_some());
    b.send(for_b);
    assert!(a.hear().is_some());
}

#[tokio::test]
async fn a_phone_that_moves_by_re_invite_is_heard_at_its_new_address_only() {
    let mut scene = Scene::new(&config("127.0.30.14", 20_000, 10));
    let (mut a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (session, for_a, _) = scene.call(&a, &b).await.unwrap();
    let mut moved = Phone::new("127.0.0.1:0");
    scene.offer(order(session, Side::A, &moved.sdp(), &a, &b)).await.unwrap();
    let answered = scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
    assert_eq!(audio_of(&answered.sdp), for_a);
    a.send(for_a);
    assert!(b.hears_nothing());
    moved.send(for_a);
    assert_eq!(b.hear().map(|(ssrc, ..)| ssrc), Some(moved.ssrc));
}

#[tokio::test]
async fn ipv6_on_one_side_and_ipv4_on_the_other() {
    let mut config = config("127.0.30.15", 26_000, 4);
    config.networks[0].v6 = Some(Place { bind: "::1".parse().unwrap(), advertise: None });
    let mut scene = Scene::new(&config);
    let (mut a, mut b) = (Phone::new("[::1]:0"), Phone::new("127.0.0.1:0"));
    let (_, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    assert!(for_a.is_ipv6() && for_b.is_ipv4());
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 1, for_b)));
    b.send(for_b);
    assert_eq!(a.hear(), Some((b.ssrc, 1, for_a)));
}

#[tokio::test]
async fn each_network_has_its_own_address() {
    let mut config = config("127.0.30.16", 20_000, 4);
    config.networks.push(Network {
        name: "inside".to_owned(),
        v4: Some(Place { bind: [127, 0, 31, 16].into(), advertise: None }),
        v6: None,
    });
    let mut scene = Scene::new(&config);
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    a.media.network = "inside".to_owned();
    let (_, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    assert_eq!((for_a.ip(), for_b.ip()), (at("127.0.31.16:1").ip(), at("127.0.30.16:1").ip()));
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 1, for_b)));
    b.send(for_b);
    assert_eq!(a.hear(), Some((b.ssrc, 1, for_a)));
    // What is written changes at run time, for sessions from then on.
    config.networks[0].v4 =
        Some(Place { bind: [127, 0, 30, 16].into(), advertise: Some([203, 0, 113, 1].into()) });
    scene.relay.readvertise(config.networks);
    let session = scene.session();
    let offered =
        scene.offer(order(session, Side::A, &Phone::new("127.0.0.1:0").sdp(), &a, &b)).await.unwrap();
    assert_eq!(audio_of(&offered.sdp).ip(), at("203.0.113.1:1").ip());
}

#[tokio::test]
async fn behind_a_service_a_port_is_silent_until_it_has_heard() {
    let config =
        Config { hear_before_speak: Some(Duration::from_secs(1)), ..config("127.0.30.26", 20_000, 4) };
    let mut scene = Scene::new(&config);
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let (_, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    a.send(for_a);
    assert!(b.hears_nothing());
    b.send(for_b);
    assert!(a.hear().is_some(), "A was heard");
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 2, for_b)));
    assert_eq!(scene.metric("fairlead_media_packets_dropped_total{reason=\"unheard\"}"), 1);
    // Somebody who never speaks is spoken to after a while all the same.
    let (mut c, quiet) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let (_, for_c, _) = scene.call(&c, &quiet).await.unwrap();
    c.send(for_c);
    assert!(quiet.hears_nothing());
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    c.send(for_c);
    assert!(quiet.hear().is_some());
}

#[tokio::test]
async fn rtp_leaves_from_the_address_that_was_told() {
    let mut config = Config::new(common::POD, 27_000..=27_003);
    config.networks[0].v4 =
        Some(Place { bind: [0, 0, 0, 0].into(), advertise: Some([127, 0, 30, 25].into()) });
    config.networks[0].v6 = None;
    let mut scene = Scene::new(&config);
    let (mut a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let (_, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    assert_eq!(for_b.ip(), at("127.0.30.25:1").ip());
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 1, for_b)));
}

#[tokio::test]
async fn rtcp_goes_by_the_next_port_and_by_the_same_one_where_it_is_muxed() {
    let mut scene = Scene::new(&config("127.0.30.17", 20_000, 10));
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let b_rtcp = Phone::new("127.0.0.1:0");
    let session = scene.session();
    let offered = scene.offer(order(session, Side::A, &sdp(a.says, "a=rtcp-mux\r\n"), &a, &b)).await.unwrap();
    assert!(String::from_utf8_lossy(&offered.sdp).contains("a=rtcp-mux"));
    let answer = sdp(b.says, &format!("a=rtcp:{}\r\n", b_rtcp.says.port()));
    let answered = scene.answer(order(session, Side::B, &answer, &a, &b)).await.unwrap();
    let text = String::from_utf8_lossy(&answered.sdp).into_owned();
    let (for_a, for_b) = (audio_of(&answered.sdp), audio_of(&offered.sdp));
    assert!(
        text.contains("a=rtcp-mux") && text.contains(&format!("a=rtcp:{} IN IP4", for_a.port())),
        "{text}"
    );
    a.send(for_a);
    b.send(for_b);
    assert!(a.hear().is_some() && b.hear().is_some());
    let report = |ssrc: u32| [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
    let mut buffer = [0; 64];
    a.socket.send_to(&report(a.ssrc), for_a).unwrap();
    let (length, from) = b_rtcp.socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.port()), (&report(a.ssrc)[..], for_b.port() + 1));
    b_rtcp.socket.send_to(&report(b.ssrc), from).unwrap();
    let (length, from) = a.socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&report(b.ssrc)[..], for_a));
}

#[tokio::test]
async fn several_streams_pass_and_what_cannot_be_relayed_is_refused_in_its_place() {
    let mut scene = Scene::new(&config("127.0.30.18", 20_000, 10));
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let (mut a_video, b_video) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    let video = |phone: &Phone, image: u16| {
        format!("m=image {image} udptl t38\r\nm=video {} RTP/AVP 34\r\n", phone.says.port())
    };
    let offer = sdp(a.says, &video(&a_video, 6_000));
    let offered = scene.offer(order(session, Side::A, &offer, &a, &b)).await.unwrap();
    assert!(String::from_utf8_lossy(&offered.sdp).contains("m=image 0 udptl t38"));
    let answer = sdp(b.says, &video(&b_video, 0));
    let answered = scene.answer(order(session, Side::B, &answer, &a, &b)).await.unwrap();
    let description = sdp::Description::parse(&answered.sdp).unwrap();
    let for_a_video = description.streams()[2].rtp().unwrap();
    let mut packet = a_video.packet();
    packet[1] = 34;
    a_video.socket.send_to(&packet, for_a_video).unwrap();
    assert_eq!(b_video.hear().map(|(ssrc, ..)| ssrc), Some(a_video.ssrc));
    assert_eq!(scene.query(session).await.streams.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_read_or_relayed_is_a_bad_description() {
    let mut scene = Scene::new(&config("127.0.30.19", 20_000, 4));
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    for body in [
        "hello",
        "v=0\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\nc=IN IP4 phone.example.com\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\nc=IN IP4 224.0.0.1/127\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 34\r\nc=IN IP6 2001:db8::1\r\n",
    ] {
        let session = scene.session();
        let refused = scene.offer(order(session, Side::A, &body.to_owned().into(), &a, &b)).await;
        assert!(matches!(refused, Err(RelayRefused::BadDescription(_))), "{body} {refused:?}");
    }
    assert_eq!(scene.relay.load(), 0);
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
}

#[tokio::test]
async fn a_late_offer_comes_from_the_called_side() {
    let mut scene = Scene::new(&config("127.0.30.24", 20_000, 10));
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    let offered = scene.offer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
    let answered = scene.answer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    let (for_a, for_b) = (audio_of(&offered.sdp), audio_of(&answered.sdp));
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 1, for_b)));
    b.send(for_b);
    assert_eq!(a.hear(), Some((b.ssrc, 1, for_a)));
    let statistics = scene.query(session).await;
    assert_eq!((statistics.streams[0].from, statistics.streams[0].remote), (Side::A, Some(a.says)));
}
