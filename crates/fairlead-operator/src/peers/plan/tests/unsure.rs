//! What was written, removed or read without anybody knowing what came of it.

use super::*;

#[test]
fn after_an_attempt_that_some_may_not_have_heard_of_everybody_is_told_to_forget() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    assert!(!asked.forget, "nothing went wrong yet");
    scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Deadline), 0.5);
    scene.now += Duration::from_secs(1);
    let asked = scene.provision();
    assert!(asked.forget, "it may have been written without a word to the others");
    scene.answer(&asked, Provisioned::Written { put_right: Vec::new(), silent: vec!["r-2".to_owned()] });
    scene.now += Duration::from_secs(2);
    let asked = scene.provision();
    assert!(asked.forget, "r-2 has not said that it has forgotten");
    scene.answer(&asked, written());
    scene.plan.record_changed("ann");
    assert!(!scene.provision().forget, "all have heard");
}

#[test]
fn who_did_not_hear_of_a_former_object_is_told_to_forget_by_the_next() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Unreachable), 0.5);
    scene.generation("ann", "u1", 1, 2, json!({ "description": "new" }));
    scene.now += Duration::from_secs(1);
    assert!(scene.provision().forget);
}

#[test]
fn what_was_to_be_removed_when_the_store_was_emptied_is_removed_from_what_comes_back() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.gone("ann", "u1");
    let withdraw = Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() };
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
    scene.plan.withdrawn(scene.now, "ann", "u1", Err(Unanswered::Unreachable), 0.5);
    scene.plan.emptied(scene.now);
    assert_eq!(scene.next(), Some(withdraw), "a registrar may still hold it, and write it back");
    scene.plan.withdrawn(scene.now, "ann", "u1", Ok(Withdrawn::Absent), 0.5);
    assert_eq!(scene.next(), None);
    assert!(scene.plan.names.is_empty());
}

#[test]
fn marks_are_listed_when_the_store_was_emptied_and_again_when_registrars_have_refilled_it() {
    let mut scene = Scene::listed();
    assert_eq!((scene.next(), scene.lists), (None, 1), "after the list of objects");
    scene.plan.emptied(scene.now);
    assert_eq!((scene.next(), scene.lists), (None, 2));
    let again = scene.plan.wake().unwrap();
    scene.now = again - Duration::from_millis(1);
    assert_eq!((scene.next(), scene.lists), (None, 2));
    scene.now = again;
    assert_eq!((scene.next(), scene.lists), (None, 3));
    assert_eq!(scene.plan.wake(), None);
    scene.plan.marked(marked("zoe", NS, "u9"));
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "zoe".to_owned(), uid: "u9".to_owned() }));
}

#[test]
fn what_is_left_alone_counts_no_more_when_the_store_was_emptied() {
    let mut scene = Scene::listed();
    scene.plan.marked(marked("max", "elsewhere", "u8"));
    assert_eq!((scene.next(), scene.plan.unwatched()), (None, 1));
    scene.plan.emptied(scene.now);
    assert_eq!((scene.next(), scene.plan.unwatched()), (None, 0));
}

#[test]
fn a_peer_that_anybody_could_register_as_is_not_written() {
    let mut scene = Scene::listed();
    scene.exactly("ann", "u1", json!({ "acl": ["office"] }));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Invalid")]);
    scene.exactly("ben", "u2", json!({ "host": "Dynamic" }));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.verdicts(), [("ben".to_owned(), "Invalid")]);
    scene.exactly("cid", "u3", json!({ "host": "gateway.example.com" }));
    assert_eq!(scene.writes().0, "cid");
}

#[test]
fn a_secret_that_could_not_be_read_now_and_then_says_nothing() {
    let mut scene = Scene::of(&[NS]);
    scene.object("ann", "u1", 1, with_secret());
    scene.plan.listed(NS, &["u1".to_owned()].into());
    for _ in 0..2 {
        assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
        scene.plan.secret_read(scene.now, &phones(), Value::Failed("late".to_owned()), 0.5);
        assert_eq!(scene.next(), None);
        assert!(!is_complete(&mut scene), "it may well have a password");
        scene.now = scene.plan.wake().unwrap();
    }
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
    scene.secret("1", "sesame");
    assert_eq!(scene.writes().0, "ann");
    assert_eq!(scene.verdicts(), [("ann".to_owned(), "Served")]);
}

