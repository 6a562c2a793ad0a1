#![allow(clippy::unwrap_used)]

use super::*;
use fairlead_model::binding::{Binding, BindingKey};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Member, Role};
use fairlead_model::peer::{GeneralFull, Peer};
use fairlead_store::{BindingsRecord, MemoryStore};

use crate::config::RegistrarConfig;

fn follower(followers: &Followers) -> Arc<Follower> {
    let follower = Arc::new(Follower::default());
    followers.list.lock().push(Arc::downgrade(&follower));
    follower
}

#[test]
fn a_peer_that_changed_often_waits_once_with_its_last_word() {
    let followers = Followers::default();
    let one = follower(&followers);
    for _ in 0..3 {
        followers.touch("ann", false);
    }
    followers.touch("ben", false);
    followers.touch("ann", true);
    let taken = one.pending.lock().take();
    assert_eq!(taken, [("ann".to_owned(), true), ("ben".to_owned(), false)]);
    assert!(one.pending.lock().take().is_empty());
}

#[test]
fn whoever_went_is_not_told_any_more() {
    let followers = Followers::default();
    drop(follower(&followers));
    followers.touch("ann", false);
    assert_eq!(followers.count(), 0);
    assert!(followers.list.lock().is_empty());
}

#[test]
fn a_round_trip_is_news_when_it_halved_or_doubled() {
    let followers = Followers::default();
    let at = |rtt_ms, state| Qualify { state, rtt_ms, at: UnixMillis(1) };
    let news = |rtt, state| followers.is_news("ann", "key", at(rtt, state));
    assert!(news(20, QualifyState::Ok));
    assert!(!news(30, QualifyState::Ok));
    assert!(news(40, QualifyState::Ok));
    assert!(news(20, QualifyState::Ok));
    assert!(news(21, QualifyState::Lagged));
    assert!(news(1, QualifyState::Lagged));
    assert!(!news(3, QualifyState::Lagged), "noise");
}

fn binding(uri: String) -> Binding {
    let flow = Flow {
        pod: PodRef(1),
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "198.51.100.7:5060".parse().unwrap(),
        connection: None,
    };
    Binding {
        key: BindingKey(uri.clone()),
        value: format!("<{uri}>"),
        uri,
        q: 1000,
        expires_at: UnixMillis(u64::MAX),
        registered_at: UnixMillis(1),
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "c".to_owned(),
        cseq: 1,
        user_agent: String::new(),
        flow,
        generation: 0,
        moved_at: UnixMillis(0),
        by_flow: true,
        nat: Default::default(),
        qualify: Qualify::default(),
        unknown: Default::default(),
    }
}

fn registrar(peer: &str) -> Arc<Registrar> {
    let address = "127.0.0.1:1".parse().unwrap();
    let me = Member::started(PodRef(1), "one".to_owned(), Role::Registrar, address, UnixMillis(1));
    let general = GeneralFull::default();
    let peers = vec![Peer::named(peer, &general.defaults)];
    let store = Arc::new(MemoryStore::new());
    Registrar::new(store, RegistrarConfig::new(me), general, peers, &mut Default::default())
}

#[tokio::test]
async fn what_was_told_of_former_contacts_of_a_phone_is_forgotten() {
    let registrar = registrar("ann");
    let at = Qualify { state: QualifyState::Ok, rtt_ms: 20, at: UnixMillis(1) };
    let contact = |number: u16| format!("sip:ann@198.51.100.7:{number}");
    for number in 0..1_000 {
        let bindings = vec![binding(contact(number))];
        registrar.locations.put("ann", Arc::new(BindingsRecord { bindings, ..Default::default() }));
        assert!(registrar.followers.is_news("ann", &contact(number), at));
    }
    assert!(registrar.followers.is_news("ann", "", at));
    registrar.sweep_told();
    assert_eq!(registrar.followers.told.len(), 2, "its contact, and its configured address");
    assert!(!registrar.followers.is_news("ann", &contact(999), at));
}
