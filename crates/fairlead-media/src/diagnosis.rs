//! What a relay says of itself when it is examined: whether it has ports and an address, and whether the world reaches
//! its ports under their own numbers.

use std::net::SocketAddr;

use fairlead_model::surroundings::{Diagnosis, Finding, Severity, code};
use fairlead_proto::operator::Unanswered;
use fairlead_proto::provisioning::DiagnosisPort;

use crate::hairpin::Arrival;
use crate::relay::Relay;
use crate::slices::NoSlice;

/// The diagnosis of a relay.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// This pod's name.
    pub(crate) name: String,
    pub(crate) relay: Relay,
    /// Why it owns no ports, when it owns none.
    pub(crate) no_slice: Option<NoSlice>,
}

#[async_trait::async_trait]
impl DiagnosisPort for Doctor {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        let mut findings = Vec::new();
        if let Some(why) = &self.no_slice {
            findings.push(no_service(&self.name, why));
        } else if !self.relay.knows_address() {
            findings.push(no_address(&self.name));
        } else {
            let (aims, arrived) = self.relay.try_ports().await;
            if arrived.len() < aims.len() {
                tracing::info!(
                    tried = aims.len(),
                    came_back = arrived.len(),
                    "not every packet to our own address came back; that this cluster turns none round says nothing bad"
                );
            }
            findings.extend(port_changed(&self.name, &aims, &arrived));
        }
        Ok(fairlead_runtime::diagnosis::diagnosis(&self.name, findings))
    }
}

fn no_service(name: &str, why: &NoSlice) -> Finding {
    Finding::new(
        code::NO_MEDIA_SERVICE,
        Severity::Error,
        name,
        format!("No call is sent to this relay: {why}."),
        "Raise media.maxReplicas, so that there are ports and a Service for it, or lower media.replicas.",
    )
}

fn no_address(name: &str) -> Finding {
    Finding::new(
        code::NO_ADDRESS,
        Severity::Error,
        name,
        "No call is sent to this relay: it knows no address at which phones reach it.",
        "Let a balancer give its Service an address, choose another media.exposure, or name one by media.advertise.",
    )
}

fn port_changed(name: &str, aims: &[SocketAddr], arrived: &[Arrival]) -> Option<Finding> {
    let changed: Vec<(SocketAddr, u16)> = arrived
        .iter()
        .filter_map(|arrival| aims.get(arrival.aim as usize).map(|aim| (*aim, arrival.port)))
        .filter(|(aim, port)| aim.port() != *port)
        .collect();
    let (aim, port) = changed.first()?;
    let others = match changed.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more ports likewise"),
    };
    Some(Finding::new(
        code::PORT_CHANGED,
        Severity::Error,
        name,
        format!(
            "What is sent to {aim} comes in at port {port} of this relay{others}; phones are told the port's own number."
        ),
        "The Service of this pod needs the same number as port, targetPort and nodePort: media.ports.base and media.ports.count.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_comes_back_with_another_number_is_named_with_both() {
        let aims: Vec<SocketAddr> =
            ["192.0.2.1:30000", "192.0.2.1:30002"].iter().map(|aim| aim.parse().unwrap()).collect();
        let as_it_should = [Arrival { aim: 0, port: 30_000 }, Arrival { aim: 1, port: 30_002 }];
        assert_eq!(port_changed("media-0", &aims, &as_it_should), None);
        assert_eq!(port_changed("media-0", &aims, &[]), None, "a cluster that turns nothing round");
        let swapped = [Arrival { aim: 0, port: 30_002 }, Arrival { aim: 1, port: 30_000 }];
        let finding = port_changed("media-0", &aims, &swapped).unwrap();
        assert_eq!((finding.code.as_str(), finding.about.as_str()), (code::PORT_CHANGED, "media-0"));
        assert!(
            finding.text.contains("192.0.2.1:30000") && finding.text.contains("30002"),
            "{}",
            finding.text
        );
    }
}
