//! What has to be done about certificates and secrets, from what is there and the time. Nothing else is known here: no
//! clock, no randomness, no Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairlead_model::member::Role;

use super::ROLES;

/// How far a certificate's beginning lies before the moment it was made, for pods whose clocks are late.
pub const BACKDATED: i64 = 300;

/// An authority's certificate, by its SHA-256.
pub type AuthorityId = [u8; 32];

/// What was found in the place of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing.
    Missing,
    /// Something that cannot be used.
    Broken(String),
    /// What was looked for.
    Good(T),
}

/// From when to when a certificate holds, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its `notBefore`.
    pub from: i64,
    /// Its `notAfter`.
    pub until: i64,
}

impl Life {
    /// The life of what is made now.
    pub fn starting(now: i64, lasts: Duration) -> Self {
        Life { from: now - BACKDATED, until: now.saturating_add_unsigned(lasts.as_secs()) }
    }

    /// Whether two thirds are over.
    fn is_due(self, now: i64) -> bool {
        let made = self.from.saturating_add(BACKDATED);
        let lasts = self.until.saturating_sub(made).max(0);
        now >= made.saturating_add(lasts / 3 * 2 + lasts % 3 * 2 / 3)
    }

    fn is_over(self, now: i64) -> bool {
        now >= self.until
    }
}

/// An authority as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Which.
    pub id: AuthorityId,
    /// When it holds.
    pub life: Life,
    /// Whether its key is there; without it it is trusted and signs nothing.
    pub signs: bool,
}

/// What `FULL-ca` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The one that signs.
    pub current: Authority,
    /// The one that will, as soon as every pod trusts it.
    pub next: Option<Authority>,
    /// The one that did, until no pod shows a certificate of it any more.
    pub previous: Option<AuthorityId>,
    /// Since when the Secrets of all roles are as this step wants them.
    pub settled: Option<i64>,
}

impl Authorities {
    /// Everybody that pods are to trust.
    fn trusted(&self) -> BTreeSet<AuthorityId> {
        let next = self.next.map(|next| next.id);
        [Some(self.current.id), next, self.previous].into_iter().flatten().collect()
    }
}

/// What `FULL-tls-ROLE` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Who signed the certificate, if it is one of [`Authorities`].
    pub signed_by: Option<AuthorityId>,
    /// When it holds.
    pub life: Life,
    /// Whether it names `ROLE.DOMAIN`.
    pub named: bool,
    /// What its `ca.crt` holds.
    pub trusts: BTreeSet<AuthorityId>,
}

/// All that is there. What is not made here is `None`.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// Certificates.
    pub certificates: Option<Certificates>,
    /// Admin's token.
    pub admin_token: Option<Found<()>>,
    /// The password of Redis.
    pub redis_password: Option<Found<()>>,
}

/// The Secrets of certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// `FULL-ca`.
    pub authorities: Found<Authorities>,
    /// It is there, and somebody else's: nothing is changed in it.
    pub is_foreign: bool,
    /// `FULL-tls-ROLE`; a role that is not in it has none.
    pub leaves: BTreeMap<Role, Found<Leaf>>,
    /// An authority that pods trust by what their Secrets hold, should `FULL-ca` be gone.
    pub salvaged: Option<AuthorityId>,
    /// How long it takes until what was written is in every pod.
    pub grace: Duration,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the first authority.
    CreateAuthority {
        /// What was wrong with the one that is there.
        broken: Option<String>,
    },
    /// The authority is lost, and pods trust it: make one that follows it, as in a replacement.
    FollowLostAuthority {
        /// The certificate of the lost one.
        lost: AuthorityId,
        /// What is wrong with the Secret.
        broken: Option<String>,
    },
    /// Make the authority that is to follow.
    MakeNext,
    /// Note that all Secrets are as this step wants them: the grace time begins.
    Settle,
    /// The next one signs from now on.
    Promote,
    /// Nobody shows a certificate of the previous one any more.
    ForgetPrevious,
    /// Make a key and a certificate.
    Issue {
        /// For this role.
        role: Role,
        /// Signed by this authority.
        by: AuthorityId,
        /// Why.
        why: Why,
    },
    /// Write `ca.crt` anew, nothing else.
    Trust {
        /// Of this role.
        role: Role,
    },
    /// Make admin's token.
    AdminToken {
        /// What was wrong with the one that is there.
        broken: Option<String>,
    },
    /// Make the password of Redis.
    RedisPassword {
        /// What was wrong with the one that is there.
        broken: Option<String>,
    },
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Missing,
    /// Two thirds of its life are over.
    Due,
    /// Its authority is being replaced.
    Moves,
    /// It cannot be used.
    Broken(String),
}

