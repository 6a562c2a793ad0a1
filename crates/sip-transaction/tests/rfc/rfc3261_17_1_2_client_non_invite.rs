//! RFC 3261 §17.1.2: the side that sends any other request.

use crate::lab::*;
use sip_transaction::{Received, Timers};
use std::time::Duration;

fn trying() -> Lab {
    Lab::client("REGISTER", false)
}

#[test]
fn s17_1_2_2_timer_e_doubles_up_to_t2_until_timer_f() {
    let mut lab = trying();
    assert_eq!(lab.opened, ["REGISTER"]);
    assert_eq!(
        lab.times("REGISTER again", 31_999),
        [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    );
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s17_1_2_2_no_timer_e_over_a_reliable_transport() {
    let mut lab = Lab::client("REGISTER", true);
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
}

#[test]
fn s17_1_2_2_in_proceeding_timer_e_is_t2() {
    let mut lab = trying();
    assert_eq!(lab.times("REGISTER again", 600), [500]);
    assert_eq!(lab.receive(100), Received::ForUser(lab.id));
    // The timer that runs fires when it was to fire; from then on it is T2.
    assert_eq!(lab.times("REGISTER again", 14_000), [1_500, 5_500, 9_500, 13_500]);
}

#[test]
fn s17_1_2_2_timer_f_runs_on_in_proceeding() {
    let mut lab = Lab::client("REGISTER", true);
    lab.receive(100);
    assert_eq!(lab.until(60_000), [(32_000, "failed Timeout".to_owned()), (32_000, "ended".to_owned())]);
}

#[test]
fn s17_1_2_2_a_final_response_goes_up_once_and_timer_k_absorbs_its_repetitions() {
    let mut lab = trying();
    assert_eq!(lab.until(100), []);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.receive(200), Received::Absorbed);
    assert_eq!(lab.receive(503), Received::Absorbed);
    assert_eq!(lab.drain(), [""; 0], "no ACK");
    assert_eq!(lab.until(60_000), [(5_100, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s17_1_2_2_any_final_response_ends_it_also_from_proceeding() {
    for status in [200, 302, 404, 500, 603] {
        let mut lab = trying();
        lab.receive(100);
        assert_eq!(lab.receive(status), Received::ForUser(lab.id));
        assert_eq!(lab.until(60_000), [(5_000, "ended".to_owned())]);
    }
}

#[test]
fn s17_1_2_2_timer_k_is_t4() {
    let timers = Timers { t4: Duration::from_secs(1), ..Timers::default() };
    let mut lab = Lab::client_with("OPTIONS", false, timers);
    lab.receive(200);
    assert_eq!(lab.until(60_000), [(1_000, "ended".to_owned())]);
}

#[test]
fn s17_1_2_2_timer_k_is_zero_over_a_reliable_transport() {
    let mut lab = Lab::client("BYE", true);
    assert_eq!(lab.receive(200), Received::ForUser(lab.id));
    assert_eq!(lab.drain(), ["ended"]);
    assert_eq!(lab.receive(200), Received::Stray);
}

#[test]
fn s17_1_4_a_transport_error_ends_it_at_once() {
    for provisional in [false, true] {
        let mut lab = trying();
        if provisional {
            lab.receive(100);
        }
        assert_eq!(lab.transport_error(), ["failed Transport", "ended"]);
        assert_eq!(lab.until(60_000), []);
        assert!(lab.is_quiet());
    }
}

#[test]
fn after_the_final_response_a_transport_error_does_not_matter() {
    let mut lab = trying();
    lab.receive(200);
    assert_eq!(lab.transport_error(), [""; 0]);
}
