//! What registrars said to what they were asked.

use std::time::{Duration, Instant};

use fairlead_model::provision::{Provision, Provisioned, Withdrawn};
use fairlead_proto::operator::Unanswered;

use super::next::may_replace;
use super::standing::Holder;
use super::{PeerPlan, Told};
use crate::peers::verdict::Verdict;

/// How often a name that somebody else has is tried again without a reason; news of it are the usual reason.
const TAKEN_PAUSE: Duration = Duration::from_secs(20);

/// Failures in a row, about two seconds, after which an object that is not known to be served does not say so any more.
const FAILURES_DOUBTED: u32 = 3;

/// Failures in a row, about eight seconds, after which it says that registrars are away.
const FAILURES_TOLD: u32 = 5;

impl PeerPlan {
    /// What a registrar said to [`Action::Provision`]; `jitter` is random, from 0 to 1.
    pub fn provisioned(
        &mut self,
        now: Instant,
        asked: &Provision,
        answer: Result<Provisioned, Unanswered>,
        jitter: f64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let key = self.claims.by_uid(&asked.mark.uid).cloned();
        let is_answered = answer.is_ok();
        let Some(standing) = self.names.get_mut(&asked.name) else { return };
        standing.busy = false;
        let mut verdict = None;
        match answer {
            Ok(Provisioned::Written { mut put_right, silent }) => {
                if std::mem::take(&mut standing.taken_away) {
                    put_right.push("all of it had been removed".to_owned());
                }
                standing.holder = Some(Holder::of(&asked.mark));
                standing.failures = 0;
                standing.untold = !silent.is_empty();
                if !put_right.is_empty() {
                    standing.corrected = Some(now);
                    if let Some(key) = &key {
                        self.told.push_back(Told::PutRight(key.clone(), put_right));
                    }
                }
                if silent.is_empty() {
                    standing.written = Some((asked.mark.uid.clone(), asked.mark.generation.clone()));
                    verdict = Some(Verdict::Ready);
                } else {
                    standing.verify = true;
                    standing.pause(now, jitter);
                    verdict = Some(Verdict::RegistrarsSilent(silent));
                }
            }
            Ok(Provisioned::Unchanged) => {
                standing.taken_away = false;
                standing.untold = false;
                standing.holder = Some(Holder::of(&asked.mark));
                standing.failures = 0;
                standing.written = Some((asked.mark.uid.clone(), asked.mark.generation.clone()));
                verdict = Some(Verdict::Ready);
            }
            Ok(Provisioned::Taken(by)) => {
                standing.written = None;
                let holder = by.as_ref().map(Holder::of);
                let already_asked = by.as_ref().is_some_and(|mark| mark.uid == asked.instead_of);
                standing.holder = holder;
                let may_be_taken = standing
                    .holder
                    .as_ref()
                    .is_some_and(|holder| may_replace(&self.claims, &self.namespaces, holder));
                if may_be_taken && !already_asked {
                    standing.again = true;
                } else {
                    standing.not_before = Some(now + TAKEN_PAUSE.mul_f64(0.5 + jitter));
                    standing.verify = true;
                    verdict = Some(Verdict::NameTaken(match by {
                        Some(mark) => format!("the peer {} is of {}", asked.name, mark.origin),
                        None => format!("there is a peer {} that no SipPeer made", asked.name),
                    }));
                }
            }
            Ok(Provisioned::Invalid(reasons)) => {
                standing.failures = 0;
                // Nothing changes until the object does.
                standing.written = Some((asked.mark.uid.clone(), asked.mark.generation.clone()));
                verdict = Some(Verdict::Invalid(reasons));
            }
            Err(unanswered) => {
                standing.verify = true;
                standing.untold = true;
                // It may have been written: should its object go before that is known, it is withdrawn.
                standing.holder.get_or_insert_with(|| Holder::of(&asked.mark));
                standing.pause(now, jitter);
                let is_served = standing.written.as_ref().is_some_and(|(uid, generation)| {
                    *uid == asked.mark.uid && *generation == asked.mark.generation
                });
                let is_unsaid = key.as_ref().is_some_and(|key| !self.verdicts.contains_key(key));
                if standing.failures >= FAILURES_TOLD && !is_served {
                    verdict = Some(Verdict::RegistrarsAway(unanswered.to_string()));
                } else if standing.failures >= FAILURES_DOUBTED && is_unsaid {
                    verdict = Some(Verdict::NotYet);
                }
            }
        }
        if is_answered && verdict.is_some() {
            self.unheard.remove(&asked.name);
        }
        if let (Some(verdict), Some(key)) = (verdict, key) {
            self.say(key, verdict);
        }
        self.settle(&asked.name);
    }

    /// What a registrar said to [`Action::Withdraw`].
    pub fn withdrawn(
        &mut self,
        now: Instant,
        name: &str,
        uid: &str,
        answer: Result<Withdrawn, Unanswered>,
        jitter: f64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(standing) = self.names.get_mut(name) else { return };
        standing.busy = false;
        match answer {
            Ok(answer) => {
                if answer == Withdrawn::NotYours {
                    // What was known of it was out of date: a list shows whose it is now.
                    self.list_marks |= standing.not_yours.as_deref() != Some(uid);
                    standing.not_yours = Some(uid.to_owned());
                } else {
                    standing.holder.take_if(|holder| holder.uid == uid);
                }
                standing.written = None;
                standing.failures = 0;
            }
            Err(_) => standing.pause(now, jitter),
        }
        self.settle(name);
    }
}
