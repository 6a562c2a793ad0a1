//! Admit: who calls, whom, and who has the call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;

use std::sync::Arc;

use bed::*;
use fairlead_model::ask::{Answer, Ask, Usage};
use fairlead_model::flow::Hop;
use fairlead_model::id::{CallRef, ShardRef};
use fairlead_model::operator::PeerPage;
use fairlead_model::peer::Peer;
use fairlead_proto::operator::PeersPort;
use fairlead_registrar::Registrar;
use fairlead_store::MemoryStore;

async fn lab(peers: Vec<Peer>) -> (Arc<Registrar>, Pod) {
    let registrar = registrar(Arc::new(MemoryStore::new()), 900, peers);
    let pod = Pod::attach(&registrar, 1).await;
    (registrar, pod)
}

const ANN: (&str, &str) = ("201", "198.51.100.7:40000");

#[tokio::test]
async fn a_registered_phone_is_called_by_its_flow() {
    let (_registrar, mut pod) = lab(vec![phone("201"), phone("202")]).await;
    pod.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    let answer = pod.calls(1, ANN, "202").await;
    let Ok(Answer::Admitted(admitted)) = answer else { panic!("{answer:?}") };
    assert_eq!(admitted.caller.peer.as_deref(), Some("201"));
    let [target] = admitted.targets.as_slice() else { panic!("{:?}", admitted.targets) };
    assert_eq!(target.uri, "sip:202@198.51.100.8:40001");
    assert_eq!(target.hop, Hop::Flow(pod.flow("198.51.100.8:40001")));
}

#[tokio::test]
async fn an_unknown_name_is_404_and_one_without_a_contact_480() {
    let (_registrar, mut pod) = lab(vec![phone("201"), phone("202")]).await;
    assert_eq!(status(&pod.calls(1, ANN, "999").await), 404);
    assert_eq!(status(&pod.calls(2, ANN, "202").await), 480);
}

