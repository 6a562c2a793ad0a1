//! Which status is written next: at most so many a second, losses first, nothing that says no more than what is there.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use fairlead_model::operator::PeerView;
use k8s_openapi::jiff::Timestamp;

use super::compose::{Facts, Urgency, View, compose, difference, is_ready};
use crate::crd::SipPeerStatus;
use crate::peers::{Key, Verdict};

/// How long a status that could not be written waits; doubled each time it is refused.
const RETRY: Duration = Duration::from_secs(5);

/// The longest: what is refused for good must not take the place of what can be written.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// Changes of one object are gathered this long: a REGISTER and the answer to its first OPTIONS are one write.
const GATHER: Duration = Duration::from_millis(300);

/// How many urgencies there are.
const URGENCIES: usize = 4;

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Of which object.
    pub key: Key,
    /// Its UID: an object made again under the name is another one.
    pub uid: String,
    /// All of it.
    pub status: SipPeerStatus,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Written,
    /// The API server does not want it.
    Refused,
    /// The API server did not answer, or cannot now.
    Failed,
}

#[derive(Debug)]
struct Entry {
    uid: String,
    sip_name: String,
    /// What the peer looks like while nothing is told of it.
    unregistered: View,
    written: Option<SipPeerStatus>,
    /// What was there before the write that runs.
    before: Option<SipPeerStatus>,
    verdict: Option<(i64, Verdict)>,
    queued: Option<(Urgency, Instant)>,
    writing: bool,
    /// Refused in a row.
    refusals: u32,
    not_before: Option<Instant>,
}

impl Entry {
    /// What there is to say of it. That it is not served yet is said where the opposite stands, and nowhere else.
    fn verdict(&self) -> Option<&(i64, Verdict)> {
        let is_called_ready = self.written.as_ref().is_some_and(is_ready);
        self.verdict.as_ref().filter(|(_, verdict)| is_called_ready || *verdict != Verdict::NotYet)
    }
}

#[derive(Debug)]
struct Known {
    view: View,
    since: Timestamp,
}

/// The planner. `now` is for its own pace, `wall` goes into what is written.
#[derive(Debug)]
pub struct StatusPlanner {
    rate: usize,
    begun: Instant,
    /// When the last `rate` writes were, the oldest first: no second, wherever it begins, has more.
    recent: VecDeque<Instant>,
    entries: HashMap<Key, Entry>,
    /// Who has which SIP name.
    holders: HashMap<String, Key>,
    views: HashMap<String, Known>,
    /// Names told since the stream began; what is not among them when all is told has no contact.
    telling: Option<HashSet<String>>,
    /// All has been told once: a name without news has no contact.
    is_told: bool,
    /// By urgency; in each, what waits longest comes first.
    queues: [BTreeSet<(Instant, Key)>; URGENCIES],
    late: BTreeSet<(Instant, Key)>,
}

impl StatusPlanner {
    /// At most `rate` writes a second; 0 for none. Nothing is saved up at rest: a cap is a cap in each second.
    pub fn new(rate: u32, now: Instant) -> Self {
        StatusPlanner {
            rate: usize::try_from(rate).unwrap_or(usize::MAX),
            begun: now,
            recent: VecDeque::new(),
            entries: HashMap::new(),
            holders: HashMap::new(),
            views: HashMap::new(),
            telling: None,
            is_told: false,
            queues: Default::default(),
            late: BTreeSet::new(),
        }
    }

    /// An object is there. `status` is what it says; it counts only when the object is seen for the first time, since
    /// afterwards the one that writes knows better than what comes back late.
    pub fn object(
        &mut self,
        now: Instant,
        key: &Key,
        uid: &str,
        sip_name: &str,
        unregistered: View,
        status: Option<SipPeerStatus>,
    ) {
        match self.entries.get_mut(key).filter(|entry| entry.uid == uid) {
            Some(entry) => {
                entry.unregistered = unregistered;
                entry.sip_name = sip_name.to_owned();
            }
            None => {
                self.gone(key);
                let entry = Entry {
                    uid: uid.to_owned(),
                    sip_name: sip_name.to_owned(),
                    unregistered,
                    written: status.filter(|status| *status != SipPeerStatus::default()),
                    before: None,
                    verdict: None,
                    queued: None,
                    writing: false,
                    refusals: 0,
                    not_before: None,
                };
                self.entries.insert(key.clone(), entry);
            }
        }
        self.look_at(now, key);
    }

