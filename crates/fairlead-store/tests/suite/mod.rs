//! What every store must do. Each case takes an empty part of a store (names of its own) and says one behaviour.
#![allow(dead_code)]

use std::time::Duration;

use bytes::Bytes;
use fairlead_model::ask::{IdempotencyKey, Usage};
use fairlead_model::binding::{Binding, BindingKey, Qualify};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef, ShardRef, UnixMillis};
use fairlead_model::member::{Member, Role};
use fairlead_store::*;

/// All cases, on one store.
pub async fn conforms(store: &dyn Store) {
    peers_are_written_found_and_removed(store).await;
    columns_stay_that_nobody_named(store).await;
    touching_never_makes_a_peer(store).await;
    names_come_in_order_and_in_pages(store).await;
    bindings_are_set_only_from_the_version_they_were_planned_from(store).await;
    bindings_write_their_columns_into_a_realtime_peer_only(store).await;
    questions_are_remembered_with_the_bindings(store).await;
    a_binding_is_found_by_its_flow(store).await;
    a_nonce_count_is_fresh_once_within_a_window(store).await;
    a_nonce_without_count_is_used_up(store).await;
    a_used_nonce_stops_a_binding(store).await;
    a_first_request_has_one_owner(store).await;
    a_higher_cseq_takes_a_claim_over(store).await;
    a_claim_runs_out(store).await;
    slots_are_limited_and_named_by_their_call(store).await;
    slots_of_dead_pods_do_not_count(store).await;
    releasing_a_call_frees_its_slots_at_all_peers(store).await;
    a_checkpoint_is_found_by_each_call_id_until_it_ends(store).await;
    an_older_owner_is_fenced(store).await;
    members_are_stamped_with_the_time_of_the_store(store).await;
    the_secret_is_made_once(store).await;
    the_epoch_counts_up_when_its_time_is_over(store).await;
    notices_are_heard(store).await;
    strange_names_are_names(store).await;
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

fn nonce(nonce: &str, count: Option<u32>) -> NonceUse {
    NonceUse { nonce: nonce.to_owned(), count, life: Duration::from_secs(60) }
}

async fn peers_are_written_found_and_removed(store: &dyn Store) {
    let name = "written".to_owned();
    assert_eq!(load(store, &name).await, (None, BindingsRecord::default()));
    let host = columns(&[("host", "192.0.2.77"), ("secret", "s")]);
    run(store, Step::PutPeer { name: name.clone(), columns: host.clone(), replace: true }).await;
    assert_eq!(load(store, &name).await.0, Some(host));
    let at = |address: &str| Step::NamesAt { address: address.parse().unwrap() };
    assert_eq!(run(store, at("192.0.2.77")).await.names().unwrap(), ["written"]);
    let moved = columns(&[("host", "192.0.2.78")]);
    run(store, Step::PutPeer { name: name.clone(), columns: moved, replace: false }).await;
    assert_eq!(run(store, at("192.0.2.77")).await.names().unwrap(), Vec::<String>::new());
    assert_eq!(run(store, at("192.0.2.78")).await.names().unwrap(), ["written"]);
    run(store, Step::DeletePeer { name: name.clone() }).await;
    assert_eq!(load(store, &name).await.0, None);
    assert_eq!(run(store, at("192.0.2.78")).await.names().unwrap(), Vec::<String>::new());
}

async fn columns_stay_that_nobody_named(store: &dyn Store) {
    let name = "kept".to_owned();
    let put = |pairs: &[(&str, &str)], replace| Step::PutPeer {
        name: name.clone(),
        columns: columns(pairs),
        replace,
    };
    run(store, put(&[("secret", "s"), ("x-own", "1")], true)).await;
    run(store, put(&[("secret", "t"), ("host", "dynamic")], false)).await;
    let all = columns(&[("secret", "t"), ("x-own", "1"), ("host", "dynamic")]);
    assert_eq!(load(store, &name).await.0, Some(all));
    run(store, put(&[("host", "")], false)).await;
    assert_eq!(load(store, &name).await.0, Some(columns(&[("secret", "t"), ("x-own", "1")])));
    run(store, put(&[("secret", "u")], true)).await;
    assert_eq!(load(store, &name).await.0, Some(columns(&[("secret", "u")])));
}

async fn touching_never_makes_a_peer(store: &dyn Store) {
    let touch = |name: &str| Step::Touch { name: name.into(), columns: columns(&[("lastms", "7")]) };
    run(store, touch("nobody")).await;
    assert_eq!(load(store, "nobody").await.0, None);
    run(store, touch("kept")).await;
    assert_eq!(load(store, "kept").await.0, Some(columns(&[("secret", "u"), ("lastms", "7")])));
}

async fn names_come_in_order_and_in_pages(store: &dyn Store) {
    for number in 0..40 {
        run(store, Step::Index { name: format!("page{number:02}"), addresses: Vec::new() }).await;
    }
    let listed = |name: &str| Step::Listed { name: name.to_owned() };
    assert_eq!(run(store, listed("page07")).await.names().unwrap(), ["page07"]);
    assert_eq!(run(store, listed("page")).await.names().unwrap(), Vec::<String>::new());
    let mut seen = Vec::new();
    let mut after = Some("page".to_owned());
    loop {
        let page = run(store, Step::Names { after: after.clone(), limit: 7 }).await.names().unwrap();
        let page: Vec<_> = page.into_iter().filter(|name| name.starts_with("page")).collect();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
    }
    assert_eq!(seen, (0..40).map(|number| format!("page{number:02}")).collect::<Vec<_>>());
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

fn claim(number: u64, cseq: u32, life: Duration) -> Step {
    let owner = OwnerRecord { call: call(number), cseq, branch: "z9hG4bK a;b".to_owned() };
    Step::Claim(Box::new(Claim {
        call_id: "c@h".into(),
        from_tag: format!("t{}", life.as_millis()),
        owner,
        life,
    }))
}

async fn a_first_request_has_one_owner(store: &dyn Store) {
    let life = Duration::from_secs(30);
    let (call_id, from_tag) = ("c@h".to_owned(), "t30000".to_owned());
    assert_eq!(run(store, claim(1, 1, life)).await.owner().unwrap(), None);
    let held = OwnerRecord { call: call(1), cseq: 1, branch: "z9hG4bK a;b".to_owned() };
    assert_eq!(run(store, claim(2, 1, life)).await.owner().unwrap(), Some(held.clone()));
    assert_eq!(run(store, claim(1, 1, life)).await.owner().unwrap(), Some(held.clone()));
    let asked = || Step::Owner { call_id: call_id.clone(), from_tag: from_tag.clone() };
    let disown =
        |number| Step::Disown { call_id: call_id.clone(), from_tag: from_tag.clone(), call: call(number) };
    run(store, disown(2)).await;
    assert_eq!(run(store, asked()).await.owner().unwrap(), Some(held));
    run(store, disown(1)).await;
    assert_eq!(run(store, asked()).await.owner().unwrap(), None);
}

async fn a_higher_cseq_takes_a_claim_over(store: &dyn Store) {
    let life = Duration::from_secs(31);
    assert_eq!(run(store, claim(1, 1, life)).await.owner().unwrap(), None);
    assert_eq!(run(store, claim(2, 2, life)).await.owner().unwrap(), None);
    assert_eq!(run(store, claim(1, 1, life)).await.owner().unwrap().map(|held| held.call), Some(call(2)));
}

async fn a_claim_runs_out(store: &dyn Store) {
    let life = Duration::from_millis(40);
    assert_eq!(run(store, claim(1, 1, life)).await.owner().unwrap(), None);
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(run(store, claim(2, 1, life)).await.owner().unwrap(), None);
}

fn occupy(peer: &str, number: u64, by: u64, limit: u32, living: &[u64]) -> Step {
    Step::Occupy(Box::new(Occupy {
        peer: peer.to_owned(),
        call: call(number),
        pod: pod(by),
        limit,
        usage: Usage::Ringing,
        living: living.iter().map(|&number| pod(number)).collect(),
    }))
}

async fn slots_are_limited_and_named_by_their_call(store: &dyn Store) {
    let take = async |number| run(store, occupy("limited", number, 1, 2, &[])).await.occupied().unwrap();
    assert_eq!(take(1).await, (true, 1));
    assert_eq!(take(1).await, (true, 1), "the same call asks again");
    assert_eq!(take(2).await, (true, 2));
    assert_eq!(take(3).await, (false, 2));
    let usage = Step::SetUsage { peer: "limited".into(), call: call(2), usage: Usage::OnHold };
    run(store, usage).await;
    let strange = Step::SetUsage { peer: "limited".into(), call: call(9), usage: Usage::Up };
    run(store, strange).await;
    let slots = run(store, Step::Slots { peer: "limited".into() }).await.slots().unwrap();
    let wanted = [(1, Usage::Ringing), (2, Usage::OnHold)].map(|(number, usage)| Slot {
        call: call(number),
        pod: pod(1),
        usage,
    });
    assert_eq!(slots, wanted);
}

async fn slots_of_dead_pods_do_not_count(store: &dyn Store) {
    let take = async |number, by| run(store, occupy("leases", number, by, 1, &[2])).await.occupied().unwrap();
    assert_eq!(run(store, occupy("leases", 1, 1, 1, &[1, 2])).await.occupied().unwrap(), (true, 1));
    assert_eq!(take(2, 2).await, (true, 1), "pod 1 is dead");
    assert_eq!(take(3, 2).await, (false, 1));
}

async fn releasing_a_call_frees_its_slots_at_all_peers(store: &dyn Store) {
    run(store, occupy("caller", 50, 1, 1, &[])).await;
    run(store, occupy("callee", 50, 1, 1, &[])).await;
    run(store, Step::Release { call: call(50) }).await;
    run(store, Step::Release { call: call(50) }).await;
    for peer in ["caller", "callee"] {
        assert_eq!(run(store, Step::Slots { peer: peer.into() }).await.slots().unwrap(), []);
    }
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

async fn a_checkpoint_is_found_by_each_call_id_until_it_ends(store: &dyn Store) {
    let record = checkpoint(70, 1, 1);
    assert_eq!(run(store, Step::WriteCheckpoint(Box::new(record.clone()))).await, Outcome::Done);
    let of = || Step::CheckpointOf { call: call(70) };
    let by = |call_id: &str| Step::CheckpointByCallId { call_id: call_id.to_owned() };
    for step in [of(), by("a70"), by("b70")] {
        assert_eq!(run(store, step).await.checkpoint().unwrap().as_deref(), Some(&record));
    }
    assert_eq!(run(store, Step::CallsOf { pod: pod(1) }).await.calls().unwrap(), [call(70)]);
    run(store, Step::EndCheckpoint { call: call(70) }).await;
    for step in [of(), by("a70"), by("b70"), by("unknown")] {
        assert_eq!(run(store, step).await.checkpoint().unwrap(), None);
    }
    assert_eq!(run(store, Step::CallsOf { pod: pod(1) }).await.calls().unwrap(), []);
}

async fn an_older_owner_is_fenced(store: &dyn Store) {
    let write =
        async |owner, epoch| run(store, Step::WriteCheckpoint(Box::new(checkpoint(71, owner, epoch)))).await;
    assert_eq!(write(1, 1).await, Outcome::Done);
    assert_eq!(write(1, 1).await, Outcome::Done, "the owner writes again");
    assert_eq!(write(2, 1).await, Outcome::Fenced { epoch: 1 }, "another one needs a new epoch");
    assert_eq!(write(2, 2).await, Outcome::Done);
    assert_eq!(write(1, 1).await, Outcome::Fenced { epoch: 2 });
    assert_eq!(run(store, Step::CallsOf { pod: pod(2) }).await.calls().unwrap(), [call(71)]);
    let stored = run(store, Step::CheckpointOf { call: call(71) }).await.checkpoint().unwrap();
    assert_eq!(stored.map(|record| record.owner), Some(pod(2)));
}

pub fn member(number: u64) -> Member {
    Member {
        pod: pod(number),
        name: format!("pod-{number}"),
        role: Role::Signaling,
        grpc: "192.0.2.1:9000".parse().unwrap(),
        started: UnixMillis(1),
        seen: UnixMillis(1),
        draining: false,
        load: 3,
        version: "0.1.0".to_owned(),
    }
}

async fn members_are_stamped_with_the_time_of_the_store(store: &dyn Store) {
    run(store, Step::Beat(Box::new(member(31)))).await;
    run(store, Step::Beat(Box::new(member(32)))).await;
    let (time, members) = run(store, Step::Members).await.members().unwrap();
    let seen = members.iter().find(|member| member.pod == pod(31)).expect("it is there").seen;
    assert!(time.since(seen) < 5_000 && seen.0 > 1_000_000, "{time:?} {seen:?}");
    run(store, Step::Leave { pod: pod(31) }).await;
    let (_, members) = run(store, Step::Members).await.members().unwrap();
    assert!(members.iter().all(|member| member.pod != pod(31)));
    assert!(members.iter().any(|member| member.pod == pod(32) && member.name == "pod-32"));
    run(store, Step::Leave { pod: pod(32) }).await;
}

async fn the_secret_is_made_once(store: &dyn Store) {
    let first = run(store, Step::Secret { candidate: [7; 32] }).await;
    let Outcome::Secret { secret, .. } = first else { panic!() };
    let again = run(store, Step::Secret { candidate: [8; 32] }).await;
    assert_eq!(again, Outcome::Secret { secret, made: false });
}

async fn the_epoch_counts_up_when_its_time_is_over(store: &dyn Store) {
    let ask = async |period, at_least| match run(
        store,
        Step::Epoch { period: Duration::from_millis(period), at_least },
    )
    .await
    {
        Outcome::Epoch { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    };
    let first = ask(60_000, 0).await;
    assert!(first >= 1);
    assert_eq!(ask(60_000, 0).await, first);
    assert_eq!(ask(60_000, first + 3).await, first + 3);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(ask(20, 0).await, first + 4);
    assert_eq!(ask(60_000, first).await, first + 4);
}

async fn notices_are_heard(store: &dyn Store) {
    let mut heard = store.notices();
    let notice = Notice::Prune { by: pod(1), which: PeerSelector::Like("^2".into()) };
    // A listener of Redis may still be on its way.
    for _ in 0..50 {
        run(store, Step::Publish(notice.clone())).await;
        match tokio::time::timeout(Duration::from_millis(100), heard.recv()).await {
            Ok(Ok(Notice::Resumed)) | Err(_) => {}
            Ok(said) => return assert_eq!(said.expect("the stream goes on"), notice),
        }
    }
    panic!("nothing was heard");
}

async fn strange_names_are_names(store: &dyn Store) {
    for name in ["2{0}1", "a b", "*", "ü%00", "x:y", "-", "(", "[", "a\nb"] {
        let put = Step::PutPeer { name: name.into(), columns: columns(&[("secret", name)]), replace: true };
        run(store, put).await;
        bound(store, bind(name, 0, vec![binding("sip:a@h", "192.0.2.200:5060")])).await;
        let (peer, record) = load(store, name).await;
        assert_eq!(peer, Some(columns(&[("secret", name)])), "{name:?}");
        assert_eq!(record.bindings.len(), 1, "{name:?}");
        run(store, Step::DeletePeer { name: name.into() }).await;
        assert_eq!(load(store, name).await, (None, BindingsRecord::default()), "{name:?}");
    }
}

async fn steps_of_one_batch_answer_in_order(store: &dyn Store) {
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
