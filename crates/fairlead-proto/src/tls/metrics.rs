//! What is counted. Labels never hold what somebody sent us.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::{AlertDescription, CertificateError, Error};

use super::set::Set;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    side: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByService {
    service: &'static str,
}

/// Counters of certificates, handshakes and calls that a role may not make. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    expiry: Gauge<i64, AtomicI64>,
    reloads: Family<ByResult, Counter<u64, AtomicU64>>,
    failures: Family<ByReason, Counter<u64, AtomicU64>>,
    denied: Family<ByService, Counter<u64, AtomicU64>>,
}

impl TlsMetrics {
    /// Made and registered.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let tls = registry.sub_registry_with_prefix("fairlead_tls");
        tls.register_with_unit(
            "certificate_expiry",
            "When this pod's certificate ends, since 1970",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        tls.register("reloads", "Sets of certificates that were there", metrics.reloads.clone());
        tls.register(
            "handshake_failures",
            "Handshakes with other pods that failed",
            metrics.failures.clone(),
        );
        tls.register("denied", "Calls of a service by a role that may not", metrics.denied.clone());
        // Rates need a beginning.
        for result in ["ok", "refused"] {
            drop(metrics.reloads.get_or_create(&ByResult { result }));
        }
        metrics
    }

    pub(super) fn taken(&self, set: &Set) {
        // The first set is none that replaces another.
        if self.expiry.get() != 0 {
            self.reloads.get_or_create(&ByResult { result: "ok" }).inc();
        }
        self.expiry.set(set.not_after);
    }

    pub(super) fn refused(&self) {
        self.reloads.get_or_create(&ByResult { result: "refused" }).inc();
    }

    pub(super) fn failed(&self, side: &'static str, reason: &'static str) {
        self.failures.get_or_create(&ByReason { side, reason }).inc();
    }

    pub(super) fn denied(&self, service: &'static str) {
        self.denied.get_or_create(&ByService { service }).inc();
    }
}

/// A handshake's error in one word.
pub(super) fn reason(error: &io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return "broken";
    };
    match error {
        Error::NoCertificatesPresented | Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "no_certificate"
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )
        | Error::AlertReceived(AlertDescription::CertificateExpired) => "expired",
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "wrong_role",
        Error::InvalidCertificate(_) | Error::AlertReceived(AlertDescription::UnknownCA) => "not_trusted",
        _ => "protocol",
    }
}