    /// An object is no more.
    pub fn gone(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            if let Some((urgency, at)) = entry.queued {
                self.queue(urgency).remove(&(at, key.clone()));
            }
            if self.holders.get(&entry.sip_name) == Some(key) {
                self.holders.remove(&entry.sip_name);
            }
        }
    }

    /// Whether an object is served, as this generation asks for it.
    pub fn verdict(&mut self, now: Instant, key: &Key, generation: i64, verdict: Verdict) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !matches!(verdict, Verdict::NameTaken(_)) {
            self.holders.insert(entry.sip_name.clone(), key.clone());
        } else if self.holders.get(&entry.sip_name) == Some(key) {
            self.holders.remove(&entry.sip_name);
        }
        entry.verdict = Some((generation, verdict));
        self.look_at(now, key);
    }

    /// A stream of news has begun: it tells first how all peers are.
    pub fn telling(&mut self) {
        self.telling = Some(HashSet::new());
    }

    /// All has been told.
    pub fn all_told(&mut self, now: Instant) {
        self.is_told = true;
        if let Some(told) = self.telling.take() {
            self.views.retain(|name, _| told.contains(name));
        }
        let keys: Vec<Key> = self.entries.keys().cloned().collect();
        for key in keys {
            self.look_at(now, &key);
        }
    }

    /// How a peer is.
    pub fn peer(&mut self, now: Instant, wall: Timestamp, peer: &PeerView) {
        if let Some(told) = &mut self.telling {
            told.insert(peer.name.clone());
        }
        // Peers of sip.conf and of others have no object; they come to no more than a comparison of names.
        let view = View::of(peer);
        let since = match self.views.get(&peer.name) {
            Some(known) if known.view.standing() == view.standing() => known.since,
            _ => wall,
        };
        self.views.insert(peer.name.clone(), Known { view, since });
        self.look_at_name(now, &peer.name);
    }

    /// Nobody has this name any more.
    pub fn peer_gone(&mut self, now: Instant, name: &str) {
        if self.views.remove(name).is_some() {
            self.look_at_name(now, name);
        }
    }

    /// The next status to write; [`StatusPlanner::written`] has to follow.
    pub fn next(&mut self, now: Instant, wall: Timestamp) -> Option<Write> {
        while let Some((at, _)) = self.late.first() {
            if *at > now {
                break;
            }
            if let Some((_, key)) = self.late.pop_first() {
                self.look_at(now, &key);
            }
        }
        if self.free_at().is_none_or(|at| at > now) {
            return None;
        }
        // Urgency first; an object is ripe when its news have been gathered.
        let queue =
            self.queues.iter_mut().find(|queue| queue.first().is_some_and(|(at, _)| *at + GATHER <= now))?;
        let (_, key) = queue.pop_first()?;
        let (status, is_news) = self.status(&key, wall)?;
        let entry = self.entries.get_mut(&key)?;
        entry.queued = None;
        if !is_news {
            // It went back to what was written while it waited.
            return self.next(now, wall);
        }
        entry.writing = true;
        entry.before = entry.written.replace(status.clone());
        if self.recent.len() >= self.rate {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        Some(Write { key, uid: entry.uid.clone(), status })
    }

    /// What came of a write. One that failed is tried again, from what is true then.
    pub fn written(&mut self, now: Instant, write: &Write, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(&write.key).filter(|entry| entry.uid == write.uid) else {
            return;
        };
        entry.writing = false;
        let pause = match outcome {
            Outcome::Written => {
                entry.refusals = 0;
                return self.look_at(now, &write.key);
            }
            Outcome::Refused => {
                let pause = RETRY.saturating_mul(1 << entry.refusals.min(6)).min(LONGEST_RETRY);
                entry.refusals = entry.refusals.saturating_add(1);
                pause
            }
            // It is over for all at once, and what they lost meanwhile is news.
            Outcome::Failed => RETRY,
        };
        entry.written = entry.before.take();
        entry.not_before = Some(now + pause);
        self.late.insert((now + pause, write.key.clone()));
    }

    /// When [`StatusPlanner::next`] may have something, at the latest.
    pub fn wake(&self) -> Option<Instant> {
        let late = self.late.first().map(|(at, _)| *at);
        let first = self.queues.iter().filter_map(|queue| queue.first()).map(|(at, _)| *at).min();
        let write = first.zip(self.free_at()).map(|(first, free)| free.max(first + GATHER));
        [write, late].into_iter().flatten().min()
    }

    /// From when on one more may be written; never at a rate of 0.
    fn free_at(&self) -> Option<Instant> {
        match self.recent.front() {
            _ if self.rate == 0 => None,
            Some(oldest) if self.recent.len() >= self.rate => Some(*oldest + Duration::from_secs(1)),
            _ => Some(self.begun),
        }
    }

    /// How many objects wait for a write.
    pub fn backlog(&self) -> usize {
        self.queues.iter().map(BTreeSet::len).sum()
    }

    /// The status that an object ought to have, and whether that is worth a write.
    fn status(&self, key: &Key, wall: Timestamp) -> Option<(SipPeerStatus, bool)> {
        let entry = self.entries.get(key)?;
        let known = self.views.get(&entry.sip_name);
        let is_holder = self.holders.get(&entry.sip_name) == Some(key);
        let view = match known {
            _ if !is_holder => None,
            Some(known) => Some(&known.view),
            None if self.is_told => Some(&entry.unregistered),
            None => None,
        };
        let status = compose(&Facts {
            verdict: entry.verdict(),
            view,
            since: known.map_or(wall, |known| known.since),
            now: wall,
            before: entry.written.as_ref(),
        });
        let is_news = difference(entry.written.as_ref(), &status).is_some();
        Some((status, is_news))
    }

    fn queue(&mut self, urgency: Urgency) -> &mut BTreeSet<(Instant, Key)> {
        let [loss, news, change, latency] = &mut self.queues;
        match urgency {
            Urgency::Loss => loss,
            Urgency::News => news,
            Urgency::Change => change,
            Urgency::Latency => latency,
        }
    }

    fn look_at_name(&mut self, now: Instant, name: &str) {
        if let Some(key) = self.holders.get(name).cloned() {
            self.look_at(now, &key);
        }
    }

    /// Queues it, or takes it from the queue, by how it differs from what was written.
    fn look_at(&mut self, now: Instant, key: &Key) {
        let Some((status, _)) = self.status(key, Timestamp::UNIX_EPOCH) else { return };
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.writing || entry.not_before.is_some_and(|at| at > now) {
            return;
        }
        entry.not_before = None;
        // Without a verdict nothing is known yet that is worth a write.
        let urgency = entry.verdict().and_then(|_| difference(entry.written.as_ref(), &status));
        let before = entry.queued.take();
        let at = before.map_or(now, |(_, at)| at);
        entry.queued = urgency.map(|urgency| (urgency, at));
        if let Some((urgency, at)) = before {
            self.queue(urgency).remove(&(at, key.clone()));
        }
        if let Some(urgency) = urgency {
            self.queue(urgency).insert((at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