#[test]
fn a_secret_that_cannot_be_read_for_long_is_said_and_holds_up_nobody() {
    let mut scene = Scene::of(&[NS]);
    let begun = scene.now;
    scene.object("ann", "u1", 1, with_secret());
    scene.plan.listed(NS, &["u1".to_owned()].into());
    let mut said = Vec::new();
    while said.is_empty() {
        assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
        scene.plan.secret_read(scene.now, &phones(), Value::Failed("it may not be read".to_owned()), 0.5);
        assert_eq!(scene.next(), None);
        said = scene.verdicts();
        scene.now = scene.plan.wake().unwrap();
    }
    assert_eq!(said, [("ann".to_owned(), "SecretMissing")]);
    assert!((5..60).contains(&scene.now.duration_since(begun).as_secs()));
    assert!(scene.plan.is_complete_told);
}

#[test]
fn at_most_sixteen_secrets_are_read_at_a_time() {
    let mut scene = Scene::listed();
    for number in 0..40 {
        let named = json!({ "secretRef": { "name": format!("s{number}"), "key": "ann" } });
        scene.object(&format!("p{number}"), &format!("u{number}"), number, named);
    }
    let mut reading = VecDeque::new();
    let mut most = 0;
    let mut read = 0;
    loop {
        while let Some(action) = scene.next() {
            if let Action::ReadSecret(secret) = action {
                reading.push_back(secret);
            }
        }
        most = most.max(reading.len());
        let Some(secret) = reading.pop_front() else { break };
        read += 1;
        scene.plan.secret_read(scene.now, &secret, Value::Missing, 0.5);
    }
    assert_eq!((most, read), (16, 40));
}

#[test]
fn a_secret_that_nobody_names_any_more_does_not_keep_its_place() {
    let mut scene = Scene::listed();
    for number in 0..20 {
        let named = json!({ "secretRef": { "name": format!("s{number}"), "key": "ann" } });
        scene.object(&format!("p{number}"), &format!("u{number}"), number, named);
    }
    let mut reading = Vec::new();
    while let Some(Action::ReadSecret(secret)) = scene.next() {
        reading.push(secret);
    }
    for number in 0..20 {
        scene.gone(&format!("p{number}"), &format!("u{number}"));
    }
    for secret in reading {
        scene.plan.secret_read(scene.now, &secret, Value::Missing, 0.5);
    }
    scene.object("ann", "u", 1, with_secret());
    assert_eq!(scene.next(), Some(Action::ReadSecret(phones())));
}

#[test]
fn a_list_that_was_read_before_a_replacement_does_not_take_it_back() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Taken(Some(mark(NS, "ann", "u0"))));
    scene.writes();
    scene.plan.marked(marked("ann", NS, "u0"));
    assert_eq!(scene.next(), None);
    scene.gone("ann", "u1");
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
}

#[test]
fn a_peer_that_turns_out_to_be_of_another_object_is_looked_for_in_a_new_list() {
    let mut scene = Scene::listed();
    scene.plan.marked(marked("zoe", NS, "u0"));
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "zoe".to_owned(), uid: "u0".to_owned() }));
    let lists = scene.lists;
    scene.plan.withdrawn(scene.now, "zoe", "u0", Ok(Withdrawn::NotYours), 0.5);
    assert_eq!((scene.next(), scene.lists), (None, lists + 1));
    scene.plan.marked(marked("zoe", NS, "u1"));
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "zoe".to_owned(), uid: "u1".to_owned() }));
    scene.plan.withdrawn(scene.now, "zoe", "u1", Ok(Withdrawn::Removed), 0.5);
    assert_eq!(scene.next(), None);
    assert!(scene.plan.names.is_empty());
}

