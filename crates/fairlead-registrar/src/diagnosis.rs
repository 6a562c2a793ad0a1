//! What a registrar finds wrong: Redis, clocks, and what the operator role found.

use fairlead_model::surroundings::{Diagnosis, Finding, Severity, code};
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_runtime::diagnosis::diagnosis;
use fairlead_store::{Health, StoreError};
use tracing::info;

use crate::registrar::Registrar;

/// Clocks that are further apart than this are a finding, milliseconds.
const CLOCKS_MS: u64 = 2_000;
/// What findings about the store are about.
const REDIS: &str = "redis";

#[async_trait::async_trait]
impl DiagnosisPort for Registrar {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        let name = self.config.me.name.as_str();
        let mut findings = match self.storage.store().health().await {
            None => Vec::new(),
            Some(Ok(health)) => {
                for remark in &health.remarks {
                    info!(%remark, "Redis does not say all of itself");
                }
                of_health(name, &health)
            }
            Some(Err(error)) => vec![away(name, &error)],
        };
        // All registrars know them; one says them.
        if self.members.rank(self.clock.now()) == 0 {
            findings.extend(self.around.now().findings.iter().cloned());
            // Where the store does not answer, that has been said.
            if self.knows_all().await.is_ok_and(|knows| !knows) {
                findings.push(awaited());
            }
        }
        Ok(diagnosis(name, findings))
    }
}

fn away(name: &str, error: &StoreError) -> Finding {
    let (code, severity) = (code::REDIS_AWAY, Severity::Error);
    let text = format!("{name} cannot use Redis: {error}.");
    Finding::new(code, severity, REDIS, text, "redis.url and its Secret, or redis.enabled; is Redis running?")
}

fn awaited() -> Finding {
    Finding::new(
        code::PEERS_AWAITED,
        Severity::Warning,
        "operator",
        "The operator role has not written all peers since Redis was empty: phones that registrars do not know yet are \
         asked to come again later.",
        "operator.replicas; if a pod of it runs, its log says what it waits for.",
    )
}

fn of_health(name: &str, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    if health.persistent == Some(false) {
        findings.push(Finding::new(code::REDIS_NOT_PERSISTENT,
            Severity::Warning,
            REDIS,
            "Redis keeps nothing on disk (appendonly is no, save is empty): after its restart only what registrars \
             remember is left."
                .to_owned(),
            "Set appendonly to yes in Redis, on a volume that outlives its pod.",
        ));
    }
    if let Some(policy) = health.eviction.as_deref().filter(|policy| *policy != "noeviction") {
        findings.push(Finding::new(code::REDIS_EVICTS,
            Severity::Error,
            REDIS,
            format!(
                "Redis throws keys away when memory is short (maxmemory-policy is {policy}): registrations are lost."
            ),
            "Set maxmemory-policy to noeviction in Redis.",
        ));
    }
    let apart = health.now.0.abs_diff(health.asked.0);
    if apart > CLOCKS_MS {
        findings.push(Finding::new(
            code::CLOCKS_APART,
            Severity::Warning,
            name,
            format!("The clock of {name} and that of Redis are {:.1} s apart.", apart as f64 / 1000.0),
            "Let the nodes keep time (chrony or systemd-timesyncd).",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_model::id::UnixMillis;

    fn health() -> Health {
        Health {
            now: UnixMillis(10_000),
            asked: UnixMillis(10_400),
            persistent: Some(true),
            eviction: Some("noeviction".to_owned()),
            remarks: Vec::new(),
        }
    }

    fn codes(health: &Health) -> Vec<String> {
        of_health("registrar-0", health).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_healthy_redis_has_no_findings_nor_has_one_that_does_not_say() {
        assert!(codes(&health()).is_empty());
        let silent =
            Health { persistent: None, eviction: None, remarks: vec!["NOPERM".to_owned()], ..health() };
        assert!(codes(&silent).is_empty());
    }

    #[test]
    fn what_loses_registrations_is_named() {
        let bad = Health {
            persistent: Some(false),
            eviction: Some("allkeys-lru".to_owned()),
            asked: UnixMillis(12_001),
            ..health()
        };
        assert_eq!(codes(&bad), [code::REDIS_NOT_PERSISTENT, code::REDIS_EVICTS, code::CLOCKS_APART]);
        let all = of_health("registrar-0", &bad);
        assert!(all[1].text.contains("allkeys-lru") && all[2].text.contains("2.0 s"), "{all:?}");
    }
}
