//! A store that comes back empty: what is said of the one before does not hold for it, and who was withdrawn meanwhile does
//! not come back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bed::*;
use fairlead_model::provision::{PeerNews, Withdrawn};
use fairlead_proto::operator::PeersPort;
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{MemoryStore, Notice, NoticeStream, Outcome, Step, Store, StoreError};
use marked::*;
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};

/// What all registrars share; it can be emptied.
#[derive(Default)]
struct Shared(Mutex<Arc<MemoryStore>>);

impl Shared {
    fn is_emptied(&self) {
        *self.0.lock() = Arc::default();
    }

    fn now(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.0.lock())
    }

    async fn is_complete(&self) -> bool {
        self.now().run_one(Step::Complete { say: None }).await.unwrap().complete().unwrap()
    }

    async fn has(&self, name: &str) -> bool {
        self.now().run_one(Step::Row { name: name.to_owned() }).await.unwrap().row().unwrap().is_some()
    }
}

/// The way of one registrar to what they share. Nobody hears notices on it but those of the store's going and coming.
struct Reached {
    shared: Arc<Shared>,
    away: AtomicBool,
    notices: broadcast::Sender<Notice>,
    holds: Mutex<Option<Hold>>,
}

/// Of the first batch of peers that are written again: it is told which, and waits.
struct Hold {
    tell: oneshot::Sender<Vec<String>>,
    go_on: oneshot::Receiver<()>,
}

impl Reached {
    fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let notices = broadcast::channel(16).0;
        let (away, holds) = (AtomicBool::new(false), Mutex::new(None));
        Arc::new(Reached { shared: Arc::clone(shared), away, notices, holds })
    }

    fn goes(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    fn comes(&self) {
        self.away.store(false, Ordering::Relaxed);
        self.notices.send(Notice::Resumed).unwrap();
    }
}

fn restored(step: &Step) -> Option<String> {
    match step {
        Step::RestorePeer { name, .. } => Some(name.clone()),
        _ => None,
    }
}

#[async_trait::async_trait]
impl Store for Reached {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        if !self.is_present() {
            return vec![Err(StoreError::Away); steps.len()];
        }
        let restored: Vec<String> = steps.iter().filter_map(restored).collect();
        let holds = if restored.is_empty() { None } else { self.holds.lock().take() };
        if let Some(hold) = holds {
            hold.tell.send(restored).unwrap();
            hold.go_on.await.unwrap();
        }
        let now = self.shared.now();
        now.run(steps).await
    }

    fn notices(&self) -> NoticeStream {
        self.notices.subscribe()
    }

    async fn reindex(&self) -> Result<u64, StoreError> {
        self.shared.now().reindex().await
    }

    fn keeps_nonces(&self) -> bool {
        true
    }

    fn is_present(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn that_all_peers_are_written_is_not_said_of_an_emptied_store() {
    let shared = Arc::new(Shared::default());
    let one = registrar(Reached::new(&shared), 900, Vec::new());
    one.wait_until_ready().await;
    one.set_complete(true).await.unwrap();
    assert!(shared.is_complete().await);
    let mut news = one.follow().await.unwrap();
    told(&mut news).await;
    shared.is_emptied();
    assert!(one.set_complete(true).await.is_err(), "it is said of the one before");
    assert!(!shared.is_complete().await);
    hear(&mut news, |news| (news == PeerNews::Emptied).then_some(())).await;
    assert!(one.set_complete(true).await.is_err(), "whoever says so may not have heard yet");
    assert!(!shared.is_complete().await);
    until("what is said later holds", async || one.set_complete(true).await.is_ok()).await;
    assert!(shared.is_complete().await);
}

#[tokio::test]
async fn a_registrar_that_comes_late_to_an_emptied_store_brings_nobody_back_who_was_withdrawn() {
    let shared = Arc::new(Shared::default());
    let late = Reached::new(&shared);
    let one = registrar(Reached::new(&shared), 900, Vec::new());
    let two = registrar(Arc::clone(&late) as Arc<dyn Store>, 901, vec![phone("201")]);
    one.wait_until_ready().await;
    let mut b = Pod::attach(&two, 2).await;
    for name in ["ann", "ben"] {
        one.provision(peer(name, "1", &[])).await.unwrap();
    }
    contacts(&b.registers("ann", "198.51.100.7:40000", 1).await);
    contacts(&b.registers("ben", "198.51.100.8:40000", 1).await);
    contacts(&b.registers("201", "198.51.100.9:40000", 1).await);
    late.goes();
    shared.is_emptied();
    contacts(&b.registers("ann", "198.51.100.7:40000", 2).await);
    until("it is noticed", async || one.members().await.unwrap().len() == 1).await;
    until("ann is withdrawn", async || one.withdraw("ann", "uid-ann").await == Ok(Withdrawn::Absent)).await;
    one.provision(peer("ben", "1", &[])).await.unwrap();
    until("all are written", async || one.set_complete(true).await.is_ok()).await;
    late.comes();
    let bound = async |name: &str| {
        let load = shared.now().run_one(Step::Load { name: name.into() }).await.unwrap();
        load.loaded().unwrap().1.bindings.len()
    };
    until("those who are there are registered again", async || {
        bound("201").await == 1 && bound("ben").await == 1
    })
    .await;
    // Nonces are others now.
    b.idle(Duration::from_millis(2_500)).await;
    assert!(!shared.has("ann").await && bound("ann").await == 0, "she was withdrawn");
    assert_eq!(status(&b.registers("ann", "198.51.100.7:40000", 3).await), 403);
}

#[tokio::test]
async fn who_is_withdrawn_while_an_emptied_store_is_filled_is_not_written_again() {
    let shared = Arc::new(Shared::default());
    let store = Reached::new(&shared);
    let one = registrar(Arc::clone(&store) as Arc<dyn Store>, 900, Vec::new());
    one.wait_until_ready().await;
    let names: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
    for name in &names {
        one.provision(peer(name, "1", &[])).await.unwrap();
        one.get_peer(name, true).await.unwrap();
    }
    let (tell, first) = oneshot::channel();
    let (on, go_on) = oneshot::channel();
    *store.holds.lock() = Some(Hold { tell, go_on });
    shared.is_emptied();
    let first = first.await.unwrap();
    let later = names.iter().find(|name| !first.contains(name)).unwrap();
    assert_eq!(one.withdraw(later, &format!("uid-{later}")).await, Ok(Withdrawn::Absent));
    on.send(()).unwrap();
    until("all others are written again", async || {
        let mut there = 0;
        for name in &names {
            there += usize::from(shared.has(name).await);
        }
        there >= 299
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!shared.has(later).await);
}
