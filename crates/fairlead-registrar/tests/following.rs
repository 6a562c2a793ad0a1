//! What whoever follows peers is told when the store was away, or is not there yet.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;
#[path = "../../fairlead-store/tests/way/mod.rs"]
mod way;

use std::sync::Arc;

use bed::*;
use fairlead_model::provision::PeerNews;
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_registrar::Registrar;
use fairlead_store::{RedisSettings, RedisStore};
use marked::*;
use server::Server;
use way::Way;

const PHONE: &str = "198.51.100.7:40000";

/// A registrar whose Redis is at this address, there or not.
fn registrar_at(url: String, number: u64) -> Arc<Registrar> {
    registrar(Arc::new(RedisStore::open(RedisSettings::new(url)).unwrap()), number, Vec::new())
}

/// A registrar with one peer, and its phone's registration.
async fn with_ann(server: &Server) -> (Arc<Registrar>, Pod) {
    let one = registrar(redis(server).await, 900, Vec::new());
    let mut a = Pod::attach(&one, 1).await;
    one.provision(peer("ann", "1", &[])).await.unwrap();
    contacts(&a.registers("ann", PHONE, 1).await);
    (one, a)
}

#[tokio::test]
async fn whoever_follows_is_told_that_the_store_was_away() {
    let server = Server::start();
    let (_one, _a) = with_ann(&server).await;
    let way = Way::to(server.port()).await;
    let two = registrar_at(way.url(), 901);
    two.wait_until_ready().await;
    let mut news = two.follow().await.unwrap();
    told(&mut news).await;
    way.falls_silent();
    hear(&mut news, |news| (news == PeerNews::Resumed).then_some(())).await;
    assert_eq!(hear(&mut news, view_of("ann")).await.contacts.len(), 1, "all of it is told anew");
}
