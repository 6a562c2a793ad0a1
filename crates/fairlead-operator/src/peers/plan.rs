//! What is to be done so that the registrars hold what `SipPeer` objects ask for: pure, told everything, asked for the
//! next thing.
//!
//! Objects claim SIP names; the oldest claim wins. Each name is dealt with by one thing at a time: written for the
//! winner, or withdrawn when nobody claims it and what is there is known to be of an object that is gone.

mod answers;
mod namespaces;
mod next;
mod standing;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use fairlead_model::provision::{Marked, Provision};

use super::claims::{Claims, Key, Wanted};
use super::secrets::{SecretRef, SecretTable, Value};
use super::verdict::Verdict;
use namespaces::Namespaces;
use standing::{Holder, Standing};

/// After the store was emptied registrars write back what they held; by then they have.
const REFILLED: Duration = Duration::from_secs(60);

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask a registrar to write this; answer by [`PeerPlan::provisioned`].
    Provision(Provision),
    /// Ask a registrar to remove it; answer by [`PeerPlan::withdrawn`].
    Withdraw {
        /// The SIP name.
        name: String,
        /// Of the object that it was made from.
        uid: String,
    },
    /// Read a Secret; answer by [`PeerPlan::secret_read`].
    ReadSecret(SecretRef),
    /// Have registrars list every marked peer; answer by [`PeerPlan::marked`].
    ListMarks,
}

/// Something to be said.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The object is served, as its generation asks for it, or why not.
    Verdict(Key, i64, Verdict),
    /// Somebody had changed a peer, and it was put right.
    PutRight(Key, Vec<String>),
    /// Each peer that is asked for has been written, or cannot be.
    Complete,
}

/// The plan.
#[derive(Debug)]
pub struct PeerPlan {
    claims: Claims,
    secrets: SecretTable,
    names: HashMap<String, Standing>,
    urgent: VecDeque<String>,
    /// Names that are only checked.
    checks: VecDeque<String>,
    waiting: BTreeSet<(Instant, String)>,
    told: VecDeque<Told>,
    /// What each object was told last, and of which generation.
    verdicts: HashMap<Key, (i64, Verdict)>,
    namespaces: Namespaces,
    /// Marked peers are to be listed: the list may show one that nobody asks for.
    list_marks: bool,
    /// And once more then.
    list_marks_at: Option<Instant>,
    /// Names that are asked for and of which nothing was heard since the beginning, or since the store was emptied.
    unheard: HashSet<String>,
    /// None is left, and that was told.
    is_complete_told: bool,
    in_flight: usize,
}

impl PeerPlan {
    /// For these namespaces; before `patience` nothing is written unless each has been listed or is refused.
    pub fn new(namespaces: impl IntoIterator<Item = String>, patience: Instant) -> Self {
        PeerPlan {
            claims: Claims::default(),
            secrets: SecretTable::default(),
            names: HashMap::new(),
            urgent: VecDeque::new(),
            checks: VecDeque::new(),
            waiting: BTreeSet::new(),
            told: VecDeque::new(),
            verdicts: HashMap::new(),
            namespaces: Namespaces::new(namespaces, patience),
            list_marks: false,
            list_marks_at: None,
            unheard: HashSet::new(),
            is_complete_told: false,
            in_flight: 0,
        }
    }

    /// An object is there, new or changed.
    pub fn object(&mut self, wanted: Wanted) {
        let key = wanted.key.clone();
        let known = self.claims.get(&key).filter(|known| known.uid == wanted.uid);
        if known.is_some_and(|known| known.is_same(&wanted)) {
            return;
        }
        if let (Some(known), Err(reason)) = (known, &wanted.spec)
            && known.spec.is_ok()
        {
            // What it asked for before is kept: an operator that cannot read an object must not take phones away.
            self.say(key, Verdict::Invalid(vec![reason.clone()]));
            return;
        }
        let is_known = known.is_some();
        if let Some(before) =
            self.claims.get(&key).filter(|known| known.uid != wanted.uid).map(|known| known.uid.clone())
        {
            // Deleted and made again between two looks.
            self.gone(&key, &before);
        }
        if !is_known && !wanted.is_served {
            self.names.entry(wanted.sip_name.clone()).or_default().untold = true;
        }
        let named = wanted.secrets(&key.namespace);
        if !self.is_complete_told {
            self.unheard.insert(wanted.sip_name.clone());
        }
        let touched = self.claims.put(wanted);
        self.secrets.used_by(&key, named);
        for name in touched {
            self.look_at(&name);
        }
    }

