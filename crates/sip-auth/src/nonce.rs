//! Nonces that any holder of the keys can check, without memory and without a clock.
//!
//! Text: 36 characters of URL-safe base64 over key id (1 byte), epoch (4, big-endian), random bits (8) and the
//! first 14 bytes of HMAC-SHA256 over these and the realm.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const HEAD: usize = 1 + 4 + 8;
const TAG: usize = 14;
const TEXT: usize = (HEAD + TAG) / 3 * 4;

/// A key of nonces, as it was handed out with the number of its epoch.
#[derive(Clone)]
pub struct NonceKey {
    id: u8,
    epoch: u32,
    // HMAC after its key block: saves two compressions a nonce.
    mac: Hmac<Sha256>,
}

impl NonceKey {
    /// A key with the id and epoch that are written into each nonce.
    pub fn new(id: u8, epoch: u32, key: &[u8; 32]) -> Self {
        NonceKey { id, epoch, mac: keyed(key) }
    }

    /// The 32 bytes of an epoch's key, derived from a secret that the cluster shares.
    pub fn derive(secret: &[u8], epoch: u32) -> [u8; 32] {
        let mut short = [0; 32];
        // A key longer than the block is hashed first, which is HMAC's own rule (RFC 2104 §2).
        let mut mac = if secret.len() <= 64 {
            keyed(secret)
        } else {
            short.copy_from_slice(&<Sha256 as sha2::Digest>::digest(secret));
            keyed(&short)
        };
        mac.update(b"sip digest nonce key");
        mac.update(&epoch.to_be_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The number of its epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    fn tag(&self, head: &[u8], realm: &str) -> [u8; TAG] {
        let mut mac = self.mac.clone();
        mac.update(head);
        mac.update(realm.as_bytes());
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NonceKey({} of epoch {})", self.id, self.epoch)
    }
}

/// HMAC with a key of at most 64 bytes.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    let len = key.len().min(64);
    block[..len].copy_from_slice(&key[..len]);
    Hmac::<Sha256>::new(&block.into())
}

/// The keys that are valid now: the current one first, then the two before.
#[derive(Clone, Debug, Default)]
pub struct NonceKeys(Vec<NonceKey>);

impl NonceKeys {
    /// Takes the current key and those before it, newest first; more than three are not kept.
    pub fn new(mut keys: Vec<NonceKey>) -> Self {
        keys.truncate(3);
        NonceKeys(keys)
    }

    /// Whether there is no key at all: nobody can be challenged yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A new nonce under the current key; `None` without a key. `random` must be 64 fresh random bits.
    pub fn mint(&self, realm: &str, random: u64) -> Option<String> {
        let key = self.0.first()?;
        let mut bytes = [0; HEAD + TAG];
        bytes[0] = key.id;
        bytes[1..5].copy_from_slice(&key.epoch.to_be_bytes());
        bytes[5..HEAD].copy_from_slice(&random.to_be_bytes());
        let tag = key.tag(&bytes[..HEAD], realm);
        bytes[HEAD..].copy_from_slice(&tag);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Judges a nonce that somebody sent. Constant time in the nonce's secret part.
    pub fn check(&self, realm: &str, nonce: &str) -> NonceState {
        let mut bytes = [0; HEAD + TAG];
        if nonce.len() != TEXT || URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(HEAD + TAG) {
            return NonceState::Forged;
        }
        let (head, tag) = bytes.split_at(HEAD);
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let epoch = number(1..5) as u32;
        let Some(key) = self.0.iter().find(|key| key.id == head[0] && key.epoch == epoch) else {
            // Of an epoch that is over, or that was not handed out to us yet. It cannot be told from an
            // invented one, and need not be: all it earns is a fresh challenge.
            return NonceState::Stale;
        };
        if bool::from(key.tag(head, realm).ct_eq(tag)) {
            NonceState::Fresh(NonceId { epoch, random: number(5..HEAD) })
        } else {
            NonceState::Forged
        }
    }
}

/// What a nonce turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    /// Minted under a key that is valid now, for this realm.
    Fresh(NonceId),
    /// Of a key that is not valid (any more): answer a digest that holds with `stale=true`.
    Stale,
    /// Not ours: no nonce of this form, or not minted with this key for this realm.
    Forged,
}

/// Names one nonce: what a peer's [`NonceUse`](crate::NonceUse) is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonceId {
    /// The epoch it was minted in.
    pub epoch: u32,
    /// Its random bits.
    pub random: u64,
}

