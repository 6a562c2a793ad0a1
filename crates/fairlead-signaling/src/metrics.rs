//! What is counted, in the words of the field. Labels come from fixed sets, never from what somebody sent.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use fairlead_core::output::Event;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        pub(crate) struct $name { $(pub(crate) $field: &'static str),+ }
    )+};
}

labels! {
    Requests { method, direction }
    Responses { method, class, direction }
    Reason { reason }
    ByMethod { method }
    ByQueue { queue }
    ByResult { result }
    ByOutcome { outcome }
    Crossing { direction, kind, result }
    Refusal { method, status, reason }
    CallEnd { ended_by }
}

/// All metrics of the role. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<Requests, Counter>,
    pub(crate) responses: Family<Responses, Counter>,
    pub(crate) retransmissions: Family<ByMethod, Counter>,
    pub(crate) malformed: Family<Reason, Counter>,
    pub(crate) dropped: Family<Reason, Counter>,
    pub(crate) refused: Family<Refusal, Counter>,
    pub(crate) challenges: Counter,
    pub(crate) shed: Family<ByQueue, Counter>,
    pub(crate) queue_depth: Family<ByQueue, Gauge>,
    pub(crate) udp_overflow: Gauge<u32, std::sync::atomic::AtomicU32>,
    pub(crate) connections: Gauge,
    pub(crate) connections_closed: Family<Reason, Counter>,
    pub(crate) connections_refused: Family<Reason, Counter>,
    pub(crate) mesh: Family<Crossing, Counter>,
    pub(crate) asks: Family<ByResult, Counter>,
    pub(crate) ask_seconds: Histogram,
    pub(crate) asks_in_flight: Gauge,
    pub(crate) registrar_streams: Counter,
    pub(crate) relay_orders: Family<ByResult, Counter>,
    pub(crate) relay_seconds: Histogram,
    pub(crate) calls: Gauge,
    pub(crate) calls_began: Counter,
    pub(crate) calls_answered: Counter,
    pub(crate) calls_ended: Family<CallEnd, Counter>,
    pub(crate) setup_seconds: Histogram,
    pub(crate) call_seconds: Histogram,
    pub(crate) sdp_narrowed: Counter<u64, AtomicU64>,
    pub(crate) drain_calls: Family<ByOutcome, Counter>,
    pub(crate) address_known: Gauge,
}

