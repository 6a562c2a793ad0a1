//! A store that comes back empty: what is said of the one before does not hold for it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;

use std::sync::Arc;

use bed::*;
use fairlead_model::provision::PeerNews;
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{MemoryStore, NoticeStream, Outcome, Step, Store, StoreError};
use marked::*;
use parking_lot::Mutex;

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
}

#[async_trait::async_trait]
impl Store for Shared {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        let now = self.now();
        now.run(steps).await
    }

    fn notices(&self) -> NoticeStream {
        self.now().notices()
    }

    async fn reindex(&self) -> Result<u64, StoreError> {
        self.now().reindex().await
    }

    fn keeps_nonces(&self) -> bool {
        true
    }

    fn is_present(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn that_all_peers_are_written_is_not_said_of_an_emptied_store() {
    let shared = Arc::new(Shared::default());
    let one = registrar(Arc::clone(&shared) as Arc<dyn Store>, 900, Vec::new());
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
