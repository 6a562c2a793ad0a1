//! The 2xx to an INVITE, repeated by the one who answered until its ACK comes (RFC 3261 §13.3.1.4).

use std::time::{Duration, Instant};

use bytes::Bytes;

/// What a timeout wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send the 2xx again.
    Again(Bytes),
    /// 64*T1 have passed without an ACK: the dialog is confirmed, but the session is over; send BYE.
    GaveUp,
}

/// A 2xx that waits for its ACK. Repeats over every transport, since the ACK goes end to end.
#[derive(Clone, Debug)]
pub struct Unacknowledged {
    response: Bytes,
    cseq: u32,
    t2: Duration,
    interval: Duration,
    at: Instant,
    end: Instant,
    done: bool,
}

impl Unacknowledged {
    /// The 2xx was sent now, in answer to the INVITE with this CSeq.
    pub fn new(response: Bytes, cseq: u32, t1: Duration, t2: Duration, now: Instant) -> Self {
        let end = now + t1.saturating_mul(64);
        Unacknowledged { response, cseq, t2, interval: t1, at: now + t1, end, done: false }
    }

    /// An ACK of the dialog came; whether it is the one that was waited for.
    pub fn handle_ack(&mut self, cseq: u32) -> bool {
        let ours = self.awaits(cseq);
        self.done |= ours;
        ours
    }

    /// Whether an ACK with this CSeq is the one that is waited for.
    pub fn awaits(&self, cseq: u32) -> bool {
        cseq == self.cseq && !self.done
    }

    /// The CSeq of the INVITE.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Whether there is nothing more to wait for.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.done {
            return Due::Nothing;
        }
        if self.end <= now {
            self.done = true;
            return Due::GaveUp;
        }
        if self.at > now {
            return Due::Nothing;
        }
        self.interval = self.interval.saturating_mul(2).min(self.t2);
        // An interval of zero would repeat for ever within one moment.
        self.at = now + self.interval.max(Duration::from_millis(1));
        Due::Again(self.response.clone())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.done).then(|| self.at.min(self.end))
    }
}
