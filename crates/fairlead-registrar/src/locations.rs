//! Bindings as this registrar last saw them. The store decides; these spare it questions, and answer while it is away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_store::BindingsRecord;
use parking_lot::Mutex;

/// The records, and which pods hold flows of whom.
#[derive(Default)]
pub struct Locations {
    records: DashMap<String, Arc<BindingsRecord>>,
    by_pod: Mutex<HashMap<PodRef, HashSet<String>>>,
}

impl Locations {
    /// The record of this name as it was last seen.
    pub fn get(&self, name: &str) -> Option<Arc<BindingsRecord>> {
        self.records.get(name).map(|record| Arc::clone(&record))
    }

    /// Keeps a record; returns the pods that have other flows of this name now than before.
    pub fn put(&self, name: &str, record: Arc<BindingsRecord>) -> Vec<PodRef> {
        let old = self.records.insert(name.to_owned(), Arc::clone(&record));
        let before = old.as_deref().map(|old| old.bindings.as_slice()).unwrap_or_default();
        let same = before.len() == record.bindings.len()
            && before.iter().zip(&record.bindings).all(|(a, b)| a.key == b.key && a.flow == b.flow);
        if same {
            return Vec::new();
        }
        let was: HashSet<PodRef> = before.iter().map(|binding| binding.flow.pod).collect();
        let is: HashSet<PodRef> = record.bindings.iter().map(|binding| binding.flow.pod).collect();
        let mut by_pod = self.by_pod.lock();
        for pod in was.difference(&is) {
            if let Some(names) = by_pod.get_mut(pod) {
                names.remove(name);
                if names.is_empty() {
                    by_pod.remove(pod);
                }
            }
        }
        for pod in is.difference(&was) {
            by_pod.entry(*pod).or_default().insert(name.to_owned());
        }
        was.union(&is).copied().collect()
    }

    /// Forgets a record; returns the pods that had flows of this name.
    pub fn forget(&self, name: &str) -> Vec<PodRef> {
        if !self.records.contains_key(name) {
            return Vec::new();
        }
        let pods = self.put(name, Arc::default());
        self.records.remove(name);
        pods
    }

    /// Names with a flow of this pod.
    pub fn of_pod(&self, pod: PodRef) -> Vec<String> {
        self.by_pod.lock().get(&pod).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    /// Names with a binding that ended before `before`.
    pub fn expired(&self, before: UnixMillis) -> Vec<String> {
        let over =
            |record: &BindingsRecord| record.bindings.iter().any(|binding| binding.expires_at < before);
        self.records.iter().filter(|entry| over(entry.value())).map(|entry| entry.key().clone()).collect()
    }

    /// Names with any binding, in no order.
    pub fn bound_names(&self) -> Vec<String> {
        self.records
            .iter()
            .filter(|entry| !entry.value().bindings.is_empty())
            .map(|entry| entry.key().clone())
            .collect()
    }

    /// How many bindings are known.
    pub fn count(&self) -> usize {
        self.records.iter().map(|entry| entry.value().bindings.len()).sum()
    }
}
