//! The same reading as rsip's, where rsip reads right: no dots in users, no IPv6, no lists, no quoted parameters.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::HeadersExt;
use sip_wire::{Header, Message};

const USERS: [&str; 4] = ["alice", "bob", "1000", "a-b_c"];
const HOSTS: [&str; 4] = ["example.com", "192.0.2.7", "sip.provider.example.net", "h"];
const PORTS: [&str; 3] = ["", ":5060", ":65535"];
const TAGS: [&str; 3] = ["1928301774", "as58f4201b", "x-y.z"];
const METHODS: [&str; 8] = ["INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "SUBSCRIBE"];
const TRANSPORTS: [&str; 4] = ["UDP", "TCP", "TLS", "WSS"];
const EXTRAS: [&str; 5] =
    ["", "Supported: 100rel\r\n", "X-Other: a;b,c\r\n", "Subject: hi there\r\n", "Expires: 3600\r\n"];
const BODIES: [&str; 2] = ["", "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n"];

/// The `n`-th message of a family that walks through all the pieces.
fn message(n: usize) -> String {
    fn of<'a>(pieces: &[&'a str], n: usize) -> &'a str {
        pieces[n % pieces.len()]
    }
    let (method, user, peer) = (of(&METHODS, n), of(&USERS, n / 3), of(&USERS, n / 5 + 1));
    let (host, other) = (of(&HOSTS, n / 2), of(&HOSTS, n / 7 + 1));
    let start = match n % 4 {
        0 => format!("SIP/2.0 {} Some Phrase", [100, 183, 200, 404, 486, 503, 603][n / 4 % 7]),
        _ => format!("{method} sip:{peer}@{other}{} SIP/2.0", of(&PORTS, n)),
    };
    let body = of(&BODIES, n / 11);
    format!(
        "{start}\r\nVia: SIP/2.0/{} {host}{};branch=z9hG4bK{n}\r\nMax-Forwards: {}\r\n\
         From: \"{user}\" <sip:{user}@{host}>;tag={}\r\nTo: <sip:{peer}@{other}>{}\r\nCall-ID: {n}-x@{host}\r\n\
         CSeq: {} {method}\r\nContact: <sip:{user}@{host}{}>\r\n{}Content-Length: {}\r\n\r\n{body}",
        of(&TRANSPORTS, n / 2),
        of(&PORTS, n / 3),
        n % 71,
        of(&TAGS, n),
        ["", ";tag=remote"][n % 2],
        n * 7,
        of(&PORTS, n / 2),
        of(&EXTRAS, n / 2),
        body.len(),
    )
}

fn same_typed_values(ours: &Message, theirs: &impl HeadersExt, text: &str) {
    let via = theirs.via_header().unwrap().typed().unwrap();
    let our_via = ours.top_via().unwrap();
    assert_eq!(our_via.transport, via.transport.to_string(), "{text}");
    assert_eq!(our_via.host, via.uri.host().to_string(), "{text}");
    assert_eq!(our_via.port, via.uri.port().map(|port| *port.value()), "{text}");
    assert_eq!(our_via.branch.as_deref(), via.branch().map(|branch| branch.value()), "{text}");

    let from = theirs.from_header().unwrap().typed().unwrap();
    let our_from = ours.from().unwrap();
    // rsip keeps the quotes.
    assert_eq!(
        our_from.display.as_deref(),
        from.display_name.as_deref().map(|name| name.trim_matches('"')),
        "{text}"
    );
    assert_eq!(our_from.tag(), from.tag().map(|tag| tag.value()), "{text}");
    assert_eq!(our_from.uri.as_str(), from.uri.to_string(), "{text}");

    let to = theirs.to_header().unwrap().typed().unwrap();
    assert_eq!(ours.to_tag(), to.tag().map(|tag| tag.value()), "{text}");

    let cseq = theirs.cseq_header().unwrap().typed().unwrap();
    let our_cseq = ours.cseq().unwrap();
    assert_eq!((our_cseq.number, our_cseq.method.to_rsip()), (cseq.seq, Some(cseq.method)), "{text}");
    assert_eq!(ours.call_id(), theirs.call_id_header().unwrap().value(), "{text}");

    let contact = theirs.contact_header().unwrap().typed().unwrap();
    let our_contact = ours.contact().unwrap().unwrap();
    assert_eq!(our_contact.uri.to_rsip().as_ref(), Ok(&contact.uri), "{text}");
}

