//! Where the world reaches the edge, from Services, pods and nodes as they are: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairlead_model::flow::Transport;
use fairlead_model::surroundings::{Finding, MediaAddress, Severity, SipAddress, Surroundings, code};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Node, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

/// How relays are reached from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// By a Service of type NodePort for each pod, at the address of its node.
    NodePort,
    /// By a Service of type LoadBalancer for each pod.
    LoadBalancer,
    /// By ports of the node.
    HostPort,
    /// In the network of the node.
    HostNetwork,
    /// By the address of the pod.
    PodIp,
}

/// What is known beforehand.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Service of signaling; those named after it with a dash and more are its too.
    pub sip_service: String,
    /// How relays are reached.
    pub exposure: Exposure,
    /// Addresses of signaling that somebody has given: they stand instead of those found for their network and transport.
    pub sip_addresses: Vec<SipAddress>,
    /// Networks of destinations that reach nodes at their internal addresses.
    pub internal: Vec<IpNet>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Services of the release by name.
    pub services: BTreeMap<String, Service>,
    /// Pods of the release by name.
    pub pods: BTreeMap<String, Pod>,
    /// Nodes by name; `None` where they may not be seen.
    pub nodes: Option<BTreeMap<String, Node>>,
    /// Addresses of names that balancers gave.
    pub resolved: BTreeMap<String, Vec<IpAddr>>,
}

/// What it comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// For every pod.
    pub surroundings: Surroundings,
    /// Names that have to be resolved.
    pub names: BTreeSet<String>,
}

/// Looks at everything.
pub fn survey(config: &Config, world: &World) -> Survey {
    let mut survey = Survey::default();
    sip(config, world, &mut survey);
    media(config, world, &mut survey);
    survey.surroundings.nodes = nodes(world);
    survey
}

const KIND_NODE_PORT: &str = "NodePort";
const KIND_BALANCER: &str = "LoadBalancer";

fn sip(config: &Config, world: &World, survey: &mut Survey) {
    let found = &mut survey.surroundings;
    found.sip.clone_from(&config.sip_addresses);
    let is_given =
        |transport| config.sip_addresses.iter().any(|a| a.network.is_empty() && a.transport == transport);
    let beginning = format!("{}-", config.sip_service);
    let is_sip = |name: &str| name == config.sip_service || name.starts_with(&beginning);
    for (name, service) in world.services.iter().filter(|(name, _)| is_sip(name)) {
        let kind = kind(service);
        for port in ports(service) {
            let Some(transport) = transport(port).filter(|transport| !is_given(*transport)) else { continue };
            for (host, destinations) in hosts(config, world, service) {
                // A NodePort is the number that the world sees; anything else keeps the Service's own.
                let number = if kind == KIND_NODE_PORT { port.node_port } else { Some(port.port) };
                let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
                let address =
                    SipAddress { network: String::new(), transport, host, port: number, destinations };
                if !found.sip.contains(&address) {
                    found.sip.push(address);
                }
            }
        }
        if is_outside(kind) && policy(service) == "Cluster" {
            found.findings.push(hidden(name, "phones", "signaling.service.externalTrafficPolicy=Local"));
        }
    }
    if found.sip.is_empty() {
        let about = config.sip_service.clone();
        let (text, remedy) = match world.services.get(&config.sip_service) {
            None => (
                "there is no Service for SIP, and no address is given: calls are refused".to_owned(),
                "install the chart's Service again (signaling.service), or signaling.advertise",
            ),
            Some(service) if kind(service) == KIND_BALANCER => (
                "the Service is of type LoadBalancer and no balancer has given it an address: calls are refused".to_owned(),
                "install a balancer such as MetalLB, or signaling.service.type=NodePort, or signaling.advertise",
            ),
            Some(service) if kind(service) == KIND_NODE_PORT => (
                "the Service is of type NodePort, but no node's address is known: calls are refused".to_owned(),
                "operator.readNodes=true, or signaling.advertise",
            ),
            Some(service) => (
                format!("the Service is of type {}, which the world does not reach: calls are refused", kind(service)),
                "signaling.service.type=LoadBalancer or NodePort, or signaling.advertise",
            ),
        };
        found.findings.push(Finding::new(code::NO_ADDRESS, Severity::Error, about, text, remedy));
    }
    let hosts_of = |transport| -> BTreeSet<&str> {
        found.sip.iter().filter(|a| a.transport == transport).map(|a| a.host.as_str()).collect()
    };
    let (udp, tcp) = (hosts_of(Transport::Udp), hosts_of(Transport::Tcp));
    if !udp.is_empty() && !tcp.is_empty() && udp != tcp {
        let list = |hosts: &BTreeSet<&str>| hosts.iter().copied().collect::<Vec<_>>().join(", ");
        let text = format!(
            "UDP is reached at {} and TCP at {}: a request that is too large for UDP goes to the wrong address",
            list(&udp),
            list(&tcp)
        );
        let remedy = "signaling.service.split=false, or let both share an address by signaling.service.sharedAddressAnnotations";
        found.findings.push(Finding::new(
            code::ADDRESSES_DIFFER,
            Severity::Warning,
            config.sip_service.clone(),
            text,
            remedy,
        ));
    }
    survey.names.extend(
        world.services.iter().filter(|(name, _)| is_sip(name)).flat_map(|(_, service)| names(service)),
    );
}

