//! The role as a whole: stands for election, and while it leads, does everything.

use std::sync::Arc;
use std::time::Duration;

use fairlead_proto::tls::PodTls;
use fairlead_runtime::common::Handles;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::limited;
use crate::around::{Around, AroundConfig};
use crate::desk::Desk;
use crate::events::Events;
use crate::hints;
use crate::keys::{self, CertificatesConfig, KeysConfig, KeysMetrics};
use crate::labels;
use crate::lease::{Candidate, Reign};
use crate::metrics::OperatorMetrics;
use crate::registrars::Registrars;
use crate::throwaway;

/// What the role is started with.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// Where the release is.
    pub namespace: String,
    /// Its name.
    pub release: String,
    /// What names of its objects begin with.
    pub full_name: String,
    /// `HOST:PORT` of registrars.
    pub registrars: Vec<String>,
    /// Namespaces whose `SipPeer` objects become peers.
    pub watch_namespaces: Vec<String>,
    /// Most status writes a second.
    pub status_writes_per_second: u32,
    /// How the world reaches the edge.
    pub around: AroundConfig,
    /// How certificates are made, when they are made here.
    pub certificates: Option<CertificatesConfig>,
    /// The Secret of admin's token, when it is made here.
    pub admin_token_secret: Option<String>,
    /// The Secret of Redis' password, when it is made here.
    pub redis_password_secret: Option<String>,
}

/// Starts it; it ends with the drain. `certificates` is filled when this pod has its own, which the role itself may have
/// to make first.
pub fn start(
    config: OperatorConfig,
    client: Client,
    certificates: watch::Receiver<Option<PodTls>>,
    handles: &Handles,
) {
    let metrics = OperatorMetrics::registered(&handles.metrics);
    let keys = handles.metrics.register(KeysMetrics::registered);
    let operator = Operator { config, client, certificates, metrics, keys, handles: handles.clone() };
    let stop = handles.drain.draining();
    handles.drain.spawn(operator.run(stop));
}

struct Operator {
    config: OperatorConfig,
    client: Client,
    certificates: watch::Receiver<Option<PodTls>>,
    metrics: OperatorMetrics,
    keys: KeysMetrics,
    handles: Handles,
}

impl Operator {
    async fn run(self, stop: CancellationToken) {
        let Some(owner) = self.owner(&stop).await else { return };
        let (tell, mut reigns) = watch::channel(None);
        let candidate = Candidate {
            api: Api::namespaced(self.client.clone(), &self.config.namespace),
            name: format!("{}-operator", self.config.full_name),
            me: format!("{}_{}", self.handles.who.name, self.handles.who.pod),
            owner: owner.clone(),
            labels: labels::made_here(&self.config.release, "operator"),
            beat: self.handles.health.heartbeat("election", Duration::from_secs(120)),
        };
        let standing = tokio::spawn(candidate.stand(tell, stop.clone()));
        while let Ok(reign) = reigns.wait_for(Option::is_some).await.map(|reign| reign.clone()) {
            let Some(reign) = reign else { continue };
            self.metrics.leading.set(1);
            self.lead(&reign, owner.as_ref()).await;
            self.metrics.leading.set(0);
            if reigns.wait_for(Option::is_none).await.is_err() {
                break;
            }
        }
        // The Lease is given back last.
        let _ = standing.await;
    }

    /// Does everything until the reign ends; begins again when a part of it ended by itself.
    async fn lead(&self, reign: &Reign, owner: Option<&OwnerReference>) {
        while !reign.end().is_cancelled() {
            let attempt = reign.attempt();
            let mut parts = JoinSet::new();
            parts.spawn(keys::run(self.client.clone(), self.keys(owner)));
            parts.spawn(throwaway::run(self.client.clone(), self.config.namespace.clone()));
            let (namespace, release) = (self.config.namespace.clone(), self.config.release.clone());
            parts.spawn(hints::run(self.client.clone(), namespace, release));
            self.peers(&mut parts, &attempt);
            tokio::select! {
                ended = parts.join_next() => {
                    if !reign.end().is_cancelled() {
                        tracing::error!(?ended, "a part of the operator ended by itself; beginning again");
                    }
                }
                () = reign.end().cancelled() => {}
            }
            attempt.end().cancel();
            parts.shutdown().await;
            if !reign.end().is_cancelled() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn peers(&self, parts: &mut JoinSet<()>, reign: &Reign) {
        let (config, client, metrics) = (self.config.clone(), self.client.clone(), self.metrics.clone());
        let (reign, mut certificates) = (reign.clone(), self.certificates.clone());
        let pod = self.handles.who.name.clone();
        parts.spawn(async move {
            let ours = certificates.wait_for(Option::is_some).await.map(|tls| tls.clone());
            let Ok(Some(tls)) = ours else {
                tracing::error!("there will be no certificates");
                reign.end().cancelled().await;
                return;
            };
            let registrars = Arc::new(Registrars::new(config.registrars.clone(), tls));
            let controller = format!("{}-operator", config.full_name);
            let events = Events::start(client.clone(), &controller, &pod, reign.clone());
            let tell_again = Arc::new(Notify::new());
            let around = Around {
                client: client.clone(),
                registrars: registrars.clone(),
                namespace: config.namespace.clone(),
                release: config.release.clone(),
                config: config.around.clone(),
                metrics: metrics.clone(),
                events: events.clone(),
                tell_again: tell_again.clone(),
                reign: reign.clone(),
            };
            let us = ObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: Some("Deployment".to_owned()),
                name: Some(controller),
                namespace: Some(config.namespace.clone()),
                ..ObjectReference::default()
            };
            let desk = Desk {
                client,
                registrars,
                namespaces: config.watch_namespaces,
                status_writes: config.status_writes_per_second,
                metrics,
                events,
                us,
                tell_again,
                reign,
            };
            tokio::join!(desk.run(), around.run());
        });
    }

    fn keys(&self, owner: Option<&OwnerReference>) -> KeysConfig {
        KeysConfig {
            namespace: self.config.namespace.clone(),
            release: self.config.release.clone(),
            full_name: self.config.full_name.clone(),
            certificates: self.config.certificates.clone(),
            admin_token: self.config.admin_token_secret.clone(),
            redis_password: self.config.redis_password_secret.clone(),
            owner: owner.cloned(),
            metrics: self.keys.clone(),
        }
    }

    /// The operator's Deployment, with which everything made goes away; `None` while stopping.
    async fn owner(&self, stop: &CancellationToken) -> Option<Option<OwnerReference>> {
        let name = format!("{}-operator", self.config.full_name);
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.config.namespace);
        let mut is_said = false;
        loop {
            match limited(api.get_opt(&name)).await {
                Ok(Some(found)) => {
                    return Some(found.uid().map(|uid| OwnerReference {
                        api_version: "apps/v1".to_owned(),
                        kind: "Deployment".to_owned(),
                        name,
                        uid,
                        ..OwnerReference::default()
                    }));
                }
                Ok(None) => {
                    tracing::warn!(
                        deployment = name,
                        "there is no such Deployment: what is made here has no owner"
                    );
                    return Some(None);
                }
                Err(failed) if failed.is_forbidden() => {
                    tracing::warn!(deployment = name, "it may not be read: what is made here has no owner");
                    return Some(None);
                }
                Err(failed) => {
                    if !std::mem::replace(&mut is_said, true) {
                        tracing::warn!(error = %failed, "the API server does not answer");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(2)) => {}
                        () = stop.cancelled() => return None,
                    }
                }
            }
        }
    }
}
