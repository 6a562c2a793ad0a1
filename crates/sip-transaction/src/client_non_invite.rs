//! The side that sends any request but INVITE and ACK (RFC 3261 §17.1.2).

use std::time::Instant;

use crate::Timers;
use crate::machine::{Repeat, Send, Step, Tell, due, earlier};

/// One request as seen by its sender. The request is sent by whoever makes the machine.
#[derive(Clone, Debug)]
pub struct ClientNonInvite {
    state: State,
    timers: Timers,
    reliable: bool,
    /// Timer E.
    repeat: Option<Repeat>,
    /// Timer F or K.
    end: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl ClientNonInvite {
    /// In state Trying; the request leaves now.
    pub fn new(timers: Timers, reliable: bool, now: Instant) -> Self {
        ClientNonInvite {
            state: State::Trying,
            timers,
            reliable,
            repeat: Repeat::start(now, timers.t1, reliable),
            end: Some(now + timers.t1_64()),
        }
    }

    /// A response with this status matched.
    pub fn receive(&mut self, status: u16, now: Instant) -> Step {
        match (self.state, status) {
            // E runs on as it is; when it fires it is reset to T2 (§17.1.2.2).
            (State::Trying | State::Proceeding, ..200) => {
                self.state = State::Proceeding;
                Step::tell(Tell::Response)
            }
            (State::Trying | State::Proceeding, _) => {
                self.repeat = None;
                if self.reliable {
                    // Timer K is zero.
                    self.terminate();
                } else {
                    self.state = State::Completed;
                    self.end = Some(now + self.timers.t4);
                }
                Step::tell(Tell::Response)
            }
            (State::Completed | State::Terminated, _) => Step::NONE,
        }
    }

    /// The request could not be sent (§17.1.4).
    pub fn transport_error(&mut self) -> Step {
        match self.state {
            State::Trying | State::Proceeding => {
                self.terminate();
                Step::tell(Tell::Transport)
            }
            State::Completed | State::Terminated => Step::NONE,
        }
    }

    /// The time of [`ClientNonInvite::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if due(self.end, now) {
            let waiting = self.state != State::Completed;
            self.terminate();
            return if waiting { Step::tell(Tell::Timeout) } else { Step::NONE };
        }
        let proceeding = self.state == State::Proceeding;
        match &mut self.repeat {
            Some(repeat) if repeat.at <= now => {
                let next = if proceeding { self.timers.t2 } else { self.timers.next(repeat.interval) };
                repeat.again(now, next);
                Step::send(Send::Request)
            }
            _ => Step::NONE,
        }
    }

    /// When to call [`ClientNonInvite::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.repeat.map(|repeat| repeat.at), self.end)
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn terminate(&mut self) {
        self.state = State::Terminated;
        self.repeat = None;
        self.end = None;
    }
}
