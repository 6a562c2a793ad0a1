//! No registrar goes on with what it held of a peer that was written or removed, also when one could not be told at once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bed::*;
use fairlead_model::provision::{Provision, Provisioned, Withdrawn};
use fairlead_proto::operator::{PeersPort, Unanswered};
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{MemoryStore, NoticeStream, Outcome, Step, Store, StoreError};
use marked::*;
use server::Server;

const PHONE: &str = "198.51.100.7:40000";

fn ann(generation: &str, secret: &str, forget: bool) -> Provision {
    Provision { forget, ..peer("ann", generation, &[("secret", secret)]) }
}

/// What a registrar does that ends between writing a peer and telling the others.
async fn written_without_a_word(store: &dyn Store, peer: Provision) {
    let outcome = store.run_one(Step::Provision(Box::new(peer))).await.unwrap().provisioned().unwrap();
    assert_eq!(outcome, written());
}

#[tokio::test]
async fn whoever_asks_again_can_have_everybody_forget_what_is_so_already() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let mut b = Pod::attach(&two, 2).await;
    one.provision(peer("ann", "1", &[])).await.unwrap();
    contacts(&b.registers("ann", PHONE, 1).await);
    written_without_a_word(&*redis(&server).await, ann("2", "other", false)).await;
    // It knows the peer only as it is now.
    let three = registrar(redis(&server).await, 902, Vec::new());
    three.wait_until_ready().await;
    until("all know each other", async || three.members().await.unwrap().len() == 4).await;
    assert!(three.get_peer("ann", true).await.unwrap().is_some());
    assert_eq!(three.provision(ann("2", "other", false)).await.unwrap(), Provisioned::Unchanged);
    contacts(&b.registers("ann", PHONE, 2).await);
    assert_eq!(three.provision(ann("2", "other", true)).await.unwrap(), written());
    assert_eq!(status(&b.registers("ann", PHONE, 3).await), 403);
}

#[tokio::test]
async fn a_registrar_that_holds_another_peer_than_it_is_asked_for_has_everybody_forget_it() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    one.provision(peer("ann", "1", &[])).await.unwrap();
    contacts(&a.registers("ann", PHONE, 1).await);
    contacts(&b.registers("ann", PHONE, 2).await);
    written_without_a_word(&*redis(&server).await, ann("2", "other", false)).await;
    assert_eq!(one.provision(ann("2", "other", false)).await.unwrap(), written());
    assert_eq!(status(&a.registers("ann", PHONE, 3).await), 403);
    assert_eq!(status(&b.registers("ann", PHONE, 4).await), 403);
    assert_eq!(one.provision(ann("2", "other", false)).await.unwrap(), Provisioned::Unchanged);
}

#[tokio::test]
async fn a_peer_is_not_removed_before_every_registrar_has_forgotten_it() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    one.provision(peer("ann", "1", &[])).await.unwrap();
    drop(two);
    // Its round in between holds it a moment longer.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    match one.withdraw("ann", "uid-ann").await {
        Err(Unanswered::Unable(why)) => assert!(why.contains("registrar-901"), "{why}"),
        other => panic!("{other:?}"),
    }
    until("its lease ends", async || one.members().await.unwrap().len() == 1).await;
    assert_eq!(one.withdraw("ann", "uid-ann").await.unwrap(), Withdrawn::Absent);
}

/// A store on which nothing can be published for a while.
struct Mute(MemoryStore, AtomicBool);

#[async_trait::async_trait]
impl Store for Mute {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        let mut results = Vec::new();
        for step in steps {
            results.push(match step {
                Step::Publish(_) if self.1.load(Ordering::Relaxed) => Err(StoreError::Away),
                step => self.0.run_one(step).await,
            });
        }
        results
    }

    fn notices(&self) -> NoticeStream {
        self.0.notices()
    }

    async fn reindex(&self) -> Result<u64, StoreError> {
        self.0.reindex().await
    }

    fn keeps_nonces(&self) -> bool {
        self.0.keeps_nonces()
    }

    fn is_present(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn what_could_not_be_told_to_others_is_no_success() {
    let store = Arc::new(Mute(MemoryStore::new(), AtomicBool::new(false)));
    let one = registrar(Arc::clone(&store) as Arc<dyn Store>, 900, Vec::new());
    one.wait_until_ready().await;
    let mute = |is: bool| store.1.store(is, Ordering::Relaxed);
    mute(true);
    assert!(matches!(one.provision(peer("ann", "1", &[])).await, Err(Unanswered::Unable(_))));
    mute(false);
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), written(), "it is told now");
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), Provisioned::Unchanged);
    mute(true);
    assert!(matches!(one.withdraw("ann", "uid-ann").await, Err(Unanswered::Unable(_))));
    mute(false);
    assert_eq!(one.withdraw("ann", "uid-ann").await.unwrap(), Withdrawn::Absent);
}

#[tokio::test]
async fn a_registrar_that_does_not_know_the_others_yet_takes_none_of_them_to_have_forgotten() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = registrar(store, 900, Vec::new());
    assert!(matches!(one.provision(peer("ann", "1", &[])).await, Err(Unanswered::Unable(_))));
    assert!(matches!(one.withdraw("ann", "uid-ann").await, Err(Unanswered::Unable(_))));
    one.wait_until_ready().await;
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), written());
}
