//! REGISTER, rule by rule.

use super::*;
use crate::bench::{NOW, contact, flow, phone, register};
use fairlead_model::id::{ConnectionRef, PodRef};
use fairlead_model::peer::{NatSetting, PeerType};

const URI: &str = "sip:2001@192.0.2.7:5060";
const OTHER: &str = "sip:2001@192.0.2.8:5060";

fn general() -> GeneralFull {
    GeneralFull::default()
}

fn nat(words: &str) -> NatSetting {
    NatSetting::parse(words).unwrap()
}

fn many(most: u16) -> Peer {
    Peer { max_contacts: most, ..phone() }
}

/// What is bound after these requests, each a second after the one before.
struct Scene {
    peer: Peer,
    general: GeneralFull,
    bindings: Vec<Binding>,
    now: UnixMillis,
}

impl Scene {
    fn of(peer: Peer) -> Self {
        Scene { peer, general: general(), bindings: Vec::new(), now: NOW }
    }

    fn ask(&self, request: &RegisterRequest) -> Result<Plan, Refusal> {
        plan(request, &self.bindings, &self.peer, &self.general, self.now)
    }

    fn status(&self, request: &RegisterRequest) -> u16 {
        self.ask(request).unwrap_err().status
    }

    /// Applies a plan as the store does: puts and removals, which must come to what the plan says.
    fn take(&mut self, request: &RegisterRequest) -> Plan {
        let plan = self.ask(request).unwrap();
        let mut stored = self.bindings.clone();
        stored.retain(|b| !plan.remove.contains(&b.key) && !plan.put.iter().any(|put| put.key == b.key));
        stored.extend(plan.put.iter().cloned());
        let sorted = |mut bindings: Vec<Binding>| {
            bindings.sort_by(|a, b| a.key.cmp(&b.key));
            bindings
        };
        assert_eq!(sorted(stored), sorted(plan.bindings.clone()), "the changes come to the result");
        self.bindings = plan.bindings.clone();
        self.now = self.now.plus_millis(1000);
        plan
    }

    fn uris(&self) -> Vec<&str> {
        let mut uris: Vec<_> = self.bindings.iter().map(|binding| binding.uri.as_str()).collect();
        uris.sort_unstable();
        uris
    }
}

fn later(request: &RegisterRequest) -> RegisterRequest {
    RegisterRequest { cseq: request.cseq + 1, ..request.clone() }
}

#[test]
fn a_first_contact_is_bound_and_echoed_as_sent() {
    let mut scene = Scene::of(phone());
    let mut request = register(vec![contact(URI)]);
    if let Contacts::List(list) = &mut request.contacts {
        list[0].value = "\"Ann\" <sip:2001@192.0.2.7:5060>;q=0.7".to_owned();
        list[0].q = Some(700);
    }
    let plan = scene.take(&request);
    assert_eq!(plan.registered.contacts, [("\"Ann\" <sip:2001@192.0.2.7:5060>;q=0.7".to_owned(), 600)]);
    assert_eq!(plan.turned, Some(Turned::Registered));
    assert!(!plan.refresh_only);
    let bound = &plan.put[0];
    assert_eq!((bound.q, bound.cseq, bound.by_flow), (700, 10, false));
    assert_eq!(bound.expires_at, NOW.plus_millis(600_000));
    assert_eq!(plan.columns.unwrap().ipaddr, "192.0.2.7");
}

#[test]
fn rfc3261_10_2_3_a_query_changes_nothing_and_tells_the_time_left() {
    let mut scene = Scene::of(phone());
    scene.take(&register(vec![contact(URI)]));
    for contacts in [Contacts::Query, Contacts::List(Vec::new())] {
        let plan = scene.ask(&RegisterRequest { contacts, cseq: 11, ..register(Vec::new()) }).unwrap();
        assert!(plan.is_empty());
        assert_eq!((plan.columns, plan.turned), (None, None));
        assert_eq!(plan.registered.contacts, [(format!("<{URI}>"), 599)]);
    }
}

#[test]
fn rfc3261_10_3_expires_of_the_contact_then_the_header_then_the_default() {
    let asks = |own: Option<u32>, header: Option<u32>| {
        let mut one = contact(URI);
        one.expires = own;
        let request = RegisterRequest { expires: header, ..register(vec![one]) };
        Scene::of(phone()).ask(&request).unwrap().registered.contacts[0].1
    };
    assert_eq!(asks(Some(300), Some(600)), 300);
    assert_eq!(asks(None, Some(600)), 600);
    assert_eq!(asks(None, None), 120);
    assert_eq!(asks(Some(100_000), None), 3600, "the maximum");
}

