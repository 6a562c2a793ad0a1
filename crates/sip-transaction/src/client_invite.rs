//! The side that sends an INVITE (RFC 3261 §17.1.1, RFC 6026 §7.2).

use std::time::Instant;

use crate::Timers;
use crate::machine::{Repeat, Send, Step, Tell, due, earlier};

/// One INVITE as seen by its sender. The request is sent by whoever makes the machine.
#[derive(Clone, Debug)]
pub struct ClientInvite {
    state: State,
    timers: Timers,
    reliable: bool,
    /// Timer A.
    repeat: Option<Repeat>,
    /// Timer B, D or M, or the end of the wait after a CANCEL.
    end: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

impl ClientInvite {
    /// In state Calling; the INVITE leaves now.
    pub fn new(timers: Timers, reliable: bool, now: Instant) -> Self {
        ClientInvite {
            state: State::Calling,
            timers,
            reliable,
            repeat: Repeat::start(now, timers.t1, reliable),
            end: Some(now + timers.b()),
        }
    }

    /// A response with this status matched.
    pub fn receive(&mut self, status: u16, now: Instant) -> Step {
        match (self.state, status) {
            (State::Calling | State::Proceeding, ..200) => self.proceed(),
            (State::Calling | State::Proceeding, 200..300) => self.accept(now),
            (State::Calling | State::Proceeding, _) => self.complete(now),
            // RFC 6026 §7.2: each 2xx goes up; whether it is a repetition or another fork the user knows.
            (State::Accepted, 200..300) => Step::tell(Tell::Response),
            // §17.1.1.2: the same final response again is acknowledged again and not passed up.
            (State::Completed, 300..) => Step::send(Send::Ack),
            _ => Step::NONE,
        }
    }

    /// A CANCEL was sent: §9.1 waits 64*T1 for the final response, then takes the INVITE for cancelled.
    pub fn cancelled(&mut self, now: Instant) {
        if self.state == State::Proceeding {
            self.end = Some(now + self.timers.t1_64());
        }
    }

    /// A message of this transaction could not be sent (§17.1.4).
    pub fn transport_error(&mut self) -> Step {
        match self.state {
            State::Calling | State::Proceeding | State::Completed => {
                self.terminate();
                Step::tell(Tell::Transport)
            }
            // The ACK for a 2xx is not ours.
            State::Accepted | State::Terminated => Step::NONE,
        }
    }

    /// The time of [`ClientInvite::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if due(self.end, now) {
            let waiting = matches!(self.state, State::Calling | State::Proceeding);
            self.terminate();
            return if waiting { Step::tell(Tell::Timeout) } else { Step::NONE };
        }
        match &mut self.repeat {
            // §17.1.1.2: A doubles without a limit.
            Some(repeat) if repeat.at <= now => {
                repeat.again(now, repeat.interval.saturating_mul(2));
                Step::send(Send::Request)
            }
            _ => Step::NONE,
        }
    }

    /// When to call [`ClientInvite::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.repeat.map(|repeat| repeat.at), self.end)
    }

    /// Whether a CANCEL may be sent now: a provisional response has come and no final one (§9.1).
    pub fn may_cancel(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether no response has come yet.
    pub fn is_calling(&self) -> bool {
        self.state == State::Calling
    }

    /// Whether a 2xx has come (RFC 6026).
    pub fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn proceed(&mut self) -> Step {
        if self.state == State::Calling {
            // Neither A nor B runs on; how long it may ring is the user's business (timer C).
            self.state = State::Proceeding;
            self.repeat = None;
            self.end = None;
        }
        Step::tell(Tell::Response)
    }

    fn accept(&mut self, now: Instant) -> Step {
        self.state = State::Accepted;
        self.repeat = None;
        self.end = Some(now + self.timers.t1_64());
        Step::tell(Tell::Response)
    }

    fn complete(&mut self, now: Instant) -> Step {
        if self.reliable {
            // Timer D is zero.
            self.terminate();
        } else {
            self.state = State::Completed;
            self.repeat = None;
            self.end = Some(now + self.timers.d());
        }
        Step { send: Some(Send::Ack), tell: Some(Tell::Response) }
    }

    fn terminate(&mut self) {
        self.state = State::Terminated;
        self.repeat = None;
        self.end = None;
    }
}
