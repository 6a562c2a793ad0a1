//! Pods, nodes, the store and the control plane go away.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::load::Load;
use crate::outside::Phone;
use crate::phones::words::Tell;
use crate::world::{World, password, peer, until};

pub async fn each_pod_of_each_role_deleted_once(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 40).await?;
    let (registering, calling) = phones.split_at(30);
    let load = Load::registrations(registering.to_vec(), 10);
    let outcome = delete_each(world, calling).await;
    let registrations = load.stop().await;
    outcome?;
    world.figure(registrations.all_succeeded("REGISTERs meanwhile")?);
    Ok(())
}

async fn delete_each(world: &mut World, phones: &[Phone]) -> anyhow::Result<()> {
    let [caller, callee, ..] = phones else { bail!("two phones are needed") };
    let pods = world.kube.pods("").await?;
    for pod in pods.iter().filter(|pod| pod.component != "redis") {
        world.kube.delete_pod(&pod.name).await?;
        let took = calls_again(caller, callee, Duration::from_secs(5))
            .await
            .with_context(|| format!("after {} was deleted", pod.name))?;
        world.figure(format!("{} deleted: the next call is up after {} ms", pod.name, took.as_millis()));
        // A signaling pod that ends lingers for its phones; what counts is who came instead.
        until(Duration::from_secs(90), || async {
            let now = world.kube.pods(&pod.component).await?;
            let (there, wanted) = (
                now.iter().filter(|pod| pod.ready && !pod.going).count(),
                pods.iter().filter(|other| other.component == pod.component).count(),
            );
            ensure!(there == wanted, "{there} of {wanted} pods of {} are ready", pod.component);
            Ok(())
        })
        .await?;
    }
    world.wait_healthy(Duration::from_secs(90)).await
}

