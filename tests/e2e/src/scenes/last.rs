//! The end.

use std::time::Duration;

use anyhow::ensure;

use crate::world::{World, until};

pub async fn uninstall_leaves_only_what_is_documented(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    world.run("helm uninstall edge -n sip --wait").await?;
    world.forget_edge();
    let kinds = "deployments,statefulsets,pods,services,secrets,configmaps,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,networkpolicies,persistentvolumeclaims,jobs";
    until(Duration::from_secs(60), || async {
        let left = world.run(&format!("kubectl -n sip get {kinds} -o name | grep edge || true")).await?;
        ensure!(left.trim().is_empty(), "left in the namespace:\n{left}");
        Ok(())
    })
    .await?;
    let around = world.run("kubectl get clusterroles,clusterrolebindings,validatingwebhookconfigurations,mutatingwebhookconfigurations -o name | grep -E '/(sip-)?edge-fairlead' || true").await?;
    ensure!(around.trim().is_empty(), "left outside of the namespace:\n{around}");
    let peers = world.kube.sip_peers().await?;
    ensure!(peers.contains_key("ann"), "SipPeers are the user's and stay");
    world.run("helm uninstall edge-crds").await?;
    world.run("kubectl get crd sippeers.fairlead.dev").await?;
    world.figure(format!("left: the CRD and {} SipPeers with their Secrets, as documented", peers.len()));
    Ok(())
}
