//! Calls whose every packet is counted.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::outside::Phone;
use crate::phones::words::Tell;
use crate::world::{World, until};

/// What both sides of the calls sent in a chapter, and heard of it; an error when a packet is missing. They are silent afterwards.
pub async fn compare(world: &mut World, pairs: &[(Phone, Phone)], chapter: u32) -> anyhow::Result<()> {
    for (a, b) in pairs {
        a.tell(Tell::Hush).await?;
        b.tell(Tell::Hush).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut sent, mut heard, mut doubled, mut gap, mut wrong) = (0, 0, 0, 0, Vec::new());
    for (a, b) in pairs {
        let (of_a, of_b) = (a.count(chapter).await?, b.count(chapter).await?);
        for (from, to, speaker, listener) in [(&of_a, &of_b, a, b), (&of_b, &of_a, b, a)] {
            sent += from.sent;
            heard += to.heard;
            doubled += to.doubled;
            gap = gap.max(to.longest_gap_ms);
            if to.heard != from.sent || to.doubled > 0 || from.sent == 0 {
                wrong.push(format!(
                    "{} sent {} by {:?}, {} heard {} (and {} doubled, {} of others; {} uninvited); longest gap {} ms",
                    speaker.name, from.sent, from.relay, listener.name, to.heard, to.doubled, to.foreign, to.uninvited, to.longest_gap_ms
                ));
            }
        }
    }
    world.figure(format!(
        "{} call(s): {sent} packets sent, {heard} heard, {doubled} doubled, longest gap {gap} ms",
        pairs.len()
    ));
    ensure!(wrong.is_empty(), "packets are missing:\n{}", wrong.join("\n"));
    Ok(())
}

/// Begins a chapter for both sides of the calls, once both hear each other.
pub async fn begin(world: &mut World, pairs: &[(Phone, Phone)]) -> anyhow::Result<u32> {
    let before = world.next_chapter();
    for (a, b) in pairs {
        a.tell(Tell::Chapter(before)).await?;
        b.tell(Tell::Chapter(before)).await?;
    }
    until(Duration::from_secs(5), || async {
        for (a, b) in pairs {
            let (of_a, of_b) = (a.count(before).await?, b.count(before).await?);
            ensure!(
                of_a.heard > 0 && of_b.heard > 0,
                "{} and {} do not hear each other: {of_a:?}, {of_b:?}",
                a.name,
                b.name
            );
        }
        Ok(())
    })
    .await?;
    let chapter = world.next_chapter();
    for (a, b) in pairs {
        a.tell(Tell::Chapter(chapter)).await?;
        b.tell(Tell::Chapter(chapter)).await?;
    }
    Ok(chapter)
}

pub async fn inactive_hold_of_150_s(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let (ann, ben) = world.ann_and_ben().await?;
    ann.call("ben").await?;
    let pair = [(ann.clone(), ben.clone())];
    begin(world, &pair).await?;
    let (status, _) = turn(&ann, &ben, "inactive").await?;
    ensure!(status == 200, "the re-INVITE that holds was answered {status}");
    tokio::time::sleep(Duration::from_secs(150)).await;
    let chapter = world.next_chapter();
    for phone in [&ann, &ben] {
        phone.tell(Tell::Chapter(chapter)).await?;
    }
    let (status, _) = turn(&ann, &ben, "sendrecv").await?;
    ensure!(status == 200, "the re-INVITE that resumes was answered {status}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for phone in [&ann, &ben] {
        phone.tell(Tell::Hush).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (from, to) in [(&ann, &ben), (&ben, &ann)] {
        let (sent, heard) = (from.count(chapter).await?, to.count(chapter).await?);
        world.figure(format!(
            "after 150 s of hold {} sent {} packets, {} heard {}",
            from.name, sent.sent, to.name, heard.heard
        ));
        // Ben speaks before the ACK of ann's resumption is through; what comes then is early, not lost.
        ensure!(
            heard.heard + 10 >= sent.sent && heard.heard > 100,
            "{} does not hear {} after the hold: {heard:?}",
            to.name,
            from.name
        );
    }
    ann.hang_up().await
}

async fn turn(caller: &Phone, callee: &Phone, direction: &str) -> anyhow::Result<(u16, Duration)> {
    callee.tell(Tell::Expect(direction.to_owned())).await?;
    caller.status(Tell::Direction(direction.to_owned())).await
}

pub async fn media_pod_deleted_by_node_port(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    delete_under_a_call(world).await
}

pub async fn media_pod_deleted_by_load_balancer(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let helm = world.upgrade("--set media.exposure=loadBalancer").await;
    let outcome = match helm {
        Ok(_) => match addresses(world).await {
            Ok(()) => delete_under_a_call(world).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    world.upgrade("--set media.exposure=nodePort").await?;
    world.wait_healthy(Duration::from_secs(120)).await?;
    outcome
}

/// Relays have an address of their own and are ready.
async fn addresses(world: &World) -> anyhow::Result<()> {
    until(Duration::from_secs(60), || async {
        let said = world.run("kubectl -n sip get svc -l app.kubernetes.io/component=media -o wide").await?;
        ensure!(said.contains("LoadBalancer") && !said.contains("pending"), "the relays' Services:\n{said}");
        world.is_healthy().await
    })
    .await?;
    // The operator tells the relays, the registrars tell signaling.
    tokio::time::sleep(Duration::from_secs(5)).await;
    Ok(())
}

/// A call of 30 s; its relay is deleted at second 5.
async fn delete_under_a_call(world: &mut World) -> anyhow::Result<()> {
    let (ann, ben) = world.ann_and_ben().await?;
    ann.call("ben").await?;
    let pair = [(ann.clone(), ben.clone())];
    let chapter = begin(world, &pair).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let relay = ann.count(chapter).await?.relay.context("ann sends nowhere")?;
    let pod = format!("edge-fairlead-media-{}", (relay.port().saturating_sub(30_000)) / 20);
    world.kube.delete_pod(&pod).await?;
    world.figure(format!("{pod} ({relay}) deleted at second 5"));
    // Somebody else's call meanwhile goes by another relay.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let others = world.registered(1, 2).await?;
    if let [e1, e2] = others.as_slice() {
        e1.call(&e2.name).await.context("a call while a relay drains")?;
        let other = e1.count(0).await?.relay.context("e001 sends nowhere")?;
        ensure!(
            other.port() / 20 != relay.port() / 20,
            "a new call was given the relay that drains: {other}"
        );
        e1.hang_up().await?;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    compare(world, &pair, chapter).await?;
    ann.hang_up().await?;
    until(Duration::from_secs(60), || async {
        let pods = world.kube.pods("media").await?;
        ensure!(pods.iter().all(|pod| pod.ready && !pod.going), "the relay is not back: {pods:?}");
        Ok(())
    })
    .await
}
