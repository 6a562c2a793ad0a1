//! Registrations and calls that go on while something happens to the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::outside::Phone;
use crate::phones::words::Tell;

/// What became of all that was asked.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many were asked.
    pub asked: usize,
    /// Answers by status; 408: none came within 32 s.
    pub statuses: BTreeMap<u16, usize>,
    /// The first that were not 200: when, who, what.
    pub failures: Vec<String>,
    /// The longest that one took.
    pub slowest: Duration,
}

impl Outcome {
    fn note(&mut self, what: &str, status: u16, took: Duration, began: Instant) {
        self.asked += 1;
        *self.statuses.entry(status).or_default() += 1;
        self.slowest = self.slowest.max(took);
        if status != 200 && self.failures.len() < 20 {
            let at = began.elapsed().saturating_sub(took).as_secs_f64();
            self.failures
                .push(format!("{what}, begun at {at:.1} s: {status} after {:.1} s", took.as_secs_f64()));
        }
    }

    /// An error when one was not answered 200.
    pub fn all_succeeded(&self, what: &str) -> anyhow::Result<String> {
        let failed = self.asked - self.statuses.get(&200).copied().unwrap_or(0);
        anyhow::ensure!(self.asked > 0, "not one {what} was tried");
        anyhow::ensure!(
            failed == 0,
            "{failed} of {} {what} failed: {:?}\n{}",
            self.asked,
            self.statuses,
            self.failures.join("\n")
        );
        Ok(format!(
            "{} {what}, all answered 200, the slowest after {} ms",
            self.asked,
            self.slowest.as_millis()
        ))
    }
}

/// Something that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
    task: JoinHandle<()>,
}

impl Load {
    /// Each phone registers in turn, so many a second.
    pub fn registrations(phones: Vec<Phone>, per_second: u32) -> Self {
        Self::start(
            phones.into_iter().map(|phone| vec![phone]).collect(),
            per_second,
            |phones, outcome, began| async move {
                let Some(phone) = phones.first() else { return };
                let asked = Instant::now();
                // A phones' process that is gone shows as 0.
                let (status, took) = phone.status(Tell::Register(3600)).await.unwrap_or((0, asked.elapsed()));
                outcome.lock().await.note(&format!("REGISTER of {}", phone.name), status, took, began);
            },
        )
    }

    /// Each pair calls in turn, so many a second, and speaks for a second.
    pub fn calls(pairs: Vec<(Phone, Phone)>, per_second: u32) -> Self {
        Self::start(
            pairs.into_iter().map(|(a, b)| vec![a, b]).collect(),
            per_second,
            |pair, outcome, began| async move {
                let [caller, callee] = pair.as_slice() else { return };
                let asked = Instant::now();
                let call = Tell::Call(callee.name.clone());
                let (status, took) = caller.status(call).await.unwrap_or((0, asked.elapsed()));
                outcome.lock().await.note(
                    &format!("call of {} to {}", caller.name, callee.name),
                    status,
                    took,
                    began,
                );
                if status == 200 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    // Calls in progress are another test's concern.
                    let _ = caller.status(Tell::HangUp).await;
                }
            },
        )
    }

    fn start<F>(
        groups: Vec<Vec<Phone>>,
        per_second: u32,
        act: impl Fn(Arc<Vec<Phone>>, Arc<Mutex<Outcome>>, Instant) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, outcome) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Outcome>>::default());
        let (stopped, noted) = (stop.clone(), outcome.clone());
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
            let groups: Vec<_> =
                groups.into_iter().map(|group| (Arc::new(group), Arc::new(AtomicBool::new(false)))).collect();
            let mut running = tokio::task::JoinSet::new();
            let mut turn = groups.iter().cycle();
            while !stopped.load(Ordering::Relaxed) {
                tick.tick().await;
                // The next that is not under way.
                let free =
                    turn.by_ref().take(groups.len()).find(|(_, busy)| !busy.swap(true, Ordering::Relaxed));
                if let Some((group, busy)) = free {
                    let (busy, act) = (busy.clone(), act(group.clone(), noted.clone(), began));
                    running.spawn(async move {
                        act.await;
                        busy.store(false, Ordering::Relaxed);
                    });
                }
                while running.try_join_next().is_some() {}
            }
            while running.join_next().await.is_some() {}
        });
        Load { stop, outcome, task }
    }

    /// Starts no more, waits for those under way, and says what became of all.
    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in it shows as figures that are missing.
        let _ = self.task.await;
        self.outcome.lock().await.clone()
    }
}
