//! Answering challenges that trunks send to us.

use std::time::{Duration, Instant};

use fairlead_model::ask::{Answer, AskFailed, ChallengeToAnswer, Refusal};
use fairlead_model::peer::Peer;
use sip_auth::{Algorithm, Answering, Challenge, Secret, answer};
use tracing::warn;

use crate::registrar::Registrar;

/// How long a trunk's realm stays the only one that is answered after its last challenge.
const REALM_KEPT: Duration = Duration::from_secs(3600);

impl Registrar {
    /// The header value that answers a challenge. Only for a peer of sip.conf with a configured host and a secret for
    /// it, and for one realm: whoever is called could otherwise collect digests of realms of his choice.
    pub(crate) fn answer_challenge(&self, asked: &ChallengeToAnswer) -> Result<Answer, AskFailed> {
        let peer = self
            .catalog
            .get(&asked.peer)
            .filter(|peer| self.catalog.is_static(&peer.name) && peer.answers_challenges());
        let Some(peer) = peer else { return Ok(no("the peer answers no challenges")) };
        let Some(offered) = asked.challenges.iter().find_map(|value| Challenge::parse(value)) else {
            return Ok(no("no challenge can be read"));
        };
        let Some((user, secret, realm)) = self.credentials(&peer, &offered.realm) else {
            warn!(peer = %peer.name, "a trunk challenged for another realm than before and is not answered");
            return Ok(no("the challenge is for another realm"));
        };
        let answered = answer(&Answering {
            challenges: &asked.challenges,
            realm: Some(&realm),
            user: &user,
            secret,
            method: &asked.method,
            uri: &asked.uri,
            cnonce: &asked.cnonce,
            nc: asked.nc,
            allowed: &Algorithm::ALL,
        });
        match answered {
            Ok(answered) => Ok(Answer::ChallengeAnswered { value: answered.value }),
            Err(error) => Ok(no(&error.to_string())),
        }
    }

    /// Who we are to this peer in this realm: by an `auth` line for the realm, else by `remotesecret` or `secret`,
    /// for the realm that it challenged with first.
    fn credentials<'a>(&self, peer: &'a Peer, realm: &str) -> Option<(String, Secret<'a>, String)> {
        if let Some(entry) = peer.auth.iter().find(|entry| entry.realm == realm) {
            let secret = match entry.is_digest {
                true => Secret::Ha1 { algorithm: Algorithm::Md5, hex: entry.secret.expose() },
                false => Secret::Password(entry.secret.expose()),
            };
            return Some((entry.user.clone(), secret, realm.to_owned()));
        }
        let secret = match (&peer.remote_secret, &peer.secret, &peer.md5_secret) {
            (Some(remote), _, _) => Secret::Password(remote.expose()),
            (None, Some(secret), _) => Secret::Password(secret.expose()),
            (None, None, Some(ha1)) => Secret::Ha1 { algorithm: Algorithm::Md5, hex: ha1.expose() },
            (None, None, None) => return None,
        };
        let mut realms = self.realms.lock();
        let now = Instant::now();
        match realms.get_mut(&peer.name) {
            Some((known, until)) if *until > now && known != realm => return None,
            Some(kept) => *kept = (realm.to_owned(), now + REALM_KEPT),
            None => drop(realms.insert(peer.name.clone(), (realm.to_owned(), now + REALM_KEPT))),
        }
        let user = peer.default_user.as_ref().or(peer.from_user.as_ref()).unwrap_or(&peer.name);
        Some((user.clone(), secret, realm.to_owned()))
    }
}

/// There is no answer; the call fails as it would without us.
fn no(why: &str) -> Answer {
    Answer::Refused(Refusal::new(403, format!("Forbidden ({why})")))
}
