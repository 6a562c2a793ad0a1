//! What is asked of whom with OPTIONS (`qualify`).

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::{Binding, Qualify};
use fairlead_model::peer::Peer;

use crate::way::{binding_way, contact_uri, static_uri, static_way};

/// A registered contact, for the pod that owns its flow; `None` when the peer is not qualified.
pub fn qualify_binding(peer: &Peer, binding: &Binding) -> Option<QualifyTarget> {
    let (hop, route) = binding_way(peer, binding)?;
    Some(QualifyTarget {
        peer: peer.name.clone(),
        key: Some(binding.key.clone()),
        uri: contact_uri(binding),
        route,
        hop,
        limit_ms: peer.qualify_ms?,
        every: peer.qualify_freq,
        last: binding.qualify,
    })
}

/// A configured address, for whichever pod has its lease.
pub fn qualify_static(peer: &Peer, last: Qualify) -> Option<QualifyTarget> {
    let (hop, route) = static_way(peer).filter(|_| !peer.is_dynamic() && peer.is_peer())?;
    Some(QualifyTarget {
        peer: peer.name.clone(),
        key: None,
        uri: static_uri(peer, "")?,
        route,
        hop,
        limit_ms: peer.qualify_ms?,
        every: peer.qualify_freq,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{binding, phone, trunk};

    #[test]
    fn only_who_is_to_be_qualified_is() {
        let mut peer = (*phone("2001")).clone();
        assert_eq!(qualify_binding(&peer, &binding()), None);
        peer.qualify_ms = Some(500);
        peer.qualify_freq = 30;
        let target = qualify_binding(&peer, &binding()).unwrap();
        assert_eq!((target.uri.as_str(), target.limit_ms, target.every), (binding().uri.as_str(), 500, 30));
        assert_eq!(
            qualify_static(&peer, Qualify::default()),
            None,
            "a dynamic peer has no configured address"
        );
    }

    #[test]
    fn a_host_is_asked_without_a_user() {
        let peer = Peer { qualify_ms: Some(2000), ..trunk("trunk", "192.0.2.9") };
        assert_eq!(qualify_static(&peer, Qualify::default()).unwrap().uri, "sip:192.0.2.9");
    }
}
