//! Peers that the operator role looks after, over several registrars on one Redis.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod marked;
#[path = "../../fairlead-store/tests/server/mod.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use bed::*;
use fairlead_model::operator::PeerPage;
use fairlead_model::provision::{PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::{Finding, Severity, Surroundings, code};
use fairlead_proto::operator::PeersPort;
use fairlead_proto::provisioning::{DiagnosisPort, ProvisioningPort};
use fairlead_registrar::Registrar;
use fairlead_store::{RedisSettings, RedisStore, Step, Store};
use marked::*;
use server::Server;

#[tokio::test]
async fn a_new_secret_counts_at_every_registrar_at_once_and_contacts_stay() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), written());
    contacts(&a.registers("ann", "198.51.100.7:40000", 1).await);
    contacts(&b.registers("ann", "198.51.100.7:40000", 2).await);
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), Provisioned::Unchanged);
    assert_eq!(one.provision(peer("ann", "2", &[("secret", "other")])).await.unwrap(), written());
    assert_eq!(status(&a.registers("ann", "198.51.100.7:40000", 3).await), 403);
    assert_eq!(status(&b.registers("ann", "198.51.100.7:40000", 4).await), 403);
    let found = two.get_peer("ann", true).await.unwrap().unwrap();
    assert_eq!(found.view.contacts.len(), 1, "its contacts stay");
}

#[tokio::test]
async fn a_registrar_that_does_not_answer_is_named() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    drop(two);
    // Its round in between holds it a moment longer.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let outcome = one.provision(peer("ann", "1", &[])).await.unwrap();
    let silent = vec!["registrar-901".to_owned()];
    assert_eq!(outcome, Provisioned::Written { put_right: Vec::new(), silent });
    until("its lease ends", async || one.members().await.unwrap().len() == 1).await;
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), written(), "asked again");
    assert_eq!(one.provision(peer("ann", "1", &[])).await.unwrap(), Provisioned::Unchanged);
}

#[tokio::test]
async fn what_no_peer_can_have_is_refused_and_nothing_is_written() {
    let server = Server::start();
    let (one, _two) = two(&server).await;
    let wrong = [("qualify", "often"), ("colour", "red"), ("ipaddr", "192.0.2.1"), ("secret", "hush")];
    let Provisioned::Invalid(reasons) = one.provision(peer("ann", "1", &wrong)).await.unwrap() else {
        panic!()
    };
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(!reasons.join(" ").contains("hush"));
    assert!(one.get_peer("ann", true).await.unwrap().is_none());
    let nameless = Provision { name: "a\nb".to_owned(), ..peer("x", "1", &[]) };
    assert!(matches!(one.provision(nameless).await.unwrap(), Provisioned::Invalid(_)));
}

#[tokio::test]
async fn names_of_sip_conf_and_of_others_are_taken() {
    let server = Server::start();
    let (one, _two) = two(&server).await;
    server.command(&["HSET", "fairlead:peer:{hand}", "secret", "s"]);
    assert_eq!(one.provision(peer("201", "1", &[])).await.unwrap(), Provisioned::Taken(None));
    assert_eq!(one.provision(peer("hand", "1", &[])).await.unwrap(), Provisioned::Taken(None));
    assert_eq!(one.withdraw("201", "uid-201").await.unwrap(), Withdrawn::NotYours);
    assert_eq!(one.withdraw("hand", "uid-hand").await.unwrap(), Withdrawn::NotYours);
    assert!(one.withdraw("hand", "").await.is_err());
}

#[tokio::test]
async fn whoever_is_withdrawn_is_gone_everywhere() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    for name in ["ann", "ben"] {
        one.provision(peer(name, "1", &[])).await.unwrap();
    }
    contacts(&a.registers("ann", "198.51.100.7:40000", 1).await);
    contacts(&b.registers("ben", "198.51.100.8:40000", 1).await);
    assert_eq!(targets(&b.calls(1, ("ben", "198.51.100.8:40000"), "ann").await).len(), 1);
    assert_eq!(two.withdraw("ann", "uid-ann").await.unwrap(), Withdrawn::Removed);
    assert_eq!(status(&a.registers("ann", "198.51.100.7:40000", 2).await), 403);
    one.provision(peer("cid", "1", &[])).await.unwrap();
    contacts(&a.registers("cid", "198.51.100.9:40000", 1).await);
    assert_eq!(status(&a.calls(2, ("cid", "198.51.100.9:40000"), "ann").await), 404);
    let names = |page: Vec<fairlead_model::provision::Marked>| {
        page.into_iter().map(|marked| marked.name).collect::<Vec<_>>()
    };
    assert_eq!(names(one.list_marked(PeerPage::default()).await.unwrap().entries), ["ben", "cid"]);
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert!(one.get_peer("ann", true).await.unwrap().is_none());
    assert_eq!(server.command(&["EXISTS", "fairlead:bindings:{ann}"]).trim(), ":0");
    assert_eq!(one.withdraw("ann", "uid-ann").await.unwrap(), Withdrawn::Absent);
}

