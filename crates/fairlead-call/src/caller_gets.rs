//! What the caller gets when a call does not come about: one table.
//!
//! The README of this crate prints [`TABLE`]; a test keeps the two the same.

use fairlead_model::ask::Refusal;

/// Why leg A's INVITE gets no 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The callee (or what it is behind) answered with this status, 300 to 699.
    Answered(u16),
    /// A contact rang for its ring time, and there was no other.
    RangOut,
    /// Nothing at all was heard from any contact.
    Silent,
    /// Every contact's flow is lost, or its transport failed.
    FlowLost,
    /// Timer C: an attempt was provisional for too long (RFC 3261 §16.6 step 11).
    TimerC,
    /// The next hop is an address of our own.
    Loop,
    /// The callee's call limit is reached.
    CallLimit,
    /// The relay cannot read or carry the caller's description.
    BadDescription,
    /// No relay has a port or can be reached.
    NoRelay,
    /// The callee's description cannot be carried.
    CalleeDescription,
    /// The registrar did not answer in the middle of a call set-up.
    NoRegistrar,
    /// The caller cancelled.
    Cancelled,
    /// The operator ended the call.
    Operator,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What happened.
    pub when: &'static str,
    /// What the caller gets; 0: the same status.
    pub status: u16,
    /// Its reason phrase; empty: that of the status.
    pub phrase: &'static str,
    /// Whether other contacts are tried first.
    pub hunts: bool,
}

const fn row(when: &'static str, status: u16, phrase: &'static str, hunts: bool) -> Row {
    Row { when, status, phrase, hunts }
}

const REDIRECTED: Row =
    row("the callee redirects (3xx), which is not followed", 480, "Redirection not followed", true);
const CHALLENGED: Row = row("the callee asks for credentials (401, 407)", 403, "Forbidden", true);
const UNAVAILABLE: Row = row("the callee's side answers 503", 500, "Server Internal Error", true);
const REQUEST_TERMINATED: Row =
    row("the callee answers 487 although nobody cancelled", 480, "Temporarily Unavailable", true);
const GONE_AWAY: Row =
    row("the callee answers 481 or 491 to a first INVITE", 480, "Temporarily Unavailable", true);
const OUR_FAULT: Row = row(
    "the callee objects to our leg's form (400, 405, 420, 421, 422, 423, 494)",
    500,
    "Server Internal Error",
    true,
);
const EVERYWHERE: Row = row("the callee declines everywhere (6xx)", 0, "", false);
const AS_IT_IS: Row =
    row("any other answer of the callee (404, 408, 480, 482, 483, 486, 488, 5xx …)", 0, "", true);
const RANG_OUT: Row = row("a contact rang for its ring time", 480, "No answer", true);
const SILENT: Row = row("no contact gave any response", 408, "Request Timeout", true);
const FLOW_LOST: Row =
    row("the flow of every contact is lost, or its transport failed", 480, "Flow lost", true);
const TIMER_C: Row = row("Timer C", 408, "Request Timeout", true);
const LOOP: Row = row("the next hop is our own address", 482, "Loop Detected", true);
const CALL_LIMIT: Row = row("the callee's call limit is reached", 480, "Call limit", true);
const BAD_DESCRIPTION: Row =
    row("the caller's description cannot be relayed", 488, "Not Acceptable Here", false);
const NO_RELAY: Row = row("no relay has a free port", 500, "No relay port", false);
const CALLEE_DESCRIPTION: Row =
    row("the callee's description cannot be relayed", 500, "Server Internal Error", true);
const NO_REGISTRAR: Row =
    row("the registrar falls silent while the call is set up", 500, "Server Internal Error", false);
const CANCELLED: Row = row("the caller cancels", 487, "Request Terminated", false);
const OPERATOR: Row =
    row("the operator ends the call, or a drain does", 480, "Temporarily Unavailable", false);

/// The table, in the order in which the README prints it.
pub const TABLE: &[Row] = &[
    REDIRECTED,
    CHALLENGED,
    UNAVAILABLE,
    OUR_FAULT,
    GONE_AWAY,
    REQUEST_TERMINATED,
    EVERYWHERE,
    AS_IT_IS,
    RANG_OUT,
    SILENT,
    FLOW_LOST,
    TIMER_C,
    LOOP,
    CALL_LIMIT,
    BAD_DESCRIPTION,
    CALLEE_DESCRIPTION,
    NO_RELAY,
    NO_REGISTRAR,
    CANCELLED,
    OPERATOR,
];

