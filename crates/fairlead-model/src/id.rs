//! Names of things that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One incarnation of one process: 48 random bits drawn at its start. A restarted pod is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef(pub u64);

impl PodRef {
    /// The largest value; more bits do not fit into what we mint.
    pub const MAX: u64 = (1 << 48) - 1;

    /// Cuts a random number down to the 48 bits of a pod's name.
    pub const fn from_random(random: u64) -> Self {
        PodRef(random & Self::MAX)
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl FromStr for PodRef {
    type Err = BadRef;

    fn from_str(text: &str) -> Result<Self, BadRef> {
        match u64::from_str_radix(text, 16) {
            Ok(value) if value <= Self::MAX => Ok(PodRef(value)),
            _ => Err(BadRef("twelve hexadecimal digits are wanted")),
        }
    }
}

/// A name that could not be read; the text says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRef(pub &'static str);

/// The number of a shard inside its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardRef(pub u8);

/// One call, named by who began it. The name stays when another pod adopts the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallRef {
    /// The pod that admitted the call.
    pub pod: PodRef,
    /// The shard of that pod.
    pub shard: ShardRef,
    /// Counted by the shard from 1.
    pub number: u64,
}

impl fmt::Display for CallRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pod, self.shard.0, self.number)
    }
}

impl FromStr for CallRef {
    type Err = BadRef;

    fn from_str(text: &str) -> Result<Self, BadRef> {
        const WANTED: BadRef = BadRef("POD-SHARD-NUMBER is wanted");
        let mut parts = text.splitn(3, '-');
        let pod = parts.next().ok_or(WANTED)?.parse()?;
        let shard = parts.next().and_then(|p| p.parse().ok()).ok_or(WANTED)?;
        let number = parts.next().and_then(|p| p.parse().ok()).ok_or(WANTED)?;
        Ok(CallRef { pod, shard: ShardRef(shard), number })
    }
}

/// Which leg of a call: A was called from, B is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The caller's leg.
    A,
    /// The callee's leg.
    B,
}

impl Side {
    /// The leg at the other end.
    pub const fn other(self) -> Self {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// The number of an attempt to reach somebody, within one call, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptRef(pub u16);

/// One stream connection of a pod, counted from 1, never used twice by one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionRef(pub u64);

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds, as the `regseconds` column counts.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This much later; stays at the end of time rather than wrapping.
    pub const fn plus_millis(self, millis: u64) -> Self {
        UnixMillis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here; 0 when `earlier` is later.
    pub const fn since(self, earlier: UnixMillis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
