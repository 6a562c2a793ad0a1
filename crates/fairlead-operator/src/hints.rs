//! Secrets that somebody else writes (cert-manager, people) reach pods that mount them soon: a change of a pod has its
//! kubelet look at its volumes now instead of within two minutes, so such pods get an annotation that names the change.
//!
//! Nothing counts on it. What is made here is hinted at by [`crate::keys`], which knows when it is complete.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::{Failed, limited};
use crate::labels;
use crate::watching::watch;

/// On pods: which Secrets that they mount were written last, with their versions.
const HINT: &str = "fairlead.dev/secrets-seen";

/// What is written together is hinted at together.
const TOGETHER: Duration = Duration::from_millis(300);

/// Versions of Secrets by name. No more than there are Secrets: the last version of each.
type Changed = BTreeMap<String, String>;

/// Hints to the kubelets of a release's pods. To be run by the leader; never returns, drop it when leadership ends.
pub async fn run(client: Client, namespace: String, release: String) {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let (changed, more) = (Mutex::new(Changed::new()), Notify::new());
    let seeing = watch(secrets, watcher::Config::default(), CancellationToken::new(), |seen| {
        match seen {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                if !labels::is_made_here(secret.labels(), &release) {
                    changed.lock().insert(secret.name_any(), secret.resource_version().unwrap_or_default());
                    more.notify_one();
                }
            }
            Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
            Err(trouble) => tracing::debug!(?trouble, "Secrets that pods mount cannot be watched now"),
        }
        std::future::ready(())
    });
    let hinting = async {
        loop {
            more.notified().await;
            tokio::time::sleep(TOGETHER).await;
            let changed = std::mem::take(&mut *changed.lock());
            if let Err(error) = hint(&pods, &release, &changed).await {
                tracing::debug!(%error, "no hint to kubelets: pods see changed Secrets later");
            }
        }
    };
    tokio::join!(seeing, hinting);
}

async fn hint(pods: &Api<Pod>, release: &str, changed: &Changed) -> Result<(), Failed> {
    let list = limited(pods.list(&ListParams::default().labels(&labels::selector(release)))).await?;
    for pod in list {
        // A patch that changes nothing, after a watch began again, is none.
        let Some(value) = said_to(&pod, changed) else { continue };
        let patch = serde_json::json!({"metadata": {"annotations": {HINT: value}}});
        match limited(pods.patch_metadata(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)))
            .await
        {
            Err(failed) if !failed.is_missing() => return Err(failed),
            _ => tracing::debug!(pod = pod.name_any(), value, "a kubelet is told that Secrets have changed"),
        }
    }
    Ok(())
}

/// Which of the Secrets a pod mounts, with their versions; `None`: no one.
fn said_to(pod: &Pod, changed: &Changed) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_deref()?;
    let named = volumes.iter().flat_map(|volume| {
        let own = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone());
        let sources = volume.projected.as_ref().and_then(|projected| projected.sources.clone());
        let projected =
            sources.unwrap_or_default().into_iter().filter_map(|source| Some(source.secret?.name));
        own.into_iter().chain(projected)
    });
    let words: Vec<_> =
        named.filter_map(|name| changed.get(&name).map(|version| format!("{name}@{version}"))).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(volumes: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": {"containers": [], "volumes": volumes}})).unwrap()
    }

    #[test]
    fn pods_that_mount_a_changed_secret_are_told_which() {
        let changed: Changed = [("edge-tls-media", "7"), ("redis", "9")]
            .map(|(name, is)| (name.to_owned(), is.to_owned()))
            .into();
        let one = pod(serde_json::json!([{"name": "tls", "secret": {"secretName": "edge-tls-media"}}]));
        assert_eq!(said_to(&one, &changed).as_deref(), Some("edge-tls-media@7"));
        let projected = pod(serde_json::json!([{"name": "all", "projected": {"sources": [
            {"secret": {"name": "redis"}}, {"configMap": {"name": "redis"}}, {"secret": {"name": "other"}}]}}]));
        assert_eq!(said_to(&projected, &changed).as_deref(), Some("redis@9"));
        let none = pod(serde_json::json!([{"name": "tls", "secret": {"secretName": "edge-tls-admin"}}]));
        assert_eq!(said_to(&none, &changed), None);
        assert_eq!(said_to(&Pod::default(), &changed), None);
    }
}
