//! Who shows tokens that nobody knows, by address. The API server is asked about each token once: somebody who makes up
//! tokens must neither flood it nor keep those waiting whose tokens are good.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many wrong tokens one address may have asked about in [`WITHIN`].
const MOST: u32 = 30;

/// How long they are counted, and how long nothing is asked for that address afterwards, at most.
const WITHIN: Duration = Duration::from_secs(10);

/// Addresses at most; the questions at once bound those beyond.
const ROOM: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Strangers {
    /// Whether the API server may be asked about one more token from there.
    pub(super) fn may_ask(&self, from: IpAddr, now: Instant) -> bool {
        let counts = self.0.lock();
        counts.get(&from).is_none_or(|(since, count)| *count < MOST || is_over(*since, now))
    }

    /// One from there was worth nothing.
    pub(super) fn was_wrong(&self, from: IpAddr, now: Instant) {
        let mut counts = self.0.lock();
        if counts.len() >= ROOM {
            counts.retain(|_, (since, _)| !is_over(*since, now));
        }
        if counts.len() >= ROOM && !counts.contains_key(&from) {
            return;
        }
        let (since, count) = counts.entry(from).or_insert((now, 0));
        if is_over(*since, now) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_many_wrong_tokens_waits_and_the_others_do_not() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..MOST {
            assert!(strangers.may_ask(one, now));
            strangers.was_wrong(one, now);
        }
        assert!(!strangers.may_ask(one, now));
        assert!(strangers.may_ask(other, now));
        assert!(strangers.may_ask(one, now + WITHIN));
        for number in 0..5000_u32 {
            strangers.was_wrong(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(strangers.0.lock().len(), ROOM);
    }
}
