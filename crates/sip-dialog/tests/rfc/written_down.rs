//! A dialog is a value: written down here, gone on with there.

use crate::lab::*;
use sip_dialog::Dialog;
use sip_wire::Method;

#[test]
fn what_is_written_is_read_again() {
    for dialog in [alice(), bob()] {
        let text = serde_json::to_string(&dialog).unwrap();
        assert_eq!(serde_json::from_str::<Dialog>(&text).unwrap(), dialog);
    }
}

#[test]
fn a_record_of_another_release_is_read_too() {
    let read: Dialog = serde_json::from_str(
        r#"{"call_id":"c","local_tag":"l","local":"<sip:l@h>;tag=l","remote":"<sip:r@h>;tag=r",
            "local_cseq":7,"remote_target":"sip:r@h","state":"confirmed","some_new_field":[1]}"#,
    )
    .unwrap();
    assert_eq!((read.local_cseq, read.remote_cseq, read.route_set.len(), read.secure), (7, None, 0, false));
}

#[test]
fn the_next_holder_goes_on_at_cseq_plus_1000() {
    let mut former = alice();
    let mut heir = former.resumed();
    for _ in 0..900 {
        former.request(Method::Info);
    }
    assert_eq!(heir.local_cseq, 314_159 + 1_000);
    assert!(heir.request(Method::Bye).cseq > former.local_cseq);
    assert_eq!(heir.remote_cseq, former.remote_cseq);
    assert_eq!((heir.route_set, heir.remote_target), (former.route_set, former.remote_target));
}

#[test]
fn bob_takes_the_request_of_the_heir() {
    let mut bob = bob();
    let mut heir = alice().resumed();
    let bytes = heir.request(Method::Bye).writer(&heir, "SIP/2.0/UDP h;branch=z9hG4bKh", 70).finish();
    assert_eq!(bob.check_order(&sip_wire::Message::parse(bytes).unwrap()), Ok(()));
}
