//! How RTP reaches relays: `media.exposure`. `nodePort` is everywhere else, `loadBalancer` in `calls`.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, ensure};

use crate::outside::Phones;
use crate::small::{Small, SmallPod, short_call};
use crate::world::World;

const PORTS: u16 = 20;

pub async fn media_by_host_port(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-host-port", "privileged").await?;
    let outcome = on_its_node(world, &small, "hostPort", 20_000).await;
    small.end(world, outcome).await
}

pub async fn media_by_host_network(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-host-network", "privileged").await?;
    let outcome = on_its_node(world, &small, "hostNetwork", 21_000).await;
    small.end(world, outcome).await
}

pub async fn media_by_pod_ip(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-pod-ip", "restricted").await?;
    let outcome = in_the_network_of_pods(world, &small, 22_000).await;
    small.end(world, outcome).await
}

/// Phones outside; the relay is told to them as its node.
async fn on_its_node(world: &mut World, small: &Small, exposure: &str, base: u16) -> anyhow::Result<()> {
    let notes =
        small.install(world, &format!("--set media.exposure={exposure},media.ports.base={base}")).await?;
    ensure!(
        notes.contains(&format!("WARNING: media.exposure={exposure}")),
        "the notes do not warn of {exposure}:\n{notes}"
    );
    let (ann, ben) = small.ann_and_ben(world).await?;
    let relay = short_call(world, &ann, &ben).await?;
    let pod = small.pod(world, "media").await?;
    is_at(relay, &pod.host, base)?;
    world.figure(format!("{exposure}: phones outside were told {relay}, the node of {}", said(&pod)));
    Ok(())
}

/// Phones in a pod, since the world does not reach pods here; the relay is told to them as its pod.
async fn in_the_network_of_pods(world: &mut World, small: &Small, base: u16) -> anyhow::Result<()> {
    let own = std::env::current_exe()?.display().to_string();
    let root = world.cluster.shell.root.display().to_string();
    // As small as it gets, and where the image has it.
    let program = format!("{root}/target/e2e/phones");
    world
        .run(&format!(
            "mkdir -p target/e2e && strip -o {program} {own} && tests/cluster/cluster pack localhost/fairlead-phones:e2e {program}"
        ))
        .await?;
    small.install(world, &format!("--set media.exposure=podIP,media.ports.base={base}")).await?;
    small.peers(world, &[]).await?;
    small
        .apply(
            world,
            &[serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "phones"},
            "spec": {
                "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                // It waits for words that never come; those that speak are started beside it.
                "containers": [{"name": "phones", "image": "localhost/fairlead-phones:e2e", "args": ["phones"], "stdin": true,
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}})],
        )
        .await?;
    small.kubectl(world, "wait --for=condition=Ready pod/phones --timeout=30s").await?;
    let line = format!("kubectl -n {} exec -i phones -- {program} phones", small.namespace);
    let phones = Phones::start_by(&world.cluster.shell, &line)?;
    let address =
        small.kubectl(world, "get service edge-fairlead-sip -o jsonpath='{.spec.clusterIP}'").await?;
    let edge = SocketAddr::new(address.parse().with_context(|| address.clone())?, 5060);
    let ann = small.registered(&phones, "ann", edge).await?;
    let ben = small.registered(&phones, "ben", edge).await?;
    let relay = short_call(world, &ann, &ben).await?;
    let pod = small.pod(world, "media").await?;
    is_at(relay, &pod.ip, base)?;
    world.figure(format!("podIP: phones in a pod were told {relay}, {} itself", said(&pod)));
    Ok(())
}

fn is_at(relay: SocketAddr, address: &str, base: u16) -> anyhow::Result<()> {
    let wanted: IpAddr = address.parse().with_context(|| format!("{address:?} is no address"))?;
    ensure!(
        relay.ip() == wanted && (base..base + PORTS).contains(&relay.port()),
        "the relay was told as {relay}, wanted {wanted} with a port from {base} on"
    );
    Ok(())
}

fn said(pod: &SmallPod) -> String {
    format!("{} (pod {}, node {})", pod.name, pod.ip, pod.host)
}