#[tokio::test]
async fn marked_peers_come_in_pages_and_a_lost_index_is_made_anew() {
    let server = Server::start();
    let (one, _two) = two(&server).await;
    for number in 0..5 {
        one.provision(peer(&format!("p{number}"), "7", &[])).await.unwrap();
    }
    for shard in 0..16 {
        server.command(&["DEL", &format!("fairlead:marked:{{{shard:02}}}")]);
    }
    assert!(one.list_marked(PeerPage::default()).await.unwrap().entries.is_empty());
    one.reindex().await.unwrap();
    let page = PeerPage { after: Some("p0".to_owned()), limit: 2, like: None };
    let found = one.list_marked(page).await.unwrap();
    let entries: Vec<_> =
        found.entries.iter().map(|one| (one.name.as_str(), one.mark.generation.as_str())).collect();
    assert_eq!((entries, found.more), (vec![("p1", "7"), ("p2", "7")], true));
}

#[tokio::test]
async fn a_follower_sees_what_other_registrars_do() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    for name in ["ann", "ben"] {
        one.provision(peer(name, "1", &[])).await.unwrap();
    }
    contacts(&a.registers("ann", "198.51.100.7:40000", 1).await);
    let mut news = one.follow().await.unwrap();
    let first = told(&mut news).await;
    let registered: Vec<_> = first.iter().filter(|view| !view.contacts.is_empty()).collect();
    assert_eq!(registered.len(), 1, "{first:?}");
    contacts(&b.registers("ben", "198.51.100.8:40000", 1).await);
    let ben = hear(&mut news, view_of("ben")).await;
    assert_eq!(ben.contacts.len(), 1);
    // A qualify result through the other registrar.
    let list = match b.ask(9, fairlead_model::ask::Ask::QualifyList).await {
        Ok(fairlead_model::ask::Answer::QualifyList(list)) => list,
        other => panic!("{other:?}"),
    };
    let key = list.iter().find(|target| target.peer == "ben").unwrap().key.clone();
    let result = fairlead_model::binding::Qualify {
        state: fairlead_model::binding::QualifyState::Ok,
        rtt_ms: 31,
        at: fairlead_model::id::UnixMillis(1),
    };
    b.ask(10, fairlead_model::ask::Ask::Qualified { peer: "ben".into(), key, result }).await.unwrap();
    assert_eq!(hear(&mut news, view_of("ben")).await.qualify.rtt_ms, 31);
    two.unregister("ann").await.unwrap();
    assert!(hear(&mut news, view_of("ann")).await.contacts.is_empty());
    two.withdraw("ann", "uid-ann").await.unwrap();
    hear(&mut news, |news| (news == PeerNews::Gone("ann".into())).then_some(())).await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_last_word_of_each_peer() {
    let server = Server::start();
    let (one, _two) = two(&server).await;
    let mut a = Pod::attach(&one, 1).await;
    one.provision(peer("ann", "1", &[])).await.unwrap();
    let mut news = one.follow().await.unwrap();
    told(&mut news).await;
    for turn in 0..40_u32 {
        contacts(&a.registers("ann", &format!("198.51.100.7:{}", 41_000 + turn), 1 + turn).await);
    }
    let mut count = 0;
    let last = loop {
        let view = hear(&mut news, view_of("ann")).await;
        count += 1;
        if view.address.as_ref().is_some_and(|address| address.port == 41_039) {
            break view;
        }
    };
    assert_eq!(last.contacts.len(), 1);
    assert!(count < 40, "{count} views of 40 changes");
}

#[tokio::test]
async fn a_record_that_somebody_changed_is_told_and_put_right() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    one.provision(peer("ann", "1", &[("context", "phones")])).await.unwrap();
    let mut news = two.follow().await.unwrap();
    told(&mut news).await;
    server.command(&["HSET", "fairlead:peer:{ann}", "context", "default"]);
    hear(&mut news, |news| (news == PeerNews::Changed("ann".into())).then_some(())).await;
    let outcome = two.provision(peer("ann", "1", &[("context", "phones")])).await.unwrap();
    let put_right = vec!["context".to_owned()];
    assert_eq!(outcome, Provisioned::Written { put_right, silent: Vec::new() });
}

