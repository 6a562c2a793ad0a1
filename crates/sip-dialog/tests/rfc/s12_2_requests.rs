//! RFC 3261 §12.2: requests in a dialog, from both sides.

use crate::lab::*;
use sip_dialog::{Dialog, DialogError, OutOfOrder};
use sip_wire::{Message, Method};

fn routed(routes: &[&str]) -> Dialog {
    Dialog { route_set: routes.iter().map(|route| route.to_string()).collect(), ..alice() }
}

#[test]
fn s12_2_1_1_each_request_has_the_next_cseq_but_ack_that_of_its_invite() {
    let mut alice = alice();
    assert_eq!(alice.request(Method::Info).cseq, 314_160);
    let invite = alice.request(Method::Invite);
    assert_eq!(invite.cseq, 314_161);
    assert_eq!(alice.request(Method::Bye).cseq, 314_162);
    assert_eq!(alice.ack(invite.cseq).cseq, 314_161);
    assert_eq!(alice.local_cseq, 314_162);
}

#[test]
fn s8_1_1_5_cseq_stays_below_2_to_the_31() {
    let mut dialog = Dialog { local_cseq: u32::MAX - 3, ..alice() };
    assert_eq!(dialog.request(Method::Bye).cseq, (1 << 31) - 1);
    assert_eq!(Dialog::uas(&message(INVITE), "t", u32::MAX).unwrap().local_cseq, (1 << 31) - 1);
}

#[test]
fn s12_2_1_1_without_routes_it_goes_to_the_target() {
    let request = routed(&[]).request(Method::Bye);
    assert_eq!(request.request_uri, "sip:bob@192.0.2.4");
    assert_eq!(request.next_hop, "sip:bob@192.0.2.4");
    assert!(request.routes.is_empty());
}

#[test]
fn s12_2_1_1_with_a_loose_router_first_the_target_stays_the_request_uri() {
    let request = routed(&["<sip:p1.example;lr>", "<sip:p2.example>"]).request(Method::Bye);
    assert_eq!(request.request_uri, "sip:bob@192.0.2.4");
    assert_eq!(request.routes, ["<sip:p1.example;lr>", "<sip:p2.example>"]);
    assert_eq!(request.next_hop, "sip:p1.example;lr");
}

#[test]
fn s12_2_1_1_with_a_strict_router_first_the_target_is_the_last_route() {
    let request = routed(&["<sip:p1.example;transport=tcp;method=INVITE?Subject=x>", "<sip:p2.example;lr>"])
        .request(Method::Bye);
    assert_eq!(request.request_uri, "sip:p1.example;transport=tcp", "without what no Request-URI may have");
    assert_eq!(request.routes, ["<sip:p2.example;lr>", "<sip:bob@192.0.2.4>"]);
    assert_eq!(request.next_hop, "sip:p1.example;transport=tcp");
}

#[test]
fn s19_1_1_what_no_request_uri_may_have_is_left_out_of_the_target_too() {
    let target = "sip:a;x=1?y@192.0.2.4:5062;transport=tcp;METHOD=BYE;ob?Subject=x".to_owned();
    let mut dialog = Dialog { remote_target: target, ..routed(&[]) };
    assert_eq!(dialog.request(Method::Info).request_uri, "sip:a;x=1?y@192.0.2.4:5062;transport=tcp;ob");
}

#[test]
fn s12_2_1_1_the_head_says_all_of_it() {
    let mut alice = alice();
    let request = alice.request(Method::Bye);
    let bytes = request.writer(&alice, "SIP/2.0/UDP a;branch=z9hG4bKx", 69).finish();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text,
        "BYE sip:bob@192.0.2.4 SIP/2.0\r\n\
         Via: SIP/2.0/UDP a;branch=z9hG4bKx\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:p1.example;lr>;x=\"a, b\"\r\n\
         Route: <sip:p2.example;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.example>;tag=fa\r\n\
         To: Bob <sip:bob@biloxi.example>;tag=tb\r\n\
         Call-ID: c@pc33\r\n\
         CSeq: 314160 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_request_of_one_end_belongs_to_the_dialog_of_the_other() {
    let (mut alice, bob) = (alice(), bob());
    let bytes = alice.request(Method::Bye).writer(&alice, "SIP/2.0/UDP a;branch=z9hG4bKx", 70).finish();
    assert!(bob.owns_request(&Message::parse(bytes).unwrap()));
}

