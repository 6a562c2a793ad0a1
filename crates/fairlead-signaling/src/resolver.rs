//! Names: looked up by the system, so many at once and no more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairlead_core::output::ResolveRef;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::news::{News, ShardDoor};

/// How long a name may take.
const LIMIT: Duration = Duration::from_secs(4);

/// Looks names up on the runtime that it was made on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    runtime: Handle,
    at_once: Arc<Semaphore>,
}

/// The address, when the host is one.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port))
}

impl Resolver {
    pub(crate) fn new(runtime: Handle, at_once: usize) -> Self {
        Resolver { runtime, at_once: Arc::new(Semaphore::new(at_once)) }
    }

    /// Looks a name up and tells the shard; `false` when too many are being looked up.
    pub(crate) fn look_up(&self, host: String, port: u16, resolve: ResolveRef, door: &ShardDoor) -> bool {
        let Ok(turn) = self.at_once.clone().try_acquire_owned() else { return false };
        let door = door.clone();
        self.runtime.spawn(async move {
            let found = tokio::time::timeout(LIMIT, tokio::net::lookup_host((host.as_str(), port))).await;
            let addresses = match found {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(error)) => {
                    tracing::debug!(host, %error, "a name cannot be looked up");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            drop(turn);
            door.tell(News::Resolved { resolve, addresses }).await;
        });
        true
    }
}
