//! The Redis store conforms against a real server, and bears its going and coming.
#![allow(clippy::unwrap_used, clippy::panic)]

mod server;
mod suite;
mod way;

use std::time::{Duration, Instant};

use fairlead_model::id::PodRef;
use fairlead_store::{BindOutcome, Notice, RedisSettings, RedisStore, Step, Store, StoreError};
use server::Server;
use suite::{bind, binding, bound, load, run};
use way::Way;

async fn open(server: &Server) -> RedisStore {
    let store = RedisStore::open(RedisSettings::new(server.url())).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    store
}

#[tokio::test]
async fn the_redis_store_conforms() {
    let server = Server::start();
    suite::conforms(&open(&server).await).await;
}

#[tokio::test]
async fn the_redis_store_conforms_on_a_cluster() {
    let server = Server::start_cluster();
    let url = format!("redis+cluster://127.0.0.1:{}", server.port());
    let store = RedisStore::open(RedisSettings::new(url)).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(10)).await);
    suite::conforms(&store).await;
    server.command(&["HSET", "fairlead:peer:{found}", "secret", "s"]);
    suite::reindex_lists_what_it_found(&store, &["found", "real"]).await;
}

#[tokio::test]
async fn a_peer_that_others_wrote_is_found_by_name_and_listed_after_a_reindex() {
    let server = Server::start();
    let store = open(&server).await;
    server.command(&["HSET", "fairlead:peer:{2%7B0%7D1}", "secret", "s", "host", "192.0.2.50"]);
    server.command(&["HSET", "fairlead:peer:{plain}", "secret", "s"]);
    assert!(load(&store, "2{0}1").await.0.is_some());
    assert!(run(&store, Step::Names { after: None, limit: 10 }).await.names().unwrap().is_empty());
    suite::reindex_lists_what_it_found(&store, &["2{0}1", "plain"]).await;
    let at = Step::NamesAt { address: "192.0.2.50".parse().unwrap() };
    assert_eq!(run(&store, at).await.names().unwrap(), ["2{0}1"]);
}

#[tokio::test]
async fn one_bad_record_spoils_only_itself() {
    let server = Server::start();
    let store = open(&server).await;
    server.command(&["SET", "fairlead:peer:{wrong}", "no hash"]);
    server.command(&["HSET", "fairlead:bindings:{junk}", "version", "1", "contacts", "{"]);
    bound(&store, bind("good", 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await;
    let load = |name: &str| Step::Load { name: name.to_owned() };
    let results = store.run(vec![load("wrong"), load("junk"), load("good")]).await;
    assert!(matches!(results[0], Err(StoreError::Refused(_))), "{results:?}");
    assert!(matches!(results[1], Err(StoreError::Unreadable { .. })), "{results:?}");
    assert!(results[2].is_ok());
    assert!(store.is_present());
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start();
    let store = open(&server).await;
    server.command(&["SCRIPT", "FLUSH"]);
    let outcome = bound(&store, bind("again", 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await;
    assert!(matches!(outcome, BindOutcome::Bound { .. }));
}

#[tokio::test]
async fn while_redis_is_away_every_step_fails_at_once_and_afterwards_all_is_well() {
    let mut server = Server::start();
    let store = open(&server).await;
    let mut notices = store.notices();
    server.stop();
    // The first one may have to find out.
    let _ = store.run_one(Step::Load { name: "x".into() }).await;
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(store.run_one(Step::Load { name: "x".into() }).await, Err(StoreError::Away));
    }
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    server.start_again();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    bound(&store, bind("back", 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await;
    let resumed = tokio::time::timeout(Duration::from_secs(5), async {
        while notices.recv().await != Ok(Notice::Resumed) {}
    });
    assert!(resumed.await.is_ok());
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_away_within_its_time() {
    let server = Server::start();
    let settings = RedisSettings { timeout: Duration::from_millis(100), ..RedisSettings::new(server.url()) };
    let store = RedisStore::open(settings).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    server.pause();
    let begun = Instant::now();
    assert_eq!(store.run_one(Step::Load { name: "x".into() }).await, Err(StoreError::Away));
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    server.resume();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
}

/// Whether what others publish is heard within 10 s.
async fn hears(store: &RedisStore, other: &RedisStore) -> bool {
    let mut notices = store.notices();
    let heard = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let notice = Notice::PeerChanged { by: PodRef(7), name: "ann".to_owned() };
            run(other, Step::Publish(notice.clone())).await;
            let next = tokio::time::timeout(Duration::from_millis(100), notices.recv()).await;
            if next == Ok(Ok(notice)) {
                return;
            }
        }
    });
    heard.await.is_ok()
}

#[tokio::test]
async fn notices_are_heard_again_after_the_way_to_redis_was_lost_without_a_word() {
    let server = Server::start();
    let (way, other) = (Way::to(server.port()).await, open(&server).await);
    let store = RedisStore::open(RedisSettings::new(way.url())).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    assert!(hears(&store, &other).await);
    way.falls_silent();
    // The first one may have to find out.
    let _ = store.run_one(Step::Load { name: "x".into() }).await;
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    assert!(hears(&store, &other).await);
}

#[tokio::test]
async fn whoever_listens_notices_by_itself_that_nothing_comes_any_more() {
    let server = Server::start();
    let (way, other) = (Way::to(server.port()).await, open(&server).await);
    let store = RedisStore::open(RedisSettings::new(way.url())).unwrap();
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    assert!(hears(&store, &other).await);
    let mut notices = store.notices();
    assert_eq!(way.falls_silent_for_listeners(), 1);
    let resumed = tokio::time::timeout(Duration::from_secs(10), async {
        while notices.recv().await != Ok(Notice::Resumed) {}
    });
    assert!(resumed.await.is_ok(), "some may have been missed");
    assert!(hears(&store, &other).await);
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_are_answered() {
    let server = Server::start();
    let store = open(&server).await;
    let binds = (0..1_000).map(|number| {
        let name = format!("peer{number}");
        let store = &store;
        async move { bound(store, bind(&name, 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await }
    });
    let outcomes = futures::future::join_all(binds).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, BindOutcome::Bound { .. })));
}

#[tokio::test]
async fn what_redis_says_of_itself_is_understood() {
    let server = Server::start();
    let store = open(&server).await;
    server.command(&["CONFIG", "SET", "save", ""]);
    server.command(&["CONFIG", "SET", "appendonly", "no"]);
    let health = store.health().await.unwrap().unwrap();
    assert_eq!((health.persistent, health.eviction.as_deref()), (Some(false), Some("noeviction")));
    assert!(health.now.0.abs_diff(health.asked.0) < 1_000, "{health:?}");
    server.command(&["CONFIG", "SET", "save", "3600 1"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let health = store.health().await.unwrap().unwrap();
    assert_eq!((health.persistent, health.eviction.as_deref()), (Some(true), Some("allkeys-lru")));
    assert!(health.remarks.is_empty(), "{health:?}");
    server.command(&["ACL", "SETUSER", "default", "-config"]);
    let health = store.health().await.unwrap().unwrap();
    assert_eq!((health.persistent, health.remarks.len()), (None, 1), "{health:?}");
}
