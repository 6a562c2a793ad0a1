//! Keeps the connection: makes it, notices its end, makes it again; meanwhile everybody is told at once that
//! Redis is away.
//!
//! The connection manager of the library makes callers wait while it connects; here nobody waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::{Notify, broadcast, watch};
use tracing::{debug, info, warn};

use super::place::{Place, Way};
use super::{read, scripts};
use crate::notice::Notice;

/// How often an idle connection is asked whether it lives.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);
/// The first pause between two attempts to connect; it doubles.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The connection and all that must know about it.
pub struct Keeper {
    pub(super) place: Place,
    pub(super) timeout: Duration,
    link: Mutex<Option<Link>>,
    lost: Notify,
    pub(super) present: AtomicBool,
    /// How often the connection was made again.
    pub(super) again: watch::Sender<u64>,
    pub(super) notices: broadcast::Sender<Notice>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum CannotConnect {
    /// What opens the door is not there yet, or is none.
    #[error("{0}")]
    File(String),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A connection. Cheap to clone; many commands are under way on it at once.
#[derive(Clone)]
pub enum Link {
    /// To one server.
    One(MultiplexedConnection),
    /// To the nodes of a Cluster.
    Many(ClusterConnection),
}

impl Keeper {
    pub fn new(place: Place, timeout: Duration, notices: broadcast::Sender<Notice>) -> Self {
        Keeper {
            place,
            timeout,
            link: Mutex::new(None),
            lost: Notify::new(),
            present: AtomicBool::new(false),
            again: watch::Sender::new(0),
            notices,
        }
    }

    /// The connection, when there is one.
    pub fn link(&self) -> Option<Link> {
        self.link.lock().clone()
    }

    /// A batch failed: the connection is given up.
    pub fn lost(&self, error: &RedisError) {
        debug!(%error, "a batch failed");
        self.suspect();
    }

    /// The server answers, but not as a master that serves: the connection is given up.
    pub fn suspect(&self) {
        self.present.store(false, Ordering::Relaxed);
        self.link.lock().take();
        self.lost.notify_one();
    }

    async fn connect(&self) -> Result<Link, CannotConnect> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let link = match &*self.place.open().await.map_err(CannotConnect::File)? {
            Way::Single(client) => {
                Link::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Way::Sentinel(client) => {
                Link::One(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            Way::Cluster(client, _) => {
                let config = redis::cluster::ClusterConfig::new()
                    .set_connection_timeout(self.timeout)
                    .set_response_timeout(self.timeout);
                Link::Many(client.get_async_connection_with_config(config).await?)
            }
        };
        link.ping().await?;
        link.load_scripts().await?;
        link.warn_of_eviction().await;
        Ok(link)
    }
}

/// Connects, watches, connects again, until the store is dropped.
pub async fn keep_connected(keeper: Weak<Keeper>) {
    let mut pause = PAUSE_MIN;
    let mut before = false;
    let mut reason = String::new();
    loop {
        let Some(keeper) = keeper.upgrade() else { return };
        // The library's own time limits do not cover a name that is resolved or a handshake that stalls.
        match tokio::time::timeout(keeper.timeout * 4, keeper.connect()).await {
            Ok(Ok(link)) => {
                *keeper.link.lock() = Some(link);
                keeper.present.store(true, Ordering::Relaxed);
                info!(again = before, "Redis is there");
                if before {
                    keeper.again.send_modify(|times| *times += 1);
                    let _ = keeper.notices.send(Notice::Resumed);
                }
                (before, pause, reason) = (true, PAUSE_MIN, String::new());
                watch(&keeper).await;
                warn!("Redis is away");
            }
            Ok(Err(error)) => reason = said(reason, error.to_string()),
            Err(_) => reason = said(reason, "it does not answer".to_owned()),
        }
        drop(keeper);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says why Redis cannot be reached, unless that was said already.
fn said(before: String, now: String) -> String {
    if before == now {
        debug!(why = now, "Redis still cannot be reached");
    } else {
        warn!(why = now, "Redis cannot be reached");
    }
    now
}

/// Returns when the connection is lost, or does not answer a ping.
async fn watch(keeper: &Arc<Keeper>) {
    loop {
        tokio::select! {
            () = keeper.lost.notified() => {
                if keeper.link().is_none() {
                    return;
                }
            }
            () = tokio::time::sleep(PING_EVERY) => {
                // The task that sends holds one, this one another: with none else the store is gone.
                let Some(link) = keeper.link() else { return };
                if let Err(error) = link.ping().await {
                    keeper.lost(&error);
                    return;
                }
                if Arc::strong_count(keeper) == 1 {
                    return;
                }
            }
        }
    }
}

impl Link {
    /// Sends commands in one go and returns a reply for each, errors of the server among them.
    pub async fn send(&self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        match self {
            Link::One(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                connection.clone().req_packed_commands(&pipeline, 0, commands.len()).await
            }
            // Keys of one batch lie on many nodes, so each command finds its own way; the connections are
            // multiplexed, so those of one node still leave together.
            Link::Many(connection) => {
                let sent = commands.iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { connection.req_packed_command(command).await }.map(reply)
                });
                join_all(sent).await.into_iter().collect()
            }
        }
    }

    async fn ping(&self) -> RedisResult<()> {
        self.send(&[redis::cmd("PING")]).await.map(drop)
    }

    /// Makes the server know our scripts.
    pub async fn load_scripts(&self) -> RedisResult<()> {
        for script in scripts::all() {
            match self {
                Link::One(connection) => script.load_async(&mut connection.clone()).await?,
                Link::Many(connection) => script.load_async(&mut connection.clone()).await?,
            };
        }
        Ok(())
    }

    /// A Redis that may throw keys away loses registrations; whoever runs it should know.
    async fn warn_of_eviction(&self) {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory-policy");
        // The right to ask may be missing; then nothing can be said.
        if let Ok(values) = self.send(&[command]).await
            && let Some(policy) =
                values.into_iter().next().and_then(|value| read::texts(value).pop().flatten())
            && policy != "noeviction"
            && policy != "maxmemory-policy"
        {
            warn!(%policy, "Redis may evict keys: set maxmemory-policy to noeviction");
        }
    }

    /// Where a walk over all keys begins: at each master.
    pub async fn first_cursors(&self) -> RedisResult<Vec<Cursor>> {
        match self {
            Link::One(_) => Ok(vec![Cursor { node: None, at: "0".to_owned() }]),
            Link::Many(connection) => {
                let mut command = redis::cmd("PING");
                command.arg("here");
                let route =
                    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None::<ResponsePolicy>));
                let replies = connection.clone().route_command(command, route).await?;
                let Value::Map(nodes) = replies else { return Ok(Vec::new()) };
                Ok(nodes
                    .into_iter()
                    .filter_map(|(node, _)| read::text(node))
                    .map(|node| Cursor { node: Some(node), at: "0".to_owned() })
                    .collect())
            }
        }
    }

    /// One page of keys like `pattern`, and where to go on.
    pub async fn scan(
        &self,
        cursor: Cursor,
        pattern: &str,
        count: usize,
    ) -> RedisResult<(Option<Cursor>, Vec<String>)> {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor.at).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        let reply = match (self, &cursor.node) {
            (Link::Many(connection), Some(node)) => {
                let (host, port) = node.rsplit_once(':').unwrap_or((node, "6379"));
                let route =
                    RoutingInfo::SingleNode(redis::cluster_routing::SingleNodeRoutingInfo::ByAddress {
                        host: host.to_owned(),
                        port: port.parse().unwrap_or(6379),
                    });
                connection.clone().route_command(command, route).await?
            }
            _ => self.send(&[command]).await?.pop().unwrap_or_default(),
        };
        let (at, keys): (String, Vec<String>) = redis::from_redis_value(reply)?;
        Ok(((at != "0").then_some(Cursor { node: cursor.node, at }), keys))
    }
}

/// A place in a walk over all keys.
pub struct Cursor {
    node: Option<String>,
    at: String,
}

/// An error that the server said is a reply like others: it concerns its own command only.
fn reply(result: RedisResult<Value>) -> RedisResult<Value> {
    match result {
        Err(error) => match redis::ServerError::try_from(error) {
            Ok(said) => Ok(Value::ServerError(said)),
            Err(other) => Err(other),
        },
        ok => ok,
    }
}
