//! Claims, slots and checkpoints.

use std::time::Duration;

use fairlead_model::ask::Usage;
use fairlead_store::*;

use super::{call, checkpoint, pod, run};

/// All cases.
pub async fn conform(store: &dyn Store) {
    a_first_request_has_one_owner(store).await;
    a_higher_cseq_takes_a_claim_over(store).await;
    a_claim_runs_out(store).await;
    slots_are_limited_and_named_by_their_call(store).await;
    slots_of_dead_pods_do_not_count(store).await;
    releasing_a_call_frees_its_slots_at_all_peers(store).await;
    a_checkpoint_is_found_by_each_call_id_until_it_ends(store).await;
    an_older_owner_is_fenced(store).await;
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
