//! The table itself: limits, names, what is left over.

use crate::lab::*;
use sip_transaction::{Limits, NotOpened, NotSent, Output, Received, Timers, TransactionId, Transactions};
use std::time::Instant;

fn small() -> Transactions<u32> {
    Transactions::new(Limits { transactions: 2, reserve: 1 }, (3, 4))
}

fn open(table: &mut Transactions<u32>, method: &str, number: u32) -> Result<TransactionId, NotOpened> {
    let message = request(method, &format!("z9hG4bK{number}"));
    table.open_server(&message, number, false, Timers::default(), Instant::now())
}

#[test]
fn a_full_table_refuses_all_but_cancel_and_bye() {
    let mut table = small();
    assert!(open(&mut table, "INVITE", 1).is_ok());
    assert!(!table.is_full());
    assert!(open(&mut table, "OPTIONS", 2).is_ok());
    assert!(table.is_full());
    assert_eq!(open(&mut table, "INVITE", 3), Err(NotOpened::Full));
    assert!(open(&mut table, "BYE", 4).is_ok());
    assert_eq!(open(&mut table, "CANCEL", 5), Err(NotOpened::Full), "the reserve has an end too");
    assert_eq!(table.len(), 3);
}

#[test]
fn what_was_refused_leaves_nothing_behind() {
    let mut table = small();
    let first = open(&mut table, "INVITE", 1).unwrap();
    open(&mut table, "INVITE", 2).unwrap();
    assert_eq!(open(&mut table, "INVITE", 3), Err(NotOpened::Full));
    let now = Instant::now();
    table.respond(first, 486, response("INVITE", "z9hG4bK1", 486).bytes().clone(), now).unwrap();
    table.handle_request(&request("ACK", "z9hG4bK1"), now);
    table.handle_timeout(now + ms(5_000));
    assert_eq!(open(&mut table, "INVITE", 3).map(|_| ()), Ok(()));
}

#[test]
fn the_name_of_a_transaction_that_is_gone_never_means_another() {
    let mut table = small();
    let now = Instant::now();
    let old = open(&mut table, "OPTIONS", 1).unwrap();
    table.handle_timeout(now + ms(40_000));
    table.handle_timeout(now + ms(40_000));
    assert!(table.is_empty());
    while table.poll_output().is_some() {}
    let new = open(&mut table, "OPTIONS", 2).unwrap();
    assert_ne!(old, new);
    assert_eq!(table.user(old), None);
    assert_eq!(table.user(new), Some(&2));
    let bytes = response("OPTIONS", "z9hG4bK1", 200).bytes().clone();
    assert_eq!(table.respond(old, 200, bytes, now), Err(NotSent::Gone));
    table.transport_error(old, now);
    assert!(
        !std::iter::from_fn(|| table.poll_output()).any(|output| matches!(output, Output::Failed { .. }))
    );
}

#[test]
fn what_the_user_gave_comes_back_with_every_output_and_can_be_changed() {
    let mut lab = Lab::client("INVITE", false);
    *lab.table.user_mut(lab.id).unwrap() = 9;
    let now = lab.now + ms(500);
    lab.table.handle_timeout(now);
    assert!(matches!(lab.table.poll_output(), Some(Output::Send { user: 9, again: true, .. })));
    lab.table.transport_error(lab.id, now);
    assert!(matches!(lab.table.poll_output(), Some(Output::Failed { user: 9, .. })));
    assert!(matches!(lab.table.poll_output(), Some(Output::Ended { user: 9, .. })));
    assert_eq!(lab.table.poll_output(), None);
}

#[test]
fn what_was_sent_last_is_sent_again_by_another_way_as_long_as_there_is_a_transaction() {
    let mut lab = Lab::client("INVITE", false);
    *lab.table.user_mut(lab.id).unwrap() = 9;
    lab.table.send_again(lab.id);
    assert!(matches!(lab.table.poll_output(), Some(Output::Send { user: 9, again: true, .. })));
    lab.table.forget(lab.id);
    lab.table.send_again(lab.id);
    assert!(matches!(lab.table.poll_output(), Some(Output::Ended { .. })));
    assert_eq!(lab.table.poll_output(), None);
}

#[test]
fn a_late_wake_up_does_not_send_a_burst() {
    let mut lab = Lab::client("INVITE", false);
    lab.now += ms(20_000);
    lab.table.handle_timeout(lab.now);
    assert_eq!(lab.drain(), ["INVITE again"]);
    assert!(lab.table.poll_timeout().unwrap() > lab.now);
}

#[test]
fn an_early_wake_up_does_nothing() {
    let mut lab = Lab::client("INVITE", false);
    lab.table.handle_timeout(lab.now + ms(499));
    assert_eq!(lab.drain(), [""; 0]);
}

#[test]
fn a_response_to_a_server_transaction_of_the_wrong_kind_is_refused() {
    let mut lab = Lab::client("OPTIONS", false);
    assert_eq!(lab.respond(200), ["Gone"]);
}

/// Timers of transactions that end early (reliable transports) must not pile up.
#[test]
fn a_hundred_thousand_short_transactions_leave_nothing_scheduled_for_long() {
    let mut table: Transactions<u32> = Transactions::new(Limits::default(), (3, 4));
    let now = Instant::now();
    let text = request_text("OPTIONS", "z9hG4bK#", 1);
    let ok = response("OPTIONS", "z9hG4bK0", 200).bytes().clone();
    for number in 0..100_000 {
        let message = message(&text.replace('#', &number.to_string()));
        let id = table.open_server(&message, number, true, Timers::default(), now).unwrap();
        table.respond(id, 200, ok.clone(), now).unwrap();
        while table.poll_output().is_some() {}
    }
    assert!(table.is_empty());
    assert!(table.scheduled() < 2_000, "{}", table.scheduled());
    table.handle_timeout(now + ms(10_000));
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn a_response_can_end_a_transaction_only_once() {
    let mut lab = Lab::client("BYE", true);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["ended"]);
    assert_eq!(lab.receive(200), Received::Stray);
    assert_eq!(lab.drain(), [""; 0]);
}

/// Over a reliable transport a final response ends the transaction at once; its user must still be known to whoever
/// deals with that response.
#[test]
fn the_user_is_known_until_the_end_was_drained() {
    let mut lab = Lab::client("REGISTER", true);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.table.user(lab.id), Some(&7));
    assert_eq!(lab.drain(), ["ended"]);
    assert_eq!(lab.table.user(lab.id), None);
    let mut lab = Lab::client("INVITE", true);
    lab.receive(486);
    assert_eq!(lab.table.user(lab.id), Some(&7));
    assert_eq!(lab.transport_error(), ["ACK", "ended"], "the error comes too late");
    assert!(lab.table.is_empty());
}

#[test]
fn the_key_of_a_transaction_that_is_over_is_free_at_once() {
    let mut lab = Lab::client("OPTIONS", true);
    lab.receive(200);
    let again = lab.table.open_client(request("OPTIONS", BRANCH), 8, true, Timers::default(), lab.now);
    assert!(again.is_ok());
    assert_eq!(lab.drain(), ["ended", "OPTIONS"]);
    assert_eq!(lab.table.len(), 1);
}

#[test]
fn a_t1_of_zero_ends_at_once_and_spins_nowhere() {
    let timers = Timers { t2: ms(0), ..Timers::with_t1(ms(0)) };
    for method in ["INVITE", "OPTIONS"] {
        let mut lab = Lab::client_with(method, false, timers);
        assert_eq!(lab.until(10).last().map(|(_, output)| output.clone()), Some("ended".to_owned()));
        assert!(lab.is_quiet());
    }
}
