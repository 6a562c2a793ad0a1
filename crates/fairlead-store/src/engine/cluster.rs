//! Members, the secret, the epoch of nonce keys.

use std::time::Duration;

use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::Member;

use super::{Engine, Write};
use crate::keys::MEMBER_FORGOTTEN_MS;
use crate::step::Outcome;

impl Engine {
    pub(super) fn beat(&mut self, member: Member, now: UnixMillis) -> Outcome {
        self.members.insert(member.pod, Member { seen: now, ..member });
        Outcome::Done
    }

    pub(super) fn leave(&mut self, pod: PodRef) -> Outcome {
        self.members.remove(&pod);
        Outcome::Done
    }

    pub(super) fn list_members(&self, now: UnixMillis) -> Outcome {
        Outcome::Members { now, members: self.members.values().cloned().collect() }
    }

    pub(super) fn sweep_members(&mut self, now: UnixMillis) {
        self.members.retain(|_, member| now.since(member.seen) < MEMBER_FORGOTTEN_MS);
    }

    pub(super) fn secret(&mut self, candidate: [u8; 32], writes: &mut Vec<Write>) -> Outcome {
        match self.secret {
            Some(secret) => Outcome::Secret { secret, made: false },
            None => {
                self.secret = Some(candidate);
                writes.push(Write::secret(&candidate));
                Outcome::Secret { secret: candidate, made: true }
            }
        }
    }

    pub(super) fn all_secrets(&mut self, known: Vec<[u8; 32]>, writes: &mut Vec<Write>) -> Outcome {
        let before = self.secrets.len();
        for secret in known {
            if !self.secrets.contains(&secret) {
                self.secrets.push(secret);
            }
        }
        if self.secrets.len() != before {
            writes.push(Write::secrets(&self.secrets));
        }
        Outcome::Secrets(self.secrets.clone())
    }

    pub(super) fn surroundings(&mut self, version: u64, text: String, writes: &mut Vec<Write>) -> Outcome {
        if version > self.surroundings.0 {
            self.surroundings = (version, text);
            writes.push(Write::surroundings(version, &self.surroundings.1));
        }
        let (stored, text) = &self.surroundings;
        Outcome::Surroundings { version: *stored, text: (*stored > version).then(|| text.clone()) }
    }

    pub(super) fn epoch(
        &mut self,
        period: Duration,
        at_least: u32,
        now: UnixMillis,
        writes: &mut Vec<Write>,
    ) -> Outcome {
        let (mut epoch, mut since) = self.epoch.unwrap_or((0, now));
        if epoch == 0 || now.since(since) >= period.as_millis() as u64 {
            (epoch, since) = (epoch.saturating_add(1), now);
        }
        if epoch < at_least {
            (epoch, since) = (at_least, now);
        }
        if self.epoch != Some((epoch, since)) {
            self.epoch = Some((epoch, since));
            writes.push(Write::epoch(epoch, since));
        }
        Outcome::Epoch { epoch, since, now }
    }
}
