//! Writing Secrets: what an action of the plan comes to.

use fairlead_model::member::Role;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PostParams;

use super::look::{Keys, KeysError};
use super::make::{self, Made, pem};
use super::plan::{Action, AuthorityId, Certificates, Found, Life};
use super::read::{self, CA, CHAIN, Data, KEY, NEXT, PREVIOUS, TRUSTED};
use super::see::Seen;
use crate::api::limited;
use crate::labels;

/// On `FULL-ca`: since when all Secrets are as the step of a replacement wants them, seconds since 1970.
pub(super) const SETTLED: &str = "fairlead.dev/settled";

impl Keys {
    pub(super) async fn act(&self, seen: &mut Seen, action: &Action) -> Result<(), KeysError> {
        let name = self.written_by(action);
        // Somebody may keep something of his own under that name.
        let is_ours = |there: &Secret| labels::is_made_here(there.labels(), &self.config.release);
        if seen.objects.get(&name).is_some_and(|there| !is_ours(there)) {
            return Err(KeysError::Foreign(name));
        }
        match action {
            Action::AdminToken { broken } => {
                self.make_text(seen, self.config.admin_token.as_deref(), "token", "admin", broken).await?;
                self.config.metrics.wrote("admin_token");
            }
            Action::RedisPassword { broken } => {
                self.make_text(seen, self.config.redis_password.as_deref(), "password", "redis", broken)
                    .await?;
                self.config.metrics.wrote("redis_password");
            }
            Action::Issue { role, by, why } => {
                let signer = seen.ring.signs.get(by).ok_or(KeysError::Gone("the key that signs"))?;
                let config = self.certificates()?;
                let ends = seen.ring.known.get(by).and_then(|signer| read::ends(signer)).unwrap_or(i64::MAX);
                let mut life = Life::starting(seen.now, config.leaf_life);
                // A certificate that outlives its authority is none from then on.
                life.until = life.until.min(ends);
                let Made { certificate, key } = make::leaf(&config.name_of(*role), life, signer)?;
                let trusted = trusted(seen);
                let set = [(CHAIN, Some(certificate)), (KEY, Some(key)), (TRUSTED, Some(trusted))];
                if let super::plan::Why::Broken(broken) = why {
                    tracing::warn!(role = role.word(), broken, "a certificate is made good");
                }
                self.put(seen, &self.leaf(*role), Kind::Leaf(*role), &set, None).await?;
                tracing::info!(
                    role = role.word(),
                    why = why.word(),
                    until = life.until,
                    "a certificate was made"
                );
                self.config.metrics.wrote("certificate");
            }
            Action::Trust { role } => {
                let set = [(TRUSTED, Some(trusted(seen)))];
                self.put(seen, &self.leaf(*role), Kind::Leaf(*role), &set, None).await?;
                self.config.metrics.wrote("trust");
            }
            of_authority => {
                self.act_on_authority(seen, of_authority).await?;
                self.config.metrics.wrote("authority");
            }
        }
        Ok(())
    }

    async fn act_on_authority(&self, seen: &mut Seen, action: &Action) -> Result<(), KeysError> {
        let ca = self.ca();
        let held = seen.objects.get(&ca).and_then(|secret| secret.data.clone()).unwrap_or_default();
        let have = |key: &str| held.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let new = || -> Result<Made, KeysError> {
            let life = Life::starting(seen.now, self.certificates()?.authority_life);
            Ok(make::authority(&format!("{} {}", self.config.full_name, seen.now), life)?)
        };
        let [ca_crt, ca_key] = CA;
        let [next_crt, next_key] = NEXT;
        let mut settled = None;
        let set = match action {
            Action::CreateAuthority { broken } => {
                warn_of(&ca, broken);
                tracing::info!(secret = ca, "an authority for certificates is made");
                let made = new()?;
                vec![
                    (ca_crt, Some(made.certificate)),
                    (ca_key, Some(made.key)),
                    (next_crt, None),
                    (next_key, None),
                    (PREVIOUS, None),
                ]
            }
            Action::FollowLostAuthority { lost, broken } => {
                warn_of(&ca, broken);
                tracing::warn!(
                    secret = ca,
                    "the authority is lost: another one follows, and no pod distrusts another meanwhile"
                );
                let lost = seen.ring.known.get(lost).ok_or(KeysError::Gone("the lost authority"))?;
                let made = new()?;
                vec![
                    (ca_crt, Some(pem(lost))),
                    (ca_key, None),
                    (next_crt, Some(made.certificate)),
                    (next_key, Some(made.key)),
                    (PREVIOUS, None),
                ]
            }
            Action::MakeNext => {
                tracing::info!(
                    secret = ca,
                    "the authority that is to follow is made; pods learn to trust it"
                );
                let made = new()?;
                vec![(next_crt, Some(made.certificate)), (next_key, Some(made.key))]
            }
            Action::Promote => {
                tracing::info!(secret = ca, "the new authority signs from now on");
                let (next, key) = (have(next_crt), have(next_key));
                let (Some(next), Some(key)) = (next, key) else {
                    return Err(KeysError::Gone("the next authority"));
                };
                vec![
                    (PREVIOUS, have(ca_crt)),
                    (ca_crt, Some(next)),
                    (ca_key, Some(key)),
                    (next_crt, None),
                    (next_key, None),
                ]
            }
            Action::ForgetPrevious => {
                tracing::info!(secret = ca, "the old authority is forgotten");
                vec![(PREVIOUS, None)]
            }
            Action::Settle => {
                settled = Some(seen.now);
                Vec::new()
            }
            // Not of an authority.
            Action::AdminToken { .. }
            | Action::RedisPassword { .. }
            | Action::Issue { .. }
            | Action::Trust { .. } => {
                return Ok(());
            }
        };
        self.put(seen, &ca, Kind::Authority, &set, settled).await
    }

