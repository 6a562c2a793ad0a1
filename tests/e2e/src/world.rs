//! What all tests share: the cluster, the release in it, the phones outside.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::cluster::Cluster;
use crate::kubernetes::Kubernetes;
use crate::outside::{Phone, Phones};

/// Peers that the tests provision beside those of the examples: e001, e002 …
pub const PEERS: usize = 200;

/// A `kubectl port-forward`; it ends with this.
pub struct Forward {
    /// The port here.
    pub port: u16,
    process: Child,
    /// Kept open: it says each connection, and ends when nobody can hear that.
    _says: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    /// Ends it.
    pub async fn end(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// Everything around a test.
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// Its API.
    pub kube: Kubernetes,
    /// The phones outside.
    pub phones: Phones,
    edge: Option<SocketAddr>,
    figures: Vec<String>,
    chapter: u32,
}

impl World {
    /// Connects to both.
    pub async fn open(cluster: Cluster) -> anyhow::Result<Self> {
        let kube = Kubernetes::connect(&cluster.shell.kubeconfig).await?;
        filter(&cluster).await?;
        let phones = more_phones(&cluster).await?;
        Ok(World { cluster, kube, phones, edge: None, figures: Vec::new(), chapter: 0 })
    }

    /// Another process for phones outside; they end with it.
    pub async fn more_phones(&self) -> anyhow::Result<Phones> {
        more_phones(&self.cluster).await
    }

    /// A command line that has to succeed; what it prints.
    pub async fn run(&self, line: &str) -> anyhow::Result<String> {
        self.cluster.shell.run(line).await
    }

    /// The same, without a word when it fails: for tidying up.
    pub async fn attempt(&self, line: &str) {
        if let Err(error) = self.cluster.shell.run(line).await {
            println!("     {error:#}");
        }
    }

    /// A port of this machine that leads to one of an object in the release's namespace (`pod/NAME`, `svc/NAME`).
    pub async fn forward(&self, to: &str, port: u16) -> anyhow::Result<Forward> {
        self.forward_in("sip", to, port).await
    }

    /// The same in another namespace.
    pub async fn forward_in(&self, namespace: &str, to: &str, port: u16) -> anyhow::Result<Forward> {
        let line = format!("kubectl -n {namespace} port-forward {to} :{port}");
        let mut process = self.cluster.shell.start(&line)?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let said = tokio::time::timeout(Duration::from_secs(20), lines.next_line())
            .await
            .context("kubectl port-forward says nothing")??
            .context("kubectl port-forward ended")?;
        let port = said.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).with_context(|| said.clone())?;
        Ok(Forward { port, process, _says: lines })
    }

    /// A figure to print with the result.
    pub fn figure(&mut self, text: impl Into<String>) {
        self.figures.push(text.into());
    }

