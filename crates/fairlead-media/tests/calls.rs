//! Calls through a relay, with real sockets on loopback.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use common::{Phone, Scene, at, audio_of, config, order, sdp, told};
use fairlead_media::{Config, Network, Place, Slices};
use fairlead_model::id::Side;
use fairlead_model::relay::{RelayOrder, RelayRefused};
use fairlead_model::surroundings::MediaAddress;

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
    scene.relay.tell_addresses(vec![told("203.0.113.1", &[])]);
    let session = scene.session();
    let offered =
        scene.offer(order(session, Side::A, &Phone::new("127.0.0.1:0").sdp(), &a, &b)).await.unwrap();
    assert_eq!(audio_of(&offered.sdp).ip(), at("203.0.113.1:1").ip());
}

#[tokio::test]
async fn the_longest_prefix_that_holds_the_other_end_decides_which_address_is_said() {
    let mut scene = Scene::new(&config("127.0.30.27", 20_000, 10));
    scene.relay.tell_addresses(vec![
        told("203.0.113.1", &[]),
        told("10.0.0.1", &["10.0.0.0/8", "192.168.0.0/16"]),
        told("10.7.0.1", &["10.7.0.0/16"]),
        MediaAddress { network: "inside".to_owned(), ..told("10.99.0.1", &[]) },
    ]);
    for (signalling, network, said) in [
        ("198.51.100.1", "", "203.0.113.1"),
        ("10.1.2.3", "", "10.0.0.1"),
        ("192.168.1.1", "", "10.0.0.1"),
        ("10.7.1.1", "", "10.7.0.1"),
        ("10.7.1.1", "inside", "10.99.0.1"),
    ] {
        let (a, mut b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
        b.media.signalling = signalling.parse().unwrap();
        b.media.network = network.to_owned();
        let session = scene.session();
        let offered = scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
        assert_eq!(audio_of(&offered.sdp).ip().to_string(), said, "{signalling} {network}");
        scene.delete(session).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_keeps_the_address_that_it_has_said() {
    let mut scene = Scene::new(&config("127.0.30.28", 20_000, 10));
    scene.relay.tell_addresses(vec![told("203.0.113.1", &[])]);
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    scene.relay.tell_addresses(vec![told("203.0.113.2", &[])]);
    let for_a = scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
    let again = scene.offer(order(session, Side::A, &sdp(a.says, "a=sendonly\r\n"), &a, &b)).await.unwrap();
    assert_eq!(audio_of(&again.sdp).ip(), at("203.0.113.1:1").ip());
    assert_eq!(audio_of(&for_a.sdp).ip(), at("203.0.113.1:1").ip());
    let other = scene.session();
    let offered = scene.offer(order(other, Side::A, &b.sdp(), &b, &a)).await.unwrap();
    assert_eq!(audio_of(&offered.sdp).ip(), at("203.0.113.2:1").ip());
}

#[tokio::test]
async fn one_that_awaits_its_address_never_says_its_own() {
    let mut scene = Scene::new(&Config { own_address: false, ..config("127.0.30.29", 20_000, 10) });
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    assert!(!scene.relay.is_of_use());
    assert_eq!(scene.metric("fairlead_media_address_known"), 0);
    let refused = scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await;
    assert_eq!(refused, Err(RelayRefused::NoPort), "another relay may have one");
    scene.relay.tell_addresses(vec![told("203.0.113.1", &[])]);
    assert!(scene.relay.is_of_use());
    assert_eq!(scene.metric("fairlead_media_address_known"), 1);
    let offered = scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    assert_eq!(audio_of(&offered.sdp).ip(), at("203.0.113.1:1").ip());
    scene.relay.tell_addresses(Vec::new());
    assert!(!scene.relay.is_of_use(), "it was taken away again");
}

#[tokio::test]
async fn one_without_ports_lives_and_is_of_no_use() {
    let slices: Slices = "30000+20x2".parse().unwrap();
    let mut scene = Scene::new(&Config { ports: slices.of("media-2"), ..config("127.0.30.30", 20_000, 10) });
    assert!(!scene.relay.is_of_use() && scene.relay.turns().await);
    assert_eq!(scene.metric("fairlead_media_ports"), 0);
    let (a, b) = (Phone::new("127.0.0.1:0"), Phone::new("127.0.0.1:0"));
    let session = scene.session();
    let refused = scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await;
    assert_eq!(refused, Err(RelayRefused::NoPort));
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
