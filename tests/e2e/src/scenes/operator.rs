//! SipPeers, Secrets and Services as the operator role keeps them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::phones::words::Tell;
use crate::world::{World, password, peer, until};

fn object(name: &str, key: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: SipPeer\nmetadata: {{name: {name}, labels: {{e2e: extra}}}}\nspec: {{secretRef: {{name: extra, key: {key}}}, nat: [force_rport, comedia]}}\n"
    )
}

async fn apply(world: &World, yaml: &str) -> anyhow::Result<()> {
    world.run(&format!("kubectl apply -n sip -f - <<'YAML'\n{yaml}YAML\n")).await.map(drop)
}

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: extra}\nstringData: {one: the-first-password}\n---\n";

pub async fn a_changed_password_counts_within_5_s(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    apply(world, &format!("{SECRET}{}", object("changing", "one"))).await?;
    world.run("kubectl -n sip wait --for=condition=Ready sippeer/changing --timeout=30s").await?;
    let edge = world.edge().await?;
    world.phones.add("changing", "the-first-password", edge).await?.register().await?;
    world.run("kubectl -n sip patch secret extra --type=merge -p '{\"stringData\":{\"one\":\"the-second-password\"}}'").await?;
    let changed = Instant::now();
    let phone = world.phones.add("changing", "the-second-password", edge).await?;
    let took = until(Duration::from_secs(10), || async {
        phone.register().await?;
        Ok(changed.elapsed())
    })
    .await?;
    ensure!(took <= Duration::from_secs(5), "the new password counted only after {took:?}");
    let old = world.phones.add("changing", "the-first-password", edge).await?;
    let (status, _) = old.status(Tell::Register(60)).await?;
    ensure!(status == 401 || status == 403, "the old password was answered {status}");
    world.figure(format!(
        "the new password counted after {} ms, the old one is answered {status}",
        took.as_millis()
    ));
    world.run("kubectl -n sip delete sippeer changing; kubectl -n sip delete secret extra").await?;
    Ok(())
}

pub async fn what_happened_while_no_operator_ran(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    apply(world, &format!("{SECRET}{}---\n{}", object("goes", "one"), object("stays", "one"))).await?;
    world.run("kubectl -n sip wait --for=condition=Ready sippeer/goes sippeer/stays --timeout=30s").await?;
    world.scale("operator", 0).await?;
    let outcome = async {
        world
            .run("kubectl -n sip delete sippeer goes --timeout=20s")
            .await
            .context("no finalizer may hold a SipPeer")?;
        apply(world, &object("comes", "one")).await?;
        anyhow::Ok(())
    }
    .await;
    world.scale("operator", 1).await?;
    outcome?;
    world.run("kubectl -n sip wait --for=condition=Ready sippeer/comes --timeout=60s").await?;
    until(Duration::from_secs(30), || async {
        let shown = world.run("kubectl sip -n sip show peers").await?;
        let has = |name: &str| shown.lines().any(|line| line.split([' ', '/']).next() == Some(name));
        ensure!(
            !has("goes") && has("stays") && has("comes"),
            "deleted `goes`, kept `stays`, made `comes` while no operator ran:\n{shown}"
        );
        Ok(())
    })
    .await?;
    world.run("kubectl -n sip delete sippeers -l e2e=extra; kubectl -n sip delete secret extra").await?;
    Ok(())
}

pub async fn a_change_at_rest_is_seen_within_5_s(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    apply(world, &format!("{SECRET}{}", object("seen", "one"))).await?;
    world.run("kubectl -n sip wait --for=condition=Ready sippeer/seen --timeout=30s").await?;
    let edge = world.edge().await?;
    let phone = world.phones.add("seen", "the-first-password", edge).await?;
    for (expires, registered) in [(60, "True"), (0, "False")] {
        phone.status(Tell::Register(expires)).await?;
        let changed = Instant::now();
        let line =
            format!("kubectl -n sip wait --for=condition=Registered={registered} sippeer/seen --timeout=10s");
        world.run(&line).await?;
        let took = changed.elapsed();
        ensure!(took <= Duration::from_secs(5), "Registered={registered} was seen only after {took:?}");
        world.figure(format!("Registered={registered} was seen after {} ms", took.as_millis()));
    }
    world.run("kubectl -n sip delete sippeer seen; kubectl -n sip delete secret extra").await?;
    Ok(())
}

