//! How much a stranger may use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Limits of connections. One value for a pod, shared by its shards.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub total: usize,
    /// Connections from one IP address (one IPv6 /64).
    pub per_ip: usize,
    /// A new connection is closed when its first whole message has not come within this.
    pub first_message: Duration,
    /// One that has begun a message is closed when the rest does not come within this.
    pub rest_of_message: Duration,
    /// One that is silent (no message, no keep-alive) for this long is closed.
    pub idle: Duration,
    /// One that does not take what we send for this long is closed.
    pub slow_reader: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// Messages that wait to be written to one connection. New requests are refused at half of it.
    pub queue: usize,
    /// What a message may be.
    pub message: sip_wire::Limits,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            total: 20_000,
            per_ip: 1_000,
            first_message: Duration::from_secs(30),
            rest_of_message: Duration::from_secs(10),
            // Longer than the hour that phones register for: one that only refreshes keeps its connection.
            idle: Duration::from_secs(4_000),
            slow_reader: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            queue: 256,
            message: sip_wire::Limits::default(),
        }
    }
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// There are too many.
    #[error("too many connections")]
    InAll,
    /// There are too many from this address.
    #[error("too many connections from this address")]
    FromThere,
}

impl TooMany {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            TooMany::InAll => "total",
            TooMany::FromThere => "per_ip",
        }
    }
}

/// Counts connections. Cheap to clone; the lock is taken when a connection comes or goes, never for a message.
#[derive(Clone, Debug)]
pub struct Door {
    limits: Arc<ConnectionLimits>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    from: HashMap<IpAddr, usize>,
}

/// One place taken; given back when dropped.
#[derive(Debug)]
pub struct Place {
    counts: Arc<Mutex<Counts>>,
    from: IpAddr,
}

impl Door {
    /// A door for a pod.
    pub fn new(limits: ConnectionLimits) -> Self {
        Door { limits: Arc::new(limits), counts: Arc::default() }
    }

    /// The limits.
    pub fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.counts.lock().total
    }

    /// Takes a place for a connection from `ip`.
    pub fn enter(&self, ip: IpAddr) -> Result<Place, TooMany> {
        let from = source(ip);
        let mut counts = self.counts.lock();
        if counts.total >= self.limits.total {
            return Err(TooMany::InAll);
        }
        if counts.from.get(&from).is_some_and(|count| *count >= self.limits.per_ip) {
            return Err(TooMany::FromThere);
        }
        counts.total += 1;
        *counts.from.entry(from).or_default() += 1;
        Ok(Place { counts: self.counts.clone(), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.from.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.from.remove(&self.from);
            }
        }
    }
}

/// Whoever has an IPv6 address has the /64 around it.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_in_all_and_given_back() {
        let door = Door::new(ConnectionLimits { total: 3, per_ip: 2, ..ConnectionLimits::default() });
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let first = door.enter(one).unwrap();
        let _second = door.enter(neighbour).unwrap();
        assert_eq!(door.enter(one).unwrap_err(), TooMany::FromThere);
        let _third = door.enter("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(door.enter("192.0.2.2".parse().unwrap()).unwrap_err(), TooMany::InAll);
        drop(first);
        assert_eq!(door.connections(), 2);
        assert!(door.enter(one).is_ok());
    }
}
