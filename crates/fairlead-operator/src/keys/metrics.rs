//! What is counted of keys.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

/// What is counted of keys. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KeysMetrics {
    written: Family<ByKind, Counter<u64, AtomicU64>>,
    pub(super) failed: Counter<u64, AtomicU64>,
    pub(super) foreign: Gauge<i64, AtomicI64>,
    pub(super) authority_expiry: Gauge<i64, AtomicI64>,
}

impl KeysMetrics {
    /// Made and registered.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let keys = registry.sub_registry_with_prefix("fairlead_operator");
        keys.register("keys_written", "Secrets written, by what was made", metrics.written.clone());
        keys.register("keys_failed", "Looks at Secrets, or writes, that failed", metrics.failed.clone());
        keys.register(
            "keys_foreign",
            "Secrets that cannot be used as they are and are left alone, since they were not made here",
            metrics.foreign.clone(),
        );
        keys.register_with_unit(
            "authority_expiry",
            "When the authority that signs ends, since 1970",
            Unit::Seconds,
            metrics.authority_expiry.clone(),
        );
        metrics
    }

    pub(super) fn wrote(&self, kind: &'static str) {
        self.written.get_or_create(&ByKind { kind }).inc();
    }
}