impl fmt::Display for NonceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:016x}", self.epoch, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "example.com";

    fn epoch(epoch: u32) -> NonceKey {
        NonceKey::new(epoch as u8, epoch, &NonceKey::derive(b"secret of the cluster", epoch))
    }

    fn at(current: u32) -> NonceKeys {
        NonceKeys::new((current.saturating_sub(5)..=current).rev().map(epoch).collect())
    }

    fn mint(keys: &NonceKeys, random: u64) -> String {
        keys.mint(REALM, random).expect("there is a key")
    }

    #[test]
    fn any_holder_of_the_keys_verifies_and_learns_the_same_name() {
        let nonce = mint(&at(7), 0xfeed_0000_0000_0001);
        assert_eq!(nonce.len(), TEXT);
        let id = NonceId { epoch: 7, random: 0xfeed_0000_0000_0001 };
        assert_eq!(at(7).check(REALM, &nonce), NonceState::Fresh(id));
        assert_eq!(id.to_string(), "00000007feed000000000001");
    }

    #[test]
    fn the_current_and_the_two_before_verify() {
        let nonce = mint(&at(7), 1);
        assert!(matches!(at(8).check(REALM, &nonce), NonceState::Fresh(_)));
        assert!(matches!(at(9).check(REALM, &nonce), NonceState::Fresh(_)));
        assert_eq!(at(10).check(REALM, &nonce), NonceState::Stale);
        assert_eq!(at(6).check(REALM, &nonce), NonceState::Stale, "a pod that lags behind");
    }

    #[test]
    fn an_id_used_again_for_a_later_epoch_does_not_revive_old_nonces() {
        let old = mint(&at(7), 1);
        assert_eq!(at(7 + 256).check(REALM, &old), NonceState::Stale);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let keys = at(7);
        let whole = URL_SAFE_NO_PAD.decode(mint(&keys, 77)).expect("base64");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let state = keys.check(REALM, &URL_SAFE_NO_PAD.encode(&bytes));
            assert!(!matches!(state, NonceState::Fresh(_)), "bit {bit}: {state:?}");
        }
    }

    #[test]
    fn cut_lengthened_empty_and_foreign_nonces_are_forged() {
        let keys = at(7);
        let nonce = mint(&keys, 77);
        for wrong in ["", &nonce[1..], &format!("{nonce}A"), &format!("{nonce}="), "ä", &"!".repeat(TEXT)] {
            assert_eq!(keys.check(REALM, wrong), NonceState::Forged, "{wrong}");
        }
        assert_eq!(keys.check("other.example", &nonce), NonceState::Forged);
    }

    #[test]
    fn another_cluster_mints_what_is_forged_here() {
        let theirs = NonceKeys::new(vec![NonceKey::new(7, 7, &NonceKey::derive(b"theirs", 7))]);
        assert_eq!(at(7).check(REALM, &mint(&theirs, 1)), NonceState::Forged);
    }

    #[test]
    fn derivation_is_hmac_also_for_long_secrets() {
        // RFC 4231 test case 6: a key of 131 times 0xaa is hashed first.
        let long = [0xaa; 131];
        let mut mac = Hmac::<Sha256>::new_from_slice(&long).expect("any length");
        mac.update(b"sip digest nonce key\0\0\0\x07");
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(NonceKey::derive(&long, 7), whole);
    }

    #[test]
    fn without_a_key_nothing_is_minted() {
        assert_eq!(NonceKeys::default().mint(REALM, 1), None);
        assert_eq!(NonceKeys::default().check(REALM, &mint(&at(7), 1)), NonceState::Stale);
    }
}
