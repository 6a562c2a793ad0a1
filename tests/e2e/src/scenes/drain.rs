//! Signaling pods that end while calls run and new ones come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::kubernetes::{Pod, sum};
use crate::outside::Phone;
use crate::phones::words::Tell;
use crate::world::{World, until};

const DRAIN_CALLS: &str = "fairlead_signaling_drain_calls_total";

/// What a pod counts while it drains.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Drain {
    /// Calls that were up when it began.
    at_start: f64,
    /// Those that ended in peace.
    ended: f64,
    /// Those that it cut.
    cut: f64,
    /// Messages that it handed to other pods, and that were taken.
    passed: f64,
}

async fn drain_of(world: &World, pod: &str) -> anyhow::Result<Drain> {
    let text = world.kube.pod_metrics(pod).await?;
    let calls = |outcome: &str| sum(&text, DRAIN_CALLS, &[&format!("outcome=\"{outcome}\"")]);
    Ok(Drain {
        at_start: calls("at_start"),
        ended: calls("ended"),
        cut: calls("cut"),
        passed: sum(
            &text,
            "fairlead_mesh_crossings_total",
            &["direction=\"out\"", "kind=\"deliver\"", "result=\"sent\""],
        ),
    })
}

pub async fn a_signaling_pod_deleted_passes_new_calls_on(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    // Both pods and the one that comes after are on one node: a flow then stays with the pod that ends, as it does wherever a
    // node has several; otherwise the balancer sends it to another node.
    let pods = world.kube.pods("signaling").await?;
    let here = pods.first().context("there is no signaling pod")?.node.clone();
    let others = format!("$(kubectl get nodes -o name | grep -vx node/{here})");
    world.run(&format!("kubectl cordon {others}")).await?;
    let outcome = async {
        gather(world, pods, &here).await?;
        one_of_two_ends(world).await
    }
    .await;
    world.run(&format!("kubectl uncordon {others}")).await?;
    settle(world, outcome).await?;
    world.wait_healthy(Duration::from_secs(60)).await
}

/// A pod that ends waits for the calls of a test that failed.
async fn settle(world: &mut World, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    world.forget_edge();
    if outcome.is_err() {
        world.phones.hang_up_all().await?;
    }
    outcome
}

async fn gather(world: &World, pods: Vec<Pod>, here: &str) -> anyhow::Result<()> {
    let elsewhere: Vec<_> = pods.iter().filter(|pod| pod.node != here).collect();
    if elsewhere.is_empty() {
        return Ok(());
    }
    for pod in elsewhere {
        world.kube.delete_pod(&pod.name).await?;
    }
    until(Duration::from_secs(90), || async {
        let pods = world.kube.pods("signaling").await?;
        ensure!(
            pods.len() == 2 && pods.iter().all(|pod| pod.ready && !pod.going && pod.node == here),
            "two signaling pods on {here} are wanted: {pods:?}"
        );
        Ok(())
    })
    .await?;
    // The balancer leaves the other node.
    tokio::time::sleep(Duration::from_secs(4)).await;
    Ok(())
}

async fn one_of_two_ends(world: &mut World) -> anyhow::Result<()> {
    let phones = world.registered(1, 24).await?;
    // Chance decides which pod has a phone's flow; the one that has the first phone's is to end.
    let mut here: Vec<Phone> = Vec::new();
    let mut victim = String::new();
    for phone in &phones {
        let said = world.run(&format!("kubectl sip -n sip show peer {} --pods", phone.name)).await?;
        let pod = said
            .lines()
            .filter(|line| line.trim_start().starts_with("Contact"))
            .find_map(|line| line.split_once(" by ")?.1.split_whitespace().next())
            .with_context(|| format!("no pod has a contact of {}:\n{said}", phone.name))?;
        if victim.is_empty() {
            pod.clone_into(&mut victim);
        }
        if pod == victim {
            here.push(phone.clone());
        }
    }
    let there: Vec<Phone> =
        phones.iter().filter(|phone| here.iter().all(|other| other.name != phone.name)).cloned().collect();
    ensure!(
        here.len() >= 5 && there.len() >= 3,
        "{} of {} phones are at {victim}: chance does not do that",
        here.len(),
        phones.len()
    );
    // Two calls that are up: one between two phones of the pod, one to a phone of the other.
    let ([a, b, c, callers @ ..], [d, callees @ ..]) = (here.as_slice(), there.as_slice()) else {
        anyhow::bail!("that was ensured")
    };
    let running = [(a.clone(), b.clone()), (c.clone(), d.clone())];
    for (caller, callee) in &running {
        caller.call(&callee.name).await?;
    }
    let chapter = super::calls::begin(world, &running).await?;
    world.kube.delete_pod(&victim).await?;
    let deleted = Instant::now();
    let drain = until(Duration::from_secs(15), || async {
        let drain = drain_of(world, &victim).await?;
        ensure!(drain.at_start > 0.0, "{victim} counts no call at the start of its drain: {drain:?}");
        Ok(drain)
    })
    .await?;
    ensure!(drain.at_start == 2.0, "2 calls are up at {victim}, it counts {drain:?}");
    let began = drain_of(world, &victim).await?;
    let mut slowest = Duration::ZERO;
    let mut calls = 0;
    for (caller, callee) in callers.iter().zip(callees.iter().chain(callers.iter().rev())).take(8) {
        if caller.name == callee.name {
            continue;
        }
        slowest = slowest.max(caller.call(&callee.name).await.context("a new call while its pod drains")?);
        caller.hang_up().await?;
        calls += 1;
    }
    let after =
        drain_of(world, &victim).await.context("the pod has to be there as long as calls run on it")?;
    world.figure(format!(
        "{} of {} phones are at {victim}; while it drained {calls} new calls of theirs came up, the slowest after {} ms; \
         it handed {} messages on",
        here.len(),
        phones.len(),
        slowest.as_millis(),
        after.passed - began.passed
    ));
    // INVITE, ACK of the challenge, INVITE: less would have come by another way.
    ensure!(
        after.passed - began.passed >= 3.0 * f64::from(calls),
        "{calls} calls came up, yet not by way of {victim}: {began:?}, then {after:?}"
    );
    tokio::time::sleep(Duration::from_secs(15).saturating_sub(deleted.elapsed())).await;
    super::calls::compare(world, &running, chapter).await?;
    for (caller, _) in &running {
        caller.hang_up().await?;
    }
    let end = until(Duration::from_secs(3), || async {
        let drain =
            drain_of(world, &victim).await.context("the pod lingers for phones that only it reaches")?;
        ensure!(
            drain.ended == drain.at_start && drain.cut == 0.0,
            "calls hung up, {victim} counts {drain:?}"
        );
        Ok(drain)
    })
    .await?;
    gone(world, &victim, Duration::from_secs(60)).await?;
    world.figure(format!(
        "its calls: {} at the start, {} ended in peace, {} cut; gone {:.1} s after it was deleted",
        end.at_start,
        end.ended,
        end.cut,
        deleted.elapsed().as_secs_f64()
    ));
    Ok(())
}

