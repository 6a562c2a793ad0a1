//! Peers, those of the operator role among them.

use fairlead_model::provision::{Mark, Provision, Provisioned, Withdrawn};
use fairlead_store::*;

use super::{bind, binding, bound, columns, load, run};

/// All cases.
pub async fn conform(store: &dyn Store) {
    peers_are_written_found_and_removed(store).await;
    columns_stay_that_nobody_named(store).await;
    touching_never_makes_a_peer(store).await;
    names_come_in_order_and_in_pages(store).await;
    a_marked_peer_is_written_once_and_keeps_what_sip_wrote(store).await;
    what_others_changed_in_a_marked_peer_is_put_right_and_named(store).await;
    a_name_that_is_somebody_elses_is_not_taken(store).await;
    marked_peers_are_listed_and_removed_by_their_uid(store).await;
    strange_names_are_names(store).await;
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
        run(store, Step::Index { name: format!("page{number:02}"), addresses: Vec::new(), marked: false })
            .await;
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

pub fn provision(name: &str, uid: &str, generation: &str, pairs: &[(&str, &str)]) -> Provision {
    Provision {
        name: name.to_owned(),
        columns: columns(pairs),
        mark: Mark {
            origin: format!("sippeer/sip/{name}"),
            uid: uid.to_owned(),
            generation: generation.to_owned(),
        },
        instead_of: String::new(),
        forget: false,
    }
}

pub async fn provisioned(store: &dyn Store, peer: Provision) -> Provisioned {
    run(store, Step::Provision(Box::new(peer))).await.provisioned().unwrap()
}

fn written(put_right: &[&str]) -> Provisioned {
    let put_right = put_right.iter().map(|column| (*column).to_owned()).collect();
    Provisioned::Written { put_right, silent: Vec::new() }
}

async fn a_marked_peer_is_written_once_and_keeps_what_sip_wrote(store: &dyn Store) {
    let one = provision("marked1", "u1", "1", &[("secret", "a"), ("host", "dynamic"), ("context", "x")]);
    assert_eq!(provisioned(store, one.clone()).await, written(&[]));
    let touched = columns(&[("ipaddr", "192.0.2.7"), ("port", "40000"), ("defaultuser", "ann")]);
    run(store, Step::Touch { name: "marked1".into(), columns: touched }).await;
    assert_eq!(provisioned(store, one).await, Provisioned::Unchanged);
    let two = provision("marked1", "u1", "2", &[("secret", "b"), ("host", "dynamic")]);
    assert_eq!(provisioned(store, two).await, written(&[]));
    let row = load(store, "marked1").await.0.unwrap();
    assert_eq!(
        (row["secret"].as_str(), row["ipaddr"].as_str(), row["port"].as_str()),
        ("b", "192.0.2.7", "40000")
    );
    assert_eq!((row.get("context"), row["defaultuser"].as_str()), (None, "ann"));
    assert!(!marked::has_drifted(&row));
    let fixed = provision("marked1", "u1", "3", &[("host", "192.0.2.60"), ("port", "5080")]);
    assert_eq!(provisioned(store, fixed).await, written(&[]));
    assert_eq!(load(store, "marked1").await.0.unwrap()["port"], "5080", "configured now");
    let at = Step::NamesAt { address: "192.0.2.60".parse().unwrap() };
    assert_eq!(run(store, at).await.names().unwrap(), ["marked1"]);
}

async fn what_others_changed_in_a_marked_peer_is_put_right_and_named(store: &dyn Store) {
    let one = provision("marked2", "u2", "1", &[("secret", "a"), ("context", "x")]);
    provisioned(store, one.clone()).await;
    let changed = columns(&[("secret", "mine"), ("colour", "red")]);
    let put = Step::PutPeer { name: "marked2".into(), columns: changed, replace: false };
    run(store, put).await;
    assert!(marked::has_drifted(&load(store, "marked2").await.0.unwrap()));
    assert_eq!(provisioned(store, one.clone()).await, written(&["colour", "secret"]));
    assert_eq!(provisioned(store, one).await, Provisioned::Unchanged);
    assert!(!marked::has_drifted(&load(store, "marked2").await.0.unwrap()));
}

async fn a_name_that_is_somebody_elses_is_not_taken(store: &dyn Store) {
    let put = Step::PutPeer { name: "hand".into(), columns: columns(&[("secret", "s")]), replace: true };
    run(store, put).await;
    let by_hand = provision("hand", "u3", "1", &[("secret", "t")]);
    assert_eq!(provisioned(store, by_hand).await, Provisioned::Taken(None));
    assert_eq!(load(store, "hand").await.0.unwrap()["secret"], "s");
    let first = provision("claimed", "u4", "1", &[("secret", "s")]);
    provisioned(store, first.clone()).await;
    let other = provision("claimed", "u5", "1", &[("secret", "t")]);
    assert_eq!(provisioned(store, other.clone()).await, Provisioned::Taken(Some(first.mark)));
    let heir = Provision { instead_of: "u4".into(), ..other };
    assert_eq!(provisioned(store, heir).await, written(&[]));
    assert_eq!(load(store, "claimed").await.0.unwrap()["secret"], "t");
}

async fn marked_peers_are_listed_and_removed_by_their_uid(store: &dyn Store) {
    for number in 0..5 {
        provisioned(store, provision(&format!("listed{number}"), "u6", "1", &[("secret", "s")])).await;
    }
    bound(store, bind("listed1", 0, vec![binding("sip:l@h", "192.0.2.201:5060")])).await;
    let page = async |after: &str, limit| {
        run(store, Step::Marked { after: Some(after.into()), limit }).await.names().unwrap()
    };
    assert_eq!(page("listed", 2).await, ["listed0", "listed1"]);
    assert_eq!(page("listed1", 2).await, ["listed2", "listed3"]);
    let withdraw = async |name: &str, uid: &str| {
        run(store, Step::Withdraw { name: name.into(), uid: uid.into() }).await.withdrawn().unwrap()
    };
    assert_eq!(withdraw("listed1", "other").await, Withdrawn::NotYours);
    assert_eq!(withdraw("hand", "").await, Withdrawn::NotYours);
    assert_eq!(withdraw("listed1", "u6").await, Withdrawn::Removed);
    assert_eq!(load(store, "listed1").await, (None, BindingsRecord::default()));
    assert_eq!(withdraw("listed1", "u6").await, Withdrawn::Absent);
    assert_eq!(page("listed0", 1).await, ["listed2"]);
    assert!(run(store, Step::Listed { name: "listed1".into() }).await.names().unwrap().is_empty());
    let row = run(store, Step::Row { name: "listed2".into() }).await.row().unwrap().unwrap();
    assert_eq!(marked::mark_of(&row).unwrap().uid, "u6");
    assert_eq!(run(store, Step::Row { name: "listed1".into() }).await.row().unwrap(), None);
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
