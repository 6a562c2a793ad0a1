//! RFC 3261 §17.1.3 and §17.2.3: which transaction a message belongs to.

use crate::lab::*;
use sip_transaction::{NotOpened, Received, Request, Timers};
use sip_wire::Message;

fn changed(text: &str, from: &str, to: &str) -> Message {
    assert!(text.contains(from), "{from} in {text}");
    message(&text.replace(from, to))
}

fn invite() -> String {
    request_text("INVITE", BRANCH, 314159)
}

#[test]
fn s17_1_3_a_response_matches_by_branch_and_cseq_method() {
    let mut lab = Lab::client("OPTIONS", false);
    let ok = response_text("OPTIONS", BRANCH, 200);
    let mut receive = |message: &Message| lab.table.handle_response(message, lab.start);
    assert_eq!(receive(&changed(&ok, BRANCH, "z9hG4bKother")), Received::Stray);
    assert_eq!(receive(&changed(&ok, "314159 OPTIONS", "314159 INFO")), Received::Stray);
    assert_eq!(receive(&changed(&ok, ";branch=z9hG4bK776asdhds", "")), Received::Stray);
    assert_eq!(receive(&message(&ok)), Received::ForUser(lab.id));
}

#[test]
fn s17_1_3_the_response_to_a_cancel_is_not_one_to_its_invite() {
    let mut lab = Lab::client("INVITE", false);
    assert_eq!(lab.table.handle_response(&response("CANCEL", BRANCH, 200), lab.now), Received::Stray);
}

#[test]
fn a_request_is_no_response() {
    let mut lab = Lab::client("OPTIONS", false);
    assert_eq!(lab.table.handle_response(&request("OPTIONS", BRANCH), lab.now), Received::Stray);
}

#[test]
fn s17_2_3_a_request_matches_by_branch_sent_by_and_method() {
    let mut lab = Lab::server("INVITE", false);
    let mut handle = |message: &Message| lab.table.handle_request(message, lab.start);
    assert_eq!(handle(&message(&invite())), Request::Retransmission(lab.id));
    assert_eq!(handle(&changed(&invite(), BRANCH, "z9hG4bKother")), Request::New);
    assert_eq!(
        handle(&changed(&invite(), "pc33.atlanta.example:5060", "pc34.atlanta.example:5060")),
        Request::New
    );
    assert_eq!(handle(&changed(&invite(), "example:5060", "example:5062")), Request::New);
    assert_eq!(handle(&changed(&invite(), "INVITE", "MESSAGE")), Request::New);
    // Everything else may differ.
    assert_eq!(handle(&changed(&invite(), "a84b4c76e66710", "another")), Request::Retransmission(lab.id));
    assert_eq!(handle(&changed(&invite(), "pc33.atlanta", "PC33.Atlanta")), Request::Retransmission(lab.id));
}

#[test]
fn s17_2_3_an_ack_matches_its_invite() {
    let mut lab = Lab::server("INVITE", false);
    lab.respond(486);
    let ack = request_text("ACK", BRANCH, 314159);
    assert_eq!(lab.table.handle_request(&changed(&ack, BRANCH, "z9hG4bKnew"), lab.now), Request::Ack);
    assert_eq!(lab.ack(), Request::Acknowledged(lab.id));
}

#[test]
fn an_ack_for_a_2xx_has_a_branch_of_its_own_and_is_for_the_user() {
    let mut lab = Lab::server("INVITE", false);
    lab.respond(200);
    assert_eq!(lab.table.handle_request(&request("ACK", "z9hG4bKack"), lab.now), Request::Ack);
}

#[test]
fn an_ack_of_nothing_is_for_the_user_to_drop() {
    assert_eq!(Lab::empty().ack(), Request::Ack);
}

/// The way of RFC 2543, for branches without the magic cookie.
fn old(method: &str, branch: &str) -> String {
    request_text(method, branch, 314159)
}

fn old_lab(branch: &str) -> Lab {
    let mut lab = Lab::empty();
    let invite = message(&old("INVITE", branch));
    assert_eq!(lab.table.handle_request(&invite, lab.now), Request::New);
    lab.method = "INVITE";
    lab.id = lab.table.open_server(&invite, 7, false, Timers::default(), lab.now).expect("there is room");
    lab
}

