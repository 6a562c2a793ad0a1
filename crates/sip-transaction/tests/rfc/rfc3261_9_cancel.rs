//! RFC 3261 §9: CANCEL from both sides.

use crate::lab::*;
use sip_transaction::{Cancelled, Output, Received, Request, Timers};

fn calling() -> Lab {
    Lab::client("INVITE", false)
}

impl Lab {
    fn cancel(&mut self) -> Cancelled {
        self.table.cancel(self.id, None, self.now)
    }
}

#[test]
fn s9_1_after_a_provisional_response_the_cancel_leaves_at_once() {
    let mut lab = calling();
    lab.receive(180);
    assert_eq!(lab.cancel(), Cancelled::Sent);
    assert_eq!(lab.drain(), ["CANCEL"]);
    assert_eq!(lab.cancel(), Cancelled::Sent);
    assert_eq!(lab.drain(), [""; 0], "only once");
}

#[test]
fn s9_1_before_it_the_cancel_waits() {
    let mut lab = calling();
    assert_eq!(lab.cancel(), Cancelled::Waiting);
    assert_eq!(lab.times("INVITE again", 600), [500], "the INVITE goes on");
    assert_eq!(lab.receive(100), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["CANCEL"]);
}

#[test]
fn s9_1_a_final_response_that_comes_first_drops_it() {
    for status in [200, 486] {
        let mut lab = calling();
        assert_eq!(lab.cancel(), Cancelled::Waiting);
        lab.receive(status);
        assert!(!lab.drain().contains(&"CANCEL".to_owned()));
        assert_eq!(lab.cancel(), Cancelled::TooLate);
    }
}

#[test]
fn s9_1_the_cancel_is_of_the_invite() {
    let mut lab = calling();
    lab.receive(180);
    lab.table.cancel(lab.id, Some("SIP;cause=200;text=\"Call completed elsewhere\""), lab.now);
    let Some(Output::Send { message, user, again, .. }) = lab.table.poll_output() else {
        panic!("no CANCEL")
    };
    assert_eq!((user, again), (7, false));
    let text = String::from_utf8(message.to_vec()).unwrap();
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], "CANCEL sip:bob@biloxi.example SIP/2.0");
    for line in [
        "Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch=z9hG4bK776asdhds",
        "Route: <sip:p1.example;lr>",
        "Route: <sip:p2.example;lr>",
        "From: Alice <sip:alice@atlanta.example>;tag=1928301774",
        "To: Bob <sip:bob@biloxi.example>",
        "Call-ID: a84b4c76e66710",
        "CSeq: 314159 CANCEL",
        "Reason: SIP;cause=200;text=\"Call completed elsewhere\"",
    ] {
        assert!(lines.contains(&line), "{line} in {text}");
    }
}

#[test]
fn s9_1_the_cancel_is_repeated_until_answered_and_nobody_hears_of_it() {
    let mut lab = calling();
    lab.receive(180);
    lab.cancel();
    lab.drain();
    assert_eq!(lab.times("CANCEL again", 2_000), [500, 1_500]);
    assert_eq!(lab.table.handle_response(&response("CANCEL", BRANCH, 200), lab.now), Received::Absorbed);
    assert_eq!(lab.drain(), [""; 0]);
    assert_eq!(lab.receive(487), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["ACK"]);
    assert_eq!(lab.until(60_000), [(34_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s9_1_without_a_final_response_the_invite_ends_64_t1_after_the_cancel() {
    let mut lab = calling();
    lab.receive(180);
    assert_eq!(lab.until(100_000), []);
    lab.cancel();
    lab.drain();
    let seen = lab.until(300_000);
    let rest: Vec<_> = seen.into_iter().filter(|(_, output)| output != "CANCEL again").collect();
    assert_eq!(rest, [(132_000, "failed Timeout".to_owned()), (132_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s9_1_a_2xx_may_cross_the_cancel() {
    let mut lab = calling();
    lab.receive(180);
    lab.cancel();
    lab.drain();
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.cancel(), Cancelled::TooLate);
}

#[test]
fn s9_1_a_cancel_that_cannot_be_sent_leaves_the_invite_to_its_end() {
    let mut lab = calling();
    lab.receive(180);
    lab.cancel();
    let Some(Output::Send { transaction, .. }) = lab.table.poll_output() else { panic!("no CANCEL") };
    lab.table.transport_error(transaction, lab.now);
    assert_eq!(lab.drain(), [""; 0]);
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
}

#[test]
fn s9_1_only_an_invite_of_ours_can_be_cancelled() {
    let mut options = Lab::client("OPTIONS", false);
    assert_eq!(options.cancel(), Cancelled::TooLate);
    let mut server = Lab::server("INVITE", false);
    assert_eq!(server.cancel(), Cancelled::TooLate);
    let mut gone = calling();
    gone.transport_error();
    assert_eq!(gone.cancel(), Cancelled::TooLate);
}

#[test]
fn s9_2_a_cancel_finds_the_invite_and_has_a_transaction_of_its_own() {
    let mut lab = Lab::server("INVITE", false);
    lab.respond(180);
    let cancel = request("CANCEL", BRANCH);
    assert_eq!(lab.table.handle_request(&cancel, lab.now), Request::Cancel { invite: Some(lab.id) });
    let own = lab.table.open_server(&cancel, 8, false, Timers::default(), lab.now).unwrap();
    assert_ne!(own, lab.id);
    let ok = response("CANCEL", BRANCH, 200).bytes().clone();
    assert_eq!(lab.table.respond(own, 200, ok, lab.now), Ok(()));
    assert_eq!(lab.respond(487), ["200", "487"]);
    assert_eq!(lab.table.handle_request(&cancel, lab.now), Request::Retransmission(own));
    assert_eq!(lab.drain(), ["200 again"]);
}

#[test]
fn s9_2_a_cancel_for_nothing_says_so() {
    let mut lab = Lab::empty();
    assert_eq!(
        lab.table.handle_request(&request("CANCEL", BRANCH), lab.now),
        Request::Cancel { invite: None }
    );
}

#[test]
fn s9_2_a_cancel_after_the_final_response_still_finds_the_transaction() {
    let mut lab = Lab::server("INVITE", false);
    lab.respond(200);
    let cancel = request("CANCEL", BRANCH);
    assert_eq!(lab.table.handle_request(&cancel, lab.now), Request::Cancel { invite: Some(lab.id) });
    assert_eq!(lab.respond(487), ["AlreadyFinal"]);
}

#[test]
fn s9_1_a_cancel_whose_way_is_lost_can_be_told_another_and_be_given_up_without_its_invite() {
    let mut lab = calling();
    lab.receive(180);
    lab.cancel();
    let Some(Output::Send { transaction: cancel, .. }) = lab.table.poll_output() else { panic!("no CANCEL") };
    assert!(lab.table.is_cancel(cancel) && !lab.table.is_cancel(lab.id));
    *lab.table.user_mut(cancel).unwrap() = 8;
    lab.table.send_again(cancel);
    let Some(Output::Send { user, again, .. }) = lab.table.poll_output() else { panic!("no CANCEL") };
    assert_eq!((user, again), (8, true));
    assert_eq!(lab.table.user(lab.id), Some(&7));
    lab.table.forget(cancel);
    assert_eq!(lab.drain(), [""; 0]);
    assert!(lab.table.user(cancel).is_none());
    assert_eq!(lab.receive(200), Received::ForUser(lab.id), "a 2xx that crossed it is heard");
}
