//! What lies around the edge: found in Kubernetes, told to a registrar, which tells every pod.
//!
//! `around/survey.rs` decides; here is what watches, resolves names and tells. `around/deletion_cost.rs` marks the pods
//! that should go last, `around/ports.rs` finds ports that an upgrade has lost.

mod deletion_cost;
mod ports;
mod survey;

pub use survey::{Config as AroundConfig, Exposure};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::surroundings::{Finding, Severity, Surroundings};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::events::Events;
use crate::labels;
use crate::lease::Reign;
use crate::metrics::{ByCode, OperatorMetrics};
use crate::registrars::Registrars;
use crate::watching::{Trouble, watch};
use survey::{Survey, World, survey};

/// Changes are gathered this long.
const GATHER: Duration = Duration::from_millis(300);

/// How often names are resolved and everything is looked at without a reason.
const EVERY: Duration = Duration::from_secs(20);

/// How long a finding lasts before an Event says so: a balancer takes its time.
const LASTING: Duration = Duration::from_secs(10);

/// What is known, as far as it is.
#[derive(Debug, Default)]
struct Seen {
    world: World,
    listed: BTreeSet<&'static str>,
    lists: BTreeMap<&'static str, BTreeSet<String>>,
}

/// What the survey works with.
pub struct Around {
    /// The API server.
    pub client: Client,
    /// The registrars.
    pub registrars: Arc<Registrars>,
    /// Where the release is.
    pub namespace: String,
    /// Its name.
    pub release: String,
    /// What is known beforehand.
    pub config: AroundConfig,
    /// What is counted.
    pub metrics: OperatorMetrics,
    /// What is said at objects.
    pub events: Events,
    /// Everything has to be told again.
    pub tell_again: Arc<Notify>,
    /// How long we lead.
    pub reign: Reign,
}

const SERVICES: &str = "services";
const PODS: &str = "pods";
const NODES: &str = "nodes";

