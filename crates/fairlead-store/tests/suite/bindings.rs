//! Bindings, and the nonces that are used with them.

use std::time::Duration;

use fairlead_model::ask::IdempotencyKey;
use fairlead_model::flow::Transport;
use fairlead_store::*;

use super::{bind, binding, bound, columns, load, now, run};

/// All cases.
pub async fn conform(store: &dyn Store) {
    bindings_are_set_only_from_the_version_they_were_planned_from(store).await;
    bindings_write_their_columns_into_a_realtime_peer_only(store).await;
    questions_are_remembered_with_the_bindings(store).await;
    a_binding_is_found_by_its_flow(store).await;
    a_nonce_count_is_fresh_once_within_a_window(store).await;
    a_nonce_without_count_is_used_up(store).await;
    a_used_nonce_stops_a_binding(store).await;
    a_lost_record_is_restored_only_over_an_older_one(store).await;
}

fn nonce(nonce: &str, count: Option<u32>) -> NonceUse {
    NonceUse { nonce: nonce.to_owned(), count, life: Duration::from_secs(60) }
}

async fn bindings_are_set_only_from_the_version_they_were_planned_from(store: &dyn Store) {
    let one = binding("sip:a@192.0.2.9", "192.0.2.9:5060");
    let BindOutcome::Bound { version } = bound(store, bind("cas", 0, vec![one.clone()])).await else {
        panic!()
    };
    assert!(version >= 1);
    let BindOutcome::Conflict(current) = bound(store, bind("cas", 0, Vec::new())).await else { panic!() };
    assert_eq!((current.version, &current.bindings), (version, &vec![one.clone()]));
    let BindOutcome::Bound { version: next } = bound(store, bind("cas", version, vec![one])).await else {
        panic!()
    };
    assert!(next > version);
    assert_eq!(load(store, "cas").await.1.version, next);
}

async fn bindings_write_their_columns_into_a_realtime_peer_only(store: &dyn Store) {
    let runtime = columns(&[("ipaddr", "192.0.2.9"), ("port", "5060"), ("regserver", "")]);
    let with = |name: &str, from| Bind { columns: runtime.clone(), ..bind(name, from, Vec::new()) };
    bound(store, with("static", 0)).await;
    assert_eq!(load(store, "static").await.0, None);
    let put = Step::PutPeer { name: "real".into(), columns: columns(&[("secret", "s")]), replace: true };
    run(store, put).await;
    bound(store, with("real", 0)).await;
    let all = columns(&[("secret", "s"), ("ipaddr", "192.0.2.9"), ("port", "5060"), ("regserver", "")]);
    assert_eq!(load(store, "real").await.0, Some(all));
}

async fn questions_are_remembered_with_the_bindings(store: &dyn Store) {
    let mut version = 0;
    for number in 0..6 {
        let asked = Bind { key: Some(IdempotencyKey(number)), ..bind("asked", version, Vec::new()) };
        let BindOutcome::Bound { version: new } = bound(store, asked).await else { panic!() };
        version = new;
    }
    let record = load(store, "asked").await.1;
    assert_eq!(record.asked, (2..6).map(IdempotencyKey).collect::<Vec<_>>());
    assert!(record.has_answered(IdempotencyKey(5)) && !record.has_answered(IdempotencyKey(0)));
}

async fn a_binding_is_found_by_its_flow(store: &dyn Store) {
    let at = |remote: &str, transport| Step::NamesByFlow { transport, remote: remote.parse().unwrap() };
    bound(store, bind("flow", 0, vec![binding("sip:a@h", "[2001:db8::9]:5070")])).await;
    let found = run(store, at("[2001:db8::9]:5070", Transport::Udp)).await.names().unwrap();
    assert_eq!(found, ["flow"]);
    assert!(run(store, at("[2001:db8::9]:5070", Transport::Tcp)).await.names().unwrap().is_empty());
    assert!(run(store, at("[2001:db8::9]:5071", Transport::Udp)).await.names().unwrap().is_empty());
}

async fn a_nonce_count_is_fresh_once_within_a_window(store: &dyn Store) {
    let take = async |count| {
        let step = Step::UseNonce { peer: "nc".into(), nonce: nonce("n", Some(count)) };
        run(store, step).await.nonce().unwrap()
    };
    assert!(take(1).await && !take(1).await);
    assert!(take(70).await);
    assert!(take(7).await && !take(7).await, "63 behind is inside the window, once");
    assert!(!take(6).await, "64 behind is outside");
    assert!(!take(0).await, "counts begin at 1");
    assert!(take(1_000_000).await && !take(70).await);
}

async fn a_nonce_without_count_is_used_up(store: &dyn Store) {
    let take = async |name: &str, count| {
        let step = Step::UseNonce { peer: "noqop".into(), nonce: nonce(name, count) };
        run(store, step).await.nonce().unwrap()
    };
    assert!(take("a", None).await);
    assert!(!take("a", None).await && !take("a", Some(1)).await && !take("a", Some(9)).await);
    assert!(take("b", Some(1)).await && !take("b", None).await);
}

async fn a_used_nonce_stops_a_binding(store: &dyn Store) {
    let with = |from| Bind { nonce: Some(nonce("n", Some(1))), ..bind("guarded", from, Vec::new()) };
    let BindOutcome::Bound { version } = bound(store, with(0)).await else { panic!() };
    assert!(matches!(bound(store, with(0)).await, BindOutcome::Conflict(_)));
    assert_eq!(bound(store, with(version)).await, BindOutcome::NonceUsed);
    assert_eq!(load(store, "guarded").await.1.version, version);
}

async fn a_lost_record_is_restored_only_over_an_older_one(store: &dyn Store) {
    let put = Step::PutPeer { name: "lost".into(), columns: columns(&[("secret", "s")]), replace: true };
    run(store, put).await;
    let record = |version, uri| BindingsRecord {
        version,
        bindings: vec![binding(uri, "192.0.2.202:5060")],
        asked: vec![IdempotencyKey(5), IdempotencyKey(6)],
    };
    let restore = async |version, uri| {
        let restore = Restore {
            name: "lost".into(),
            record: record(version, uri),
            columns: columns(&[("ipaddr", "192.0.2.202")]),
            now: now(),
        };
        run(store, Step::Restore(Box::new(restore))).await
    };
    assert_eq!(restore(7, "sip:a@h").await, Outcome::Restored { written: true });
    assert_eq!(restore(6, "sip:b@h").await, Outcome::Restored { written: false });
    assert_eq!(restore(8, "sip:c@h").await, Outcome::Restored { written: true });
    let (row, stored) = load(store, "lost").await;
    assert_eq!((stored.version, stored.bindings[0].uri.as_str()), (8, "sip:c@h"));
    assert_eq!(stored.asked, record(8, "sip:c@h").asked);
    assert_eq!(row.unwrap()["ipaddr"], "192.0.2.202");
    let by = Step::NamesByFlow { transport: Transport::Udp, remote: "192.0.2.202:5060".parse().unwrap() };
    assert_eq!(run(store, by).await.names().unwrap(), ["lost"]);
    let again = |name: &str| Step::RestorePeer { name: name.into(), columns: columns(&[("secret", "old")]) };
    run(store, again("lost")).await;
    run(store, again("lost2")).await;
    assert_eq!(load(store, "lost").await.0.unwrap()["secret"], "s", "written anew meanwhile");
    assert_eq!(load(store, "lost2").await.0.unwrap()["secret"], "old");
    let outcome = bound(store, bind("lost", 8, Vec::new())).await;
    assert!(matches!(outcome, BindOutcome::Bound { .. }), "{outcome:?}");
}
