//! How much is known of the namespaces that are watched, and what may be done with that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The namespaces.
#[derive(Debug)]
pub(super) struct Namespaces {
    watched: BTreeMap<String, Listing>,
    /// Those in which there is no such kind: nothing waits there.
    without_kind: BTreeSet<String>,
    patience: Instant,
}

/// How much of a namespace is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Unknown,
    /// It may not be watched.
    Refused,
    Complete,
}

impl Namespaces {
    /// Of none of them anything is known; see [`Namespaces::let_begin`] for `patience`.
    pub(super) fn new(names: impl IntoIterator<Item = String>, patience: Instant) -> Self {
        let watched = names.into_iter().map(|name| (name, Listing::Unknown)).collect();
        Namespaces { watched, without_kind: BTreeSet::new(), patience }
    }

    /// All objects of one are known.
    pub(super) fn listed(&mut self, name: &str) {
        self.watched.insert(name.to_owned(), Listing::Complete);
        self.without_kind.remove(name);
    }

    /// One may not be watched; whether that is news. What was known of it stays.
    pub(super) fn refused(&mut self, name: &str) -> bool {
        let listing = self.watched.entry(name.to_owned()).or_insert(Listing::Unknown);
        let is_news = *listing == Listing::Unknown;
        if is_news {
            *listing = Listing::Refused;
        }
        is_news
    }

    /// There is no such kind in one.
    pub(super) fn has_no_kind(&mut self, name: &str) {
        self.without_kind.insert(name.to_owned());
    }

    /// Whether all objects of this one are known.
    pub(super) fn is_listed(&self, name: &str) -> bool {
        self.watched.get(name) == Some(&Listing::Complete)
    }

    /// Whether nobody here may say that an object of this one is gone.
    pub(super) fn is_foreign(&self, name: &str) -> bool {
        !matches!(self.watched.get(name), Some(Listing::Complete | Listing::Unknown))
    }

    /// Whether each has been listed or is refused.
    pub(super) fn are_complete(&self) -> bool {
        self.watched.values().all(|listing| *listing != Listing::Unknown)
    }

    /// Whether every object that asks for a peer is known.
    pub(super) fn know_all_objects(&self) -> bool {
        let is_known = |(name, listing): (&String, &Listing)| {
            *listing != Listing::Unknown || self.without_kind.contains(name)
        };
        self.watched.iter().all(is_known)
    }

    /// Whether peers may be written: an older claim may be in a namespace that was not listed yet, but one that does not
    /// answer holds up nobody for longer than `patience`.
    pub(super) fn let_begin(&self, now: Instant) -> bool {
        self.are_complete() || now >= self.patience
    }

    /// When that is.
    pub(super) fn patience(&self) -> Instant {
        self.patience
    }
}
