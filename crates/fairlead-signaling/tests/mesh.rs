//! Two pods and the mesh between them.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

mod bench;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench::{Pod, Registrar, eventually, heard, member, options, read, udp_phone, write};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::PodRef;
use fairlead_model::member::Role;
use fairlead_proto::signaling::v1 as pb;
use fairlead_proto::signaling::v1::mesh_client::MeshClient;
use fairlead_proto::tls::PodTls;
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;

async fn exchange(to: SocketAddr, frames: Vec<pb::Frame>) -> Vec<(u64, pb::SendResult)> {
    let wanted = frames.len();
    let (put, stream) = tokio::sync::mpsc::channel(1);
    put.send(pb::MeshRequest { from: 5, frames }).await.unwrap();
    let mut client = MeshClient::new(fairlead_proto::client::connection(to, &PodTls::off(), Role::Signaling));
    let mut results = client.mesh(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let mut got = Vec::new();
    while got.len() < wanted {
        let message = tokio::time::timeout(Duration::from_secs(5), results.message()).await.unwrap();
        got.extend(message.unwrap().unwrap().results.into_iter().map(|one| (one.id, one.result())));
    }
    got.sort_by_key(|(id, _)| *id);
    got
}

fn send(id: u64, flow: Flow) -> pb::Frame {
    let message = "SIP/2.0 200 OK\r\n\r\n".into();
    pb::Frame { id, what: Some(pb::frame::What::Send(pb::Send { message, flow: Some(flow.into()) })) }
}

#[tokio::test]
async fn each_send_is_answered_with_what_became_of_it() {
    let pod = Pod::start(Arc::new(Registrar::new()), 2).await;
    let phone = udp_phone().await;
    let by_udp = Flow {
        pod: pod.signaling.member().pod,
        transport: Transport::Udp,
        local: pod.udp,
        remote: phone.local_addr().unwrap(),
        connection: None,
    };
    let frames = vec![
        send(1, by_udp),
        send(2, Flow { pod: PodRef(99), ..by_udp }),
        send(3, Flow { local: "127.0.0.1:1".parse().unwrap(), ..by_udp }),
        send(
            4,
            Flow {
                transport: Transport::Tcp,
                connection: Some(fairlead_model::id::ConnectionRef(256)),
                ..by_udp
            },
        ),
        send(5, Flow { remote: "[2001:db8::1]:5060".parse().unwrap(), ..by_udp }),
    ];
    let results = exchange(pod.signaling.grpc().unwrap(), frames).await;
    assert_eq!(
        results,
        [
            (1, pb::SendResult::Sent),
            (2, pb::SendResult::NoSuchFlow),
            (3, pb::SendResult::NoSuchFlow),
            (4, pb::SendResult::ConnectionGone),
            (5, pb::SendResult::Socket),
        ]
    );
    assert_eq!(heard(&phone).await, "SIP/2.0 200 OK\r\n\r\n");
    pod.stop().await;
}

#[tokio::test]
async fn a_message_that_another_pod_received_is_answered_by_that_pods_flow_in_one_crossing_each_way() {
    let registrar = Registrar::new();
    let first = Pod::start(Arc::new(registrar.clone()), 1).await;
    let second = Pod::start(Arc::new(registrar.clone()), 2).await;
    let (near, far) = (first.signaling.member().clone(), second.signaling.member().clone());
    eventually("both know each other", || registrar.members.lock().len() == 2).await;
    // The phone's packet reached the first pod; it belongs to the second, which answers by the first one's socket.
    let phone = udp_phone().await;
    let flow = Flow {
        pod: near.pod,
        transport: Transport::Udp,
        local: first.udp,
        remote: phone.local_addr().unwrap(),
        connection: None,
    };
    let message = options("UDP", phone.local_addr().unwrap(), "mesh").into();
    let deliver = pb::Deliver { message, flow: Some(flow.into()), shard: Some(1) };
    let frame = pb::Frame { id: 1, what: Some(pb::frame::What::Deliver(deliver)) };
    assert_eq!(exchange(far.grpc, vec![frame]).await, [(1, pb::SendResult::Sent)]);
    let answer = heard(&phone).await;
    assert!(answer.contains("Call-ID: mesh\r\n"), "{answer}");
    eventually("the crossing is counted", || {
        second.count("fairlead_mesh_crossings_total", "kind=\"send\"") == 1.0
    })
    .await;
    assert_eq!(first.count("fairlead_mesh_crossings_total", "direction=\"in\",kind=\"send\""), 1.0);
    assert_eq!(second.count("fairlead_mesh_crossings_total", "direction=\"in\",kind=\"deliver\""), 1.0);
    first.stop().await;
    second.stop().await;
}

/// RFC 3261 §17.1.1.2: over a connection nobody repeats it, and over UDP the repetitions go the same way.
#[tokio::test]
async fn a_call_whose_taker_is_not_there_is_refused_by_the_pod_that_drains() {
    let registrar = Registrar::new();
    let pod = Pod::start(Arc::new(registrar.clone()), 2).await;
    // Killed a moment ago: nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    registrar.members.lock().push(member(Role::Signaling, closed));
    registrar.changed();
    // A call keeps it from its end.
    let live = pod.signaling.live_counter();
    live.fetch_add(1, Ordering::Relaxed);
    pod.drain.start();
    let failed = "direction=\"out\",kind=\"deliver\",result=\"no_such_flow\"";
    let calls = AtomicUsize::new(0);
    eventually("it passes calls on", || {
        // One that came before the drain is answered here, and so are its repetitions.
        let call_id = format!("early-{}", calls.fetch_add(1, Ordering::Relaxed));
        let text = invite("UDP", "127.0.0.1:9".parse().unwrap(), &call_id);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(text.as_bytes(), pod.udp).unwrap();
        pod.count("fairlead_mesh_crossings_total", failed) > 0.0
    })
    .await;
    let phone = udp_phone().await;
    let at = phone.local_addr().unwrap();
    phone.send_to(invite("UDP", at, "by-udp").as_bytes(), pod.udp).await.unwrap();
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    let mut connection = TcpStream::connect(pod.tcp).await.unwrap();
    let at = connection.local_addr().unwrap();
    write(&mut connection, &invite("TCP", at, "by-tcp")).await;
    let answer = read(&mut connection).await;
    assert!(answer.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{answer}");
    live.fetch_sub(1, Ordering::Relaxed);
    pod.stop().await;
}

fn invite(transport: &str, from: SocketAddr, call_id: &str) -> String {
    format!(
        "INVITE sip:bob@edge SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@edge>;tag=f{call_id}\r\nTo: <sip:bob@edge>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}
