//! Changes that an operator makes while phones go on.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;

use crate::load::Load;
use crate::release::NEXT_TAG;
use crate::world::{World, until};

pub async fn signaling_1_3_1_under_registrations(world: &mut World) -> anyhow::Result<()> {
    scaled_under_registrations(world, "signaling").await
}

pub async fn registrar_1_3_1_under_registrations(world: &mut World) -> anyhow::Result<()> {
    scaled_under_registrations(world, "registrar").await
}

async fn scaled_under_registrations(world: &mut World, role: &str) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 60).await?;
    world.scale(role, 1).await?;
    let load = Load::registrations(phones.clone(), 20);
    let outcome = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.scale(role, 3).await?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        world.scale(role, 1).await?;
        // To the end of those that end.
        until(Duration::from_secs(120), || async {
            let pods = world.kube.pods(role).await?;
            ensure!(pods.len() == 1, "{} pods of {role} are left", pods.len());
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        anyhow::Ok(())
    }
    .await;
    let registrations = load.stop().await;
    // None is lost: each is still reachable.
    let shown = world.run("kubectl sip -n sip show peers").await;
    world.scale(role, 2).await?;
    outcome?;
    let shown = shown?;
    world.figure(format!("{role} 1 → 3 → 1: {}", registrations.all_succeeded("REGISTERs")?));
    let lost: Vec<_> = phones
        .iter()
        .filter(|phone| !shown.lines().any(|line| line.starts_with(&phone.name) && line.contains("OK (")))
        .collect();
    let names: Vec<_> = lost.iter().map(|phone| phone.name.as_str()).collect();
    ensure!(names.is_empty(), "not reachable afterwards: {names:?}\n{shown}");
    Ok(())
}

pub async fn upgrade_without_a_change_restarts_nothing(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let identity = |pods: Vec<crate::kubernetes::Pod>| -> BTreeSet<_> {
        pods.into_iter().map(|pod| (pod.name, pod.uid, pod.restarts)).collect()
    };
    let before = identity(world.kube.pods("").await?);
    world.upgrade("").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = identity(world.kube.pods("").await?);
    ensure!(before == after, "pods before: {before:?}\nafter: {after:?}");
    world.figure(format!("{} pods are the same", after.len()));
    Ok(())
}

pub async fn upgrade_to_a_new_tag_under_calls(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 40).await?;
    let (callers, callees) = phones.split_at(20);
    let calls = Load::calls(callers.iter().cloned().zip(callees.iter().cloned()).collect(), 5);
    let outcome = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.upgrade(&format!("--set image.tag={NEXT_TAG}")).await?;
        until(Duration::from_secs(120), || async {
            let pods = world.kube.pods("").await?;
            let old: Vec<_> = pods
                .iter()
                .filter(|pod| pod.component != "redis" && !pod.image.ends_with(NEXT_TAG))
                .map(|pod| &pod.name)
                .collect();
            ensure!(old.is_empty(), "still of the old tag: {old:?}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        anyhow::Ok(())
    }
    .await;
    let calls = calls.stop().await;
    world.upgrade("--set image.tag=dev").await?;
    world.wait_healthy(Duration::from_secs(180)).await?;
    outcome?;
    world.figure(calls.all_succeeded("calls while every pod was replaced")?);
    Ok(())
}
