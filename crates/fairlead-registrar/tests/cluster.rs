//! Several registrars on one Redis, and Redis that goes and comes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use bed::*;
use fairlead_model::ask::{Answer, Ask, AskFailed, Usage};
use fairlead_model::id::{CallRef, PodRef, ShardRef};
use fairlead_model::member::Role;
use fairlead_model::operator::{PeerPage, PeerSource, PruneSelector, UnregisterOutcome};
use fairlead_model::peer::Peer;
use fairlead_proto::link::RegistrarPort;
use fairlead_proto::operator::PeersPort;
use fairlead_registrar::Registrar;
use fairlead_store::{MemoryStore, RedisSettings, RedisStore, Step, Store};
use server::Server;
use tokio::sync::mpsc;

const ANN: (&str, &str) = ("201", "198.51.100.7:40000");

async fn redis(server: &Server) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::open(RedisSettings::new(server.url())).unwrap());
    assert!(store.wait_until_present(Duration::from_secs(5)).await);
    store
}

/// Two registrars, each with a store connection of its own and a pod on its stream.
struct Two {
    one: Arc<Registrar>,
    two: Arc<Registrar>,
    a: Pod,
    b: Pod,
    store: Arc<RedisStore>,
}

async fn two(server: &Server, peers: Vec<Peer>) -> Two {
    let (store, other) = (redis(server).await, redis(server).await);
    let (one, two) = (registrar(store.clone(), 900, peers.clone()), registrar(other, 901, peers));
    two.wait_until_ready().await;
    // Notices are heard from when the connection for them is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (a, b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    Two { one, two, a, b, store }
}

async fn row(store: &RedisStore, name: &str) -> fairlead_store::Columns {
    let (row, _) = store.run_one(Step::Load { name: name.into() }).await.unwrap().loaded().unwrap();
    (*row.expect("the row is there")).clone()
}

#[tokio::test]
async fn asked_again_it_acts_once_and_answers_the_same() {
    let server = Server::start();
    let Two { mut a, mut b, one: _one, two: _two, .. } = two(&server, vec![phone("201")]).await;
    let challenge = a.challenge();
    let credentials = answer(&challenge, "201", "pw201", "REGISTER", "sip:lab", 1);
    let request = register(a.flow("198.51.100.7:40000"), "201", 1, Some(credentials));
    let first = a.ask(77, Ask::Register(Box::new(request.clone()))).await;
    let again = b.ask(77, Ask::Register(Box::new(request.clone()))).await;
    let once_more = a.ask(77, Ask::Register(Box::new(request))).await;
    assert_eq!(contacts(&first), contacts(&again));
    assert_eq!(contacts(&first), contacts(&once_more));
}

#[tokio::test]
async fn two_registrars_that_change_one_peer_at_once_lose_nothing() {
    let server = Server::start();
    let peer = Peer { max_contacts: 10, ..phone("201") };
    let Two { mut a, mut b, store, one: _one, two: _two } = two(&server, vec![peer]).await;
    for number in 0..4_u32 {
        let (left, right) =
            (format!("198.51.100.7:{}", 1000 + number), format!("198.51.100.8:{}", 1000 + number));
        let (x, y) = tokio::join!(
            a.registers_as("201", &left, "left", 1 + number),
            b.registers_as("201", &right, "right", 1 + number)
        );
        contacts(&x);
        contacts(&y);
    }
    let (_, record) = store.run_one(Step::Load { name: "201".into() }).await.unwrap().loaded().unwrap();
    let mut calls: Vec<&str> = record.bindings.iter().map(|one| one.call_id.as_str()).collect();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls, ["left", "right"], "{:?}", record.bindings);
}
#[tokio::test]
async fn the_same_invite_at_another_pod_belongs_to_the_first() {
    let server = Server::start();
    let Two { mut a, mut b, one: _one, two: _two, .. } = two(&server, vec![phone("201"), phone("202")]).await;
    a.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    let challenge = a.challenge();
    let credentials = answer(&challenge, "201", "pw201", "INVITE", "sip:202@lab", 1);
    let request = invite(&a, 5, a.flow(ANN.1), "201", "202", Some(credentials.clone()));
    let first = a.ask(1, Ask::Admit(Box::new(request.clone()))).await;
    assert_eq!(targets(&first).len(), 1);
    let copy = invite(&b, 9, b.flow(ANN.1), "201", "202", Some(credentials));
    let answer = b.ask(1, Ask::Admit(Box::new(copy))).await;
    assert_eq!(answer, Ok(Answer::Owned { pod: a.pod, call: request.call }));
    assert_eq!(a.ask(1, Ask::Admit(Box::new(request.clone()))).await, first, "asked again by its owner");
    let owner = || Ask::Owner { call_id: request.call_id.clone(), from_tag: "ft".into() };
    assert_eq!(b.ask(2, owner()).await, Ok(Answer::Owned { pod: a.pod, call: request.call }));
    let disown = Ask::Disown { call_id: request.call_id.clone(), from_tag: "ft".into(), call: request.call };
    a.ask(3, disown).await.unwrap();
    assert_eq!(b.ask(4, owner()).await, Ok(Answer::NotOwned));
}

