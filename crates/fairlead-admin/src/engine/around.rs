//! What lies around the edge: where phones go, and what is wrong.

use std::sync::Arc;

use fairlead_model::id::UnixMillis;
use fairlead_model::member::{Member, Role};
use fairlead_model::surroundings::{Diagnosis, Finding, Severity, Surroundings, code};
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_runtime::identity::now;

use super::{Engine, Failure};
use crate::convert;
use crate::directory::Door;
use crate::fan_out::{Missing, ask_all};

/// How far the clocks of two pods may be apart, milliseconds.
const APART_MS: i64 = 2_000;

/// Pods that a sentence names; of the others it says how many they are.
const NAMED: usize = 8;

/// A pod that answered: what it said, and how its clock differs from ours.
struct Examined {
    pod: String,
    /// Its clock less ours in the middle of the round trip, milliseconds.
    offset_ms: i64,
    /// Half the round trip: by so much the offset may be wrong.
    unsure_ms: i64,
    diagnosis: Diagnosis,
}

impl Engine {
    pub(super) async fn addresses(&self) -> Result<pb::ListAddressesResponse, Failure> {
        let known = self.directory.surroundings().await;
        let around = known.ok_or(Failure::Nobody { role: "registrar", missing: Vec::new() })?;
        let mut addresses: Vec<_> = around.sip.iter().map(convert::sip_address).collect();
        addresses.sort_by(|a, b| {
            let key = |address: &pb::Address| {
                // The default network first, UDP before the others.
                let transports = ["udp", "tcp", "tls", "ws", "wss"];
                let transport = transports.iter().position(|known| *known == address.transport);
                (address.network.clone(), address.destinations.clone(), transport, address.host.clone())
            };
            key(a).cmp(&key(b))
        });
        let reason = if addresses.is_empty() { why_no_address(&around) } else { String::new() };
        Ok(pb::ListAddressesResponse { addresses, reason, missing: Vec::new() })
    }

    pub(super) async fn doctor(&self) -> Result<pb::DiagnoseResponse, Failure> {
        let known = self.directory.surroundings().await;
        let around = known.ok_or(Failure::Nobody { role: "registrar", missing: Vec::new() })?;
        let doors = self.directory.every_pod().await;
        let ask = |door: Door<dyn DiagnosisPort>| async move {
            let sent = now();
            let diagnosis = door.port.diagnose().await?;
            Ok((sent, diagnosis, now()))
        };
        let answers = ask_all(doors, self.limit(), ask).await.map_err(Failure::Invalid)?;
        let mut examined: Vec<_> = answers
            .given
            .into_iter()
            .map(|(door, (sent, diagnosis, received))| examined(door.name, sent, diagnosis, received))
            .collect();
        // A container that was started again is listed beside its predecessor for a moment, and answers for both.
        examined.sort_by(|a, b| a.pod.cmp(&b.pod));
        examined.dedup_by(|a, b| a.pod == b.pod);
        let mut findings = around.findings;
        findings.extend(absent_roles(&self.directory.absent_roles().await));
        let members = self.directory.members();
        findings.extend(silent(&answers.missing, &members));
        findings.extend(clocks_apart(&examined));
        findings.extend(versions_differ(&versions(&examined, &members)));
        findings.extend(examined.into_iter().flat_map(|pod| pod.diagnosis.findings));
        let findings = sorted(findings).iter().map(convert::finding).collect();
        Ok(pb::DiagnoseResponse { findings, missing: answers.missing.list() })
    }
}

fn examined(pod: String, sent: UnixMillis, diagnosis: Diagnosis, received: UnixMillis) -> Examined {
    let trip = received.since(sent);
    let middle = sent.0.saturating_add(trip / 2);
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Examined {
        pod,
        offset_ms: signed(diagnosis.clock_ms).saturating_sub(signed(middle)),
        unsure_ms: signed(trip / 2),
        diagnosis,
    }
}

/// Errors first, then by what they are about; what several pods say in the same words is said once.
fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    let place = |finding: &Finding| {
        (
            std::cmp::Reverse(finding.severity),
            finding.code.clone(),
            finding.about.clone(),
            finding.text.clone(),
        )
    };
    findings.sort_by_key(place);
    findings.dedup_by(|a, b| a.code == b.code && a.about == b.about && a.text == b.text);
    findings
}

