use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use fairlead_model::peer::Secret;
use fairlead_model::provision::{Mark, Provisioned, Withdrawn};
use fairlead_proto::operator::Unanswered;

use super::next::CORRECTION_PAUSE;
use super::*;
use crate::crd::SipPeerSpec;

mod unsure;

const NS: &str = "sip";

struct Scene {
    plan: PeerPlan,
    now: Instant,
    /// How often registrars were to list marked peers.
    lists: usize,
    /// What the statuses of new objects say.
    is_served: bool,
}

impl Scene {
    fn of(namespaces: &[&str]) -> Self {
        let now = Instant::now();
        let names = namespaces.iter().map(|name| (*name).to_owned());
        Scene { plan: PeerPlan::new(names, now + Duration::from_secs(10)), now, lists: 0, is_served: true }
    }

    /// One namespace, listed, with nothing in it.
    fn listed() -> Self {
        let mut scene = Scene::of(&[NS]);
        scene.plan.listed(NS, &HashSet::new());
        scene
    }

    fn object(&mut self, name: &str, uid: &str, created: i64, spec: serde_json::Value) {
        self.generation(name, uid, created, 1, spec);
    }

    /// Made first, and with nothing that it does not say.
    fn exactly(&mut self, name: &str, uid: &str, spec: serde_json::Value) {
        self.put(name, uid, 1, 1, serde_json::from_value(spec).unwrap());
    }

    /// Without a Secret, it comes from one network.
    fn generation(&mut self, name: &str, uid: &str, created: i64, generation: i64, spec: serde_json::Value) {
        let mut spec: SipPeerSpec = serde_json::from_value(spec).unwrap();
        if spec.secret_ref.is_none() {
            let network = json!({ "deny": ["0.0.0.0/0"], "permit": ["192.0.2.0/24"] });
            let limited: SipPeerSpec = serde_json::from_value(network).unwrap();
            spec = SipPeerSpec { deny: limited.deny, permit: limited.permit, ..spec };
        }
        self.put(name, uid, created, generation, spec);
    }

    fn put(&mut self, name: &str, uid: &str, created: i64, generation: i64, spec: SipPeerSpec) {
        let (namespace, object) = name.split_once('/').unwrap_or((NS, name));
        self.plan.object(Wanted {
            key: Key { namespace: namespace.to_owned(), name: object.to_owned() },
            uid: uid.to_owned(),
            created,
            generation,
            sip_name: spec.name.clone().unwrap_or_else(|| object.to_owned()),
            is_served: self.is_served,
            spec: Ok(Arc::new(spec)),
        });
    }

    fn gone(&mut self, name: &str, uid: &str) {
        self.plan.gone(&Key { namespace: NS.to_owned(), name: name.to_owned() }, uid);
    }

    /// The next thing to do, but for lists of marks, which are counted.
    fn next(&mut self) -> Option<Action> {
        loop {
            match self.plan.next(self.now, 100) {
                Some(Action::ListMarks) => self.lists += 1,
                other => return other,
            }
        }
    }

    fn provision(&mut self) -> Provision {
        match self.next() {
            Some(Action::Provision(provision)) => provision,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, asked: &Provision, answer: Provisioned) {
        self.plan.provisioned(self.now, asked, Ok(answer), 0.5);
    }

    /// Provisions what is to be provisioned; the name and who it is for.
    fn writes(&mut self) -> (String, String) {
        let asked = self.provision();
        self.answer(&asked, written());
        (asked.name, asked.mark.uid)
    }

    fn verdicts(&mut self) -> Vec<(String, &'static str)> {
        let mut said = Vec::new();
        while let Some(told) = self.plan.told() {
            if let Told::Verdict(key, _, verdict) = told {
                said.push((key.name, verdict.reason()));
            }
        }
        said
    }

    fn secret(&mut self, version: &str, value: &str) {
        let secret = phones();
        let values = [("ann".to_owned(), Secret::new(value))].into();
        self.plan.secret_read(self.now, &secret, Value::There(version.to_owned(), values), 0.5);
    }
}

fn phones() -> SecretRef {
    SecretRef { namespace: NS.to_owned(), name: "phones".to_owned() }
}

fn with_secret() -> serde_json::Value {
    json!({ "secretRef": { "name": "phones", "key": "ann" } })
}

fn written() -> Provisioned {
    Provisioned::Written { put_right: Vec::new(), silent: Vec::new() }
}

fn mark(namespace: &str, name: &str, uid: &str) -> Mark {
    Mark { origin: format!("sippeer/{namespace}/{name}"), uid: uid.to_owned(), generation: "1-x".to_owned() }
}

fn marked(sip_name: &str, namespace: &str, uid: &str) -> Vec<Marked> {
    vec![Marked { name: sip_name.to_owned(), mark: mark(namespace, sip_name, uid) }]
}

#[test]
fn an_object_is_written_once_and_not_again_while_nothing_changes() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    assert_eq!(scene.writes(), ("ann".to_owned(), "u1".to_owned()));
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Served")]);
    scene.object("ann", "u1", 1, json!({}));
    assert_eq!(scene.next(), None);
    scene.generation("ann", "u1", 1, 2, json!({ "description": "new" }));
    assert_eq!(scene.provision().columns["description"], "new");
}

