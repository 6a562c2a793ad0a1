//! By what way a peer is reached: the next hop, the Route, the Request-URI.

use fairlead_model::binding::Binding;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::peer::{Host, Peer, host_and_port};
use sip_wire::Uri;

/// Next hop and Route (topmost first) of requests to a registered contact; `None` when neither its flow nor its
/// URI says where it is. The Request-URI is the Contact.
///
/// By the flow when the binding says so (force_rport in effect, or a connection), and when the Contact is where its
/// REGISTER came from: then both lead to the same place, and behind a Service only the pod that the phone's packets reach
/// can speak to it. Else by the topmost Path (RFC 3327 §5.4), else the outbound proxy, else the Contact itself
/// (RFC 3261 §16.6, §19.1.5).
pub fn binding_way(peer: &Peer, binding: &Binding) -> Option<(Hop, Vec<String>)> {
    let route = binding.path.clone();
    if route.is_empty()
        && let Some(proxy) = proxy(peer).filter(|(_, _, force)| *force || !binding.by_flow)
    {
        let (hop, line, _) = proxy;
        return Some((hop, vec![line]));
    }
    if binding.by_flow {
        return Some((Hop::Flow(binding.flow), route));
    }
    let first = route.first().map(|value| inside(value).to_owned());
    let hop = hop_of(&first.unwrap_or_else(|| binding.uri.clone()))?;
    if leads_to(&hop, &binding.flow) {
        return Some((Hop::Flow(binding.flow), route));
    }
    Some((hop, route))
}

/// Next hop and Route of requests to a configured host, or to the `defaultip` of a peer that has not registered.
/// `None` for a dynamic peer without one.
pub fn static_way(peer: &Peer) -> Option<(Hop, Vec<String>)> {
    if let Some((hop, line, _)) = proxy(peer) {
        return Some((hop, vec![line]));
    }
    Some((Hop::Address { transport: peer.transport(), host: host(peer)?, port: peer.port }, Vec::new()))
}

/// The Request-URI for a configured host: its `defaultuser`, else `user`, at its address.
pub fn static_uri(peer: &Peer, user: &str) -> Option<String> {
    let user = peer.default_user.as_deref().unwrap_or(user);
    let uri =
        Uri::sip((!user.is_empty()).then_some(user), &host_and_port(&host(peer)?, None), peer.port).ok()?;
    Some(match peer.transport() {
        Transport::Udp => uri.as_str().to_owned(),
        other => format!("{};transport={other}", uri.as_str()),
    })
}

/// The Request-URI for a registered contact: the Contact without what may not stand there (headers and the
/// method parameter, RFC 3261 §19.1.1).
pub fn contact_uri(binding: &Binding) -> String {
    let Ok(uri) = Uri::parse(&binding.uri) else { return binding.uri.clone() };
    let headers = uri.headers().map_or(0, |headers| headers.len() + 1);
    let kept = binding.uri.get(..binding.uri.len().saturating_sub(headers)).unwrap_or(&binding.uri);
    match uri.param("method") {
        None => kept.to_owned(),
        Some(_) => {
            let base = kept.len().saturating_sub(uri.params_str().len());
            let (base, params) = kept.split_at_checked(base).unwrap_or((kept, ""));
            let is_method = |param: &&str| {
                let name = param.split('=').next().unwrap_or_default();
                !name.eq_ignore_ascii_case("method")
            };
            let params: Vec<_> = params.split(';').filter(is_method).collect();
            format!("{base}{}", params.join(";"))
        }
    }
}

/// Where it is configured to be.
fn host(peer: &Peer) -> Option<String> {
    match &peer.host {
        Host::Static(host) => Some(host.clone()),
        Host::Dynamic => peer.default_ip.map(|ip| ip.to_string()),
    }
}

