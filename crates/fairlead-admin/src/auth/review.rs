//! Tokens that Kubernetes knows: TokenReview says whose one is, SubjectAccessReview what he may do.
//!
//! Only tokens for our own audience count, so that a token that somebody sends to another service, or to the API server
//! itself, opens nothing here, and one that is sent here opens nothing there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client, Config};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use super::cache::Cache;
use super::strangers::Strangers;
use super::{AccessError, Caller, Refusal};
use crate::operation::{GROUP, Permission, RESOURCE};

/// How long an answer of the API server counts.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// How long a no counts: whoever was just given a permission should not wait for it.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// How long the API server has, and how long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// Questions to the API server at once.
const AT_ONCE: usize = 16;

/// The longest token that is sent to the API server, bytes.
const LONGEST: usize = 16 * 1024;

/// The first part of the audience.
const AUDIENCE: &str = "fairlead-admin";

type Hash = [u8; 32];

/// The API server could not say; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecided(pub String);

/// Whose a token is.
#[derive(Debug)]
pub(super) struct Identity {
    /// Of the token.
    hash: Hash,
    user: UserInfo,
}

impl Identity {
    pub(super) fn account(&self) -> &str {
        let name = self.user.username.as_deref().unwrap_or_default();
        if name.starts_with("system:serviceaccount:") { name } else { "somebody" }
    }
}

/// Asks the API server about tokens.
pub struct Reviewer {
    audience: String,
    namespace: String,
    /// Made at the first question: a pod starts whether or not the API server is there.
    client: OnceCell<Client>,
    turns: Semaphore,
    strangers: Strangers,
    known: Cache<Hash, Arc<Identity>>,
    refused: Cache<Hash, String>,
    allowed: Cache<Hash, ()>,
    forbidden: Cache<Hash, ()>,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Reviewer {
    /// For tokens of this audience, `fairlead-admin/NAMESPACE/RELEASE`. Who bears one is asked for permissions in that
    /// namespace.
    pub fn new(audience: &str) -> Result<Self, AccessError> {
        let parts: Vec<_> = audience.split('/').collect();
        let namespace = match parts.as_slice() {
            [AUDIENCE, namespace, release] if !namespace.is_empty() && !release.is_empty() => *namespace,
            _ => return Err(AccessError::Audience(audience.to_owned())),
        };
        Ok(Reviewer {
            namespace: namespace.to_owned(),
            audience: audience.to_owned(),
            client: OnceCell::new(),
            turns: Semaphore::new(AT_ONCE),
            strangers: Strangers::default(),
            known: Cache::new(KNOWN_FOR),
            refused: Cache::new(REFUSED_FOR),
            allowed: Cache::new(KNOWN_FOR),
            forbidden: Cache::new(REFUSED_FOR),
        })
    }

    /// Asks this API server instead of that of the cluster it runs in.
    pub fn asking(self, client: Client) -> Self {
        Reviewer { client: OnceCell::new_with(Some(client)), ..self }
    }

    /// Where permissions are asked for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whose this token is.
    pub(super) async fn identify(this: &Arc<Self>, token: &str, from: IpAddr) -> Result<Caller, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::Wrong("it is too long".to_owned()));
        }
        let now = Instant::now();
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        if let Some(identity) = this.known.get(&hash, now) {
            return Ok(Caller::reviewed(this.clone(), identity));
        }
        if let Some(why) = this.refused.get(&hash, now) {
            return Err(Refusal::Wrong(why));
        }
        if !this.strangers.may_ask(from, now) {
            return Err(Refusal::Undecided(
                "too many tokens that nobody knows came from the same address: wait ten seconds".to_owned(),
            ));
        }
        match this.review(token).await {
            Ok(Ok(user)) => {
                let identity = Arc::new(Identity { hash, user });
                this.known.put(hash, identity.clone(), Instant::now());
                Ok(Caller::reviewed(this.clone(), identity))
            }
            Ok(Err(why)) => {
                this.refused.put(hash, why.clone(), Instant::now());
                this.strangers.was_wrong(from, Instant::now());
                Err(Refusal::Wrong(why))
            }
            Err(Undecided(why)) => Err(Refusal::Undecided(why)),
        }
    }

    /// The user, or why the token is worth nothing.
    async fn review(&self, token: &str) -> Result<Result<UserInfo, String>, Undecided> {
        let asked = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![self.audience.clone()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let status = self.ask(asked, "tokenreviews").await?.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Ok(Err(format!("Kubernetes knows no such token for the audience {}", self.audience)));
        }
        // An API server that knows nothing of audiences would say yes to any token.
        if !status.audiences.unwrap_or_default().contains(&self.audience) {
            return Ok(Err(format!("its audience is not {}", self.audience)));
        }
        match status.user {
            Some(user) if user.username.as_ref().is_some_and(|name| !name.is_empty()) => Ok(Ok(user)),
            _ => Ok(Err("Kubernetes does not say whose it is".to_owned())),
        }
    }

    /// Whether somebody may.
    pub(super) async fn may(&self, who: &Identity, needed: &Permission) -> Result<bool, Undecided> {
        let (key, now) = (remembered(who, needed), Instant::now());
        if self.allowed.get(&key, now).is_some() {
            return Ok(true);
        }
        if self.forbidden.get(&key, now).is_some() {
            return Ok(false);
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let asked = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: some(GROUP),
                    resource: some(RESOURCE),
                    subresource: some(needed.needs.subresource),
                    verb: some(needed.needs.verb),
                    namespace: some(&self.namespace),
                    name: some(&needed.name),
                    ..ResourceAttributes::default()
                }),
                user: who.user.username.clone(),
                uid: who.user.uid.clone(),
                groups: who.user.groups.clone(),
                extra: who.user.extra.clone(),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let status = self.ask(asked, "subjectaccessreviews").await?.status.unwrap_or_default();
        let may = status.allowed && status.denied != Some(true);
        (if may { &self.allowed } else { &self.forbidden }).put(key, (), Instant::now());
        Ok(may)
    }

    /// Creates a review; its answer is the review with a status.
    async fn ask<R>(&self, review: R, plural: &str) -> Result<R, Undecided>
    where
        R: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let late = |_| {
            Undecided(
                "the API server of Kubernetes did not answer in time, so no permission can be checked"
                    .to_owned(),
            )
        };
        let asking = async {
            // Never closed, so there is always a turn some time.
            let _turn = self.turns.acquire().await;
            let client = self.client.get_or_try_init(in_cluster).await?;
            Api::<R>::all(client.clone()).create(&PostParams::default(), &review).await.map_err(|cause| {
                tracing::warn!(error = %cause, plural, "the API server did not answer a review");
                match cause {
                    kube::Error::Api(status) if matches!(status.code, 401 | 403) => Undecided(format!(
                        "Kubernetes does not let admin check permissions ({}): its ServiceAccount needs `create {plural}`, as the ClusterRole system:auth-delegator gives it",
                        status.message
                    )),
                    kube::Error::Api(status) => {
                        Undecided(format!("the API server of Kubernetes could not check permissions: {}", status.message))
                    }
                    _ => Undecided(
                        "the API server of Kubernetes cannot be reached, so no permission can be checked".to_owned(),
                    ),
                }
            })
        };
        tokio::time::timeout(PATIENCE, asking).await.map_err(late)?
    }
}

