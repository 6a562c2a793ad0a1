//! Small releases beside the one of a first visit: one pod of each role, in a namespace of their own, for values that want
//! other surroundings. Ann and ben of deploy/examples/sippeers.yaml are their phones.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::outside::{Phone, Phones};
use crate::release::IMAGE;
use crate::scenes::calls;
use crate::world::{World, until};

/// One pod of each role that ends as soon as it is told to, and ports that no other release has.
const ONE_EACH: &str = "--set signaling.replicas=1,registrar.replicas=1,media.replicas=1,media.maxReplicas=1,test.enabled=false \
                        --set signaling.drainSeconds=1,media.drainSeconds=1,registrar.drainSeconds=1,admin.drainSeconds=1 \
                        --set signaling.preStopSeconds=0,media.preStopSeconds=0,registrar.preStopSeconds=0,admin.preStopSeconds=0";

/// The release `edge` in a namespace of its own.
pub struct Small {
    /// Its namespace.
    pub namespace: &'static str,
}

/// A pod of it, as the API server has it.
#[derive(Clone, Debug)]
pub struct SmallPod {
    /// Its name.
    pub name: String,
    /// Its role.
    pub component: String,
    /// Its identity and how often its containers were started again: another one after a restart of either kind.
    pub life: String,
    /// The address of its node.
    pub host: String,
    /// Its own address.
    pub ip: String,
}

impl Small {
    /// An empty namespace that enforces a Pod Security profile; images and kinds are brought where they are not there.
    pub async fn prepare(world: &mut World, namespace: &'static str, profile: &str) -> anyhow::Result<Self> {
        let small = Small { namespace };
        small.bring(world).await?;
        world
            .run(&format!(
                "kubectl delete namespace {namespace} --ignore-not-found --wait --timeout=120s && kubectl create namespace {namespace} && \
                 kubectl label namespace {namespace} pod-security.kubernetes.io/enforce={profile} pod-security.kubernetes.io/warn={profile}"
            ))
            .await?;
        Ok(small)
    }

    async fn bring(&self, world: &World) -> anyhow::Result<()> {
        if world.cluster.own {
            let images = "tests/cluster/cluster enter node-1 ctr -a /var/tmp/kubenode/node-1/run/containerd.sock -n k8s.io images ls -q";
            let there = world.run(images).await?;
            if !there.lines().any(|name| name == IMAGE) {
                world.bring_images().await?;
            }
        }
        let (there, _) = world.cluster.shell.both("kubectl get crd sippeers.fairlead.dev").await?;
        if !there {
            world.run("helm upgrade --install --take-ownership edge-crds charts/fairlead-crds").await?;
        }
        Ok(())
    }

    /// Installs with these words and says what helm printed. Media gets a band of node ports that nobody has.
    pub async fn install(&self, world: &World, words: &str) -> anyhow::Result<String> {
        let mut attempts = 0;
        loop {
            let line = format!(
                "helm install edge charts/fairlead -n {} --wait --timeout 100s {} {ONE_EACH} --set media.ports.base={} {words}",
                self.namespace,
                world.image_values(),
                free_band(world).await?
            );
            let (done, said) = world.cluster.shell.both(&line).await?;
            attempts += 1;
            // Kubernetes has given one away in between, to a Service that named none.
            if !done && attempts < 4 && said.contains("provided port is already allocated") {
                world.run(&format!("helm uninstall edge -n {} --wait", self.namespace)).await?;
                continue;
            }
            ensure!(done, "{line}\n{said}");
            ensure!(
                !said.contains("would violate PodSecurity"),
                "the namespace's profile is violated:\n{said}"
            );
            return Ok(said);
        }
    }

    /// A command line with `kubectl -n NAMESPACE` before it.
    pub async fn kubectl(&self, world: &World, words: &str) -> anyhow::Result<String> {
        world.run(&format!("kubectl -n {} {words}", self.namespace)).await
    }

