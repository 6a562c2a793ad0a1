//! Watching objects: what is there, what changes, and that it may not be watched or does not exist.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// How long one watch lasts; a connection that died without a word is noticed this much later.
const WATCH_SECONDS: u32 = 60;

/// The longest pause after trouble.
const LONGEST: Duration = Duration::from_secs(5);

/// Trouble that long ago counts no more.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The pause on top after the second refusal in a row: a Role is not made every second.
const REFUSED: Duration = Duration::from_secs(10);

/// Why nothing can be watched now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may not be.
    Forbidden(String),
    /// The API server does not know the kind (or the namespace is not there).
    Missing,
    /// It cannot be reached, or something else that goes over.
    Other(String),
}

impl Trouble {
    fn of(error: &watcher::Error) -> Self {
        use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
        let (code, text) = match error {
            InitialListFailed(cause) | WatchStartFailed(cause) | WatchFailed(cause) => {
                (crate::api::code(cause), crate::api::text(cause))
            }
            watcher::Error::WatchError(status) => (Some(status.code), status.message.clone()),
            other => (None, other.to_string()),
        };
        match code {
            Some(401 | 403) => Trouble::Forbidden(text),
            Some(404) => Trouble::Missing,
            _ => Trouble::Other(text),
        }
    }
}

/// Watches until `stop`; `see` is told everything. Trouble is told each time, and tried again after a pause.
pub async fn watch<K, F>(
    api: Api<K>,
    config: watcher::Config,
    stop: CancellationToken,
    mut see: impl FnMut(Result<watcher::Event<K>, Trouble>) -> F,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    F: Future<Output = ()>,
{
    let stream = watcher(api, config.timeout(WATCH_SECONDS)).backoff(Pauses::default());
    futures::pin_mut!(stream);
    let mut refusals = 0_u32;
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = stop.cancelled() => return,
        };
        match next {
            Some(Ok(event)) => {
                if !matches!(event, watcher::Event::Init) {
                    refusals = 0;
                }
                see(Ok(event)).await;
            }
            Some(Err(error)) => {
                let trouble = Trouble::of(&error);
                let is_refused = matches!(trouble, Trouble::Forbidden(_));
                see(Err(trouble)).await;
                refusals = if is_refused { refusals.saturating_add(1) } else { 0 };
                if refusals > 1 {
                    tokio::select! {
                        () = tokio::time::sleep(REFUSED) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
            None => return,
        }
    }
}

/// Half a second, doubled up to five, give or take a quarter. The stream calls every list that begins a success, also one
/// that is refused right after, so only time takes the pauses back.
#[derive(Debug, Default)]
struct Pauses {
    number: u32,
    last: Option<Instant>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > FORGOTTEN) {
            self.number = 0;
        }
        self.last = Some(Instant::now());
        let pause = Duration::from_millis(500 << self.number.min(4)).min(LONGEST);
        self.number = self.number.saturating_add(1);
        Some(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_whatever_the_stream_calls_a_success() {
        let mut pauses = Pauses::default();
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            last = pauses.next().unwrap();
            pauses.reset();
        }
        assert!(last >= LONGEST.mul_f64(0.75), "{last:?}");
    }
}
