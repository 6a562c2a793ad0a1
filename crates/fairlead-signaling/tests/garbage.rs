//! Ten thousand things that are no SIP do no harm, and each is counted by its reason.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

mod bench;

use std::sync::Arc;
use std::time::Duration;

use bench::{Pod, Registrar, eventually, heard, options, register, udp_phone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A generator whose numbers are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }

    /// Something made of a good message: cut, mutated, blown up, or no text at all.
    fn garbage(&mut self, good: &str) -> Vec<u8> {
        let mut bytes = good.as_bytes().to_vec();
        match self.roll(5) {
            0 => bytes.truncate(self.roll(bytes.len())),
            1 => {
                for _ in 0..=self.roll(20) {
                    let at = self.roll(bytes.len());
                    bytes[at] = self.roll(256) as u8;
                }
            }
            2 => {
                let line = format!("X-Long: {}\r\n", "x".repeat(self.roll(30_000)));
                let at = good.find("Via").unwrap();
                bytes.splice(at..at, line.into_bytes());
            }
            3 => bytes = (0..self.roll(2_000)).map(|_| self.roll(256) as u8).collect(),
            _ => {
                let at = self.roll(bytes.len());
                let again = bytes.clone();
                bytes.splice(at..at, again);
            }
        }
        bytes
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_by_reason_and_options_is_answered_all_the_while() {
    let pod = Pod::start(Arc::new(Registrar::new()), 2).await;
    let stranger = udp_phone().await;
    let good = register("UDP", stranger.local_addr().unwrap(), "garbage", 1);
    let mut dice = Dice(42);
    let phone = udp_phone().await;
    for round in 0..100 {
        for _ in 0..90 {
            let garbage = dice.garbage(&good);
            stranger.send_to(&garbage, pod.udp).await.unwrap();
        }
        let text = options("UDP", phone.local_addr().unwrap(), &format!("alive{round}"));
        phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
        let answer = heard(&phone).await;
        assert!(answer.starts_with("SIP/2.0 "), "{answer}");
        assert!(answer.contains(&format!("Call-ID: alive{round}\r\n")), "{answer}");
    }
    for number in 0..1_000 {
        let mut connection = TcpStream::connect(pod.tcp).await.unwrap();
        let garbage = dice.garbage(&good);
        let _ = connection.write_all(&garbage).await;
        if number % 50 == 0 {
            // One in fifty hears what the pod has to say; the others run away.
            let _ = connection.shutdown().await;
            let mut heard = Vec::new();
            let closed = connection.read_to_end(&mut heard);
            let _ = tokio::time::timeout(Duration::from_secs(5), closed).await.expect("closed in time");
        }
    }
    eventually("connections are given back", || pod.count("fairlead_sip_connections ", "") == 0.0).await;
    let counted = pod.count("fairlead_sip_malformed_total", "reason=");
    assert!(counted > 3_000.0, "{counted}");
    let text = pod.metrics.encode().unwrap();
    let reasons = text.lines().filter(|line| line.starts_with("fairlead_sip_malformed_total{")).count();
    assert!(reasons >= 5, "{text}");

    let text = register("UDP", phone.local_addr().unwrap(), "after", 1);
    phone.send_to(text.as_bytes(), pod.udp).await.unwrap();
    assert!(heard(&phone).await.starts_with("SIP/2.0 200 "));
    pod.stop().await;
}
