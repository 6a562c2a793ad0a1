//! What there is: Secrets of the cluster as the plan knows them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rustls::pki_types::CertificateDer;

use super::look::{Keys, KeysError};
use super::plan::{Certificates, Existing, Found};
use super::read::{self, Keyring};
use super::write::SETTLED;
use super::{CertificatesConfig, ROLES};
use crate::api::limited;
use crate::labels;

/// All that was found.
pub(super) struct Seen {
    pub(super) now: i64,
    pub(super) existing: Existing,
    pub(super) objects: BTreeMap<String, Secret>,
    pub(super) ring: Keyring,
}

impl Keys {
    pub(super) async fn see(&self, now: i64) -> Result<Seen, KeysError> {
        let mut seen =
            Seen { now, existing: Existing::default(), objects: BTreeMap::new(), ring: Keyring::default() };
        if let Some(name) = &self.config.admin_token {
            seen.existing.admin_token = Some(self.see_text(&mut seen.objects, name, "token").await?);
        }
        if let Some(name) = &self.config.redis_password {
            seen.existing.redis_password = Some(self.see_text(&mut seen.objects, name, "password").await?);
        }
        if let Some(config) = &self.config.certificates {
            self.see_certificates(&mut seen, config).await?;
        }
        Ok(seen)
    }

    async fn see_certificates(&self, seen: &mut Seen, config: &CertificatesConfig) -> Result<(), KeysError> {
        let mut is_foreign = false;
        let authorities = match self.get(&mut seen.objects, &self.ca()).await? {
            None => Found::Missing,
            Some(secret) => {
                is_foreign = !labels::is_made_here(secret.labels(), &self.config.release);
                let settled = secret.metadata.annotations.as_ref().and_then(|all| all.get(SETTLED));
                let settled = settled.and_then(|text| text.parse().ok());
                let (found, ring) = read::authorities(&secret.data.clone().unwrap_or_default(), settled);
                seen.ring = ring;
                found
            }
        };
        if let Found::Good(found) = &authorities {
            self.config.metrics.authority_expiry.set(found.current.life.until);
        }
        let mut leaves = BTreeMap::new();
        let mut salvaged: Option<CertificateDer<'static>> = None;
        for role in ROLES {
            let Some(secret) = self.get(&mut seen.objects, &self.leaf(role)).await? else { continue };
            let data = secret.data.clone().unwrap_or_default();
            let (leaf, signer) = read::leaf(&data, &config.name_of(role), &seen.ring.known, seen.now);
            leaves.insert(role, leaf);
            salvaged =
                salvaged.or(signer.filter(|signer| read::ends(signer).is_some_and(|end| end > seen.now)));
        }
        let salvaged = match (&authorities, salvaged) {
            (Found::Good(_), _) | (_, None) => None,
            (_, Some(certificate)) => {
                let id = read::id_of(&certificate);
                seen.ring.known.insert(id, certificate);
                Some(id)
            }
        };
        seen.existing.certificates =
            Some(Certificates { authorities, is_foreign, leaves, salvaged, grace: config.grace });
        Ok(())
    }

    async fn see_text(
        &self,
        objects: &mut BTreeMap<String, Secret>,
        name: &str,
        key: &str,
    ) -> Result<Found<()>, KeysError> {
        let secret = self.get(objects, name).await?;
        Ok(secret.map_or(Found::Missing, |secret| read::text(&secret.data.clone().unwrap_or_default(), key)))
    }

    async fn get<'a>(
        &self,
        objects: &'a mut BTreeMap<String, Secret>,
        name: &str,
    ) -> Result<Option<&'a Secret>, KeysError> {
        match limited(self.secrets.get_opt(name)).await? {
            Some(secret) => Ok(Some(objects.entry(name.to_owned()).or_insert(secret))),
            None => Ok(None),
        }
    }
}
