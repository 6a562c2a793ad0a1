//! Judging credentials.

use fairlead_model::ask::{Credentials, Refusal};
use fairlead_model::peer::Peer;
use fairlead_store::NonceUse;
use sip_auth::{Algorithm, Expected, NonceState, Rejected, Secret};

use crate::keys::algorithms;
use crate::registrar::Registrar;

/// What credentials prove.
#[derive(Debug)]
pub enum Proof {
    /// The digest holds; this use of its nonce is yet to be noted.
    Holds(NonceUse),
    /// Challenge (again).
    Challenge {
        /// The digest held, its nonce did not.
        stale: bool,
    },
    /// The digest does not hold, or nobody has that name: nobody is told which.
    Wrong,
    /// They are not as they must be.
    Refused(Refusal),
}

impl Registrar {
    /// Whether `credentials` prove that the sender is `peer`. For nobody (`None`) it takes the same time and ends
    /// like a wrong password.
    pub(crate) fn prove(&self, credentials: Option<&Credentials>, peer: Option<&Peer>) -> Proof {
        let Some(credentials) = credentials else { return Proof::Challenge { stale: false } };
        let Some(keys) = self.keys.load_full() else { return Proof::Challenge { stale: false } };
        let general = self.catalog.general();
        // What is offered is the same for everybody; a peer with algorithms of its own takes only those.
        let own = peer.map(|peer| algorithms(&peer.auth_algorithms)).filter(|own| !own.is_empty());
        let allowed = own.as_deref().unwrap_or(keys.challenger.algorithms());
        let realm = general.realm.as_str();
        let answer = match sip_auth::Credentials::pick(&credentials.values, realm, allowed) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Proof::Challenge { stale: false },
            Err(error) => return Proof::Refused(Refusal::new(400, format!("Bad Request ({error})"))),
        };
        let secret = peer.filter(|peer| peer.name == answer.username).map_or(Secret::Unknown, secret_of);
        let expected =
            Expected { realm, method: &credentials.method, uri: &credentials.uri, algorithms: allowed };
        let verdict = sip_auth::verify(&answer, secret, &expected);
        match (verdict, keys.challenger.check_nonce(&answer.nonce)) {
            (Ok(()), NonceState::Fresh(nonce)) => Proof::Holds(NonceUse {
                nonce: nonce.to_string(),
                count: answer.protection.as_ref().map(|protection| protection.nc),
                life: self.nonce_life(),
            }),
            (Ok(()), NonceState::Stale) => Proof::Challenge { stale: true },
            (Err(Rejected::Digest), NonceState::Fresh(_)) => Proof::Wrong,
            (Err(Rejected::Uri), _) => {
                Proof::Refused(Refusal::new(400, "Bad Request (the credentials are for another URI)"))
            }
            _ => Proof::Challenge { stale: false },
        }
    }

    /// How long a use of a nonce must be remembered: as long as its key verifies.
    fn nonce_life(&self) -> std::time::Duration {
        self.config.nonce_period * 3 + std::time::Duration::from_secs(60)
    }
}

/// What a digest of this peer is checked with.
fn secret_of(peer: &Peer) -> Secret<'_> {
    match (&peer.md5_secret, &peer.secret) {
        (Some(ha1), _) => Secret::Ha1 { algorithm: Algorithm::Md5, hex: ha1.expose() },
        (None, Some(password)) => Secret::Password(password.expose()),
        (None, None) => Secret::Unknown,
    }
}