impl Cause {
    /// Its row.
    pub const fn row(self) -> &'static Row {
        match self {
            Cause::Answered(300..=399) => &REDIRECTED,
            Cause::Answered(401 | 407) => &CHALLENGED,
            Cause::Answered(503) => &UNAVAILABLE,
            Cause::Answered(400 | 405 | 420 | 421 | 422 | 423 | 494) => &OUR_FAULT,
            Cause::Answered(481 | 491) => &GONE_AWAY,
            Cause::Answered(487) => &REQUEST_TERMINATED,
            Cause::Answered(600..) => &EVERYWHERE,
            Cause::Answered(_) => &AS_IT_IS,
            Cause::RangOut => &RANG_OUT,
            Cause::Silent => &SILENT,
            Cause::FlowLost => &FLOW_LOST,
            Cause::TimerC => &TIMER_C,
            Cause::Loop => &LOOP,
            Cause::CallLimit => &CALL_LIMIT,
            Cause::BadDescription => &BAD_DESCRIPTION,
            Cause::NoRelay => &NO_RELAY,
            Cause::CalleeDescription => &CALLEE_DESCRIPTION,
            Cause::NoRegistrar => &NO_REGISTRAR,
            Cause::Cancelled => &CANCELLED,
            Cause::Operator => &OPERATOR,
        }
    }

    /// Whether another contact is tried before the caller hears of it.
    pub const fn hunts(self) -> bool {
        self.row().hunts
    }

    /// What the caller gets.
    pub fn refusal(self) -> Refusal {
        let row = self.row();
        let status = match (row.status, self) {
            (0, Cause::Answered(status)) => status,
            (0, _) => 500,
            (status, _) => status,
        };
        let phrase = if row.phrase.is_empty() { sip_wire::default_reason(status) } else { row.phrase };
        Refusal::new(status, phrase)
    }

    /// Which of several failures the caller hears: the highest wins, the first of equals
    /// (in the spirit of RFC 3261 §16.7 step 6: what a person decided says more than what a network lost).
    pub const fn weight(self) -> u8 {
        match self {
            Cause::Cancelled | Cause::Operator => 10,
            Cause::Answered(600..) => 9,
            Cause::Answered(486) => 8,
            Cause::CallLimit => 7,
            Cause::RangOut => 6,
            Cause::Answered(482 | 483) | Cause::Loop => 5,
            Cause::Answered(400..=499) => 4,
            Cause::Answered(_) => 3,
            Cause::TimerC | Cause::Silent => 2,
            Cause::CalleeDescription | Cause::BadDescription | Cause::NoRelay | Cause::NoRegistrar => 2,
            Cause::FlowLost => 1,
        }
    }
}

/// What whoever sent a re-INVITE, INFO or MESSAGE gets for the other leg's final status.
///
/// Once a call is up the two sides talk to each other: their answers pass, but for what is this edge's business
/// with the other leg alone.
pub const fn in_dialog(status: u16) -> u16 {
    match status {
        300..=399 | 401 | 407 => 403,
        503 => 500,
        status => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_the_callee_never_pass() {
        assert_eq!(Cause::Answered(401).refusal().status, 403);
        assert_eq!(Cause::Answered(407).refusal().status, 403);
        assert_eq!(in_dialog(407), 403);
    }

    #[test]
    fn rfc3261_16_7_a_503_becomes_500_without_retry_after() {
        let refusal = Cause::Answered(503).refusal();
        assert_eq!((refusal.status, refusal.retry_after), (500, None));
    }

    #[test]
    fn six_hundred_ends_hunting_and_passes() {
        assert!(!Cause::Answered(603).hunts());
        assert_eq!(Cause::Answered(603).refusal().status, 603);
        assert!(Cause::Answered(486).hunts());
    }

    #[test]
    fn busy_says_more_than_a_lost_flow() {
        assert!(Cause::Answered(486).weight() > Cause::FlowLost.weight());
        assert!(Cause::Answered(486).weight() > Cause::Answered(404).weight());
    }

    #[test]
    fn every_cause_has_a_final_status() {
        for status in 300..700 {
            let got = Cause::Answered(status).refusal().status;
            assert!((400..700).contains(&got), "{status} gave {got}");
        }
    }

    #[test]
    fn the_readme_prints_the_table() {
        let readme = include_str!("../README.md");
        for row in TABLE {
            let status = if row.status == 0 { "the same".to_owned() } else { row.status.to_string() };
            let hunts = if row.hunts { "yes" } else { "no" };
            let line = format!("| {} | {status} | {} | {hunts} |", row.when, row.phrase);
            assert!(readme.contains(&line), "the README lacks: {line}");
        }
    }
}
