//! Pods that are not there any more, and since when. A registrar that has just begun may not know all of them yet; so what nobody but
//! a pod itself may decide is decided for it only when it has been missed for a while.

use super::*;

/// So many are remembered; more come and go in years.
const MAX_MISSED: usize = 1_024;

/// When pods were first missed.
#[derive(Debug, Default)]
pub(super) struct Missed {
    since: HashMap<PodRef, Instant>,
    first: Option<Instant>,
}

impl Missed {
    /// Other pods are there than before.
    pub fn note(&mut self, before: &[PodRef], router: &Router, now: Instant) {
        self.first.get_or_insert(now);
        self.since.retain(|pod, _| !router.is_there(*pod));
        if self.since.len() + before.len() > MAX_MISSED {
            // They count as missed since the first briefing then.
            self.since.clear();
        }
        for pod in before.iter().filter(|pod| !router.is_there(**pod)) {
            self.since.entry(*pod).or_insert(now);
        }
    }
}

impl Core {
    /// Whether a pod is missed, and has been for so long: since it was there last, or since this one was told who is.
    pub(super) fn is_missed_for(&self, pod: PodRef, time: Duration, now: Instant) -> bool {
        let since = self.missed.since.get(&pod).copied().or(self.missed.first);
        !self.router.is_there(pod) && since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }
}
