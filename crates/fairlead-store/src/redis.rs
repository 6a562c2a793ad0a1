//! A store in Redis (or Valkey): a single server, behind Sentinel, or a Cluster.
//!
//! Steps of all who ask at the same time go out as one pipeline; what must be atomic is a script of its own with
//! all its keys under one hash tag. While Redis is away every step fails at once, and a keeper of the
//! connection tries until it is back.

mod encode;
mod errand;
mod examine;
mod keeper;
mod listening;
mod place;
mod read;
mod scripts;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::Value;
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::warn;

use crate::Store;
use crate::error::StoreError;
use crate::health::Health;
use crate::keys;
use crate::memory::NOTICES;
use crate::notice::NoticeStream;
use crate::step::{Outcome, Step};
use encode::encode;
use errand::Errand;
use keeper::{Keeper, Link};
use place::Place;

/// Where Redis is and how long it may take.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/db]`, `redis+sentinel://…@host:port,host:port/master[/db]` or
    /// `redis+cluster://…@host:port,host:port`; each with `rediss` for TLS.
    pub url: String,
    /// Holds the password, when it is not in the address. Read at each connection: until it is there Redis counts as
    /// away.
    pub password_file: Option<PathBuf>,
    /// Holds the certificates (PEM) of who may have signed that of the server; without it the system's are trusted.
    /// Read at each connection.
    pub ca_file: Option<PathBuf>,
    /// How long a batch may take before Redis counts as away.
    pub timeout: Duration,
}

impl RedisSettings {
    /// The usual times for this address.
    pub fn new(url: impl Into<String>) -> Self {
        let (password_file, ca_file) = (None, None);
        RedisSettings { url: url.into(), password_file, ca_file, timeout: Duration::from_millis(800) }
    }
}

/// How many batches may wait to be sent; more are refused.
const WAITING: usize = 8_192;
/// How many batches share one pipeline at most.
const TOGETHER: usize = 256;
/// How many pipelines are on their way at the same time; what comes meanwhile gathers.
const UNDER_WAY: usize = 8;
/// How many keys one page of `SCAN` looks at.
const SCAN_COUNT: usize = 500;

/// A store that several registrars share.
pub struct RedisStore {
    queue: mpsc::Sender<Batch>,
    keeper: Arc<Keeper>,
}

/// One batch of steps, and who waits for it.
struct Batch {
    steps: Vec<Step>,
    done: oneshot::Sender<Vec<Result<Outcome, StoreError>>>,
}

impl RedisStore {
    /// Begins to connect and returns at once; only an address that cannot be understood is an error. Must be
    /// called inside a tokio runtime. It all ends when the store is dropped.
    pub fn open(settings: RedisSettings) -> Result<Self, StoreError> {
        let place = Place::parse(&settings).map_err(StoreError::Refused)?;
        let keeper = Arc::new(Keeper::new(place, settings.timeout, broadcast::channel(NOTICES).0));
        let (queue, batches) = mpsc::channel(WAITING);
        tokio::spawn(keeper::keep_connected(Arc::downgrade(&keeper)));
        tokio::spawn(listening::keep_listening(Arc::downgrade(&keeper)));
        tokio::spawn(send_batches(batches, Arc::clone(&keeper)));
        Ok(RedisStore { queue, keeper })
    }

    /// Waits until Redis has been reached, at most this long.
    pub async fn wait_until_present(&self, at_most: Duration) -> bool {
        tokio::time::timeout(at_most, async {
            while !self.is_present() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .is_ok()
    }
}

#[async_trait::async_trait]
impl Store for RedisStore {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        let count = steps.len();
        // An empty pipeline is an error to the library.
        if count == 0 {
            return Vec::new();
        }
        if !self.is_present() {
            return vec![Err(StoreError::Away); count];
        }
        let (done, results) = oneshot::channel();
        match self.queue.try_send(Batch { steps, done }) {
            Ok(()) => results.await.unwrap_or_else(|_| vec![Err(StoreError::Away); count]),
            Err(mpsc::error::TrySendError::Full(_)) => vec![Err(StoreError::Overloaded); count],
            Err(mpsc::error::TrySendError::Closed(_)) => vec![Err(StoreError::Away); count],
        }
    }

    fn notices(&self) -> NoticeStream {
        self.keeper.notices.subscribe()
    }

    async fn reindex(&self) -> Result<u64, StoreError> {
        let link = self.keeper.link().ok_or(StoreError::Away)?;
        let mut seen = 0;
        let mut cursors = link.first_cursors().await.map_err(away)?;
        while let Some(cursor) = cursors.pop() {
            let (next, found) = link.scan(cursor, "fairlead:peer:*", SCAN_COUNT).await.map_err(away)?;
            cursors.extend(next);
            for key in found {
                let Some(name) = keys::name_of_peer(&key) else {
                    warn!(%key, "a key of a peer whose name cannot be read");
                    continue;
                };
                let peer = match self.run_one(Step::Row { name: name.clone() }).await {
                    Ok(row) => row.row()?,
                    Err(error) if error.passes() => return Err(error),
                    Err(error) => {
                        warn!(%key, %error, "a peer is passed over");
                        continue;
                    }
                };
                let addresses = peer.as_deref().and_then(keys::host_address).into_iter().collect();
                let marked = peer.as_deref().is_some_and(|row| crate::marked::mark_of(row).is_some());
                self.run_one(Step::Index { name, addresses, marked }).await?;
                seen += 1;
            }
        }
        Ok(seen)
    }

    fn keeps_nonces(&self) -> bool {
        true
    }

    async fn health(&self) -> Option<Result<Health, StoreError>> {
        let Some(link) = self.keeper.link() else { return Some(Err(StoreError::Away)) };
        Some(examine::examine(&link).await)
    }

    fn is_present(&self) -> bool {
        self.keeper.present.load(Ordering::Relaxed)
    }
}

fn away(error: redis::RedisError) -> StoreError {
    match error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        true => StoreError::Away,
        false => StoreError::Refused(error.to_string()),
    }
}

