//! Who leads, from what the Lease says and how long it has said so. No clock of another machine is believed: a Lease is
//! over when it has not changed for its own duration, by this process's clock.

use std::time::{Duration, Instant};

/// What the Lease said, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Who holds it; empty for nobody.
    pub holder: String,
    /// What changes when it is renewed.
    pub stamp: String,
    /// How long it lasts without being renewed.
    pub duration: Duration,
    /// When it was first seen to say so.
    pub since: Instant,
}

impl Observed {
    /// What is seen now, after what was seen before.
    pub fn after(self, before: Option<Observed>) -> Observed {
        match before {
            Some(before) if before.holder == self.holder && before.stamp == self.stamp => {
                Observed { since: before.since, ..self }
            }
            _ => self,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease yet.
    Create,
    /// It is ours.
    Renew,
    /// Nobody holds it any more.
    Take,
    /// Somebody does.
    Wait,
}

/// The next step of `me`.
pub fn step(now: Instant, me: &str, seen: Option<&Observed>) -> Step {
    match seen {
        None => Step::Create,
        Some(seen) if seen.holder == me => Step::Renew,
        Some(seen) if seen.holder.is_empty() => Step::Take,
        Some(seen) if now.saturating_duration_since(seen.since) >= seen.duration => Step::Take,
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, stamp: &str, since: Instant) -> Observed {
        let duration = Duration::from_secs(15);
        Observed { holder: holder.to_owned(), stamp: stamp.to_owned(), duration, since }
    }

    #[test]
    fn it_is_taken_when_it_has_not_changed_for_its_duration() {
        let start = Instant::now();
        let first = seen("a", "1", start);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(step(later(14), "b", Some(&first)), Step::Wait);
        let same = seen("a", "1", later(14)).after(Some(first.clone()));
        assert_eq!(step(later(15), "b", Some(&same)), Step::Take);
        let renewed = seen("a", "2", later(14)).after(Some(first));
        assert_eq!(step(later(15), "b", Some(&renewed)), Step::Wait);
    }

    #[test]
    fn a_released_one_is_taken_at_once_and_a_missing_one_is_made() {
        let now = Instant::now();
        assert_eq!(step(now, "b", Some(&seen("", "9", now))), Step::Take);
        assert_eq!(step(now, "b", None), Step::Create);
        assert_eq!(step(now, "b", Some(&seen("b", "9", now))), Step::Renew);
    }
}
