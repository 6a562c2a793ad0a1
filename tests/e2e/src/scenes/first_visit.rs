//! What a stranger does first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::phones::words::Tell;
use crate::world::{PEERS, World, until};

pub async fn install(world: &mut World) -> anyhow::Result<()> {
    let (there, _) = world.cluster.shell.both("helm status edge -n sip").await?;
    if there {
        world
            // A namespace that is deleted while pods go looks at them again after half of their grace period, which is an hour.
            .run(
                "helm uninstall edge -n sip --wait; kubectl -n sip wait --for=delete pods --all --timeout=120s; \
                 kubectl delete namespace sip --wait --timeout=120s",
            )
            .await?;
    }
    world.forget_edge();
    world.prepare_namespace().await?;
    world.bring_images().await?;
    world.run("helm upgrade --install --take-ownership edge-crds charts/fairlead-crds").await?;
    let began = Instant::now();
    let line = format!(
        "helm install edge charts/fairlead -n sip --create-namespace --wait {}",
        world.image_values()
    );
    let (done, said) = world.cluster.shell.both(&line).await?;
    ensure!(done, "{line}\n{said}");
    world.figure(format!("helm install --wait took {:.1} s", began.elapsed().as_secs_f64()));
    ensure!(!said.contains("would violate PodSecurity"), "the profile `restricted` is violated:\n{said}");
    world.wait_healthy(Duration::from_secs(60)).await?;
    world.figure(format!("everything ready after {:.1} s", began.elapsed().as_secs_f64()));
    let pods = world.kube.pods("").await?;
    let mut roles: BTreeMap<String, usize> = BTreeMap::new();
    for pod in &pods {
        *roles.entry(pod.component.clone()).or_default() += 1;
    }
    let expected =
        [("admin", 1), ("media", 2), ("operator", 1), ("redis", 1), ("registrar", 2), ("signaling", 2)];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(role, count)| (role.to_owned(), count)).collect();
    ensure!(roles == expected, "pods by role: {roles:?}, expected {expected:?}");
    let restarted: Vec<_> = pods
        .iter()
        .filter(|pod| pod.restarts > 0)
        .map(|pod| format!("{}: {}", pod.name, pod.restarts))
        .collect();
    ensure!(restarted.is_empty(), "restarted while starting: {}", restarted.join(", "));
    Ok(())
}

pub async fn sippeers_by_kubectl_apply(world: &mut World) -> anyhow::Result<()> {
    world.released().await?;
    let took = world.provision().await?;
    world.figure(format!("{} SipPeers Ready after {:.1} s", PEERS + 2, took.as_secs_f64()));
    let shown = world.run("kubectl sip -n sip show peers").await?;
    for name in ["ann", "ben", "e001", "e200"] {
        ensure!(
            shown.lines().any(|line| line.starts_with(name)),
            "{name} is not in `kubectl sip show peers`:\n{shown}"
        );
    }
    let columns = world.run("kubectl -n sip get sippeers ann").await?;
    ensure!(columns.lines().count() == 2, "`kubectl get sippeers ann`:\n{columns}");
    for (spec, fields) in [
        ("qualifyFreq: -3, transport: [pigeon]", ["qualifyFreq", "transport"]),
        // Without a password anybody could register as it.
        ("context: phones", ["secretRef", "md5SecretRef"]),
    ] {
        let wrong = format!(
            "apiVersion: fairlead.dev/v1alpha1\nkind: SipPeer\nmetadata: {{name: wrong}}\nspec: {{{spec}}}\n"
        );
        let (taken, said) =
            world.cluster.shell.both(&format!("kubectl apply -n sip -f - <<'YAML'\n{wrong}YAML\n")).await?;
        if taken {
            world.attempt("kubectl -n sip delete sippeer wrong").await;
            bail!("the API server took a wrong peer ({spec}): {said}");
        }
        ensure!(fields.iter().any(|field| said.contains(field)), "the refusal names no field: {said}");
    }
    Ok(())
}

