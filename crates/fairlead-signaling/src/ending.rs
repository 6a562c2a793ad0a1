//! How the role ends: calls in peace, then phones that only this pod can reach, then calls that were passed on and are not
//! answered yet, then calls that are left with BYE, then what is open, then the links, then the threads. What each step means
//! is the core's; here it is counted out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fairlead_core::Open;
use fairlead_runtime::common::Handles;
use fairlead_runtime::drain::LAST_WORDS;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::news::{News, ShardDoor};

/// How long the last messages of calls that were cut are waited for: the 200 of a BYE that had to be sent three times.
const CUT_LIMIT: Duration = Duration::from_millis(2_300);

/// What everything together may take, so that the threads end within the program's own limit.
const LIMIT: Duration = LAST_WORDS.saturating_sub(Duration::from_millis(500));

/// How long new calls are not heard before the end, so that those that were passed on have their answer and its ACK. Their
/// callers repeat theirs after 0.5, 1.5 and 3.5 s, which should be the first repetition that finds another pod.
const FADE_LIMIT: Duration = Duration::from_millis(2_500);

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// How far one shard is. Written by the shard at the end of each turn once it drains.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    calls: AtomicUsize,
    all: AtomicUsize,
    flows: AtomicUsize,
    passing: AtomicUsize,
    fading: AtomicBool,
    cutting: AtomicBool,
    closing: AtomicBool,
}

impl Progress {
    /// What is open now.
    pub(crate) fn note(&self, open: Open) {
        self.calls.store(open.calls + open.ending, Ordering::Release);
        self.all.store(open.calls + open.ending + open.waiting, Ordering::Release);
    }

    /// Phones that only this pod can reach, at the end of each turn from the start on: the drain asks as soon as it begins.
    pub(crate) fn keeps(&self, flows: usize) {
        self.flows.store(flows, Ordering::Release);
    }

    /// Calls that were passed on and are not settled.
    pub(crate) fn passes(&self, calls: usize) {
        self.passing.store(calls, Ordering::Release);
    }

    /// New calls are left to others; what [`Progress::passes`] says from now on is after that.
    pub(crate) fn fades(&self) {
        self.fading.store(true, Ordering::Release);
    }

    /// Calls are ended; what [`Progress::note`] says from now on is after that.
    pub(crate) fn cuts(&self) {
        self.cutting.store(true, Ordering::Release);
    }

    /// Nothing new is heard.
    pub(crate) fn closes(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn has_no_calls(&self) -> bool {
        self.cutting.load(Ordering::Acquire) && self.calls.load(Ordering::Acquire) == 0
    }

    fn is_done(&self) -> bool {
        self.closing.load(Ordering::Acquire) && self.all.load(Ordering::Acquire) == 0
    }
}

/// How long a pod that drains stays when it has no calls: for phones that only it can reach, and then for calls that were
/// passed on.
#[derive(Debug)]
pub(crate) struct Linger {
    pub(crate) progress: Vec<Arc<Progress>>,
    pub(crate) draining: CancellationToken,
    /// Cancelled when it fades.
    pub(crate) fade: CancellationToken,
    pub(crate) limit: Duration,
    pub(crate) since: OnceLock<Instant>,
    pub(crate) fading_since: OnceLock<Instant>,
}

impl Linger {
    /// Calls of this pod, which are `calls`, and phones that are still waited for; without any, calls that were passed on:
    /// asked for those, it begins to fade.
    pub(crate) fn waits_for(&self, calls: usize) -> usize {
        match calls + self.phones() {
            0 if self.draining.is_cancelled() => self.last_calls(),
            left => left,
        }
    }

    /// Calls that were passed on and are not settled, and shards that still pass some on.
    fn last_calls(&self) -> usize {
        self.fade.cancel();
        if self.fading_since.get_or_init(Instant::now).elapsed() >= FADE_LIMIT {
            return 0;
        }
        let left = |progress: &Arc<Progress>| match progress.fading.load(Ordering::Acquire) {
            true => progress.passing.load(Ordering::Acquire),
            false => 1,
        };
        self.progress.iter().map(left).sum()
    }

