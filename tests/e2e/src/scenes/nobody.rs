//! A cluster in which nobody gives a Service an address.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::world::{World, until};

/// A release of its own, small, with other ports.
const SMALL: &str = "--set signaling.replicas=1,registrar.replicas=1,media.replicas=1,media.maxReplicas=1,media.ports.base=31000,test.timeoutSeconds=20 \
                     --set signaling.service.loadBalancerClass=example.com/nobody";

pub async fn install_without_a_balancer(world: &mut World) -> anyhow::Result<()> {
    world.bring_images().await?;
    world.run("helm upgrade --install --take-ownership edge-crds charts/fairlead-crds").await?;
    world
        .run(
            "kubectl create namespace sip-lone --dry-run=client -o yaml | kubectl apply -f - && \
             kubectl label --overwrite namespace sip-lone pod-security.kubernetes.io/enforce=restricted",
        )
        .await?;
    let outcome = lone(world).await;
    if outcome.is_err() {
        let state = "kubectl -n sip-lone get pods,services; kubectl -n sip-lone get events --sort-by=.lastTimestamp | tail -15";
        let (_, said) = world.cluster.shell.both(state).await?;
        world.figure(said);
    }
    world.attempt("helm uninstall lone -n sip-lone --wait --ignore-not-found").await;
    world.attempt("kubectl -n sip-lone wait --for=delete pods --all --timeout=60s").await;
    world.attempt("kubectl delete namespace sip-lone --timeout=120s").await;
    outcome
}

async fn lone(world: &mut World) -> anyhow::Result<()> {
    let began = Instant::now();
    world
        .run(&format!(
            "helm install lone charts/fairlead -n sip-lone --wait --timeout=120s {} {SMALL}",
            world.image_values()
        ))
        .await?;
    world.figure(format!("helm install --wait returned after {:.1} s", began.elapsed().as_secs_f64()));
    let ready = world
        .run("kubectl -n sip-lone get deployment lone-fairlead-signaling -o jsonpath='{.status.readyReplicas}'")
        .await?;
    ensure!(ready.trim() == "1", "signaling without an address has {ready:?} ready pods, 1 is wanted");

    // Two phones inside: all is answered but the call.
    let (passed, said) = world.cluster.shell.both("helm test lone -n sip-lone --logs --timeout=150s").await?;
    ensure!(!passed, "a call came up without an address:\n{said}");
    let step = |name: &str| {
        said.lines().map(str::trim).find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    for name in ["options", "register"] {
        ensure!(step(name).contains(" ok "), "{name} is not answered:\n{said}");
    }
    let invite = step("invite");
    ensure!(
        invite.contains("FAILED") && invite.contains("503") && invite.contains("address"),
        "INVITE is not refused with 503 and the reason:\n{said}"
    );
    for name in ["options", "register", "invite"] {
        world.figure(step(name));
    }

    // And whoever looks after it is told.
    let (well, said) = world.cluster.shell.both("kubectl sip -n sip-lone doctor").await?;
    ensure!(
        !well && said.contains("NoAddress") && said.contains("signaling."),
        "kubectl sip doctor says:\n{said}"
    );
    let line = said.lines().find(|line| line.contains("NoAddress")).unwrap_or_default();
    world.figure(format!("doctor: {}", line.trim()));
    let (known, said) = world.cluster.shell.both("kubectl sip -n sip-lone address").await?;
    ensure!(!known, "kubectl sip address names one:\n{said}");
    let event = until(Duration::from_secs(30), || async {
        let events = world
            .run("kubectl -n sip-lone get events --field-selector reason=NoAddress -o jsonpath='{range .items[*]}{.type} {.reason} {.involvedObject.kind}/{.involvedObject.name}: {.message}{\"\\n\"}{end}'")
            .await?;
        ensure!(!events.trim().is_empty(), "there is no Event of the reason NoAddress");
        Ok(events)
    })
    .await?;
    world.figure(format!("event: {}", event.lines().next().unwrap_or_default()));
    let pod = world
        .run("kubectl -n sip-lone get pod -l app.kubernetes.io/component=signaling -o jsonpath='{.items[0].metadata.name}'")
        .await?;
    let metric = world
        .run(&format!(
            "kubectl get --raw /api/v1/namespaces/sip-lone/pods/{}:8081/proxy/metrics | grep ^fairlead_signaling_address_known",
            pod.trim()
        ))
        .await?;
    ensure!(metric.trim().ends_with(" 0"), "the metric is {metric}");
    world.figure(metric.trim());
    Ok(())
}