fn seconds(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let hop = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];
        let metrics = Metrics {
            requests: Family::default(),
            responses: Family::default(),
            retransmissions: Family::default(),
            malformed: Family::default(),
            dropped: Family::default(),
            refused: Family::default(),
            challenges: Counter::default(),
            shed: Family::default(),
            queue_depth: Family::default(),
            udp_overflow: Gauge::default(),
            connections: Gauge::default(),
            connections_closed: Family::default(),
            connections_refused: Family::default(),
            mesh: Family::default(),
            asks: Family::default(),
            ask_seconds: seconds(&hop),
            asks_in_flight: Gauge::default(),
            registrar_streams: Counter::default(),
            relay_orders: Family::default(),
            relay_seconds: seconds(&hop),
            calls: Gauge::default(),
            calls_began: Counter::default(),
            calls_answered: Counter::default(),
            calls_ended: Family::default(),
            setup_seconds: seconds(&[0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 180.0]),
            call_seconds: seconds(&[1.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0]),
            sdp_narrowed: Counter::default(),
            drain_calls: Family::default(),
            address_known: Gauge::default(),
        };
        let m = &metrics;
        let r = registry.sub_registry_with_prefix("fairlead_sip");
        r.register("requests", "Requests by method and direction", m.requests.clone());
        r.register("responses", "Responses by method, class and direction", m.responses.clone());
        r.register("retransmissions", "Messages sent again", m.retransmissions.clone());
        r.register("malformed", "What arrived and is no message, by reason", m.malformed.clone());
        r.register("dropped", "Messages dropped without an answer, by reason", m.dropped.clone());
        r.register("refused", "Requests refused, by status and reason", m.refused.clone());
        r.register("challenges", "Stateless challenges sent", m.challenges.clone());
        r.register("shed", "Messages given up because a queue was full", m.shed.clone());
        r.register(
            "queue_depth",
            "Entries that shards left for their next turn, by queue into them",
            m.queue_depth.clone(),
        );
        r.register("udp_overflow", "Datagrams the system dropped on our sockets", m.udp_overflow.clone());
        r.register("connections", "Stream connections open", m.connections.clone());
        r.register(
            "connections_closed",
            "Stream connections closed, by reason",
            m.connections_closed.clone(),
        );
        r.register("connections_refused", "Stream connections turned away", m.connections_refused.clone());
        let r = registry.sub_registry_with_prefix("fairlead_mesh");
        r.register("crossings", "Messages passed between pods, by result", m.mesh.clone());
        let r = registry.sub_registry_with_prefix("fairlead_registrar_link");
        r.register("asks", "Questions to the registrar, by result", m.asks.clone());
        r.register_with_unit("ask", "From question to answer", Unit::Seconds, m.ask_seconds.clone());
        r.register("asks_in_flight", "Questions without an answer yet", m.asks_in_flight.clone());
        r.register("streams", "Streams opened to registrars", m.registrar_streams.clone());
        let r = registry.sub_registry_with_prefix("fairlead_relay_link");
        r.register("orders", "Orders to relays, by result", m.relay_orders.clone());
        r.register_with_unit("order", "From order to reply", Unit::Seconds, m.relay_seconds.clone());
        r.register(
            "narrowed",
            "Streams of answers that claimed more than their offer",
            m.sdp_narrowed.clone(),
        );
        let r = registry.sub_registry_with_prefix("fairlead_calls");
        r.register("live", "Calls held now", m.calls.clone());
        r.register("began", "Calls admitted", m.calls_began.clone());
        r.register("answered", "Calls answered", m.calls_answered.clone());
        r.register("ended", "Calls ended, by who ended them", m.calls_ended.clone());
        r.register_with_unit("setup", "From INVITE to 200", Unit::Seconds, m.setup_seconds.clone());
        r.register_with_unit("duration", "From answer to end", Unit::Seconds, m.call_seconds.clone());
        let r = registry.sub_registry_with_prefix("fairlead_signaling");
        r.register(
            "drain_calls",
            "Calls of a drain: there at its start, ended in peace, cut at its end",
            m.drain_calls.clone(),
        );
        r.register(
            "address_known",
            "Whether it is known how the world reaches each listener",
            m.address_known.clone(),
        );
        // Those that alerts look at are there from the start: the rate of a counter that begins with 1 is 0.
        for queue in QUEUES {
            drop(m.shed.get_or_create(&ByQueue { queue }));
        }
        for queue in INLETS {
            drop(m.queue_depth.get_or_create(&ByQueue { queue }));
        }
        drop(m.relay_orders.get_or_create(&ByResult { result: "no_port" }));
        metrics
    }
}

/// The queues into a shard.
const INLETS: [&str; 3] = ["handed", "news", "connections"];

/// The queues that messages are given up at.
const QUEUES: [&str; 8] = ["handed", "connection", "udp", "dial", "news", "mesh_results", "asks", "orders"];

/// `1xx` … `6xx`.
fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        6 => "6xx",
        _ => "other",
    }
}

/// The statuses that refusals are counted by; others are counted by their class.
fn status_label(status: u16) -> &'static str {
    const KNOWN: &[(u16, &str)] = &[
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (407, "407"),
        (408, "408"),
        (415, "415"),
        (416, "416"),
        (420, "420"),
        (423, "423"),
        (480, "480"),
        (481, "481"),
        (482, "482"),
        (483, "483"),
        (486, "486"),
        (488, "488"),
        (491, "491"),
        (500, "500"),
        (501, "501"),
        (503, "503"),
        (505, "505"),
    ];
    KNOWN.iter().find(|(known, _)| *known == status).map_or_else(|| class(status), |(_, label)| label)
}

