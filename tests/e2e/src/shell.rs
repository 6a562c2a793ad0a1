//! Commands as a person would type them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

/// Where commands run, and with what around them.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The project.
    pub root: PathBuf,
    /// What PATH begins with.
    pub path: String,
    /// KUBECONFIG.
    pub kubeconfig: String,
}

impl Shell {
    /// A command line, not started yet.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(&self.root)
            .env("PATH", format!("{}:{}", self.path, std::env::var("PATH").unwrap_or_default()))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What a command line prints; an error with all that it printed when it fails or takes longer than five minutes.
    pub async fn run(&self, line: &str) -> anyhow::Result<String> {
        self.run_within(line, Duration::from_secs(300)).await
    }

    /// The same with another limit.
    pub async fn run_within(&self, line: &str, limit: Duration) -> anyhow::Result<String> {
        let ended = tokio::time::timeout(limit, self.command(line).output()).await;
        let output = ended.with_context(|| format!("`{line}` did not end within {limit:?}"))??;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("`{line}` ended with {}:\n{}{}", output.status, tail(&out), tail(&err));
        }
        Ok(out.into_owned())
    }

    /// What a command line prints to both outputs, and whether it succeeded.
    pub async fn both(&self, line: &str) -> anyhow::Result<(bool, String)> {
        let output = tokio::time::timeout(Duration::from_secs(300), self.command(line).output()).await??;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), text))
    }

    /// Starts a command line that goes on; it ends when what is returned is dropped.
    pub fn start(&self, line: &str) -> anyhow::Result<Child> {
        // `exec`, so that the program itself is what is ended, not a shell before it.
        self.command(&format!("exec {line}"))
            .spawn()
            .with_context(|| format!("`{line}` could not be started"))
    }
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(6_000);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(from..).unwrap_or(text)
}