#[test]
fn both_read_the_same() {
    for n in 0..2_000 {
        let text = message(n);
        let ours = Message::parse(text.clone().into()).unwrap();
        let theirs =
            rsip::SipMessage::try_from(text.as_str()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(ours.is_request(), theirs.is_request(), "{text}");
        assert_eq!(ours.body(), theirs.body().as_slice(), "{text}");
        match &theirs {
            rsip::SipMessage::Request(request) => {
                assert_eq!(ours.method().to_rsip(), Some(request.method), "{text}");
                assert_eq!(ours.request_uri(), request.uri.to_string(), "{text}");
                same_typed_values(&ours, request, &text);
            }
            rsip::SipMessage::Response(response) => {
                assert_eq!(ours.status(), Some(response.status_code.code()), "{text}");
                same_typed_values(&ours, response, &text);
            }
        }
    }
}

#[test]
fn the_headers_given_to_rsip_are_those_it_reads_itself() {
    for n in 0..500 {
        let text = message(n);
        let ours = Message::parse(text.clone().into()).unwrap().to_rsip().unwrap();
        let theirs = rsip::SipMessage::try_from(text.as_str()).unwrap();
        let headers = |message: &rsip::SipMessage| match message {
            rsip::SipMessage::Request(request) => request.headers.clone(),
            rsip::SipMessage::Response(response) => response.headers.clone(),
        };
        assert_eq!(headers(&ours), headers(&theirs), "{text}");
    }
}

#[test]
fn what_came_from_rsip_reads_as_before() {
    for n in 0..500 {
        let ours = Message::parse(message(n).into()).unwrap();
        let back = Message::from_rsip(&ours.to_rsip().unwrap()).unwrap();
        assert_eq!(back.bytes(), ours.bytes());
    }
}

#[test]
fn what_rsip_changes_stays_as_it_was_through_us() {
    // A lower-case transport, a dotted user, IPv6 and the peer's own phrase: rsip's printer would change each.
    let request =
        support::request_with("OPTIONS sip:a.b@[2001:db8::1]:5070;transport=tls;lr=on SIP/2.0", &[], "");
    let request = Message::parse(request).unwrap();
    let back = Message::from_rsip(&request.to_rsip().unwrap()).unwrap();
    assert_eq!(back.request_uri(), request.request_uri());
    let tel = Message::parse(support::request_with("OPTIONS tel:+4930123456 SIP/2.0", &[], "")).unwrap();
    assert_eq!(Message::from_rsip(&tel.to_rsip().unwrap()).unwrap().request_uri(), "tel:+4930123456");
    let busy =
        Message::parse(support::request_with("SIP/2.0 486 Besetzt", &[("P-X", "1"), ("P-Y", "2")], ""))
            .unwrap();
    let back = Message::from_rsip(&busy.to_rsip().unwrap()).unwrap();
    assert_eq!((back.reason(), back.header_named("P-X")), ("Besetzt", Some("1")));
}

#[test]
fn a_status_of_rsips_own_gets_the_phrase_of_the_rfc() {
    let response = rsip::Response { status_code: rsip::StatusCode::BusyHere, ..Default::default() };
    let message = Message::from_rsip(&rsip::SipMessage::Response(response)).unwrap();
    assert_eq!((message.status(), message.reason()), (Some(486), "Busy Here"));
    assert_eq!(message.header(Header::ContentLength), Some("0"));
}
