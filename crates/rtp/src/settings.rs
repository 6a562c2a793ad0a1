//! What a relay's table of streams is told at its birth.

use std::time::Duration;

/// Times of a relay. The defaults are those of the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Be silent towards an address until something was heard from it, but no longer than this. `None`: speak at
    /// once.
    pub hear_before_speak: Option<Duration>,
    /// How long a stream that ended keeps its triple, so that what its phone sends on is dropped.
    pub former: Duration,
    /// A heard flow is kept alive when nothing was sent to it for this long.
    pub keep_alive: Duration,
    /// A flow is unheard again after this long without a packet either way.
    pub unheard: Duration,
    /// A stream that may come from anywhere is followed to another source when its own was silent for so long. More than two
    /// packets of 20 ms, so that packets that overtake each other move nothing.
    pub moved: Duration,
    /// The most former triples that are remembered; the oldest go first.
    pub formers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            hear_before_speak: None,
            former: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            unheard: Duration::from_secs(25),
            moved: Duration::from_millis(50),
            formers: 100_000,
        }
    }
}
