//! Who asks.

use std::sync::Arc;

use super::review::{Identity, Reviewer, Undecided};
use crate::engine::Failure;
use crate::operation::Operation;

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Caller(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// With the static token.
    StaticToken,
    /// From this host, where no token is wanted.
    ThisHost,
    /// With a token that Kubernetes knows.
    Reviewed { reviewer: Arc<Reviewer>, identity: Arc<Identity> },
}

impl Caller {
    /// Whoever has the static token: he may do everything.
    pub fn static_token() -> Self {
        Caller(Kind::StaticToken)
    }

    /// Whoever is on this host: he may do everything.
    pub fn this_host() -> Self {
        Caller(Kind::ThisHost)
    }

    pub(super) fn reviewed(reviewer: Arc<Reviewer>, identity: Arc<Identity>) -> Self {
        Caller(Kind::Reviewed { reviewer, identity })
    }

    /// For metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self.0 {
            Kind::StaticToken => "static_token",
            Kind::ThisHost => "this_host",
            Kind::Reviewed { .. } => "reviewed",
        }
    }

    /// For the log: accounts of programs by name, people not.
    pub(crate) fn account(&self) -> &str {
        match &self.0 {
            Kind::Reviewed { identity, .. } => identity.account(),
            _ => self.word(),
        }
    }

    /// Whether he may do this.
    pub(crate) async fn may(&self, operation: &Operation) -> Result<(), Failure> {
        let Kind::Reviewed { reviewer, identity } = &self.0 else { return Ok(()) };
        let needed = operation.permission().ok_or(Failure::Forbidden {
            needed: operation.words().to_owned(),
            namespace: reviewer.namespace().to_owned(),
        })?;
        match reviewer.may(identity, &needed).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::Forbidden {
                needed: needed.to_string(),
                namespace: reviewer.namespace().to_owned(),
            }),
            Err(Undecided(why)) => Err(Failure::Undecided(why)),
        }
    }
}