const REDIS: &str = "kubectl -n sip exec $(kubectl -n sip get pod -l app.kubernetes.io/instance=edge,app.kubernetes.io/component=redis -o name) -- /usr/bin/redis-cli --no-auth-warning \
                     -a \"$(kubectl -n sip get secret edge-fairlead-redis -o jsonpath='{.data.password}' | base64 -d)\"";

fn named(object: &str, sip_name: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: SipPeer\nmetadata: {{name: {object}, labels: {{e2e: extra}}}}\nspec: {{name: {sip_name}, context: phones, secretRef: {{name: extra, key: one}}}}\n"
    )
}

fn wait_for_reason(object: &str, reason: &str) -> String {
    format!(
        "kubectl -n sip wait sippeer/{object} --timeout=40s --for=jsonpath='{{.status.conditions[?(@.type==\"Ready\")].reason}}'={reason}"
    )
}

pub async fn a_name_has_one_owner_and_what_is_changed_by_hand_is_put_right(
    world: &mut World,
) -> anyhow::Result<()> {
    world.installed().await?;
    apply(world, &format!("{SECRET}{}", named("older", "shared"))).await?;
    world.run(&wait_for_reason("older", "Served")).await?;
    // Ages are told apart by the second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    apply(world, &named("younger", "shared")).await?;
    world.run(&wait_for_reason("younger", "NameTaken")).await?;
    world.run("kubectl -n sip delete sippeer older").await?;
    let freed = Instant::now();
    world.run(&wait_for_reason("younger", "Served")).await?;
    world.figure(format!("the next claim has the name after {} ms", freed.elapsed().as_millis()));

    world.run(&format!("{REDIS} hset fairlead:peer:{{unmarked}} secret other host dynamic")).await?;
    apply(world, &named("third", "unmarked")).await?;
    world.run(&wait_for_reason("third", "NameTaken")).await?;
    world.run(&format!("{REDIS} del fairlead:peer:{{unmarked}}")).await?;
    let freed = Instant::now();
    world.run(&wait_for_reason("third", "Served")).await?;
    world.figure(format!("a name without a mark is had {} s after it is free", freed.elapsed().as_secs()));

    world.run(&format!("{REDIS} hset fairlead:peer:{{shared}} context elsewhere")).await?;
    let changed = Instant::now();
    let took = until(Duration::from_secs(30), || async {
        let context = world.run(&format!("{REDIS} hget fairlead:peer:{{shared}} context")).await?;
        ensure!(context.trim() == "phones", "the context is {context}");
        Ok(changed.elapsed())
    })
    .await?;
    world.figure(format!("a column changed by hand was put right after {} ms", took.as_millis()));
    until(Duration::from_secs(10), || async {
        let events = world
            .run("kubectl -n sip get events --field-selector reason=PutRight,involvedObject.name=younger")
            .await?;
        ensure!(
            events.contains("changed by hand") && events.contains("context"),
            "no Event says so: {events}"
        );
        Ok(())
    })
    .await?;
    world.run("kubectl -n sip delete sippeers -l e2e=extra; kubectl -n sip delete secret extra").await?;
    Ok(())
}

