//! RFC 3261 §12.1: how dialogs begin, early ones and forks included.

use crate::lab::*;
use sip_dialog::{Dialog, DialogError, DialogId, Fork, Forks, State};
use sip_wire::Message;

#[test]
fn s12_1_1_the_uas_takes_everything_from_the_request() {
    let bob = bob();
    assert_eq!(bob.call_id, "c@pc33");
    assert_eq!((bob.local_tag.as_str(), bob.remote_tag.as_str()), ("tb", "fa"));
    assert_eq!(bob.local, "Bob <sip:bob@biloxi.example>;tag=tb");
    assert_eq!(bob.remote, "\"Alice\" <sip:alice@atlanta.example>;tag=fa");
    assert_eq!(bob.remote_target, "sip:alice@pc33.atlanta.example;transport=tcp");
    assert_eq!(bob.route_set, ["<sip:p2.example;lr>", "<sip:p1.example;lr>;x=\"a, b\""]);
    assert_eq!((bob.remote_cseq, bob.local_cseq), (Some(314_159), 100));
    assert_eq!((bob.secure, bob.state), (false, State::Early));
}

#[test]
fn s12_1_2_the_uac_takes_the_response_and_turns_the_route_set_round() {
    let alice = alice();
    assert_eq!((alice.local_tag.as_str(), alice.remote_tag.as_str()), ("fa", "tb"));
    assert_eq!(alice.local, "\"Alice\" <sip:alice@atlanta.example>;tag=fa");
    assert_eq!(alice.remote, "Bob <sip:bob@biloxi.example>;tag=tb");
    assert_eq!(alice.remote_target, "sip:bob@192.0.2.4");
    assert_eq!(alice.route_set, ["<sip:p1.example;lr>;x=\"a, b\"", "<sip:p2.example;lr>"]);
    assert_eq!((alice.remote_cseq, alice.local_cseq), (None, 314_159));
    assert_eq!(alice.state, State::Confirmed);
}

#[test]
fn both_ends_are_one_dialog() {
    let (alice, bob) = (alice().id(), bob().id());
    assert_eq!(alice.call_id, bob.call_id);
    assert_eq!((alice.local_tag, alice.remote_tag), (bob.remote_tag, bob.local_tag));
}

#[test]
fn s12_1_1_sips_makes_it_secure() {
    let invite = changed(INVITE, "INVITE sip:", "INVITE SIPS:");
    assert!(Dialog::uas(&invite, "t", 1).unwrap().secure);
    assert!(Dialog::uac(&invite, &message(OK)).unwrap().secure);
}

#[test]
fn s8_1_1_8_a_request_without_exactly_one_sip_contact_makes_no_dialog() {
    let contact = "Contact: \"A\" <sip:alice@pc33.atlanta.example;transport=tcp>;q=0.5";
    for wrong in [
        "X-Nothing: 1",
        "Contact: *",
        "Contact: <sip:a@h>, <sip:b@h>",
        "Contact: <tel:+1>",
        "Contact: <sip:a@h",
    ] {
        let invite = changed(INVITE, contact, wrong);
        assert_eq!(Dialog::uas(&invite, "t", 1), Err(DialogError::Contact), "{wrong}");
    }
}

#[test]
fn a_record_route_that_cannot_be_used_later_is_refused_now() {
    let invite = changed(INVITE, "<sip:p2.example;lr>", "<sip:p2.example;lr");
    assert_eq!(Dialog::uas(&invite, "t", 1), Err(DialogError::RecordRoute));
    let ok = changed(OK, "<sip:p2.example;lr>,", "<>,");
    assert_eq!(Dialog::uac(&message(INVITE), &ok), Err(DialogError::RecordRoute));
}

#[test]
fn s12_1_2_a_response_without_contact_leaves_the_request_uri_as_target() {
    let ringing = changed(&OK.replace("200 OK", "180 Ringing"), "Contact: <sip:bob@192.0.2.4>\n", "");
    let early = Dialog::uac(&message(INVITE), &ringing).unwrap();
    assert_eq!(early.remote_target, "sip:bob@biloxi.example");
    assert_eq!(early.state, State::Early);
}

#[test]
fn s12_1_2_a_peer_of_rfc_2543_has_no_from_tag() {
    let invite = changed(INVITE, ";tag=fa", "");
    let dialog = Dialog::uas(&invite, "tb", 1).unwrap();
    assert_eq!(dialog.remote_tag, "");
    assert!(dialog.owns_request(&changed(&to_bob("BYE", 314_160), ";tag=fa", "")));
    assert!(!dialog.owns_request(&message(&to_bob("BYE", 314_160))));
}

