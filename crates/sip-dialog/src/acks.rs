//! The ACKs that were sent for 2xx, kept to be sent again for each repetition (RFC 3261 §13.2.2.4).

use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_wire::Message;

/// More than this of one leg are not kept; the oldest goes first.
const MAX_ACKS: usize = 16;

/// ACKs of one leg, each for 64*T1.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    kept: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    remote_tag: String,
    cseq: u32,
    ack: Bytes,
    until: Instant,
}

impl Acks {
    /// Keeps the ACK just sent for the 2xx with this To tag and CSeq. `keep` is 64*T1: after that the other side
    /// has given up.
    pub fn keep(&mut self, remote_tag: &str, cseq: u32, ack: Bytes, keep: Duration, now: Instant) {
        self.kept.retain(|kept| now < kept.until && !(kept.cseq == cseq && kept.remote_tag == remote_tag));
        if self.kept.len() >= MAX_ACKS {
            self.kept.remove(0);
        }
        self.kept.push(Kept { remote_tag: remote_tag.to_owned(), cseq, ack, until: now + keep });
    }

    /// The ACK to send for this 2xx, if it is a repetition of one that was acknowledged.
    pub fn again(&self, response: &Message) -> Option<Bytes> {
        let cseq = response.cseq().ok()?.number;
        let tag = response.to_tag().map(|tag| tag.to_string()).unwrap_or_default();
        let found = self.kept.iter().find(|kept| kept.cseq == cseq && kept.remote_tag == tag)?;
        Some(found.ack.clone())
    }

    /// Forgets those whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.kept.retain(|kept| now < kept.until);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.kept.iter().map(|kept| kept.until).min()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