    /// Applies objects.
    pub async fn apply(&self, world: &World, objects: &[Value]) -> anyhow::Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(world, &format!("apply -f - <<'JSON'\n{list}\nJSON\n")).await.map(drop)
    }

    /// Its pods.
    pub async fn pods(&self, world: &World) -> anyhow::Result<Vec<SmallPod>> {
        let said = self
            .kubectl(
                world,
                "get pods -l app.kubernetes.io/instance=edge,app.kubernetes.io/component!=redis -o json",
            )
            .await?;
        let list: Value = serde_json::from_str(&said)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| SmallPod {
                name: text(&pod["metadata"]["name"]),
                component: text(&pod["metadata"]["labels"]["app.kubernetes.io/component"]),
                life: format!(
                    "{} {}",
                    text(&pod["metadata"]["uid"]),
                    pod["status"]["containerStatuses"][0]["restartCount"]
                ),
                host: text(&pod["status"]["hostIP"]),
                ip: text(&pod["status"]["podIP"]),
            })
            .collect())
    }

    /// The pod of a role.
    pub async fn pod(&self, world: &World, component: &str) -> anyhow::Result<SmallPod> {
        let pods = self.pods(world).await?;
        pods.into_iter()
            .find(|pod| pod.component == component)
            .with_context(|| format!("there is no pod of {component} in {}", self.namespace))
    }

    /// The metrics of a pod.
    pub async fn metrics(&self, world: &World, pod: &str) -> anyhow::Result<String> {
        world
            .run(&format!(
                "kubectl get --raw /api/v1/namespaces/{}/pods/{pod}:8081/proxy/metrics",
                self.namespace
            ))
            .await
    }

    /// Where phones send UDP.
    pub async fn edge(&self, world: &World) -> anyhow::Result<SocketAddr> {
        let said = world.run(&format!("kubectl sip -n {} address --wait", self.namespace)).await?;
        let address = said.lines().find_map(|line| line.strip_prefix("udp "));
        let address = address.with_context(|| format!("no `udp HOST:PORT` in:\n{said}"))?.trim();
        let found = tokio::net::lookup_host(address).await?.next();
        found.with_context(|| format!("{address} has no address"))
    }

    /// Makes ann, ben and others with the same password scheme, once registrars serve them.
    pub async fn peers(&self, world: &World, more: &[&str]) -> anyhow::Result<()> {
        self.kubectl(world, "apply -f deploy/examples/sippeers.yaml").await?;
        let mut objects = Vec::new();
        for name in more {
            objects
                .push(serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"password": password(name)}}));
            objects.push(serde_json::json!({"apiVersion": "fairlead.dev/v1alpha1", "kind": "SipPeer", "metadata": {"name": name},
                "spec": {"secretRef": {"name": name, "key": "password"}, "nat": ["force_rport", "comedia"]}}));
        }
        if !objects.is_empty() {
            self.apply(world, &objects).await?;
        }
        self.kubectl(world, "wait --for=condition=Ready sippeers --all --timeout=60s").await.map(drop)
    }

    /// A phone, registered, of these phones.
    pub async fn registered(&self, phones: &Phones, name: &str, edge: SocketAddr) -> anyhow::Result<Phone> {
        let phone = phones.add(name, &password(name), edge).await?;
        phone.register().await?;
        Ok(phone)
    }

    /// Ann and ben outside, registered.
    pub async fn ann_and_ben(&self, world: &World) -> anyhow::Result<(Phone, Phone)> {
        self.peers(world, &[]).await?;
        let edge = self.edge(world).await?;
        Ok((
            self.registered(&world.phones, "ann", edge).await?,
            self.registered(&world.phones, "ben", edge).await?,
        ))
    }

    /// The end of a test: when it failed, what to look at is added; all of the release goes.
    pub async fn end(self, world: &World, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
        let namespace = self.namespace;
        let outcome = match outcome {
            Ok(()) => Ok(()),
            Err(error) => {
                let line = format!(
                    "kubectl -n {namespace} get pods,services -o wide; kubectl -n {namespace} get events --sort-by=.lastTimestamp | tail -15; \
                     for pod in $(kubectl -n {namespace} get pods -o name); do echo \"== $pod\"; \
                     kubectl -n {namespace} logs $pod --tail=400 2>&1 | grep -iE '\"(WARN|ERROR)\"|panick' | tail -4; done"
                );
                let state = world.cluster.shell.both(&line).await.map(|(_, text)| text).unwrap_or_default();
                Err(anyhow::anyhow!("{error:#}\nThe namespace {namespace}:\n{state}"))
            }
        };
        // Ports and the objects outside of the namespace are free at once; nobody waits for the rest.
        world
            .run(&format!(
                "helm uninstall edge -n {namespace} --ignore-not-found && kubectl delete namespace {namespace} --wait=false"
            ))
            .await?;
        outcome
    }
}

/// The first of as many node ports as a relay has, above those that the release of a first visit has.
async fn free_band(world: &World) -> anyhow::Result<u16> {
    const COUNT: u16 = 20;
    let list: Value = serde_json::from_str(&world.run("kubectl get services -A -o json").await?)?;
    let mut taken = BTreeSet::new();
    for service in list["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let spec = &service["spec"];
        let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let all = ports.iter().map(|port| &port["nodePort"]).chain([&spec["healthCheckNodePort"]]);
        taken.extend(all.filter_map(Value::as_u64));
    }
    let free = |base: &u16| taken.range(u64::from(*base)..u64::from(*base + COUNT)).next().is_none();
    (31_600..32_740).step_by(usize::from(COUNT)).find(free).context("no band of node ports is free")
}

/// A call of two seconds between phones that are registered, every packet counted; where the caller's RTP went.
pub async fn short_call(world: &mut World, caller: &Phone, callee: &Phone) -> anyhow::Result<SocketAddr> {
    // A relay is chosen once it has said that it is there.
    until(Duration::from_secs(15), || async { caller.call(&callee.name).await }).await?;
    let pair = [(caller.clone(), callee.clone())];
    let chapter = calls::begin(world, &pair).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let relay = caller.count(chapter).await?.relay.context("the caller's RTP goes nowhere");
    calls::compare(world, &pair, chapter).await?;
    caller.hang_up().await?;
    relay
}

/// As in deploy/examples/sippeers.yaml.
fn password(name: &str) -> String {
    format!("{name}-has-a-long-password")
}
