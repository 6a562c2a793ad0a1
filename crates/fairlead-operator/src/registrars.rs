//! The registrars: found by name again and again, asked in turn, the next one when one does not answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

    /// See [`ProvisioningPort::provision`]. The one that did not answer may have written it without the others having
    /// heard so.
    pub async fn provision(&self, peer: &Provision) -> Result<Provisioned, Unanswered> {
        let is_tried = AtomicBool::new(false);
        self.ask(|to| {
            let mut peer = peer.clone();
            peer.forget |= is_tried.swap(true, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fairlead_model::provision::Mark;
    use fairlead_proto::operator::Page;
    use fairlead_proto::{server, tls};
    use tokio::net::TcpListener;
    use tonic::service::Routes;

    use super::*;

    /// What registrars were asked, the first of which writes and then cannot say so.
    #[derive(Default)]
    struct Two(Mutex<Vec<Provision>>);

    #[async_trait::async_trait]
    impl ProvisioningPort for Two {
        async fn provision(&self, peer: Provision) -> Result<Provisioned, Unanswered> {
            let mut asked = self.0.lock();
            asked.push(peer);
            match asked.len() {
                1 => Err(Unanswered::Unable("the store went away".to_owned())),
                _ => Ok(Provisioned::Unchanged),
            }
        }

        async fn withdraw(&self, _: &str, _: &str) -> Result<Withdrawn, Unanswered> {
            Err(Unanswered::Unknown)
        }

        async fn list_marked(&self, _: PeerPage) -> Result<Page<Marked>, Unanswered> {
            Err(Unanswered::Unknown)
        }

        async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
            Err(Unanswered::Unknown)
        }

        async fn set_surroundings(&self, _: Surroundings) -> Result<(), Unanswered> {
            Err(Unanswered::Unknown)
        }

        async fn set_complete(&self, _: bool) -> Result<(), Unanswered> {
            Err(Unanswered::Unknown)
        }
    }

    #[tokio::test]
    async fn the_second_registrar_does_not_believe_that_all_have_heard_of_what_the_first_wrote() {
        let asked = Arc::new(Two::default());
        let mut names = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            names.push(listener.local_addr().unwrap().to_string());
            let routes = Routes::new(server::provisioning(asked.clone()));
            tokio::spawn(async move {
                tls::serve(listener, routes, &PodTls::off(), std::future::pending()).await
            });
        }
        let mark =
            Mark { origin: "sippeer/sip/ann".to_owned(), uid: "u1".to_owned(), generation: "1".to_owned() };
        let peer = Provision {
            name: "ann".to_owned(),
            columns: [("type".to_owned(), "friend".to_owned())].into(),
            mark,
            instead_of: String::new(),
            forget: false,
        };
        let answer = Registrars::new(names, PodTls::off()).provision(&peer).await;
        assert_eq!(answer, Ok(Provisioned::Unchanged));
        let forget: Vec<bool> = asked.0.lock().iter().map(|peer| peer.forget).collect();
        assert_eq!(forget, [false, true]);
    }
}