#[test]
fn rfc3261_10_3_too_brief_is_423_with_min_expires() {
    let request = RegisterRequest { expires: Some(30), ..register(vec![contact(URI)]) };
    let mut scene = Scene::of(phone());
    let refusal = scene.ask(&request).unwrap_err();
    assert_eq!((refusal.status, refusal.min_expires), (423, Some(60)));
    scene.general.register_clamp = RegisterClamp::Silent;
    assert_eq!(scene.ask(&request).unwrap().registered.contacts[0].1, 60);
}

#[test]
fn rfc3261_10_3_an_hour_is_never_too_brief() {
    let mut scene = Scene::of(phone());
    (scene.general.min_expiry, scene.general.max_expiry) = (7200, 86_400);
    let request = RegisterRequest { expires: Some(3600), ..register(vec![contact(URI)]) };
    assert_eq!(scene.ask(&request).unwrap().registered.contacts[0].1, 7200);
    assert_eq!(scene.status(&RegisterRequest { expires: Some(3599), ..request }), 423);
}

#[test]
fn rfc3261_10_3_all_or_nothing() {
    let mut brief = contact(OTHER);
    brief.expires = Some(5);
    let mut scene = Scene::of(many(2));
    scene.take(&register(vec![contact(URI)]));
    assert_eq!(scene.status(&later(&register(vec![contact(URI), brief]))), 423);
    let bad = contact("tel:+15551234");
    assert_eq!(scene.status(&later(&register(vec![contact(URI), bad]))), 400);
}

#[test]
fn expires_0_unbinds_that_contact_only() {
    let mut scene = Scene::of(many(3));
    let request = register(vec![contact(URI), contact(OTHER)]);
    scene.take(&request);
    let mut gone = contact(URI);
    gone.expires = Some(0);
    let plan = scene.take(&later(&register(vec![gone.clone()])));
    assert_eq!(scene.uris(), [OTHER]);
    assert_eq!((plan.turned, plan.refresh_only), (None, false));
    gone.uri = OTHER.to_owned();
    let plan = scene.take(&RegisterRequest { cseq: 12, ..register(vec![gone.clone()]) });
    assert_eq!(plan.turned, Some(Turned::Unregistered));
    assert_eq!(plan.columns.unwrap(), RuntimeColumns::default());
    let again = scene.take(&RegisterRequest { cseq: 13, ..register(vec![gone]) });
    assert!(again.is_empty(), "unbinding what is not bound is no error");
}

#[test]
fn rfc3261_10_3_star_needs_expires_0() {
    let mut scene = Scene::of(many(3));
    scene.take(&register(vec![contact(URI), contact(OTHER)]));
    let star =
        |expires, cseq| RegisterRequest { contacts: Contacts::Star, expires, cseq, ..register(Vec::new()) };
    assert_eq!(scene.status(&star(None, 11)), 400);
    assert_eq!(scene.status(&star(Some(60), 11)), 400);
    assert_eq!(scene.status(&star(Some(0), 10)), 500, "not newer than what it removes");
    let plan = scene.take(&star(Some(0), 11));
    assert_eq!((plan.remove.len(), plan.bindings.len()), (2, 0));
    assert_eq!(plan.registered.contacts, []);
    assert_eq!(plan.turned, Some(Turned::Unregistered));
}

#[test]
fn rfc3261_10_3_step_7_an_older_cseq_of_the_same_call_id_aborts() {
    let mut scene = Scene::of(phone());
    scene.take(&register(vec![contact(URI)]));
    let older = RegisterRequest { cseq: 9, ..register(vec![contact(URI)]) };
    assert_eq!(scene.status(&older), 500);
    let mut gone = contact(URI);
    gone.expires = Some(0);
    assert_eq!(scene.status(&register(vec![gone])), 500, "the same CSeq must not remove");
    let reboot = RegisterRequest { call_id: "boot-2".to_owned(), cseq: 1, ..register(vec![contact(URI)]) };
    assert_eq!(scene.take(&reboot).put[0].cseq, 1, "another Call-ID counts anew");
}

#[test]
fn the_same_request_again_acts_once() {
    let mut scene = Scene::of(phone());
    let first = scene.take(&register(vec![contact(URI)]));
    let again = scene.ask(&register(vec![contact(URI)])).unwrap();
    assert!(again.is_empty());
    assert_eq!(again.registered.contacts[0].0, first.registered.contacts[0].0);
}

