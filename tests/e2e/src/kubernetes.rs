//! The API of the cluster.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod as KubePod, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};

/// Where the release is.
pub const NAMESPACE: &str = "sip";

/// A client.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
}

/// What the tests look at in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its identity: a pod of the same name is another one.
    pub uid: String,
    /// Its role.
    pub component: String,
    /// Where it runs.
    pub node: String,
    /// The node's address.
    pub host_ip: String,
    /// The image of its first container.
    pub image: String,
    /// Pending, Running …
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub going: bool,
    /// How often its containers were started again.
    pub restarts: i32,
}

impl Kubernetes {
    /// Connects as the file says.
    pub async fn connect(kubeconfig: &str) -> anyhow::Result<Self> {
        let file =
            Kubeconfig::read_from(kubeconfig).with_context(|| format!("{kubeconfig} cannot be read"))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(Kubernetes { client: Client::try_from(config)? })
    }

    /// The pods of the release, those of tests left out; of one role when it is named.
    pub async fn pods(&self, component: &str) -> anyhow::Result<Vec<Pod>> {
        let mut labels = "app.kubernetes.io/instance=edge,app.kubernetes.io/component!=test".to_owned();
        if !component.is_empty() {
            labels = format!("{labels},app.kubernetes.io/component={component}");
        }
        let pods: Api<KubePod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let list = pods.list(&ListParams::default().labels(&labels)).await?;
        let mut found: Vec<Pod> = list.items.into_iter().map(Pod::from).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Deletes a pod; it ends as its grace period allows.
    pub async fn delete_pod(&self, name: &str) -> anyhow::Result<()> {
        let pods: Api<KubePod> = Api::namespaced(self.client.clone(), NAMESPACE);
        pods.delete(name, &DeleteParams::default()).await.with_context(|| format!("pod {name}"))?;
        Ok(())
    }

    /// Ports of a Service, as NAME/PORT/PROTOCOL.
    pub async fn ports(&self, service: &str) -> anyhow::Result<Vec<String>> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), NAMESPACE);
        let ports = services.get(service).await?.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let text = |port: k8s_openapi::api::core::v1::ServicePort| {
            format!("{}/{}", port.port, port.protocol.unwrap_or_else(|| "TCP".to_owned()))
        };
        Ok(ports.into_iter().map(text).collect())
    }

    /// All SipPeers by name, as they are.
    pub async fn sip_peers(&self) -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
        let kind = GroupVersionKind::gvk("fairlead.dev", "v1alpha1", "SipPeer");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind));
        let list = api.list(&ListParams::default()).await?;
        Ok(list.items.into_iter().map(|peer| (peer.metadata.name.unwrap_or_default(), peer.data)).collect())
    }

    /// Sum of a counter of the API server over the lines that hold all of these words.
    pub async fn api_server_counter(&self, name: &str, words: &[&str]) -> anyhow::Result<f64> {
        Ok(sum(&self.text("/metrics").await?, name, words))
    }

    /// What a pod of the release counts, as text; also of one that is ending, as long as it answers.
    pub async fn pod_metrics(&self, pod: &str) -> anyhow::Result<String> {
        self.text(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8081/proxy/metrics")).await
    }

    async fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        Ok(self.client.request_text(request).await?)
    }
}

/// Sum of a metric over the lines that hold all of these words.
pub fn sum(text: &str, name: &str, words: &[&str]) -> f64 {
    let lines =
        text.lines().filter(|line| line.starts_with(name) && words.iter().all(|word| line.contains(word)));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    // The sum of nothing is -0.0.
    values.fold(0.0, |sum, value| sum + value)
}

impl From<KubePod> for Pod {
    fn from(pod: KubePod) -> Self {
        let (meta, spec, status) =
            (pod.metadata, pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        let conditions = status.conditions.unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        Pod {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            component: meta
                .labels
                .unwrap_or_default()
                .remove("app.kubernetes.io/component")
                .unwrap_or_default(),
            node: spec.node_name.unwrap_or_default(),
            image: spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default(),
            host_ip: status.host_ip.unwrap_or_default(),
            phase: status.phase.unwrap_or_default(),
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            going: meta.deletion_timestamp.is_some(),
            restarts: containers.iter().map(|container| container.restart_count).sum(),
        }
    }
}
