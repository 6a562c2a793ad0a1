//! The file store conforms, and what it said is kept is there after kill -9.
#![allow(clippy::unwrap_used, clippy::panic)]

mod suite;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fairlead_store::{BindOutcome, FileStore, Step, Store};
use suite::{bind, binding, bound, checkpoint, load, run};

#[tokio::test]
async fn the_file_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    suite::conforms(&FileStore::open(dir.path().join("store.redb")).unwrap()).await;
}

#[tokio::test]
async fn what_was_written_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = FileStore::open(&path).unwrap();
    let put = Step::PutPeer {
        name: "201".into(),
        columns: suite::columns(&[("host", "192.0.2.5")]),
        replace: true,
    };
    run(&store, put).await;
    bound(&store, bind("201", 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await;
    let call = checkpoint(5, 1, 1);
    run(&store, Step::WriteCheckpoint(Box::new(call.clone()))).await;
    let secret = run(&store, Step::Secret { candidate: [3; 32] }).await;
    let before = load(&store, "201").await;
    drop(store);

    let store = reopen(&path);
    assert_eq!(load(&store, "201").await, before);
    let at = Step::NamesAt { address: "192.0.2.5".parse().unwrap() };
    assert_eq!(run(&store, at).await.names().unwrap(), ["201"]);
    let by = Step::CheckpointByCallId { call_id: "b5".into() };
    assert_eq!(run(&store, by).await.checkpoint().unwrap().as_deref(), Some(&call));
    let again = run(&store, Step::Secret { candidate: [4; 32] }).await;
    assert!(matches!((secret, again), (
        fairlead_store::Outcome::Secret { secret: a, made: true },
        fairlead_store::Outcome::Secret { secret: b, made: false },
    ) if a == b));
}

/// The thread of the store before may still be closing the file.
fn reopen(path: &std::path::Path) -> FileStore {
    for _ in 0..100 {
        if let Ok(store) = FileStore::open(path) {
            return store;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    FileStore::open(path).expect("the file is free")
}

const CHILD: &str = "FAIRLEAD_STORE_TEST_CHILD";

/// Not a case of its own: the process that the next case kills. It binds one peer after the other and says each
/// name once it is kept.
#[tokio::test]
async fn child_that_binds_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = FileStore::open(path).unwrap();
    for number in 0..1_000_000 {
        let name = format!("peer{number}");
        let outcome = bound(&store, bind(&name, 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await;
        assert!(matches!(outcome, BindOutcome::Bound { .. }));
        println!("kept {name}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn whatever_was_answered_outlives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_binds_until_it_is_killed", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kept = Vec::new();
    while kept.len() < 60 {
        let line = lines.next().expect("the child goes on").unwrap();
        kept.extend(line.split("kept ").nth(1).map(str::to_owned));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    kept.extend(lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("kept ").map(str::to_owned)));

    let store = reopen(&path);
    for name in &kept {
        assert_eq!(load(&store, name).await.1.bindings.len(), 1, "{name} was answered");
    }
}

#[tokio::test]
async fn many_who_ask_at_once_share_the_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("store.redb")).unwrap();
    let begun = std::time::Instant::now();
    let binds = (0..2_000).map(|number| {
        let name = format!("peer{number}");
        let store = &store;
        async move { bound(store, bind(&name, 0, vec![binding("sip:a@h", "192.0.2.5:5060")])).await }
    });
    let outcomes = futures::future::join_all(binds).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, BindOutcome::Bound { .. })));
    // One commit each would take seconds on any disk that keeps its word.
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(store.is_present());
}