/// Takes what has gathered and sends it; several pipelines may be under way.
async fn send_batches(mut batches: mpsc::Receiver<Batch>, keeper: Arc<Keeper>) {
    let mut under_way = FuturesUnordered::new();
    let mut gathered = Vec::new();
    loop {
        tokio::select! {
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            count = batches.recv_many(&mut gathered, TOGETHER), if under_way.len() < UNDER_WAY => {
                if count == 0 {
                    return;
                }
                under_way.push(send(std::mem::take(&mut gathered), Arc::clone(&keeper)));
            }
        }
    }
}

/// Sends the steps of some batches as one pipeline, and hands the results back.
async fn send(batches: Vec<Batch>, keeper: Arc<Keeper>) {
    let errands: Vec<Errand> = batches.iter().flat_map(|batch| batch.steps.iter().map(encode)).collect();
    let mut results = carry_out(&errands, &keeper).await.into_iter();
    for Batch { steps, done } in batches {
        let mine = results.by_ref().take(steps.len()).collect();
        // Whoever asked may have stopped waiting.
        let _ = done.send(mine);
    }
}

async fn carry_out(errands: &[Errand], keeper: &Keeper) -> Vec<Result<Outcome, StoreError>> {
    let Some(link) = keeper.link() else { return vec![Err(StoreError::Away); errands.len()] };
    let mut replies = match first_round(errands, &link, keeper).await {
        Ok(replies) => replies,
        Err(error) => return vec![Err(error); errands.len()],
    };
    // What had to be read first before more could be done: slots of a call, Call-IDs of a record.
    let more: Vec<redis::Cmd> =
        errands.iter().zip(&replies).flat_map(|(errand, values)| errand.follow_up(values)).collect();
    if !more.is_empty() {
        match link.send(&more).await {
            Ok(values) => {
                if let Some(bad) = values.iter().find_map(read::server_error) {
                    warn!(error = %bad, "a follow-up was refused");
                }
            }
            Err(error) => {
                keeper.lost(&error);
                return vec![Err(StoreError::Away); errands.len()];
            }
        }
    }
    let mut results: Vec<_> = errands
        .iter()
        .zip(&mut replies)
        .map(|(errand, values)| errand.read(std::mem::take(values)))
        .collect();
    // A Call-ID led to the name of a call: its record is the second part of the journey.
    let led: Vec<(usize, Errand)> = errands
        .iter()
        .zip(&results)
        .enumerate()
        .filter_map(|(index, (errand, result))| Some((index, errand.leads_to(result)?)))
        .map(|(index, next)| (index, encode(&next)))
        .collect();
    if !led.is_empty() {
        let commands: Vec<redis::Cmd> =
            led.iter().flat_map(|(_, errand)| errand.commands.iter().cloned()).collect();
        let mut values = match link.send(&commands).await {
            Ok(values) => values.into_iter(),
            Err(error) => {
                keeper.lost(&error);
                return vec![Err(StoreError::Away); errands.len()];
            }
        };
        for (index, errand) in led {
            let mine = values.by_ref().take(errand.commands.len()).collect();
            if let Some(result) = results.get_mut(index) {
                *result = errand.read(mine);
            }
        }
    }
    if results.iter().any(|result| matches!(result, Err(StoreError::Away))) {
        keeper.suspect();
    }
    results
}

/// Sends all commands; scripts that the server has forgotten (it was started anew) are loaded and sent again.
async fn first_round(
    errands: &[Errand],
    link: &Link,
    keeper: &Keeper,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let commands: Vec<redis::Cmd> =
        errands.iter().flat_map(|errand| errand.commands.iter().cloned()).collect();
    let failed = |error: redis::RedisError| {
        keeper.lost(&error);
        StoreError::Away
    };
    let mut values = link.send(&commands).await.map_err(failed)?;
    let missing: Vec<usize> = values
        .iter()
        .enumerate()
        .filter(|(_, value)| read::is_no_script(value))
        .map(|(index, _)| index)
        .collect();
    if !missing.is_empty() {
        link.load_scripts().await.map_err(failed)?;
        let again: Vec<_> = missing.iter().filter_map(|&index| commands.get(index).cloned()).collect();
        let replies = link.send(&again).await.map_err(failed)?;
        for (index, reply) in missing.into_iter().zip(replies) {
            if let Some(value) = values.get_mut(index) {
                *value = reply;
            }
        }
    }
    let mut values = values.into_iter();
    Ok(errands.iter().map(|errand| values.by_ref().take(errand.commands.len()).collect()).collect())
}
