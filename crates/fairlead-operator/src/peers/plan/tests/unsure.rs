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