pub async fn two_phones_call(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let (ann, ben) = world.ann_and_ben().await?;
    let took = ann.call("ben").await?;
    world.figure(format!("answered after {} ms (ben rings for 200)", took.as_millis()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let chapter = world.next_chapter();
    for phone in [&ann, &ben] {
        phone.tell(Tell::Chapter(chapter)).await?;
    }
    let channels = world.run("kubectl sip -n sip show channels").await?;
    ensure!(
        channels.contains("2 active SIP dialogs") || channels.contains("2 active SIP channels"),
        "`kubectl sip show channels`:\n{channels}"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    super::calls::compare(world, &[(ann.clone(), ben.clone())], chapter).await?;
    ann.hang_up().await?;
    until(Duration::from_secs(5), || async {
        let left = ben.count(chapter).await?.live;
        ensure!(left == 0, "ben still has {left} call(s) after ann hung up");
        Ok(())
    })
    .await?;
    let registered = until(Duration::from_secs(30), || async {
        let peers = world.kube.sip_peers().await?;
        for name in ["ann", "ben"] {
            let status = peers.get(name).map(|peer| peer["status"].clone()).unwrap_or_default();
            let condition = condition(&status, "Registered");
            ensure!(condition == Some("True".to_owned()), "SipPeer {name} is not Registered: {status}");
        }
        world.run("kubectl -n sip get sippeers ann ben").await
    })
    .await?;
    for line in registered.lines() {
        world.figure(line);
    }
    Ok(())
}

/// Status of a condition.
pub fn condition(status: &Value, kind: &str) -> Option<String> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    found["status"].as_str().map(str::to_owned)
}

pub async fn helm_test(world: &mut World) -> anyhow::Result<()> {
    world.released().await?;
    // Its pod is deleted when it has succeeded, so its words are followed meanwhile.
    let shell = world.cluster.shell.clone();
    let follow = "timeout 150 bash -c 'until kubectl -n sip logs -f edge-fairlead-test 2>/dev/null | grep .; do sleep 0.2; done'";
    let (test, words) = tokio::join!(shell.both("helm test edge -n sip"), shell.both(follow));
    let ((passed, said), (_, words)) = (test?, words?);
    ensure!(passed, "helm test failed:\n{said}\n{words}");
    for line in words.lines() {
        world.figure(line.trim());
    }
    until(Duration::from_secs(30), || async {
        let peers = world.kube.sip_peers().await?;
        let left: Vec<_> =
            peers.keys().filter(|name| name.contains("test") || name.contains("probe")).collect();
        ensure!(left.is_empty(), "helm test left SipPeers behind: {left:?}");
        Ok(())
    })
    .await
}

pub async fn no_finding_in_a_healthy_release(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    until(Duration::from_secs(30), || async {
        let (_, said) = world.cluster.shell.both("kubectl sip -n sip doctor").await?;
        ensure!(said.contains("no findings"), "`kubectl sip doctor` of a healthy release:\n{said}");
        Ok(())
    })
    .await
}

pub async fn rest_through_port_forward(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let (ann, ben) = world.ann_and_ben().await?;
    let token = world
        .run("kubectl -n sip get secret edge-fairlead-admin -o jsonpath='{.data.token}' | base64 -d")
        .await?;
    let forward = world.forward("svc/edge-fairlead-admin", 8080).await?;
    let at = format!("localhost:{}/v1", forward.port);
    let curl = format!("curl -sS --fail-with-body -H 'Authorization: Bearer {token}'");

    // The same peers, with the same addresses.
    let listed: Value = serde_json::from_str(&world.run(&format!("{curl} '{at}/peers?limit=1000'")).await?)?;
    let peers = listed["peers"].as_array().context("no `peers` in GET /v1/peers")?;
    let names: BTreeSet<_> =
        peers.iter().filter_map(|peer| peer["name"].as_str()).map(str::to_owned).collect();
    // Twice at once is never the same moment: phones that have just registered are qualified meanwhile.
    until(Duration::from_secs(10), || async {
        let shown = world.run("kubectl sip -n sip show peers").await?;
        let text = world.run(&format!("{curl} -H 'Accept: text/plain' {at}/peers")).await?;
        let words = |text: &str| -> BTreeSet<String> { text.lines().map(without_latency).collect() };
        let (shown, text) = (words(&shown), words(&text));
        let others: Vec<_> = shown.symmetric_difference(&text).cloned().collect();
        ensure!(
            others.is_empty(),
            "kubectl sip show peers and GET /v1/peers as text differ in:\n{}",
            others.join("\n")
        );
        Ok(())
    })
    .await?;
    ensure!(names.len() >= PEERS + 2 && names.contains("ann"), "{} peers in GET /v1/peers", names.len());
    world.figure(format!("{} peers by REST and by kubectl sip, the same", names.len()));

    // Who may not.
    for (what, header, wanted) in
        [("no token", "X-None: 1", "401"), ("a wrong token", "Authorization: Bearer wrong", "401")]
    {
        let code =
            world.run(&format!("curl -s -o /dev/null -w '%{{http_code}}' -H '{header}' {at}/peers")).await?;
        ensure!(code == wanted, "{what}: {code}, not {wanted}");
    }

    world.run(&format!("{curl} -X POST '{at}/realtime/prune?name=ann'")).await?;
    ann.register().await.context("a pruned peer registers again")?;
    world.run(&format!("{curl} -X POST {at}/peers/ben/unregister")).await?;
    until(Duration::from_secs(5), || async {
        let peer: Value = serde_json::from_str(&world.run(&format!("{curl} {at}/peers/ben")).await?)?;
        let text = peer.to_string();
        ensure!(!text.contains("\"contacts\":[{"), "ben was unregistered and still has a contact: {text}");
        Ok(())
    })
    .await?;
    let (status, _) = ann.status(Tell::Call("ben".to_owned())).await?;
    ensure!(status == 480 || status == 404, "a call to ben, who was unregistered, was answered {status}");
    ben.register().await?;
    forward.end().await
}

/// A line of `sip show peers` without what changes by itself: `OK (3 ms)`.
fn without_latency(line: &str) -> String {
    match line.split_once(" OK (") {
        Some((before, after)) => {
            format!("{before} OK {}", after.split_once(')').map_or("", |(_, rest)| rest))
                .trim_end()
                .to_owned()
        }
        None => line.trim_end().to_owned(),
    }
}