#[test]
fn a_marked_peer_that_sip_conf_hides_is_tried_once_and_not_for_ever() {
    let mut scene = Scene::listed();
    for _ in 0..2 {
        scene.plan.marked(marked("zoe", NS, "u0"));
        if scene.next().is_some() {
            scene.plan.withdrawn(scene.now, "zoe", "u0", Ok(Withdrawn::NotYours), 0.5);
        }
    }
    assert_eq!((scene.next(), scene.lists), (None, 2), "one by the list of objects, one by the answer");
    scene.plan.marked(Vec::new());
    assert_eq!(scene.next(), None);
    assert!(scene.plan.names.is_empty(), "it is gone");
}

#[test]
fn a_removal_that_was_lost_is_made_again_when_the_store_is_there_again() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.gone("ann", "u1");
    assert!(matches!(scene.next(), Some(Action::Withdraw { .. })));
    scene.plan.withdrawn(scene.now, "ann", "u1", Ok(Withdrawn::Removed), 0.5);
    assert_eq!((scene.next(), scene.lists), (None, 1));
    scene.plan.check_all();
    assert_eq!((scene.next(), scene.lists), (None, 2));
    scene.plan.marked(marked("ann", NS, "u1"));
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
}

#[test]
fn a_replacement_that_was_lost_is_made_again_when_the_store_is_there_again() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    scene.writes();
    scene.plan.check_all();
    let asked = scene.provision();
    scene.answer(&asked, Provisioned::Taken(Some(mark(NS, "ann", "u0"))));
    let asked = scene.provision();
    assert_eq!((asked.mark.uid.as_str(), asked.instead_of.as_str()), ("u1", "u0"));
}

/// An object that this release cannot read.
fn unread(scene: &mut Scene, name: &str, uid: &str, created: i64) {
    scene.plan.object(Wanted {
        key: Key { namespace: NS.to_owned(), name: name.to_owned() },
        uid: uid.to_owned(),
        created,
        generation: 1,
        sip_name: format!("\0{uid}"),
        is_served: true,
        spec: Err("a new kind of option".to_owned()),
    });
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_name_against_a_newer_claim() {
    for is_listed in [true, false] {
        let mut scene = Scene::listed();
        unread(&mut scene, "old", "u1", 1);
        scene.object("new", "u2", 2, json!({ "name": "ann" }));
        if is_listed {
            scene.plan.marked(marked("ann", NS, "u1"));
        }
        let asked = scene.provision();
        assert_eq!((asked.mark.uid.as_str(), asked.instead_of.as_str()), ("u2", ""));
        scene.answer(&asked, Provisioned::Taken(Some(mark(NS, "old", "u1"))));
        assert_eq!(scene.next(), None);
        assert!(scene.verdicts().contains(&("new".to_owned(), "NameTaken")));
        scene.gone("old", "u1");
        assert_eq!(scene.provision().instead_of, "u1", "at once");
    }
}

#[test]
fn the_peer_of_an_object_that_could_not_be_read_goes_with_it() {
    let mut scene = Scene::listed();
    unread(&mut scene, "ann", "u1", 1);
    scene.plan.marked(marked("ann", NS, "u1"));
    assert_eq!(scene.next(), None);
    scene.gone("ann", "u1");
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
}

#[test]
fn what_an_attempt_may_have_written_is_withdrawn_when_its_object_goes() {
    let mut scene = Scene::listed();
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    scene.plan.provisioned(scene.now, &asked, Err(Unanswered::Deadline), 0.5);
    scene.gone("ann", "u1");
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.next(), Some(Action::Withdraw { name: "ann".to_owned(), uid: "u1".to_owned() }));
    scene.plan.withdrawn(scene.now, "ann", "u1", Ok(Withdrawn::Absent), 0.5);
    assert_eq!(scene.next(), None);
    assert!(scene.plan.names.is_empty());
}

#[test]
fn what_no_leader_before_has_called_served_is_told_to_all_again() {
    let mut scene = Scene::listed();
    scene.is_served = false;
    scene.object("ann", "u1", 1, json!({}));
    let asked = scene.provision();
    assert!(asked.forget, "the one that led before may have written it, with somebody silent");
    scene.answer(&asked, written());
    scene.generation("ann", "u1", 1, 2, json!({ "description": "new" }));
    assert!(!scene.provision().forget, "from here on it is known");
}
