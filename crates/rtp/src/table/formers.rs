//! Triples of streams that have ended, and for how long they are remembered.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{EndpointId, Holder, PortId, Table, Triple};

/// Between two packets of a stream that goes on.
const PAUSE: Duration = Duration::from_secs(2);

/// A stream that has ended, as its triple remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    pub owner: EndpointId,
    /// Whose stream that was, if it was said.
    pub party: Option<u64>,
    pub until: Instant,
    /// What it sent, if it sent.
    pub ssrc: Option<u32>,
    /// Until when it has sent that without a pause.
    pub last: Instant,
}

impl Former {
    /// It was this one's own, or that of the same phone.
    pub fn is_of(&self, (who, party): (EndpointId, Option<u64>)) -> bool {
        self.owner == who || (party.is_some() && self.party == party)
    }

    /// It is to be remembered now: its time is not over, or only since the table was last looked through.
    pub fn holds(&self, now: Instant) -> bool {
        self.until > now || now.saturating_duration_since(self.last) < PAUSE
    }
}

impl<S: BuildHasher + Clone> Table<S> {
    pub(super) fn remember(&mut self, triple: Triple, former: Former) {
        self.set_triple(triple, Some(Holder::Former(former)));
        self.count(triple.0, triple.1.ip(), |near| near.former += 1);
        self.formers.push_back((former.until, triple));
        if !self.journal.is_open() {
            self.forget_surplus();
        }
    }

    /// What has ended there is still being sent: its phone does not know. It is remembered for as long as that goes on
    /// without a pause; after a pause it may be the next call of a phone that has one SSRC for ever.
    pub fn sends_on(&mut self, now: Instant, port: PortId, from: SocketAddr, ssrc: u32) {
        if let Some(Holder::Former(former)) = self.triples.get_mut(&(port, from))
            && former.ssrc == Some(ssrc)
            && now.saturating_duration_since(former.last) <= PAUSE
        {
            former.last = now;
        }
    }

    fn forget_surplus(&mut self) {
        while self.formers.len() > self.most_formers {
            self.forget_oldest(None);
        }
    }

    /// One that sends on `now` is remembered once more.
    fn forget_oldest(&mut self, now: Option<Instant>) {
        let Some((until, triple)) = self.formers.pop_front() else { return };
        // It may have become live again, or former again at a later time.
        let Some(Holder::Former(former)) = self.triples.get_mut(&triple) else { return };
        if former.until != until {
            return;
        }
        if let Some(now) = now
            && now.saturating_duration_since(former.last) < PAUSE.min(self.former)
        {
            former.until = now + self.former;
            self.formers.push_back((former.until, triple));
            return;
        }
        self.set_triple(triple, None);
        self.count(triple.0, triple.1.ip(), |near| near.former = near.former.saturating_sub(1));
    }

    /// Forgets the formers whose time is over, and those that are too many.
    pub fn expire(&mut self, now: Instant) {
        self.forget_surplus();
        while self.formers.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest(Some(now));
        }
    }
}