/// Where a Service is reached, and by whom; nobody named is everybody.
fn hosts(config: &Config, world: &World, service: &Service) -> Vec<(String, Vec<IpNet>)> {
    let everybody = |host: String| (host, Vec::new());
    let external = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten().cloned());
    let mut hosts: Vec<_> = external.map(everybody).collect();
    if kind(service) == KIND_BALANCER {
        hosts.extend(
            ingress(service).filter_map(|at| at.hostname.clone().or_else(|| at.ip.clone())).map(everybody),
        );
    } else if kind(service) == KIND_NODE_PORT {
        let homes: BTreeSet<&str> = world
            .pods
            .values()
            .filter(|pod| component(pod) == Some("signaling"))
            .filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref())
            .collect();
        // With `Local` only a node with a pod answers, so these come first.
        let all = world.nodes.iter().flatten();
        let (home, other): (Vec<_>, Vec<_>) = all.partition(|(name, _)| homes.contains(name.as_str()));
        let used = if policy(service) == "Local" && !home.is_empty() { home } else { [home, other].concat() };
        for (_, node) in used {
            for (address, destinations) in node_addresses(config, node) {
                hosts.push((address.to_string(), destinations));
            }
        }
    }
    hosts
}

/// The addresses of a node: those outside before those inside, which then are for destinations inside only.
fn node_addresses(config: &Config, node: &Node) -> Vec<(IpAddr, Vec<IpNet>)> {
    let (outside, inside) = (addresses(node, "ExternalIP"), addresses(node, "InternalIP"));
    if outside.is_empty() {
        return inside.into_iter().map(|address| (address, Vec::new())).collect();
    }
    let mut all: Vec<_> = outside.into_iter().map(|address| (address, Vec::new())).collect();
    if !config.internal.is_empty() {
        all.extend(inside.into_iter().map(|address| (address, config.internal.clone())));
    }
    all
}

fn addresses(node: &Node, kind: &str) -> Vec<IpAddr> {
    let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    all.filter(|address| address.type_ == kind).filter_map(|address| address.address.parse().ok()).collect()
}

fn media(config: &Config, world: &World, survey: &mut Survey) {
    for (name, pod) in world.pods.iter().filter(|(_, pod)| component(pod) == Some("media")) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let node = node.and_then(|node| world.nodes.as_ref()?.get(node));
        // What the relay says by itself is the address of its node, by the downward API; only what differs is told.
        let at_node = || {
            let is_better = |node: &&Node| !addresses(node, "ExternalIP").is_empty();
            node.filter(is_better).map(|node| node_addresses(config, node)).unwrap_or_default()
        };
        let found = match config.exposure {
            Exposure::HostPort | Exposure::HostNetwork => at_node(),
            Exposure::PodIp => pod_ips(pod).into_iter().map(|address| (address, Vec::new())).collect(),
            Exposure::NodePort => {
                media_service(world, name, config.exposure, &mut survey.surroundings.findings);
                at_node()
            }
            Exposure::LoadBalancer => {
                let service = media_service(world, name, config.exposure, &mut survey.surroundings.findings);
                let found = service.map(|service| balanced(world, service)).unwrap_or_default();
                if let (Some(service), true) = (service, found.is_empty()) {
                    let text = "no balancer has given it an address: the relay is not chosen".to_owned();
                    let remedy = "install a balancer such as MetalLB, or media.exposure=nodePort";
                    let about = service.name_any();
                    survey.surroundings.findings.push(Finding::new(
                        code::NO_ADDRESS,
                        Severity::Error,
                        about,
                        text,
                        remedy,
                    ));
                }
                survey.names.extend(service.into_iter().flat_map(names));
                found.into_iter().map(|address| (address, Vec::new())).collect()
            }
        };
        survey.surroundings.media.extend(found.into_iter().map(|(address, destinations)| MediaAddress {
            pod: name.clone(),
            network: String::new(),
            address,
            destinations,
        }));
    }
}

