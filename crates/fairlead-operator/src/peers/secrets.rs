//! The Secrets that objects name: read when first named and when they change, kept as long as somebody names them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use fairlead_model::peer::Secret;

use super::claims::Key;
use crate::crd::{Secrets, SipPeerSpec};

/// The first pause after a Secret could not be read; doubled up to thirty seconds.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How many are read at a time: after a change of the leader every one of them is to be read.
const AT_A_TIME: usize = 16;

/// Failures in a row, about ten seconds, after which a Secret counts as one that cannot be read. Before, it is not known yet:
/// an object that is served does not lose its word, nor is its peer called one that cannot be, because of one bad answer.
const FAILURES_TOLD: u32 = 5;

/// Namespace and name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What reading a Secret came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// Its version and what it holds; values that are no text are left out.
    There(String, BTreeMap<String, Secret>),
    /// There is none.
    Missing,
    /// It could not be read, and why; what was known before stays.
    Failed(String),
}

#[derive(Debug, Default)]
struct Entry {
    users: BTreeSet<Key>,
    known: Option<Value>,
    reading: bool,
    /// It changed while it was read.
    again: bool,
    queued: bool,
    failures: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct SecretTable {
    entries: HashMap<SecretRef, Entry>,
    named: HashMap<Key, BTreeSet<SecretRef>>,
    queue: VecDeque<SecretRef>,
    /// How many are being read.
    under_way: usize,
    waiting: BTreeSet<(Instant, SecretRef)>,
}

impl SecretTable {
    /// An object names these now, and no others.
    pub fn used_by(&mut self, key: &Key, now_named: BTreeSet<SecretRef>) {
        let before = self.named.remove(key).unwrap_or_default();
        for secret in before.difference(&now_named) {
            if let Some(entry) = self.entries.get_mut(secret) {
                entry.users.remove(key);
                if entry.users.is_empty() {
                    self.entries.remove(secret);
                }
            }
        }
        for secret in &now_named {
            let entry = self.entries.entry(secret.clone()).or_default();
            entry.users.insert(key.clone());
            if entry.known.is_none() && !entry.reading && !entry.queued {
                entry.queued = true;
                self.queue.push_back(secret.clone());
            }
        }
        if !now_named.is_empty() {
            self.named.insert(key.clone(), now_named);
        }
    }

    /// It may be another one now. `version` is that of the Secret as it is, `None` if it is gone.
    pub fn changed(&mut self, secret: &SecretRef, version: Option<&str>) {
        let Some(entry) = self.entries.get_mut(secret) else { return };
        let is_known = match (&entry.known, version) {
            (Some(Value::There(known, _)), Some(version)) => known == version,
            (Some(Value::Missing), None) => true,
            _ => false,
        };
        if entry.reading {
            entry.again = true;
        } else if !is_known && !entry.queued {
            entry.queued = true;
            self.queue.push_back(secret.clone());
        }
    }

    /// What reading came to; the objects for which that is news.
    pub fn read(&mut self, now: Instant, secret: &SecretRef, read: Value, jitter: f64) -> Vec<Key> {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(secret) else { return Vec::new() };
        entry.reading = false;
        if std::mem::take(&mut entry.again) && !entry.queued {
            entry.queued = true;
            self.queue.push_back(secret.clone());
        }
        if let Value::Failed(_) = read {
            let pause = FIRST_PAUSE.saturating_mul(1 << entry.failures.min(5)).min(Duration::from_secs(30));
            entry.failures = entry.failures.saturating_add(1);
            self.waiting.insert((now + pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0), secret.clone()));
            // A value that was read once is better than none.
            if matches!(entry.known, Some(Value::There(..))) || entry.failures < FAILURES_TOLD {
                return Vec::new();
            }
        } else {
            entry.failures = 0;
        }
        let is_news = match (&entry.known, &read) {
            (Some(Value::There(_, before)), Value::There(_, after)) => before != after,
            (before, after) => before.as_ref() != Some(after),
        };
        entry.known = Some(read);
        if is_news { entry.users.iter().cloned().collect() } else { Vec::new() }
    }

    /// The next one to read, if there are not too many that are being read.
    pub fn next(&mut self, now: Instant) -> Option<SecretRef> {
        while let Some((at, secret)) = self.waiting.first().cloned() {
            if at > now {
                break;
            }
            self.waiting.pop_first();
            if let Some(entry) = self.entries.get_mut(&secret).filter(|entry| !entry.queued && !entry.reading)
            {
                entry.queued = true;
                self.queue.push_back(secret);
            }
        }
        while self.under_way < AT_A_TIME {
            let secret = self.queue.pop_front()?;
            if let Some(entry) = self.entries.get_mut(&secret) {
                entry.queued = false;
                entry.reading = true;
                self.under_way += 1;
                return Some(secret);
            }
        }
        None
    }

    /// When one that could not be read is tried again.
    pub fn wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The values that a spec names; `None` while one is still being read; `Err` says what is missing.
    pub fn of(&self, namespace: &str, spec: &SipPeerSpec) -> Result<Option<Secrets>, String> {
        let mut secrets = Secrets::new();
        let mut is_reading = false;
        for key in spec.secret_keys() {
            let secret = SecretRef { namespace: namespace.to_owned(), name: key.name.clone() };
            match self.entries.get(&secret).and_then(|entry| entry.known.as_ref()) {
                None => is_reading = true,
                Some(Value::Missing) => return Err(format!("there is no Secret {}", key.name)),
                Some(Value::Failed(why)) => return Err(format!("Secret {} cannot be read: {why}", key.name)),
                Some(Value::There(_, values)) => match values.get(&key.key) {
                    Some(value) if !value.expose().is_empty() => {
                        secrets.insert(key.clone(), value.clone());
                    }
                    Some(_) => return Err(format!("key {} of Secret {} is empty", key.key, key.name)),
                    None => return Err(format!("Secret {} has no key {} that is text", key.name, key.key)),
                },
            }
        }
        Ok((!is_reading).then_some(secrets))
    }
}
