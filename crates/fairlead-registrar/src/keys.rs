//! Keys of the cluster, derived from its secret: one to mint names under, and those of nonces.

use fairlead_model::member::{MintKey, NonceKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sip_auth::{Algorithm, Challenger, NonceKeys};

/// The version of mint keys: the digit in front of what was minted.
const MINT_VERSION: u8 = b'1';

/// How many secrets names are recognised by; each time that Redis and the registrars lose everything together makes one.
const SECRETS_MAX: usize = 8;

/// The keys of one epoch.
pub struct Keys {
    /// The secret of the cluster.
    pub secret: [u8; 32],
    /// This and the former ones: names that live dialogs carry may have been minted under them.
    pub secrets: Vec<[u8; 32]>,
    /// The number of the epoch.
    pub epoch: u32,
    /// Under which pods mint names.
    pub mint: Vec<MintKey>,
    /// Of nonces: the current, then the two before.
    pub nonces: Vec<NonceKey>,
    /// Knows a nonce of these.
    pub challenger: Challenger,
}

impl Keys {
    /// Derives all of them; the current secret comes first.
    pub fn derive(secrets: Vec<[u8; 32]>, epoch: u32, realm: &str, algorithms: &[Algorithm]) -> Self {
        let secret = secrets.first().copied().unwrap_or_default();
        let epochs = (0..3).filter_map(|before| epoch.checked_sub(before)).filter(|&epoch| epoch > 0);
        let nonces: Vec<NonceKey> = epochs
            .map(|epoch| NonceKey {
                // The low byte tells neighbours apart; the epoch beside it does the rest.
                id: epoch.to_be_bytes()[3],
                epoch,
                key: sip_auth::NonceKey::derive(&secret, epoch),
            })
            .collect();
        let known = nonces.iter().map(|key| sip_auth::NonceKey::new(key.id, key.epoch, &key.key)).collect();
        let challenger = Challenger::new(realm, algorithms, NonceKeys::new(known));
        let mint = secrets.iter().take(SECRETS_MAX).map(|secret| mint_key(secret, MINT_VERSION)).collect();
        Keys { mint, nonces, challenger, secret, secrets, epoch }
    }
}

fn mint_key(secret: &[u8; 32], version: u8) -> MintKey {
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(b"sip mint key");
    mac.update(&[version]);
    let mut key = [0; 16];
    key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    MintKey { version, key }
}

/// The algorithms named in `[general]` or in a peer; unknown names are the configuration's fault and left out.
pub fn algorithms(names: &[String]) -> Vec<Algorithm> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_registrars_with_one_secret_have_the_same_keys() {
        let keys = || Keys::derive(vec![[7; 32]], 5, "here", &[Algorithm::Md5]);
        let (one, two) = (keys(), keys());
        assert_eq!(one.mint, two.mint);
        assert!(one.nonces == two.nonces);
        assert_eq!(one.nonces.iter().map(|key| key.epoch).collect::<Vec<_>>(), [5, 4, 3]);
    }

    #[test]
    fn a_nonce_of_the_epoch_before_is_still_known_and_one_of_three_before_is_stale() {
        let at = |epoch| Keys::derive(vec![[7; 32]], epoch, "here", &[Algorithm::Md5]).challenger;
        let challenge = at(5).challenge(1, false).remove(0);
        let nonce =
            challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        assert!(matches!(at(7).check_nonce(&nonce), sip_auth::NonceState::Fresh(_)));
        assert_eq!(at(8).check_nonce(&nonce), sip_auth::NonceState::Stale);
    }
}