impl Around {
    /// Until the reign ends.
    pub async fn run(self) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let changed = Arc::new(Notify::new());
        let ours = Config::default().labels(&labels::selector(&self.release));
        let at =
            |kind| Place { kind, seen: seen.clone(), changed: changed.clone(), reign: self.reign.clone() };
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let nodes: Api<Node> = Api::all(self.client.clone());
        tokio::spawn(keep(services, ours.clone(), at(SERVICES), |world| &mut world.services));
        tokio::spawn(keep(pods.clone(), ours, at(PODS), |world| &mut world.pods));
        tokio::spawn(keep(nodes, Config::default(), at(NODES), |world| world.nodes.get_or_insert_default()));
        let signaling = {
            let seen = seen.clone();
            move || -> Vec<Pod> {
                let seen = seen.lock();
                let pods = seen.world.pods.values();
                pods.filter(|pod| survey::component(pod) == Some("signaling")).cloned().collect()
            }
        };
        tokio::spawn(deletion_cost::run(
            pods,
            signaling,
            self.registrars.clone(),
            self.metrics.clone(),
            self.reign.clone(),
        ));
        self.tell(&seen, &changed).await;
    }

    async fn tell(&self, seen: &Mutex<Seen>, changed: &Notify) {
        let mut told: Option<Surroundings> = None;
        let mut failing = false;
        let mut said = Said::default();
        let mut pause = EVERY;
        loop {
            tokio::select! {
                () = changed.notified() => {}
                () = self.tell_again.notified() => told = None,
                () = tokio::time::sleep(pause) => {}
                () = self.reign.end().cancelled() => return,
            }
            tokio::time::sleep(GATHER).await;
            pause = EVERY;
            self.repair(seen).await;
            let Some(found) = self.look(seen).await else { continue };
            self.say(&found.findings, &mut said);
            if said.is_waiting() {
                pause = LASTING;
            }
            if told.as_ref() == Some(&found) || !self.reign.holds() {
                continue;
            }
            match self.registrars.set_surroundings(&found).await {
                Ok(()) => {
                    tracing::info!(
                        sip = found.sip.len(),
                        media = found.media.len(),
                        findings = found.findings.len(),
                        "told pods where the world reaches them"
                    );
                    tracing::debug!(?found.sip, ?found.media, ?found.findings, "where");
                    failing = false;
                    told = Some(found);
                }
                Err(unanswered) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%unanswered, "no registrar takes the addresses of the edge");
                    }
                    pause = Duration::from_secs(1);
                }
            }
        }
    }

    /// Puts ports of SIP Services right.
    async fn repair(&self, seen: &Mutex<Seen>) {
        let services: Vec<Service> = seen.lock().world.services.values().cloned().collect();
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        for service in services {
            let Some(ports) = ports::repaired(&service).filter(|_| self.reign.holds()) else { continue };
            let name = service.name_any();
            // Only over what was seen: a port that has just been changed is looked at again.
            let patch = serde_json::json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": service.resource_version() },
                { "op": "replace", "path": "/spec/ports", "value": ports },
            ]);
            let Ok(patch) = serde_json::from_value(patch) else { continue };
            match self.reign.write(api.patch(&name, &PatchParams::default(), &Patch::<()>::Json(patch))).await
            {
                Ok(_) => {
                    tracing::warn!(
                        service = name,
                        "put the ports of a Service right that an upgrade had lost"
                    );
                    let note = "ports put right: they were not those of the annotation fairlead.dev/ports";
                    self.events.note(service.object_ref(&()), "PortsPutRight", "Survey", note);
                }
                Err(failed) => {
                    tracing::warn!(service = name, error = %failed, "the ports of a Service could not be put right");
                }
            }
        }
    }

    /// What is there now; `None` while not everything has been seen: half a picture would take addresses away.
    async fn look(&self, seen: &Mutex<Seen>) -> Option<Surroundings> {
        let world = {
            let seen = seen.lock();
            if ![SERVICES, PODS, NODES].iter().all(|kind| seen.listed.contains(kind)) {
                return None;
            }
            seen.world.clone()
        };
        let Survey { surroundings, names } = survey(&self.config, &world);
        if names.is_empty() {
            return Some(surroundings);
        }
        let mut world = world;
        let mut resolved = BTreeMap::new();
        for name in names {
            // A name that cannot be resolved now keeps what it had.
            let addresses = match resolve(&name).await {
                Some(addresses) => addresses,
                None => world.resolved.get(&name).cloned().unwrap_or_default(),
            };
            resolved.insert(name, addresses);
        }
        seen.lock().world.resolved.clone_from(&resolved);
        world.resolved = resolved;
        Some(survey(&self.config, &world).surroundings)
    }

    /// Counts findings and says those that last at what they are about.
    fn say(&self, findings: &[Finding], said: &mut Said) {
        let now = Instant::now();
        let mut counts: HashMap<&str, i64> = HashMap::new();
        for finding in findings {
            *counts.entry(&finding.code).or_default() += 1;
        }
        said.codes.extend(counts.keys().map(|code| (*code).to_owned()));
        for code in &said.codes {
            let count = counts.get(code.as_str()).copied().unwrap_or(0);
            self.metrics.findings.get_or_create(&ByCode { code: code.clone() }).set(count);
        }
        let is_there = |key: &(String, String)| findings.iter().any(|f| f.code == key.0 && f.about == key.1);
        said.since.retain(|key, _| is_there(key));
        for finding in findings {
            let key = (finding.code.clone(), finding.about.clone());
            let (since, is_said) = said.since.entry(key).or_insert((now, false));
            if !*is_said && now.duration_since(*since) >= LASTING {
                *is_said = true;
                match finding.severity {
                    Severity::Error => tracing::error!(
                        code = finding.code,
                        about = finding.about,
                        remedy = finding.remedy,
                        "{}",
                        finding.text
                    ),
                    Severity::Warning => tracing::warn!(
                        code = finding.code,
                        about = finding.about,
                        remedy = finding.remedy,
                        "{}",
                        finding.text
                    ),
                }
                let kind = if finding.code == fairlead_model::surroundings::code::NO_MEDIA_SERVICE {
                    "Pod"
                } else {
                    "Service"
                };
                let about = ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some(kind.to_owned()),
                    name: Some(finding.about.clone()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectReference::default()
                };
                if let Some(reason) = reason(&finding.code) {
                    self.events.warn(
                        about,
                        reason,
                        "Survey",
                        format!("{} (change: {})", finding.text, finding.remedy),
                    );
                }
            }
        }
    }
}

