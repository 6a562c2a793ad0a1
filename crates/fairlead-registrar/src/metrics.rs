//! What a registrar counts. Labels are words of ours, never what somebody sent.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use fairlead_model::ask::{Answer, AskFailed};

/// All of them.
#[derive(Clone)]
pub struct Metrics {
    asks: Family<AskLabels, Counter>,
    duration: Family<KindLabel, Histogram>,
    /// Digest verdicts.
    pub auth: Family<VerdictLabel, Counter>,
    /// Bindings that this registrar knows.
    pub bindings: Gauge,
    /// Realtime peers that it holds.
    pub cached: Gauge,
    /// Pods on its streams.
    pub streams: Gauge,
    /// 1 while the store can be reached.
    pub store_present: Gauge,
    /// What waits to be written when the store is back.
    pub waiting: Gauge,
    /// Plans that were made again because the record had changed.
    pub replanned: Counter,
    /// What came of marked peers.
    pub provisioned: Family<OutcomeLabel, Counter>,
    /// Records of marked peers that somebody else had changed.
    pub drifted: Counter,
    /// Those who follow peers.
    pub followers: Gauge,
    /// How often the store was found empty and filled again.
    pub refilled: Counter,
    /// Records of bindings that the store had lost and that were written again.
    pub restored: Counter,
}

/// What came of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `written`, `unchanged`, `taken`, `invalid`, `withdrawn`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AskLabels {
    ask: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    ask: &'static str,
}

/// How credentials were judged.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct VerdictLabel {
    /// `ok`, `wrong`, `stale`, `missing`, `malformed`.
    pub verdict: &'static str,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_05, 2.5, 12));
        let metrics = Metrics {
            asks: Family::default(),
            duration: Family::new_with_constructor(buckets),
            auth: Family::default(),
            bindings: Gauge::default(),
            cached: Gauge::default(),
            streams: Gauge::default(),
            store_present: Gauge::default(),
            waiting: Gauge::default(),
            replanned: Counter::default(),
            provisioned: Family::default(),
            drifted: Counter::default(),
            followers: Gauge::default(),
            refilled: Counter::default(),
            restored: Counter::default(),
        };
        let m = metrics.clone();
        registry.register("fairlead_registrar_asks", "Questions of pods by kind and result", m.asks);
        registry.register("fairlead_registrar_ask_duration_seconds", "Time to an answer by kind", m.duration);
        registry.register("fairlead_registrar_auth", "Digest answers by verdict", m.auth);
        registry.register("fairlead_registrar_bindings", "Bindings known here", m.bindings);
        registry.register("fairlead_registrar_realtime_peers_cached", "Realtime peers held here", m.cached);
        registry.register("fairlead_registrar_streams", "Pods on a stream of this registrar", m.streams);
        registry.register(
            "fairlead_registrar_store_present",
            "1 while the store can be reached",
            m.store_present,
        );
        registry.register(
            "fairlead_registrar_waiting_writes",
            "Changes kept in memory until the store is back",
            m.waiting,
        );
        registry.register("fairlead_registrar_replanned", "Plans made again on a newer record", m.replanned);
        registry.register(
            "fairlead_registrar_provisioned",
            "Peers that the operator role wrote or removed, by outcome",
            m.provisioned,
        );
        registry.register(
            "fairlead_registrar_drifted",
            "Records of marked peers found changed by somebody else",
            m.drifted,
        );
        registry.register("fairlead_registrar_followers", "Streams that follow peers", m.followers);
        registry.register(
            "fairlead_registrar_store_refilled",
            "Times that the store was found empty and filled again",
            m.refilled,
        );
        registry.register(
            "fairlead_registrar_bindings_restored",
            "Records of bindings written again after the store lost them",
            m.restored,
        );
        metrics
    }

    /// Counts an answer.
    pub fn answered(&self, ask: &'static str, answer: &Result<Answer, AskFailed>, seconds: f64) {
        self.asks.get_or_create(&AskLabels { ask, result: result(answer) }).inc();
        self.duration.get_or_create(&KindLabel { ask }).observe(seconds);
    }
}

fn result(answer: &Result<Answer, AskFailed>) -> &'static str {
    match answer {
        Ok(Answer::Challenge { .. }) => "challenge",
        Ok(Answer::Refused(refusal)) if refusal.status == 503 => "unavailable",
        Ok(Answer::Refused(_)) => "refused",
        Ok(Answer::Owned { .. }) => "owned",
        Ok(_) => "ok",
        Err(AskFailed::Deadline) => "deadline",
        Err(AskFailed::Overloaded) => "overloaded",
        Err(_) => "failed",
    }
}
