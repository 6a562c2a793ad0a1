//! Phones of one NAT whose streams share a port, and move.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{Phone, Scene, at, config, order, sdp};
use fairlead_media::Config;
use fairlead_model::id::{AttemptRef, Side};
use fairlead_model::relay::{RelayOrder, RelayRefused, SessionRef};

const NAT: &str = "127.0.0.1:0";

/// Audio and video of the phones A and B.
struct Video {
    scene: Scene,
    session: SessionRef,
    a: [Phone; 2],
    b: [Phone; 2],
    /// Where A and B were told to send to.
    for_a: Vec<SocketAddr>,
    for_b: Vec<SocketAddr>,
}

fn ports(body: &[u8]) -> Vec<SocketAddr> {
    let description = sdp::Description::parse(body).unwrap();
    description.streams().iter().map(|stream| stream.rtp().unwrap()).collect()
}

/// A relay none of whose ports is empty, and where phones of the NAT are everywhere but on the first one.
async fn crowded(bind: &str, ports: u16, rounds: u16) -> Scene {
    let former = Duration::from_millis(100);
    let mut scene = Scene::new(&Config { workers: 1, former, ..config(bind, 20_000, ports) });
    for _ in 0..ports {
        scene.call(&Phone::new("127.0.0.3:0"), &Phone::new("127.0.0.4:0")).await.unwrap();
    }
    let mut first = Vec::new();
    for _ in 0..rounds * ports / 2 {
        let (mut other, far) = (Phone::behind_nat(NAT), Phone::new("127.0.0.2:0"));
        let (session, for_other, _) = scene.call(&other, &far).await.unwrap();
        other.send(for_other);
        other.send(for_other);
        assert!(hears(&far, &other));
        first.extend(Some(session).filter(|_| for_other.port() == 20_000));
    }
    assert_eq!(first.len(), usize::from(rounds));
    for session in first {
        scene.delete(session).await.unwrap();
    }
    // Until they are former no more.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    scene
}

fn both(audio: SocketAddr, video: u16, more: &str) -> Bytes {
    sdp(audio, &format!("{more}m=video {video} RTP/AVP 0\r\n"))
}

impl Video {
    /// A, behind a NAT, has its audio and its video on one port, and both are heard.
    async fn new(bind: &str) -> Self {
        let call = Self::with_ports(bind, 4).await;
        assert_eq!(call.for_a[0], call.for_a[1], "both on one port");
        call
    }

    /// A, behind a NAT, is heard, and then its video as well, which B asks for.
    async fn with_ports(bind: &str, ports: u16) -> Self {
        let mut scene = crowded(bind, ports, 2).await;
        let a = [Phone::behind_nat(NAT), Phone::behind_nat(NAT)];
        let b = [Phone::new("127.0.0.2:0"), Phone::new("127.0.0.2:0")];
        let (session, for_a, _) = scene.call(&a[0], &b[0]).await.unwrap();
        let mut call = Video { scene, session, a, b, for_a: vec![for_a], for_b: Vec::new() };
        call.hear(0);
        // B asks for video as well.
        let offered = call.offers(Side::B, &call.said_by_b("")).await;
        let answered = call.answers(Side::A, &both(call.a[0].says, 4_002, "")).await.unwrap();
        (call.for_a, call.for_b) = (self::ports(&offered), self::ports(&answered));
        call.hear(0);
        call.hear(1);
        call
    }

    fn said_by_b(&self, more: &str) -> Bytes {
        both(self.b[0].says, self.b[1].says.port(), more)
    }

    async fn offers(&self, from: Side, sdp: &Bytes) -> Bytes {
        self.scene.offer(order(self.session, from, sdp, &self.a[0], &self.b[0])).await.unwrap().sdp
    }

    async fn answers(&self, from: Side, sdp: &Bytes) -> Result<Bytes, RelayRefused> {
        let answered = self.scene.answer(order(self.session, from, sdp, &self.a[0], &self.b[0])).await;
        answered.map(|described| described.sdp)
    }

