//! The side that answers any request but INVITE and ACK (RFC 3261 §17.2.2, RFC 4320 §4).

use std::time::Instant;

use crate::machine::{Send, Step, Tell, due, earlier};
use crate::{NotSent, Timers};

/// One request as seen by its receiver.
#[derive(Clone, Debug)]
pub struct ServerNonInvite {
    state: State,
    timers: Timers,
    reliable: bool,
    /// When a 100 may and must be sent (RFC 4320 §4.1).
    trying_at: Instant,
    /// Timer J, or before a final response the time after which none is worth sending (RFC 4320 §4.2).
    end: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    /// The time of the 100 has come and the user was told so.
    TryingDue,
    Proceeding,
    Completed,
    Terminated,
}

impl ServerNonInvite {
    /// In state Trying; the request has just come and goes to the user.
    pub fn new(timers: Timers, reliable: bool, now: Instant) -> Self {
        ServerNonInvite {
            state: State::Trying,
            timers,
            reliable,
            trying_at: now + timers.e_reaches_t2(),
            end: Some(now + timers.t1_64()),
        }
    }

    /// The same request came again.
    pub fn receive_again(&mut self) -> Step {
        match self.state {
            State::Trying | State::TryingDue | State::Terminated => Step::NONE,
            State::Proceeding | State::Completed => Step::send(Send::Response),
        }
    }

    /// The user answers with this status, and sends the response if it may.
    pub fn respond(&mut self, status: u16, now: Instant) -> Result<(), NotSent> {
        match (self.state, status) {
            (State::Terminated, _) => return Err(NotSent::Gone),
            (State::Completed, _) => return Err(NotSent::AlreadyFinal),
            // RFC 4320 §4.1: nothing but 100, and over UDP not before the client's Timer E is at T2.
            (_, 100) if self.reliable || now >= self.trying_at => self.state = State::Proceeding,
            // RFC 4320 §4.2: the client timed out by itself, a 408 only confuses a proxy between.
            (_, ..200 | 408) => return Err(NotSent::Forbidden),
            _ if self.reliable => self.terminate(),
            _ => {
                self.state = State::Completed;
                self.end = Some(now + self.timers.t1_64());
            }
        }
        Ok(())
    }

    /// A response could not be sent (§17.2.4 as changed by RFC 6026 §8.8: the state stays).
    pub fn transport_error(&mut self) -> Step {
        match self.state {
            State::Terminated => Step::NONE,
            _ => Step::tell(Tell::Transport),
        }
    }

    /// The time of [`ServerNonInvite::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if due(self.end, now) {
            self.terminate();
        } else if self.state == State::Trying && self.trying_at <= now {
            self.state = State::TryingDue;
            return Step::tell(Tell::TryingDue);
        }
        Step::NONE
    }

    /// When to call [`ServerNonInvite::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        earlier((self.state == State::Trying).then_some(self.trying_at), self.end)
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn terminate(&mut self) {
        self.state = State::Terminated;
        self.end = None;
    }
}
