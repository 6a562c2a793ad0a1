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
use fairlead_model::provision::{Provisioned, Withdrawn};
use fairlead_proto::operator::{PeersPort, Unanswered};
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{MemoryStore, NoticeStream, Outcome, Step, Store, StoreError};
use marked::*;
use server::Server;

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
