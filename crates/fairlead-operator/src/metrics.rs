//! What is counted.

use fairlead_runtime::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Labels with what became of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    /// One of a few words.
    pub result: &'static str,
}

/// Labels with a namespace; there are as many as are watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByNamespace {
    /// Its name.
    pub namespace: String,
}

/// Labels with the kind of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByCode {
    /// See `fairlead_model::surroundings::code`.
    pub code: String,
}

/// Of this role. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct OperatorMetrics {
    /// Whether this one leads.
    pub leading: Gauge,
    /// Objects that are known.
    pub objects: Gauge,
    /// Names that wait to be written or withdrawn.
    pub backlog: Gauge,
    /// Marked peers of namespaces that are not watched.
    pub unwatched: Gauge,
    /// What registrars said to a peer that was to be written.
    pub provisions: Family<ByResult, Counter>,
    /// What they said to one that was to go.
    pub withdrawals: Family<ByResult, Counter>,
    /// Status writes.
    pub status_writes: Family<ByResult, Counter>,
    /// Statuses that wait.
    pub status_backlog: Gauge,
    /// 1 for each namespace that can be watched, 0 for one that cannot.
    pub watched: Family<ByNamespace, Gauge>,
    /// 1 while the API server knows no `SipPeer`.
    pub crds_missing: Gauge,
    /// Whether a registrar tells news.
    pub following: Gauge,
    /// What is wrong around the edge.
    pub findings: Family<ByCode, Gauge>,
    /// Deletion costs written.
    pub deletion_costs: Family<ByResult, Counter>,
}

impl OperatorMetrics {
    /// Registers them.
    pub fn registered(metrics: &Metrics) -> Self {
        let m = OperatorMetrics::default();
        metrics.register(|registry| {
            let mut gauge =
                |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
            gauge("fairlead_operator_leading", "1 for the operator that leads", &m.leading);
            gauge("fairlead_operator_sippeers", "SipPeer objects known", &m.objects);
            gauge("fairlead_operator_backlog", "SIP names that wait to be written or withdrawn", &m.backlog);
            gauge(
                "fairlead_operator_unwatched_peers",
                "Marked peers of namespaces that are not watched: they are left alone",
                &m.unwatched,
            );
            gauge("fairlead_operator_status_backlog", "Statuses that wait to be written", &m.status_backlog);
            gauge(
                "fairlead_operator_crds_missing",
                "1 while the API server knows no SipPeer",
                &m.crds_missing,
            );
            gauge("fairlead_operator_following", "1 while a registrar tells news of peers", &m.following);
            registry.register(
                "fairlead_operator_provisions",
                "Peers written to a registrar by what it said",
                m.provisions.clone(),
            );
            registry.register(
                "fairlead_operator_withdrawals",
                "Peers withdrawn from a registrar by what it said",
                m.withdrawals.clone(),
            );
            registry.register(
                "fairlead_operator_status_writes",
                "Status writes by result",
                m.status_writes.clone(),
            );
            registry.register(
                "fairlead_operator_namespace_watched",
                "1 for each namespace that can be watched, 0 for one that cannot",
                m.watched.clone(),
            );
            registry.register(
                "fairlead_operator_findings",
                "What is wrong around the edge, by code",
                m.findings.clone(),
            );
            registry.register(
                "fairlead_operator_deletion_costs",
                "Deletion costs of signaling pods written, by result",
                m.deletion_costs.clone(),
            );
        });
        m
    }

    /// Counts one.
    pub fn count(family: &Family<ByResult, Counter>, result: &'static str) {
        family.get_or_create(&ByResult { result }).inc();
    }
}