async fn gone(world: &World, name: &str, limit: Duration) -> anyhow::Result<()> {
    until(limit, || async {
        let pods = world.kube.pods("signaling").await?;
        ensure!(pods.iter().all(|pod| pod.name != name), "{name} is still there");
        Ok(())
    })
    .await
}

pub async fn the_last_signaling_pod_refuses_new_calls_at_once(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    world.scale("signaling", 1).await?;
    let outcome = the_last_ends(world).await;
    let outcome = settle(world, outcome).await;
    world.scale("signaling", 2).await?;
    outcome
}

/// With no pod that is ready a balancer has nowhere to go, so the phones use the port of the pod's own node: there kube-proxy
/// goes on to a pod that is ending.
async fn the_last_ends(world: &mut World) -> anyhow::Result<()> {
    let mut pods = world.kube.pods("signaling").await?;
    pods.retain(|pod| !pod.going);
    let [Pod { name: pod, host_ip, .. }] = pods.as_slice() else {
        anyhow::bail!("one signaling pod is wanted: {pods:?}")
    };
    let port = world
        .run("kubectl -n sip get service edge-fairlead-sip -o jsonpath='{.spec.ports[?(@.protocol==\"UDP\")].nodePort}'")
        .await?;
    let edge: SocketAddr = format!("{host_ip}:{}", port.trim()).parse()?;
    let mut phones = Vec::new();
    for number in 1..=6 {
        let (name, password) = (crate::world::peer(number), crate::world::password(number));
        phones.push(world.phones.add(&name, &password, edge).await?);
    }
    let [a, b, c, d, e, late] = phones.as_slice() else { anyhow::bail!("six were added") };
    for phone in [a, b, c, d, e] {
        phone.register().await?;
    }
    a.call(&b.name).await?;
    let answered = Instant::now();
    let running = [(a.clone(), b.clone())];
    let chapter = super::calls::begin(world, &running).await?;
    world.run("kubectl -n sip scale deployment/edge-fairlead-signaling --replicas=0").await?;
    until(Duration::from_secs(15), || async {
        let drain = drain_of(world, pod).await?;
        ensure!(drain.at_start == 1.0, "1 call is up at {pod}, it counts {drain:?}");
        Ok(())
    })
    .await?;
    for caller in [c, e] {
        let (status, took) = caller.status(Tell::Call(d.name.clone())).await?;
        let head = caller.refusal().await?;
        let retry = head.lines().find(|line| line.to_lowercase().starts_with("retry-after:"));
        ensure!(
            status == 503 && retry.is_some() && took < Duration::from_secs(1),
            "a new call at the last pod was answered {status} after {took:?}:\n{head}"
        );
        world.figure(format!(
            "a new call: `{}`, `{}`, after {} ms",
            head.lines().next().unwrap_or_default(),
            retry.unwrap_or_default(),
            took.as_millis()
        ));
    }
    let (again, anew) = (c.register().await?, late.register().await?);
    world.figure(format!(
        "REGISTER while it drains: 200 after {} ms, of a phone that it had not seen before after {} ms",
        again.as_millis(),
        anew.as_millis()
    ));
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(answered.elapsed())).await;
    super::calls::compare(world, &running, chapter).await?;
    let talked = answered.elapsed();
    a.hang_up().await?;
    gone(world, pod, Duration::from_secs(30)).await?;
    world.figure(format!(
        "the call ended by its BYE after {:.1} s, the pod was gone {:.1} s later",
        talked.as_secs_f64(),
        (answered.elapsed() - talked).as_secs_f64()
    ));
    Ok(())
}
