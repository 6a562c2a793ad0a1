//! The tests' end of the phones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::oneshot;

use crate::phones::words::{Answer, Ask, Counted, NewPhone, Reply, Request, Tell};
use crate::shell::Shell;

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// All phones; clones speak to the same.
#[derive(Clone)]
pub struct Phones {
    input: Arc<tokio::sync::Mutex<ChildStdin>>,
    pending: Pending,
    next: Arc<AtomicU64>,
    _process: Arc<Child>,
}

impl Phones {
    /// Starts the phones' process on the host outside.
    pub async fn start(shell: &Shell, prefix: &str, same_files: bool) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?.display().to_string();
        let line = if same_files {
            format!("{prefix} {own} phones")
        } else {
            // Another machine: the program is carried there first.
            shell
                .run(&format!("{prefix} sh -c 'cat >/tmp/fairlead-e2e-phones && chmod +x /tmp/fairlead-e2e-phones' <{own}"))
                .await
                .context("the phones could not be carried to the host outside")?;
            format!("{prefix} /tmp/fairlead-e2e-phones phones")
        };
        Self::start_by(shell, &line)
    }

    /// Starts the phones' process by a command line.
    pub fn start_by(shell: &Shell, line: &str) -> anyhow::Result<Self> {
        let mut command = shell.command(&format!("exec {line}"));
        let mut process = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let input = process.stdin.take().context("the phones have no input")?;
        let mut output = BufReader::new(process.stdout.take().context("the phones have no output")?).lines();
        let pending = Pending::default();
        let answers = pending.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let Ok(reply) = serde_json::from_str::<Reply>(&line) else { continue };
                let waiting = answers.lock().ok().and_then(|mut waiting| waiting.remove(&reply.id));
                if let Some(waiting) = waiting {
                    // A test that gave up does not read it.
                    let _ = waiting.send(reply.answer);
                }
            }
            if let Ok(mut waiting) = answers.lock() {
                waiting.clear();
            }
        });
        Ok(Phones {
            input: Arc::new(tokio::sync::Mutex::new(input)),
            pending,
            next: Arc::default(),
            _process: Arc::new(process),
        })
    }

    async fn ask(&self, ask: Ask) -> anyhow::Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.pending.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.insert(id, answer);
        let mut text = serde_json::to_string(&Request { id, ask })?;
        text.push('\n');
        self.input.lock().await.write_all(text.as_bytes()).await.context("the phones' process is gone")?;
        match tokio::time::timeout(Duration::from_secs(200), answered)
            .await
            .context("the phones do not answer")?
        {
            Ok(Answer::Error(error)) => bail!("{error}"),
            Ok(answer) => Ok(answer),
            Err(_) => bail!("the phones' process ended"),
        }
    }

    /// Ends every call.
    pub async fn hang_up_all(&self) -> anyhow::Result<()> {
        self.ask(Ask::HangUpAll).await.map(drop)
    }

    /// Plugs a phone in.
    pub async fn add(&self, name: &str, password: &str, edge: SocketAddr) -> anyhow::Result<Phone> {
        self.plug(name, password, edge, true).await
    }

    /// The same, one that says nothing on its own.
    pub async fn add_quiet(&self, name: &str, password: &str, edge: SocketAddr) -> anyhow::Result<Phone> {
        self.plug(name, password, edge, false).await
    }

    async fn plug(
        &self,
        name: &str,
        password: &str,
        edge: SocketAddr,
        keeps_alive: bool,
    ) -> anyhow::Result<Phone> {
        let new =
            NewPhone { name: name.to_owned(), password: password.to_owned(), edge, ip: None, keeps_alive };
        self.ask(Ask::Add(new)).await?;
        Ok(Phone { phones: self.clone(), name: name.to_owned() })
    }
}

/// One phone.
#[derive(Clone)]
pub struct Phone {
    phones: Phones,
    /// Its SIP name.
    pub name: String,
}

impl Phone {
    /// Tells it something.
    pub async fn tell(&self, tell: Tell) -> anyhow::Result<Answer> {
        let name = self.name.clone();
        let said = format!("{} was told {tell:?}", self.name);
        self.phones.ask(Ask::To { name, tell }).await.context(said)
    }

    /// The status that an order ended with, and how long that took.
    pub async fn status(&self, tell: Tell) -> anyhow::Result<(u16, Duration)> {
        match self.tell(tell).await? {
            Answer::Status { status, ms } => Ok((status, Duration::from_millis(ms))),
            other => bail!("{} answered {other:?}", self.name),
        }
    }

    /// Registers; anything but 200 is an error.
    pub async fn register(&self) -> anyhow::Result<Duration> {
        let (status, took) = self.status(Tell::Register(3600)).await?;
        ensure!(status == 200, "REGISTER of {} was answered {status} after {took:?}", self.name);
        Ok(took)
    }

    /// Calls; anything but 200 is an error.
    pub async fn call(&self, user: &str) -> anyhow::Result<Duration> {
        let (status, took) = self.status(Tell::Call(user.to_owned())).await?;
        ensure!(status == 200, "the call of {} to {user} was answered {status} after {took:?}", self.name);
        Ok(took)
    }

    /// BYE; anything but 200 is an error.
    pub async fn hang_up(&self) -> anyhow::Result<()> {
        let (status, took) = self.status(Tell::HangUp).await?;
        ensure!(status == 200, "BYE of {} was answered {status} after {took:?}", self.name);
        Ok(())
    }

    /// The head of the last response that refused something.
    pub async fn refusal(&self) -> anyhow::Result<String> {
        match self.tell(Tell::Refusal).await? {
            Answer::Head(head) => Ok(head),
            other => bail!("{} answered {other:?}", self.name),
        }
    }

    /// Its figures.
    pub async fn count(&self, chapter: u32) -> anyhow::Result<Counted> {
        match self.tell(Tell::Count(chapter)).await? {
            Answer::Counted(counted) => Ok(counted),
            other => bail!("{} answered {other:?}", self.name),
        }
    }
}
