//! What a probe says: a line a step, and all of it in the end.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::audio::Direction;
use crate::text::span;

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// Its name becomes addresses.
    Resolve,
    /// OPTIONS.
    Options,
    /// REGISTER of both.
    Register,
    /// INVITE, 200, ACK.
    Invite,
    /// Audio both ways.
    Audio,
    /// BYE.
    Bye,
    /// REGISTER with Expires 0 of both.
    Unregister,
}

impl StepName {
    /// As it is printed.
    pub const fn word(self) -> &'static str {
        match self {
            StepName::Resolve => "resolve",
            StepName::Options => "options",
            StepName::Register => "register",
            StepName::Invite => "invite",
            StepName::Audio => "audio",
            StepName::Bye => "bye",
            StepName::Unregister => "unregister",
        }
    }
}

/// A step that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// It succeeded.
    pub ok: bool,
    /// How long it took.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub took: Duration,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ok = if self.ok { "ok" } else { "FAILED" };
        write!(f, "{:<10}  {ok:<6}  {:>8}  {}", self.step.word(), span(self.took), self.seen)
    }
}

fn millis<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The step that failed.
    pub step: StepName,
    /// What was seen of it.
    pub seen: String,
    /// What to look at.
    pub hint: String,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Everything was seen, audio both ways included.
    pub ok: bool,
    /// The steps that were made.
    pub steps: Vec<Step>,
    /// Both directions of audio, the caller's first; empty when it did not come to that.
    pub audio: Vec<Direction>,
    /// The first thing that failed.
    pub failure: Option<Failure>,
}

impl Report {
    /// It on one line, as JSON.
    pub fn json(&self) -> String {
        // Strings, numbers and lists of them always become JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "The edge works: both registered, called and heard each other."),
            Some(failure) => {
                write!(f, "FAILED at {}: {}\nHint: {}", failure.step.word(), failure.seen, failure.hint)
            }
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = self.loss();
        write!(
            f,
            "{} -> {}: sent {}, received {}, lost {} ({}.{} %), jitter {}.{:01} ms, from {}",
            self.from,
            self.to,
            self.sent,
            self.received,
            self.lost,
            loss / 10,
            loss % 10,
            self.jitter_us / 1_000,
            self.jitter_us % 1_000 / 100,
            self.relay
        )?;
        if self.before > 0 {
            write!(f, " after {} that opened the way", self.before)?;
        }
        if let Some(from) = self.elsewhere_from {
            write!(f, "; {} came from {from} instead", self.elsewhere)?;
        }
        Ok(())
    }
}