#[test]
fn max_contacts_1_replaces() {
    let mut scene = Scene::of(phone());
    scene.take(&register(vec![contact(URI)]));
    let plan = scene.take(&RegisterRequest { call_id: "x".to_owned(), ..register(vec![contact(OTHER)]) });
    assert_eq!(scene.uris(), [OTHER]);
    assert_eq!((plan.remove.len(), plan.turned), (1, None));
}

#[test]
fn the_oldest_gives_way() {
    let mut scene = Scene::of(many(2));
    scene.take(&register(vec![contact(URI)]));
    scene.take(&later(&register(vec![contact(OTHER)])));
    scene.take(&RegisterRequest { cseq: 12, ..register(vec![contact(URI)]) });
    scene.take(&RegisterRequest { cseq: 13, ..register(vec![contact("sip:2001@192.0.2.9")]) });
    assert_eq!(scene.uris(), [URI, "sip:2001@192.0.2.9"]);
}

#[test]
fn a_late_request_does_not_replace_a_newer_contact() {
    let mut scene = Scene::of(phone());
    scene.take(&RegisterRequest { cseq: 12, ..register(vec![contact(URI)]) });
    assert_eq!(scene.status(&RegisterRequest { cseq: 11, ..register(vec![contact(OTHER)]) }), 500);
}

#[test]
fn more_contacts_at_once_than_allowed_are_refused() {
    let request = register(vec![contact(URI), contact(OTHER)]);
    assert_eq!(Scene::of(phone()).status(&request), 403);
    assert_eq!(Scene::of(many(2)).take(&request).put.len(), 2);
}

#[test]
fn one_contact_written_twice_is_one() {
    let mut scene = Scene::of(phone());
    assert_eq!(scene.take(&register(vec![contact(URI), contact(URI)])).put.len(), 1);
}

#[test]
fn rfc3261_19_1_4_equivalent_uris_are_one_contact() {
    let mut scene = Scene::of(many(5));
    scene.take(&register(vec![contact("sip:2001@Phone.Example.com;transport=UDP")]));
    let plan = scene.take(&later(&register(vec![contact("sip:%32001@phone.example.com;transport=udp")])));
    assert_eq!(plan.bindings.len(), 1);
    assert_eq!(plan.remove, []);
}

#[test]
fn over_bindings_are_gone_and_cleaned_up() {
    let mut scene = Scene::of(many(2));
    scene.take(&register(vec![contact(URI)]));
    scene.now = NOW.plus_millis(600_000);
    let plan = scene.take(&later(&register(vec![contact(OTHER)])));
    assert_eq!(scene.uris(), [OTHER]);
    assert_eq!((plan.remove.len(), plan.turned), (1, Some(Turned::Registered)));
}

#[test]
fn a_refresh_by_the_same_flow_only_prolongs() {
    let mut scene = Scene::of(Peer { qualify_ms: Some(2000), ..phone() });
    assert!(scene.take(&register(vec![contact(URI)])).registered.qualify);
    scene.bindings[0].qualify.rtt_ms = 7;
    let plan = scene.take(&later(&register(vec![contact(URI)])));
    assert!(plan.refresh_only && !plan.registered.qualify);
    assert_eq!(plan.put[0].qualify.rtt_ms, 7);
    assert_eq!(plan.put[0].expires_at, NOW.plus_millis(601_000));
}

#[test]
fn what_is_more_than_a_refresh_is_not_one() {
    let mut scene = Scene::of(many(2));
    let request = register(vec![contact(URI)]);
    scene.take(&request);
    let moved = RegisterRequest {
        flow: Flow { remote: "198.51.100.7:40002".parse().unwrap(), ..flow() },
        ..later(&request)
    };
    let other_pod = RegisterRequest { flow: Flow { pod: PodRef(2), ..flow() }, ..later(&request) };
    let more =
        RegisterRequest { contacts: Contacts::List(vec![contact(URI), contact(OTHER)]), ..later(&request) };
    for request in [moved, other_pod, more] {
        assert!(!scene.ask(&request).unwrap().refresh_only, "{request:?}");
    }
    let query = RegisterRequest { contacts: Contacts::Query, ..later(&request) };
    assert!(!scene.ask(&query).unwrap().refresh_only, "a query refreshes nothing");
}

