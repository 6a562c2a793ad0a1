//! What every store must do. Each case takes an empty part of a store (names of its own) and says one behaviour.
#![allow(dead_code)]

mod bindings;
mod calls;
mod cluster;
mod peers;

use bytes::Bytes;
use fairlead_model::binding::{Binding, BindingKey, Qualify};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef, ShardRef, UnixMillis};
use fairlead_store::*;

/// All cases, on one store.
pub async fn conforms(store: &dyn Store) {
    peers::conform(store).await;
    bindings::conform(store).await;
    calls::conform(store).await;
    cluster::conform(store).await;
    steps_of_one_batch_answer_in_order(store).await;
}

pub async fn run(store: &dyn Store, step: Step) -> Outcome {
    store.run_one(step).await.expect("the step is done")
}

pub async fn load(store: &dyn Store, name: &str) -> (Option<Columns>, BindingsRecord) {
    let (peer, bindings) = run(store, Step::Load { name: name.into() }).await.loaded().unwrap();
    (peer.map(|columns| (*columns).clone()), (*bindings).clone())
}

pub fn columns(pairs: &[(&str, &str)]) -> Columns {
    pairs.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect()
}

pub fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixMillis(since.as_millis() as u64)
}

pub fn pod(number: u64) -> PodRef {
    PodRef(number)
}

pub fn call(number: u64) -> CallRef {
    CallRef { pod: pod(1), shard: ShardRef(0), number }
}

pub fn binding(uri: &str, remote: &str) -> Binding {
    Binding {
        key: BindingKey(uri.to_owned()),
        uri: uri.to_owned(),
        value: format!("<{uri}>"),
        q: 1000,
        expires_at: now().plus_millis(60_000),
        registered_at: now(),
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "call".to_owned(),
        cseq: 1,
        user_agent: "phone".to_owned(),
        flow: Flow {
            pod: pod(1),
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            connection: None,
        },
        generation: 0,
        moved_at: Default::default(),
        by_flow: true,
        nat: Default::default(),
        qualify: Qualify::default(),
        unknown: serde_json::Map::new(),
    }
}

pub fn bind(name: &str, planned_from: u64, bindings: Vec<Binding>) -> Bind {
    Bind {
        name: name.to_owned(),
        planned_from,
        bindings,
        columns: Columns::new(),
        nonce: None,
        key: None,
        now: now(),
    }
}

pub async fn bound(store: &dyn Store, bind: Bind) -> BindOutcome {
    run(store, Step::Bind(Box::new(bind))).await.bind().unwrap()
}

pub fn checkpoint(number: u64, owner: u64, epoch: u64) -> CheckpointRecord {
    CheckpointRecord {
        call: call(number),
        owner: pod(owner),
        epoch,
        schema: 1,
        written: now(),
        deadline: Some(now().plus_millis(60_000)),
        call_ids: vec![format!("a{number}"), format!("b{number}")],
        state: Bytes::from_static(b"any\n\0\xffoctets"),
    }
}

async fn steps_of_one_batch_answer_in_order(store: &dyn Store) {
    assert!(store.run(Vec::new()).await.is_empty());
    assert!(store.is_present());
    let steps = vec![
        Step::Slots { peer: "limited".into() },
        Step::Load { name: "kept".into() },
        Step::NamesByFlow { transport: Transport::Udp, remote: "192.0.2.9:1".parse().unwrap() },
        Step::Members,
    ];
    let results = store.run(steps).await;
    assert!(
        matches!(
            results.as_slice(),
            [
                Ok(Outcome::Slots(_)),
                Ok(Outcome::Loaded { .. }),
                Ok(Outcome::Names(_)),
                Ok(Outcome::Members { .. })
            ]
        ),
        "{results:?}"
    );
}

/// Peers that somebody else wrote are listed after a reindex.
pub async fn reindex_lists_what_it_found(store: &dyn Store, written_by_others: &[&str]) {
    let seen = store.reindex().await.expect("it can be reindexed");
    assert!(seen >= written_by_others.len() as u64);
    let names = run(store, Step::Names { after: None, limit: 10_000 }).await.names().unwrap();
    for name in written_by_others {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
}
