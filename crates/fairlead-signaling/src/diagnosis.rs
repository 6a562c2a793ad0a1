//! What this pod says when it is examined: whether it knows its address, and whether it sees where phones are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_core::addresses::are_known;
use fairlead_core::input::Network;
use fairlead_model::member::Briefing;
use fairlead_model::surroundings::{Diagnosis, Finding, Severity, SipAddress, code};
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::operator::Operator;

/// Registrations are looked at for so long.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// They are counted in steps of this.
const STEP: Duration = Duration::from_secs(60);
/// So many sources are told apart in one step; there are not that many nodes.
const SOURCES: usize = 4096;
/// Fewer registrations say nothing.
const ENOUGH: u64 = 3;

/// Where registrations of the last minutes came from. One for each shard.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    steps: VecDeque<(Instant, HashMap<IpAddr, u64>)>,
}

impl Registrations {
    /// One more.
    pub(crate) fn note(&mut self, source: IpAddr, now: Instant) {
        self.forget(now);
        if self.steps.back().is_none_or(|(since, _)| now.saturating_duration_since(*since) >= STEP) {
            self.steps.push_back((now, HashMap::new()));
        }
        let Some((_, counts)) = self.steps.back_mut() else { return };
        if counts.len() < SOURCES || counts.contains_key(&source) {
            *counts.entry(source).or_default() += 1;
        }
    }

    /// How many came from each source.
    pub(crate) fn counts(&mut self, now: Instant) -> HashMap<IpAddr, u64> {
        self.forget(now);
        let mut all: HashMap<IpAddr, u64> = HashMap::new();
        for (source, count) in self.steps.iter().flat_map(|(_, counts)| counts) {
            *all.entry(*source).or_default() += count;
        }
        all
    }

    fn forget(&mut self, now: Instant) {
        while self.steps.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= WINDOW) {
            self.steps.pop_front();
        }
    }
}

/// What is known of the surroundings, kept current. An empty word of a registrar that was not told yet erases nothing, as
/// in the core.
pub(crate) async fn keep_surroundings(
    mut briefings: watch::Receiver<Option<Arc<Briefing>>>,
    networks: Vec<Network>,
    gauge: Gauge,
    told: watch::Sender<Vec<SipAddress>>,
    stopping: CancellationToken,
) {
    gauge.set(i64::from(are_known(&networks, &[])));
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = briefings.changed() => if changed.is_err() { return },
        }
        let sip = briefings.borrow_and_update().as_ref().map(|briefing| briefing.surroundings.sip.clone());
        let Some(sip) = sip.filter(|sip| !sip.is_empty() && *sip != *told.borrow()) else { continue };
        gauge.set(i64::from(are_known(&networks, &sip)));
        let said: Vec<String> = sip
            .iter()
            .map(|address| format!("{} {}:{}", address.transport, address.host, address.port))
            .collect();
        tracing::info!(addresses = ?said, "how the world reaches signaling");
        told.send_replace(sip);
    }
}

/// The diagnosis of this pod.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// This pod's name.
    pub(crate) name: String,
    pub(crate) networks: Vec<Network>,
    pub(crate) told: watch::Receiver<Vec<SipAddress>>,
    pub(crate) briefings: watch::Receiver<Option<Arc<Briefing>>>,
    pub(crate) operator: Operator,
    /// Addresses of the node that this pod runs on.
    pub(crate) host_ips: Vec<IpAddr>,
    /// Other pods are spoken to without TLS.
    pub(crate) tls_off: bool,
}

#[async_trait::async_trait]
impl DiagnosisPort for Doctor {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        let sources = self.operator.registrations().await?;
        let nodes = self.briefings.borrow().as_ref().map(|briefing| briefing.surroundings.nodes.clone());
        let mut findings = Vec::new();
        if !are_known(&self.networks, &self.told.borrow()) {
            findings.push(no_address(&self.name));
        }
        let gateway = std::fs::read_to_string("/proc/net/route").ok().and_then(|table| gateway_of(&table));
        findings.extend(hidden(&self.name, &sources, &nodes.unwrap_or_default(), &self.host_ips, gateway));
        if self.tls_off {
            findings.push(tls_off(&self.name));
        }
        Ok(fairlead_runtime::diagnosis::diagnosis(&self.name, findings))
    }
}

fn no_address(pod: &str) -> Finding {
    Finding::new(
        code::NO_ADDRESS,
        Severity::Error,
        pod,
        "No address is known at which phones reach this edge: OPTIONS and REGISTER are answered, calls are \
               refused with 503.",
        "Give the SIP Service an address (a load balancer in the cluster, or signaling.service.type=NodePort), or set \
         signaling.advertise.",
    )
}

