//! RFC 3261 §13.2.2.4: a repeated 2xx gets its ACK again.

use crate::lab::*;
use bytes::Bytes;
use sip_dialog::Acks;
use std::time::{Duration, Instant};

const KEEP: Duration = Duration::from_secs(32);

fn kept(now: Instant) -> Acks {
    let mut acks = Acks::default();
    acks.keep("tb", 314_159, Bytes::from_static(b"ACK 1"), KEEP, now);
    acks
}

#[test]
fn each_2xx_gets_the_ack_that_was_sent_for_it() {
    let now = Instant::now();
    let mut acks = kept(now);
    acks.keep("tc", 314_159, Bytes::from_static(b"ACK 2"), KEEP, now);
    acks.keep("tb", 314_160, Bytes::from_static(b"ACK 3"), KEEP, now);
    assert_eq!(acks.again(&message(OK)), Some(Bytes::from_static(b"ACK 1")));
    assert_eq!(acks.again(&changed(OK, "tag=tb", "tag=tc")), Some(Bytes::from_static(b"ACK 2")));
    assert_eq!(acks.again(&changed(OK, "314159", "314160")), Some(Bytes::from_static(b"ACK 3")));
    assert_eq!(acks.again(&changed(OK, "tag=tb", "tag=td")), None);
    assert_eq!(acks.again(&changed(OK, "314159", "314161")), None);
}

#[test]
fn they_are_forgotten_after_64_t1() {
    let now = Instant::now();
    let mut acks = kept(now);
    assert_eq!(acks.poll_timeout(), Some(now + KEEP));
    acks.handle_timeout(now + KEEP - Duration::from_millis(1));
    assert!(!acks.is_empty());
    acks.handle_timeout(now + KEEP);
    assert!(acks.is_empty());
    assert_eq!(acks.poll_timeout(), None);
    assert_eq!(acks.again(&message(OK)), None);
}

#[test]
fn an_ack_with_another_body_replaces_the_first() {
    let now = Instant::now();
    let mut acks = kept(now);
    acks.keep("tb", 314_159, Bytes::from_static(b"ACK again"), KEEP, now);
    assert_eq!(acks.again(&message(OK)), Some(Bytes::from_static(b"ACK again")));
}

#[test]
fn there_are_never_many() {
    let now = Instant::now();
    let mut acks = Acks::default();
    for cseq in 0..1_000 {
        acks.keep("tb", cseq, Bytes::from_static(b"ACK"), KEEP, now);
    }
    assert_eq!(acks.again(&changed(OK, "314159 INVITE", "1 INVITE")), None);
    assert!(acks.again(&changed(OK, "314159 INVITE", "999 INVITE")).is_some());
}
