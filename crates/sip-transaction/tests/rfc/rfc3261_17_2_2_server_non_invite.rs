//! RFC 3261 §17.2.2 and §17.2.4, RFC 4320: the side that answers any other request.

use crate::lab::*;

fn trying() -> Lab {
    Lab::server("REGISTER", false)
}

#[test]
fn s17_2_2_repetitions_before_any_response_are_discarded() {
    let mut lab = trying();
    assert_eq!(lab.again(), [""; 0]);
    assert_eq!(lab.again(), [""; 0]);
}

#[test]
fn s17_2_2_the_final_response_is_repeated_on_request_until_timer_j() {
    let mut lab = trying();
    assert_eq!(lab.until(1_000), []);
    assert_eq!(lab.respond(200), ["200"]);
    assert_eq!(lab.again(), ["200 again"]);
    assert_eq!(lab.until(32_999), [], "never by itself");
    assert_eq!(lab.again(), ["200 again"]);
    assert_eq!(lab.until(60_000), [(33_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s17_2_2_timer_j_is_zero_over_a_reliable_transport() {
    let mut lab = Lab::server("REGISTER", true);
    assert_eq!(lab.respond(200), ["200", "ended"]);
    assert!(lab.table.is_empty());
    assert_eq!(lab.until(60_000), []);
    assert!(lab.is_quiet());
}

#[test]
fn s17_2_2_a_second_final_response_is_refused() {
    let mut lab = trying();
    lab.respond(404);
    assert_eq!(lab.respond(200), ["AlreadyFinal"]);
    assert_eq!(lab.again(), ["404 again"]);
}

#[test]
fn rfc4320_4_1_only_100_and_over_udp_only_when_timer_e_is_at_t2() {
    let mut lab = trying();
    for status in [100, 180, 183] {
        assert_eq!(lab.respond(status), ["Forbidden"]);
    }
    assert_eq!(lab.until(3_500), [(3_500, "trying due".to_owned())]);
    assert_eq!(lab.respond(180), ["Forbidden"]);
    assert_eq!(lab.respond(100), ["100"]);
    assert_eq!(lab.again(), ["100 again"]);
    assert_eq!(lab.respond(200), ["200"]);
    assert_eq!(lab.again(), ["200 again"]);
}

#[test]
fn rfc4320_4_1_over_a_reliable_transport_100_is_allowed_at_any_time_and_due_at_the_same() {
    let mut lab = Lab::server("OPTIONS", true);
    assert_eq!(lab.respond(100), ["100"]);
    let mut silent = Lab::server("OPTIONS", true);
    assert_eq!(silent.until(4_000), [(3_500, "trying due".to_owned())]);
}

#[test]
fn rfc4320_4_1_no_100_is_due_after_a_final_response() {
    let mut lab = trying();
    lab.respond(200);
    assert_eq!(lab.until(10_000), []);
}

#[test]
fn rfc4320_4_2_no_408_and_no_answer_once_nobody_waits_for_it() {
    let mut lab = trying();
    assert_eq!(lab.respond(408), ["Forbidden"]);
    assert_eq!(lab.until(60_000), [(3_500, "trying due".to_owned()), (32_000, "ended".to_owned())]);
    assert_eq!(lab.respond(200), ["Gone"]);
    assert!(lab.is_quiet());
}

#[test]
fn rfc6026_8_8_a_transport_error_is_told_and_the_state_stays() {
    let mut lab = trying();
    lab.respond(200);
    assert_eq!(lab.transport_error(), ["failed Transport"]);
    assert_eq!(lab.again(), ["200 again"]);
}
