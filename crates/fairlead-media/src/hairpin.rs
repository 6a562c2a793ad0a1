//! Whether a packet to our own advertised address and port comes back to that port: sent from a socket of its own, known
//! by random bits, noticed by the worker that it reaches. Nothing is ever answered, and nothing but these bits is looked
//! for, so that nobody outside can learn or multiply anything by it.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;

/// The most ports that are tried at a time.
pub(crate) const MOST: usize = 64;
/// How long packets may take, and after which part of it they are sent once more.
const WITHIN: Duration = Duration::from_millis(800);
/// How often is looked whether all have come.
const LOOK: Duration = Duration::from_millis(20);

/// The fixed part of a STUN Binding request without attributes (RFC 8489 §5): type, length, magic cookie. What meets it on
/// its way takes it for what it is.
const STUN: [u8; 8] = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
/// Octets of such a request.
const LENGTH: usize = 20;

/// What was sent where, and where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Arrival {
    /// Index into what was aimed at.
    pub aim: u32,
    /// The port of ours that it reached.
    pub port: u16,
}

/// What workers look for.
#[derive(Debug, Default)]
pub(crate) struct Hairpin {
    /// Read for every batch, so it is one flag.
    open: AtomicBool,
    token: Mutex<[u8; 8]>,
    arrived: Mutex<HashSet<Arrival>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Hairpin {
    /// Whether anything is looked for.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// A datagram came to a port. True when it was one of ours: it is no media.
    pub fn notice(&self, port: u16, datagram: &[u8]) -> bool {
        let Some((head, [a, b, c, d])) = datagram.split_at_checked(LENGTH - 4) else { return false };
        let Some((stun, token)) = head.split_at_checked(STUN.len()) else { return false };
        if stun != STUN || token != *self.token.lock() {
            return false;
        }
        let aim = u32::from_be_bytes([*a, *b, *c, *d]);
        let mut arrived = self.arrived.lock();
        // Whoever saw one on its way and sends it on changes nothing beyond this.
        if arrived.len() < 2 * MOST {
            arrived.insert(Arrival { aim, port });
        }
        true
    }

    /// Sends one to each, and says which port each reached. Those that nothing is said of did not come back: what
    /// stands between may not turn packets round.
    pub async fn try_all(&self, aims: &[SocketAddr]) -> Vec<Arrival> {
        let _alone = self.one_at_a_time.lock().await;
        let aims = aims.get(..MOST).unwrap_or(aims);
        *self.token.lock() = rand::random();
        self.arrived.lock().clear();
        let looking = self.look();
        if let Err(failed) = self.send_all(aims).await {
            tracing::debug!(%failed, "our own address cannot be tried");
        }
        drop(looking);
        let mut arrived: Vec<Arrival> = self.arrived.lock().drain().collect();
        arrived.retain(|arrival| (arrival.aim as usize) < aims.len());
        arrived.sort_unstable();
        arrived
    }

    /// Workers look for them until this is dropped, also when nobody waits for the result any more.
    fn look(&self) -> Looking<'_> {
        self.open.store(true, Ordering::Relaxed);
        Looking(self)
    }

    async fn send_all(&self, aims: &[SocketAddr]) -> io::Result<()> {
        let v4 = UdpSocket::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)).await?;
        let v6 = UdpSocket::bind((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)).await.ok();
        for _ in 0..2 {
            for (aim, to) in (0_u32..).zip(aims) {
                let mut request = [0; LENGTH];
                for (place, octet) in request
                    .iter_mut()
                    .zip(STUN.into_iter().chain(*self.token.lock()).chain(aim.to_be_bytes()))
                {
                    *place = octet;
                }
                let socket = if to.is_ipv4() { Some(&v4) } else { v6.as_ref() };
                if let Some(socket) = socket {
                    // One that does not leave does not come back.
                    let _ = socket.send_to(&request, to).await;
                }
            }
            let end = tokio::time::Instant::now() + WITHIN / 2;
            while tokio::time::Instant::now() < end {
                tokio::time::sleep(LOOK).await;
                if self.arrived.lock().len() >= aims.len() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

struct Looking<'a>(&'a Hairpin);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_our_own_bits_is_noticed() {
        let hairpin = Hairpin::default();
        *hairpin.token.lock() = [7; 8];
        let request = |token: [u8; 8], more: &[u8]| [&STUN[..], &token, &[0, 0, 0, 3], more].concat();
        assert!(!hairpin.notice(30_000, &request([8; 8], &[])), "somebody else's");
        assert!(!hairpin.notice(30_000, &request([7; 8], &[0])), "longer");
        assert!(!hairpin.notice(30_000, &[0x80; LENGTH]) && !hairpin.notice(30_000, &[]));
        assert!(hairpin.notice(30_000, &request([7; 8], &[])));
        assert_eq!(hairpin.arrived.lock().drain().collect::<Vec<_>>(), [Arrival { aim: 3, port: 30_000 }]);
    }

    #[tokio::test]
    async fn nothing_is_looked_for_once_nobody_waits_for_it() {
        let hairpin = Hairpin::default();
        let nowhere = ["127.0.0.1:9".parse().unwrap()];
        let tried = tokio::time::timeout(Duration::from_millis(30), hairpin.try_all(&nowhere)).await;
        assert!(tried.is_err() && !hairpin.is_open());
    }
}
