//! A REGISTER from socket to registrar and back, over every transport; and what happens when a registrar goes.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

mod bench;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bench::{Pod, Registrar, eventually, heard, read, register, udp_phone, write};
use tokio::net::TcpStream;

#[tokio::test]
async fn over_udp_it_is_answered_from_where_it_was_sent_to_and_the_registrar_sees_the_true_source() {
    let registrar = Registrar::new();
    let pod = Pod::start(Arc::new(registrar.clone()), 2).await;
    let phone = udp_phone().await;
    // Via names another address: the answer goes to the source all the same (RFC 3581).
    let text = register("UDP", "192.0.2.1:5060".parse().unwrap(), "one", 1);
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let source = phone.local_addr().unwrap();
    assert!(
        answer.contains(&format!("rport={}", source.port())) && answer.contains("received=127.0.0.1"),
        "{answer}"
    );
    assert!(answer.contains("<sip:ann@192.0.2.1:5060>;expires=60"), "{answer}");
    let asked = registrar.asked.lock().clone();
    let flow = asked.iter().find_map(|ask| match ask {
        fairlead_model::ask::Ask::Register(register) => Some(register.flow),
        _ => None,
    });
    let flow = flow.unwrap();
    assert_eq!((flow.remote, flow.local, flow.pod), (source, pod.udp, pod.signaling.member().pod));
    pod.stop().await;
}

#[tokio::test]
async fn over_tcp_it_is_answered_on_its_connection() {
    let pod = Pod::start(Arc::new(Registrar::new()), 2).await;
    let mut phone = TcpStream::connect(pod.tcp).await.unwrap();
    // Enough Call-IDs that some belong to the shard that does not have the connection.
    for number in 0..20 {
        let text = register("TCP", phone.local_addr().unwrap(), &format!("tcp{number}"), 1);
        write(&mut phone, &text).await;
        let answer = read(&mut phone).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(answer.contains(&format!("Call-ID: tcp{number}\r\n")), "{answer}");
    }
    pod.stop().await;
}

#[tokio::test]
async fn a_stranger_is_challenged_without_the_registrar_being_asked() {
    let registrar = Registrar::new();
    let pod = Pod::with(Arc::new(registrar.clone()), 1, |config| {
        config.listeners[0].bind = "[::1]:0".parse().unwrap();
    })
    .await;
    let phone = tokio::net::UdpSocket::bind("[::1]:0").await.unwrap();
    let text = register("UDP", phone.local_addr().unwrap(), "stranger", 1);
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
    assert!(answer.contains("realm=\"edge\""), "{answer}");
    assert_eq!(registrar.registers(), 0);
    pod.stop().await;
}

/// Attaches at the first of two that takes it, as a client of several registrars does.
struct Two(Registrar, Registrar);

#[async_trait::async_trait]
impl fairlead_proto::link::RegistrarPort for Two {
    async fn attach(
        &self,
        who: fairlead_model::member::Member,
        up: tokio::sync::mpsc::Receiver<fairlead_proto::link::Up>,
    ) -> Result<tokio::sync::mpsc::Receiver<fairlead_proto::link::Down>, fairlead_model::ask::AskFailed> {
        let other = self.0.gone.load(Ordering::SeqCst) || self.0.streams.load(Ordering::SeqCst) > 0;
        if other { self.1.attach(who, up).await } else { self.0.attach(who, up).await }
    }
}

#[tokio::test]
async fn what_a_registrar_that_dies_has_not_answered_another_is_asked_with_the_same_key() {
    let (first, second) = (Registrar::new(), Registrar::new());
    let pod = Pod::start(Arc::new(Two(first.clone(), second.clone())), 1).await;
    first.deaf.store(true, Ordering::SeqCst);
    let phone = udp_phone().await;
    let text = register("UDP", phone.local_addr().unwrap(), "moved", 1);
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    eventually("the first is asked", || first.registers() == 1).await;
    first.leave();
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(second.registers(), 1);
    let asked_first = first.keys.lock().clone();
    assert!(second.keys.lock().iter().any(|key| asked_first.contains(key)));
    pod.stop().await;
}

#[tokio::test]
async fn a_registrar_that_takes_questions_and_answers_none_is_left() {
    let (first, second) = (Registrar::new(), Registrar::new());
    let pod = Pod::start(Arc::new(Two(first.clone(), second.clone())), 1).await;
    first.deaf.store(true, Ordering::SeqCst);
    let phone = udp_phone().await;
    let text = register("UDP", phone.local_addr().unwrap(), "deaf", 1);
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    let answer = heard(&phone).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(second.registers(), 1);
    pod.stop().await;
}

#[tokio::test]
async fn without_any_registrar_a_register_gets_503_in_time() {
    let registrar = Registrar::new();
    let pod = Pod::start(Arc::new(registrar.clone()), 1).await;
    registrar.leave();
    let phone = udp_phone().await;
    let text = register("UDP", phone.local_addr().unwrap(), "alone", 1);
    let before = std::time::Instant::now();
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    let mut answer = heard(&phone).await;
    while answer.starts_with("SIP/2.0 1") {
        answer = heard(&phone).await;
    }
    assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("Retry-After: "), "{answer}");
    assert!(before.elapsed() < Duration::from_secs(5));
    pod.stop().await;
}
