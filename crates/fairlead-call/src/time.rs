//! The time, as it is handed in.

use std::time::Instant;

use fairlead_model::id::UnixMillis;

/// The time, twice: by a clock that never jumps, and by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Instant,
    /// For deadlines that other pods must understand.
    pub wall: UnixMillis,
}

impl Now {
    /// Milliseconds since an earlier moment.
    pub fn since(&self, earlier: &Now) -> u64 {
        u64::try_from(self.mono.saturating_duration_since(earlier.mono).as_millis()).unwrap_or(u64::MAX)
    }
}
