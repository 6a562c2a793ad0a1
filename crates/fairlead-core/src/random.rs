//! Random numbers from a seed that is handed in: SipHash in counter mode under a secret key.
//!
//! Enough for what a shard draws: bits of nonces and session ids, jitter of retries. Keys are not made here.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// A generator that nobody without its seed can predict.
#[derive(Clone)]
pub struct Random {
    key: [u8; 16],
    counter: u64,
}

impl Random {
    /// Begins with 32 random bytes. The same seed gives the same numbers.
    pub fn new(seed: [u8; 32]) -> Self {
        let (mut key, mut second) = ([0; 16], [0; 16]);
        key.copy_from_slice(&seed[..16]);
        second.copy_from_slice(&seed[16..]);
        let mut hasher = SipHasher24::new_with_key(&key);
        hasher.write(&second);
        Random { key: hasher.finish128().as_bytes(), counter: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        hasher.finish128().h1
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low.saturating_add(self.bits() % span.max(1))
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_does_not() {
        let draw = |seed: u8| {
            let mut random = Random::new([seed; 32]);
            [random.bits(), random.bits(), random.bits()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[0], draw(1)[1]);
    }

    #[test]
    fn a_range_is_kept() {
        let mut random = Random::new([9; 32]);
        assert!((0..1000).all(|_| (5..=9).contains(&random.between(5, 9))));
        assert_eq!(random.between(3, 3), 3);
    }
}
