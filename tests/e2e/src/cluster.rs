//! Which cluster: somebody's, or one that is brought up here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::shell::Shell;

/// A cluster and how to reach what is around it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Commands with kubectl and helm for it.
    pub shell: Shell,
    /// Whether it is ours, so that nodes can be cut.
    pub own: bool,
    /// What runs a command on a host outside.
    pub outside: String,
}

/// What was found.
pub enum Found {
    /// One to test in.
    Cluster(Cluster),
    /// None, and what is to be done about it.
    Missing(String),
}

impl Cluster {
    /// That of KUBECONFIG, or our own of two nodes, brought up if it is not.
    pub async fn find() -> anyhow::Result<Found> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let programs = match std::env::current_exe()?.parent() {
            Some(folder) => folder.display().to_string(),
            None => String::new(),
        };
        let outside = std::env::var("FAIRLEAD_E2E_PHONE").ok();
        let mut shell = Shell { root, path: programs, kubeconfig: String::new() };
        if let Ok(kubeconfig) = std::env::var("KUBECONFIG").as_deref().map(str::to_owned)
            && !kubeconfig.contains("/kubenode/")
        {
            shell.kubeconfig = kubeconfig;
            let Some(outside) = outside else {
                return Ok(Found::Missing(
                    "KUBECONFIG names a cluster, FAIRLEAD_E2E_PHONE no host outside of it. Set it to what runs a command there, \
                     e.g. FAIRLEAD_E2E_PHONE='ssh phones.example.com' (or 'env' when this machine is outside)."
                        .to_owned(),
                ));
            };
            return Ok(Found::Cluster(Cluster { shell, own: false, outside }));
        }
        let (able, said) = shell.both("tests/cluster/cluster check").await?;
        if !able {
            return Ok(Found::Missing(format!(
                "{said}\nWithout that, these tests need a cluster: KUBECONFIG=… FAIRLEAD_E2E_PHONE='ssh HOST-OUTSIDE' \
                 FAIRLEAD_E2E_IMAGE=REPOSITORY:TAG tests/run.sh e2e"
            )));
        }
        let state = shell.run("tests/cluster/cluster env").await?;
        shell.kubeconfig = between(&state, "KUBECONFIG=", " ").context("`cluster env` says no KUBECONFIG")?;
        let tools = between(&state, "PATH=", ":").context("`cluster env` says no PATH")?;
        shell.path = format!("{}:{tools}", shell.path);
        let running = shell.both("kubectl get nodes -o name").await?;
        if !running.0 || running.1.lines().count() < 2 {
            println!("bringing up two nodes");
            // Its nodes outlive this command and would hold its output open.
            let line = "tests/cluster/cluster up 2 >/var/tmp/fairlead-e2e-up.log 2>&1 || { cat /var/tmp/fairlead-e2e-up.log; exit 1; }";
            shell.run_within(line, Duration::from_secs(1_200)).await?;
        }
        let outside = outside.unwrap_or_else(|| "ip netns exec phones".to_owned());
        Ok(Found::Cluster(Cluster { shell, own: true, outside }))
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(after)?.0.to_owned())
}
