//! How often a nonce was used: the replay window of `nc` (RFC 7616 §3.4, §5.5).

/// The uses of one nonce by one peer, as a plain value of two numbers that a store can keep.
///
/// A window of 64: requests of one phone may overtake each other by that many, and none counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NonceUse {
    /// The highest `nc` seen so far, 0 before the first; `u64::MAX` once the nonce is used up.
    pub base: u64,
    /// Bit n says that `base - n` was seen.
    pub seen: u64,
}

/// What a use of a nonce is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// New; it has been noted.
    First,
    /// Seen before, or too old to know, or the nonce is used up: the request has to be challenged with
    /// `stale=true`.
    Replayed,
}

impl NonceUse {
    /// Notes a request with this `nc`, or one without qop (`None`), which uses the nonce up.
    pub fn note(&mut self, nc: Option<u32>) -> Use {
        match nc {
            Some(nc) => self.note_counted(u64::from(nc)),
            // Without qop nothing tells a repetition from the first: once, and only on a nonce never used.
            None if self.base == 0 => {
                *self = NonceUse { base: u64::MAX, seen: u64::MAX };
                Use::First
            }
            None => Use::Replayed,
        }
    }

    /// Whether no further answer with this nonce is taken.
    pub fn is_used_up(&self) -> bool {
        self.base == u64::MAX
    }

    fn note_counted(&mut self, nc: u64) -> Use {
        // nc counts from 1 (RFC 7616 §3.4).
        if nc == 0 || self.is_used_up() {
            return Use::Replayed;
        }
        if nc > self.base {
            let step = nc - self.base;
            self.seen = if step < 64 { (self.seen << step) | 1 } else { 1 };
            self.base = nc;
            return Use::First;
        }
        let back = self.base - nc;
        if back >= 64 || self.seen & (1 << back) != 0 {
            return Use::Replayed;
        }
        self.seen |= 1 << back;
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::Use::{First, Replayed};
    use super::*;

    fn notes(ncs: &[u32]) -> Vec<Use> {
        let mut usage = NonceUse::default();
        ncs.iter().map(|&nc| usage.note(Some(nc))).collect()
    }

    #[test]
    fn each_count_is_taken_once_in_any_order_within_the_window() {
        assert_eq!(notes(&[1, 1, 2, 4, 3, 3, 4]), [First, Replayed, First, First, First, Replayed, Replayed]);
    }

    #[test]
    fn what_lies_64_or_more_behind_is_a_replay() {
        assert_eq!(notes(&[70, 7, 6, 70]), [First, First, Replayed, Replayed]);
        assert_eq!(notes(&[1, 64, 1, 65, 2, 1]), [First, First, Replayed, First, First, Replayed]);
    }

    #[test]
    fn a_leap_of_the_counter_forgets_what_was_before() {
        assert_eq!(notes(&[5, u32::MAX, 5, u32::MAX]), [First, First, Replayed, Replayed]);
    }

    #[test]
    fn zero_is_no_count() {
        assert_eq!(notes(&[0]), [Replayed]);
    }

    #[test]
    fn an_answer_without_qop_uses_the_nonce_up() {
        let mut usage = NonceUse::default();
        assert_eq!(usage.note(None), First);
        assert!(usage.is_used_up());
        assert_eq!(usage.note(None), Replayed);
        assert_eq!(usage.note(Some(1)), Replayed);
    }

    #[test]
    fn an_answer_without_qop_cannot_follow_a_counted_one() {
        let mut usage = NonceUse::default();
        assert_eq!(usage.note(Some(1)), First);
        assert_eq!(usage.note(None), Replayed);
        assert_eq!(usage.note(Some(2)), First);
    }
}