#[test]
fn nothing_is_done_before_every_namespace_is_known() {
    let mut scene = Scene::of(&[NS, "other"]);
    scene.object("ann", "u2", 2, json!({}));
    scene.plan.listed(NS, &["u2".to_owned()].into());
    scene.plan.marked(marked("zoe", NS, "u9"));
    assert_eq!(scene.next(), None);
    scene.object("other/ann", "u1", 1, json!({}));
    scene.plan.listed("other", &["u1".to_owned()].into());
    assert_eq!(scene.writes().1, "u1", "the older claim of the namespace that was listed last");
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "zoe".to_owned(), uid: "u9".to_owned() }));
}

#[test]
fn a_namespace_that_does_not_answer_holds_up_writing_for_ten_seconds_and_withdrawing_for_good() {
    let mut scene = Scene::of(&[NS, "other"]);
    scene.object("ann", "u2", 2, json!({}));
    scene.plan.listed(NS, &["u2".to_owned()].into());
    scene.plan.marked(marked("zoe", NS, "u9"));
    scene.now += Duration::from_secs(11);
    assert_eq!(scene.writes().1, "u2");
    assert_eq!(scene.next(), None);
}

#[test]
fn a_forbidden_namespace_stops_nobody_and_keeps_its_peers() {
    let mut scene = Scene::of(&[NS, "other"]);
    scene.plan.refused("other");
    scene.object("ann", "u1", 1, json!({}));
    scene.plan.listed(NS, &["u1".to_owned()].into());
    scene.plan.marked(marked("zoe", "other", "u9"));
    scene.plan.marked(marked("max", "elsewhere", "u8"));
    assert_eq!(scene.writes().1, "u1");
    assert_eq!(scene.next(), None);
    assert_eq!(scene.plan.unwatched(), 2);
}

#[test]
fn the_older_claim_wins_and_the_other_gets_the_name_when_it_goes() {
    let mut scene = Scene::listed();
    scene.object("second", "u2", 2, json!({ "name": "ann" }));
    assert_eq!(scene.writes().1, "u2");
    scene.object("first", "u1", 1, json!({ "name": "ann" }));
    let asked = scene.provision();
    assert_eq!((asked.mark.uid.as_str(), asked.instead_of.as_str()), ("u1", "u2"));
    scene.answer(&asked, written());
    scene.verdicts();
    scene.object("third", "u3", 3, json!({ "name": "ann" }));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.verdicts(), [("third".to_owned(), "NameTaken")]);
    scene.gone("first", "u1");
    let asked = scene.provision();
    assert_eq!((asked.mark.uid.as_str(), asked.instead_of.as_str()), ("u2", "u1"), "its contacts stay");
    scene.answer(&asked, written());
    let said = scene.verdicts();
    assert_eq!(
        said,
        [("third".to_owned(), "NameTaken"), ("second".to_owned(), "Served")],
        "third is told by whom"
    );
}

#[test]
fn a_deleted_object_is_withdrawn_also_when_it_was_just_being_written() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.gone("ann", "u1");
    assert_eq!(scene.next(), None, "one thing at a time");
    scene.answer(&asked, written());
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
    scene.plan.withdrawn(scene.now, "ann", "u1", Ok(Withdrawn::Removed), 0.5);
    assert_eq!(scene.next(), None);
    assert!(scene.plan.names.is_empty());
}

#[test]
fn what_was_deleted_while_nobody_looked_is_found_by_its_uid() {
    let mut scene = Scene::listed();
    scene.object("ann", "new", 5, json!({}));
    scene.plan.marked(marked("ann", NS, "old"));
    let asked = scene.provision();
    assert_eq!(
        (asked.mark.uid.as_str(), asked.instead_of.as_str()),
        ("new", "old"),
        "made again under its name"
    );
}

#[test]
fn a_list_without_an_object_that_was_known_says_that_it_is_gone() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.plan.listed(NS, &HashSet::new());
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
}

#[test]
fn a_peer_without_our_mark_keeps_its_name_and_is_asked_for_again_later() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Taken(None));
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "NameTaken")]);
    assert_eq!(scene.next(), None);
    scene.plan.record_changed("ann");
    assert_eq!(scene.writes().1, "u1", "somebody took the other away");
}

