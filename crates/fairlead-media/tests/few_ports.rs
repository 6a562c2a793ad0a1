//! Few ports and strangers, with real sockets on loopback.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{Phone, Scene, at, audio_of, config, order, sdp, until};
use fairlead_media::Config;
use fairlead_model::id::Side;
use fairlead_model::peer::RtpSource;
use fairlead_model::relay::{RelayOrder, RelayRefused};
use fairlead_proto::operator::SessionsPort;

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
    let (a, b) = (Phone::new("127.0.0.2:0"), Phone::behind_nat("127.0.0.1:0"));
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

#[tokio::test]
async fn callers_behind_one_nat_that_hear_it_ring_take_no_port_from_each_other() {
    let mut scene = Scene::new(&Config { workers: 1, ..config("127.0.30.15", 20_000, 8) });
    let mut trunks: Vec<_> = (0..20).map(|_| Phone::new("127.0.0.2:0")).collect();
    let callers: Vec<_> = (0..20).map(|_| Phone::behind_nat("127.0.0.1:0")).collect();
    let mut ringing = Vec::new();
    for (caller, trunk) in callers.iter().zip(&trunks) {
        let session = scene.session();
        let described = scene.offer(order(session, Side::A, &caller.sdp(), caller, trunk)).await.unwrap();
        ringing.push((session, audio_of(&described.sdp)));
    }
    // Phones of the same NAT ring as well, on all ports but the last.
    for caller in &callers[..3] {
        let callee = Phone::behind_nat("127.0.0.1:0");
        let session = scene.session();
        scene.offer(order(session, Side::A, &caller.sdp(), caller, &callee)).await.unwrap();
    }
    let callee = Phone::behind_nat("127.0.0.1:0");
    let session = scene.session();
    let refused = scene.offer(order(session, Side::A, &callers[4].sdp(), &callers[4], &callee)).await;
    assert_eq!(refused, Err(RelayRefused::NoPort));
    // The last is for who is answered, one after the other.
    let mut answered = callers;
    for ((caller, trunk), (session, for_trunk)) in answered.iter_mut().zip(&mut trunks).zip(ringing) {
        let described = scene.answer(order(session, Side::B, &trunk.sdp(), caller, trunk)).await.unwrap();
        let for_caller = audio_of(&described.sdp);
        caller.send(for_caller);
        caller.send(for_caller);
        assert_eq!(trunk.hear().map(|(ssrc, ..)| ssrc), Some(caller.ssrc));
        trunk.send(for_trunk);
        assert_eq!(caller.hear().map(|(ssrc, ..)| ssrc), Some(trunk.ssrc));
    }
}

#[tokio::test]
async fn each_stream_of_a_caller_behind_a_nat_has_its_own_port() {
    let mut scene = Scene::new(&Config { workers: 1, ..config("127.0.30.16", 20_000, 8) });
    let (mut a, mut b) = (Phone::behind_nat("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let (mut a_video, mut b_video) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    // No port is without a stream, so the two begin on the same one.
    for _ in 0..4 {
        let session = scene.session();
        scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    }
    let video = |port: u16| format!("m=video {port} RTP/AVP 0\r\n");
    let session = scene.session();
    let offer = sdp(a.says, &video(4_002));
    let described = scene.offer(order(session, Side::A, &offer, &a, &b)).await.unwrap();
    let answer = sdp(b.says, &video(b_video.says.port()));
    let answered = scene.answer(order(session, Side::B, &answer, &a, &b)).await.unwrap();
    let ports = |body: &[u8]| -> Vec<_> {
        let description = sdp::Description::parse(body).unwrap();
        description.streams().iter().map(|stream| stream.rtp().unwrap()).collect()
    };
    let (for_b, for_a) = (ports(&described.sdp), ports(&answered.sdp));
    assert_ne!(for_a[0], for_a[1], "both are waited for from one address");
    for (phone, other, at, back) in
        [(&mut a, &mut b, for_a[0], for_b[0]), (&mut a_video, &mut b_video, for_a[1], for_b[1])]
    {
        phone.send(at);
        phone.send(at);
        assert_eq!(other.hear().map(|(ssrc, ..)| ssrc), Some(phone.ssrc));
        other.send(back);
        assert_eq!(phone.hear().map(|(ssrc, ..)| ssrc), Some(other.ssrc));
    }
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
async fn a_flow_on_hold_is_kept_alive_with_empty_datagrams_and_both_hear_at_the_first_packet() {
    let config = Config {
        hear_before_speak: Some(Duration::from_secs(3)),
        keep_alive: Duration::from_secs(3),
        // One port, so that packets are taken in the order in which they were sent.
        ..config("127.0.30.31", 20_000, 2)
    };
    let mut scene = Scene::new(&config);
    let (mut a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.2:0"));
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    for _ in 0..2 {
        a.send(for_a);
        b.send(for_b);
    }
    assert!(a.hear().is_some() && b.hear().is_some());
    // B was heard after A's first packet, which is why that one was not sent on.
    while a.hear().is_some() || b.hear().is_some() {}
    scene.offer(order(session, Side::A, &sdp(a.says, "a=inactive\r\n"), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &sdp(b.says, "a=inactive\r\n"), &a, &b)).await.unwrap();
    // RFC 6263 section 4.1: no octet, so no sequence number and nothing that could be lost.
    a.socket.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
    assert_eq!(a.socket.recv_from(&mut [0; 64]).unwrap(), (0, for_a));
    b.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(b.socket.recv_from(&mut [0; 64]).unwrap(), (0, for_b));
    scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
    a.send(for_a);
    assert_eq!(b.hear(), Some((a.ssrc, 3, for_b)));
    b.send(for_b);
    assert_eq!(a.hear(), Some((b.ssrc, 3, for_a)));
    let statistics = scene.query(session).await;
    assert!(
        statistics.streams.iter().all(|stream| (stream.packets, stream.lost) == (3, 0)),
        "{statistics:?}"
    );
}

#[tokio::test]
async fn two_phones_that_are_masqueraded_hear_each_other_only_when_their_setting_says_so() {
    let config =
        Config { hear_before_speak: Some(Duration::from_secs(60)), ..config("127.0.30.32", 20_000, 8) };
    let mut scene = Scene::new(&config);
    for (source, heard) in [(RtpSource::Signalling, false), (RtpSource::Any, true)] {
        let (mut a, mut b) = (Phone::behind_nat("127.0.0.5:0"), Phone::behind_nat("127.0.0.6:0"));
        for phone in [&mut a, &mut b] {
            phone.media.signalling = at("127.0.0.77:1").ip();
            phone.media.source = source;
        }
        let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
        assert_ne!(for_a, for_b, "each waits alone");
        // What one says before the other was heard goes nowhere, so they go on talking.
        let mut ears = (false, false);
        for _ in 0..if heard { 20 } else { 3 } {
            a.send(for_a);
            b.send(for_b);
            ears = (ears.0 || a.hear().is_some(), ears.1 || b.hear().is_some());
            if ears == (true, true) {
                break;
            }
        }
        assert_eq!(ears, (heard, heard), "{source:?}");
        scene.delete(session).await.unwrap();
    }
}