/// What is remembered of a question. A name is whatever somebody wrote into a request, so it is not kept.
fn remembered(who: &Identity, needed: &Permission) -> Hash {
    let mut hash = Sha256::new();
    hash.update(who.hash);
    // No verb and no subresource holds a NUL, and the name comes last: two questions never read alike.
    for word in [needed.needs.verb, needed.needs.subresource] {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.update(needed.name.as_bytes());
    hash.finalize().into()
}

async fn in_cluster() -> Result<Client, Undecided> {
    let unable = |cause: &dyn std::fmt::Display| {
        tracing::warn!(error = %cause, "there is no way to the API server");
        Undecided("admin does not run in Kubernetes, or without a ServiceAccount token: it cannot check permissions".to_owned())
    };
    let mut config = Config::incluster().map_err(|cause| unable(&cause))?;
    config.connect_timeout = Some(PATIENCE);
    // Whoever waits is told within the limit, so there is no time to ask twice.
    config.default_retry = false;
    Client::try_from(config).map_err(|cause| unable(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Needs;

    #[test]
    fn what_is_remembered_of_a_question_is_small_and_of_that_question_alone() {
        let who = |hash| Identity { hash: [hash; 32], user: UserInfo::default() };
        let of = |needs, name: &str| Permission { needs, name: name.to_owned() };
        let questions = [
            (who(1), of(Needs::GET, "ann")),
            (who(2), of(Needs::GET, "ann")),
            (who(1), of(Needs::GET, "ben")),
            (who(1), of(Needs::LIST, "ann")),
            (who(1), of(Needs::UNREGISTER, "ann")),
            (who(1), of(Needs::PRUNE, "ann")),
            (who(1), of(Needs { verb: "create", subresource: "" }, "prune\0ann")),
            (who(1), of(Needs::GET, &"a".repeat(60_000))),
        ];
        let keys: std::collections::BTreeSet<Hash> =
            questions.iter().map(|(who, needed)| remembered(who, needed)).collect();
        assert_eq!(keys.len(), questions.len());
        assert_eq!(remembered(&who(1), &of(Needs::GET, "ann")), remembered(&who(1), &of(Needs::GET, "ann")));
    }
}
