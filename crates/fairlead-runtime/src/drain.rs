//! How a process ends: the first SIGTERM or SIGINT drains, the second ends it at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks get to end once nothing is left to wait for. With this a role without live calls is gone within 5 s.
pub const LAST_WORDS: Duration = Duration::from_secs(4);

/// The two steps of an end. Cheap to clone; every part of a role holds one.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    draining: CancellationToken,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// One that only the program itself can start.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that starts at SIGTERM or SIGINT; another signal after that ends the process with status 130.
    pub fn on_signals() -> std::io::Result<Self> {
        let drain = Self::new();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let started = drain.clone();
        tokio::spawn(async move {
            let name = next(&mut term, &mut int).await;
            tracing::info!(
                signal = name,
                "draining: calls may go on until they end; another signal ends at once"
            );
            started.start();
            let name = next(&mut term, &mut int).await;
            tracing::warn!(signal = name, "ending at once");
            std::process::exit(130);
        });
        Ok(drain)
    }

    /// Begins to drain: no new calls or sessions.
    pub fn start(&self) {
        self.draining.cancel();
    }

    /// Cancelled when draining begins.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Whether draining has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when tasks are to end: after draining, when nothing is left or the time is over.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Runs a task that [`Drain::finish`] waits for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Waits for draining to begin, then until `live` says 0 (at most `grace`), then stops the tasks and gives them
    /// [`LAST_WORDS`]. Returns whether all of them ended.
    pub async fn finish(&self, grace: Duration, live: impl Fn() -> usize) -> bool {
        self.draining.cancelled().await;
        let end = tokio::time::Instant::now() + grace;
        while live() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let left = live();
        if left > 0 {
            tracing::warn!(left, "the grace period is over");
        }
        self.stopping.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(LAST_WORDS, self.tasks.wait()).await.is_ok();
        if !ended {
            tracing::warn!(tasks = self.tasks.len(), "tasks did not end in time");
        }
        ended
    }
}

async fn next(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn without_live_calls_it_ends_as_soon_as_tasks_do() {
        let drain = Drain::new();
        let stop = drain.stopping();
        drain.spawn(async move { stop.cancelled().await });
        drain.start();
        let before = std::time::Instant::now();
        assert!(drain.finish(Duration::from_secs(60), || 0).await);
        assert!(before.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn live_calls_are_waited_for_before_tasks_are_stopped() {
        let drain = Drain::new();
        let live = Arc::new(AtomicUsize::new(1));
        let calls = live.clone();
        let stop = drain.stopping();
        drain.spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!stop.is_cancelled());
            calls.store(0, Ordering::Relaxed);
            stop.cancelled().await;
        });
        drain.start();
        assert!(drain.finish(Duration::from_secs(10), move || live.load(Ordering::Relaxed)).await);
    }
}