#[tokio::test]
async fn surroundings_reach_every_pod_and_outlive_an_empty_redis() {
    let mut server = Server::start();
    let (one, two) = two(&server).await;
    let mut b = Pod::attach(&two, 2).await;
    let before = b.briefing.version;
    let finding = Finding::new(code::SOURCE_HIDDEN, Severity::Warning, "svc", "hidden", "Local");
    let around = Surroundings {
        nodes: vec!["192.0.2.1".parse().unwrap()],
        findings: vec![finding],
        ..Surroundings::default()
    };
    one.set_surroundings(around.clone()).await.unwrap();
    b.idle(Duration::from_millis(600)).await;
    assert_eq!(b.briefing.surroundings, around);
    assert!(b.briefing.version > before);
    let mut said = Vec::new();
    for registrar in [&one, &two] {
        let diagnosis = registrar.diagnose().await.unwrap();
        said.extend(diagnosis.findings.into_iter().filter(|finding| finding.code == code::SOURCE_HIDDEN));
    }
    assert_eq!(said.len(), 1, "one of them says it");

    server.stop();
    assert!(one.set_surroundings(Surroundings::default()).await.is_err(), "not kept");
    let findings = one.diagnose().await.unwrap().findings;
    assert!(findings.iter().any(|finding| finding.code == code::REDIS_AWAY), "{findings:?}");
    server.start_again();
    until("what was said meanwhile is written", async || {
        server.command(&["HGET", "fairlead:surroundings", "json"]).contains("nodes\":[]")
    })
    .await;
    until("the other one has heard of it", async || {
        b.idle(Duration::from_millis(50)).await;
        b.briefing.surroundings == Surroundings::default()
    })
    .await;
    let three = registrar(redis(&server).await, 902, Vec::new());
    three.wait_until_ready().await;
    assert_eq!(Pod::attach(&three, 3).await.briefing.surroundings, Surroundings::default());
}