/// The outbound proxy as hop and Route, and whether it is forced on every request.
fn proxy(peer: &Peer) -> Option<(Hop, String, bool)> {
    let proxy = peer.outbound_proxy.as_ref()?;
    let transport = proxy.transport.unwrap_or(peer.transport());
    let hop = Hop::Address { transport, host: proxy.host.clone(), port: proxy.port };
    let at = host_and_port(&proxy.host, proxy.port);
    let line = match transport {
        Transport::Udp => format!("<sip:{at};lr>"),
        other => format!("<sip:{at};lr;transport={other}>"),
    };
    Some((hop, line, proxy.force))
}

/// Whether an address is the other end of a flow.
fn leads_to(hop: &Hop, flow: &Flow) -> bool {
    let Hop::Address { transport, host, port } = hop else { return false };
    let port = port.unwrap_or(transport.default_port());
    *transport == flow.transport && port == flow.remote.port() && host.parse() == Ok(flow.remote.ip())
}

/// What stands between the angle brackets.
fn inside(value: &str) -> &str {
    let from = value.find('<').map_or(0, |at| at + 1);
    let rest = value.get(from..).unwrap_or_default();
    rest.split('>').next().unwrap_or_default()
}

/// Where a URI leads: its `maddr` or host, port and transport (RFC 3261 §19.1.5, RFC 3263 §4.1 without NAPTR).
fn hop_of(uri: &str) -> Option<Hop> {
    let uri = Uri::parse(uri).ok()?;
    let transport = match uri.transport() {
        Some(name) => name.parse().ok()?,
        None if uri.is_sips() => Transport::Tls,
        None => Transport::Udp,
    };
    let transport = if uri.is_sips() && transport == Transport::Tcp { Transport::Tls } else { transport };
    let host = uri.param("maddr").filter(|maddr| !maddr.is_empty()).unwrap_or(uri.host());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Hop::Address { transport, host: host.to_owned(), port: uri.port() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{binding, phone, trunk};
    use fairlead_model::peer::OutboundProxy;

    fn to(transport: Transport, host: &str, port: Option<u16>) -> Hop {
        Hop::Address { transport, host: host.to_owned(), port }
    }

    fn way(binding: &Binding) -> (Hop, Vec<String>) {
        binding_way(&phone("2001"), binding).unwrap()
    }

    #[test]
    fn by_flow_or_by_contact() {
        let mut contact = binding();
        assert_eq!(way(&contact).0, to(Transport::Udp, "192.0.2.7", Some(5062)));
        contact.by_flow = true;
        assert_eq!(way(&contact).0, Hop::Flow(contact.flow));
    }

    #[test]
    fn a_contact_that_is_where_its_register_came_from_is_reached_by_the_flow() {
        let flow = crate::bench::flow_from("192.0.2.7:5062");
        assert_eq!(way(&Binding { flow, ..binding() }).0, Hop::Flow(flow));
        let other = crate::bench::flow_from("192.0.2.7:40001");
        assert_eq!(way(&Binding { flow: other, ..binding() }).0, to(Transport::Udp, "192.0.2.7", Some(5062)));
        let path = vec!["<sip:192.0.2.8;lr>".to_owned()];
        let by_proxy = crate::bench::flow_from("192.0.2.8:5060");
        let contact = Binding { flow: by_proxy, path: path.clone(), ..binding() };
        assert_eq!(way(&contact), (Hop::Flow(by_proxy), path));
    }

    #[test]
    fn the_uri_says_transport_and_maddr() {
        let cases = [
            ("sip:a@phone.example.com;transport=TCP", to(Transport::Tcp, "phone.example.com", None)),
            ("sips:a@phone.example.com", to(Transport::Tls, "phone.example.com", None)),
            ("sip:a@[2001:db8::7]:5070", to(Transport::Udp, "2001:db8::7", Some(5070))),
            ("sip:a@example.com;maddr=192.0.2.1", to(Transport::Udp, "192.0.2.1", None)),
        ];
        for (uri, hop) in cases {
            let contact = Binding { uri: uri.to_owned(), ..binding() };
            assert_eq!(way(&contact).0, hop, "{uri}");
        }
        let strange = Binding { uri: "sip:a@h;transport=sctp".to_owned(), ..binding() };
        assert_eq!(binding_way(&phone("2001"), &strange), None);
    }

    #[test]
    fn rfc3261_19_1_1_a_request_uri_has_no_headers_and_no_method() {
        let cases = [
            ("sip:a@h:5070;x=1", "sip:a@h:5070;x=1"),
            ("sip:a@h;x=1?Subject=y&Priority=z", "sip:a@h;x=1"),
            ("sip:a@h;method=BYE;x=1?Subject=y", "sip:a@h;x=1"),
            ("sip:a@h;Method=BYE", "sip:a@h"),
            ("sip:a?b@h", "sip:a?b@h"),
        ];
        for (uri, expected) in cases {
            assert_eq!(contact_uri(&Binding { uri: uri.to_owned(), ..binding() }), expected);
        }
    }

    #[test]
    fn rfc3327_5_4_the_path_is_the_route_and_its_top_the_hop() {
        let path = vec!["<sip:p1.example.com;lr>".to_owned(), "<sip:p2.example.com;lr>".to_owned()];
        let mut contact = Binding { path: path.clone(), ..binding() };
        assert_eq!(way(&contact), (to(Transport::Udp, "p1.example.com", None), path.clone()));
        contact.by_flow = true;
        assert_eq!(way(&contact), (Hop::Flow(contact.flow), path));
    }

    #[test]
    fn a_proxy_stands_before_contacts_and_hosts() {
        let proxy = OutboundProxy {
            transport: Some(Transport::Tcp),
            host: "2001:db8::1".to_owned(),
            port: Some(5070),
            force: false,
        };
        let mut peer = Peer { outbound_proxy: Some(proxy.clone()), ..(*phone("2001")).clone() };
        let expected = (
            to(Transport::Tcp, "2001:db8::1", Some(5070)),
            vec!["<sip:[2001:db8::1]:5070;lr;transport=tcp>".to_owned()],
        );
        assert_eq!(binding_way(&peer, &binding()), Some(expected.clone()));
        let by_flow = Binding { by_flow: true, ..binding() };
        assert_eq!(binding_way(&peer, &by_flow), Some((Hop::Flow(by_flow.flow), Vec::new())));
        if let Some(proxy) = &mut peer.outbound_proxy {
            proxy.force = true;
        }
        assert_eq!(binding_way(&peer, &by_flow), Some(expected.clone()));
        let trunk = Peer { outbound_proxy: Some(proxy), ..trunk("t", "192.0.2.9") };
        assert_eq!(static_way(&trunk), Some(expected));
        assert_eq!(static_uri(&trunk, "t").as_deref(), Some("sip:t@192.0.2.9"));
    }

    #[test]
    fn a_static_host_is_called_by_its_defaultuser() {
        let mut peer = trunk("trunk", "trunk.example.com");
        assert_eq!(static_uri(&peer, "trunk").as_deref(), Some("sip:trunk@trunk.example.com"));
        peer.default_user = Some("3 1".to_owned());
        peer.port = Some(5080);
        peer.transports = vec![Transport::Tcp];
        assert_eq!(
            static_uri(&peer, "trunk").as_deref(),
            Some("sip:3%201@trunk.example.com:5080;transport=tcp")
        );
        assert_eq!(
            static_way(&peer),
            Some((to(Transport::Tcp, "trunk.example.com", Some(5080)), Vec::new()))
        );
    }

    #[test]
    fn a_dynamic_peer_has_a_way_only_with_a_defaultip() {
        let mut peer = (*phone("2001")).clone();
        assert_eq!((static_way(&peer), static_uri(&peer, "2001")), (None, None));
        peer.default_ip = Some("2001:db8::9".parse().unwrap());
        assert_eq!(static_uri(&peer, "2001").as_deref(), Some("sip:2001@[2001:db8::9]"));
    }
}
