//! What whoever follows peers is told when the store was away, or is not there yet.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;
#[path = "../../fairlead-store/tests/way/mod.rs"]
mod way;

use std::sync::Arc;
use std::time::Duration;

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

#[tokio::test]
async fn nobody_is_told_of_all_peers_by_a_registrar_that_has_not_seen_its_store() {
    let server = Server::start();
    let (_one, _a) = with_ann(&server).await;
    server.pause();
    let two = registrar_at(server.url(), 901);
    if let Ok(mut news) = two.follow().await {
        let first = tokio::time::timeout(Duration::from_secs(1), news.recv()).await;
        assert_eq!(first, Ok(None), "the stream ends, or is not taken at all");
    }
    server.resume();
    two.wait_until_ready().await;
    let mut news = None;
    until("it can be followed", async || {
        news = two.follow().await.ok();
        news.is_some()
    })
    .await;
    let peers = told(&mut news.unwrap()).await;
    assert_eq!(peers.iter().map(|peer| peer.contacts.len()).collect::<Vec<_>>(), [1], "{peers:?}");
}

#[tokio::test]
async fn a_store_that_goes_away_ends_the_list_of_all_peers() {
    let server = Server::start();
    let (one, _a) = with_ann(&server).await;
    server.pause();
    // It has not noticed yet.
    let mut news = one.follow().await.unwrap();
    while let Some(news) = news.recv().await {
        assert_ne!(news, PeerNews::Told);
    }
    server.resume();
}

#[tokio::test]
async fn what_happened_before_notices_were_heard_is_told() {
    let server = Server::start();
    let (_one, mut a) = with_ann(&server).await;
    let way = Way::to(server.port()).await;
    way.takes_no_listeners(true);
    let two = registrar_at(way.url(), 901);
    two.wait_until_ready().await;
    let mut news = two.follow().await.unwrap();
    told(&mut news).await;
    let moved = "198.51.100.7:41000";
    contacts(&a.registers("ann", moved, 2).await);
    way.takes_no_listeners(false);
    let ann = hear(&mut news, view_of("ann")).await;
    assert_eq!(ann.address.map(|address| address.port), Some(41_000));
}
