//! Sleeping until anything happens, and taking all that has.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use sip_net::connection::Event;
use sip_net::udp::Datagram;

use super::{LONGEST_SLEEP, Shard};
use crate::machine::Machine;
use crate::news::{Handed, News};

/// At most this many of each kind are taken before the others have their turn.
const MOST: usize = 64;

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) news: Vec<News>,
    pub(super) connections: Vec<Event>,
    pub(super) handed: Vec<Handed>,
    pub(super) datagrams: Vec<Datagram>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.news.is_empty()
            && self.connections.is_empty()
            && self.handed.is_empty()
            && self.datagrams.is_empty()
    }
}

impl<M: Machine> Shard<M> {
    /// Fills the batch, which is empty; it stays so when a timer is due.
    pub(super) async fn wake(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        let deaf = self.deaf_until.filter(|until| *until > now);
        let longest = deaf.unwrap_or(now + LONGEST_SLEEP);
        let until = self.machine.poll_timeout().map_or(longest, |at| at.min(longest));
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        poll_fn(|cx| {
            // A closed queue is one whose other ends are gone: the role ends, and Stop says so.
            let _ = self.inlets.news.poll_recv_many(cx, &mut batch.news, MOST * 4);
            if deaf.is_some() {
                return if batch.is_empty() { sleep.as_mut().poll(cx) } else { Poll::Ready(()) };
            }
            let _ = self.inlets.connections.poll_recv_many(cx, &mut batch.connections, MOST);
            let _ = self.inlets.handed.poll_recv_many(cx, &mut batch.handed, MOST);
            for listening in &mut self.udp {
                if let Poll::Ready(Err(error)) = listening.socket.poll_receive(cx, &mut batch.datagrams) {
                    tracing::error!(%error, local = %listening.socket.local(), "a socket cannot be read");
                }
            }
            if !batch.is_empty() { Poll::Ready(()) } else { sleep.as_mut().poll(cx) }
        })
        .await;
        self.count_overflow();
        self.metrics.waits("handed", self.inlets.handed.len());
        self.metrics.waits("news", self.inlets.news.len());
        self.metrics.waits("connections", self.inlets.connections.len());
    }

    fn count_overflow(&mut self) {
        let overflow = self.udp.iter().fold(0_u32, |sum, one| sum.wrapping_add(one.socket.dropped()));
        if overflow != self.overflow {
            self.metrics.all.udp_overflow.inc_by(overflow.wrapping_sub(self.overflow));
            self.overflow = overflow;
        }
    }
}
