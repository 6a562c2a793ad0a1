//! Whom a dialled name reaches.

use std::sync::Arc;

use fairlead_model::ask::{Refusal, Target};
use fairlead_model::binding::{Binding, QualifyState};
use fairlead_model::flow::Flow;
use fairlead_model::peer::Peer;

use crate::way::{binding_way, contact_uri, static_uri, static_way};

/// What was dialled, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Dialled<'a> {
    /// User part of the Request-URI, unescaped: the name of a peer.
    pub user: &'a str,
    /// The flow the call came by.
    pub from: &'a Flow,
    /// Name of the caller's peer; `None` for a guest.
    pub caller: Option<&'a str>,
}

/// The peer of that name as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Callee<'a> {
    /// Its options.
    pub peer: &'a Arc<Peer>,
    /// Its contacts that may be called, best first (`fairlead_location::order`).
    pub contacts: &'a [&'a Binding],
    /// What qualify knows of its configured address; `Unknown` where it is not qualified.
    pub qualify: QualifyState,
    /// Calls it is in, whoever began them.
    pub in_use: u32,
}

/// Whether a peer has as many calls as its `call-limit` allows.
pub fn is_full(peer: &Peer, in_use: u32) -> bool {
    peer.limit().is_some_and(|limit| in_use >= limit)
}

/// Whom to try, best first, never an empty list; or what the caller gets.
///
/// A name nobody has (or a `type=user`, who cannot be called) is 404; a peer at its limit, and one without a
/// contact that may be called, 480. A phone that dials its own name rings its other contacts; a configured host
/// that dials its own name would get its call back, which is a loop: 482.
pub fn targets(dialled: Dialled<'_>, callee: Option<Callee<'_>>) -> Result<Vec<Target>, Refusal> {
    let Some(callee) = callee.filter(|callee| callee.peer.is_peer()) else {
        return Err(Refusal::new(404, "Not Found"));
    };
    let peer = callee.peer;
    if is_full(peer, callee.in_use) {
        return Err(Refusal::new(480, "Call limit"));
    }
    let own = dialled.caller == Some(peer.name.as_str());
    if own && !peer.is_dynamic() {
        return Err(Refusal::new(482, "Loop Detected"));
    }
    let contacts =
        callee.contacts.iter().filter(|contact| !own || !contact.flow.is_same_source(dialled.from));
    let mut targets: Vec<_> = contacts.filter_map(|contact| contact_target(peer, contact)).collect();
    if targets.is_empty() && !own && callee.qualify.may_be_called() {
        // A dynamic peer that never registered may have a `defaultip`; one whose contacts are silent has no other.
        let unregistered = callee.contacts.is_empty();
        targets.extend(configured_target(peer, dialled.user).filter(|_| unregistered));
    }
    if targets.is_empty() { Err(Refusal::new(480, "Temporarily Unavailable")) } else { Ok(targets) }
}

/// One registered contact.
fn contact_target(peer: &Peer, contact: &Binding) -> Option<Target> {
    let (hop, route) = binding_way(peer, contact)?;
    Some(Target {
        policy: peer.leg_policy(contact.nat),
        uri: contact_uri(contact),
        route,
        hop,
        binding: Some(contact.key.clone()),
        ring_time: peer.ring_time,
    })
}