pub async fn an_emptied_redis_calls_no_peer_unknown(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    apply(world, &format!("{SECRET}{}", object("silent", "one"))).await?;
    world.run("kubectl -n sip wait --for=condition=Ready sippeer/silent --timeout=30s").await?;
    let edge = world.edge().await?;
    let phone = world.phones.add("silent", "the-first-password", edge).await?;
    let redis = world.kube.pods("redis").await?;
    world.kube.delete_pod(&redis.first().context("there is no Redis pod")?.name).await?;
    let began = Instant::now();
    let mut refused = Vec::new();
    loop {
        let (status, _) = phone.status(Tell::Register(60)).await?;
        match status {
            200 if began.elapsed() > Duration::from_secs(3) => break,
            403 | 404 => refused.push((status, began.elapsed())),
            // Before Redis is gone, and while nobody can say.
            _ => {}
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "no 200 within a minute");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(refused.is_empty(), "a phone whose peer is being written again was refused: {refused:?}");
    world.figure(format!("200 again after {:.1} s, 503 before", began.elapsed().as_secs_f64()));
    world.run("kubectl -n sip delete sippeer silent; kubectl -n sip delete secret extra").await?;
    world.wait_healthy(Duration::from_secs(60)).await
}

pub async fn a_release_that_comes_again_calls_no_peer_unknown(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    world.run("helm uninstall edge -n sip --wait").await?;
    world.forget_edge();
    world.install().await?;
    let edge = world.edge().await?;
    let phone = world.phones.add(&peer(1), &password(1), edge).await?;
    let began = Instant::now();
    loop {
        let (status, _) = phone.status(Tell::Register(60)).await?;
        let after = began.elapsed();
        ensure!(
            status != 403 && status != 404,
            "a phone was refused with {status} {after:?} after the install"
        );
        if status == 200 {
            break;
        }
        ensure!(after < Duration::from_secs(60), "the last answer was {status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.figure(format!(
        "a phone is registered {} ms after `helm install --wait` returned",
        began.elapsed().as_millis()
    ));
    world.run("kubectl -n sip wait --for=condition=Ready sippeers --all --timeout=120s >/dev/null").await?;
    world.wait_healthy(Duration::from_secs(60)).await
}

pub async fn service_ports_follow_the_values(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let third = "--set signaling.listeners.more.enabled=true,signaling.listeners.more.protocol=TCP,signaling.listeners.more.port=5061";
    let steps = [
        ("UDP alone", "--set signaling.listeners.tcp.enabled=false", vec!["5060/UDP"]),
        ("UDP and TCP", "--set signaling.listeners.tcp.enabled=true", vec!["5060/TCP", "5060/UDP"]),
        ("and 5061", third, vec!["5060/TCP", "5060/UDP", "5061/TCP"]),
        (
            "as installed",
            "--set signaling.listeners.more.enabled=false,signaling.listeners.more.protocol=TCP,signaling.listeners.more.port=5061",
            vec!["5060/TCP", "5060/UDP"],
        ),
    ];
    for (what, words, wanted) in steps {
        world.upgrade(words).await?;
        until(Duration::from_secs(10), || async {
            let mut ports = world.kube.ports("edge-fairlead-sip").await?;
            ports.sort();
            ensure!(ports == wanted, "{what}: the Service has {ports:?}, wanted {wanted:?}");
            Ok(())
        })
        .await?;
        world.figure(format!("{what}: {}", wanted.join(", ")));
    }
    world.wait_healthy(Duration::from_secs(120)).await
}

const MANY: usize = 10_000;
const TIDYING: Duration = Duration::from_secs(1_200);

pub async fn ten_thousand_sippeers(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let outcome = ten_thousand(world).await;
    world.upgrade("--set operator.statusWritesPerSecond=5").await?;
    // In one request, not in ten thousand.
    let tidy = "kubectl delete --raw '/apis/fairlead.dev/v1alpha1/namespaces/sip/sippeers?labelSelector=e2e%3Dmany' >/dev/null; \
                kubectl -n sip delete secret many --ignore-not-found";
    world.cluster.shell.run_within(tidy, TIDYING).await?;
    outcome
}

async fn ten_thousand(world: &mut World) -> anyhow::Result<()> {
    let name = |number: usize| format!("m{number:05}");
    // One kubectl sends fifty a second.
    let mut files = Vec::new();
    for part in 0..8 {
        let mut objects = String::new();
        for number in (part..MANY).step_by(8) {
            objects.push_str(&format!(
                "---\napiVersion: fairlead.dev/v1alpha1\nkind: SipPeer\nmetadata: {{name: {}, labels: {{e2e: many}}}}\nspec: {{secretRef: {{name: many, key: all}}, nat: [force_rport, comedia]}}\n",
                name(number)
            ));
        }
        let file = world.cluster.shell.root.join(format!("target/e2e-many-{part}.yaml"));
        tokio::fs::write(&file, objects).await?;
        files.push(file.display().to_string());
    }
    apply(
        world,
        "apiVersion: v1\nkind: Secret\nmetadata: {name: many}\nstringData: {all: one-password-for-all}\n",
    )
    .await?;
    // Ready costs a write each, which would be 2,000 s at 5 a second; what is measured comes afterwards.
    world.upgrade("--set operator.statusWritesPerSecond=200").await?;
    let began = Instant::now();
    let create = |file: &String| format!("kubectl create -n sip -f {file} >/dev/null & parts+=($!)");
    let create: Vec<_> = files.iter().map(create).collect();
    let create =
        format!("parts=(); {}; for part in ${{parts[@]}}; do wait $part || exit 1; done", create.join("; "));
    world.cluster.shell.run_within(&create, TIDYING).await?;
    // `kubectl wait` looks at one after the other, at fifty a second.
    until(Duration::from_secs(600), || async {
        let ready = world.kube.sip_peers().await?;
        let ready = ready.iter().filter(|(name, peer)| {
            name.starts_with('m')
                && super::first_visit::condition(&peer["status"], "Ready").as_deref() == Some("True")
        });
        let ready = ready.count();
        if ready < MANY {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        ensure!(ready == MANY, "{ready} of {MANY} SipPeers are Ready");
        Ok(())
    })
    .await?;
    world.figure(format!("{MANY} SipPeers Ready after {:.0} s", began.elapsed().as_secs_f64()));
    world.upgrade("--set operator.statusWritesPerSecond=5").await?;
    world.wait_healthy(Duration::from_secs(60)).await?;
    let edge = world.edge().await?;
    // Two sockets a phone: one process may not have that many files open.
    let houses = [world.more_phones().await?, world.more_phones().await?];
    let mut phones = Vec::new();
    for (number, house) in (0..MANY).zip(houses.iter().cycle()) {
        phones.push(house.add_quiet(&name(number), "one-password-for-all", edge).await?);
    }
    // What the release before this one left to be written.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = async |world: &World| {
        let of = ["resource=\"sippeers\"", "subresource=\"status\""];
        world.kube.api_server_counter("apiserver_request_total", &of).await
    };
    let (before, began) = (writes(world).await?, Instant::now());
    let load = crate::load::Load::registrations(phones, 200);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let outcome = load.stop().await;
    let (written, seconds) = (writes(world).await? - before, began.elapsed().as_secs_f64());
    let contacts = world.run("kubectl sip -n sip show peers | grep -c '^m.* 10\\.44\\.' || true").await?;
    world.figure(format!(
        "{} REGISTERs in {seconds:.0} s by {} of {MANY} peers ({:?}), the slowest answered after {} ms: {written} status writes, {:.2} a second",
        outcome.asked,
        contacts.trim(),
        outcome.statuses,
        outcome.slowest.as_millis(),
        written / seconds
    ));
    ensure!(outcome.asked >= 23_000, "only {} REGISTERs were sent", outcome.asked);
    outcome.all_succeeded("REGISTERs")?;
    ensure!(written > 0.0, "nothing at all was written");
    // A bucket may hold one second's worth.
    ensure!(written <= 5.0 * (seconds + 1.0), "{written} status writes in {seconds:.0} s");
    Ok(())
}