fn why_no_address(around: &Surroundings) -> String {
    match around.findings.iter().find(|finding| finding.code == code::NO_ADDRESS) {
        Some(finding) => format!("{} {}", finding.text, finding.remedy),
        None => "Nobody has told the edge where phones reach it: the operator role finds that out from the Service \
                 for SIP, or signaling is started with --advertise."
            .to_owned(),
    }
}

/// Pods that did not answer. One that was ending is none of them: during a rollout that is as it should be.
fn silent(missing: &Missing, members: &[Member]) -> Vec<Finding> {
    let is_ending = |name: &str| members.iter().any(|member| member.name == name && member.draining);
    let finding = |pod: pb::Missing| {
        Finding::new(
            code::NO_ANSWER,
            // A pod of an older release cannot be examined, and may be well.
            if pod.reason == Unanswered::Unknown.to_string() { Severity::Warning } else { Severity::Error },
            pod.pod.clone(),
            format!("This {} pod did not say how it is: {}.", pod.role, pod.reason),
            format!("See `kubectl describe pod {0}` and `kubectl logs {0}`.", pod.pod),
        )
    };
    missing.list().into_iter().filter(|pod| !is_ending(&pod.pod)).map(finding).collect()
}

fn absent_roles(roles: &[Role]) -> Vec<Finding> {
    let finding = |role: &Role| {
        Finding::new(
            code::NO_POD,
            Severity::Error,
            role.word(),
            format!("There is no {} pod.", role.word()),
            format!(
                "Set {0}.replicas to at least 1; if it is, see `kubectl get pods -l app.kubernetes.io/component={0}`.",
                role.word()
            ),
        )
    };
    roles.iter().map(finding).collect()
}

/// Clocks are compared with the one in the middle, so that a single wrong one is the one that is named.
fn clocks_apart(pods: &[Examined]) -> Option<Finding> {
    let mut by_clock: Vec<&Examined> = pods.iter().collect();
    by_clock.sort_by_key(|pod| pod.offset_ms);
    let apart = |a: &Examined, b: &Examined| {
        let unsure = a.unsure_ms.saturating_add(b.unsure_ms);
        a.offset_ms.abs_diff(b.offset_ms) > (APART_MS.saturating_add(unsure)).unsigned_abs()
    };
    let (first, last) = (by_clock.first()?, by_clock.last()?);
    if !apart(first, last) {
        return None;
    }
    let middle = by_clock.get((by_clock.len() - 1) / 2)?;
    let mut wrong: Vec<_> = by_clock.iter().filter(|pod| apart(pod, middle)).collect();
    let mut against = middle;
    if wrong.is_empty() {
        (wrong, against) = (vec![last], first);
    }
    let names: Vec<_> = wrong.iter().map(|pod| pod.pod.clone()).collect();
    let list = wrong.iter().map(|pod| {
        let ms = pod.offset_ms.saturating_sub(against.offset_ms);
        let way = if ms > 0 { "ahead" } else { "behind" };
        format!("{} is {:.1} s {way}", pod.pod, ms.unsigned_abs() as f64 / 1000.0)
    });
    Some(Finding::new(
        code::CLOCKS_APART,
        Severity::Warning,
        few(names.into_iter()),
        format!(
            "Clocks are more than {} s apart. By that of {}, {}.",
            APART_MS / 1000,
            against.pod,
            few(list)
        ),
        "Let the nodes of these pods keep their time by NTP (chrony or systemd-timesyncd).",
    ))
}

/// Who runs which release, by release.
fn versions(examined: &[Examined], members: &[Member]) -> Vec<(String, Vec<String>)> {
    let mut by_version: Vec<(String, Vec<String>)> = Vec::new();
    let told = examined.iter().map(|pod| (pod.diagnosis.version.clone(), pod.pod.clone()));
    let is_told = |name: &str| examined.iter().any(|pod| pod.pod == name);
    let listed = members.iter().filter(|member| !is_told(&member.name));
    let listed = listed.map(|member| (member.version.clone(), member.name.clone()));
    let mut pods: Vec<_> = told.chain(listed).filter(|(version, _)| !version.is_empty()).collect();
    pods.sort();
    pods.dedup();
    for (version, pod) in pods {
        match by_version.last_mut() {
            Some((last, names)) if *last == version => names.push(pod),
            _ => by_version.push((version, vec![pod])),
        }
    }
    by_version
}

