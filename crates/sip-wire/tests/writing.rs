//! Writers: what a value holds can never become another line, and responses give back what was received.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use bytes::Bytes;
use sip_wire::{Header, Message, Method, RequestWriter, ResponseWriter};
use support::{invite_with, request_with};

fn text(octets: &Bytes) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

const EVIL: [&str; 8] = [
    "a\r\nEvil: 1",
    "a\nEvil: 1",
    "a\rEvil: 1",
    "a\r\n\r\nBYE sip:x SIP/2.0",
    "\r\nEvil: 1",
    "a\0\r\nEvil: 1\r\n",
    "\"a\r\nEvil: 1\"",
    "a\r\n\r\n",
];

/// Reads a written message and sees that it has exactly these headers.
fn lines_of(octets: &Bytes) -> Vec<String> {
    let message = Message::parse(octets.clone()).unwrap();
    message.header_lines().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn a_request_is_written_in_order_with_its_length_last() {
    let octets = RequestWriter::new(&Method::Invite, "sip:bob@example.com")
        .header(Header::Via, "SIP/2.0/UDP h;branch=z9hG4bK1")
        .header(Header::MaxForwards, "70")
        .header_raw("X-Custom", "yes")
        .body("application/sdp", Bytes::from_static(b"v=0\r\n"))
        .finish();
    assert_eq!(
        text(&octets),
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         X-Custom: yes\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    );
}

#[test]
fn no_value_ends_its_line() {
    for evil in EVIL {
        let request = RequestWriter::new(&Method::parse(evil), evil)
            .header(Header::Subject, evil)
            .header_raw("X-Raw", evil)
            .body(evil, Bytes::from_static(b"b"))
            .finish();
        assert!(text(&request).ends_with("\r\nContent-Length: 1\r\n\r\nb"));
        let after_start = text(&request).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert!(
            after_start.iter().all(|line| !line.starts_with("Evil") && !line.starts_with("BYE")),
            "{after_start:?}"
        );
        assert_eq!(after_start.iter().filter(|line| line.contains(':')).count(), 4, "{after_start:?}");

        let response = ResponseWriter::new(200, evil).header(Header::Server, evil).to_tag(evil).finish();
        assert_eq!(lines_of(&response), ["Server", "Content-Length"]);

        let answer = request_answered(evil);
        assert_eq!(lines_of(&answer), ["Via", "From", "To", "Call-ID", "CSeq", "Content-Length"]);

        let edited = Message::parse(invite_with(&[])).unwrap();
        let edited = edited
            .edit()
            .set(Header::Subject, evil)
            .append_named(evil, evil)
            .push_via(evil)
            .replace_top_via(evil)
            .set_request_uri(evil)
            .set_body(evil, Bytes::from_static(b"b"))
            .finish();
        assert!(
            text(&edited).lines().all(|line| !line.starts_with("Evil:") && !line.starts_with("BYE")),
            "{edited:?}"
        );
        assert_eq!(text(&edited).matches("\r\n\r\n").count(), 1);
    }
}

fn request_answered(tag: &str) -> Bytes {
    Message::parse(invite_with(&[])).unwrap().response(200, "OK").to_tag(tag).finish()
}

#[test]
fn a_name_is_made_a_token() {
    let octets = RequestWriter::new(&Method::Info, "sip:b@h").header_raw("X Y:\r\nEvil", "1").finish();
    assert_eq!(lines_of(&octets), ["X-Y---Evil", "Content-Length"]);
}

#[test]
fn the_length_is_the_writers_own() {
    let octets = RequestWriter::new(&Method::Info, "sip:b@h")
        .header(Header::ContentLength, "99")
        .header_raw("l", "98")
        .header_raw("content-length", "97")
        .finish();
    assert_eq!(lines_of(&octets), ["Content-Length"]);
    assert!(text(&octets).ends_with("Content-Length: 0\r\n\r\n"));
    let response =
        ResponseWriter::new(200, "OK").header(Header::ContentLength, "9").header_raw("L", "8").finish();
    assert_eq!(lines_of(&response), ["Content-Length"]);
}

#[test]
fn a_response_gives_back_the_octets_it_was_asked_with() {
    let request = Message::parse(
        "INVITE sip:b@h SIP/2.0\r\nv:  SIP / 2.0/UDP a;branch=z9hG4bK1 ,\r\n SIP/2.0/UDP b\r\nVIA: SIP/2.0/TCP c\r\n\
         f : \"A\" <sip:a@h>;tag=1\r\nt:<sip:b@h> \r\nRecord-Route: <sip:p;lr>,\r\n\t<sip:q;lr>\r\ni: x\r\n\
         CSeq: 007 INVITE\r\nMax-Forwards: 9\r\n\r\n"
            .into(),
    )
    .unwrap();
    let answer =
        request.response(180, "Ringing").record_route().to_tag("me").header(Header::Server, "x").finish();
    assert_eq!(
        text(&answer),
        "SIP/2.0 180 Ringing\r\nv:  SIP / 2.0/UDP a;branch=z9hG4bK1 ,\r\n SIP/2.0/UDP b\r\nVIA: SIP/2.0/TCP c\r\n\
         Record-Route: <sip:p;lr>,\r\n\t<sip:q;lr>\r\nf : \"A\" <sip:a@h>;tag=1\r\nt:<sip:b@h>;tag=me\r\ni: x\r\n\
         CSeq: 007 INVITE\r\nServer: x\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(request.response(200, "OK").finish(), request.response(200, "OK").finish());
}

#[test]
fn a_fold_of_white_space_alone_is_not_passed_on() {
    let request =
        Message::parse(invite_with(&[("To", "<sip:bob@example.com>\n \n\t"), ("X", "a\n \n b")])).unwrap();
    let answer = request.response(200, "OK").to_tag("t").finish();
    assert!(text(&answer).contains("\r\nTo: <sip:bob@example.com>;tag=t\r\nCall-ID"), "{answer:?}");
    assert!(text(&request.edit().finish()).contains("\r\nX: a b\r\n"));
}

#[test]
fn a_to_tag_that_is_there_stays() {
    let request = Message::parse(invite_with(&[("To", "<sip:bob@example.com>;tag=theirs")])).unwrap();
    let answer = Message::parse(request.response(200, "OK").to_tag("ours").finish()).unwrap();
    assert_eq!(answer.header(Header::To), Some("<sip:bob@example.com>;tag=theirs"));
}

#[test]
fn the_true_source_goes_into_the_top_via_only() {
    let vias = "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1 , SIP/2.0/UDP 10.0.0.2;rport";
    let request = Message::parse(invite_with(&[("Via", vias)])).unwrap();
    let answer = request.response(200, "OK").top_via_received("192.0.2.9".parse().unwrap(), 40_000).finish();
    let answer = Message::parse(answer).unwrap();
    assert_eq!(
        answer.header(Header::Via),
        Some(
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.9;rport=40000 , SIP/2.0/UDP 10.0.0.2;rport"
        )
    );
    let plain = Message::parse(invite_with(&[("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1")])).unwrap();
    let source = "192.0.2.9".parse().unwrap();
    let answer = Message::parse(plain.response(200, "OK").top_via_received(source, 5060).finish()).unwrap();
    assert_eq!(answer.header(Header::Via), plain.header(Header::Via));
    let answer =
        Message::parse(plain.response(200, "OK").top_via_received_forced(source, 5060).finish()).unwrap();
    assert_eq!(answer.top_via().unwrap().rport, Some(Some(5060)));
}

#[test]
fn lines_of_another_message_are_copied_as_received() {
    let from = Message::parse(invite_with(&[("Subject", "a\n  b"), ("X", "1")])).unwrap();
    let octets = RequestWriter::new(&Method::Message, "sip:b@h")
        .copy_from(&from, Header::Subject)
        .copy_from(&from, Header::ContentLength)
        .finish();
    assert_eq!(text(&octets), "MESSAGE sip:b@h SIP/2.0\r\nSubject: a\r\n  b\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn an_edit_replaces_inserts_and_removes_lines_where_they_stand() {
    let body = "v=0\r\n";
    let message = Message::parse(request_with(
        "INVITE sip:bob@example.com SIP/2.0",
        &[("Via", "SIP/2.0/UDP a, SIP/2.0/UDP b"), ("m", "<sip:c@h>"), ("X-A", "1"), ("x-a", "2")],
        body,
    ))
    .unwrap();
    let octets = message
        .edit()
        .set(Header::Contact, "<sip:edge@h>")
        .set_named("X-A", "3")
        .remove(Header::MaxForwards)
        .remove_top_via()
        .push_via("SIP/2.0/UDP us")
        .set_request_uri("sip:bob@192.0.2.7")
        .set_body("application/sdp", Bytes::from_static(b"v=1\r\ns=-\r\n"))
        .finish();
    assert_eq!(
        text(&octets),
        "INVITE sip:bob@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP us\r\nVia: SIP/2.0/UDP b\r\n\
         From: \"Alice\" <sip:alice@example.com>;tag=9fxced76sl\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: 3848276298220188511@192.0.2.1\r\nCSeq: 1 INVITE\r\nContact: <sip:edge@h>\r\nX-A: 3\r\n\
         Content-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=1\r\ns=-\r\n"
    );
}

#[test]
fn removing_the_only_via_removes_its_line_and_an_empty_body_its_type() {
    let message =
        Message::parse(request_with("INFO sip:b@h SIP/2.0", &[("Content-Type", "a/b")], "x")).unwrap();
    let edited =
        Message::parse(message.edit().remove_top_via().set_body("a/b", Bytes::new()).finish()).unwrap();
    assert_eq!(edited.header(Header::Via), None);
    assert_eq!(edited.content_type(), None);
    assert_eq!(edited.number(Header::ContentLength), Ok(0));
}

#[test]
fn a_response_keeps_its_start_line_when_edited() {
    let busy = Message::parse(request_with("SIP/2.0 486 Besetzt, bitte warten", &[], "")).unwrap();
    let edited = Message::parse(busy.edit().set_request_uri("sip:x@h").remove_top_via().finish()).unwrap();
    assert_eq!((edited.status(), edited.reason()), (Some(486), "Besetzt, bitte warten"));
}