#[test]
fn behind_nat_the_source_address_belongs_to_the_contact() {
    let mut scene = Scene::of(Peer { nat: nat("force_rport,comedia"), ..many(5) });
    let home = register(vec![contact("sip:2001@192.168.1.10")]);
    let office = RegisterRequest {
        call_id: "office".to_owned(),
        flow: Flow { remote: "203.0.113.9:5060".parse().unwrap(), ..flow() },
        ..home.clone()
    };
    scene.take(&home);
    let plan = scene.take(&office);
    assert_eq!(plan.bindings.len(), 2, "two phones behind two NATs with one private address");
    assert!(plan.bindings.iter().all(|binding| binding.by_flow && binding.nat.comedia));
    assert_eq!(plan.columns.unwrap().ipaddr, "203.0.113.9");
}

#[test]
fn a_phone_whose_nat_gave_it_a_new_port_stays_one() {
    let moved_to = |port: u16| Flow { remote: format!("198.51.100.7:{port}").parse().unwrap(), ..flow() };
    let mut scene = Scene::of(Peer { nat: nat("force_rport"), ..many(5) });
    let request = register(vec![contact("sip:2001@192.168.1.10")]);
    scene.take(&request);
    scene.take(&RegisterRequest { flow: moved_to(40_002), ..later(&request) });
    assert_eq!(scene.bindings.len(), 1, "the same Call-ID");
    assert_eq!(scene.bindings[0].flow, moved_to(40_002));
    let mut with_instance = contact("sip:2001@192.168.1.10");
    with_instance.instance = Some("<urn:uuid:1>".to_owned());
    let boot = |call_id: &str, port| RegisterRequest {
        call_id: call_id.to_owned(),
        flow: moved_to(port),
        ..register(vec![with_instance.clone()])
    };
    scene.take(&boot("boot-2", 40_002));
    scene.take(&boot("boot-3", 40_003));
    assert_eq!(scene.bindings.len(), 1, "the same instance after a boot");
}

#[test]
fn auto_force_rport_decides_by_the_via() {
    let reached_by_flow = |via_differs, transport| {
        let request = RegisterRequest {
            via_differs,
            flow: Flow { transport, ..flow() },
            ..register(vec![contact(URI)])
        };
        Scene::of(phone()).ask(&request).unwrap().put[0].by_flow
    };
    assert!(!reached_by_flow(false, Transport::Udp));
    assert!(reached_by_flow(true, Transport::Udp));
    assert!(reached_by_flow(false, Transport::Tcp), "a connection is gone back through");
}

#[test]
fn a_new_connection_of_a_phone_without_nat_refreshes_its_contact() {
    let on = |number: u64, port: u16| Flow {
        transport: Transport::Tcp,
        remote: format!("192.0.2.7:{port}").parse().unwrap(),
        connection: Some(ConnectionRef(number)),
        ..flow()
    };
    let mut scene = Scene::of(many(5));
    let request = RegisterRequest { flow: on(1, 50_001), ..register(vec![contact(URI)]) };
    scene.take(&request);
    scene.take(&RegisterRequest { call_id: "boot-2".to_owned(), flow: on(2, 50_002), ..request });
    assert_eq!(scene.bindings.len(), 1);
    assert_eq!(scene.bindings[0].flow.connection, Some(ConnectionRef(2)));
}

#[test]
fn rfc5626_6_instance_and_reg_id_name_a_contact_whatever_its_uri() {
    let outbound = |uri: &str, reg_id: u32| {
        let mut contact = contact(uri);
        contact.instance = Some("<urn:uuid:1>".to_owned());
        contact.reg_id = Some(reg_id);
        contact
    };
    let mut scene = Scene::of(many(5));
    scene.take(&register(vec![outbound(URI, 1)]));
    scene.take(&later(&register(vec![outbound(OTHER, 1)])));
    assert_eq!(scene.uris(), [OTHER]);
    assert!(scene.bindings[0].by_flow, "it asked for its flow to be kept");
    scene.take(&RegisterRequest { cseq: 12, ..register(vec![outbound(OTHER, 2)]) });
    assert_eq!(scene.bindings.len(), 2, "another reg-id is another flow");
    scene.take(&RegisterRequest { cseq: 13, ..register(vec![contact(OTHER)]) });
    assert_eq!(scene.bindings.len(), 3, "and without them it is another contact");
}