fn versions_differ(versions: &[(String, Vec<String>)]) -> Option<Finding> {
    if versions.len() < 2 {
        return None;
    }
    let each = versions.iter().map(|(version, pods)| format!("{version} ({})", few(pods.iter().cloned())));
    Some(Finding::new(
        code::VERSIONS_DIFFER,
        Severity::Warning,
        few(versions.iter().map(|(version, _)| version.clone())),
        format!("Pods of several releases are running: {}.", few(each)),
        "Let the rollout end (`kubectl rollout status`), or set one image.tag for all roles.",
    ))
}

/// `a, b, c and 5 more`
fn few(all: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = all.collect();
    let (named, more) = all.split_at(all.len().min(NAMED));
    let named = named.join(", ");
    if more.is_empty() { named } else { format!("{named} and {} more", more.len()) }
}

/// This process says how it is, without a network in between.
pub(crate) struct Myself {
    pub(crate) name: String,
}

#[async_trait::async_trait]
impl DiagnosisPort for Myself {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        Ok(fairlead_runtime::diagnosis::diagnosis(&self.name, Vec::new()))
    }
}

impl Myself {
    pub(crate) fn port(name: &str) -> Arc<dyn DiagnosisPort> {
        Arc::new(Myself { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, offset_ms: i64, unsure_ms: i64, version: &str) -> Examined {
        let diagnosis = Diagnosis { version: version.to_owned(), ..Diagnosis::default() };
        Examined { pod: name.to_owned(), offset_ms, unsure_ms, diagnosis }
    }

    #[test]
    fn clocks_that_differ_by_less_than_is_known_are_not_apart() {
        assert_eq!(clocks_apart(&[]), None);
        assert_eq!(clocks_apart(&[pod("a", 0, 5, ""), pod("b", 2_000, 5, "")]), None);
        assert_eq!(clocks_apart(&[pod("a", 0, 800, ""), pod("b", 3_500, 800, "")]), None, "slow answers");
    }

    #[test]
    fn the_one_clock_that_is_wrong_is_the_one_that_is_named() {
        let found =
            clocks_apart(&[pod("a", 3, 1, ""), pod("b", -7_500, 1, ""), pod("c", 20, 1, "")]).unwrap();
        assert_eq!(found.about, "b");
        assert!(found.text.contains("By that of a, b is 7.5 s behind."), "{}", found.text);
        let found = clocks_apart(&[pod("a", 0, 1, ""), pod("b", 60_000, 1, "")]).unwrap();
        assert!(found.text.contains("By that of a, b is 60.0 s ahead."), "{}", found.text);
        let spread = [pod("a", -1_500, 1, ""), pod("b", 0, 1, ""), pod("c", 1_500, 1, "")];
        assert!(clocks_apart(&spread).unwrap().text.contains("By that of a, c is 3.0 s ahead."));
    }

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_round_trip() {
        let diagnosis = Diagnosis { clock_ms: 10_600, ..Diagnosis::default() };
        let examined = examined("a".to_owned(), UnixMillis(10_000), diagnosis, UnixMillis(11_000));
        assert_eq!((examined.offset_ms, examined.unsure_ms), (100, 500));
    }

    #[test]
    fn releases_are_named_with_their_pods() {
        assert_eq!(versions_differ(&versions(&[pod("a", 0, 0, "1"), pod("b", 0, 0, "1")], &[])), None);
        let found =
            versions_differ(&versions(&[pod("b", 0, 0, "2"), pod("a", 0, 0, "1"), pod("c", 0, 0, "2")], &[]));
        assert!(found.unwrap().text.contains("1 (a), 2 (b, c)"));
    }

    #[test]
    fn errors_come_first_and_what_all_pods_say_is_said_once() {
        let finding = |severity, code: &str, about: &str| Finding::new(code, severity, about, "t", "r");
        let warning = finding(Severity::Warning, "A", "redis");
        let error = finding(Severity::Error, "Z", "pod-1");
        let given = vec![warning.clone(), error.clone(), warning.clone()];
        assert_eq!(sorted(given), [error, warning]);
    }
}