    /// An object is no more.
    pub fn gone(&mut self, key: &Key, uid: &str) {
        if self.claims.get(key).is_none_or(|known| known.uid != uid) {
            return;
        }
        self.secrets.used_by(key, BTreeSet::new());
        self.verdicts.remove(key);
        let is_unread = self.claims.get(key).is_some_and(|known| known.spec.is_err());
        if let Some(name) = self.claims.remove(key) {
            self.look_at(&name);
        }
        if is_unread {
            self.look_at_names_of(uid);
        }
    }

    /// All objects of a namespace have been told; others that were known are gone, and are returned.
    pub fn listed(&mut self, namespace: &str, there: &HashSet<String>) -> Vec<Key> {
        let mut gone = Vec::new();
        for (key, uid) in self.claims.of_namespace(namespace) {
            if !there.contains(&uid) {
                self.gone(&key, &uid);
                gone.push(key);
            }
        }
        self.namespaces.listed(namespace);
        self.list_marks = true;
        self.look_at_all(false);
        gone
    }

    /// The API server knows no such kind there, or no such namespace. Objects may still come.
    pub fn has_no_kind(&mut self, namespace: &str) {
        self.namespaces.has_no_kind(namespace);
    }

    /// A namespace may not be watched. What is known of it stays.
    pub fn refused(&mut self, namespace: &str) {
        if self.namespaces.refused(namespace) {
            self.look_at_all(false);
        }
    }

    /// Every marked peer that registrars hold. Objects of which they hold none are told so, unless more is known of them:
    /// their status may still say that they are served.
    pub fn marked(&mut self, all: Vec<Marked>) {
        let mut held = HashSet::with_capacity(all.len());
        let disowned = self.names.iter().filter(|(_, standing)| standing.is_disowned() && !standing.busy);
        let mut unlisted: HashSet<String> = disowned.map(|(name, _)| name.clone()).collect();
        for marked in all {
            unlisted.remove(&marked.name);
            held.insert(marked.mark.uid.clone());
            let holder = Holder::of(&marked.mark);
            let standing = self.names.entry(marked.name.clone()).or_default();
            if !standing.busy && !standing.is_written() {
                standing.holder = Some(holder);
            }
            self.look_at(&marked.name);
        }
        for name in unlisted {
            if let Some(standing) = self.names.get_mut(&name) {
                standing.holder = None;
            }
            self.look_at(&name);
        }
        let winners = self.claims.names().filter_map(|name| self.claims.winner(name));
        let doubted: Vec<Key> = winners
            .filter(|wanted| !held.contains(&wanted.uid) && !self.verdicts.contains_key(&wanted.key))
            .map(|wanted| wanted.key.clone())
            .collect();
        for key in doubted {
            self.say(key, Verdict::NotYet);
        }
    }

    /// The Secret is another one now (or may be); nothing is read that no object names.
    pub fn secret_changed(&mut self, secret: &SecretRef, version: Option<&str>) {
        self.secrets.changed(secret, version);
    }

    /// What reading a Secret came to.
    pub fn secret_read(&mut self, now: Instant, secret: &SecretRef, read: Value, jitter: f64) {
        for key in self.secrets.read(now, secret, read, jitter) {
            if let Some(name) = self.claims.get(&key).map(|wanted| wanted.sip_name.clone()) {
                self.look_at(&name);
            }
        }
    }

    /// Somebody changed the record of this name, or took it away.
    pub fn record_changed(&mut self, name: &str) {
        if let Some(standing) = self.names.get_mut(name) {
            standing.verify = true;
            standing.not_yours = None;
            standing.not_before = None;
            self.look_at(name);
        }
    }

    /// Nobody has this name any more in the store. Where an object asks for it, it is written again.
    pub fn record_gone(&mut self, name: &str) {
        if let Some(standing) = self.names.get_mut(name) {
            standing.taken_away = standing.written.is_some();
        }
        self.record_changed(name);
    }

    /// A registrar answers again: nobody waits out a pause that began while none did.
    pub fn reached(&mut self) {
        let waiting = self.names.iter_mut().filter(|(_, standing)| standing.failures > 0);
        let names: Vec<String> = waiting
            .map(|(name, standing)| {
                standing.not_before = None;
                name.clone()
            })
            .collect();
        for name in names {
            self.look_at(&name);
        }
    }

