//! What a relay counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rtp::Dropped;

/// A label with a word from a fixed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

/// How sessions of a drain went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    outcome: &'static str,
}

/// Which order, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Ordered {
    order: &'static str,
    result: &'static str,
}

/// The metrics of one relay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub sessions: Gauge,
    pub ports: Gauge,
    pub address_known: Gauge,
    pub received: Counter,
    pub received_bytes: Counter,
    pub sent: Counter,
    pub not_sent: Counter,
    pub overflowed: Counter,
    pub too_long: Counter,
    pub narrowed: Counter,
    pub watchers_lost: Counter,
    dropped: Family<Reason, Counter>,
    ended: Family<Reason, Counter>,
    orders: Family<Ordered, Counter>,
    drained: Family<Outcome, Counter>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let media = registry.sub_registry_with_prefix("fairlead_media");
        media.register("sessions", "Relay sessions now", self.sessions.clone());
        media.register("ports", "Ports that carry RTP", self.ports.clone());
        media.register(
            "address_known",
            "Whether the relay has an address that the world can reach; without one no call is sent here",
            self.address_known.clone(),
        );
        media.register(
            "drain_sessions",
            "Sessions of a drain: there at its start, ended in peace, cut at its end",
            self.drained.clone(),
        );
        media.register("packets_received", "Datagrams received on relay ports", self.received.clone());
        media.register_with_unit(
            "received",
            "Bytes of datagrams received on relay ports",
            Unit::Bytes,
            self.received_bytes.clone(),
        );
        media.register("packets_sent", "Datagrams sent on", self.sent.clone());
        media.register("packets_not_sent", "Datagrams that a socket did not take", self.not_sent.clone());
        media.register(
            "packets_overflowed",
            "Datagrams that the kernel dropped because the queue of a relay port was full",
            self.overflowed.clone(),
        );
        media.register(
            "packets_too_long",
            "Datagrams longer than what is relayed, dropped",
            self.too_long.clone(),
        );
        media.register("packets_dropped", "Datagrams dropped, by reason", self.dropped.clone());
        media.register("sessions_ended", "Sessions ended, by reason", self.ended.clone());
        media.register("orders", "Orders, and what became of them", self.orders.clone());
        media.register(
            "streams_narrowed",
            "Streams of answers that claimed more than their offer allows (RFC 3264 section 6.1)",
            self.narrowed.clone(),
        );
        media.register(
            "watchers_lost",
            "Watchers cut off because they did not keep up",
            self.watchers_lost.clone(),
        );
    }

    /// One counter a reason, to be used without a lookup.
    pub fn drops(&self) -> [Counter<u64, AtomicU64>; Dropped::ALL.len()] {
        Dropped::ALL.map(|reason| self.dropped.get_or_create(&Reason { reason: reason.word() }).clone())
    }

    pub fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    pub fn drained(&self, outcome: &'static str, sessions: u64) {
        self.drained.get_or_create(&Outcome { outcome }).inc_by(sessions);
    }

    pub fn ordered(&self, order: &'static str, result: &'static str) {
        self.orders.get_or_create(&Ordered { order, result }).inc();
    }
}