#[test]
fn s12_2_messages_find_their_dialog_by_call_id_and_both_tags() {
    let bob = bob();
    let bye = to_bob("BYE", 314_160);
    assert!(bob.owns_request(&message(&bye)));
    for (from, to) in
        [("c@pc33", "C@PC33"), ("tag=tb", "tag=x"), ("tag=fa", "tag=x"), (";tag=tb", ""), (";tag=fa", "")]
    {
        assert!(!bob.owns_request(&changed(&bye, from, to)), "{from}");
    }
    let alice = alice();
    assert!(alice.owns_response(&message(OK)));
    for (from, to) in [("c@pc33", "other"), ("tag=tb", "tag=x"), ("tag=fa", "tag=x"), (";tag=tb", "")] {
        assert!(!alice.owns_response(&changed(OK, from, to)), "{from}");
    }
    assert_eq!(DialogId::of_request(&message(&bye)), Some(bob.id()));
    assert_eq!(DialogId::of_request(&message(INVITE)), None);
    assert_eq!(DialogId::of_response(&message(OK)), Some(alice.id()));
}

fn response(status: u16, tag: &str) -> Message {
    let text = OK.replace("200 OK", &format!("{status} x")).replace(";tag=tb", tag);
    message(&text.replace("bob@192.0.2.4", &format!("bob@{status}.example")))
}

#[test]
fn s12_1_each_to_tag_makes_one_early_dialog() {
    let mut forks = Forks::new(message(INVITE));
    assert_eq!(forks.handle_response(&response(100, "")), Ok(Fork::None));
    assert_eq!(forks.handle_response(&response(180, "")), Ok(Fork::None));
    assert_eq!(forks.handle_response(&response(180, ";tag=1")), Ok(Fork::New("1".into())));
    assert_eq!(forks.handle_response(&response(183, ";tag=2")), Ok(Fork::New("2".into())));
    assert_eq!(forks.handle_response(&response(183, ";tag=1")), Ok(Fork::Known("1".into())));
    assert_eq!(forks.iter().count(), 2);
    assert!(forks.iter().all(|dialog| dialog.state == State::Early));
    assert_eq!(forks.get("1").unwrap().remote_target, "sip:bob@183.example", "refreshed");
}

#[test]
fn s13_2_2_4_a_2xx_confirms_its_fork_with_its_own_routes_and_target() {
    let mut forks = Forks::new(message(INVITE));
    let ringing =
        changed(&OK.replace("200 OK", "180 x").replace("tag=tb", "tag=1"), "<sip:p2.example;lr>, ", "");
    forks.handle_response(&ringing).unwrap();
    assert_eq!(forks.get("1").unwrap().route_set.len(), 1);
    assert_eq!(forks.handle_response(&response(200, ";tag=1")), Ok(Fork::Known("1".into())));
    let confirmed = forks.take("1").unwrap();
    assert_eq!(confirmed.route_set.len(), 2);
    assert_eq!(confirmed.remote_target, "sip:bob@200.example");
    assert_eq!(confirmed.state, State::Confirmed);
    assert!(forks.take("1").is_none());
}

#[test]
fn s13_2_2_4_a_2xx_of_another_fork_makes_another_confirmed_dialog() {
    let mut forks = Forks::new(message(INVITE));
    forks.handle_response(&response(180, ";tag=1")).unwrap();
    assert_eq!(forks.handle_response(&response(200, ";tag=2")), Ok(Fork::New("2".into())));
    assert_eq!(forks.get("2").unwrap().state, State::Confirmed);
    assert_eq!(forks.get("1").unwrap().state, State::Early);
}

#[test]
fn failures_make_no_dialog() {
    let mut forks = Forks::new(message(INVITE));
    for status in [302, 486, 603] {
        assert_eq!(forks.handle_response(&response(status, ";tag=1")), Ok(Fork::None));
    }
    assert_eq!(forks.iter().count(), 0);
}

#[test]
fn a_flood_of_tags_is_not_followed_but_a_2xx_is() {
    let mut forks = Forks::new(message(INVITE));
    for tag in 0..1_000 {
        forks.handle_response(&response(180, &format!(";tag={tag}"))).unwrap();
    }
    assert!(forks.iter().count() < 100);
    assert_eq!(forks.handle_response(&response(180, ";tag=x")), Ok(Fork::TooMany));
    assert_eq!(forks.handle_response(&response(200, ";tag=x")), Ok(Fork::New("x".into())));
}