#[tokio::test]
async fn pods_of_all_registrars_have_the_same_keys_and_know_each_other() {
    let server = Server::start();
    let Two { mut a, mut b, one, two: _two, .. } = two(&server, Vec::new()).await;
    a.idle(Duration::from_millis(1_500)).await;
    b.idle(Duration::from_millis(100)).await;
    assert_eq!(a.briefing.mint_keys, b.briefing.mint_keys);
    assert!(a.briefing.nonce_keys == b.briefing.nonce_keys);
    let members = one.members().await.unwrap();
    let pods: Vec<(Role, u64)> = members.iter().map(|member| (member.role, member.pod.0)).collect();
    let all = [(Role::Signaling, 1), (Role::Signaling, 2), (Role::Registrar, 900), (Role::Registrar, 901)];
    assert_eq!(pods, all);
    assert_eq!(a.briefing.members.len(), 4);
}

#[tokio::test]
async fn a_pod_that_stops_to_beat_is_gone_for_everybody() {
    let server = Server::start();
    let Two { a, b, one: _one, two, .. } = two(&server, Vec::new()).await;
    drop(a);
    until("pod 1 is gone", async || {
        b.beat().await;
        !two.members().await.unwrap().iter().any(|member| member.pod == PodRef(1))
    })
    .await;
    assert!(two.members().await.unwrap().iter().any(|member| member.pod == PodRef(2)));
}

#[tokio::test]
async fn whoever_registers_through_one_is_called_through_the_other() {
    let server = Server::start();
    let Two { mut a, mut b, one: _one, two: _two, .. } = two(&server, vec![phone("201"), phone("202")]).await;
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    assert_eq!(targets(&b.calls(1, ANN, "202").await), ["sip:202@198.51.100.8:40001"]);
}

#[tokio::test]
async fn slots_count_over_all_registrars() {
    let server = Server::start();
    let limited = Peer { call_limit: 1, ..phone("201") };
    let Two { mut a, mut b, one: _one, two, .. } =
        two(&server, vec![limited, phone("202"), phone("203")]).await;
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    contacts(&a.registers("203", "198.51.100.9:40001", 1).await);
    assert_eq!(targets(&a.calls(1, ANN, "202").await).len(), 1);
    assert_eq!(status(&b.calls(2, ANN, "203").await), 480);
    assert_eq!(two.in_use(false, PeerPage::default()).await.unwrap().entries[0].in_use, 1);
}

#[tokio::test]
async fn a_pruned_peer_is_forgotten_by_all_registrars_and_each_gives_a_receipt() {
    let server = Server::start();
    let Two { mut a, mut b, one, two, store } = two(&server, vec![phone("201")]).await;
    for name in ["301", "302", "401"] {
        let key = format!("fairlead:peer:{{{name}}}");
        server.command(&["HSET", &key, "secret", &format!("pw{name}"), "host", "dynamic"]);
    }
    for name in ["301", "302", "401"] {
        contacts(&a.registers(name, &format!("198.51.100.30:40{name}"), 1).await);
    }
    contacts(&b.registers("301", "198.51.100.30:40301", 2).await);
    let shown = one.list_peers(PeerPage { like: Some("^30".into()), ..PeerPage::default() }).await.unwrap();
    let cached: Vec<_> = shown.entries.iter().map(|view| (view.name.as_str(), view.source)).collect();
    assert_eq!(cached, [("301", PeerSource::Cached), ("302", PeerSource::Cached)]);
    server.command(&["HSET", "fairlead:peer:{301}", "secret", "changed"]);
    assert_eq!(contacts(&b.registers("301", "198.51.100.30:40301", 3).await).len(), 1, "as it was cached");

    let first = one.prune(PruneSelector::Like("^30".into())).await.unwrap();
    assert_eq!((first.pruned, first.names), (2, vec!["301".to_owned(), "302".to_owned()]));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = two.prune(PruneSelector::Like("^30".into())).await.unwrap();
    assert!(second.names.contains(&"301".to_owned()), "{second:?}");
    assert_eq!(status(&b.registers("301", "198.51.100.30:40301", 4).await), 403, "read anew");
    assert_eq!(status(&a.registers("301", "198.51.100.30:40301", 5).await), 403);
    let bindings = store.run_one(Step::Load { name: "301".into() }).await.unwrap().loaded().unwrap().1;
    assert_eq!(bindings.bindings.len(), 1, "bindings stay");

    let name = one.prune(PruneSelector::Name("201".into())).await.unwrap();
    assert_eq!((name.pruned, name.is_static), (0, true));
    let all = one.prune(PruneSelector::All).await.unwrap();
    assert!(all.names.contains(&"401".to_owned()));
    assert!(one.prune(PruneSelector::Like("(".into())).await.is_err());
}

