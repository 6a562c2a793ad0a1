//! A pod behind a Kubernetes Service: without an address, with one, and what it says of itself.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bench;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{Pod, Registrar, eventually, heard, options, register, udp_phone};
use fairlead_model::flow::Transport;
use fairlead_model::member::Role;
use fairlead_model::surroundings::{Finding, SipAddress, code};
use fairlead_proto::client::{DiagnosisClient, connection};
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::tls::PodTls;
use fairlead_signaling::Listener;
use tokio::net::UdpSocket;

/// A pod on wildcards that awaits its address.
async fn pod(registrar: &Registrar) -> Pod {
    Pod::with(Arc::new(registrar.clone()), 2, |config| {
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        config.listeners = [Transport::Udp, Transport::Tcp]
            .map(|transport| Listener { awaits: true, ..Listener::new(transport, any) })
            .to_vec();
    })
    .await
}

async fn phone(pod: &Pod) -> (UdpSocket, SocketAddr) {
    let phone = udp_phone().await;
    phone.connect(("127.0.0.1", pod.udp.port())).await.unwrap();
    let at = phone.local_addr().unwrap();
    (phone, at)
}

async fn says(phone: &UdpSocket, text: String) -> String {
    phone.send(text.as_bytes()).await.unwrap();
    heard(phone).await
}

fn invite(from: SocketAddr, call_id: &str) -> String {
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:bob@edge SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@edge>;tag=f{call_id}\r\nTo: <sip:bob@edge>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@{from}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

async fn findings(pod: &Pod) -> Vec<Finding> {
    let to = connection(pod.signaling.grpc().unwrap(), &PodTls::off(), Role::Signaling);
    DiagnosisClient::new(to).diagnose().await.unwrap().findings
}

async fn has(pod: &Pod, code: &str) -> bool {
    findings(pod).await.iter().any(|finding| finding.code == code)
}

fn addresses() -> Vec<SipAddress> {
    [Transport::Udp, Transport::Tcp]
        .map(|transport| SipAddress {
            network: String::new(),
            transport,
            host: "203.0.113.5".to_owned(),
            port: 5060,
            destinations: Vec::new(),
        })
        .to_vec()
}

#[tokio::test]
async fn without_an_address_it_registers_and_refuses_calls_until_it_is_told_one() {
    let registrar = Registrar::new();
    let pod = pod(&registrar).await;
    let (phone, at) = phone(&pod).await;
    assert!(says(&phone, options("UDP", at, "o1")).await.starts_with("SIP/2.0 200"));
    assert!(says(&phone, register("UDP", at, "r1", 1)).await.starts_with("SIP/2.0 200"));
    let refused = says(&phone, invite(at, "i1")).await;
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert!(refused.contains("Retry-After: ") && refused.contains("Warning: 399"), "{refused}");
    assert_eq!(pod.count("fairlead_signaling_address_known", ""), 0.0);
    assert!(has(&pod, code::NO_ADDRESS).await);

    registrar.surroundings.lock().sip = addresses();
    registrar.changed();
    eventually("it knows", || pod.count("fairlead_signaling_address_known", "") == 1.0).await;
    assert!(!has(&pod, code::NO_ADDRESS).await);
    phone.send(invite(at, "i2").as_bytes()).await.unwrap();
    let mut answer = heard(&phone).await;
    if answer.starts_with("SIP/2.0 100") {
        answer = heard(&phone).await;
    }
    assert!(answer.starts_with("SIP/2.0 404"), "it is let in as far as the registrar says: {answer}");
    pod.stop().await;
}

#[tokio::test]
async fn a_new_call_waits_for_a_registrar_that_cannot_reach_its_store_and_others_behind_it_do_not() {
    let registrar = Registrar::new();
    registrar.surroundings.lock().sip = addresses();
    let pod = pod(&registrar).await;
    eventually("it knows", || pod.count("fairlead_signaling_address_known", "") == 1.0).await;
    let (phone, at) = phone(&pod).await;
    registrar.storeless.store(3, std::sync::atomic::Ordering::SeqCst);
    assert!(says(&phone, invite(at, "s1")).await.starts_with("SIP/2.0 100"));
    assert!(says(&phone, register("UDP", at, "r1", 1)).await.starts_with("SIP/2.0 200"));
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 404"), "the fourth time it was answered: {answer}");
    // Not for ever: the question has its time, and then the caller hears that nobody can say.
    registrar.storeless.store(usize::MAX, std::sync::atomic::Ordering::SeqCst);
    phone.send(invite(at, "s2").as_bytes()).await.unwrap();
    let began = Instant::now();
    let refused = loop {
        let mut buffer = vec![0; 4096];
        let length =
            tokio::time::timeout(Duration::from_secs(8), phone.recv(&mut buffer)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.contains("Call-ID: s2") && !text.starts_with("SIP/2.0 100") {
            break text;
        }
    };
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert!((3..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    pod.stop().await;
}

#[tokio::test]
async fn registrations_that_come_from_a_node_are_a_finding() {
    let registrar = Registrar::new();
    registrar.surroundings.lock().sip = addresses();
    registrar.surroundings.lock().nodes = vec!["192.0.2.11".parse().unwrap()];
    let pod = pod(&registrar).await;
    let (phone, at) = phone(&pod).await;
    for cseq in 1..=4 {
        assert!(says(&phone, register("UDP", at, "r", cseq)).await.starts_with("SIP/2.0 200"));
    }
    assert!(!has(&pod, code::SOURCE_HIDDEN).await);
    registrar.surroundings.lock().nodes.push("127.0.0.1".parse().unwrap());
    registrar.changed();
    let began = Instant::now();
    while !has(&pod, code::SOURCE_HIDDEN).await {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = findings(&pod).await;
    let hidden = found.iter().find(|finding| finding.code == code::SOURCE_HIDDEN).unwrap();
    assert!(hidden.text.contains("4 of 4"), "{}", hidden.text);
    assert_eq!(hidden.about, "pod");
    assert!(found.iter().any(|finding| finding.code == code::TLS_OFF), "the pod was started without");
    pod.stop().await;
}

#[tokio::test]
async fn a_keep_alive_asks_whether_a_flow_has_moved_here() {
    let registrar = Registrar::new();
    let pod = pod(&registrar).await;
    let (phone, at) = phone(&pod).await;
    phone.send(b"\r\n\r\n").await.unwrap();
    let asked = || {
        registrar
            .asked
            .lock()
            .iter()
            .any(|ask| matches!(ask, fairlead_model::ask::Ask::MoveFlow { flow } if flow.remote == at))
    };
    eventually("the registrar is asked", asked).await;
    pod.stop().await;
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_the_pod_ends() {
    let registrar = Registrar::new();
    let pod = pod(&registrar).await;
    let (phone, at) = phone(&pod).await;
    // The registrar takes the question and answers nothing, until the pod asks another time.
    registrar.deaf.store(true, std::sync::atomic::Ordering::SeqCst);
    phone.send(register("UDP", at, "r1", 1).as_bytes()).await.unwrap();
    eventually("it is asked", || registrar.registers() == 1).await;
    pod.drain.start();
    let (drain, live) = (pod.drain.clone(), pod.signaling.live_counter());
    let ending = tokio::spawn(async move {
        drain.finish(Duration::from_secs(1), || live.load(std::sync::atomic::Ordering::Relaxed)).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    registrar.deaf.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(heard(&phone).await.starts_with("SIP/2.0 200"));
    assert!(ending.await.unwrap(), "all tasks ended in time");
}
