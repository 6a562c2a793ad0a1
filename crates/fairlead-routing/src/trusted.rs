//! From where somebody may come without credentials.

use fairlead_model::peer::{GeneralFull, Peer};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::addresses::StaticAddresses;

/// The prefixes that pods are handed: a request without credentials from anywhere else is challenged on the shard
/// without asking anybody.
///
/// Everywhere, when guests are welcome or a peer that is found by name has no secret. Else the addresses of static
/// peers with `insecure=invite` or without a secret. A realtime peer without a secret counts once it is loaded.
pub fn trusted<'a>(
    peers: impl IntoIterator<Item = &'a Peer>,
    statics: &StaticAddresses,
    general: &GeneralFull,
) -> Vec<IpNet> {
    let open = |peer: &Peer| !peer.has_secret() && (peer.is_user() || peer.is_dynamic());
    if general.allow_guest || peers.into_iter().any(open) {
        return vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    }
    let nets: Vec<_> = statics
        .iter()
        .filter(|(peer, _)| peer.insecure.invite || !peer.has_secret())
        .map(|(_, address)| IpNet::from(address.ip()))
        .collect();
    IpNet::aggregate(&nets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{arc, phone, trunk};

    fn prefixes(peers: &[Peer], general: &GeneralFull) -> Vec<String> {
        let arcs: Vec<_> = peers.iter().cloned().map(arc).collect();
        let nets = trusted(peers, &StaticAddresses::of(&arcs), general);
        nets.iter().map(IpNet::to_string).collect()
    }

    fn no_guests() -> GeneralFull {
        GeneralFull { allow_guest: false, ..GeneralFull::default() }
    }

    #[test]
    fn guests_may_come_from_everywhere() {
        assert_eq!(prefixes(&[], &GeneralFull::default()), ["0.0.0.0/0", "::/0"]);
    }

    #[test]
    fn without_guests_only_insecure_trunks() {
        let mut asks = trunk("asks", "192.0.2.20");
        asks.secret = Some(fairlead_model::peer::Secret::new("s"));
        let mut insecure = asks.clone();
        insecure.name = "insecure".to_owned();
        insecure.host = fairlead_model::peer::Host::Static("192.0.2.8".to_owned());
        insecure.insecure.invite = true;
        let peers = [(*phone("2001")).clone(), asks, insecure, trunk("bare", "192.0.2.9")];
        assert_eq!(prefixes(&peers, &no_guests()), ["192.0.2.8/31"]);
    }

    #[test]
    fn a_phone_without_a_secret_opens_the_door() {
        let open = Peer { secret: None, ..(*phone("2001")).clone() };
        assert_eq!(prefixes(&[open], &no_guests()), ["0.0.0.0/0", "::/0"]);
    }
}
