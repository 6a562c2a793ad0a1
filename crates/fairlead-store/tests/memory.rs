//! The memory store conforms.
#![allow(clippy::unwrap_used, clippy::panic)]

mod suite;

use fairlead_store::MemoryStore;

#[tokio::test]
async fn the_memory_store_conforms() {
    suite::conforms(&MemoryStore::new()).await;
}
