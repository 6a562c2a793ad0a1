//! Looking again and again, until nothing is left to do.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairlead_model::member::Role;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::plan::plan;
use super::write::concerns;
use super::{CertificatesConfig, KeysConfig};
use crate::api::{Failed, limited};
use crate::labels;
use crate::watching::watch;

/// On pods: when a Secret that they mount was written. A change of a pod has its kubelet look at its volumes now instead
/// of within two minutes.
const HINT: &str = "fairlead.dev/secrets-written";

/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is written together is looked at together.
const TOGETHER: Duration = Duration::from_millis(300);

/// After a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A look leads to changes, which are looked at again; a replacement of an authority takes a handful.
const ROUNDS: usize = 8;

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error("Kubernetes: {0}")]
    Api(#[from] Failed),
    #[error("could not make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("{0} is not there any more")]
    Gone(&'static str),
    #[error("Secret {0} was not made here")]
    Foreign(String),
}

impl KeysError {
    /// Somebody else wrote the Secret since it was read.
    fn is_conflict(&self) -> bool {
        matches!(self, KeysError::Api(failed) if failed.is_conflict())
    }
}

/// Makes and renews, until it is dropped. To be run by the leader alone; should two run for a moment, the one whose
/// Secret was not the newest looks again.
pub async fn run(client: Client, config: KeysConfig) {
    let keys = Keys::new(client, config);
    let touched = Notify::new();
    tokio::select! {
        () = keys.watch(&touched) => {}
        () = keys.keep_looking(&touched) => {}
    }
}

pub(super) struct Keys {
    pub(super) secrets: Api<Secret>,
    metadata: Api<PartialObjectMeta<Secret>>,
    pods: Api<PartialObjectMeta<Pod>>,
    pub(super) config: KeysConfig,
    /// Secrets of which was said that they are left alone.
    said: Mutex<BTreeSet<String>>,
}

impl Keys {
    pub(super) fn new(client: Client, config: KeysConfig) -> Self {
        let pods = Api::namespaced(client.clone(), &config.namespace);
        let metadata = Api::namespaced(client.clone(), &config.namespace);
        let secrets = Api::namespaced(client, &config.namespace);
        Keys { secrets, metadata, pods, config, said: Mutex::default() }
    }

    /// Looks again and again: after a pause, and soon after somebody touched one of our Secrets.
    async fn keep_looking(&self, touched: &Notify) {
        let pause = self.pause();
        loop {
            let pause = match self.look(now()).await {
                Ok(()) => pause,
                Err(error) => {
                    self.config.metrics.failed.inc();
                    tracing::warn!(%error, "keys and certificates could not be looked after");
                    PAUSE_AFTER_FAILURE.min(pause)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = touched.notified() => tokio::time::sleep(TOGETHER).await,
            }
        }
    }

    /// Tells when one of our Secrets was written or deleted, by whomever. Nothing that they hold is sent for that.
    async fn watch(&self, touched: &Notify) {
        let config = watcher::Config::default().labels(&labels::selector(&self.config.release));
        watch(self.metadata.clone(), config, CancellationToken::new(), |seen| {
            match seen {
                Ok(_) => touched.notify_one(),
                // The looks go on without it.
                Err(trouble) => tracing::debug!(?trouble, "Secrets cannot be watched now"),
            }
            std::future::ready(())
        })
        .await;
        // A watch that is over says nothing; looking goes on.
        std::future::pending::<()>().await;
    }

    fn pause(&self) -> Duration {
        let wanted = self.config.certificates.as_ref().map(|certificates| {
            (certificates.leaf_life / 20).min(certificates.grace / 4).max(Duration::from_secs(1))
        });
        wanted.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
    }

    /// Looks and acts until nothing is left to do, then hints to kubelets.
    pub(super) async fn look(&self, now: i64) -> Result<(), KeysError> {
        let mut concerned = BTreeSet::new();
        let looked = self.look_and_act(now, &mut concerned).await;
        for component in concerned {
            if let Err(error) = self.hint(component, now).await {
                tracing::debug!(component, %error, "no hint to kubelets: pods see new Secrets later");
            }
        }
        looked
    }

    async fn hint(&self, component: &str, now: i64) -> Result<(), Failed> {
        let ours = ListParams::default().labels(&labels::selector_of(&self.config.release, component));
        let patch = Patch::Merge(serde_json::json!({"metadata": {"annotations": {HINT: now.to_string()}}}));
        for pod in limited(self.pods.list(&ours)).await? {
            let name = pod.name_any();
            match limited(self.pods.patch(&name, &PatchParams::default(), &patch)).await {
                // One that has gone meanwhile.
                Err(failed) if !failed.is_missing() => return Err(failed),
                _ => {}
            }
        }
        Ok(())
    }

    async fn look_and_act(&self, now: i64, concerned: &mut BTreeSet<&'static str>) -> Result<(), KeysError> {
        let mut foreign = BTreeSet::new();
        let mut failed = None;
        for _ in 0..ROUNDS {
            let mut seen = self.see(now).await?;
            let mut has_changed = false;
            for action in plan(seen.now, &seen.existing) {
                match self.act(&mut seen, &action).await {
                    Ok(()) => {
                        has_changed = true;
                        concerned.extend(concerns(&action));
                    }
                    // Somebody else was first: what there is to do now shows the next look.
                    Err(error) if error.is_conflict() => {
                        has_changed = true;
                        break;
                    }
                    Err(KeysError::Foreign(name)) => {
                        foreign.insert(name);
                    }
                    Err(error @ KeysError::Api(Failed::Late)) => return Err(error),
                    // One that may not be written does not keep the others from being renewed.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if !has_changed {
                break;
            }
        }
        self.say_foreign(foreign);
        failed.map_or(Ok(()), Err)
    }

    /// Once of each, until it is put right.
    fn say_foreign(&self, foreign: BTreeSet<String>) {
        self.config.metrics.foreign.set(i64::try_from(foreign.len()).unwrap_or(i64::MAX));
        let mut said = self.said.lock();
        for secret in foreign.difference(&said) {
            tracing::error!(
                secret,
                "a Secret cannot be used as it is, and is left alone because it was not made here: put it right, delete it, or label it app.kubernetes.io/managed-by={}",
                labels::MANAGED_BY
            );
        }
        *said = foreign;
    }

    pub(super) fn ca(&self) -> String {
        format!("{}-ca", self.config.full_name)
    }

    pub(super) fn leaf(&self, role: Role) -> String {
        format!("{}-tls-{}", self.config.full_name, role.word())
    }

    pub(super) fn certificates(&self) -> Result<&CertificatesConfig, KeysError> {
        self.config.certificates.as_ref().ok_or(KeysError::Gone("the wish for certificates"))
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