    /// What A sends in a stream reaches B, and what B sends in it A.
    fn hear(&mut self, stream: usize) {
        let (a, b) = (&mut self.a[stream], &mut self.b[stream]);
        a.send(self.for_a[stream]);
        a.send(self.for_a[stream]);
        assert!(hears(b, a), "B, stream {stream}");
        if let Some(&to) = self.for_b.get(stream) {
            b.send(to);
            assert!(hears(a, b), "A, stream {stream}");
        }
    }
}

/// The last packet of another phone reaches it; those before it may still lie there.
fn hears(phone: &Phone, other: &Phone) -> bool {
    let last = (other.ssrc, other.sequence);
    std::iter::from_fn(|| phone.hear()).any(|(ssrc, sequence, _)| (ssrc, sequence) == last)
}

#[tokio::test]
async fn when_audio_and_video_of_one_port_both_move_each_is_told_a_port_of_its_own() {
    let mut call = Video::new("127.0.30.33").await;
    call.a = [Phone::behind_nat(NAT), Phone::behind_nat(NAT)];
    call.offers(Side::A, &both(at("10.9.8.99:4000"), 4_002, "")).await;
    call.for_a = ports(&call.answers(Side::B, &call.said_by_b("")).await.unwrap());
    assert_ne!(call.for_a[0], call.for_a[1], "both are waited for from one address");
    call.hear(0);
    call.hear(1);
}

#[tokio::test]
async fn an_answer_by_which_both_move_is_refused_and_leaves_both_where_they_were() {
    let mut call = Video::new("127.0.30.34").await;
    call.offers(Side::B, &call.said_by_b("a=ptime:20\r\n")).await;
    let refused = call.answers(Side::A, &both(at("10.9.8.99:4000"), 4_002, "")).await;
    assert_eq!(refused, Err(RelayRefused::NoPort), "A has been told one port for both");
    call.hear(0);
    call.hear(1);
    call.scene.order(RelayOrder::Withdraw(call.session)).await.unwrap();
    call.hear(0);
    call.hear(1);
    call.scene.delete(call.session).await.unwrap();
}

#[tokio::test]
async fn with_ports_enough_both_move_by_an_answer_as_well() {
    let mut call = Video::with_ports("127.0.30.38", 6).await;
    call.offers(Side::B, &call.said_by_b("a=ptime:20\r\n")).await;
    call.answers(Side::A, &both(at("10.9.8.99:4000"), 4_002, "")).await.unwrap();
    call.a = [Phone::behind_nat(NAT), Phone::behind_nat(NAT)];
    call.hear(0);
    call.hear(1);
}

/// A call of a phone behind a NAT: audio only.
async fn audio(bind: &str) -> (Scene, SessionRef, [Phone; 2], [SocketAddr; 2]) {
    let mut scene = Scene::new(&Config { workers: 1, ..config(bind, 20_000, 4) });
    let (mut a, b) = (Phone::behind_nat(NAT), Phone::new("127.0.0.2:0"));
    let (session, for_a, for_b) = scene.call(&a, &b).await.unwrap();
    a.send(for_a);
    a.send(for_a);
    assert!(hears(&b, &a));
    (scene, session, [a, b], [for_a, for_b])
}