/// The configured address. Nothing has come from there yet, so an auto value of `nat` is off.
fn configured_target(peer: &Peer, user: &str) -> Option<Target> {
    let (hop, route) = static_way(peer)?;
    Some(Target {
        policy: peer.leg_policy(peer.nat.effective(false, peer.transport())),
        uri: static_uri(peer, user)?,
        route,
        hop,
        binding: None,
        ring_time: peer.ring_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{arc, binding, flow_from, phone, trunk};
    use fairlead_model::flow::{Hop, Transport};
    use fairlead_model::peer::{EffectiveNat, PeerType};

    fn call(peer: &Arc<Peer>, contacts: &[&Binding], caller: &str) -> Result<Vec<Target>, u16> {
        let callee = Callee { peer, contacts, qualify: QualifyState::Unknown, in_use: 0 };
        reach(callee, caller, "203.0.113.5:5060")
    }

    fn reach(callee: Callee<'_>, caller: &str, from: &str) -> Result<Vec<Target>, u16> {
        let from = flow_from(from);
        let dialled = Dialled { user: &callee.peer.name, from: &from, caller: Some(caller) };
        targets(dialled, Some(callee)).map_err(|refusal| refusal.status)
    }

    #[test]
    fn unknown_names_and_users_are_404() {
        let from = flow_from("203.0.113.5:5060");
        let dialled = Dialled { user: "9", from: &from, caller: None };
        assert_eq!(targets(dialled, None).unwrap_err().status, 404);
        let user = arc(Peer { kind: PeerType::User, ..(*phone("2002")).clone() });
        assert_eq!(call(&user, &[&binding()], "2001"), Err(404));
    }

    #[test]
    fn a_peer_without_a_contact_is_480() {
        assert_eq!(call(&phone("2002"), &[], "2001"), Err(480));
    }

    #[test]
    fn a_peer_at_its_limit_is_480() {
        let peer = arc(Peer { call_limit: 2, ..(*phone("2002")).clone() });
        let contact = binding();
        let callee = Callee { peer: &peer, contacts: &[&contact], qualify: QualifyState::Ok, in_use: 2 };
        assert_eq!(reach(callee, "2001", "203.0.113.5:5060"), Err(480));
        assert!(reach(Callee { in_use: 1, ..callee }, "2001", "203.0.113.5:5060").is_ok());
    }

    #[test]
    fn every_contact_is_a_target_in_the_order_given() {
        let first =
            Binding { by_flow: true, nat: EffectiveNat { force_rport: true, comedia: true }, ..binding() };
        let second = Binding { uri: "sip:2002@192.0.2.8".to_owned(), ..binding() };
        let found = call(&phone("2002"), &[&first, &second], "2001").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].hop, Hop::Flow(first.flow));
        assert!(found[0].policy.nat.comedia, "what nat came to at registration holds for calls");
        assert_eq!(found[0].binding.as_ref(), Some(&first.key));
        assert_eq!((found[1].uri.as_str(), found[1].ring_time), ("sip:2002@192.0.2.8", 20));
    }

    #[test]
    fn a_contact_that_leads_nowhere_is_left_out() {
        let strange = Binding { uri: "sip:a@h;transport=sctp".to_owned(), ..binding() };
        assert_eq!(call(&phone("2002"), &[&strange], "2001"), Err(480));
    }

    #[test]
    fn a_static_host_is_reached_at_its_address_unless_it_is_silent() {
        let trunk = arc(Peer { port: Some(5080), ..trunk("trunk", "192.0.2.9") });
        let found = call(&trunk, &[], "2001").unwrap();
        let hop = Hop::Address { transport: Transport::Udp, host: "192.0.2.9".to_owned(), port: Some(5080) };
        assert_eq!((found[0].hop.clone(), found[0].binding.clone()), (hop, None));
        assert_eq!(found[0].uri, "sip:trunk@192.0.2.9:5080");
        for state in [QualifyState::Unreachable, QualifyState::Lagged] {
            let callee = Callee { peer: &trunk, contacts: &[], qualify: state, in_use: 0 };
            assert_eq!(reach(callee, "2001", "203.0.113.5:5060"), Err(480));
        }
    }

    #[test]
    fn defaultip_stands_in_until_the_peer_registers() {
        let peer = arc(Peer { default_ip: Some("192.0.2.44".parse().unwrap()), ..(*phone("2002")).clone() });
        assert_eq!(call(&peer, &[], "2001").unwrap()[0].uri, "sip:2002@192.0.2.44");
        assert_eq!(call(&peer, &[&binding()], "2001").unwrap()[0].uri, binding().uri);
    }

    #[test]
    fn ones_own_name_rings_the_other_contacts() {
        let here = binding();
        let mut there = binding();
        there.flow.remote = "198.51.100.9:5060".parse().unwrap();
        let peer = phone("2001");
        let callee = |contacts| Callee { peer: &peer, contacts, qualify: QualifyState::Unknown, in_use: 0 };
        let from = here.flow.remote.to_string();
        let only = [&here];
        assert_eq!(reach(callee(&only), "2001", &from), Err(480));
        let both = [&here, &there];
        let others = reach(callee(&both), "2001", &from).unwrap();
        assert_eq!(others.len(), 1);
        assert_eq!(reach(callee(&both), "2002", &from).unwrap().len(), 2);
    }

    #[test]
    fn a_host_that_calls_itself_is_a_loop() {
        assert_eq!(call(&arc(trunk("trunk", "192.0.2.9")), &[], "trunk"), Err(482));
    }
}
