//! What the four machines have in common.

use std::time::{Duration, Instant};

/// What a machine wants done after one input. The message to be sent is known by its kind; the caller keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Send this again (or for the first time: ACK).
    pub send: Option<Send>,
    /// Tell the transaction user.
    pub tell: Option<Tell>,
}

impl Step {
    /// Nothing to do.
    pub const NONE: Step = Step { send: None, tell: None };

    pub(crate) const fn send(what: Send) -> Step {
        Step { send: Some(what), tell: None }
    }

    pub(crate) const fn tell(what: Tell) -> Step {
        Step { send: None, tell: Some(what) }
    }
}

/// A message of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// The request.
    Request,
    /// The ACK for a non-2xx final response.
    Ack,
    /// The last response that the user gave.
    Response,
}

/// Something for the transaction user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The response that was just handled is for the user.
    Response,
    /// No response came in time (timers B, F).
    Timeout,
    /// A message could not be sent.
    Transport,
    /// The final response was never acknowledged (timer H).
    NoAck,
    /// Nobody has answered yet and it is time to send a 100 (§17.2.1, RFC 4320 §4.1).
    TryingDue,
}

/// A retransmission that repeats until it is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub at: Instant,
    pub interval: Duration,
}

impl Repeat {
    /// The first repetition comes after `interval`; none over a reliable transport.
    pub fn start(now: Instant, interval: Duration, reliable: bool) -> Option<Repeat> {
        (!reliable).then(|| Repeat { at: now + interval, interval })
    }

    /// The next repetition comes after `interval`.
    pub fn again(&mut self, now: Instant, interval: Duration) {
        *self = Repeat { at: now + interval, interval };
    }
}

/// The earlier of two deadlines.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether `deadline` has come.
pub(crate) fn due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}
