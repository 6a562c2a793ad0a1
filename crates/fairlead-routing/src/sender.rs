//! Who sent a request (chan_sip.md §4.1 to §4.5).

use std::sync::Arc;

use fairlead_model::ask::{AdmitRequest, Refusal};
use fairlead_model::peer::{GeneralFull, Peer};

use crate::addresses::StaticAddresses;

/// Who sent it.
#[derive(Clone, Debug, PartialEq)]
pub enum Sender {
    /// A peer.
    Known {
        /// Which.
        peer: Arc<Peer>,
        /// How it was found.
        by: Matched,
        /// Whether it has to prove itself by a digest under its name.
        must_prove: bool,
    },
    /// Nobody we know, and guests are welcome (`allowguest`).
    Guest,
    /// Nobody we know while guests are not welcome, or a known name from where it may not come. It is challenged
    /// like anybody and can never succeed, so that names are not given away (`alwaysauthreject`): 401, and after
    /// an answer 403.
    Decoy,
    /// No, with this.
    Refused(Refusal),
}

/// How a sender was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// By the user part of From, or the user name of the digest.
    Name,
    /// By source address, and the number dialled is its `callbackextension`.
    Callback,
    /// By source address.
    Address,
}

/// The name under which the peer has to be looked up before [`sender`] is asked: the user part of From, or with
/// `match_auth_username` that of the digest.
pub fn name_to_look_up<'a>(
    request: &'a AdmitRequest,
    digest_user: Option<&'a str>,
    general: &GeneralFull,
) -> &'a str {
    match digest_user {
        Some(user) if general.match_auth_username && !user.is_empty() => user,
        _ => &request.from_user,
    }
}

