use k8s_openapi::serde_json::{Value, from_value, json};

use super::*;

fn config() -> Config {
    Config {
        sip_service: "edge-fairlead-sip".to_owned(),
        exposure: Exposure::NodePort,
        sip_addresses: Vec::new(),
        internal: Vec::new(),
    }
}

fn service(name: &str, spec: Value, ingress: Value) -> (String, Service) {
    let service = json!({
        "metadata": { "name": name },
        "spec": spec,
        "status": { "loadBalancer": { "ingress": ingress } },
    });
    (name.to_owned(), from_value(service).unwrap())
}

fn sip_service(kind: &str, ingress: Value) -> (String, Service) {
    let spec = json!({
        "type": kind,
        "externalTrafficPolicy": "Local",
        "ports": [
            { "name": "sip-udp", "protocol": "UDP", "port": 5060, "targetPort": 5060, "nodePort": 31000 },
            { "name": "sip-tcp", "protocol": "TCP", "port": 5060, "targetPort": 5060, "nodePort": 31000 },
        ],
    });
    service("edge-fairlead-sip", spec, ingress)
}

fn media_service(ordinal: u32, kind: &str, port: u32, node_port: u32, ingress: Value) -> (String, Service) {
    let spec = json!({
        "type": kind,
        "externalTrafficPolicy": "Local",
        "ports": [{ "protocol": "UDP", "port": port, "targetPort": port, "nodePort": node_port }],
    });
    service(&format!("edge-fairlead-media-{ordinal}"), spec, ingress)
}

fn pod(name: &str, component: &str, node: &str) -> (String, Pod) {
    let pod = json!({
        "metadata": { "name": name, "labels": { "app.kubernetes.io/component": component } },
        "spec": { "nodeName": node, "containers": [] },
        "status": { "hostIP": "10.41.0.11", "podIPs": [{ "ip": "10.42.0.7" }] },
    });
    (name.to_owned(), from_value(pod).unwrap())
}

fn node(name: &str, addresses: &[(&str, &str)]) -> (String, Node) {
    let addresses: Vec<_> =
        addresses.iter().map(|(kind, ip)| json!({ "type": kind, "address": ip })).collect();
    let node = json!({
        "metadata": { "name": name },
        "spec": { "podCIDRs": ["10.42.1.0/24"] },
        "status": { "addresses": addresses },
    });
    (name.to_owned(), from_value(node).unwrap())
}

fn world(services: Vec<(String, Service)>, pods: Vec<(String, Pod)>, nodes: Vec<(String, Node)>) -> World {
    World {
        services: services.into_iter().collect(),
        pods: pods.into_iter().collect(),
        nodes: Some(nodes.into_iter().collect()),
        resolved: BTreeMap::new(),
    }
}

fn told(survey: &Survey) -> Vec<String> {
    survey.surroundings.sip.iter().map(|a| format!("{} {}:{}", a.transport, a.host, a.port)).collect()
}

fn codes(survey: &Survey) -> Vec<(&str, &str)> {
    survey.surroundings.findings.iter().map(|f| (f.code.as_str(), f.about.as_str())).collect()
}

#[test]
fn a_balancers_address_serves_both_transports() {
    let world = world(vec![sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]))], vec![], vec![]);
    let survey = survey(&config(), &world);
    assert_eq!(told(&survey), ["udp 203.0.113.5:5060", "tcp 203.0.113.5:5060"]);
    assert!(codes(&survey).is_empty());
}

#[test]
fn a_port_that_others_use_for_tls_is_tcp_here() {
    let (name, mut sip) = sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]));
    let more = json!({ "name": "sip-tls", "protocol": "TCP", "port": 5061, "targetPort": 5061 });
    sip.spec.as_mut().unwrap().ports.as_mut().unwrap().push(from_value(more).unwrap());
    let survey = survey(&config(), &world(vec![(name, sip)], vec![], vec![]));
    assert_eq!(told(&survey), ["udp 203.0.113.5:5060", "tcp 203.0.113.5:5060", "tcp 203.0.113.5:5061"]);
}

#[test]
fn a_balancers_name_is_said_itself_and_resolved() {
    let world =
        world(vec![sip_service("LoadBalancer", json!([{ "hostname": "lb.example.com" }]))], vec![], vec![]);
    let survey = survey(&config(), &world);
    assert_eq!(told(&survey), ["udp lb.example.com:5060", "tcp lb.example.com:5060"]);
    assert_eq!(survey.names.iter().map(String::as_str).collect::<Vec<_>>(), ["lb.example.com"]);
}

#[test]
fn without_a_balancer_there_is_no_address_and_a_finding() {
    let survey = survey(&config(), &world(vec![sip_service("LoadBalancer", json!([]))], vec![], vec![]));
    assert_eq!(told(&survey), [""; 0]);
    assert_eq!(codes(&survey), [("NoAddress", "edge-fairlead-sip")]);
}

#[test]
fn node_ports_are_at_nodes_that_have_a_pod_outside_before_inside() {
    let nodes = vec![
        node("n1", &[("InternalIP", "10.0.0.1"), ("ExternalIP", "198.51.100.1")]),
        node("n2", &[("InternalIP", "10.0.0.2")]),
    ];
    let pods = vec![pod("edge-fairlead-signaling-x", "signaling", "n1")];
    let mut world = world(vec![sip_service("NodePort", json!([]))], pods, nodes);
    assert_eq!(told(&survey(&config(), &world)), ["udp 198.51.100.1:31000", "tcp 198.51.100.1:31000"]);
    let inside = Config { internal: vec!["10.0.0.0/8".parse().unwrap()], ..config() };
    let survey_inside = survey(&inside, &world);
    let internal = &survey_inside.surroundings.sip[1];
    assert_eq!((internal.host.as_str(), internal.destinations.len()), ("10.0.0.1", 1));
    world.nodes = None;
    assert_eq!(codes(&survey(&config(), &world)), [("NoAddress", "edge-fairlead-sip")]);
}