#[test]
fn a_mark_of_a_namespace_that_is_not_ours_is_not_taken_over() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Taken(Some(mark("another-release", "ann", "u7"))));
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "NameTaken")]);
    scene.now += Duration::from_secs(120);
    assert_eq!(scene.provision().instead_of, "");
}

#[test]
fn a_mark_that_an_object_left_is_taken_over_at_once() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Taken(Some(mark(NS, "ann", "gone"))));
    assert_eq!(scene.provision().instead_of, "gone");
}

#[test]
fn contacts_that_another_namespace_left_go_before_its_name_is_taken() {
    let mut scene = Scene::of(&[NS, "other"]);
    scene.object("ann", "u1", 1, json!({}));
    scene.plan.listed(NS, &["u1".to_owned()].into());
    scene.plan.listed("other", &HashSet::new());
    scene.plan.marked(marked("ann", "other", "u9"));
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u9".to_owned() }));
    assert_eq!(scene.next(), None, "one thing at a time");
    scene.plan.withdrawn(scene.now, "ann", "u9", Ok(Withdrawn::Removed), 0.5);
    let asked = scene.provision();
    assert_eq!((asked.mark.uid.as_str(), asked.instead_of.as_str()), ("u1", ""));
}

#[test]
fn a_missing_secret_is_said_and_a_changed_one_is_written() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, with_secret());
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    assert_eq!(scene.next(), None);
    scene.plan.secret_read(scene.now, &phones(), Value::Missing, 0.5);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "SecretMissing")]);
    scene.plan.secret_changed(&phones(), Some("1"));
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    scene.secret("1", "first");
    let first = scene.provision();
    scene.answer(&first, written());
    assert_eq!(first.columns["secret"], "first");
    scene.plan.secret_changed(&phones(), Some("1"));
    assert_eq!(scene.next(), None, "that one is known");
    scene.plan.secret_changed(&phones(), Some("2"));
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    scene.secret("2", "second");
    let second = scene.provision();
    assert_eq!(second.columns["secret"], "second");
    assert_ne!(first.mark.generation, second.mark.generation);
}

#[test]
fn a_secret_that_nobody_names_is_not_read() {
    let mut scene = Scene::listed();
    scene.plan.secret_changed(&phones(), Some("1"));
    assert_eq!(scene.next(), None);
    scene.object("ann", "u1", 1, with_secret());
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    scene.gone("ann", "u1");
    scene.secret("1", "late");
    scene.plan.secret_changed(&phones(), Some("2"));
    assert_eq!(scene.next(), None);
}

#[test]
fn a_peer_changed_by_hand_is_put_right_and_somebody_who_insists_is_answered_slowly() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.plan.record_changed("ann");
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Written { put_right: vec!["secret".to_owned()], silent: Vec::new() });
    scene.plan.record_changed("ann");
    assert_eq!(scene.next(), None);
    scene.now += CORRECTION_PAUSE;
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Unchanged);
    let said = std::iter::from_fn(|| scene.plan.told()).any(|told| matches!(told, Told::PutRight(..)));
    assert!(said);
    assert_eq!(scene.next(), None);
}

#[test]
fn an_emptied_store_gets_everything_again_at_once() {
    let mut scene = Scene::listed();
    for number in 0..50 {
        scene.object(&format!("p{number}"), &format!("u{number}"), number, json!({}));
        scene.writes();
    }
    scene.plan.emptied(scene.now);
    let mut again = 0;
    while let Some(Action::Provision(_)) = scene.next() {
        again += 1;
    }
    assert_eq!(again, 50);
}

#[test]
fn a_registrar_that_fails_is_asked_again_ever_more_slowly() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let mut attempts = 0;
    let end = scene.now + Duration::from_secs(120);
    while scene.now < end {
        while let Some(Action::Provision(asked)) = scene.next() {
            attempts += 1;
            scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Unreachable), 0.5);
        }
        scene.now = scene.plan.wake().unwrap_or(end);
    }
    assert!((8..16).contains(&attempts), "{attempts}");
    let said = scene.verdicts();
    assert_eq!(said, [("ann".to_owned(), "NotServedYet"), ("ann".to_owned(), "RegistrarsAway")]);
    let asked = scene.provision();
    scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Unreachable), 0.5);
    assert_eq!(scene.next(), None, "in a pause");
    scene.plan.reached();
    assert_eq!(scene.writes().0, "ann", "at once when a registrar is there");
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Served")]);
}

#[test]
fn what_is_known_to_be_served_is_not_doubted_because_registrars_do_not_answer() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.verdicts();
    scene.plan.check_all();
    for _ in 0..20 {
        let asked = scene.provision();
        scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Unreachable), 0.5);
        scene.now += standing::LONGEST_PAUSE;
    }
    assert_eq!(scene.verdicts(), []);
}