    /// Phones that are still waited for.
    fn phones(&self) -> usize {
        if self.draining.is_cancelled() && self.since.get_or_init(Instant::now).elapsed() >= self.limit {
            return 0;
        }
        self.progress.iter().map(|progress| progress.flows.load(Ordering::Acquire)).sum()
    }
}

/// All that ends.
pub(crate) struct Ending {
    pub(crate) doors: Vec<ShardDoor>,
    pub(crate) progress: Vec<Arc<Progress>>,
    pub(crate) handles: Handles,
    /// Cancelled when new calls are left to others.
    pub(crate) fade: CancellationToken,
    /// Stops the links to registrar, relays and other pods: they are needed until the last message has left.
    pub(crate) links: CancellationToken,
    /// Dropped by each thread when it is over.
    pub(crate) ended: Vec<oneshot::Receiver<()>>,
}

impl Ending {
    /// Waits for the drain, and takes the role through it.
    pub(crate) async fn run(self) {
        let (draining, stopping) = (self.handles.drain.draining(), self.handles.drain.stopping());
        tokio::select! {
            () = draining.cancelled() => {
                self.tell(|| News::Drain).await;
                tokio::select! {
                    () = self.fade.cancelled() => {}
                    () = stopping.cancelled() => {}
                }
                self.tell(|| News::Fade).await;
                stopping.cancelled().await;
            }
            () = stopping.cancelled() => {}
        }
        let began = Instant::now();
        self.tell(|| News::EndCalls).await;
        self.wait(Progress::has_no_calls, began + CUT_LIMIT).await;
        self.tell(|| News::Close).await;
        if !self.wait(Progress::is_done, began + LIMIT).await {
            tracing::warn!("not everything that was open came to its end in time");
        }
        self.links.cancel();
        self.tell(|| News::Stop).await;
        for shard in self.ended {
            // Dropped, never sent: its thread is over.
            let _ = shard.await;
        }
    }

    async fn tell(&self, news: impl Fn() -> News) {
        for door in &self.doors {
            door.tell(news()).await;
        }
    }

    async fn wait(&self, done: impl Fn(&Progress) -> bool, until: Instant) -> bool {
        loop {
            if self.progress.iter().all(|progress| done(progress)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linger(shards: usize) -> Linger {
        Linger {
            progress: (0..shards).map(|_| Arc::default()).collect(),
            draining: CancellationToken::new(),
            fade: CancellationToken::new(),
            limit: Duration::from_secs(30),
            since: OnceLock::new(),
            fading_since: OnceLock::new(),
        }
    }

    #[test]
    fn a_draining_pod_lingers_for_its_phones_up_to_its_limit() {
        let mut linger = linger(2);
        linger.progress[0].keeps(2);
        linger.progress[1].keeps(1);
        assert_eq!((linger.phones(), linger.since.get()), (3, None), "its time counts from the drain on");
        linger.draining.cancel();
        assert_eq!(linger.phones(), 3);
        linger.progress[0].keeps(0);
        assert_eq!((linger.phones(), linger.waits_for(0), linger.waits_for(2)), (1, 1, 3));
        assert!(!linger.fade.is_cancelled());
        linger.limit = Duration::ZERO;
        assert_eq!(linger.phones(), 0);
    }

    #[test]
    fn at_last_it_passes_on_no_new_calls_and_waits_for_those_that_it_did_pass_on() {
        let linger = linger(2);
        assert_eq!((linger.waits_for(0), linger.fade.is_cancelled()), (0, false), "nobody ends yet");
        linger.draining.cancel();
        assert_eq!(
            (linger.waits_for(0), linger.fade.is_cancelled()),
            (2, true),
            "shards that have not heard it"
        );
        linger.progress[0].passes(3);
        linger.progress.iter().for_each(|progress| progress.fades());
        assert_eq!(linger.waits_for(0), 3);
        linger.progress[0].passes(0);
        assert_eq!(linger.waits_for(0), 0);
    }

    #[test]
    fn it_waits_for_calls_that_ring_no_longer_than_their_callers_can_be_left_unheard() {
        let mut linger = linger(1);
        linger.draining.cancel();
        linger.progress[0].passes(1);
        linger.progress[0].fades();
        assert_eq!(linger.waits_for(0), 1);
        linger.fading_since = OnceLock::from(Instant::now() - FADE_LIMIT);
        assert_eq!(linger.waits_for(0), 0);
    }
}
