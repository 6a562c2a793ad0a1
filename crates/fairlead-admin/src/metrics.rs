//! What admin counts of itself.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use fairlead_runtime::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

use crate::engine::Failure;

/// Counters of operations and of pods that did not answer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct OperationMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    operations: Family<Outcome, Counter>,
    seconds: Family<Words, Histogram, fn() -> Histogram>,
    unanswered: Family<Unanswered, Counter>,
    refused: Family<Refused, Counter>,
    access: Family<Access, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Words {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unanswered {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Access {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

impl Default for Families {
    fn default() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        Families {
            operations: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            unanswered: Family::default(),
            refused: Family::default(),
            access: Family::default(),
        }
    }
}

impl OperationMetrics {
    /// Registered, so that `/metrics` shows them.
    pub fn registered(metrics: &Metrics) -> Self {
        let ours = Self::default();
        metrics.register(|registry| {
            registry.register(
                "fairlead_admin_operations",
                "Operations by what came of them: ok, not_found, invalid, nobody (no pod that would know answered), forbidden, undecided (Kubernetes could not say whether it is allowed)",
                ours.0.operations.clone(),
            );
            registry.register_with_unit(
                "fairlead_admin_operation",
                "Time to the answer, for lists to their beginning",
                Unit::Seconds,
                ours.0.seconds.clone(),
            );
            registry.register(
                "fairlead_admin_unanswered",
                "Questions that a pod did not answer, by its role",
                ours.0.unanswered.clone(),
            );
            // There from the start, for the alert that looks at it: the rate of a counter that begins with 1 is 0.
            for role in ["signaling", "media", "registrar"] {
                drop(ours.0.unanswered.get_or_create(&Unanswered { role }));
            }
            registry.register(
                "fairlead_admin_refused",
                "Requests refused: unauthorized, forbidden, invalid, too_large, failed",
                ours.0.refused.clone(),
            );
            registry.register(
                "fairlead_admin_access",
                "Requests by who came: static_token, reviewed (Kubernetes knows the token), this_host; or was not let in: missing (no token), wrong, undecided (the token file or the API server is not there)",
                ours.0.access.clone(),
            );
        });
        ours
    }

    /// One operation, by the words of its row.
    pub(crate) fn operation(&self, operation: &'static str, failure: Option<&Failure>, took: Duration) {
        let outcome = match failure {
            None => "ok",
            Some(Failure::NotFound) => "not_found",
            Some(Failure::Invalid(_)) => "invalid",
            Some(Failure::Nobody { .. }) => "nobody",
            Some(Failure::Forbidden { .. }) => "forbidden",
            Some(Failure::Undecided(_)) => "undecided",
        };
        self.0.operations.get_or_create(&Outcome { operation, outcome }).inc();
        self.0.seconds.get_or_create(&Words { operation }).observe(took.as_secs_f64());
    }

    /// Notes an answer that refuses: what somebody tries who guesses a token shows here.
    pub(crate) fn answered(&self, response: &Response) {
        let grpc = response.headers().get("grpc-status").map(|status| status.as_bytes());
        let reason = match (response.status(), grpc) {
            (StatusCode::UNAUTHORIZED, _) | (_, Some(b"16")) => "unauthorized",
            (StatusCode::FORBIDDEN, _) | (_, Some(b"7")) => "forbidden",
            (StatusCode::BAD_REQUEST, _) | (_, Some(b"3")) => "invalid",
            (StatusCode::PAYLOAD_TOO_LARGE, _) => "too_large",
            (StatusCode::INTERNAL_SERVER_ERROR, _) | (_, Some(b"13")) => "failed",
            _ => return,
        };
        self.0.refused.get_or_create(&Refused { reason }).inc();
    }

    /// Somebody was let in, or was not.
    pub(crate) fn access(&self, result: &'static str) {
        self.0.access.get_or_create(&Access { result }).inc();
    }

    /// A pod of this role did not answer.
    pub(crate) fn unanswered(&self, role: &'static str) {
        self.0.unanswered.get_or_create(&Unanswered { role }).inc();
    }
}
