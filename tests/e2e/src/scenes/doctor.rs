//! `kubectl sip doctor`: each finding provoked once.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::world::{World, until};

/// What is done, what the finding has to say, what puts it right.
struct Trouble {
    what: &'static str,
    provoke: &'static str,
    /// A word of the finding, and the value to change.
    says: [&'static str; 2],
    put_right: &'static str,
}

const REDIS: &str = "kubectl -n sip exec $(kubectl -n sip get pod -l app.kubernetes.io/instance=edge,app.kubernetes.io/component=redis -o name) -- /usr/bin/redis-cli --no-auth-warning \
                     -a \"$(kubectl -n sip get secret edge-fairlead-redis -o jsonpath='{.data.password}' | base64 -d)\"";

const TROUBLES: &[Trouble] = &[
    Trouble {
        what: "Redis evicts",
        provoke: "REDIS config set maxmemory-policy allkeys-lru",
        says: ["evict", "noeviction"],
        put_right: "REDIS config set maxmemory-policy noeviction",
    },
    Trouble {
        what: "Redis keeps nothing on disk",
        provoke: "REDIS config set appendonly no && REDIS config set save ''",
        says: ["RedisNotPersistent", "appendonly"],
        put_right: "REDIS config set appendonly yes",
    },
    Trouble {
        what: "no operator role writes the peers of an emptied Redis",
        provoke: "kubectl -n sip scale deployment edge-fairlead-operator --replicas=0 \
                  && kubectl -n sip wait --for=delete pod -l app.kubernetes.io/instance=edge,app.kubernetes.io/component=operator --timeout=60s \
                  && REDIS del fairlead:complete",
        says: ["PeersAwaited", "operator.replicas"],
        put_right: "kubectl -n sip scale deployment edge-fairlead-operator --replicas=1",
    },
    Trouble {
        what: "a media port comes back with another number",
        provoke: "kubectl -n sip patch service edge-fairlead-media-0 --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/nodePort\",\"value\":30999}]'",
        says: ["PortChanged", "30999"],
        put_right: "kubectl -n sip patch service edge-fairlead-media-0 --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/nodePort\",\"value\":30000}]'",
    },
    Trouble {
        what: "a relay's ordinal has no Service",
        provoke: "kubectl -n sip scale statefulset edge-fairlead-media --replicas=5",
        says: ["NoMediaService", "media.maxReplicas"],
        put_right: "kubectl -n sip scale statefulset edge-fairlead-media --replicas=2",
    },
    Trouble {
        what: "no address",
        provoke: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.type=ClusterIP",
        says: ["NoAddress", "signaling."],
        put_right: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.type=LoadBalancer",
    },
    Trouble {
        what: "sources are hidden by SNAT",
        provoke: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.externalTrafficPolicy=Cluster",
        says: ["source", "externalTrafficPolicy"],
        put_right: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.externalTrafficPolicy=Local",
    },
    Trouble {
        what: "UDP and TCP have different addresses",
        provoke: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.split=true \
                  --set-json 'signaling.service.sharedAddressAnnotations={\"metallb.io/allow-shared-ip\":\"\",\"lbipam.cilium.io/sharing-key\":\"\",\"purelb.io/allow-shared-ip\":\"\"}'",
        says: ["TCP", "signaling.service"],
        put_right: "helm upgrade edge charts/fairlead -n sip --reuse-values --wait --set signaling.service.split=false",
    },
];

/// In our own cluster alone: a pod's link, and images of programs that are not quite right. A container of another image is started
/// anew in its pod; the pod that follows is as the release wants it.
const OF_THE_POD: &[Trouble] = &[Trouble {
    what: "a pod's MTU is small",
    provoke: "tests/cluster/cluster mtu sip/$(kubectl -n sip get pod -l app.kubernetes.io/instance=edge,app.kubernetes.io/component=signaling -o jsonpath='{.items[0].metadata.name}') 1280",
    says: ["MtuSmall", "1280"],
    put_right: "for pod in $(kubectl -n sip get pod -l app.kubernetes.io/instance=edge,app.kubernetes.io/component=signaling -o jsonpath='{.items[*].metadata.name}'); do \
                tests/cluster/cluster mtu sip/$pod 1500; done",
}];

const OF_THE_PROGRAM: &[Trouble] = &[
    Trouble {
        what: "pods of different versions",
        // The same program, in which the number of its version is another one.
        provoke: "mkdir -p target/e2e/older && strip -o target/e2e/older/stripped PROGRAM && LC_ALL=C sed 's/VERSION/OLDER/g' target/e2e/older/stripped >target/e2e/older/fairlead \
                  && chmod +x target/e2e/older/fairlead && target/e2e/older/fairlead --version | grep -F OLDER \
                  && tests/cluster/cluster pack localhost/fairlead:older $PWD/target/e2e/older/fairlead \
                  && kubectl -n sip set image pod/edge-fairlead-media-1 media=localhost/fairlead:older",
        says: ["VersionsDiffer", "image.tag"],
        put_right: "kubectl -n sip delete pod edge-fairlead-media-1",
    },
    Trouble {
        what: "clocks are apart",
        // The same program, under a library that shifts what it reads from the clock.
        provoke: "mkdir -p target/e2e/late && strip -o target/e2e/late/fairlead PROGRAM && library=$(ls /usr/lib/*/faketime/libfaketime.so.1) \
                  && tests/cluster/cluster pack localhost/fairlead:late LD_PRELOAD=$library FAKETIME=+10s DONT_FAKE_MONOTONIC=1 $PWD/target/e2e/late/fairlead $library \
                  && kubectl -n sip set image pod/edge-fairlead-media-1 media=localhost/fairlead:late",
        says: ["ClocksApart", "NTP"],
        put_right: "kubectl -n sip delete pod edge-fairlead-media-1",
    },
];

pub async fn findings_are_provoked_and_go_away(world: &mut World) -> anyhow::Result<()> {
    provoke(world, TROUBLES, "").await
}

pub async fn finding_of_a_small_mtu(world: &mut World) -> anyhow::Result<()> {
    provoke(world, OF_THE_POD, "").await
}

pub async fn findings_of_other_versions_and_clocks(world: &mut World) -> anyhow::Result<()> {
    let program = crate::release::dynamic_program().context("Needs::OtherProgram says that there is one")?;
    provoke(world, OF_THE_PROGRAM, &program.display().to_string()).await
}

/// This version but for its last figure, so that the text is as long as it was.
fn older() -> String {
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    let last = version.pop();
    version.push(if last == Some('9') { '8' } else { '9' });
    version
}

async fn provoke(world: &mut World, troubles: &[Trouble], program: &str) -> anyhow::Result<()> {
    world.installed().await?;
    let phones = world.registered(1, 10).await?;
    let mut wrong = Vec::new();
    for trouble in troubles {
        let line = |text: &str| {
            text.replace("REDIS", REDIS)
                .replace("PROGRAM", program)
                .replace("VERSION", &env!("CARGO_PKG_VERSION").replace('.', "\\."))
                .replace("OLDER", &older())
        };
        let provoked = world.run(&line(trouble.provoke)).await;
        let found = match provoked {
            Ok(_) => found(world, &phones, trouble).await,
            Err(error) => Err(error),
        };
        let back = world.run(&line(trouble.put_right)).await;
        match (found, back) {
            (Ok(text), Ok(_)) => world.figure(format!("{}: {text}", trouble.what)),
            (found, back) => {
                let error = found.err().or(back.err()).map(|error| format!("{error:#}"));
                wrong.push(format!("{}: {}", trouble.what, error.unwrap_or_default()));
            }
        }
        world.forget_edge();
        world.wait_healthy(Duration::from_secs(120)).await?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    super::first_visit::no_finding_in_a_healthy_release(world).await
}

async fn found(world: &World, phones: &[crate::outside::Phone], trouble: &Trouble) -> anyhow::Result<String> {
    until(Duration::from_secs(45), || async {
        for phone in phones {
            // What comes of it does not matter: signaling has to see packets.
            let _ = phone.status(crate::phones::words::Tell::Register(3600)).await;
        }
        let (_, said) = world.cluster.shell.both("kubectl sip -n sip doctor").await?;
        let all = trouble.says.iter().all(|word| said.to_lowercase().contains(&word.to_lowercase()));
        ensure!(all, "no finding that says {:?}:\n{said}", trouble.says);
        let line = said.lines().find(|line| line.to_lowercase().contains(&trouble.says[0].to_lowercase()));
        Ok(line.unwrap_or_default().trim().to_owned())
    })
    .await
}
