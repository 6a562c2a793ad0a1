//! The release: the commands of a first visit, and what the tests add.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::world::{PEERS, World, password, peer, until};

/// Image names of a first visit.
pub const IMAGE: &str = "localhost/fairlead:dev";
/// The same program under another tag.
pub const NEXT_TAG: &str = "dev2";

/// A build of the program that the dynamic loader starts, so that a library can be put before it: FAIRLEAD_E2E_PROGRAM, or what
/// `cargo build -p fairlead` left beside this program. That of the image is static.
pub fn dynamic_program() -> Option<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("fairlead"));
    let program = std::env::var("FAIRLEAD_E2E_PROGRAM").ok().map(PathBuf::from).or_else(beside)?;
    let linked = std::process::Command::new("ldd").arg(&program).output().ok()?;
    (linked.status.success() && String::from_utf8_lossy(&linked.stdout).contains("libc.so"))
        .then_some(program)
}

impl World {
    /// Puts the images where nodes find them (our own cluster), or says that they have to be there already.
    pub async fn bring_images(&self) -> anyhow::Result<()> {
        if !self.cluster.own {
            return Ok(());
        }
        let built = match (std::env::var("FAIRLEAD_E2E_ARCHIVE"), std::env::var("FAIRLEAD_E2E_PROGRAM")) {
            (Ok(archive), _) => format!("tests/cluster/cluster load {archive}"),
            (_, Ok(program)) => {
                format!(
                    "mkdir -p target/e2e && strip -o target/e2e/fairlead {program} && tests/cluster/cluster pack {IMAGE} $PWD/target/e2e/fairlead"
                )
            }
            _ => format!(
                "mkdir -p target/e2e && deploy/image {IMAGE} target/e2e/fairlead.tar && tests/cluster/cluster load target/e2e/fairlead.tar"
            ),
        };
        self.cluster.shell.run_within(&built, Duration::from_secs(1_800)).await.context("the image")?;
        self.run("tests/cluster/cluster pack localhost/redis:7 /usr/bin/redis-server /usr/bin/redis-cli")
            .await
            .context("the image of Redis")?;
        for node in ["node-1", "node-2"] {
            let ctr = format!(
                "tests/cluster/cluster enter {node} ctr -a /var/tmp/kubenode/{node}/run/containerd.sock -n k8s.io images tag --force"
            );
            self.run(&format!("{ctr} {IMAGE} localhost/fairlead:{NEXT_TAG}")).await?;
        }
        Ok(())
    }

    /// Where values say that the image is.
    pub fn image_values(&self) -> String {
        let of = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let image = of("FAIRLEAD_E2E_IMAGE", IMAGE);
        let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
        let redis = self.redis_image();
        format!(
            "--set image.repository={repository},image.tag={tag} --set redis.enabled=true,redis.image={redis} {}",
            of("FAIRLEAD_E2E_SET", "")
        )
    }

    /// The image of Redis.
    pub fn redis_image(&self) -> String {
        let default = if self.cluster.own { "localhost/redis:7" } else { "docker.io/valkey/valkey:8.1" };
        std::env::var("FAIRLEAD_E2E_REDIS_IMAGE").unwrap_or_else(|_| default.to_owned())
    }

    /// Installs, as a stranger does.
    pub async fn install(&mut self) -> anyhow::Result<String> {
        self.bring_images().await?;
        self.run("helm upgrade --install --take-ownership edge-crds charts/fairlead-crds").await?;
        self.run(&format!(
            "helm install edge charts/fairlead -n sip --create-namespace --wait {}",
            self.image_values()
        ))
        .await
    }

    /// The release is there; installed when it is not.
    pub async fn released(&mut self) -> anyhow::Result<()> {
        let (there, _) = self.cluster.shell.both("helm status edge -n sip").await?;
        if !there {
            self.prepare_namespace().await?;
            self.install().await?;
        }
        self.wait_healthy(Duration::from_secs(120)).await
    }

    /// The same, with ann, ben and our own peers.
    pub async fn installed(&mut self) -> anyhow::Result<()> {
        self.released().await?;
        let count = self.kube.sip_peers().await?.len();
        if count < PEERS + 2 {
            self.provision().await?;
        }
        // Objects outlive a release, and so does what stands in their status: what counts is what registrars serve.
        until(Duration::from_secs(60), || async {
            let shown = self.run("kubectl sip -n sip show peers").await?;
            anyhow::ensure!(shown.lines().count() >= PEERS + 4, "not all peers are served:\n{shown}");
            Ok(())
        })
        .await
    }

    /// A namespace that enforces the profile `restricted`; one of that name that is just being deleted is waited for.
    pub async fn prepare_namespace(&self) -> anyhow::Result<()> {
        self.run(
            "[ \"$(kubectl get namespace sip -o jsonpath='{.status.phase}' 2>/dev/null)\" != Terminating ] || kubectl wait --for=delete namespace/sip --timeout=120s; \
             kubectl create namespace sip --dry-run=client -o yaml | kubectl apply -f - && \
             kubectl label --overwrite namespace sip pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted",
        )
        .await
        .map(drop)
    }

    /// Ann and ben, and e001 to e200 with their passwords in the Secret `e2e`; until every registrar serves them.
    pub async fn provision(&self) -> anyhow::Result<Duration> {
        let began = std::time::Instant::now();
        let mut text = "apiVersion: v1\nkind: Secret\nmetadata: {name: e2e}\nstringData:\n".to_owned();
        for number in 1..=PEERS {
            text.push_str(&format!("  {}: {}\n", peer(number), password(number)));
        }
        for number in 1..=PEERS {
            let name = peer(number);
            text.push_str(&format!(
                "---\napiVersion: fairlead.dev/v1alpha1\nkind: SipPeer\nmetadata: {{name: {name}, labels: {{e2e: phones}}}}\nspec:\n  \
                 secretRef: {{name: e2e, key: {name}}}\n  nat: [force_rport, comedia]\n  qualify: true\n  qualifyFreq: 25\n  allow: [ulaw]\n"
            ));
        }
        let file = self.cluster.shell.root.join("target/e2e-peers.yaml");
        tokio::fs::write(&file, text).await?;
        self.run("kubectl apply -n sip -f deploy/examples/sippeers.yaml").await?;
        self.run(&format!("kubectl apply -n sip -f {}", file.display())).await?;
        self.run("kubectl -n sip wait --for=condition=Ready sippeers --all --timeout=120s >/dev/null")
            .await?;
        Ok(began.elapsed())
    }

    /// Upgrades with these words after --reuse-values, and waits.
    pub async fn upgrade(&self, words: &str) -> anyhow::Result<String> {
        self.run(&format!("helm upgrade edge charts/fairlead -n sip --reuse-values --wait {words}")).await
    }

    /// Scales a Deployment or StatefulSet and waits until it is so. A signaling pod that ends stays for half a minute for phones that
    /// only it reaches, and is not waited for.
    pub async fn scale(&self, role: &str, replicas: usize) -> anyhow::Result<()> {
        let kind = if role == "media" { "statefulset" } else { "deployment" };
        self.run(&format!("kubectl -n sip scale {kind}/edge-fairlead-{role} --replicas={replicas}")).await?;
        until(Duration::from_secs(120), || async {
            let mut pods = self.kube.pods(role).await?;
            pods.retain(|pod| role != "signaling" || !pod.going);
            let ready = pods.iter().filter(|pod| pod.ready && !pod.going).count();
            if pods.len() != replicas || ready != replicas {
                bail!("{} pods of {role}, {ready} ready; {replicas} wanted", pods.len());
            }
            Ok(())
        })
        .await
    }
}
