//! What each order does to a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TrySendError;
use std::time::Instant;

use fairlead_model::relay::{
    Described, RelayEvent, RelayOrder, RelayRefused, RelayReply, SdpOrder, SessionRef, SessionStatistics,
};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::{ENDED_KEPT, Inner, Known};
use crate::negotiation::{Negotiation, Planned};
use crate::session::{Change, NotChanged, StreamPorts};
use crate::worker::Command;

impl Inner {
    pub(super) async fn carry_out(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        let (name, result) = match order {
            RelayOrder::Offer(order) => ("offer", self.offer(*order).await.map(RelayReply::Described)),
            RelayOrder::Answer(order) => ("answer", self.answer(*order).await.map(RelayReply::Described)),
            RelayOrder::Withdraw(session) => ("withdraw", self.withdraw(session).await),
            RelayOrder::Delete(session) => ("delete", self.delete(session).await),
            RelayOrder::Query(session) => ("query", self.query(session).await.map(RelayReply::Statistics)),
            RelayOrder::Renew(sessions) => ("renew", Ok(self.renew(sessions))),
        };
        self.metrics.ordered(name, result.as_ref().map_or_else(word, |_| "done"));
        result
    }

    async fn offer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        let session = order.session;
        loop {
            let known = self.known_or_new(session)?;
            let mut negotiation = known.negotiation.lock().await;
            if negotiation.closed {
                continue;
            }
            let described = self.offered(order, &mut negotiation).await;
            if negotiation.worker.is_none() {
                // Nothing came of it, so it never was.
                negotiation.closed = true;
                self.forget(session, &known);
            }
            return described;
        }
    }

    async fn offered(
        &self,
        order: SdpOrder,
        negotiation: &mut Negotiation,
    ) -> Result<Described, RelayRefused> {
        let (change, draft) = match negotiation.offer(order, &self.places)? {
            Planned::Again(described) => return Ok(described),
            Planned::Change(change, draft) => (change, draft),
        };
        let ports = match negotiation.worker {
            Some(worker) => self.change(worker, *change).await?,
            None => {
                let (worker, ports) = self.settle(*change).await?;
                negotiation.worker = Some(worker);
                ports
            }
        };
        negotiation.described(self.pod, *draft, &ports)
    }

    async fn answer(&self, order: SdpOrder) -> Result<Described, RelayRefused> {
        let known = self.known(order.session)?;
        let mut negotiation = known.negotiation.lock().await;
        let worker =
            negotiation.worker.filter(|_| !negotiation.closed).ok_or(RelayRefused::UnknownSession)?;
        let (change, draft) = match negotiation.answer(order, &self.places)? {
            Planned::Again(described) => return Ok(described),
            Planned::Change(change, draft) => (change, draft),
        };
        let ports = self.change(worker, *change).await?;
        let described = negotiation.described(self.pod, *draft, &ports)?;
        self.metrics.narrowed.inc_by(described.narrowed.into());
        Ok(described)
    }

    async fn withdraw(&self, session: SessionRef) -> Result<RelayReply, RelayRefused> {
        let known = self.known(session)?;
        let mut negotiation = known.negotiation.lock().await;
        let worker =
            negotiation.worker.filter(|_| !negotiation.closed).ok_or(RelayRefused::UnknownSession)?;
        if let Some(change) = negotiation.withdraw(session) {
            self.change(worker, change).await?;
            negotiation.withdrawn();
        }
        Ok(RelayReply::Done { missing: Vec::new() })
    }

    async fn delete(&self, session: SessionRef) -> Result<RelayReply, RelayRefused> {
        let Ok(known) = self.known(session) else {
            let ended = self.ended.lock().statistics.get(&session).cloned();
            return Ok(match ended {
                Some(statistics) => RelayReply::Statistics(statistics),
                None => RelayReply::Done { missing: vec![session] },
            });
        };
        match self.end(session, &known, "deleted").await? {
            Some(statistics) => Ok(RelayReply::Statistics(statistics)),
            None => Ok(RelayReply::Done { missing: vec![session] }),
        }
    }

    /// Ends a session by our own will.
    pub(super) async fn end(
        &self,
        session: SessionRef,
        known: &Arc<Known>,
        reason: &'static str,
    ) -> Result<Option<SessionStatistics>, RelayRefused> {
        let mut negotiation = known.negotiation.lock().await;
        let Some(worker) = negotiation.worker.filter(|_| !negotiation.closed) else { return Ok(None) };
        // `None`: it has just fallen silent, and its last words are on their way.
        let statistics = self.ask(worker, |reply| Command::Close(session, reply)).await?;
        negotiation.closed = true;
        self.forget(session, known);
        if let Some(statistics) = &statistics {
            self.over(session, worker, statistics.clone(), reason);
        }
        Ok(statistics)
    }

    async fn query(&self, session: SessionRef) -> Result<SessionStatistics, RelayRefused> {
        // To look at a session is not to want it.
        let known = self.sessions.lock().get(&session).cloned().ok_or(RelayRefused::UnknownSession)?;
        let worker = known.negotiation.lock().await.worker.ok_or(RelayRefused::UnknownSession)?;
        self.ask(worker, |reply| Command::Query(session, reply)).await?.ok_or(RelayRefused::UnknownSession)
    }

    fn renew(&self, sessions: Vec<SessionRef>) -> RelayReply {
        let missing = sessions.into_iter().filter(|session| self.known(*session).is_err()).collect();
        RelayReply::Done { missing }
    }

    /// A session that is there. Whoever gives an order for it still wants it.
    fn known(&self, session: SessionRef) -> Result<Arc<Known>, RelayRefused> {
        let known = self.sessions.lock().get(&session).cloned().ok_or(RelayRefused::UnknownSession)?;
        *known.renewed.lock() = Instant::now();
        Ok(known)
    }

    fn known_or_new(&self, session: SessionRef) -> Result<Arc<Known>, RelayRefused> {
        let mut sessions = self.sessions.lock();
        if let Some(known) = sessions.get(&session) {
            *known.renewed.lock() = Instant::now();
            return Ok(known.clone());
        }
        if self.draining.load(Ordering::Acquire) || sessions.len() >= self.max_sessions {
            return Err(RelayRefused::Busy);
        }
        let known =
            Arc::new(Known { renewed: Mutex::new(Instant::now()), negotiation: AsyncMutex::default() });
        sessions.insert(session, known.clone());
        self.metrics.sessions.set(sessions.len().try_into().unwrap_or(i64::MAX));
        Ok(known)
    }

    pub(super) fn forget(&self, session: SessionRef, known: &Arc<Known>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&session).is_some_and(|other| Arc::ptr_eq(other, known)) {
            sessions.remove(&session);
        }
        self.metrics.sessions.set(sessions.len().try_into().unwrap_or(i64::MAX));
    }

    /// A worker has ended a session: its statistics are kept a while.
    pub(super) fn over(
        &self,
        session: SessionRef,
        worker: usize,
        statistics: SessionStatistics,
        reason: &'static str,
    ) {
        if let Some(handle) = self.workers.get(worker) {
            handle.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        self.metrics.ended(reason);
        if self.draining.load(Ordering::Acquire) {
            self.metrics.drained("in_peace", 1);
        }
        let mut ended = self.ended.lock();
        if ended.statistics.insert(session, statistics).is_none() {
            ended.order.push_back(session);
        }
        while ended.order.len() > ENDED_KEPT {
            if let Some(oldest) = ended.order.pop_front() {
                ended.statistics.remove(&oldest);
            }
        }
    }

    /// Opens a session at the worker with the fewest, or at another when that one has no port for it.
    async fn settle(&self, change: Change) -> Result<(usize, Vec<StreamPorts>), RelayRefused> {
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        order.sort_by_key(|&at| {
            self.workers.get(at).map_or(0, |worker| worker.sessions.load(Ordering::Relaxed))
        });
        let mut refused = RelayRefused::NoPort;
        for worker in order {
            match self.change(worker, change.clone()).await {
                Ok(ports) => {
                    if let Some(handle) = self.workers.get(worker) {
                        handle.sessions.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok((worker, ports));
                }
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn change(&self, worker: usize, change: Change) -> Result<Vec<StreamPorts>, RelayRefused> {
        let changed = self.ask(worker, |reply| Command::Change(Box::new(change), reply)).await?;
        changed.map_err(|not| match not {
            NotChanged::NoPort => RelayRefused::NoPort,
            NotChanged::Unknown => RelayRefused::UnknownSession,
        })
    }

    pub(super) async fn ask<T>(
        &self,
        worker: usize,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, RelayRefused> {
        let handle = self.workers.get(worker).ok_or(RelayRefused::Unreachable)?;
        let (reply, replied) = oneshot::channel();
        let commands = handle.commands.as_ref().ok_or(RelayRefused::Unreachable)?;
        commands.try_send(command(reply)).map_err(|failed| match failed {
            TrySendError::Full(_) => RelayRefused::Busy,
            TrySendError::Disconnected(_) => RelayRefused::Unreachable,
        })?;
        handle.wake.wake();
        replied.await.map_err(|_| RelayRefused::Unreachable)
    }

    pub(super) fn tell(&self, event: &RelayEvent) {
        self.watchers.lock().retain(|watcher| match watcher.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            // Its stream ends here, so that it knows that it missed something.
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.metrics.watchers_lost.inc();
                false
            }
        });
    }
}

/// The word of a refusal in metrics.
fn word(refused: &RelayRefused) -> &'static str {
    match refused {
        RelayRefused::NoPort => "no_port",
        RelayRefused::BadDescription(_) => "bad_description",
        RelayRefused::UnknownSession => "unknown_session",
        RelayRefused::Busy => "busy",
        RelayRefused::Unreachable => "unreachable",
    }
}