#[test]
fn rfc3327_path_is_kept_and_echoed_if_the_phone_knows_it() {
    let path = vec!["<sip:p1;lr>".to_owned(), "<sip:p2;lr>".to_owned()];
    let request = RegisterRequest { path: path.clone(), ..register(vec![contact(URI)]) };
    let mut scene = Scene::of(phone());
    assert_eq!(scene.status(&request), 421);
    let knows = RegisterRequest { supports_path: true, ..request.clone() };
    let plan = scene.take(&knows);
    assert_eq!((&plan.put[0].path, &plan.registered.path), (&path, &path));
    assert_eq!(scene.ask(&knows).unwrap().registered.path, path, "asked again, the same answer");
    let other_way = RegisterRequest { path: vec!["<sip:p3;lr>".to_owned()], ..later(&knows) };
    assert!(!scene.ask(&other_way).unwrap().refresh_only);
    scene.peer.support_path = false;
    let plan = scene.ask(&later(&request)).unwrap();
    assert_eq!((plan.put[0].path.len(), plan.registered.path.len()), (0, 0));
}

#[test]
fn who_may_not_register_is_403() {
    let request = register(vec![contact(URI)]);
    let refused = |peer: Peer| Scene::of(peer).status(&request);
    let at = fairlead_model::peer::Host::Static("192.0.2.7".to_owned());
    assert_eq!(refused(Peer { host: at, ..phone() }), 403);
    assert_eq!(refused(Peer { kind: PeerType::User, ..phone() }), 403);
    assert_eq!(refused(Peer { transports: vec![Transport::Tcp], ..phone() }), 403);
    let mut peer = phone();
    peer.acl.add(false, "198.51.100.0/24").unwrap();
    assert_eq!(refused(peer), 403);
}

#[test]
fn a_contact_address_that_is_not_permitted_is_603() {
    let mut peer = phone();
    peer.contact_acl.add(false, "192.0.2.0/24").unwrap();
    assert_eq!(Scene::of(peer.clone()).status(&register(vec![contact(URI)])), 603);
    peer.nat = nat("force_rport");
    let by_flow = Scene::of(peer).ask(&register(vec![contact(URI)]));
    assert!(by_flow.is_ok(), "what counts is the address that will be used");
}

#[test]
fn fields_of_a_newer_release_are_kept() {
    let mut scene = Scene::of(phone());
    scene.take(&register(vec![contact(URI)]));
    scene.bindings[0].unknown.insert("later".to_owned(), 1.into());
    let plan = scene.take(&later(&register(vec![contact(URI)])));
    assert!(plan.put[0].unknown.contains_key("later"));
}

#[test]
fn a_new_registration_forgets_how_often_the_flow_moved() {
    let mut scene = Scene::of(phone());
    scene.take(&register(vec![contact(URI)]));
    scene.bindings[0].generation = 3;
    scene.bindings[0].moved_at = NOW;
    let plan = scene.take(&later(&register(vec![contact(URI)])));
    assert_eq!((plan.put[0].generation, plan.put[0].moved_at), (0, UnixMillis(0)));
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn whatever_phones_do_keys_are_unique_and_contacts_within_their_number() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let most = 1 + u16::try_from(dice.below(4)).unwrap();
        let words = ["no", "force_rport", "auto_force_rport,comedia"][usize::try_from(seed % 3).unwrap()];
        let mut scene = Scene::of(Peer { nat: nat(words), ..many(most) });
        for step in 0..200_u32 {
            let mut one = || {
                let mut contact = contact(&format!("sip:2001@192.168.1.{}", dice.below(3)));
                contact.expires = [None, Some(0), Some(90), Some(7)][usize::try_from(dice.below(4)).unwrap()];
                contact.instance = (dice.below(3) == 0).then(|| format!("<urn:uuid:{}>", dice.below(2)));
                contact.reg_id = (dice.below(2) == 0).then_some(1);
                contact
            };
            let contacts = (0..1 + step % 3).map(|_| one()).collect();
            let request = RegisterRequest {
                contacts: if dice.below(20) == 0 { Contacts::Star } else { Contacts::List(contacts) },
                expires: [Some(0), Some(600), None][usize::try_from(dice.below(3)).unwrap()],
                call_id: format!("boot-{}", dice.below(3)),
                cseq: step + 3 - u32::try_from(dice.below(4)).unwrap(),
                via_differs: dice.below(2) == 0,
                supports_path: true,
                flow: Flow {
                    remote: format!("198.51.100.{}:5060", dice.below(3)).parse().unwrap(),
                    ..flow()
                },
                ..register(Vec::new())
            };
            scene.now = scene.now.plus_millis(dice.below(60_000));
            if scene.ask(&request).is_ok() {
                scene.take(&request);
            }
            let mut keys: Vec<_> = scene.bindings.iter().map(|binding| &binding.key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), scene.bindings.len());
            assert!(scene.bindings.len() <= usize::from(most));
        }
    }
}
