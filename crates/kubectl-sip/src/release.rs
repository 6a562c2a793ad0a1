//! Finds a release by the labels of its admin pods.

use std::collections::BTreeSet;

use fairlead_admin::cli::Ended;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::trouble::{Asked, ended};

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";

/// A release of Fairlead, and its admin pods that are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Where it is.
    pub namespace: String,
    /// What helm calls it.
    pub name: String,
    /// What the names of its objects begin with.
    pub full_name: String,
    /// Ready admin pods, by name.
    pub pods: Vec<String>,
}

impl Release {
    /// The audience of tokens for its admin.
    pub fn audience(&self) -> String {
        format!("fairlead-admin/{}/{}", self.namespace, self.name)
    }

    /// The one of this name, or the only one there is.
    pub async fn find(client: &Client, namespace: &str, wanted: Option<&str>) -> Result<Self, Ended> {
        let selector = selector(wanted);
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let found = pods.list(&ListParams::default().labels(&selector)).await;
        let found = found.map_err(|cause| {
            ended(cause, &Asked { what: "list the pods of admin", rule: "list pods", names: &[], namespace })
        })?;
        choose(found.items, namespace, wanted)
    }
}

fn selector(wanted: Option<&str>) -> String {
    let instance = wanted.map(|name| format!(",{INSTANCE}={name}")).unwrap_or_default();
    format!("{NAME}=fairlead,{COMPONENT}=admin{instance}")
}

fn choose(pods: Vec<Pod>, namespace: &str, wanted: Option<&str>) -> Result<Release, Ended> {
    let releases: BTreeSet<String> = pods.iter().filter_map(release_of).collect();
    let name = match releases.iter().collect::<Vec<_>>().as_slice() {
        [] => {
            return Err(Ended::Away(format!(
                "there is no Fairlead in namespace {namespace}: no pod has the labels {}; -n names another namespace",
                selector(wanted)
            )));
        }
        [one] => (*one).clone(),
        several => {
            let names: Vec<_> = several.iter().map(|name| name.as_str()).collect();
            return Err(Ended::Refused(format!(
                "there are several releases in namespace {namespace}: {}; name one with --release",
                names.join(", ")
            )));
        }
    };
    let ready: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
    let Some(first) = ready.first() else {
        let states: Vec<_> = pods.iter().map(|pod| format!("{} ({})", pod.name_any(), state(pod))).collect();
        return Err(Ended::Away(format!(
            "no admin pod of release {name} in namespace {namespace} is ready: {}",
            states.join(", ")
        )));
    };
    let Some(full_name) = full_name(first) else {
        return Err(Ended::Refused(format!(
            "pod {} is none of the chart's: its names tell nothing of the other objects of the release",
            first.name_any()
        )));
    };
    let mut names: Vec<_> = ready.iter().map(|pod| pod.name_any()).collect();
    names.sort();
    Ok(Release { namespace: namespace.to_owned(), name, full_name, pods: names })
}

fn release_of(pod: &Pod) -> Option<String> {
    pod.labels().get(INSTANCE).cloned()
}

/// The chart calls the account of admin pods FULL-reviewer, and their Deployment FULL-admin.
fn full_name(pod: &Pod) -> Option<String> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
    if let Some(full_name) = account.strip_suffix("-reviewer") {
        return Some(full_name.to_owned());
    }
    let owner = pod.owner_references().iter().find(|owner| owner.kind == "ReplicaSet")?;
    let (deployment, _) = owner.name.rsplit_once('-')?;
    deployment.strip_suffix("-admin").map(str::to_owned)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "ending".to_owned();
    }
    let status = pod.status.as_ref();
    let waiting = status
        .into_iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    waiting.or_else(|| status?.phase.clone()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(release: &str, name: &str, ready: bool, account: &str) -> Pod {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "1",
            "name": format!("{release}-fairlead-admin-5d8f")});
        let pod = json!({
            "metadata": {"name": name, "labels": {INSTANCE: release}, "ownerReferences": [owner]},
            "spec": {"containers": [], "serviceAccountName": account},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn ready_pods_of_the_only_release_are_taken() {
        let pods = vec![
            pod("edge", "edge-b", true, "edge-fairlead-reviewer"),
            pod("edge", "edge-a", true, "edge-fairlead-reviewer"),
            pod("edge", "edge-c", false, "edge-fairlead-reviewer"),
        ];
        let found = choose(pods, "sip", None).expect("one");
        assert_eq!(found.pods, ["edge-a", "edge-b"]);
        assert_eq!(
            (found.full_name.as_str(), found.audience().as_str()),
            ("edge-fairlead", "fairlead-admin/sip/edge")
        );
    }

    #[test]
    fn objects_are_named_after_the_deployment_where_the_account_has_another_name() {
        assert_eq!(full_name(&pod("x", "a", true, "mine")).as_deref(), Some("x-fairlead"));
        assert_eq!(full_name(&Pod::default()), None);
    }

    #[test]
    fn what_is_not_found_is_said_with_what_was_looked_for() {
        let text = |pods, wanted| {
            choose(pods, "sip", wanted).map(|_| ()).map_err(|ended| ended.to_string()).unwrap_err()
        };
        let none = text(Vec::new(), Some("edge"));
        assert!(
            none.contains("component=admin,app.kubernetes.io/instance=edge")
                && none.contains("namespace sip"),
            "{none}"
        );
        let several = text(vec![pod("a", "a-0", true, ""), pod("b", "b-0", true, "")], None);
        assert!(several.contains("a, b; name one with --release"), "{several}");
        let unready = text(vec![pod("edge", "edge-a", false, "")], None);
        assert!(unready.contains("edge-a (Running)"), "{unready}");
    }
}