/// One shard's view: counters it has used before are at hand without a lock.
#[derive(Debug)]
pub(crate) struct ShardMetrics {
    pub(crate) all: Metrics,
    requests: HashMap<(&'static str, &'static str), Counter>,
    responses: HashMap<(&'static str, &'static str, &'static str), Counter>,
    waiting: HashMap<&'static str, i64>,
}

impl ShardMetrics {
    pub(crate) fn new(all: Metrics) -> Self {
        ShardMetrics { all, requests: HashMap::new(), responses: HashMap::new(), waiting: HashMap::new() }
    }

    fn message(&mut self, method: &'static str, status: u16, direction: &'static str) {
        let all = &self.all;
        if status == 0 {
            let made = || all.requests.get_or_create_owned(&Requests { method, direction });
            self.requests.entry((method, direction)).or_insert_with(made).inc();
        } else {
            let class = class(status);
            let made = || all.responses.get_or_create_owned(&Responses { method, class, direction });
            self.responses.entry((method, class, direction)).or_insert_with(made).inc();
        }
    }

    /// Counts what the core tells.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Received { method, status } => self.message(method, *status, "in"),
            Event::Transmitted { method, status } => self.message(method, *status, "out"),
            Event::Retransmitted { method } => {
                self.all.retransmissions.get_or_create(&ByMethod { method }).inc();
            }
            Event::Dropped { reason } => {
                self.all.dropped.get_or_create(&Reason { reason }).inc();
            }
            Event::Refused { method, refusal, reason } => {
                let status = status_label(refusal.status);
                self.all.refused.get_or_create(&Refusal { method, status, reason }).inc();
            }
            Event::Challenged => {
                self.all.challenges.inc();
            }
            Event::CallBegan { .. } => {
                self.all.calls_began.inc();
            }
            Event::CallAnswered { setup_ms, .. } => {
                self.all.calls_answered.inc();
                self.all.setup_seconds.observe(*setup_ms as f64 / 1000.0);
            }
            Event::CallEnded(record) => {
                self.all.calls_ended.get_or_create(&CallEnd { ended_by: record.ended_by }).inc();
                if record.billed_ms > 0 {
                    self.all.call_seconds.observe(record.billed_ms as f64 / 1000.0);
                }
            }
            Event::Narrowed { streams } => {
                self.all.sdp_narrowed.inc_by(u64::from(*streams));
            }
            Event::Qualified { .. } | Event::Registered { .. } => {}
        }
    }

    /// Calls of a drain.
    pub(crate) fn drain(&self, outcome: &'static str, calls: usize) {
        self.all.drain_calls.get_or_create(&ByOutcome { outcome }).inc_by(calls as u64);
    }

    /// What this shard has left in a queue of its own for its next turn; the gauge is the sum of all shards.
    pub(crate) fn waits(&mut self, queue: &'static str, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        let before = self.waiting.entry(queue).or_default();
        if *before != entries {
            self.all.queue_depth.get_or_create(&ByQueue { queue }).inc_by(entries - *before);
            *before = entries;
        }
    }

    pub(crate) fn shed(&self, queue: &'static str) {
        self.all.shed.get_or_create(&ByQueue { queue }).inc();
    }

    pub(crate) fn malformed(&self, reason: &'static str) {
        self.all.malformed.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn dropped(&self, reason: &'static str) {
        self.all.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn crossing(&self, direction: &'static str, kind: &'static str, result: &'static str) {
        self.all.mesh.get_or_create(&Crossing { direction, kind, result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_a_queue_is_what_all_shards_left_in_theirs() {
        let all = Metrics::register(&mut Registry::default());
        let (mut a, mut b) = (ShardMetrics::new(all.clone()), ShardMetrics::new(all.clone()));
        let depth = || all.queue_depth.get_or_create(&ByQueue { queue: "handed" }).get();
        a.waits("handed", 70);
        b.waits("handed", 30);
        assert_eq!(depth(), 100);
        a.waits("handed", 0);
        a.waits("news", 5);
        assert_eq!(depth(), 30);
    }
}
