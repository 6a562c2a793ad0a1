//! REGISTER: digest, bindings, repeated questions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;

use std::sync::Arc;

use bed::*;
use fairlead_model::ask::{Answer, Ask, Contacts, Credentials};
use fairlead_model::peer::Peer;
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{MemoryStore, Step, Store};

async fn lab(peers: Vec<Peer>) -> (Arc<MemoryStore>, Arc<fairlead_registrar::Registrar>, Pod) {
    let store = Arc::new(MemoryStore::new());
    let registrar = registrar(store.clone(), 900, peers);
    let pod = Pod::attach(&registrar, 1).await;
    (store, registrar, pod)
}

#[tokio::test]
async fn a_phone_with_the_right_password_is_bound() {
    let (_, _registrar, mut pod) = lab(vec![phone("201")]).await;
    let answer = pod.registers("201", "198.51.100.7:40000", 1).await;
    assert_eq!(contacts(&answer), ["<sip:201@198.51.100.7:40000>"]);
}

#[tokio::test]
async fn without_credentials_it_is_challenged() {
    let (_, _registrar, mut pod) = lab(vec![phone("201")]).await;
    let request = register(pod.flow("198.51.100.7:40000"), "201", 1, None);
    let answer = pod.ask(1, Ask::Register(Box::new(request))).await;
    assert_eq!(answer, Ok(Answer::Challenge { stale: false }));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let static_host = trunk("trunk", "192.0.2.9");
    let (_, _registrar, mut pod) = lab(vec![phone("201"), static_host]).await;
    let mut answers = Vec::new();
    for user in ["201", "nobody", "trunk"] {
        let challenge = pod.challenge();
        let credentials = answer(&challenge, user, "wrong", "REGISTER", "sip:lab", 1);
        let request = register(pod.flow("198.51.100.7:40000"), user, 1, Some(credentials));
        answers.push(pod.ask(1, Ask::Register(Box::new(request))).await);
    }
    assert_eq!(status(&answers[0]), 403);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn until_all_peers_are_written_nobody_is_called_unknown_nor_told_that_a_password_is_wrong() {
    let store = Arc::new(MemoryStore::new());
    let registrar = registrar_that_awaits_peers(store, 900, vec![phone("201"), phone("202")]);
    let mut pod = Pod::attach(&registrar, 1).await;
    let wrongly = async |pod: &mut Pod, user: &str| {
        let credentials = answer(&pod.challenge(), user, "wrong", "REGISTER", "sip:lab", 1);
        let request = register(pod.flow("198.51.100.7:40000"), user, 1, Some(credentials));
        pod.ask(1, Ask::Register(Box::new(request))).await
    };
    for user in ["201", "nobody"] {
        let Ok(Answer::Refused(refusal)) = wrongly(&mut pod, user).await else { panic!("{user}") };
        assert_eq!(refusal.status, 503, "{user}");
        assert!(refusal.retry_after.is_some_and(|seconds| (5..=30).contains(&seconds)), "{refusal:?}");
    }
    let phone = ("201", "198.51.100.7:40000");
    contacts(&pod.registers("201", phone.1, 2).await);
    contacts(&pod.registers("202", "198.51.100.8:40000", 2).await);
    assert_eq!(status(&pod.calls(7, phone, "nobody").await), 503);
    assert_eq!(targets(&pod.calls(8, phone, "202").await).len(), 1, "who is there can be called");

    registrar.set_complete(true).await.unwrap();
    for user in ["201", "nobody"] {
        assert_eq!(status(&wrongly(&mut pod, user).await), 403, "{user}");
    }
    assert_eq!(status(&pod.calls(9, phone, "nobody").await), 404);
    registrar.set_complete(false).await.unwrap();
    assert_eq!(status(&wrongly(&mut pod, "nobody").await), 503);
}

#[tokio::test]
async fn credentials_of_one_user_do_not_register_another() {
    let (_, _registrar, mut pod) = lab(vec![phone("201"), phone("202")]).await;
    let challenge = pod.challenge();
    let credentials = answer(&challenge, "202", "pw202", "REGISTER", "sip:lab", 1);
    let request = register(pod.flow("198.51.100.7:40000"), "201", 1, Some(credentials));
    assert_eq!(status(&pod.ask(1, Ask::Register(Box::new(request))).await), 403);
}

#[tokio::test]
async fn a_used_nonce_count_is_stale_and_the_next_count_is_good() {
    let (_, _registrar, mut pod) = lab(vec![phone("201")]).await;
    let challenge = pod.challenge();
    let mut ask = async |cseq, nc, key| {
        let credentials = answer(&challenge, "201", "pw201", "REGISTER", "sip:lab", nc);
        let request = register(pod.flow("198.51.100.7:40000"), "201", cseq, Some(credentials));
        pod.ask(key, Ask::Register(Box::new(request))).await
    };
    assert!(matches!(ask(1, 1, 1).await, Ok(Answer::Registered(_))));
    assert_eq!(ask(2, 1, 2).await, Ok(Answer::Challenge { stale: true }), "replayed");
    assert!(matches!(ask(3, 2, 3).await, Ok(Answer::Registered(_))));
}

#[tokio::test]
async fn a_forged_nonce_is_challenged_even_with_the_right_password() {
    let (_, _registrar, mut pod) = lab(vec![phone("201")]).await;
    let forged = format!("Digest realm=\"{REALM}\", nonce=\"{}\", qop=\"auth\"", "A".repeat(36));
    let credentials = answer(&forged, "201", "pw201", "REGISTER", "sip:lab", 1);
    let request = register(pod.flow("198.51.100.7:40000"), "201", 1, Some(credentials));
    let answer = pod.ask(1, Ask::Register(Box::new(request))).await;
    assert!(matches!(answer, Ok(Answer::Challenge { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_query_says_what_is_bound_and_star_unbinds_all() {
    let (_, _registrar, mut pod) = lab(vec![Peer { max_contacts: 2, ..phone("201") }]).await;
    pod.registers("201", "198.51.100.7:40000", 1).await.unwrap();
    pod.registers("201", "198.51.100.8:40000", 2).await.unwrap();
    let mut ask = async |contacts, expires, cseq, key| {
        let challenge = pod.challenge();
        let credentials = answer(&challenge, "201", "pw201", "REGISTER", "sip:lab", 1);
        let mut request = register(pod.flow("198.51.100.7:40000"), "201", cseq, Some(credentials));
        (request.contacts, request.expires) = (contacts, expires);
        pod.ask(key, Ask::Register(Box::new(request))).await
    };
    assert_eq!(contacts(&ask(Contacts::Query, None, 3, 3).await).len(), 2);
    assert_eq!(contacts(&ask(Contacts::Star, Some(0), 4, 4).await), Vec::<String>::new());
    assert_eq!(contacts(&ask(Contacts::Query, None, 5, 5).await).len(), 0);
}

#[tokio::test]
async fn a_realtime_peer_registers_and_its_row_says_where_it_is() {
    let (store, _registrar, mut pod) = lab(Vec::new()).await;
    let row = [("secret", "pw301"), ("host", "dynamic"), ("type", "friend")];
    let columns = row.map(|(column, value)| (column.to_owned(), value.to_owned())).into();
    store.run_one(Step::PutPeer { name: "301".into(), columns, replace: true }).await.unwrap();
    assert_eq!(contacts(&pod.registers("301", "198.51.100.9:41000", 1).await).len(), 1);
    let (peer, record) = store.run_one(Step::Load { name: "301".into() }).await.unwrap().loaded().unwrap();
    let row = peer.unwrap();
    assert_eq!((row["ipaddr"].as_str(), row["port"].as_str()), ("198.51.100.9", "41000"));
    assert_eq!(row["fullcontact"], "sip:301@198.51.100.9:41000");
    assert_eq!(row["secret"], "pw301");
    assert_eq!(record.bindings.len(), 1);
}

#[tokio::test]
async fn many_registers_of_one_batch_are_all_answered() {
    let names: Vec<String> = (0..300).map(|number| format!("u{number}")).collect();
    let (_, _registrar, mut pod) = lab(names.iter().map(|name| phone(name)).collect()).await;
    let mut asks = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let challenge = pod.challenge();
        let credentials: Credentials =
            answer(&challenge, name, &format!("pw{name}"), "REGISTER", "sip:lab", 1);
        let flow = pod.flow(&format!("198.51.100.7:{}", 10_000 + number));
        asks.push((number as u128, Ask::Register(Box::new(register(flow, name, 1, Some(credentials))))));
    }
    let answers = pod.ask_all(asks).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::Registered(_)))));
}