#[tokio::test]
async fn strangers_are_challenged_and_then_forbidden_like_a_wrong_password() {
    let (_registrar, mut pod) = lab(vec![phone("201"), phone("202")]).await;
    let flow = pod.flow("203.0.113.5:5060");
    let request = invite(&pod, 1, flow, "nobody", "202", None);
    assert_eq!(pod.ask(1, Ask::Admit(Box::new(request))).await, Ok(Answer::Challenge { stale: false }));
    let mut answers = Vec::new();
    for user in ["nobody", "201"] {
        let challenge = pod.challenge();
        let credentials = answer(&challenge, user, "wrong", "INVITE", "sip:202@lab", 1);
        let request = invite(&pod, 2, flow, user, "202", Some(credentials));
        answers.push(pod.ask(2, Ask::Admit(Box::new(request))).await);
    }
    assert_eq!(status(&answers[0]), 403);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_trunk_comes_in_from_its_address_without_credentials() {
    let mut carrier = trunk("carrier", "203.0.113.9");
    carrier.secret = Some(fairlead_model::peer::Secret::new("x"));
    carrier.insecure = fairlead_model::peer::Insecure::parse("port,invite").unwrap();
    let (_registrar, mut pod) = lab(vec![carrier, phone("202")]).await;
    pod.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    assert!(
        pod.briefing.trusted.iter().any(|net| net.to_string() == "203.0.113.9/32"),
        "{:?}",
        pod.briefing.trusted
    );
    let request = invite(&pod, 1, pod.flow("203.0.113.9:9999"), "0049", "202", None);
    let answer = pod.ask(1, Ask::Admit(Box::new(request))).await;
    assert_eq!(targets(&answer).len(), 1);
    let request = invite(&pod, 2, pod.flow("203.0.113.10:9999"), "0049", "202", None);
    assert_eq!(pod.ask(2, Ask::Admit(Box::new(request))).await, Ok(Answer::Challenge { stale: false }));
}

#[tokio::test]
async fn a_refused_call_is_nobodys() {
    let (_registrar, mut pod) = lab(vec![phone("201")]).await;
    assert_eq!(status(&pod.calls(1, ANN, "999").await), 404);
    let owner = Ask::Owner { call_id: "call-201-999".into(), from_tag: "ft".into() };
    assert_eq!(pod.ask(2, owner).await, Ok(Answer::NotOwned));
}

#[tokio::test]
async fn a_caller_at_his_limit_is_refused_until_a_call_ends() {
    let (registrar, mut pod) =
        lab(vec![Peer { call_limit: 1, ..phone("201") }, phone("202"), phone("203")]).await;
    pod.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    pod.registers("203", "198.51.100.9:40001", 1).await.unwrap();
    assert_eq!(targets(&pod.calls(1, ANN, "202").await).len(), 1);
    assert_eq!(status(&pod.calls(2, ANN, "203").await), 480);
    let shown = registrar.in_use(false, PeerPage::default()).await.unwrap().entries;
    assert_eq!((shown[0].name.as_str(), shown[0].in_use, shown[0].limit), ("201", 1, Some(1)));
    let call = CallRef { pod: pod.pod, shard: ShardRef(0), number: 1 };
    pod.ask(9, Ask::Release { call }).await.unwrap();
    assert_eq!(targets(&pod.calls(3, ANN, "203").await).len(), 1);
}

#[tokio::test]
async fn a_callee_at_his_limit_is_refused() {
    let (registrar, mut pod) = lab(vec![phone("201"), Peer { call_limit: 1, ..phone("202") }]).await;
    pod.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    assert_eq!(targets(&pod.calls(1, ANN, "202").await).len(), 1);
    let call = |number| CallRef { pod: pod.pod, shard: ShardRef(0), number };
    let (first, second) = (call(1), call(2));
    let occupy = |call| Ask::Occupy { call, peer: "202".into() };
    assert_eq!(pod.ask(2, occupy(first)).await, Ok(Answer::Done));
    assert_eq!(status(&pod.ask(3, occupy(second)).await), 480);
    let usage = Ask::Usage { call: first, peer: "202".into(), usage: Usage::OnHold };
    pod.ask(4, usage).await.unwrap();
    let shown = registrar.in_use(true, PeerPage::default()).await.unwrap().entries;
    let ben = shown.iter().find(|view| view.name == "202").unwrap();
    assert_eq!((ben.in_use, ben.ringing, ben.on_hold), (1, 0, 1));
    assert_eq!(shown.len(), 2, "all of them");
}

#[tokio::test]
async fn a_replayed_invite_of_another_call_is_stale() {
    let (_registrar, mut pod) = lab(vec![phone("201"), phone("202")]).await;
    pod.registers("202", "198.51.100.8:40001", 1).await.unwrap();
    let challenge = pod.challenge();
    let credentials = answer(&challenge, "201", "pw201", "INVITE", "sip:202@lab", 1);
    let request = invite(&pod, 1, pod.flow(ANN.1), "201", "202", Some(credentials));
    assert!(matches!(pod.ask(1, Ask::Admit(Box::new(request.clone()))).await, Ok(Answer::Admitted(_))));
    let mut replayed = request;
    (replayed.call_id, replayed.call.number) = ("other".to_owned(), 2);
    assert_eq!(pod.ask(2, Ask::Admit(Box::new(replayed))).await, Ok(Answer::Challenge { stale: true }));
    let owner = Ask::Owner { call_id: "other".into(), from_tag: "ft".into() };
    assert_eq!(pod.ask(3, owner).await, Ok(Answer::NotOwned));
}

#[tokio::test]
async fn a_challenge_is_answered_for_a_trunk_in_one_realm_and_never_for_a_phone() {
    let mut carrier = trunk("carrier", "203.0.113.9");
    carrier.remote_secret = Some(fairlead_model::peer::Secret::new("hush"));
    carrier.default_user = Some("acme".to_owned());
    let (_registrar, mut pod) = lab(vec![carrier, phone("202")]).await;
    let ask = |peer: &str, realm: &str| {
        Ask::AnswerChallenge(Box::new(fairlead_model::ask::ChallengeToAnswer {
            peer: peer.to_owned(),
            challenges: vec![format!("Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"")],
            method: "INVITE".to_owned(),
            uri: "sip:1@203.0.113.9".to_owned(),
            cnonce: "0011223344556677".to_owned(),
            nc: 1,
        }))
    };
    let answered = pod.ask(1, ask("carrier", "theirs")).await;
    let Ok(Answer::ChallengeAnswered { value }) = answered else { panic!("{answered:?}") };
    assert!(value.contains("username=\"acme\"") && !value.contains("hush"), "{value}");
    assert_eq!(status(&pod.ask(2, ask("carrier", "another")).await), 403);
    assert_eq!(status(&pod.ask(3, ask("202", "theirs")).await), 403);
}