#[tokio::test]
async fn a_hold_in_any_style_by_either_side_keeps_the_place_where_a_phone_is_heard() {
    let (scene, session, [mut a, mut b], [for_a, for_b]) = audio("127.0.30.35").await;
    let (zero, other) = (at("0.0.0.0:4000"), at("10.9.8.7:9"));
    for held in [
        sdp(a.says, "a=inactive\r\n"),
        sdp(zero, ""),
        sdp(zero, "a=inactive\r\n"),
        sdp(other, "a=inactive\r\n"),
    ] {
        let text = String::from_utf8_lossy(&held).into_owned();
        let resumed = a.sdp();
        for said_by_a in [held, resumed] {
            // A asks, and then A answers.
            scene.offer(order(session, Side::A, &said_by_a, &a, &b)).await.unwrap();
            scene.answer(order(session, Side::B, &sdp(b.says, ""), &a, &b)).await.unwrap();
            scene.offer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
            scene.answer(order(session, Side::A, &said_by_a, &a, &b)).await.unwrap();
            a.send(for_a);
            assert!(hears(&b, &a), "{text}");
            let remote = scene.query(session).await.streams[0].remote;
            assert_eq!(remote, Some(a.socket.local_addr().unwrap()), "{text}");
        }
        b.send(for_b);
        assert!(hears(&a, &b), "{text}");
    }
}

#[tokio::test]
async fn one_that_cannot_go_back_is_not_put_on_a_port_that_nobody_tells_it() {
    let (mut scene, session, [mut a, b], [for_a, _]) = audio("127.0.30.37").await;
    // A has roamed; its offer is answered early, and refused at last.
    a = Phone { media: a.media.clone(), says: at("10.9.8.99:4000"), ..Phone::new("127.0.0.5:0") };
    a.media.signalling = at("127.0.0.5:1").ip();
    scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    scene.answer(order(session, Side::B, &sdp(b.says, "a=ptime:20\r\n"), &a, &b)).await.unwrap();
    // Meanwhile somebody else is waited for where it was.
    let (others, far) = ([(); 2].map(|()| Phone::behind_nat(NAT)), Phone::new("127.0.0.2:0"));
    let (elsewhere, ..) = scene.call(&others[0], &far).await.unwrap();
    let (_, for_other, _) = scene.call(&others[1], &Phone::new("127.0.0.2:0")).await.unwrap();
    assert_eq!(for_other, for_a);
    scene.delete(elsewhere).await.unwrap();
    let refused = scene.order(RelayOrder::Withdraw(session)).await;
    a.send(for_a);
    a.send(for_a);
    assert!(hears(&b, &a), "{refused:?}");
}

#[tokio::test]
async fn a_caller_who_has_heard_one_callee_is_heard_by_the_next_who_is_tried() {
    let mut scene = crowded("127.0.30.39", 6, 1).await;
    let mut a = Phone::behind_nat(NAT);
    let tried = scene.session();
    let tries = [0, 1].map(|attempt| SessionRef { attempt: AttemptRef(attempt), ..tried });
    for session in tries {
        let b = Phone::new("127.0.0.2:0");
        scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
    }
    for session in tries {
        let b = Phone::new("127.0.0.2:0");
        let answered = scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
        let for_a = ports(&answered.sdp)[0];
        a.send(for_a);
        a.send(for_a);
        assert!(hears(&b, &a), "{session:?}");
        scene.delete(session).await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_is_heard_in_the_next_try_on_the_port_where_the_last_one_was() {
    // Two ports: the third try lies where the first one was.
    let mut scene = Scene::new(&Config { workers: 1, ..config("127.0.30.40", 20_000, 4) });
    let mut a = Phone::behind_nat(NAT);
    let tried = scene.session();
    let mut told = Vec::new();
    for attempt in 0..4 {
        let session = SessionRef { attempt: AttemptRef(attempt), ..tried };
        let b = Phone::new("127.0.0.2:0");
        scene.offer(order(session, Side::A, &a.sdp(), &a, &b)).await.unwrap();
        let answered = scene.answer(order(session, Side::B, &b.sdp(), &a, &b)).await.unwrap();
        let for_a = ports(&answered.sdp)[0];
        told.push(for_a);
        a.send(for_a);
        a.send(for_a);
        assert!(hears(&b, &a), "{told:?}");
        scene.delete(session).await.unwrap();
    }
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), 2);
}