#[test]
fn s17_2_3_without_the_cookie_the_whole_request_is_compared() {
    for branch in ["1", "z9hG4bK", "Z9HG4BK1"] {
        let mut lab = old_lab(branch);
        let text = old("INVITE", branch);
        let mut handle = |message: &Message| lab.table.handle_request(message, lab.start);
        assert_eq!(handle(&message(&text)), Request::Retransmission(lab.id));
        for (from, to) in [
            ("INVITE sip:bob@", "INVITE sip:eve@"),
            ("tag=1928301774", "tag=other"),
            ("a84b4c76e66710", "another"),
            ("314159", "314160"),
            ("pc33", "pc34"),
            (&*format!("branch={branch}"), "branch=2"),
        ] {
            assert_eq!(handle(&changed(&text, from, to)), Request::New, "{from} {to}");
        }
    }
}

#[test]
fn s17_2_3_two_calls_that_use_the_same_old_branch_are_two() {
    let mut lab = old_lab("1");
    let other = changed(&old("INVITE", "1"), "a84b4c76e66710", "another");
    assert_eq!(lab.table.handle_request(&other, lab.now), Request::New);
    assert!(lab.table.open_server(&other, 8, false, Timers::default(), lab.now).is_ok());
    assert_eq!(lab.table.len(), 2);
}

#[test]
fn s17_2_3_an_old_ack_and_cancel_find_their_invite() {
    let mut lab = old_lab("1");
    // The CANCEL has the INVITE's To, the ACK that of the response.
    assert_eq!(
        lab.table.handle_request(&message(&old("CANCEL", "1")), lab.now),
        Request::Cancel { invite: Some(lab.id) }
    );
    lab.respond(486);
    let ack = changed(&old("ACK", "1"), "To: Bob <sip:bob@biloxi.example>", "To: <sip:bob@b.example>;tag=x");
    assert_eq!(lab.table.handle_request(&ack, lab.now), Request::Acknowledged(lab.id));
}

#[test]
fn s17_2_3_no_branch_at_all_is_the_old_way_too() {
    let text = invite().replace(&format!(";branch={BRANCH}"), "");
    let mut lab = Lab::empty();
    assert_eq!(lab.table.handle_request(&message(&text), lab.now), Request::New);
    let id = lab.table.open_server(&message(&text), 7, false, Timers::default(), lab.now).unwrap();
    assert_eq!(lab.table.handle_request(&message(&text), lab.now), Request::Retransmission(id));
}

#[test]
fn a_client_request_needs_a_branch_that_is_new() {
    let mut lab = Lab::client("INVITE", false);
    let mut open = |text: String| {
        lab.table.open_client(message(&text), 8, false, Timers::default(), lab.start).map(|_| ())
    };
    assert_eq!(open(invite()), Err(NotOpened::Exists));
    assert_eq!(open(invite().replace(&format!(";branch={BRANCH}"), "")), Err(NotOpened::Unmatchable));
    assert_eq!(open(invite().replace(BRANCH, "z9hG4bKnew")), Ok(()));
}

#[test]
fn our_own_request_that_comes_back_is_not_its_own_answer() {
    // Client and server transactions are apart: a call of ours to ourselves (a loop, a hairpin) has both.
    let mut lab = Lab::client("INVITE", false);
    assert_eq!(lab.table.handle_request(&message(&invite()), lab.now), Request::New);
    assert!(lab.table.open_server(&message(&invite()), 8, false, Timers::default(), lab.now).is_ok());
    assert_eq!(lab.receive(180), Received::ForUser(lab.id));
}

#[test]
fn parts_of_keys_do_not_run_together() {
    // (branch "x", method "yINVITE") is not (branch "xy", method "INVITE").
    let mut lab = Lab::empty();
    let open = |lab: &mut Lab, branch: &str, method: &str| {
        let message = message(&request_text(method, branch, 1));
        lab.table.open_client(message, 1, false, Timers::default(), lab.now).map(|_| ())
    };
    assert_eq!(open(&mut lab, "z9hG4bKx", "YINFO"), Ok(()));
    assert_eq!(open(&mut lab, "z9hG4bKxY", "INFO"), Ok(()));
}
