//! Where one name stands.

use std::time::{Duration, Instant};

use fairlead_model::provision::Mark;

/// The first pause after something failed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where one name stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whose the peer is that registrars hold, as far as is known.
    pub(super) holder: Option<Holder>,
    /// The UID of which a registrar said that the peer is not its: it is not asked for again without a reason.
    pub(super) not_yours: Option<String>,
    /// What was written last, and whether every registrar said so: UID and fingerprint.
    pub(super) written: Option<(String, String)>,
    /// An attempt may have written it without every registrar having heard so.
    pub(super) untold: bool,
    pub(super) busy: bool,
    pub(super) queued: bool,
    /// It has to be looked at again when what runs now has ended.
    pub(super) again: bool,
    /// Written even if nothing is known to have changed.
    pub(super) verify: bool,
    /// Somebody took the record away that was written.
    pub(super) taken_away: bool,
    /// Waits until then.
    pub(super) not_before: Option<Instant>,
    pub(super) failures: u32,
    pub(super) corrected: Option<Instant>,
}

/// Whose a peer is.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) uid: String,
    pub(super) namespace: String,
}

impl Standing {
    /// Whether the holder is known because it was written for it; a list may be older than that.
    pub(super) fn is_written(&self) -> bool {
        let both = self.holder.as_ref().zip(self.written.as_ref());
        both.is_some_and(|(holder, (uid, _))| holder.uid == *uid)
    }

    /// Whether a registrar has said that the peer is not its holder's.
    pub(super) fn is_disowned(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| self.not_yours.as_ref() == Some(&holder.uid))
    }

    /// Waits, each time longer; `jitter` is from 0 to 1.
    pub(super) fn pause(&mut self, now: Instant, jitter: f64) {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + longest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
    }
}

impl Holder {
    /// By its mark.
    pub(super) fn of(mark: &Mark) -> Self {
        let namespace = mark.origin.split('/').nth(1).unwrap_or_default().to_owned();
        Holder { uid: mark.uid.clone(), namespace }
    }
}
