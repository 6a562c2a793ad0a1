//! The keys of an edge, made at run time so that no chart renders any: the authority and the certificates of pods, the
//! token of admin, the password of Redis.
//!
//! What has to be done is decided by [`plan`], from what is there and the time; [`read`] says what a Secret holds,
//! [`make`] makes keys and certificates. [`look`] goes from one look to the next, [`see`] and [`write`] are what it
//! asks of Kubernetes. A Secret that is there and good is left alone, whoever made it. One that is broken is made
//! good, with a warning, if it was made here (its labels say so); what somebody else keeps under one of these names is
//! never written.
//!
//! An authority is replaced in three steps, so that no two pods ever distrust each other: every pod first learns to
//! trust the new one, then gets a certificate of it, and only then is the old one forgotten. Between the steps lies a
//! grace time in which kubelets bring what was written into the pods.

mod look;
mod make;
mod metrics;
pub mod plan;
mod read;
mod see;
mod write;

pub use look::run;
pub use metrics::KeysMetrics;

use std::time::Duration;

use fairlead_model::member::Role;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Who gets a certificate: Secret `FULL-tls-ROLE`.
pub const ROLES: [Role; 5] = [Role::Signaling, Role::Media, Role::Registrar, Role::Admin, Role::Operator];

/// What is made, and where.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// Where the Secrets lie.
    pub namespace: String,
    /// The release, for labels.
    pub release: String,
    /// What names of objects begin with.
    pub full_name: String,
    /// Certificates, when they are made here: `FULL-ca` and `FULL-tls-ROLE`.
    pub certificates: Option<CertificatesConfig>,
    /// The Secret that holds admin's token under `token`, when it is made here.
    pub admin_token: Option<String>,
    /// The Secret that holds the password of Redis under `password`, when it is made here.
    pub redis_password: Option<String>,
    /// What everything made goes away with: the operator's Deployment.
    pub owner: Option<OwnerReference>,
    /// What is counted.
    pub metrics: KeysMetrics,
}

/// How certificates are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatesConfig {
    /// Certificates name a role as `ROLE.DOMAIN`.
    pub domain: String,
    /// How long a pod's certificate lives; it is renewed at two thirds of that.
    pub leaf_life: Duration,
    /// How long an authority lives; it is replaced at two thirds of that.
    pub authority_life: Duration,
    /// How long it may take until what was written into a Secret is in every pod.
    pub grace: Duration,
}

impl CertificatesConfig {
    /// The usual times: 90 days, two years, a quarter of an hour (kubelets take up to two minutes).
    pub fn new(domain: impl Into<String>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        CertificatesConfig {
            domain: domain.into(),
            leaf_life: 90 * DAY,
            authority_life: 730 * DAY,
            grace: Duration::from_secs(15 * 60),
        }
    }

    /// The name that the certificate of a role carries.
    pub fn name_of(&self, role: Role) -> String {
        format!("{}.{}", role.word(), self.domain)
    }
}

#[cfg(test)]
mod tests;
