//! Which relay a new session goes to.
//!
//! Relays are filled in coarse steps, the lowest ordinal first: so a StatefulSet that shrinks, which it does from its
//! highest ordinal down, has the least to wait for, and a step is still small enough that all share a load that one alone
//! would feel. A relay that could not be reached a moment ago comes last; one that drains, or has no address or no ports
//! (it says so as draining), is not asked at all.

use std::cmp::Ordering;

/// Sessions in one step.
pub(super) const STEP: u64 = 32;

/// A relay as far as the choice goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate<T> {
    /// The name of its pod.
    pub(super) name: String,
    /// Sessions that it has, those that this pod put there a moment ago included.
    pub(super) load: u64,
    /// It could not be reached a moment ago.
    pub(super) failed: bool,
    /// What is asked.
    pub(super) relay: T,
}

/// The order in which to ask.
pub(super) fn order<T>(mut candidates: Vec<Candidate<T>>) -> Vec<T> {
    candidates.sort_by(|a, b| {
        (a.failed, a.load / STEP).cmp(&(b.failed, b.load / STEP)).then_with(|| by_ordinal(&a.name, &b.name))
    });
    candidates.into_iter().map(|candidate| candidate.relay).collect()
}

/// `edge-media-2` before `edge-media-10`.
fn by_ordinal(a: &str, b: &str) -> Ordering {
    let (prefix_a, ordinal_a) = split(a);
    let (prefix_b, ordinal_b) = split(b);
    prefix_a.cmp(prefix_b).then(ordinal_a.cmp(&ordinal_b)).then(a.cmp(b))
}

fn split(name: &str) -> (&str, u64) {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.get(prefix.len()..).unwrap_or_default();
    (prefix, digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(relays: &[(&str, u64, bool)]) -> Vec<String> {
        let candidate = |(name, load, failed): &(&str, u64, bool)| Candidate {
            name: (*name).to_owned(),
            load: *load,
            failed: *failed,
            relay: (*name).to_owned(),
        };
        order(relays.iter().map(candidate).collect())
    }

    #[test]
    fn the_lowest_ordinal_is_filled_by_a_step_before_the_next_is_used() {
        assert_eq!(asked(&[("m-1", 0, false), ("m-0", STEP - 1, false)]), ["m-0", "m-1"]);
        assert_eq!(asked(&[("m-1", 0, false), ("m-0", STEP, false)]), ["m-1", "m-0"]);
        assert_eq!(asked(&[("m-1", STEP, false), ("m-0", STEP + 7, false)]), ["m-0", "m-1"]);
    }

    #[test]
    fn ordinals_are_numbers() {
        assert_eq!(
            asked(&[("m-10", 0, false), ("m-9", 0, false), ("m-2", 0, false)]),
            ["m-2", "m-9", "m-10"]
        );
    }

    #[test]
    fn one_that_could_not_be_reached_comes_last_however_empty_it_is() {
        assert_eq!(asked(&[("m-0", 0, true), ("m-1", 500, false)]), ["m-1", "m-0"]);
    }
}