    async fn make_text(
        &self,
        seen: &mut Seen,
        name: Option<&str>,
        key: &'static str,
        component: &'static str,
        broken: &Option<String>,
    ) -> Result<(), KeysError> {
        let Some(name) = name else { return Ok(()) };
        warn_of(name, broken);
        self.put(seen, name, Kind::Text(component), &[(key, Some(make::secret()))], None).await?;
        tracing::info!(secret = name, "a secret was made");
        Ok(())
    }

    /// Creates the Secret, or changes these keys of the one that was seen. Both fail when somebody else was first.
    async fn put(
        &self,
        seen: &mut Seen,
        name: &str,
        kind: Kind,
        set: &[(&str, Option<String>)],
        settled: Option<i64>,
    ) -> Result<(), KeysError> {
        let there = seen.objects.get(name).cloned();
        let is_new = there.is_none();
        let mut secret = there.unwrap_or_else(|| self.blank(name, kind));
        let data: &mut Data = secret.data.get_or_insert_default();
        for (key, value) in set {
            match value {
                Some(value) => data.insert((*key).to_owned(), ByteString(value.clone().into_bytes())),
                None => data.remove(*key),
            };
        }
        if let Kind::Authority = kind {
            let annotations = secret.metadata.annotations.get_or_insert_default();
            match settled {
                Some(at) => annotations.insert(SETTLED.to_owned(), at.to_string()),
                None => annotations.remove(SETTLED),
            };
        }
        let params = PostParams::default();
        let written = match is_new {
            true => limited(self.secrets.create(&params, &secret)).await?,
            // With the version that was read: a newer one is not overwritten.
            false => limited(self.secrets.replace(name, &params, &secret)).await?,
        };
        seen.objects.insert(name.to_owned(), written);
        Ok(())
    }

    fn blank(&self, name: &str, kind: Kind) -> Secret {
        let (component, type_) = match kind {
            Kind::Authority => ("operator", "Opaque"),
            Kind::Leaf(role) => (role.word(), "kubernetes.io/tls"),
            Kind::Text(component) => (component, "Opaque"),
        };
        let mut secret = Secret { type_: Some(type_.to_owned()), ..Secret::default() };
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.namespace = Some(self.config.namespace.clone());
        secret.metadata.labels = Some(labels::made_here(&self.config.release, component));
        secret.metadata.owner_references = self.config.owner.clone().map(|owner| vec![owner]);
        secret
    }

    /// Which Secret an action writes.
    fn written_by(&self, action: &Action) -> String {
        match action {
            Action::Issue { role, .. } | Action::Trust { role } => self.leaf(*role),
            Action::AdminToken { .. } => self.config.admin_token.clone().unwrap_or_default(),
            Action::RedisPassword { .. } => self.config.redis_password.clone().unwrap_or_default(),
            Action::CreateAuthority { .. }
            | Action::FollowLostAuthority { .. }
            | Action::MakeNext
            | Action::Settle
            | Action::Promote
            | Action::ForgetPrevious => self.ca(),
        }
    }
}

/// Whose pods mount what an action writes.
pub(super) fn concerns(action: &Action) -> Vec<&'static str> {
    match action {
        Action::Issue { role, .. } | Action::Trust { role } => vec![role.word()],
        Action::AdminToken { .. } => vec!["admin"],
        Action::RedisPassword { .. } => vec!["redis", "registrar"],
        // Nobody mounts the authority.
        _ => Vec::new(),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Authority,
    Leaf(Role),
    Text(&'static str),
}

fn warn_of(secret: &str, broken: &Option<String>) {
    if let Some(broken) = broken {
        tracing::warn!(secret, broken, "a Secret that cannot be used is made good");
    }
}

/// All authorities that pods are to trust, the one that signs first.
fn trusted(seen: &Seen) -> String {
    let Some(Certificates { authorities: Found::Good(authorities), .. }) = &seen.existing.certificates else {
        return String::new();
    };
    let next = authorities.next.map(|next| next.id);
    let ids: [Option<AuthorityId>; 3] = [Some(authorities.current.id), next, authorities.previous];
    ids.into_iter().flatten().filter_map(|id| seen.ring.known.get(&id)).map(pem).collect()
}