#[tokio::test]
async fn the_operator_unregisters_and_the_row_is_blank() {
    let server = Server::start();
    let Two { mut a, one, two, store, b: _b } = two(&server, Vec::new()).await;
    server.command(&["HSET", "fairlead:peer:{301}", "secret", "pw301"]);
    contacts(&a.registers("301", "198.51.100.30:40000", 1).await);
    assert_eq!(row(&store, "301").await["ipaddr"], "198.51.100.30");
    assert_eq!(two.unregister("301").await.unwrap(), UnregisterOutcome::Unregistered);
    assert_eq!(row(&store, "301").await["ipaddr"], "");
    assert_eq!(row(&store, "301").await["regseconds"], "0");
    assert_eq!(one.unregister("301").await.unwrap(), UnregisterOutcome::NotRegistered);
    assert_eq!(one.unregister("nobody").await.unwrap(), UnregisterOutcome::UnknownPeer);
}

#[tokio::test]
async fn a_packet_at_another_pod_moves_the_flow_there_once_in_five_seconds() {
    let server = Server::start();
    let Two { mut a, mut b, one: _one, two: _two, store } = two(&server, vec![phone("202")]).await;
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    let bindings = async || {
        store.run_one(Step::Load { name: "202".into() }).await.unwrap().loaded().unwrap().1.bindings.clone()
    };
    let seen = b.flow("198.51.100.8:40001");
    let there = Ok(Answer::Located(Some(fairlead_model::flow::Hop::Flow(seen))));
    assert_eq!(b.ask(1, Ask::MoveFlow { flow: seen }).await, there);
    let moved = bindings().await.remove(0);
    assert_eq!((moved.flow, moved.generation), (seen, 1));
    let located = b.ask(2, Ask::Locate { peer: "202".into(), key: moved.key.clone() }).await;
    assert_eq!(located, Ok(Answer::Located(Some(fairlead_model::flow::Hop::Flow(seen)))));
    let back = a.flow("198.51.100.8:40001");
    let damped = a.ask(3, Ask::MoveFlow { flow: back }).await;
    assert!(matches!(damped, Ok(Answer::Refused(_))), "to be asked again soon: {damped:?}");
    assert_eq!(bindings().await.remove(0).flow, seen, "damped");
    let stranger = b.flow("203.0.113.77:1");
    assert_eq!(b.ask(4, Ask::MoveFlow { flow: stranger }).await, Ok(Answer::Done));
}

#[tokio::test]
async fn a_source_that_nobody_knew_before_it_registered_moves_its_flow_at_once() {
    let server = Server::start();
    let Two { mut a, mut b, one: _one, two: _two, store } = two(&server, vec![phone("202")]).await;
    let at_b = b.flow("198.51.100.8:40001");
    assert_eq!(b.ask(1, Ask::MoveFlow { flow: at_b }).await, Ok(Answer::Done));
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    // The other registrar hears of it by the store's news.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let there = Ok(Answer::Located(Some(fairlead_model::flow::Hop::Flow(at_b))));
    assert_eq!(b.ask(2, Ask::MoveFlow { flow: at_b }).await, there);
    let record = store.run_one(Step::Load { name: "202".into() }).await.unwrap().loaded().unwrap().1;
    assert_eq!(record.bindings[0].flow, at_b);
}