/// Tries to call until a call is up; how long that took.
async fn calls_again(caller: &Phone, callee: &Phone, limit: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        let (status, _) = caller.status(Tell::Call(callee.name.clone())).await?;
        if status == 200 {
            let took = began.elapsed();
            caller.status(Tell::HangUp).await?;
            ensure!(took <= limit, "the next call was up only after {took:?}");
            return Ok(took);
        }
        ensure!(began.elapsed() < limit, "calls are still answered {status} after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub async fn node_2_cut(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    settle_on_node_1(world).await?;
    let edge = world.edge().await?;
    // A Redis that had to move is empty: REGISTER is answered 503 until its peers are written again.
    until(Duration::from_secs(30), || async {
        world.phones.add(&peer(1), &password(1), edge).await?.register().await
    })
    .await?;
    let phones = world.registered(1, 20).await?;
    let cut = Instant::now();
    world.run("tests/cluster/cluster cut node-2").await?;
    let noticed = until(Duration::from_secs(15), || async {
        let route =
            world.run(&format!("tests/cluster/cluster enter router ip route show {}", edge.ip())).await?;
        ensure!(!route.contains("10.41.0.12"), "the balancer still sends to node-2: {route}");
        Ok(Instant::now())
    })
    .await;
    let outcome = match noticed {
        Ok(noticed) => after_the_cut(world, &phones, cut, noticed).await,
        Err(error) => Err(error),
    };
    world.run("tests/cluster/cluster restore node-2 >/dev/null 2>&1").await?;
    world.wait_healthy(Duration::from_secs(180)).await?;
    outcome
}

async fn after_the_cut(
    world: &mut World,
    phones: &[Phone],
    cut: Instant,
    noticed: Instant,
) -> anyhow::Result<()> {
    world.figure(format!("the balancer noticed {:.1} s after the cut", (noticed - cut).as_secs_f64()));
    let mut registering = tokio::task::JoinSet::new();
    for phone in phones.iter().cloned() {
        registering.spawn(async move { (phone.name.clone(), phone.status(Tell::Register(3600)).await) });
    }
    let mut slowest = Duration::ZERO;
    while let Some(done) = registering.join_next().await {
        let (name, answer) = done?;
        let (status, took) = answer?;
        ensure!(status == 200, "REGISTER of {name} was answered {status} after {took:?}");
        slowest = slowest.max(noticed.elapsed());
    }
    ensure!(
        slowest <= Duration::from_secs(5),
        "the last phone was registered only {slowest:?} after the balancer noticed"
    );
    let [a, b, ..] = phones else { bail!("two phones are needed") };
    calls_again(a, b, Duration::from_secs(5)).await?;
    let called = noticed.elapsed();
    ensure!(
        called <= Duration::from_secs(5),
        "the first call was up only {called:?} after the balancer noticed"
    );
    world.figure(format!(
        "after that {} phones were registered within {} ms, a call was up within {} ms",
        phones.len(),
        slowest.as_millis(),
        called.as_millis()
    ));
    Ok(())
}

/// Redis and one pod of each role are on node-1.
async fn settle_on_node_1(world: &World) -> anyhow::Result<()> {
    for role in ["redis", "registrar", "signaling", "media", "admin", "operator"] {
        let pods = world.kube.pods(role).await?;
        if pods.iter().any(|pod| pod.node == "node-1") {
            continue;
        }
        let pod = pods.first().with_context(|| format!("there is no pod of {role}"))?;
        world.run("kubectl cordon node-2").await?;
        world.kube.delete_pod(&pod.name).await?;
        let settled = until(Duration::from_secs(90), || async {
            let pods = world.kube.pods(role).await?;
            ensure!(
                pods.iter().any(|pod| pod.node == "node-1" && pod.ready),
                "no pod of {role} is ready on node-1"
            );
            Ok(())
        })
        .await;
        world.run("kubectl uncordon node-2").await?;
        settled?;
    }
    world.wait_healthy(Duration::from_secs(120)).await
}

pub async fn redis_deleted_with_its_disk(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 40).await?;
    let redis = world.kube.pods("redis").await?;
    let redis = redis.first().context("there is no Redis pod")?;
    world.kube.delete_pod(&redis.name).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let shown = world.run("kubectl sip -n sip show peers").await?;
    let missing: Vec<_> = phones
        .iter()
        .filter(|phone| {
            !shown.lines().any(|line| line.starts_with(&phone.name) && line.contains("10.44.0.2"))
        })
        .collect();
    let names: Vec<_> = missing.iter().map(|phone| phone.name.as_str()).collect();
    ensure!(
        names.is_empty(),
        "30 s after Redis was deleted {} of {} phones are not listed: {names:?}\n{shown}",
        names.len(),
        phones.len()
    );
    let (callers, callees) = phones.split_at(phones.len() / 2);
    for (caller, callee) in callers.iter().zip(callees) {
        // Both ways, so that each is reached once without having registered again.
        caller.call(&callee.name).await?;
        caller.hang_up().await?;
        callee.call(&caller.name).await?;
        callee.hang_up().await?;
    }
    world.figure(format!("{} phones listed and reached by a call each, none registered again", phones.len()));
    world.wait_healthy(Duration::from_secs(60)).await
}

pub async fn api_server_stopped_for_a_minute(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 40).await?;
    let (registering, calling) = phones.split_at(20);
    let (callers, callees) = calling.split_at(10);
    world.run("tests/cluster/cluster pause node-1 kube-apiserver").await?;
    let registrations = Load::registrations(registering.to_vec(), 10);
    let calls = Load::calls(callers.iter().cloned().zip(callees.iter().cloned()).collect(), 3);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (registrations, calls) = (registrations.stop().await, calls.stop().await);
    world.run("tests/cluster/cluster resume node-1 kube-apiserver").await?;
    world.figure(format!("60 s without an API server: {}", registrations.all_succeeded("REGISTERs")?));
    world.figure(calls.all_succeeded("calls")?);
    world.wait_healthy(Duration::from_secs(120)).await
}
