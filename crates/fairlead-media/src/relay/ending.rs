//! Sessions that end by themselves: a side fell silent, or nobody wants them any more.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fairlead_model::relay::{RelayEvent, SessionRef};
use tokio::sync::mpsc;

use super::{Inner, Known};
use crate::worker::Silent;

/// How often sessions are looked through for those that nobody renews.
const SWEEP: Duration = Duration::from_secs(1);

/// Takes note of the sessions that workers end because a side fell silent.
pub(super) async fn end_silent(relay: Weak<Inner>, mut fallen_silent: mpsc::UnboundedReceiver<Silent>) {
    while let Some(Silent { session, side, statistics }) = fallen_silent.recv().await {
        let Some(inner) = relay.upgrade() else { return };
        let known = inner.sessions.lock().get(&session).cloned();
        if let Some(known) = known {
            let mut negotiation = known.negotiation.lock().await;
            if !negotiation.closed {
                negotiation.closed = true;
                inner.forget(session, &known);
                let worker = negotiation.worker.unwrap_or(usize::MAX);
                inner.over(session, worker, statistics.clone(), "silent");
            }
        }
        inner.tell(&RelayEvent::TimedOut { session, side, statistics: Box::new(statistics) });
    }
}

/// Ends the sessions that nobody renews.
pub(super) async fn sweep(relay: Weak<Inner>) {
    let mut every = tokio::time::interval(SWEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(inner) = relay.upgrade() else { return };
        let now = Instant::now();
        let abandoned: Vec<(SessionRef, Arc<Known>)> = inner
            .sessions
            .lock()
            .iter()
            .filter(|(_, known)| now.saturating_duration_since(*known.renewed.lock()) >= inner.renew_within)
            .map(|(session, known)| (*session, known.clone()))
            .collect();
        for (session, known) in abandoned {
            match inner.end(session, &known, "abandoned").await {
                Ok(Some(_)) => inner.tell(&RelayEvent::Abandoned { session }),
                Ok(None) => {}
                Err(refused) => tracing::warn!(%refused, "an abandoned session could not be ended yet"),
            }
        }
    }
}
