//! Small pieces of text that must be new each time, and times as people read them.

use std::time::Duration;

/// Sixteen hexadecimal digits that nobody has used before.
pub(crate) fn token() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A branch (RFC 3261 §8.1.1.7).
pub(crate) fn branch() -> String {
    format!("z9hG4bK{}", token())
}

/// Milliseconds, for what takes long in seconds.
pub(crate) fn span(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 10_000 { format!("{millis} ms") } else { format!("{:.1} s", time.as_secs_f64()) }
}