#[test]
fn what_no_registrar_has_after_an_install_is_said_and_what_they_have_is_not_doubted() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.object("ben", "u2", 2, json!({}));
    scene.object("cid", "u3", 3, json!({}));
    assert_eq!(scene.writes().0, "ann");
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Served")]);
    let ben = scene.provision();
    scene.plan.marked(marked("ben", NS, "u2"));
    assert_eq!(scene.verdicts(), [("cid".to_owned(), "NotServedYet")], "ben is there, though being compared");
    scene.answer(&ben, Provisioned::Unchanged);
    assert_eq!(scene.writes().0, "cid");
    assert_eq!(scene.verdicts(), [("ben".to_owned(), "Served"), ("cid".to_owned(), "Served")]);
    scene.plan.marked(Vec::new());
    assert_eq!(scene.verdicts(), [], "more is known of all of them");
}

fn is_complete(scene: &mut Scene) -> bool {
    let complete = std::iter::from_fn(|| scene.plan.told()).filter(|told| *told == Told::Complete).count();
    assert!(complete <= 1, "it is said once");
    complete == 1
}

#[test]
fn it_is_complete_when_each_peer_was_written_or_cannot_be() {
    let mut scene = Scene::of(&[NS, "other"]);
    scene.object("ann", "u1", 1, json!({}));
    scene.object("ben", "u2", 2, with_secret());
    scene.object("cid", "u3", 3, json!({ "name": "ann" }));
    scene.object("dan", "u4", 4, json!({}));
    scene.plan.listed(NS, &["u1", "u2", "u3", "u4"].map(str::to_owned).into());
    assert!(!is_complete(&mut scene), "a namespace is missing");
    scene.plan.refused("other");
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    let ann = scene.provision();
    let dan = scene.provision();
    scene.answer(&dan, Provisioned::Invalid(vec!["no".to_owned()]));
    scene.plan.provisioned(scene.now, &ann, Err(Unanswered::Unreachable), 0.5);
    scene.plan.secret_read(scene.now, &phones(), Value::Missing, 0.5);
    assert_eq!(scene.next(), None);
    assert!(!is_complete(&mut scene), "ann is not written");
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.writes().0, "ann");
    assert!(is_complete(&mut scene));
    scene.object("eve", "u5", 5, json!({}));
    assert!(!is_complete(&mut scene), "a new object takes nothing back");
    scene.writes();

    scene.plan.emptied(scene.now);
    for _ in 0..3 {
        assert!(!is_complete(&mut scene));
        scene.writes();
    }
    assert_eq!(scene.next(), None);
    assert!(is_complete(&mut scene));
    scene.plan.check_all();
    assert!(!is_complete(&mut scene), "news were missed: the store may be another one");
    for _ in 0..3 {
        let asked = scene.provision();
        scene.answer(&asked, Provisioned::Unchanged);
    }
    assert_eq!(scene.next(), None);
    assert!(is_complete(&mut scene));
}

#[test]
fn it_is_complete_without_objects_and_without_their_kind() {
    assert!(is_complete(&mut Scene::listed()));
    let mut scene = Scene::of(&[NS]);
    assert!(!is_complete(&mut scene));
    scene.plan.has_no_kind(NS);
    assert!(is_complete(&mut scene));
}

#[test]
fn an_object_that_goes_before_it_is_written_keeps_nobody_waiting() {
    let mut scene = Scene::of(&[NS]);
    scene.object("ann", "u1", 1, json!({}));
    scene.plan.listed(NS, &["u1".to_owned()].into());
    scene.gone("ann", "u1");
    assert_eq!(scene.next(), None);
    assert!(is_complete(&mut scene));
}

#[test]
fn at_most_so_many_are_written_at_a_time() {
    let mut scene = Scene::listed();
    for number in 0..10 {
        scene.object(&format!("p{number}"), &format!("u{number}"), number, json!({}));
    }
    let actions = std::iter::from_fn(|| scene.plan.next(scene.now, 3));
    let begun = actions.filter(|action| matches!(action, Action::Provision(_))).count();
    assert_eq!(begun, 3);
}

#[test]
fn a_registrar_that_did_not_forget_keeps_the_object_from_being_ready() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Written { put_right: Vec::new(), silent: vec!["r-1".to_owned()] });
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "RegistrarsSilent")]);
    scene.now += Duration::from_secs(1);
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Unchanged);
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Served")]);
}

#[test]
fn a_peer_that_somebody_removed_comes_back_and_that_is_said() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.plan.record_gone("ann");
    scene.writes();
    let said = std::iter::from_fn(|| scene.plan.told()).any(|told| matches!(told, Told::PutRight(..)));
    assert!(said);
    scene.gone("ann", "u1");
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
    scene.plan.withdrawn(scene.now, "ann", "u1", Ok(Withdrawn::Removed), 0.5);
    scene.plan.record_gone("ann");
    assert_eq!(scene.next(), None, "that was ourselves");
}
