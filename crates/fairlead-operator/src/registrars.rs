//! The registrars: found by name again and again, asked in turn, the next one when one does not answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fairlead_model::member::{Member, Role};
use fairlead_model::operator::PeerPage;
use fairlead_model::provision::{Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::Surroundings;
use fairlead_proto::client::{PeersClient, ProvisioningClient, RegistrarClient, connection};
use fairlead_proto::operator::{PeersPort, Unanswered};
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_proto::tls::PodTls;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// How long addresses are kept.
const FRESH: Duration = Duration::from_secs(2);

/// All registrars.
#[derive(Debug)]
pub struct Registrars {
    names: RegistrarClient,
    tls: PodTls,
    next: AtomicUsize,
    known: Mutex<Known>,
    /// One looks the names up for all who ask meanwhile.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    at: Option<Instant>,
    connections: HashMap<SocketAddr, Channel>,
}

impl Registrars {
    /// Those at these `HOST:PORT`s; a name stands for all its addresses (a headless Service).
    pub fn new(names: Vec<String>, tls: PodTls) -> Self {
        Registrars {
            names: RegistrarClient::connect(names, 0, tls.clone()),
            tls,
            next: AtomicUsize::new(rand::random::<u16>().into()),
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// See [`ProvisioningPort::provision`].
    pub async fn provision(&self, peer: &Provision) -> Result<Provisioned, Unanswered> {
        self.ask(|to| {
            let peer = peer.clone();
            async move { ProvisioningClient::new(to).provision(peer).await }
        })
        .await
    }

    /// See [`ProvisioningPort::withdraw`].
    pub async fn withdraw(&self, name: &str, uid: &str) -> Result<Withdrawn, Unanswered> {
        self.ask(|to| async move { ProvisioningClient::new(to).withdraw(name, uid).await }).await
    }

    /// All marked peers.
    pub async fn marked(&self) -> Result<Vec<Marked>, Unanswered> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|marked: &Marked| marked.name.clone());
            let page = PeerPage { after, ..PeerPage::default() };
            let answer = self
                .ask(|to| {
                    let page = page.clone();
                    async move { ProvisioningClient::new(to).list_marked(page).await }
                })
                .await?;
            let is_empty = answer.entries.is_empty();
            all.extend(answer.entries);
            if !answer.more || is_empty {
                return Ok(all);
            }
        }
    }

    /// See [`ProvisioningPort::follow`].
    pub async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
        self.ask(|to| async move { ProvisioningClient::new(to).follow().await }).await
    }

    /// See [`ProvisioningPort::set_surroundings`].
    pub async fn set_surroundings(&self, surroundings: &Surroundings) -> Result<(), Unanswered> {
        self.ask(|to| {
            let surroundings = surroundings.clone();
            async move { ProvisioningClient::new(to).set_surroundings(surroundings).await }
        })
        .await
    }

    /// See [`ProvisioningPort::set_complete`].
    pub async fn set_complete(&self, is_complete: bool) -> Result<(), Unanswered> {
        self.ask(|to| async move { ProvisioningClient::new(to).set_complete(is_complete).await }).await
    }

    /// Everybody who is there.
    pub async fn members(&self) -> Result<Vec<Member>, Unanswered> {
        self.ask(|to| async move { PeersClient::new(to).members().await }).await
    }

    /// Asks one; another when that one does not answer. What makes no sense to one makes none to another.
    async fn ask<T, F>(&self, question: impl Fn(Channel) -> F) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<T, Unanswered>>,
    {
        let connections = self.connections().await;
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failed = Unanswered::Unreachable;
        for offset in 0..connections.len() {
            let Some((address, to)) = connections.get((start.wrapping_add(offset)) % connections.len())
            else {
                break;
            };
            match question(to.clone()).await {
                Err(invalid @ Unanswered::Invalid(_)) => return Err(invalid),
                Err(unanswered) => {
                    tracing::debug!(%address, %unanswered, "a registrar does not answer");
                    failed = unanswered;
                    // Its address may be out of date.
                    self.known.lock().at = None;
                }
                answered => return answered,
            }
        }
        Err(failed)
    }

    async fn connections(&self) -> Vec<(SocketAddr, Channel)> {
        let looking = self.looking.lock().await;
        let is_fresh = self.known.lock().at.is_some_and(|at| at.elapsed() < FRESH);
        if !is_fresh {
            let found = self.names.addresses().await;
            let mut known = self.known.lock();
            known.at = Some(Instant::now());
            if !found.is_empty() {
                known.connections.retain(|address, _| found.contains(address));
                known.addresses = found;
            }
        }
        drop(looking);
        let mut known = self.known.lock();
        let addresses = known.addresses.clone();
        let of = |address: SocketAddr| {
            let made = known
                .connections
                .entry(address)
                .or_insert_with(|| connection(address, &self.tls, Role::Registrar));
            (address, made.clone())
        };
        addresses.into_iter().map(of).collect()
    }
}