/// The Service of a relay, with what is wrong with it.
fn media_service<'a>(
    world: &'a World,
    pod: &str,
    exposure: Exposure,
    findings: &mut Vec<Finding>,
) -> Option<&'a Service> {
    let Some(service) = world.services.get(pod) else {
        let text = "there is no Service for this relay: its ordinal is beyond media.maxReplicas, so it is not chosen";
        let remedy = "media.maxReplicas, or fewer media.replicas";
        findings.push(Finding::new(
            code::NO_MEDIA_SERVICE,
            Severity::Error,
            pod.to_owned(),
            text.to_owned(),
            remedy,
        ));
        return None;
    };
    for port in ports(service) {
        let target = match &port.target_port {
            Some(IntOrString::Int(number)) => *number,
            // A name leads to whatever the pod calls so; nothing can be said of it.
            Some(IntOrString::String(_)) => continue,
            None => port.port,
        };
        let outside = if exposure == Exposure::NodePort { port.node_port.unwrap_or(0) } else { port.port };
        if outside != target {
            let text = format!(
                "port {target} of the relay is reached at {outside}: phones send to a port where nobody listens"
            );
            let remedy =
                "media.ports.base and media.ports.count, in the cluster's range of node ports and free";
            findings.push(Finding::new(code::PORT_CHANGED, Severity::Error, pod.to_owned(), text, remedy));
            break;
        }
    }
    if is_outside(kind(service)) && policy(service) == "Cluster" {
        findings.push(hidden(
            pod,
            "the RTP of phones",
            "externalTrafficPolicy=Local at the Service, as the chart makes it",
        ));
    }
    Some(service)
}

/// The addresses at which a balancer serves; names have been resolved, or are not told yet.
fn balanced(world: &World, service: &Service) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for at in ingress(service) {
        found.extend(at.ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()));
        let resolved = at.hostname.as_ref().and_then(|name| world.resolved.get(name));
        found.extend(resolved.into_iter().flatten());
    }
    found.sort();
    found.dedup();
    found
}

fn names(service: &Service) -> impl Iterator<Item = String> {
    ingress(service).filter_map(|at| at.hostname.clone())
}

/// From where masqueraded packets come: nodes, and the near end of each node's network of pods.
fn nodes(world: &World) -> Vec<IpAddr> {
    let mut all: BTreeSet<IpAddr> = BTreeSet::new();
    for node in world.nodes.iter().flatten().map(|(_, node)| node) {
        all.extend(addresses(node, "InternalIP"));
        all.extend(addresses(node, "ExternalIP"));
        let networks = node.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten());
        all.extend(networks.filter_map(|network| network.parse::<IpNet>().ok()?.hosts().next()));
    }
    for status in world.pods.values().filter_map(|pod| pod.status.as_ref()) {
        all.extend(status.host_ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    all.into_iter().collect()
}

fn pod_ips(pod: &Pod) -> Vec<IpAddr> {
    let all = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    all.filter_map(|ip| ip.ip.parse().ok()).collect()
}

/// The role of a pod, by its label.
pub fn component(pod: &Pod) -> Option<&str> {
    pod.labels().get("app.kubernetes.io/component").map(String::as_str)
}

fn kind(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP")
}

fn is_outside(kind: &str) -> bool {
    matches!(kind, KIND_BALANCER | KIND_NODE_PORT)
}

fn policy(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref()).unwrap_or("Cluster")
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

fn ingress(service: &Service) -> impl Iterator<Item = &LoadBalancerIngress> {
    let balancer = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    balancer.flat_map(|balancer| balancer.ingress.iter().flatten())
}

/// The transport of a port. Listeners of signaling are UDP and TCP; a number or a name that others use for TLS makes none of it.
fn transport(port: &ServicePort) -> Option<Transport> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "UDP" => Some(Transport::Udp),
        "TCP" => Some(Transport::Tcp),
        _ => None,
    }
}

fn hidden(service: &str, whose: &str, remedy: &str) -> Finding {
    let text = format!("its externalTrafficPolicy is Cluster: {whose} seem to come from nodes");
    Finding::new(code::SOURCE_HIDDEN, Severity::Warning, service.to_owned(), text, remedy)
}

#[cfg(test)]
mod tests;