fn check(dialog: &mut Dialog, method: &str, cseq: u32) -> Result<(), OutOfOrder> {
    dialog.check_order(&message(&to_bob(method, cseq)))
}

#[test]
fn s12_2_2_a_lower_cseq_is_out_of_order() {
    let mut bob = bob();
    assert_eq!(check(&mut bob, "INFO", 314_160), Ok(()));
    assert_eq!(check(&mut bob, "INFO", 400_000), Ok(()), "gaps are allowed");
    assert_eq!(check(&mut bob, "BYE", 314_161), Err(OutOfOrder { got: 314_161, last: 400_000 }));
    assert_eq!(check(&mut bob, "BYE", 400_000), Err(OutOfOrder { got: 400_000, last: 400_000 }));
    let is_in_order = |bob: &Dialog, cseq| bob.is_in_order(&message(&to_bob("BYE", cseq)));
    assert!(!is_in_order(&bob, 400_000) && is_in_order(&bob, 400_001));
    assert_eq!(check(&mut bob, "BYE", 400_001), Ok(()), "to be asked notes nothing");
}

#[test]
fn s12_2_2_the_first_request_of_the_other_side_sets_the_number() {
    let mut alice = alice();
    assert_eq!(check(&mut alice, "OPTIONS", 0), Ok(()));
    assert_eq!(check(&mut alice, "OPTIONS", 0), Err(OutOfOrder { got: 0, last: 0 }));
}

#[test]
fn s12_2_2_ack_and_cancel_carry_their_invites_number() {
    let mut bob = bob();
    check(&mut bob, "INFO", 314_200).unwrap();
    assert_eq!(check(&mut bob, "ACK", 314_159), Ok(()));
    assert_eq!(check(&mut bob, "CANCEL", 314_159), Ok(()));
    assert_eq!(bob.remote_cseq, Some(314_200));
}

#[test]
fn s12_2_only_target_refresh_requests_move_the_target() {
    for (method, moves) in [
        ("INVITE", true),
        ("UPDATE", true),
        ("SUBSCRIBE", true),
        ("NOTIFY", true),
        ("REFER", true),
        ("INFO", false),
        ("BYE", false),
        ("MESSAGE", false),
    ] {
        let mut bob = bob();
        bob.refresh_target(&message(&to_bob(method, 314_160))).unwrap();
        assert_eq!(bob.remote_target == "sip:alice@198.51.100.1", moves, "{method}");
    }
}

#[test]
fn s12_2_1_2_a_2xx_to_a_reinvite_moves_the_target_too() {
    let mut alice = alice();
    alice.refresh_target(&changed(OK, "192.0.2.4", "192.0.2.5")).unwrap();
    assert_eq!(alice.remote_target, "sip:bob@192.0.2.5");
}

#[test]
fn s12_2_a_refresh_without_contact_changes_nothing_and_a_bad_one_is_refused() {
    let mut bob = bob();
    let before = bob.clone();
    let reinvite = to_bob("INVITE", 314_160);
    bob.refresh_target(&changed(&reinvite, "Contact: <sip:alice@198.51.100.1>\n", "")).unwrap();
    assert_eq!(
        bob.refresh_target(&changed(&reinvite, "<sip:alice@198.51.100.1>", "*")),
        Err(DialogError::Contact)
    );
    assert_eq!(bob, before);
}

#[test]
fn s12_2_the_route_set_never_changes_in_a_confirmed_dialog() {
    let mut bob = bob();
    bob.confirm();
    let routed = changed(
        &to_bob("INVITE", 314_160),
        "Max-Forwards",
        "Record-Route: <sip:new.example;lr>\nMax-Forwards",
    );
    bob.refresh_target(&routed).unwrap();
    assert_eq!(bob.route_set.len(), 2);
}
