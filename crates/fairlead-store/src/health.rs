//! What a store says of itself when it is examined.

use fairlead_model::id::UnixMillis;

/// What Redis says of itself. Of a Cluster: of its masters, the worst of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its time.
    pub now: UnixMillis,
    /// Our time at the middle of the journey on which it said so.
    pub asked: UnixMillis,
    /// Whether it keeps what it has on a disk; `None` when it does not say (the right to ask may be missing).
    pub persistent: Option<bool>,
    /// What it throws away when memory is short (`maxmemory-policy`); `None` when it does not say.
    pub eviction: Option<String>,
    /// Why something is not said, for the log.
    pub remarks: Vec<String>,
}