#[tokio::test]
async fn qualify_is_the_business_of_the_pod_that_has_the_flow() {
    let server = Server::start();
    let watched = |name: &str| Peer { qualify_ms: Some(2000), ..phone(name) };
    let carrier = Peer { qualify_ms: Some(2000), ..trunk("carrier", "203.0.113.9") };
    let Two { mut a, mut b, one, two: _two, .. } = two(&server, vec![watched("202"), carrier]).await;
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    a.idle(Duration::from_millis(1_500)).await;
    assert!(a.requalify > 0, "it is told");
    let list = async |pod: &mut Pod| match pod.ask(5, Ask::QualifyList).await {
        Ok(Answer::QualifyList(list)) => list,
        other => panic!("{other:?}"),
    };
    let (mine, theirs) = (list(&mut a).await, list(&mut b).await);
    let names = |list: &[fairlead_model::ask::QualifyTarget]| {
        list.iter().map(|target| target.peer.clone()).collect::<Vec<_>>()
    };
    assert!(names(&mine).contains(&"202".to_owned()) && !names(&theirs).contains(&"202".to_owned()));
    let both = [names(&mine), names(&theirs)].concat();
    assert_eq!(both.iter().filter(|name| *name == "carrier").count(), 1, "exactly one has it: {both:?}");
    let target = mine.iter().find(|target| target.peer == "202").unwrap();
    let result = fairlead_model::binding::Qualify {
        state: fairlead_model::binding::QualifyState::Ok,
        rtt_ms: 3,
        at: fairlead_model::id::UnixMillis(1),
    };
    let told = Ask::Qualified { peer: "202".into(), key: target.key.clone(), result };
    assert_eq!(a.ask(6, told).await, Ok(Answer::Done));
    let view = one.list_peers(PeerPage::default()).await.unwrap().entries;
    let ben = view.iter().find(|view| view.name == "202").unwrap();
    assert_eq!((ben.qualify.rtt_ms, ben.monitored), (3, true));
}

#[tokio::test]
async fn lists_come_in_order_and_in_pages_and_only_what_matches() {
    let server = Server::start();
    let Two { one, .. } = two(&server, vec![phone("b"), phone("d"), phone("a1")]).await;
    for name in ["c", "a2", "e"] {
        server.command(&["HSET", &format!("fairlead:peer:{{{name}}}"), "secret", "x"]);
    }
    assert!(one.get_peer("c", false).await.unwrap().is_none(), "not loaded, not listed");
    assert_eq!(one.get_peer("c", true).await.unwrap().unwrap().view.source, PeerSource::Cached);
    assert_eq!(one.reindex().await.unwrap(), 3);
    let mut seen = Vec::new();
    let mut page = PeerPage { limit: 2, ..PeerPage::default() };
    loop {
        let found = one.list_peers(page.clone()).await.unwrap();
        seen.extend(found.entries.iter().map(|view| view.name.clone()));
        page.after = seen.last().cloned();
        if !found.more {
            break;
        }
    }
    assert_eq!(seen, ["a1", "a2", "b", "c", "d", "e"]);
    let like = PeerPage { like: Some("^a".into()), ..PeerPage::default() };
    assert_eq!(one.list_peers(like).await.unwrap().entries.len(), 2);
    assert_eq!(one.list_users(PeerPage::default()).await.unwrap().entries.len(), 6);
}

#[tokio::test]
async fn while_redis_is_away_no_pod_of_another_registrar_is_said_to_be_gone() {
    let mut server = Server::start();
    let Two { mut a, b, one, two, store } = two(&server, Vec::new()).await;
    a.idle(Duration::from_millis(1_500)).await;
    assert_eq!(a.briefing.members.len(), 4);
    server.stop();
    until("it is noticed", async || !store.is_present()).await;
    // Longer than leases are.
    for _ in 0..9 {
        b.beat().await;
        a.beat().await;
        a.idle(Duration::from_millis(500)).await;
    }
    // A stream that begins has everybody told who is there.
    let c = Pod::attach(&one, 3).await;
    a.idle(Duration::from_millis(500)).await;
    for briefing in [&a.briefing, &c.briefing] {
        let pods: Vec<u64> = briefing.members.iter().map(|member| member.pod.0).collect();
        assert_eq!(pods, [1, 2, 3, 900, 901]);
    }
    drop(two);
}

