//! Members, keys, what is known of the whole, notices.

use std::time::Duration;

use fairlead_model::id::UnixMillis;
use fairlead_model::member::{Member, Role};
use fairlead_store::*;

use super::{pod, run};

/// All cases.
pub async fn conform(store: &dyn Store) {
    members_are_stamped_with_the_time_of_the_store(store).await;
    the_secret_is_made_once(store).await;
    the_epoch_counts_up_when_its_time_is_over(store).await;
    notices_are_heard(store).await;
    all_secrets_are_known_and_the_incarnation_stays(store).await;
    it_is_complete_when_that_was_said(store).await;
    the_newest_surroundings_stay(store).await;
}

pub fn member(number: u64) -> Member {
    let (name, grpc) = (format!("pod-{number}"), "192.0.2.1:9000".parse().unwrap());
    Member {
        load: 3,
        version: "0.1.0".to_owned(),
        ..Member::started(pod(number), name, Role::Signaling, grpc, UnixMillis(1))
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
            Ok(Ok(Notice::Resumed | Notice::Listening)) | Err(_) => {}
            Ok(said) => return assert_eq!(said.expect("the stream goes on"), notice),
        }
    }
    panic!("nothing was heard");
}

async fn all_secrets_are_known_and_the_incarnation_stays(store: &dyn Store) {
    let secrets = async |known: &[u8]| {
        let known = known.iter().map(|octet| [*octet; 32]).collect();
        match run(store, Step::Secrets { known }).await {
            Outcome::Secrets(all) => all.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(secrets(&[]).await, 0);
    assert_eq!(secrets(&[1]).await, 1);
    assert_eq!(secrets(&[1, 2]).await, 2);
    assert_eq!(secrets(&[]).await, 2);
    assert_eq!(run(store, Step::Incarnation { candidate: 5 }).await, Outcome::Incarnation(5));
    assert_eq!(run(store, Step::Incarnation { candidate: 6 }).await, Outcome::Incarnation(5));
}

async fn it_is_complete_when_that_was_said(store: &dyn Store) {
    let complete = async |say| run(store, Step::Complete { say }).await.complete().unwrap();
    assert!(!complete(None).await, "an empty store is not");
    assert!(!complete(Some(Filled::All(4))).await, "that was another store");
    assert!(complete(Some(Filled::All(5))).await);
    assert!(complete(None).await);
    assert!(!complete(Some(Filled::NotAll)).await);
    assert!(!complete(None).await);
}

async fn the_newest_surroundings_stay(store: &dyn Store) {
    let exchange =
        async |version, text: &str| run(store, Step::Surroundings { version, text: text.to_owned() }).await;
    let said = |version, text: Option<&str>| Outcome::Surroundings { version, text: text.map(str::to_owned) };
    assert_eq!(exchange(0, "").await, said(0, None));
    assert_eq!(exchange(1_764_000_000_005, "{\"five\":5}").await, said(1_764_000_000_005, None));
    assert_eq!(exchange(0, "").await, said(1_764_000_000_005, Some("{\"five\":5}")));
    assert_eq!(exchange(1_764_000_000_004, "old").await, said(1_764_000_000_005, Some("{\"five\":5}")));
    assert_eq!(exchange(1_764_000_000_005, "").await, said(1_764_000_000_005, None));
    assert_eq!(exchange(1_764_000_000_006, "six").await, said(1_764_000_000_006, None));
}
