//! What is to be done next, and for one name: written for the winner, or withdrawn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::provision::Provision;

use super::namespaces::Namespaces;
use super::standing::Holder;
use super::{Action, PeerPlan};
use crate::peers::claims::{Claims, Wanted};
use crate::peers::verdict::Verdict;

/// The shortest time between two corrections of one peer: against somebody who changes it all the time.
pub(super) const CORRECTION_PAUSE: Duration = Duration::from_secs(2);

/// Why a peer is not written that would be challenged by nobody.
const OPEN: &str = "it registers and has neither secretRef nor md5SecretRef nor networks that it may not come from (deny): anybody could register as it";

/// Whether a name may be taken from the object that has it: a known one has lost it to an older claim, another is gone. One that
/// this release cannot read may well have the oldest claim.
pub(super) fn may_replace(claims: &Claims, namespaces: &Namespaces, holder: &Holder) -> bool {
    match claims.by_uid(&holder.uid).and_then(|key| claims.get(key)) {
        Some(known) => known.spec.is_ok(),
        None => namespaces.is_listed(&holder.namespace),
    }
}

impl PeerPlan {
    /// The next thing to do now, if fewer than `limit` are being done.
    pub fn next(&mut self, now: Instant, limit: usize) -> Option<Action> {
        if let Some(secret) = self.secrets.next(now) {
            return Some(Action::ReadSecret(secret));
        }
        let is_time = self.list_marks_at.take_if(|at| *at <= now).is_some();
        if std::mem::take(&mut self.list_marks) || is_time {
            return Some(Action::ListMarks);
        }
        if !self.namespaces.let_begin(now) {
            return None;
        }
        while let Some((at, _)) = self.waiting.first() {
            if *at > now {
                break;
            }
            if let Some((_, name)) = self.waiting.pop_first() {
                self.look_at(&name);
            }
        }
        while self.in_flight < limit {
            let name = self.urgent.pop_front().or_else(|| self.checks.pop_front())?;
            let Some(standing) = self.names.get_mut(&name) else { continue };
            standing.queued = false;
            if standing.busy {
                standing.again = true;
                continue;
            }
            if let Some(at) = standing.not_before.filter(|at| *at > now) {
                self.waiting.insert((at, name));
                continue;
            }
            standing.not_before = None;
            if let Some(action) = self.act(now, &name) {
                self.in_flight += 1;
                if let Some(standing) = self.names.get_mut(&name) {
                    standing.busy = true;
                }
                return Some(action);
            }
        }
        None
    }

    /// What is to be done for one name.
    fn act(&mut self, now: Instant, name: &str) -> Option<Action> {
        let losers = self.claims.losers(name);
        if let Some(winner) = self.claims.winner(name).cloned() {
            for loser in losers {
                let text = format!("{} has claimed {name} before", winner.key);
                self.say(loser, Verdict::NameTaken(text));
            }
            return self.write(now, name, &winner);
        }
        self.unheard.remove(name);
        let standing = self.names.get(name)?;
        let Some(holder) = standing.holder.clone() else {
            self.names.remove(name);
            return None;
        };
        if standing.is_disowned() {
            return None;
        }
        // An object that this release cannot read may be the one that this peer is of.
        let unread = self.claims.by_uid(&holder.uid).and_then(|key| self.claims.get(key));
        if unread.is_some_and(|wanted| wanted.spec.is_err()) {
            return None;
        }
        let may_go = self.namespaces.are_complete() && self.namespaces.is_listed(&holder.namespace);
        may_go.then(|| Action::Withdraw { name: name.to_owned(), uid: holder.uid })
    }

    fn write(&mut self, now: Instant, name: &str, winner: &Arc<Wanted>) -> Option<Action> {
        let spec = match &winner.spec {
            Ok(spec) => spec.clone(),
            Err(reason) => return self.refuse(name, winner, Verdict::Invalid(vec![reason.clone()])),
        };
        // The API server refuses it too, unless its rules are older.
        if spec.is_open() {
            return self.refuse(name, winner, Verdict::Invalid(vec![OPEN.to_owned()]));
        }
        let secrets = match self.secrets.of(&winner.key.namespace, &spec) {
            Ok(Some(secrets)) => secrets,
            // Still being read.
            Ok(None) => return None,
            Err(missing) => return self.refuse(name, winner, Verdict::SecretMissing(missing)),
        };
        if let Some(reason) = spec.unusable_secret(&secrets) {
            return self.refuse(name, winner, Verdict::SecretUnusable(reason));
        }
        let columns = spec.columns(&secrets);
        let mark = winner.mark(&columns);
        let standing = self.names.get_mut(name)?;
        let is_written = standing
            .written
            .as_ref()
            .is_some_and(|(uid, generation)| *uid == mark.uid && *generation == mark.generation);
        if is_written && !standing.verify {
            self.unheard.remove(name);
            return None;
        }
        if let Some(at) = standing.corrected.map(|at| at + CORRECTION_PAUSE).filter(|at| *at > now) {
            standing.not_before = Some(at);
            self.waiting.insert((at, name.to_owned()));
            return None;
        }
        standing.verify = false;
        let forget = standing.untold;
        let is_disowned = standing.is_disowned();
        let holder = standing.holder.as_ref().filter(|holder| holder.uid != mark.uid && !is_disowned);
        let former = holder.filter(|holder| may_replace(&self.claims, &self.namespaces, holder)).cloned();
        // Contacts go with a name inside a namespace. Those of another one are somebody else's phones: they would be
        // rung for the new owner.
        if let Some(former) = former.as_ref().filter(|former| former.namespace != winner.key.namespace) {
            standing.again = true;
            return Some(Action::Withdraw { name: name.to_owned(), uid: former.uid.clone() });
        }
        let instead_of = former.map(|former| former.uid).unwrap_or_default();
        Some(Action::Provision(Provision { name: name.to_owned(), columns, mark, instead_of, forget }))
    }

    /// The winner cannot be written yet; what an object left that is gone must not stay because of that.
    fn refuse(&mut self, name: &str, winner: &Wanted, why: Verdict) -> Option<Action> {
        self.unheard.remove(name);
        self.say(winner.key.clone(), why);
        let standing = self.names.get(name).filter(|standing| !standing.is_disowned())?;
        let holder = standing.holder.clone().filter(|holder| holder.uid != winner.uid)?;
        let is_gone =
            self.claims.by_uid(&holder.uid).is_none() && self.namespaces.is_listed(&holder.namespace);
        (is_gone && self.namespaces.are_complete())
            .then(|| Action::Withdraw { name: name.to_owned(), uid: holder.uid })
    }
}