/// Findings, since when, and whether an Event has said so.
#[derive(Debug, Default)]
struct Said {
    since: HashMap<(String, String), (Instant, bool)>,
    /// Codes that were ever counted.
    codes: BTreeSet<String>,
}

impl Said {
    fn is_waiting(&self) -> bool {
        self.since.values().any(|(_, is_said)| !is_said)
    }
}

/// A finding's code as the reason of an Event.
fn reason(of: &str) -> Option<&'static str> {
    use fairlead_model::surroundings::code;
    [
        code::NO_ADDRESS,
        code::SOURCE_HIDDEN,
        code::ADDRESSES_DIFFER,
        code::PORT_CHANGED,
        code::NO_MEDIA_SERVICE,
    ]
    .into_iter()
    .find(|known| *known == of)
}

async fn resolve(name: &str) -> Option<Vec<IpAddr>> {
    let found = tokio::time::timeout(Duration::from_secs(3), tokio::net::lookup_host((name, 0))).await;
    match found {
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.sort();
            found.dedup();
            (!found.is_empty()).then_some(found)
        }
        Ok(Err(error)) => {
            tracing::warn!(name, %error, "the name that a balancer gave cannot be resolved");
            None
        }
        Err(_) => {
            tracing::warn!(name, "resolving the name that a balancer gave takes too long");
            None
        }
    }
}

/// Where objects of a kind are kept.
struct Place {
    kind: &'static str,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    reign: Reign,
}

/// Keeps what there is of one kind.
async fn keep<K>(api: Api<K>, config: Config, place: Place, of: fn(&mut World) -> &mut BTreeMap<String, K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let Place { kind, seen, changed, reign } = place;
    let mut is_said = false;
    watch(api, config, reign.end().clone(), |event| {
        let mut seen = seen.lock();
        let seen = &mut *seen;
        match event {
            Ok(Event::Init) => {
                seen.lists.insert(kind, BTreeSet::new());
            }
            Ok(Event::InitApply(object)) => {
                seen.lists.entry(kind).or_default().insert(object.name_any());
                of(&mut seen.world).insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                let there = seen.lists.remove(kind).unwrap_or_default();
                of(&mut seen.world).retain(|name, _| there.contains(name));
                seen.listed.insert(kind);
                is_said = false;
                changed.notify_one();
            }
            Ok(Event::Apply(object)) => {
                of(&mut seen.world).insert(object.name_any(), object);
                changed.notify_one();
            }
            Ok(Event::Delete(object)) => {
                of(&mut seen.world).remove(&object.name_any());
                changed.notify_one();
            }
            Err(trouble) => {
                if !std::mem::replace(&mut is_said, true) {
                    if kind == NODES && matches!(trouble, Trouble::Forbidden(_)) {
                        tracing::info!(
                            "nodes may not be seen: relays are reached at the addresses that their pods know"
                        );
                    } else {
                        tracing::warn!(kind, ?trouble, "objects of the release cannot be watched now");
                    }
                }
                // Nodes are seen by those who may; the others do without.
                if kind == NODES && matches!(trouble, Trouble::Forbidden(_)) && seen.listed.insert(kind) {
                    changed.notify_one();
                }
            }
        }
        std::future::ready(())
    })
    .await;
}
