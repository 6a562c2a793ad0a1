//! The side that answers an INVITE (RFC 3261 §17.2.1, RFC 6026 §7.1).

use std::time::{Duration, Instant};

use crate::machine::{Repeat, Send, Step, Tell, due, earlier};
use crate::{NotSent, Timers};

/// §17.2.1: a 100 unless the user answers within this.
const TRYING_AFTER: Duration = Duration::from_millis(200);

/// One INVITE as seen by its receiver.
#[derive(Clone, Debug)]
pub struct ServerInvite {
    state: State,
    timers: Timers,
    reliable: bool,
    /// When a 100 is due, until something was sent.
    trying: Option<Instant>,
    /// Timer G.
    repeat: Option<Repeat>,
    /// Timer H, I or L.
    end: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

impl ServerInvite {
    /// In state Proceeding; the INVITE has just come and goes to the user.
    pub fn new(timers: Timers, reliable: bool, now: Instant) -> Self {
        ServerInvite {
            state: State::Proceeding,
            timers,
            reliable,
            trying: Some(now + TRYING_AFTER),
            repeat: None,
            end: None,
        }
    }

    /// The same INVITE came again.
    pub fn receive_again(&mut self) -> Step {
        match self.state {
            // In Proceeding there may be no response yet; then nothing is sent.
            State::Proceeding | State::Completed => Step::send(Send::Response),
            // RFC 6026 §7.1: absorbed; the 2xx is repeated by the user alone.
            State::Accepted | State::Confirmed | State::Terminated => Step::NONE,
        }
    }

    /// An ACK of this transaction came; whether it is for the user (who sent a 2xx).
    pub fn receive_ack(&mut self, now: Instant) -> bool {
        if self.state == State::Completed {
            self.repeat = None;
            if self.reliable {
                // Timer I is zero.
                self.terminate();
            } else {
                self.state = State::Confirmed;
                self.end = Some(now + self.timers.t4);
            }
        }
        self.state == State::Accepted
    }

    /// The user answers with this status, and sends the response if it may.
    pub fn respond(&mut self, status: u16, now: Instant) -> Result<(), NotSent> {
        match (self.state, status) {
            (State::Proceeding, ..200) => self.trying = None,
            (State::Proceeding, 200..300) => {
                self.state = State::Accepted;
                self.trying = None;
                self.end = Some(now + self.timers.t1_64());
            }
            (State::Proceeding, _) => {
                self.state = State::Completed;
                self.trying = None;
                self.repeat = Repeat::start(now, self.timers.t1, self.reliable);
                self.end = Some(now + self.timers.t1_64());
            }
            // RFC 6026 §7.1: any number of 2xx go through.
            (State::Accepted, 200..300) => {}
            (State::Terminated, _) => return Err(NotSent::Gone),
            _ => return Err(NotSent::AlreadyFinal),
        }
        Ok(())
    }

    /// A refusal that nobody acknowledged is repeated no longer than until `at`.
    pub fn repeat_until(&mut self, at: Instant) {
        if self.state == State::Completed {
            self.end = self.end.map(|end| end.min(at));
        }
    }

    /// A response could not be sent. RFC 6026 §7.1: the user is told and the state stays, so that the INVITE sent
    /// again is not taken for a new one.
    pub fn transport_error(&mut self) -> Step {
        match self.state {
            State::Terminated => Step::NONE,
            _ => Step::tell(Tell::Transport),
        }
    }

    /// The time of [`ServerInvite::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if due(self.end, now) {
            let unacknowledged = self.state == State::Completed;
            self.terminate();
            return if unacknowledged { Step::tell(Tell::NoAck) } else { Step::NONE };
        }
        if due(self.trying, now) {
            self.trying = None;
            return Step::tell(Tell::TryingDue);
        }
        match &mut self.repeat {
            Some(repeat) if repeat.at <= now => {
                repeat.again(now, self.timers.next(repeat.interval));
                Step::send(Send::Response)
            }
            _ => Step::NONE,
        }
    }

    /// When to call [`ServerInvite::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        earlier(earlier(self.trying, self.end), self.repeat.map(|repeat| repeat.at))
    }

    /// Whether no final response was given yet.
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn terminate(&mut self) {
        *self = ServerInvite { state: State::Terminated, trying: None, repeat: None, end: None, ..*self };
    }
}
