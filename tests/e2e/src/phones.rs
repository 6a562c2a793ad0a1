//! Phones outside the cluster, in a process of their own that is started there and told what to do, a line of JSON at a time.
//!
//! They are ordinary foreign phones (the testkit's, with transactions and a digest of their own) on real sockets, and behind
//! a NAT each: a packet from an address and port that the socket never sent to is dropped and counted.

mod audio;
mod line;
pub mod words;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use line::Line;
use words::{Answer, Ask, Reply, Request};

/// Serves standard input until it ends.
pub async fn serve() -> anyhow::Result<()> {
    raise_open_files();
    let lines: Arc<Mutex<HashMap<String, Line>>> = Arc::default();
    let out = Arc::new(Mutex::new(tokio::io::stdout()));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Some(text) = input.next_line().await? {
        let request: Request = serde_json::from_str(&text)?;
        let (lines, out) = (lines.clone(), out.clone());
        tokio::spawn(async move {
            let answer = match answer(&lines, request.ask).await {
                Ok(answer) => answer,
                Err(error) => Answer::Error(format!("{error:#}")),
            };
            let reply = Reply { id: request.id, answer };
            let Ok(mut text) = serde_json::to_string(&reply) else { return };
            text.push('\n');
            let mut out = out.lock().await;
            // When nobody reads any more the process is about to end.
            let _ = out.write_all(text.as_bytes()).await;
            let _ = out.flush().await;
        });
    }
    Ok(())
}

async fn answer(lines: &Mutex<HashMap<String, Line>>, ask: Ask) -> anyhow::Result<Answer> {
    match ask {
        Ask::Add(new) => {
            // A phone that is plugged in again has Call-IDs that nobody has seen.
            let salt = format!("{:x}", std::process::id() as u128 ^ nanoseconds());
            let line = Line::open(&new, &salt).await?;
            lines.lock().await.insert(new.name, line);
            Ok(Answer::Done)
        }
        Ask::HangUpAll => {
            let all: Vec<Line> = lines.lock().await.values().cloned().collect();
            let calls = all.iter().map(|line| line.tell(words::Tell::HangUp));
            // One without a call says so, one without an answer is waited for in vain.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), futures::future::join_all(calls))
                .await;
            Ok(Answer::Done)
        }
        Ask::To { name, tell } => {
            let line = lines.lock().await.get(&name).cloned();
            line.ok_or_else(|| anyhow::anyhow!("there is no phone {name}"))?.tell(tell).await
        }
    }
}

fn nanoseconds() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// Each phone has two sockets. Root may have more than it was given.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let many = Some(65_536);
    if setrlimit(Resource::Nofile, Rlimit { current: many, maximum: limit.maximum.max(many) }).is_err()
        && setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err()
    {
        eprintln!("the limit of open files stays at {:?}", limit.current);
    }
}
