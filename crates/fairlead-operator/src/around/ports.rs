//! Ports of a Service that somebody's merge has lost. Helm 3 merges them by number alone, so of UDP and TCP 5060 one is
//! gone after an upgrade; the chart writes into an annotation which it means.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

/// `NAME/PORT/PROTOCOL` or `NAME/PORT/PROTOCOL/NODEPORT`, separated by commas.
const ANNOTATION: &str = "fairlead.dev/ports";

/// A port that is meant.
#[derive(Clone, Copy)]
struct Meant<'a> {
    name: &'a str,
    number: i32,
    protocol: &'a str,
    /// Where it was chosen; else Kubernetes draws one.
    node_port: Option<i32>,
}

impl Meant<'_> {
    fn is(&self, port: &ServicePort) -> bool {
        port.name.as_deref() == Some(self.name)
            && self.is_for(port)
            && self.node_port.is_none_or(|chosen| port.node_port == Some(chosen))
    }

    fn is_for(&self, port: &ServicePort) -> bool {
        port.port == self.number && protocol(port) == self.protocol
    }
}

/// The ports that the Service ought to have, if it does not have them. What a port has beside name, number and protocol
/// (its node port above all, where none was chosen) is kept. An annotation that cannot be read changes nothing.
pub fn repaired(service: &Service) -> Option<Vec<ServicePort>> {
    let meant: Vec<Meant<'_>> =
        service.annotations().get(ANNOTATION)?.split(',').map(port).collect::<Option<_>>()?;
    let is: &[ServicePort] = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let has = |meant: &Meant<'_>| is.iter().any(|port| meant.is(port));
    if meant.is_empty() || (is.len() == meant.len() && meant.iter().all(has)) {
        return None;
    }
    let ought = meant.iter().map(|meant| {
        let same = |port: &&ServicePort| meant.is_for(port);
        let kept = is.iter().find(same).cloned().unwrap_or_else(|| ServicePort {
            // By number: a pod's list of ports is merged by number alone too, so it names only one of two protocols.
            target_port: Some(IntOrString::Int(meant.number)),
            ..ServicePort::default()
        });
        ServicePort {
            name: Some(meant.name.to_owned()),
            port: meant.number,
            protocol: Some(meant.protocol.to_owned()),
            node_port: meant.node_port.or(kept.node_port),
            ..kept
        }
    });
    Some(ought.collect())
}

fn port(text: &str) -> Option<Meant<'_>> {
    let mut parts = text.trim().split('/');
    let (name, number, protocol) = (parts.next()?, self::number(parts.next()?)?, parts.next()?);
    let node_port = match parts.next() {
        None => None,
        Some(chosen) => Some(self::number(chosen)?),
    };
    let is_sound = !name.is_empty() && matches!(protocol, "UDP" | "TCP" | "SCTP") && parts.next().is_none();
    is_sound.then_some(Meant { name, number, protocol, node_port })
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok().filter(|number| (1..=65_535).contains(number))
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
        assert_eq!(repaired(&service("udp/5060/UDP/31234", json!([udp()]))), None);
        assert_eq!(repaired(&service("udp/5060/UDP/0", json!([]))), None);
        assert_eq!(repaired(&service("udp/5060/UDP/31234/1", json!([]))), None);
        assert_eq!(repaired(&service("", json!([udp()]))), None);
    }

    #[test]
    fn a_node_port_that_was_chosen_is_put_right() {
        let meant = "udp/5060/UDP/30100,tcp/5060/TCP/30100";
        let ports = repaired(&service(meant, json!([udp()]))).unwrap();
        let seen: Vec<_> = ports.iter().map(|p| (protocol(p), p.node_port)).collect();
        assert_eq!(seen, [("UDP", Some(30_100)), ("TCP", Some(30_100))]);
    }

    #[test]
    fn a_port_that_is_not_meant_goes() {
        let more = json!([udp(), { "name": "old", "port": 5080, "protocol": "UDP" }]);
        assert_eq!(repaired(&service("udp/5060/UDP", more)).unwrap().len(), 1);
    }
}