impl Why {
    /// For logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Why::Missing => "missing",
            Why::Due => "due",
            Why::Moves => "moves",
            Why::Broken(_) => "broken",
        }
    }
}

/// What is to be done now, in this order. After a change of the authorities the rest depends on what was made, so it is
/// the only thing done: look again and plan again.
pub fn plan(now: i64, existing: &Existing) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(Some(broken)) = existing.admin_token.as_ref().map(wanted) {
        actions.push(Action::AdminToken { broken });
    }
    if let Some(Some(broken)) = existing.redis_password.as_ref().map(wanted) {
        actions.push(Action::RedisPassword { broken });
    }
    if let Some(certificates) = &existing.certificates {
        actions.extend(plan_certificates(now, certificates));
    }
    actions
}

/// Whether it has to be made, and what is wrong with what is there.
fn wanted<T>(found: &Found<T>) -> Option<Option<String>> {
    match found {
        Found::Good(_) => None,
        Found::Missing => Some(None),
        Found::Broken(why) => Some(Some(why.clone())),
    }
}

fn plan_certificates(now: i64, certificates: &Certificates) -> Vec<Action> {
    let authorities = match &certificates.authorities {
        Found::Good(authorities) => authorities,
        missing => {
            let broken = wanted(missing).flatten();
            return vec![match certificates.salvaged {
                Some(lost) => Action::FollowLostAuthority { lost, broken },
                None => Action::CreateAuthority { broken },
            }];
        }
    };
    let both = [Some(authorities.current), authorities.next];
    let can_sign = |one: &Authority| one.signs && !one.life.is_over(now);
    let Some(signer) = both.into_iter().flatten().find(can_sign) else {
        return vec![match authorities.current.life.is_over(now) {
            // Nobody is trusted by it any more: there is nothing that a slow change would save.
            true => Action::CreateAuthority { broken: Some("the authority has expired".to_owned()) },
            false => Action::MakeNext,
        }];
    };
    // Somebody else's authority is replaced by whoever made it; certificates are made of it as long as it lasts.
    if authorities.current.life.is_due(now) && authorities.next.is_none() && !certificates.is_foreign {
        return vec![Action::MakeNext];
    }
    let leaves: Vec<Action> = ROLES
        .into_iter()
        .filter_map(|role| plan_leaf(now, certificates, authorities, signer, role))
        .collect();
    if !leaves.is_empty() {
        return leaves;
    }
    // Every Secret is as this step wants it.
    match (authorities.settled, authorities.next, authorities.previous) {
        (_, None, None) => Vec::new(),
        (None, ..) => vec![Action::Settle],
        (Some(since), ..) if now < since.saturating_add_unsigned(certificates.grace.as_secs()) => Vec::new(),
        (Some(_), _, Some(_)) => vec![Action::ForgetPrevious],
        (Some(_), Some(_), None) => vec![Action::Promote],
    }
}

fn plan_leaf(
    now: i64,
    certificates: &Certificates,
    authorities: &Authorities,
    signer: Authority,
    role: Role,
) -> Option<Action> {
    let issue = |why| Some(Action::Issue { role, by: signer.id, why });
    let broken = |why: &str| issue(Why::Broken(why.to_owned()));
    let leaf = match certificates.leaves.get(&role).unwrap_or(&Found::Missing) {
        Found::Missing => return issue(Why::Missing),
        Found::Broken(why) => return broken(why),
        Found::Good(leaf) => leaf,
    };
    let trusted = authorities.trusted();
    match leaf.signed_by {
        _ if !leaf.named => broken("the certificate names another role or domain"),
        _ if leaf.life.is_over(now) => broken("the certificate has expired"),
        Some(by) if Some(by) == authorities.previous => issue(Why::Moves),
        Some(by) if trusted.contains(&by) => match leaf.life.is_due(now) {
            true => issue(Why::Due),
            false if leaf.trusts != trusted => Some(Action::Trust { role }),
            false => None,
        },
        _ => broken("the certificate is of an authority that is not known"),
    }
}

#[cfg(test)]
mod tests;