#[tokio::test]
async fn an_emptied_redis_is_filled_by_all_registrars_and_whoever_follows_is_told() {
    let mut server = Server::start();
    let (one, two) = two(&server).await;
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    for name in ["ann", "ben", "cid"] {
        one.provision(peer(name, "1", &[])).await.unwrap();
    }
    contacts(&a.registers("ann", "198.51.100.7:40000", 1).await);
    contacts(&b.registers("ben", "198.51.100.8:40000", 1).await);
    contacts(&a.registers("201", "198.51.100.9:40000", 1).await);
    let mut news = two.follow().await.unwrap();
    told(&mut news).await;
    // Forgotten by both, so that nobody can write the record of the peer again.
    one.prune(fairlead_model::operator::PruneSelector::Name("ann".into())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.stop();
    let store = redis_later(&server);
    until("it is noticed", async || !one.store_is_present() && !two.store_is_present()).await;
    let (mint, keys) = (a.briefing.mint_keys.clone(), a.briefing.nonce_keys.clone());
    server.start_again();
    hear(&mut news, |news| (news == PeerNews::Emptied).then_some(())).await;
    let bound = async |name: &str| {
        let load = store.run_one(Step::Load { name: name.into() }).await.and_then(|out| out.loaded());
        load.is_ok_and(|(_, record)| record.bindings.len() == 1)
    };
    for name in ["ann", "ben", "201"] {
        until(name, async || bound(name).await).await;
    }
    // The operator role writes peers again; their contacts are there.
    for name in ["ann", "ben", "cid"] {
        one.provision(peer(name, "1", &[])).await.unwrap();
    }
    for name in ["ann", "ben"] {
        let found = two.get_peer(name, true).await.unwrap().unwrap();
        assert_eq!(found.view.contacts.len(), 1, "{name}");
    }
    assert_eq!(one.list_marked(PeerPage::default()).await.unwrap().entries.len(), 3);
    a.idle(Duration::from_millis(1_200)).await;
    assert_eq!(a.briefing.mint_keys, mint, "names of live dialogs are known on");
    assert!(a.briefing.nonce_keys[0] != keys[0], "nonces whose use was lost are not");
    b.idle(Duration::from_millis(100)).await;
    assert_eq!(targets(&b.calls(5, ("ben", "198.51.100.8:40000"), "ann").await).len(), 1);
}

/// How many of these registrars find that peers are awaited.
async fn awaited(registrars: &[&Arc<Registrar>]) -> usize {
    let mut count = 0;
    for registrar in registrars {
        let found = registrar.diagnose().await.unwrap().findings;
        count += found.iter().filter(|finding| finding.code == code::PEERS_AWAITED).count();
    }
    count
}

#[tokio::test]
async fn in_an_emptied_redis_a_peer_that_is_not_written_yet_is_asked_to_come_again() {
    let mut server = Server::start();
    let one = registrar_that_awaits_peers(redis(&server).await, 900, Vec::new());
    let two = registrar_that_awaits_peers(redis(&server).await, 901, Vec::new());
    let (mut a, mut b) = (Pod::attach(&one, 1).await, Pod::attach(&two, 2).await);
    let phone = "198.51.100.7:40000";
    assert_eq!(status(&b.registers("ann", phone, 1).await), 503, "nothing was written yet");
    assert_eq!(awaited(&[&one, &two]).await, 1, "one of them says so");
    one.provision(peer("ann", "1", &[])).await.unwrap();
    one.set_complete(true).await.unwrap();
    contacts(&a.registers("ann", phone, 2).await);
    assert_eq!(status(&b.registers("ben", phone, 1).await), 403, "said to one, it holds for all");
    assert_eq!(awaited(&[&one, &two]).await, 0);

    let mut news = two.follow().await.unwrap();
    told(&mut news).await;
    one.prune(fairlead_model::operator::PruneSelector::All).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.stop();
    until("it is noticed", async || !one.store_is_present() && !two.store_is_present()).await;
    assert_eq!(status(&b.registers("ben", phone, 2).await), 503, "without a store nobody can say");
    server.start_again();
    hear(&mut news, |news| (news == PeerNews::Emptied).then_some(())).await;
    until("the store is back", async || one.store_is_present() && two.store_is_present()).await;
    for pod in [&mut a, &mut b] {
        pod.idle(Duration::from_millis(1_500)).await;
        for user in ["ann", "ben"] {
            assert_eq!(status(&pod.registers(user, phone, 3).await), 503, "{user}");
        }
    }
    one.provision(peer("ann", "1", &[])).await.unwrap();
    contacts(&b.registers("ann", phone, 4).await);
    until("everybody has heard that it was emptied", async || two.set_complete(true).await.is_ok()).await;
    assert_eq!(status(&a.registers("ben", phone, 4).await), 403);
}

fn redis_later(server: &Server) -> Arc<RedisStore> {
    Arc::new(RedisStore::open(RedisSettings::new(server.url())).unwrap())
}

#[tokio::test]
async fn a_registrar_that_starts_with_an_empty_redis_does_not_make_old_names_unknown() {
    let mut server = Server::start();
    let (one, two) = two(&server).await;
    let mut a = Pod::attach(&one, 1).await;
    let before = a.briefing.mint_keys.clone();
    server.stop();
    drop(two);
    server.start_again();
    // Perhaps first, with a secret of its own.
    let three = registrar(redis(&server).await, 902, Vec::new());
    three.wait_until_ready().await;
    let mut c = Pod::attach(&three, 3).await;
    until("both know all keys, and the same first", async || {
        a.idle(Duration::from_millis(50)).await;
        c.idle(Duration::from_millis(50)).await;
        let known = |pod: &Pod| before.iter().all(|key| pod.briefing.mint_keys.contains(key));
        known(&a) && known(&c) && a.briefing.mint_keys[0] == c.briefing.mint_keys[0]
    })
    .await;
}

#[tokio::test]
async fn whoever_leaves_answers_first_and_sends_its_pods_away() {
    let server = Server::start();
    let (one, two) = two(&server).await;
    let mut a = Pod::attach(&one, 1).await;
    contacts(&a.registers("201", "198.51.100.9:40000", 1).await);
    let leaving = Arc::clone(&one);
    let begun = std::time::Instant::now();
    let left = tokio::spawn(async move { leaving.leave().await });
    assert!(a.ends().await, "its stream ends");
    left.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(one.has_left() && !two.has_left());
    until("the other one knows", async || two.members().await.unwrap().iter().all(|one| one.pod.0 != 900))
        .await;
    let mut again = Pod::attach(&two, 3).await;
    assert_eq!(contacts(&again.registers("201", "198.51.100.9:40000", 2).await).len(), 1);
    assert!(Pod::try_attach(&one, 2).await.is_none(), "it takes nobody any more");
}