    /// The store was emptied: everything is written again, at once. Registrars write back what they held, also peers whose
    /// objects have gone meanwhile; so whose a peer was stays known, and marks are listed.
    pub fn emptied(&mut self, now: Instant) {
        for standing in self.names.values_mut() {
            // Those are left alone; what comes back of them is counted by the list.
            standing.holder.take_if(|holder| self.namespaces.is_foreign(&holder.namespace));
            standing.not_yours = None;
            standing.written = None;
            standing.taken_away = false;
            standing.not_before = None;
            standing.failures = 0;
        }
        self.list_marks = true;
        self.list_marks_at = Some(now + REFILLED);
        self.await_all();
        self.look_at_all(true);
    }

    /// News may have been missed, or what was written last be lost: everything is compared again, after what is known to
    /// have changed, and marks are listed, for a peer that was removed may be back.
    pub fn check_all(&mut self) {
        self.list_marks = true;
        self.await_all();
        let names: Vec<String> = self.names.keys().cloned().collect();
        for name in names {
            let Some(standing) = self.names.get_mut(&name) else { continue };
            standing.verify = true;
            standing.not_yours = None;
            if standing.busy {
                standing.again = true;
            } else if !standing.queued {
                standing.queued = true;
                self.checks.push_back(name);
            }
        }
    }

    /// When something waits for its time, at the latest.
    pub fn wake(&self) -> Option<Instant> {
        let begin = (!self.namespaces.are_complete() && !self.urgent.is_empty())
            .then_some(self.namespaces.patience());
        let waiting = self.waiting.first().map(|(at, _)| *at);
        [begin, waiting, self.secrets.wake(), self.list_marks_at].into_iter().flatten().min()
    }

    /// The next thing to be said.
    pub fn told(&mut self) -> Option<Told> {
        if !self.is_complete_told && self.unheard.is_empty() && self.namespaces.know_all_objects() {
            self.is_complete_told = true;
            self.told.push_back(Told::Complete);
        }
        self.told.pop_front()
    }

    /// Objects that are known.
    pub fn objects(&self) -> usize {
        self.claims.len()
    }

    /// Names that wait for something to be done.
    pub fn backlog(&self) -> usize {
        self.urgent.len() + self.checks.len() + self.in_flight
    }

    /// Marked peers whose namespace is not watched (or may not be): nobody here may withdraw them.
    pub fn unwatched(&self) -> usize {
        let is_foreign = |standing: &&Standing| {
            standing.holder.as_ref().is_some_and(|holder| self.namespaces.is_foreign(&holder.namespace))
        };
        self.names.values().filter(is_foreign).count()
    }

    /// The UID of an object.
    pub fn uid(&self, key: &Key) -> Option<&str> {
        self.claims.get(key).map(|wanted| wanted.uid.as_str())
    }

    /// Of each name that is asked for something has to be heard again.
    fn await_all(&mut self) {
        self.is_complete_told = false;
        self.unheard = self.claims.names().map(str::to_owned).collect();
    }

    fn say(&mut self, key: Key, verdict: Verdict) {
        let Some(generation) = self.claims.get(&key).map(|wanted| wanted.generation) else { return };
        let now = (generation, verdict);
        if self.verdicts.get(&key) != Some(&now) {
            self.told.push_back(Told::Verdict(key.clone(), generation, now.1.clone()));
            self.verdicts.insert(key, now);
        }
    }

    /// After something was done: again, later, or forgotten.
    fn settle(&mut self, name: &str) {
        let Some(standing) = self.names.get_mut(name) else { return };
        let is_free = self.claims.winner(name).is_none();
        if std::mem::take(&mut standing.again) || (is_free && standing.not_before.is_none()) {
            self.look_at(name);
        } else if let Some(at) = standing.not_before {
            self.waiting.insert((at, name.to_owned()));
        }
    }

    fn look_at(&mut self, name: &str) {
        let standing = self.names.entry(name.to_owned()).or_default();
        if standing.busy {
            standing.again = true;
        } else if !standing.queued {
            standing.queued = true;
            self.urgent.push_back(name.to_owned());
        }
    }

    /// Which name an object has that could not be read is known only by what registrars hold.
    fn look_at_names_of(&mut self, uid: &str) {
        let has = |standing: &Standing| standing.holder.as_ref().is_some_and(|holder| holder.uid == uid);
        let names: Vec<String> =
            self.names.iter().filter(|(_, standing)| has(standing)).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(standing) = self.names.get_mut(&name) {
                standing.not_before = None;
            }
            self.look_at(&name);
        }
    }

    fn look_at_all(&mut self, verify: bool) {
        let names: Vec<String> = self.names.keys().cloned().collect();
        for name in names {
            if let Some(standing) = self.names.get_mut(&name) {
                standing.verify |= verify;
            }
            self.look_at(&name);
        }
    }
}

#[cfg(test)]
mod tests;
