//! The time that all registrars share: the store's.

use std::sync::atomic::{AtomicI64, Ordering};

use fairlead_model::id::UnixMillis;

/// This machine's wall clock, put right by the store's. Two registrars whose machines disagree still agree on when a
/// binding ends.
#[derive(Debug, Default)]
pub struct Clock {
    /// What is added to the machine's time, milliseconds.
    ahead: AtomicI64,
}

/// Differences below this are the journey's, not the clock's, milliseconds.
const JOURNEY: i64 = 250;

impl Clock {
    /// Now, by the store's time.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(
            fairlead_runtime::identity::now().0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)),
        )
    }

    /// The store said what time it is.
    pub fn heard(&self, theirs: UnixMillis) {
        let ours = fairlead_runtime::identity::now();
        let ahead = i64::try_from(theirs.0).unwrap_or(i64::MAX) - i64::try_from(ours.0).unwrap_or(i64::MAX);
        if (ahead - self.ahead.load(Ordering::Relaxed)).abs() > JOURNEY {
            self.ahead.store(if ahead.abs() > JOURNEY { ahead } else { 0 }, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_five_minutes_off_follows_the_store() {
        let clock = Clock::default();
        clock.heard(fairlead_runtime::identity::now().plus_millis(300_000));
        let ahead = clock.now().since(fairlead_runtime::identity::now());
        assert!((299_000..=301_000).contains(&ahead), "{ahead}");
        clock.heard(fairlead_runtime::identity::now().plus_millis(20));
        assert!(clock.now().since(fairlead_runtime::identity::now()) < 1_000);
    }
}
