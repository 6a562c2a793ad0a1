//! RFC 3261 §17.2.1 and §17.2.4, RFC 6026 §7.1: the side that answers an INVITE.

use crate::lab::*;
use sip_transaction::Request;

fn proceeding() -> Lab {
    Lab::server("INVITE", false)
}

#[test]
fn s17_2_1_a_100_is_due_after_200_ms_of_silence() {
    let mut lab = proceeding();
    assert_eq!(lab.until(60_000), [(200, "trying due".to_owned())]);
    assert_eq!(lab.respond(100), ["100"]);
}

#[test]
fn s17_2_1_no_100_is_due_when_the_user_was_faster() {
    for status in [100, 180, 200, 486] {
        let mut lab = proceeding();
        lab.respond(status);
        assert!(!lab.until(400).iter().any(|(_, output)| output == "trying due"), "{status}");
    }
}

#[test]
fn s17_2_1_a_repeated_invite_gets_the_last_provisional_response() {
    let mut lab = proceeding();
    assert_eq!(lab.again(), [""; 0], "nothing was answered yet");
    lab.respond(100);
    assert_eq!(lab.again(), ["100 again"]);
    lab.respond(180);
    assert_eq!(lab.again(), ["180 again"]);
}

#[test]
fn s17_2_1_proceeding_lasts_as_long_as_the_user_wants() {
    let mut lab = proceeding();
    lab.respond(180);
    assert_eq!(lab.until(600_000), []);
    assert_eq!(lab.table.len(), 1);
    assert_eq!(lab.respond(486), ["486"]);
}

#[test]
fn s17_2_1_timer_g_doubles_up_to_t2_and_timer_h_gives_up() {
    let mut lab = proceeding();
    assert_eq!(lab.respond(486), ["486"]);
    assert_eq!(
        lab.times("486 again", 31_999),
        [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    );
    assert_eq!(lab.until(60_000), [(32_000, "failed NoAck".to_owned()), (32_000, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn a_refusal_may_be_repeated_for_a_shorter_time_than_timer_h() {
    let mut lab = proceeding();
    lab.respond(403);
    lab.repeat_until(1_600);
    assert_eq!(lab.times("403 again", 1_599), [500, 1_500]);
    assert_eq!(lab.until(60_000), [(1_600, "failed NoAck".to_owned()), (1_600, "ended".to_owned())]);
    assert!(lab.is_quiet());
}

#[test]
fn s17_2_1_timer_g_does_not_run_over_a_reliable_transport_but_h_does() {
    let mut lab = Lab::server("INVITE", true);
    lab.respond(486);
    assert_eq!(lab.until(60_000), [(32_000, "failed NoAck".to_owned()), (32_000, "ended".to_owned())]);
}

#[test]
fn s17_2_1_busy_is_resent_with_doubling_gaps_until_the_ack() {
    let mut lab = proceeding();
    lab.respond(486);
    assert_eq!(lab.times("486 again", 7_400), [500, 1_500, 3_500]);
    assert_eq!(lab.ack(), Request::Acknowledged(lab.id));
    assert_eq!(lab.until(60_000), [(12_400, "ended".to_owned())], "timer I is T4");
    assert!(lab.is_quiet());
}

#[test]
fn s17_2_1_a_repeated_invite_in_completed_gets_the_final_response_again() {
    let mut lab = proceeding();
    lab.respond(486);
    assert_eq!(lab.again(), ["486 again"]);
}

#[test]
fn s17_2_1_confirmed_absorbs_further_acks_and_invites() {
    let mut lab = proceeding();
    lab.respond(486);
    lab.ack();
    assert_eq!(lab.ack(), Request::Acknowledged(lab.id));
    assert_eq!(lab.again(), [""; 0]);
    assert_eq!(lab.drain(), [""; 0]);
}

#[test]
fn s17_2_1_timer_i_is_zero_over_a_reliable_transport() {
    let mut lab = Lab::server("INVITE", true);
    lab.respond(486);
    assert_eq!(lab.ack(), Request::Acknowledged(lab.id));
    assert_eq!(lab.drain(), ["ended"]);
    assert_eq!(lab.ack(), Request::Ack, "of nothing any more");
}

#[test]
fn s17_2_1_a_second_final_response_is_refused() {
    let mut lab = proceeding();
    lab.respond(486);
    for status in [180, 200, 486] {
        assert_eq!(lab.respond(status), ["AlreadyFinal"]);
    }
    assert_eq!(lab.again(), ["486 again"]);
}

#[test]
fn rfc6026_7_1_accepted_absorbs_invites_and_lets_each_2xx_through() {
    let mut lab = proceeding();
    assert_eq!(lab.respond(200), ["200"]);
    assert_eq!(lab.again(), [""; 0], "only the user repeats a 2xx");
    assert_eq!(lab.until(10_000), []);
    assert_eq!(lab.respond(200), ["200"]);
    assert_eq!(lab.respond(180), ["AlreadyFinal"]);
    assert_eq!(lab.respond(486), ["AlreadyFinal"]);
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())], "timer L is 64*T1 from the first");
    assert_eq!(lab.respond(200), ["Gone"]);
    assert!(lab.is_quiet());
}

#[test]
fn rfc6026_7_1_timer_l_runs_over_reliable_transports_too() {
    let mut lab = Lab::server("INVITE", true);
    lab.respond(200);
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())]);
}

#[test]
fn rfc6026_7_1_an_ack_in_accepted_is_for_the_user() {
    let mut lab = proceeding();
    lab.respond(200);
    assert_eq!(lab.ack(), Request::Ack);
    assert_eq!(lab.until(60_000), [(32_000, "ended".to_owned())], "it does not end by it");
}

#[test]
fn an_ack_before_any_final_response_changes_nothing() {
    let mut lab = proceeding();
    lab.respond(180);
    assert_eq!(lab.ack(), Request::Acknowledged(lab.id));
    assert_eq!(lab.respond(486), ["486"]);
    assert_eq!(lab.times("486 again", 600), [500]);
}

#[test]
fn rfc6026_8_8_a_transport_error_is_told_and_the_state_stays() {
    let mut lab = proceeding();
    lab.respond(180);
    assert_eq!(lab.transport_error(), ["failed Transport"]);
    assert_eq!(lab.again(), ["180 again"], "the INVITE is not taken for a new one");
    lab.respond(486);
    assert_eq!(lab.transport_error(), ["failed Transport"]);
    assert_eq!(lab.times("486 again", 600), [500]);
    let mut accepted = proceeding();
    accepted.respond(200);
    assert_eq!(accepted.transport_error(), ["failed Transport"]);
    assert_eq!(accepted.again(), [""; 0]);
}