#[test]
fn addresses_that_are_given_stand_instead_of_those_found() {
    let given = SipAddress {
        network: String::new(),
        transport: Transport::Udp,
        host: "sip.example.com".to_owned(),
        port: 5060,
        destinations: Vec::new(),
    };
    let config = Config { sip_addresses: vec![given], ..config() };
    let world = world(vec![sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]))], vec![], vec![]);
    let survey = survey(&config, &world);
    assert_eq!(told(&survey), ["udp sip.example.com:5060", "tcp 203.0.113.5:5060"]);
    assert_eq!(codes(&survey), [("AddressesDiffer", "edge-fairlead-sip")]);
}

#[test]
fn two_services_with_two_addresses_are_told_apart() {
    let one = |name: &str, protocol: &str, ip: &str| {
        let spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "ports": [{ "protocol": protocol, "port": 5060 }],
        });
        service(name, spec, json!([{ "ip": ip }]))
    };
    let services = |tcp: &str| {
        vec![one("edge-fairlead-sip", "UDP", "203.0.113.5"), one("edge-fairlead-sip-tcp", "TCP", tcp)]
    };
    assert_eq!(
        codes(&survey(&config(), &world(services("203.0.113.6"), vec![], vec![])))[0].0,
        "AddressesDiffer"
    );
    assert!(codes(&survey(&config(), &world(services("203.0.113.5"), vec![], vec![]))).is_empty());
}

#[test]
fn a_policy_that_hides_sources_is_found() {
    let (name, mut service) = sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]));
    service.spec.as_mut().unwrap().external_traffic_policy = Some("Cluster".to_owned());
    let survey = survey(&config(), &world(vec![(name, service)], vec![], vec![]));
    assert_eq!(codes(&survey), [("SourceHidden", "edge-fairlead-sip")]);
}

#[test]
fn a_relay_on_a_node_with_an_external_address_is_told_that_one() {
    let sip = || sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]));
    let relay = media_service(0, "NodePort", 30_000, 30_000, json!([]));
    let pods = vec![pod("edge-fairlead-media-0", "media", "n1"), pod("edge-fairlead-media-1", "media", "n2")];
    let nodes = vec![
        node("n1", &[("InternalIP", "10.0.0.1"), ("ExternalIP", "198.51.100.1")]),
        node("n2", &[("InternalIP", "10.0.0.2")]),
    ];
    let services = vec![sip(), relay, media_service(1, "NodePort", 30_020, 30_020, json!([]))];
    let survey = survey(&config(), &world(services, pods, nodes));
    let media: Vec<_> =
        survey.surroundings.media.iter().map(|m| (m.pod.as_str(), m.address.to_string())).collect();
    assert_eq!(media, [("edge-fairlead-media-0", "198.51.100.1".to_owned())]);
    assert!(codes(&survey).is_empty());
    let nodes: Vec<_> = survey.surroundings.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["10.0.0.1", "10.0.0.2", "10.41.0.11", "10.42.1.1", "198.51.100.1"]);
}

#[test]
fn ports_that_changed_and_relays_without_a_service_are_found() {
    let sip = sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]));
    let services = vec![sip, media_service(0, "NodePort", 30_000, 31_742, json!([]))];
    let pods = vec![pod("edge-fairlead-media-0", "media", "n1"), pod("edge-fairlead-media-4", "media", "n1")];
    let survey = survey(&config(), &world(services, pods, vec![]));
    assert_eq!(
        codes(&survey),
        [("PortChanged", "edge-fairlead-media-0"), ("NoMediaService", "edge-fairlead-media-4")]
    );
}

#[test]
fn a_balanced_relay_has_the_addresses_of_its_own_service() {
    let config = Config { exposure: Exposure::LoadBalancer, ..config() };
    let services = vec![
        sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }])),
        media_service(0, "LoadBalancer", 30_000, 31_000, json!([{ "ip": "203.0.113.6" }])),
        media_service(1, "LoadBalancer", 30_020, 31_001, json!([{ "hostname": "lb.example.com" }])),
        media_service(2, "LoadBalancer", 30_040, 31_002, json!([])),
    ];
    let pods = (0..3).map(|n| pod(&format!("edge-fairlead-media-{n}"), "media", "n1")).collect();
    let mut world = world(services, pods, vec![]);
    let before = survey(&config, &world);
    assert_eq!(
        codes(&before),
        [("NoAddress", "edge-fairlead-media-1"), ("NoAddress", "edge-fairlead-media-2")],
        "a name without an address is none"
    );
    world.resolved.insert("lb.example.com".to_owned(), vec!["203.0.113.7".parse().unwrap()]);
    let after = survey(&config, &world);
    let media: Vec<_> = after.surroundings.media.iter().map(|m| m.address.to_string()).collect();
    assert_eq!(media, ["203.0.113.6", "203.0.113.7"]);
}

#[test]
fn relays_can_be_reached_at_their_pods() {
    let config = Config { exposure: Exposure::PodIp, ..config() };
    let sip = sip_service("LoadBalancer", json!([{ "ip": "203.0.113.5" }]));
    let survey =
        survey(&config, &world(vec![sip], vec![pod("edge-fairlead-media-0", "media", "n1")], vec![]));
    assert_eq!(survey.surroundings.media[0].address.to_string(), "10.42.0.7");
    assert!(codes(&survey).is_empty());
}
