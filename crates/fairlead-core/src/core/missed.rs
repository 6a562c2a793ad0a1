//! Pods that are not there, and since when. A registrar that has just begun may not know all of them yet, and a pod that has just begun
//! may have calls before others hear of it; so what nobody but a pod itself may decide is decided for it only when it has been missed
//! for a while.

use super::*;

/// So many are remembered; more come and go in years.
const MAX_MISSED: usize = 1_024;

/// When pods were first missed.
#[derive(Debug, Default)]
pub(super) struct Missed {
    since: HashMap<PodRef, Instant>,
}

impl Missed {
    /// Other pods are there than before.
    pub fn note(&mut self, before: &[PodRef], router: &Router, now: Instant) {
        self.since.retain(|pod, _| !router.is_there(*pod));
        for pod in before.iter().filter(|pod| !router.is_there(**pod)) {
            self.since_when(*pod, now);
        }
    }

    /// One that is not there is missed since it was there last, or since it was asked for first: another pod may have just begun.
    pub fn since_when(&mut self, pod: PodRef, now: Instant) -> Instant {
        if self.since.len() >= MAX_MISSED && !self.since.contains_key(&pod) {
            // They are missed anew then.
            self.since.clear();
        }
        *self.since.entry(pod).or_insert(now)
    }
}

impl Core {
    /// Whether a pod is missed, and has been for so long.
    pub(super) fn is_missed_for(&mut self, pod: PodRef, time: Duration, now: Instant) -> bool {
        !self.router.is_there(pod) && now.saturating_duration_since(self.missed.since_when(pod, now)) >= time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_pods_that_are_missed_is_bounded() {
        let (mut missed, now) = (Missed::default(), Instant::now());
        for pod in 0..10_000 {
            missed.since_when(PodRef(pod), now);
            assert!(missed.since.len() <= MAX_MISSED);
        }
        assert_eq!(missed.since_when(PodRef(9_999), now + Duration::from_secs(1)), now);
    }
}