/// Finds who sent a request out of a dialog.
///
/// `named` is the peer called [`name_to_look_up`], `registered` are the dynamic peers with a live contact whose
/// flow has this very transport, source address and port.
///
/// Unlike chan_sip, `insecure=invite` is honoured only for requests that come from the configured address of a
/// static peer: by name alone, whoever writes that name into From would be believed. For a type=peer that
/// registered, the address is not configured either, so it has to prove itself.
pub fn sender(
    request: &AdmitRequest,
    named: Option<&Arc<Peer>>,
    registered: &[Arc<Peer>],
    statics: &StaticAddresses,
    general: &GeneralFull,
) -> Sender {
    let source = request.flow.remote.ip();
    let by_name = named.filter(|peer| peer.is_user()).map(|peer| (peer, Matched::Name));
    let at_address =
        || statics.matching(&request.flow).chain(registered.iter().filter(|peer| peer.is_peer()));
    let by_callback = || {
        let dialled = Some(request.target_user.as_str()).filter(|user| !user.is_empty())?;
        let peer = at_address().find(|peer| peer.callback_extension.as_deref() == Some(dialled))?;
        Some((peer, Matched::Callback))
    };
    let by_address = || at_address().next().map(|peer| (peer, Matched::Address));
    let Some((peer, by)) = by_name.or_else(by_callback).or_else(by_address) else {
        return match (general.allow_guest, general.always_auth_reject) {
            (true, _) => Sender::Guest,
            (false, true) => Sender::Decoy,
            (false, false) => Sender::Refused(Refusal::new(403, "Forbidden")),
        };
    };
    if !peer.acl.permits(source) {
        // A name that is refused at once is a name that exists.
        return match by == Matched::Name && general.always_auth_reject {
            true => Sender::Decoy,
            false => Sender::Refused(Refusal::new(403, "Forbidden")),
        };
    }
    let trusted_here = peer.insecure.invite && !peer.is_dynamic() && statics.has(&peer.name, source);
    Sender::Known { must_prove: peer.has_secret() && !trusted_here, peer: peer.clone(), by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{admit, arc, flow_from, phone, trunk};
    use fairlead_model::peer::{PeerType, Secret};

    struct Scene {
        named: Option<Arc<Peer>>,
        registered: Vec<Arc<Peer>>,
        statics: Vec<Arc<Peer>>,
        general: GeneralFull,
    }

    impl Scene {
        fn new() -> Self {
            Scene {
                named: None,
                registered: Vec::new(),
                statics: Vec::new(),
                general: GeneralFull::default(),
            }
        }

        fn who(&self, from: &str) -> Sender {
            self.who_dialling(from, "2002")
        }

        fn who_dialling(&self, from: &str, dialled: &str) -> Sender {
            let request = AdmitRequest { flow: flow_from(from), target_user: dialled.to_owned(), ..admit() };
            let statics = StaticAddresses::of(&self.statics);
            sender(&request, self.named.as_ref(), &self.registered, &statics, &self.general)
        }
    }

    fn known(sender: Sender) -> (String, Matched, bool) {
        match sender {
            Sender::Known { peer, by, must_prove } => (peer.name.clone(), by, must_prove),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_friend_is_found_by_name_and_proves_itself() {
        let scene = Scene { named: Some(phone("2001")), ..Scene::new() };
        assert_eq!(known(scene.who("198.51.100.7:5060")), ("2001".to_owned(), Matched::Name, true));
    }

    #[test]
    fn type_peer_is_never_found_by_name() {
        let peer = arc(Peer { kind: PeerType::Peer, ..(*phone("2001")).clone() });
        let scene = Scene { named: Some(peer.clone()), ..Scene::new() };
        assert_eq!(scene.who("198.51.100.7:5060"), Sender::Guest);
        let scene = Scene { named: Some(peer.clone()), registered: vec![peer], ..Scene::new() };
        assert_eq!(known(scene.who("198.51.100.7:5060")), ("2001".to_owned(), Matched::Address, true));
    }

    #[test]
    fn a_name_goes_before_an_address() {
        let scene = Scene {
            named: Some(phone("2001")),
            statics: vec![arc(trunk("trunk", "192.0.2.9"))],
            ..Scene::new()
        };
        assert_eq!(known(scene.who("192.0.2.9:5060")).0, "2001");
    }

    #[test]
    fn trunks_at_one_address_are_told_apart_by_callbackextension() {
        let mut sales = trunk("sales", "192.0.2.9");
        sales.callback_extension = Some("555".to_owned());
        let scene = Scene { statics: vec![arc(trunk("a", "192.0.2.9")), arc(sales)], ..Scene::new() };
        assert_eq!(
            known(scene.who_dialling("192.0.2.9:5060", "555")),
            ("sales".into(), Matched::Callback, false)
        );
        assert_eq!(known(scene.who_dialling("192.0.2.9:5060", "556")), ("a".into(), Matched::Address, false));
    }

    #[test]
    fn insecure_invite_holds_at_the_configured_address_only() {
        let mut carrier = trunk("carrier", "192.0.2.9");
        carrier.kind = PeerType::Friend;
        carrier.secret = Some(Secret::new("s"));
        let prove = |carrier: &Peer, from: &str| {
            let carrier = arc(carrier.clone());
            let scene = Scene { named: Some(carrier.clone()), statics: vec![carrier], ..Scene::new() };
            known(scene.who(from)).2
        };
        assert!(prove(&carrier, "192.0.2.9:5060"));
        carrier.insecure.invite = true;
        assert!(!prove(&carrier, "192.0.2.9:5060"));
        assert!(prove(&carrier, "203.0.113.66:5060"), "its name in From is not enough");
    }

    #[test]
    fn a_peer_without_a_secret_is_taken_at_its_word() {
        let open = arc(Peer { secret: None, ..(*phone("2001")).clone() });
        let scene = Scene { named: Some(open), ..Scene::new() };
        assert!(!known(scene.who("198.51.100.7:5060")).2);
    }

    #[test]
    fn strangers_are_guests_decoys_or_refused() {
        let mut scene = Scene::new();
        assert_eq!(scene.who("198.51.100.7:5060"), Sender::Guest);
        scene.general.allow_guest = false;
        assert_eq!(scene.who("198.51.100.7:5060"), Sender::Decoy);
        scene.general.always_auth_reject = false;
        assert!(matches!(scene.who("198.51.100.7:5060"), Sender::Refused(r) if r.status == 403));
    }

    #[test]
    fn an_acl_refuses_without_giving_the_name_away() {
        let mut peer = (*phone("2001")).clone();
        peer.acl.add(false, "0.0.0.0/0").unwrap();
        let mut scene = Scene { named: Some(arc(peer)), ..Scene::new() };
        assert_eq!(scene.who("198.51.100.7:5060"), Sender::Decoy);
        scene.general.always_auth_reject = false;
        assert!(matches!(scene.who("198.51.100.7:5060"), Sender::Refused(r) if r.status == 403));
        let mut trunk = trunk("trunk", "192.0.2.9");
        trunk.acl.add(false, "0.0.0.0/0").unwrap();
        let scene = Scene { statics: vec![arc(trunk)], ..Scene::new() };
        assert!(matches!(scene.who("192.0.2.9:5060"), Sender::Refused(r) if r.status == 403));
    }

    #[test]
    fn the_name_is_that_of_from_or_of_the_digest() {
        let mut general = GeneralFull::default();
        let request = admit();
        assert_eq!(name_to_look_up(&request, Some("ann"), &general), "2001");
        general.match_auth_username = true;
        assert_eq!(name_to_look_up(&request, Some("ann"), &general), "ann");
        assert_eq!(name_to_look_up(&request, None, &general), "2001");
    }
}