fn tls_off(pod: &str) -> Finding {
    Finding::new(
        code::TLS_OFF,
        Severity::Warning,
        pod,
        "This pod speaks to the others without TLS.",
        "Set tls.internal.mode to generated, cert-manager or existing.",
    )
}

/// Registrations that come from a node were masqueraded on their way: by whom they were sent cannot be seen, nor can two
/// phones be told apart.
fn hidden(
    pod: &str,
    sources: &HashMap<IpAddr, u64>,
    nodes: &[IpAddr],
    host_ips: &[IpAddr],
    gateway: Option<IpAddr>,
) -> Option<Finding> {
    let all: u64 = sources.values().sum();
    let known: HashSet<IpAddr> = nodes.iter().chain(host_ips).copied().chain(gateway).collect();
    let masqueraded: u64 =
        sources.iter().filter(|(source, _)| known.contains(source)).map(|(_, count)| count).sum();
    // A phone may well run on a node. When the nodes are not known, only all of them together say something.
    let says_something = masqueraded > 0 && (!nodes.is_empty() || masqueraded == all);
    (all >= ENOUGH && says_something).then(|| Finding::new(
code::SOURCE_HIDDEN,
Severity::Error,
pod,
format!(
            "{masqueraded} of {all} registrations of the last minutes came from addresses of nodes: the phones' own \
             are hidden."
        ),
"Set signaling.service.externalTrafficPolicy to Local.",
))
}

/// The default gateway of the kernel's table (`/proc/net/route`): on a pod network it is the node.
fn gateway_of(table: &str) -> Option<IpAddr> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        // Written in the byte order of the machine.
        (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn sources(list: &[(&str, u64)]) -> HashMap<IpAddr, u64> {
        list.iter().map(|(source, count)| (ip(source), *count)).collect()
    }

    #[test]
    fn registrations_from_nodes_are_counted_and_named() {
        let nodes = [ip("192.0.2.11"), ip("192.0.2.12")];
        let seen = sources(&[("192.0.2.11", 7), ("203.0.113.9", 3)]);
        let found = hidden("edge-0", &seen, &nodes, &[], None).unwrap();
        assert_eq!(found.code, code::SOURCE_HIDDEN);
        assert!(found.text.contains("7 of 10"), "{}", found.text);
        assert!(found.remedy.contains("externalTrafficPolicy"));
        assert_eq!(hidden("edge-0", &sources(&[("203.0.113.9", 30)]), &nodes, &[], None), None);
        assert_eq!(hidden("edge-0", &sources(&[("192.0.2.11", 2)]), &nodes, &[], None), None, "too few");
    }

    #[test]
    fn without_nodes_only_all_from_the_own_node_say_something() {
        let (host, gateway) = ([ip("192.0.2.11")], Some(ip("10.244.1.1")));
        let all = sources(&[("192.0.2.11", 5), ("10.244.1.1", 5)]);
        assert!(hidden("edge-0", &all, &[], &host, gateway).is_some());
        let most = sources(&[("192.0.2.11", 50), ("203.0.113.9", 1)]);
        assert_eq!(hidden("edge-0", &most, &[], &host, gateway), None);
        assert_eq!(hidden("edge-0", &HashMap::new(), &[], &host, gateway), None);
    }

    #[test]
    fn only_the_last_minutes_count() {
        let (mut registrations, start) = (Registrations::default(), Instant::now());
        registrations.note(ip("192.0.2.1"), start);
        registrations.note(ip("192.0.2.1"), start + STEP);
        assert_eq!(registrations.counts(start + STEP), sources(&[("192.0.2.1", 2)]));
        assert_eq!(registrations.counts(start + WINDOW), sources(&[("192.0.2.1", 1)]));
        assert!(registrations.counts(start + STEP + WINDOW).is_empty());
        for n in 0..2 * SOURCES as u32 {
            registrations.note(Ipv4Addr::from(n).into(), start + 2 * WINDOW);
        }
        assert_eq!(registrations.counts(start + 2 * WINDOW).len(), SOURCES);
    }

    #[test]
    fn the_gateway_is_read_from_the_kernels_table() {
        let table = "Iface\tDestination\tGateway\tFlags\neth0\t0000F40A\t00000000\t0001\neth0\t00000000\tGATE\t0003\n";
        let gate = u32::from_ne_bytes([10, 244, 1, 1]);
        assert_eq!(gateway_of(&table.replace("GATE", &format!("{gate:08X}"))), Some(ip("10.244.1.1")));
        assert_eq!(gateway_of("Iface\tDestination\n"), None);
    }
}
