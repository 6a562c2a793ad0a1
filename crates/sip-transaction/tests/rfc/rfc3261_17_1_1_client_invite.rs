//! RFC 3261 §17.1.1 and §17.1.4, RFC 6026 §7.2: the side that sends an INVITE.

use crate::lab::*;
use sip_transaction::{Received, Timers};
use std::time::Duration;

fn calling() -> Lab {
    Lab::client("INVITE", false)
}

#[test]
fn s17_1_1_2_the_invite_leaves_at_once() {
    assert_eq!(calling().opened, ["INVITE"]);
}

#[test]
fn s17_1_1_2_timer_a_doubles_without_limit_until_timer_b() {
    let mut lab = calling();
    assert_eq!(lab.times("INVITE again", 31_999), [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s17_1_1_2_no_timer_a_over_a_reliable_transport() {
    let mut lab = Lab::client("INVITE", true);
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn timers_are_those_of_the_transaction() {
    let timers =
        Timers { timer_b: Some(Duration::from_secs(2)), ..Timers::with_t1(Duration::from_millis(100)) };
    let mut lab = Lab::client_with("INVITE", false, timers);
    assert_eq!(lab.times("INVITE again", 1_999), [100, 300, 700, 1_500]);
    assert_eq!(lab.until(2_000).len(), 2);
    assert!(lab.is_quiet());
}

#[test]
fn s17_1_1_2_a_provisional_response_ends_retransmission_and_timer_b() {
    let mut lab = calling();
    assert_eq!(lab.times("INVITE again", 600), [500]);
    assert_eq!(lab.receive(180), Received::ForUser(lab.id));
    assert_eq!(lab.until(3_600_000), [], "how long it may ring is the user's business (timer C)");
    assert_eq!(lab.receive(183), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), [""; 0]);
    assert_eq!(lab.table.len(), 1);
}

#[test]
fn s17_1_1_2_a_failure_is_acknowledged_and_passed_up_once() {
    let mut lab = calling();
    assert_eq!(lab.receive(486), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["ACK"]);
    assert_eq!(lab.until(100), []);
    assert_eq!(lab.receive(486), Received::Absorbed);
    assert_eq!(lab.drain(), ["ACK again"]);
    assert_eq!(lab.receive(180), Received::Absorbed, "a late provisional response");
    assert_eq!(lab.drain(), [""; 0]);
}

#[test]
fn s17_1_1_2_timer_d_is_32_s_over_udp() {
    let mut lab = calling();
    lab.receive(302);
    lab.drain();
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
    assert_eq!(lab.receive(302), Received::Stray);
}

#[test]
fn s17_1_1_2_timer_d_does_not_shrink_with_t1() {
    let mut lab = Lab::client_with("INVITE", false, Timers::with_t1(Duration::from_millis(100)));
    lab.receive(302);
    lab.drain();
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())]);
}

#[test]
fn s17_1_1_2_timer_d_is_zero_over_a_reliable_transport() {
    let mut lab = Lab::client("INVITE", true);
    assert_eq!(lab.receive(404), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["ACK", "ended"]);
    assert!(lab.table.is_empty());
}

#[test]
fn s17_1_1_3_the_ack_is_of_the_invite_with_the_to_of_the_response() {
    let mut lab = calling();
    lab.receive(603);
    let Some(sip_transaction::Output::Send { message, .. }) = lab.table.poll_output() else {
        panic!("no ACK");
    };
    let text = String::from_utf8(message.to_vec()).unwrap();
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], "ACK sip:bob@biloxi.example SIP/2.0");
    for line in [
        "Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch=z9hG4bK776asdhds",
        "Route: <sip:p1.example;lr>",
        "Route: <sip:p2.example;lr>",
        "From: Alice <sip:alice@atlanta.example>;tag=1928301774",
        "To: Bob <sip:bob@biloxi.example>;tag=a6c85cf",
        "Call-ID: a84b4c76e66710",
        "CSeq: 314159 ACK",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ] {
        assert!(lines.contains(&line), "{line} in {text}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("Via:")).count(), 1);
}

#[test]
fn s17_1_1_3_of_several_vias_the_ack_has_the_topmost() {
    let mut lab = Lab::empty();
    let invite = request_text("INVITE", BRANCH, 314159)
        .replace("Max-Forwards", "Via: SIP/2.0/UDP below.example;branch=z9hG4bKbelow\nMax-Forwards");
    lab.id = lab.table.open_client(message(&invite), 7, false, Timers::default(), lab.now).unwrap();
    lab.drain();
    lab.method = "INVITE";
    lab.receive(500);
    let Some(sip_transaction::Output::Send { message, .. }) = lab.table.poll_output() else {
        panic!("no ACK");
    };
    let text = String::from_utf8(message.to_vec()).unwrap();
    assert!(text.contains(BRANCH) && !text.contains("below"), "{text}");
}

#[test]
fn rfc6026_7_2_every_2xx_goes_up_until_timer_m() {
    let mut lab = calling();
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), [""; 0], "the ACK for a 2xx is the user's");
    assert_eq!(lab.until(20_000), []);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.receive(180), Received::Absorbed);
    assert_eq!(lab.receive(486), Received::Absorbed);
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())]);
    assert_eq!(lab.receive(200), Received::Stray);
    assert!(lab.is_quiet());
}

#[test]
fn rfc6026_7_2_timer_m_runs_over_reliable_transports_too() {
    let mut lab = Lab::client("INVITE", true);
    lab.receive(200);
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())]);
}

#[test]
fn a_2xx_after_a_failure_is_a_stray_for_the_dialogs_to_end() {
    let mut lab = calling();
    lab.receive(486);
    lab.drain();
    assert_eq!(lab.receive(200), Received::Stray);
    assert_eq!(lab.drain(), [""; 0]);
}

#[test]
fn s17_1_4_a_transport_error_ends_it_at_once() {
    let mut lab = calling();
    assert_eq!(lab.transport_error(), ["failed Transport", "ended"]);
    assert!(lab.table.is_empty());
    assert_eq!(lab.until(60_000), []);
    assert!(lab.is_quiet());
}

#[test]
fn s17_1_4_also_after_a_provisional_response() {
    let mut lab = calling();
    lab.receive(180);
    assert_eq!(lab.transport_error(), ["failed Transport", "ended"]);
}

#[test]
fn s17_1_1_2_an_ack_that_cannot_be_sent_is_a_transport_error() {
    let mut lab = calling();
    lab.receive(486);
    lab.drain();
    assert_eq!(lab.transport_error(), ["failed Transport", "ended"]);
}

#[test]
fn rfc6026_7_2_accepted_does_not_end_by_a_transport_error() {
    let mut lab = calling();
    lab.receive(200);
    assert_eq!(lab.transport_error(), [""; 0]);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
}

#[test]
fn an_error_reported_after_the_end_is_of_no_interest() {
    let mut lab = calling();
    lab.transport_error();
    assert_eq!(lab.transport_error(), [""; 0]);
}
