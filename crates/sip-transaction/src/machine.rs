//! What the four machines have in common.

use std::time::{Duration, Instant};

use crate::{ClientInvite, ClientNonInvite, ServerInvite, ServerNonInvite};

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
    /// An interval of zero would repeat for ever within one moment.
    const SHORTEST: Duration = Duration::from_millis(1);

    /// The first repetition comes after `interval`; none over a reliable transport.
    pub fn start(now: Instant, interval: Duration, reliable: bool) -> Option<Repeat> {
        (!reliable).then(|| Repeat { at: now + interval.max(Self::SHORTEST), interval })
    }

    /// The next repetition comes after `interval`.
    pub fn again(&mut self, now: Instant, interval: Duration) {
        *self = Repeat { at: now + interval.max(Self::SHORTEST), interval };
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

/// Any of the four.
pub(crate) enum Machine {
    CallsOut(ClientInvite),
    AsksOut(ClientNonInvite),
    CalledIn(ServerInvite),
    AskedIn(ServerNonInvite),
}

impl Machine {
    pub fn is_client(&self) -> bool {
        matches!(self, Machine::CallsOut(_) | Machine::AsksOut(_))
    }

    /// The request of a server transaction came again.
    pub fn receive_again(&mut self) -> Step {
        match self {
            Machine::CalledIn(machine) => machine.receive_again(),
            Machine::AskedIn(machine) => machine.receive_again(),
            Machine::CallsOut(_) | Machine::AsksOut(_) => Step::NONE,
        }
    }

    pub fn transport_error(&mut self) -> Step {
        match self {
            Machine::CallsOut(machine) => machine.transport_error(),
            Machine::AsksOut(machine) => machine.transport_error(),
            Machine::CalledIn(machine) => machine.transport_error(),
            Machine::AskedIn(machine) => machine.transport_error(),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        match self {
            Machine::CallsOut(machine) => machine.handle_timeout(now),
            Machine::AsksOut(machine) => machine.handle_timeout(now),
            Machine::CalledIn(machine) => machine.handle_timeout(now),
            Machine::AskedIn(machine) => machine.handle_timeout(now),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Machine::CallsOut(machine) => machine.poll_timeout(),
            Machine::AsksOut(machine) => machine.poll_timeout(),
            Machine::CalledIn(machine) => machine.poll_timeout(),
            Machine::AskedIn(machine) => machine.poll_timeout(),
        }
    }

    pub fn is_terminated(&self) -> bool {
        match self {
            Machine::CallsOut(machine) => machine.is_terminated(),
            Machine::AsksOut(machine) => machine.is_terminated(),
            Machine::CalledIn(machine) => machine.is_terminated(),
            Machine::AskedIn(machine) => machine.is_terminated(),
        }
    }
}
