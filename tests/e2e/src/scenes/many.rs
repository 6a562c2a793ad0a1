//! Many phones at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::phones::words::Tell;
use crate::world::{PEERS, World, password, peer, until};

pub async fn two_hundred_sipp_phones_register(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let edge = world.edge().await?;
    let folder = world.cluster.shell.root.join("target/e2e/sipp");
    tokio::fs::create_dir_all(&folder).await?;
    let rows: String = (1..=PEERS)
        .map(|n| format!("{};[authentication username={} password={}];\n", peer(n), peer(n), password(n)))
        .collect();
    tokio::fs::write(folder.join("rows.csv"), format!("SEQUENTIAL\n{rows}")).await?;
    let scenario =
        |name: &str| -> PathBuf { world.cluster.shell.root.join("tests/e2e/scenarios").join(name) };
    let outside = &world.cluster.outside;
    // One process registers and answers the edge's OPTIONS (-aa) from the same port.
    let began = Instant::now();
    let line = format!(
        "cd {} && {outside} sipp {edge} -sf {} -inf rows.csv -m {PEERS} -r 40 -p 25060 -aa -nostdin -timeout 60s -timeout_error \
         -trace_err -error_file errors.log -trace_stat -stf stat.csv -fd 1 >screen.log 2>&1 || {{ cat errors.log; tail -30 screen.log; exit 1; }}",
        folder.display(),
        scenario("register.xml").display(),
    );
    world.run(&line).await?;
    world.figure(format!(
        "{PEERS} REGISTERs with digest answered 200 in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    let shown = world.run("kubectl sip -n sip show peers").await?;
    let listed = shown.lines().filter(|line| line.starts_with("e") && line.contains(" 25060 ")).count();
    ensure!(listed == PEERS, "{listed} of {PEERS} phones are listed at their port:\n{shown}");
    // Five status writes a second.
    let limit = Duration::from_secs(20 + PEERS as u64 / 5);
    let registered = until(limit, || async {
        let peers = world.kube.sip_peers().await?;
        let registered = peers.iter().filter(|(name, peer)| {
            name.starts_with('e')
                && super::first_visit::condition(&peer["status"], "Registered").as_deref() == Some("True")
        });
        let count = registered.count();
        ensure!(count == PEERS, "{count} of {PEERS} SipPeers are Registered");
        Ok(began.elapsed())
    })
    .await?;
    world.figure(format!("`kubectl get sippeers` shows all of them after {:.1} s", registered.as_secs_f64()));
    Ok(())
}

pub async fn fifty_calls_with_every_packet_counted(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 100).await?;
    let (callers, callees) = phones.split_at(50);
    let pairs: Vec<_> = callers.iter().cloned().zip(callees.iter().cloned()).collect();
    let mut slowest = Duration::ZERO;
    for (caller, callee) in &pairs {
        slowest = slowest.max(caller.call(&callee.name).await?);
    }
    world.figure(format!("50 calls set up, the slowest answered after {} ms", slowest.as_millis()));
    let chapter = super::calls::begin(world, &pairs).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    super::calls::compare(world, &pairs, chapter).await?;
    let shown = world.run("kubectl sip -n sip show channels").await?;
    ensure!(
        shown.lines().last().is_some_and(|line| line.starts_with("100 ")),
        "`kubectl sip show channels` of 50 calls:\n{shown}"
    );
    for (caller, callee) in &pairs {
        caller.hang_up().await?;
        callee.tell(Tell::Hush).await?;
    }
    until(Duration::from_secs(10), || async {
        let shown = world.run("kubectl sip -n sip show channels").await?;
        ensure!(
            shown.lines().last().is_some_and(|line| line.starts_with("0 ")),
            "channels are left after all hung up:\n{shown}"
        );
        Ok(())
    })
    .await
}
