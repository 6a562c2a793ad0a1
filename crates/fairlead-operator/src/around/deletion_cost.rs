//! Which signaling pods should go last when there are too many: those with calls (`pod-deletion-cost`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::member::Role;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};

use crate::lease::Reign;
use crate::metrics::OperatorMetrics;
use crate::registrars::Registrars;

/// What ReplicaSets look at.
const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";

/// How often calls are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The shortest time between two writes to one pod: annotations are no place for what changes all the time.
const PAUSE: Duration = Duration::from_secs(60);

/// The cost of a pod with so many live calls, in coarse steps.
pub const fn cost(calls: u32) -> i32 {
    match calls {
        0 => 0,
        1..10 => 1,
        10..100 => 10,
        100..1000 => 100,
        _ => 1000,
    }
}

/// Until the reign ends; `signaling` says which pods there are.
pub async fn run(
    api: Api<Pod>,
    signaling: impl Fn() -> Vec<Pod> + Send,
    registrars: Arc<Registrars>,
    metrics: OperatorMetrics,
    reign: Reign,
) {
    let mut written: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = reign.end().cancelled() => return,
        }
        let Ok(members) = registrars.members().await else { continue };
        let calls: HashMap<&str, u32> = members
            .iter()
            .filter(|member| member.role == Role::Signaling)
            .map(|member| (member.name.as_str(), member.load))
            .collect();
        let now = Instant::now();
        written.retain(|_, at| now.duration_since(*at) < PAUSE);
        for pod in signaling() {
            let name = pod.name_any();
            let is_going = pod.metadata.deletion_timestamp.is_some();
            let Some(ought) = calls.get(name.as_str()).map(|calls| cost(*calls)) else { continue };
            let is = pod.annotations().get(ANNOTATION).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
            if is == ought || is_going || written.contains_key(&name) || !reign.holds() {
                continue;
            }
            written.insert(name.clone(), now);
            let patch =
                serde_json::json!({ "metadata": { "annotations": { ANNOTATION: ought.to_string() } } });
            let params =
                PatchParams { field_manager: Some("fairlead-operator".to_owned()), ..PatchParams::default() };
            let result = match reign.write(api.patch(&name, &params, &Patch::Merge(patch))).await {
                Ok(_) => "ok",
                Err(failed) if failed.is_missing() => "gone",
                Err(failed) => {
                    tracing::debug!(pod = name, error = %failed, "the deletion cost of a pod could not be written");
                    if failed.is_forbidden() { "forbidden" } else { "failed" }
                }
            };
            OperatorMetrics::count(&metrics.deletion_costs, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_goes_in_steps() {
        let steps = [
            (0, 0),
            (1, 1),
            (9, 1),
            (10, 10),
            (99, 10),
            (100, 100),
            (999, 100),
            (1000, 1000),
            (50_000, 1000),
        ];
        for (calls, expected) in steps {
            assert_eq!(cost(calls), expected, "{calls}");
        }
    }
}
