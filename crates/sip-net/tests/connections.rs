//! Connections over real sockets on the loopback.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use fairlead_model::id::PodRef;
use sip_net::connection::{ConnectionNames, Dialer, Ended, Event, NotTaken, shard_of};
use sip_net::limits::{ConnectionLimits, Door, TooMany};
use sip_net::tcp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const OPTIONS: &str = "OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:edge>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

struct Bench {
    address: SocketAddr,
    events: mpsc::Receiver<Event>,
    dialer: Dialer,
}

impl Bench {
    fn new(limits: ConnectionLimits) -> Self {
        let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, events) = mpsc::channel(64);
        let dialer = Dialer {
            pod: PodRef(7),
            shard: 3,
            names: ConnectionNames::default(),
            door: Door::new(limits),
            events: tell,
        };
        tokio::spawn(dialer.clone().accept(listener));
        Bench { address, events, dialer }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn next(&mut self) -> Event {
        timeout(Duration::from_secs(5), self.events.recv()).await.expect("an event in time").unwrap()
    }

    async fn ended(&mut self) -> Ended {
        loop {
            if let Event::Closed { why, .. } = self.next().await {
                return why;
            }
        }
    }
}

fn short() -> ConnectionLimits {
    ConnectionLimits {
        first_message: Duration::from_millis(300),
        rest_of_message: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        slow_reader: Duration::from_millis(300),
        ..ConnectionLimits::default()
    }
}

#[tokio::test]
async fn messages_in_any_pieces_come_out_whole_with_the_addresses_of_the_socket() {
    let mut bench = Bench::new(ConnectionLimits::default());
    let mut phone = bench.connect().await;
    let both = format!("{OPTIONS}\r\n\r\n{OPTIONS}");
    for piece in both.as_bytes().chunks(37) {
        phone.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let Event::Opened { flow, writer, dialled: None } = bench.next().await else { panic!("not opened") };
    assert_eq!(flow.remote, phone.local_addr().unwrap());
    assert_eq!(flow.local, bench.address);
    assert_eq!(flow.connection.map(shard_of), Some(3));
    for _ in 0..2 {
        let Event::Received { message, flow: by } = bench.next().await else { panic!("not received") };
        assert_eq!(message.method().as_str(), "OPTIONS");
        assert_eq!(by, flow);
    }
    // RFC 5626 §3.5.1: the ping between them is answered by one CRLF.
    let mut pong = [0; 2];
    phone.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
    writer.send(Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n"), false).unwrap();
    let mut answer = [0; 18];
    phone.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK\r\n\r\n");
    drop(writer);
    assert_eq!(bench.ended().await, Ended::ByUs);
    assert_eq!(phone.read(&mut answer).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_sip_is_told_and_the_connection_closed_after_the_answer() {
    let mut bench = Bench::new(ConnectionLimits::default());
    let mut stranger = bench.connect().await;
    let endless = vec![b'x'; 200_000];
    let _ = stranger.write_all(&endless).await;
    let Event::Opened { writer, .. } = bench.next().await else { panic!("not opened") };
    let Event::Malformed { .. } = bench.next().await else { panic!("not told") };
    drop(writer);
    assert_eq!(bench.ended().await, Ended::Garbled);
    assert_eq!(bench.dialer.door.connections(), 0);
}

#[tokio::test]
async fn silent_half_said_and_pinging_strangers_are_closed() {
    let mut bench = Bench::new(short());
    let _silent = bench.connect().await;
    let mut half = bench.connect().await;
    half.write_all(&OPTIONS.as_bytes()[..50]).await.unwrap();
    let mut pinging = bench.connect().await;
    let pings = tokio::spawn(async move {
        while pinging.write_all(b"\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut writers = Vec::new();
    let mut closed = 0;
    while closed < 3 {
        match bench.next().await {
            Event::Opened { writer, .. } => writers.push(writer),
            Event::Closed { why, .. } => {
                assert_eq!(why, Ended::Idle);
                closed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    pings.await.unwrap();
}

#[tokio::test]
async fn a_phone_that_spoke_stays_until_it_is_idle() {
    let mut bench = Bench::new(short());
    let mut phone = bench.connect().await;
    phone.write_all(OPTIONS.as_bytes()).await.unwrap();
    let Event::Opened { writer: _writer, .. } = bench.next().await else { panic!("not opened") };
    let Event::Received { .. } = bench.next().await else { panic!("not received") };
    let before = std::time::Instant::now();
    assert_eq!(bench.ended().await, Ended::Idle);
    assert!(before.elapsed() > Duration::from_millis(700));
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed_and_new_requests_are_shed_first() {
    let mut bench =
        Bench::new(ConnectionLimits { queue: 8, slow_reader: Duration::from_millis(150), ..short() });
    let _phone = bench.connect().await;
    let Event::Opened { writer, .. } = bench.next().await else { panic!("not opened") };
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    writer.send(large.clone(), false).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..5 {
        writer.send(large.clone(), false).unwrap();
    }
    assert_eq!(writer.send(large.clone(), true), Err(NotTaken::Full));
    for _ in 0..3 {
        writer.send(large.clone(), false).unwrap();
    }
    assert_eq!(writer.send(large.clone(), false), Err(NotTaken::Full));
    assert_eq!(bench.ended().await, Ended::SlowReader);
    assert_eq!(writer.send(large, false), Err(NotTaken::Gone));
}

#[tokio::test]
async fn too_many_from_one_address_are_turned_away() {
    let mut bench = Bench::new(ConnectionLimits { per_ip: 1, ..ConnectionLimits::default() });
    let _first = bench.connect().await;
    let Event::Opened { writer: _writer, .. } = bench.next().await else { panic!("not opened") };
    let mut second = bench.connect().await;
    let Event::TurnedAway(why) = bench.next().await else { panic!("not turned away") };
    assert_eq!(why, TooMany::FromThere);
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn dialling_opens_or_says_why_not() {
    let mut bench = Bench::new(ConnectionLimits::default());
    let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    bench.dialer.dial(11, any, there.local_addr().unwrap());
    let Event::Opened { flow, dialled: Some(11), .. } = bench.next().await else { panic!("not opened") };
    assert_eq!(flow.remote, there.local_addr().unwrap());
    let (_, from) = there.accept().await.unwrap();
    assert_eq!(flow.local, from);

    let gone = there.local_addr().unwrap();
    drop(there);
    bench.dialer.dial(12, any, gone);
    loop {
        match bench.next().await {
            Event::NotOpened { dialled: 12, .. } => break,
            Event::Closed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
