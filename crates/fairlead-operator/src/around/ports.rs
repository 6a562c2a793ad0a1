//! Ports of a Service that somebody's merge has lost. Helm 3 merges them by number alone, so of UDP and TCP 5060 one is
//! gone after an upgrade; the chart writes into an annotation which it means.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

/// `NAME/PORT/PROTOCOL`, separated by commas.
const ANNOTATION: &str = "fairlead.dev/ports";

/// The ports that the Service ought to have, if it does not have them. What a port has beside name, number and protocol
/// (its node port above all) is kept. An annotation that cannot be read changes nothing.
pub fn repaired(service: &Service) -> Option<Vec<ServicePort>> {
    let meant: Vec<(&str, i32, &str)> =
        service.annotations().get(ANNOTATION)?.split(',').map(port).collect::<Option<_>>()?;
    let is: &[ServicePort] = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let has = |(name, number, protocol): &(&str, i32, &str)| {
        is.iter().any(|port| {
            port.name.as_deref() == Some(*name) && port.port == *number && self::protocol(port) == *protocol
        })
    };
    if meant.is_empty() || (is.len() == meant.len() && meant.iter().all(has)) {
        return None;
    }
    let ought = meant.iter().map(|(name, number, protocol)| {
        let same = |port: &&ServicePort| port.port == *number && self::protocol(port) == *protocol;
        let kept = is.iter().find(same).cloned().unwrap_or_else(|| ServicePort {
            // By number: a pod's list of ports is merged by number alone too, so it names only one of two protocols.
            target_port: Some(IntOrString::Int(*number)),
            ..ServicePort::default()
        });
        ServicePort {
            name: Some((*name).to_owned()),
            port: *number,
            protocol: Some((*protocol).to_owned()),
            ..kept
        }
    });
    Some(ought.collect())
}

fn port(text: &str) -> Option<(&str, i32, &str)> {
    let mut parts = text.trim().split('/');
    let (name, number, protocol) = (parts.next()?, parts.next()?, parts.next()?);
    let number = number.parse().ok().filter(|number| (1..=65_535).contains(number))?;
    let is_sound = !name.is_empty() && matches!(protocol, "UDP" | "TCP" | "SCTP") && parts.next().is_none();
    is_sound.then_some((name, number, protocol))
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{from_value, json};

    use super::*;

    fn service(annotation: &str, ports: k8s_openapi::serde_json::Value) -> Service {
        from_value(
            json!({ "metadata": { "annotations": { ANNOTATION: annotation } }, "spec": { "ports": ports } }),
        )
        .unwrap()
    }

    fn udp() -> k8s_openapi::serde_json::Value {
        json!({ "name": "udp", "port": 5060, "protocol": "UDP", "targetPort": "udp", "nodePort": 31_234 })
    }

    #[test]
    fn a_lost_protocol_comes_back_and_node_ports_stay() {
        let ports = repaired(&service("udp/5060/UDP,tcp/5060/TCP", json!([udp()]))).unwrap();
        let seen: Vec<_> =
            ports.iter().map(|p| (p.name.as_deref().unwrap(), p.port, protocol(p), p.node_port)).collect();
        assert_eq!(seen, [("udp", 5060, "UDP", Some(31_234)), ("tcp", 5060, "TCP", None)]);
        assert_eq!(ports[1].target_port, Some(IntOrString::Int(5060)));
    }

    #[test]
    fn right_ports_and_unreadable_notes_are_left_alone() {
        assert_eq!(repaired(&service("udp/5060/UDP", json!([udp()]))), None);
        assert_eq!(repaired(&service("udp/0/UDP", json!([]))), None);
        assert_eq!(repaired(&service("nonsense", json!([udp()]))), None);
        assert_eq!(repaired(&service("", json!([udp()]))), None);
    }

    #[test]
    fn a_port_that_is_not_meant_goes() {
        let more = json!([udp(), { "name": "old", "port": 5080, "protocol": "UDP" }]);
        assert_eq!(repaired(&service("udp/5060/UDP", more)).unwrap().len(), 1);
    }
}