    /// The figures so far.
    pub fn take_figures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.figures)
    }

    /// A number that no count was made under before.
    pub fn next_chapter(&mut self) -> u32 {
        self.chapter += 1;
        self.chapter
    }

    /// Where phones send UDP, as `kubectl sip address --wait` says.
    pub async fn edge(&mut self) -> anyhow::Result<SocketAddr> {
        if let Some(edge) = self.edge {
            return Ok(edge);
        }
        let said = self.run("kubectl sip -n sip address --wait").await?;
        let address = said
            .lines()
            .find_map(|line| line.strip_prefix("udp "))
            .with_context(|| format!("no `udp HOST:PORT` in:\n{said}"))?;
        let address = address.trim();
        let edge = tokio::net::lookup_host(address)
            .await?
            .next()
            .with_context(|| format!("{address} has no address"))?;
        self.edge = Some(edge);
        Ok(edge)
    }

    /// Forgets the address: the release is another.
    pub fn forget_edge(&mut self) {
        self.edge = None;
    }

    /// The phones e`first` to e`last`, plugged in and registered, twenty a second.
    pub async fn registered(&mut self, first: usize, last: usize) -> anyhow::Result<Vec<Phone>> {
        let edge = self.edge().await?;
        let mut phones = Vec::new();
        for number in first..=last {
            phones.push(self.phones.add(&peer(number), &password(number), edge).await?);
        }
        let mut registering = tokio::task::JoinSet::new();
        for phone in phones.clone() {
            registering.spawn(async move { phone.register().await });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while let Some(done) = registering.join_next().await {
            done??;
        }
        Ok(phones)
    }

    /// Ann and ben of deploy/examples/sippeers.yaml, registered.
    pub async fn ann_and_ben(&mut self) -> anyhow::Result<(Phone, Phone)> {
        let edge = self.edge().await?;
        let ann = self.phones.add("ann", "ann-has-a-long-password", edge).await?;
        let ben = self.phones.add("ben", "ben-has-a-long-password", edge).await?;
        ann.register().await?;
        ben.register().await?;
        Ok((ann, ben))
    }

    /// Every peer, Deployment and StatefulSet of the release is as it should be.
    pub async fn is_healthy(&self) -> anyhow::Result<()> {
        let pods = self.kube.pods("").await?;
        ensure!(!pods.is_empty(), "the release has no pods");
        let bad: Vec<_> = pods
            .iter()
            .filter(|pod| !pod.ready || pod.going)
            .map(|pod| format!("{} ({})", pod.name, pod.phase))
            .collect();
        ensure!(bad.is_empty(), "not ready: {}", bad.join(", "));
        Ok(())
    }

    /// Waits until it is.
    pub async fn wait_healthy(&self, limit: Duration) -> anyhow::Result<()> {
        until(limit, || self.is_healthy())
            .await
            .with_context(|| format!("the release was not healthy within {limit:?}"))
    }

    /// What to look at after a failure.
    pub async fn state(&self) -> String {
        let line = "kubectl -n sip get pods -o wide; kubectl -n sip get events --sort-by=.lastTimestamp | tail -15; \
                    for pod in $(kubectl -n sip get pods -o name); do echo \"== $pod\"; \
                    kubectl -n sip logs $pod --tail=400 2>&1 | grep -iE '\"(WARN|ERROR)\"|panick' | tail -4; done";
        match self.cluster.shell.both(line).await {
            Ok((_, text)) => text,
            Err(error) => format!("{error:#}"),
        }
    }

    /// Puts right what a failed test may have left: nodes, the API server, values, what is ready.
    pub async fn heal(&mut self) {
        self.forget_edge();
        // A pod that drains waits for calls that a failed test left.
        if let Err(error) = self.phones.hang_up_all().await {
            println!("     ({error:#})");
        }
        if self.cluster.own {
            // Succeeds only where there is something to put right.
            let _ = self.cluster.shell.both("tests/cluster/cluster resume node-1 kube-apiserver").await;
            let line = "tests/cluster/cluster enter node-2 true 2>/dev/null || tests/cluster/cluster restore node-2 >/dev/null 2>&1; kubectl uncordon node-1 node-2";
            let _ = self.cluster.shell.both(line).await;
        }
        if let Err(error) = self.wait_healthy(Duration::from_secs(120)).await {
            println!("     (left behind: {error:#})");
        }
    }

    /// Ends what was started.
    pub async fn close(&mut self) {
        if self.cluster.own {
            let line = format!("{} nft delete table inet e2e", self.cluster.outside);
            let _ = self.cluster.shell.both(&line).await;
        }
    }
}

async fn more_phones(cluster: &Cluster) -> anyhow::Result<Phones> {
    let same_files = cluster.own || cluster.outside.starts_with("env");
    Phones::start(&cluster.shell, &cluster.outside, same_files).await
}

/// The n-th peer of the tests.
pub fn peer(number: usize) -> String {
    format!("e{number:03}")
}

/// Its password.
pub fn password(number: usize) -> String {
    format!("password-of-e{number:03}")
}

/// Drops at the host outside what comes from an address and port that nothing there ever sent to, as a NAT does. On a host that is
/// not ours the phones do so themselves, and SIPp goes without.
async fn filter(cluster: &Cluster) -> anyhow::Result<()> {
    if !cluster.own {
        return Ok(());
    }
    let rules = "add table inet e2e; delete table inet e2e; add table inet e2e; \
                 add chain inet e2e input { type filter hook input priority 0; }; \
                 add rule inet e2e input iifname uplink meta l4proto { tcp, udp } ct state new counter drop";
    cluster.shell.run(&format!("{} nft '{rules}'", cluster.outside)).await.map(drop)
}

/// Tries again, four times a second, until it succeeds or the limit has passed.
pub async fn until<T, F: Future<Output = anyhow::Result<T>>>(
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let end = tokio::time::Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if tokio::time::Instant::now() >= end => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}