#[tokio::test]
async fn without_redis_refreshes_and_calls_go_on_and_everything_comes_back() {
    let mut server = Server::start();
    let limited = Peer { call_limit: 1, ..phone("203") };
    let Two { mut a, one, store, .. } = two(&server, vec![phone("201"), phone("202"), limited]).await;
    server.command(&["HSET", "fairlead:peer:{301}", "secret", "pw301"]);
    contacts(&a.registers("202", "198.51.100.8:40001", 1).await);
    contacts(&a.registers("301", "198.51.100.30:40000", 1).await);
    server.stop();
    until("it is noticed", async || !store.is_present()).await;

    let begun = std::time::Instant::now();
    assert_eq!(
        contacts(&a.registers("202", "198.51.100.8:40001", 2).await).len(),
        1,
        "a refresh is promised"
    );
    let mut waits = std::collections::BTreeSet::new();
    for port in 1_000..1_020 {
        let answer = a.registers("202", &format!("198.51.100.8:4{port:04}"), 100 + port).await;
        let Ok(Answer::Refused(refusal)) = answer else { panic!("{answer:?}") };
        assert_eq!(refusal.status, 503);
        waits.insert(refusal.retry_after.unwrap());
    }
    assert!(waits.len() > 5, "spread: {waits:?}");
    assert_eq!(status(&a.registers("nobody", "198.51.100.8:40001", 1).await), 503);
    assert_eq!(targets(&a.calls(1, ANN, "202").await).len(), 1, "cached peers call each other");
    let replay = a.challenge();
    let credentials = answer(&replay, "201", "pw201", "INVITE", "sip:301@lab", 1);
    let mut request = invite(&a, 2, a.flow(ANN.1), "201", "301", Some(credentials));
    assert!(matches!(a.ask(2, Ask::Admit(Box::new(request.clone()))).await, Ok(Answer::Admitted(_))));
    (request.call_id, request.call.number) = ("replayed".into(), 3);
    assert_eq!(a.ask(3, Ask::Admit(Box::new(request.clone()))).await, Ok(Answer::Challenge { stale: true }));
    let call = |number| CallRef { pod: PodRef(1), shard: ShardRef(0), number };
    let slot = call(7);
    assert_eq!(a.ask(4, Ask::Occupy { call: slot, peer: "203".into() }).await, Ok(Answer::Done));
    assert_eq!(status(&a.ask(5, Ask::Occupy { call: call(8), peer: "203".into() }).await), 480);
    a.ask(6, Ask::Usage { call: slot, peer: "203".into(), usage: Usage::Up }).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "nobody waits for Redis: {:?}", begun.elapsed());

    // It comes back with nothing in it.
    server.start_again();
    until("it is back", async || store.is_present()).await;
    until("bindings are written again", async || {
        let load = store.run_one(Step::Load { name: "202".into() }).await.and_then(|out| out.loaded());
        load.is_ok_and(|(_, record)| record.bindings.iter().any(|one| one.cseq == 2))
    })
    .await;
    until("the realtime peer is written again", async || {
        let load = store.run_one(Step::Load { name: "301".into() }).await.and_then(|out| out.loaded());
        load.is_ok_and(|(row, record)| row.is_some() && !record.bindings.is_empty())
    })
    .await;
    assert_eq!(row(&store, "301").await["ipaddr"], "198.51.100.30");
    until("the slot is written again", async || {
        store
            .run_one(Step::Slots { peer: "203".into() })
            .await
            .and_then(|out| out.slots())
            .is_ok_and(|s| s.len() == 1)
    })
    .await;
    assert_eq!(
        a.ask(7, Ask::Admit(Box::new(request))).await,
        Ok(Answer::Challenge { stale: true }),
        "still used"
    );
    assert_eq!(contacts(&a.registers("202", "198.51.100.8:40009", 300).await).len(), 1);
    let shown = one.list_peers(PeerPage::default()).await.unwrap().entries;
    assert!(shown.iter().any(|view| view.name == "301" && view.address.is_some()));
}

#[tokio::test]
async fn a_pod_of_another_role_does_not_take_the_place_of_one_that_is_there() {
    let registrar = registrar(Arc::new(MemoryStore::new()), 1, Vec::new());
    let signaling = Pod::attach(&registrar, 7).await;
    let (_up, from_us) = mpsc::channel(16);
    let relay = registrar.attach(member(7, Role::Media), from_us).await;
    assert_eq!(relay.err(), Some(AskFailed::Unknown));
    let (_up, from_us) = mpsc::channel(16);
    assert!(registrar.attach(member(1, Role::Media), from_us).await.is_err(), "nor that of the registrar");
    // The pod itself may come again.
    drop(signaling);
    Pod::attach(&registrar, 7).await;
}
