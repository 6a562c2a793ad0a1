//! Two registrars on one Redis, peers that somebody looks after, and what whoever follows them hears.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::operator::PeerView;
use fairlead_model::provision::{Mark, PeerNews, Provision, Provisioned};
use fairlead_proto::operator::PeersPort;
use fairlead_registrar::Registrar;
use fairlead_store::{RedisSettings, RedisStore};
use tokio::sync::mpsc;

use crate::bed::*;
use crate::server::Server;

pub async fn redis(server: &Server) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::open(RedisSettings::new(server.url())).unwrap());
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    store
}

pub async fn two(server: &Server) -> (Arc<Registrar>, Arc<Registrar>) {
    let static_peers = vec![phone("201")];
    let one = registrar(redis(server).await, 900, static_peers.clone());
    let two = registrar(redis(server).await, 901, static_peers);
    one.wait_until_ready().await;
    two.wait_until_ready().await;
    until("they know each other", async || {
        one.members().await.unwrap().len() == 2 && two.members().await.unwrap().len() == 2
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    (one, two)
}

pub fn peer(name: &str, generation: &str, more: &[(&str, &str)]) -> Provision {
    let mut columns: BTreeMap<String, String> = [("host", "dynamic"), ("qualify", "yes")]
        .into_iter()
        .chain(more.iter().copied())
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
        .collect();
    columns.entry("secret".to_owned()).or_insert(format!("pw{name}"));
    Provision {
        name: name.to_owned(),
        columns,
        mark: Mark {
            origin: format!("sippeer/sip/{name}"),
            uid: format!("uid-{name}"),
            generation: generation.to_owned(),
        },
        instead_of: String::new(),
        forget: false,
    }
}

pub fn written() -> Provisioned {
    Provisioned::Written { put_right: Vec::new(), silent: Vec::new() }
}

/// The next news that this wants.
pub async fn hear<T>(news: &mut mpsc::Receiver<PeerNews>, wanted: impl Fn(PeerNews) -> Option<T>) -> T {
    let found = tokio::time::timeout(Duration::from_secs(15), async {
        loop {
            if let Some(found) = wanted(news.recv().await.expect("the stream goes on")) {
                return found;
            }
        }
    });
    found.await.expect("it is told in time")
}

pub async fn told(news: &mut mpsc::Receiver<PeerNews>) -> Vec<PeerView> {
    let mut views = Vec::new();
    loop {
        match news.recv().await.expect("the stream goes on") {
            PeerNews::Peer(view) => views.push(*view),
            PeerNews::Told => return views,
            other => panic!("{other:?}"),
        }
    }
}

pub fn view_of(name: &'static str) -> impl Fn(PeerNews) -> Option<PeerView> {
    move |news| match news {
        PeerNews::Peer(view) if view.name == name => Some(*view),
        _ => None,
    }
}
