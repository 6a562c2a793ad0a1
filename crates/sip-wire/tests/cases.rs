//! 75 messages that SIP parsers get wrong: 45 of RFC 4475 (`tests/torture`) and 30 that an edge meets daily.
//!
//! A valid one is read with these values, survives being edited, and survives rsip's types where they can hold it. A
//! broken one is refused with this status and reason. One to be answered can be answered with that status.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use bytes::Bytes;
use sip_wire::{Header, Message, NotInRsip};
use support::{accept, field, invite_with, refused, request_with, torture};

/// Field and value pairs.
type Fields = &'static [(&'static str, &'static str)];

/// The message is taken, and reads like this.
fn valid(name: &str, octets: Bytes, fields: Fields) {
    let message = accept(octets).unwrap_or_else(|malformed| panic!("{name}: {malformed}"));
    same_fields(name, "as received", &message, fields);
    let edited = Message::parse(message.edit().set_named("X-Edited", "yes").finish()).unwrap();
    same_fields(name, "edited", &edited, fields);
    assert_eq!(edited.body(), message.body(), "{name}");
    match message.to_rsip() {
        Ok(theirs) => {
            let back = Message::from_rsip(&theirs).unwrap();
            same_fields(name, "through rsip", &back, fields);
            assert_eq!(back.body(), message.body(), "{name}");
        }
        Err(NotInRsip::Method) => assert_eq!(message.method().label(), "OTHER", "{name}"),
        Err(NotInRsip::NotText) => assert!(std::str::from_utf8(message.bytes()).is_err(), "{name}"),
        Err(NotInRsip::Uri) => panic!("{name}: rsip cannot hold the Request-URI"),
    }
}

fn same_fields(name: &str, how: &str, message: &Message, fields: Fields) {
    for (what, want) in fields {
        assert_eq!(field(message, what), *want, "{name} {how}: {what}");
    }
}

/// The message is refused with this status and phrase.
fn invalid(name: &str, octets: Bytes, status: u16, phrase: &str) {
    let reason = refused(octets);
    assert_eq!((reason.status(), reason.phrase().as_str()), (status, phrase), "{name}");
}

/// The message is refused, and the answer can be built from what was read of it.
fn answerable(name: &str, octets: Bytes, status: u16, phrase: &str) {
    let malformed = accept(octets).err().unwrap_or_else(|| panic!("{name} was taken"));
    assert_eq!((malformed.reason.status(), malformed.reason.phrase().as_str()), (status, phrase), "{name}");
    let request = malformed.partial.unwrap_or_else(|| panic!("{name} cannot be answered"));
    let answer = request.response(status, phrase).to_tag("t").finish();
    let answer = Message::parse(answer).unwrap();
    assert_eq!(answer.status(), Some(status), "{name}");
    assert_eq!(answer.call_id(), request.call_id(), "{name}");
}

#[test]
fn rfc4475_valid_messages() {
    valid(
        "wsinv",
        torture("wsinv"),
        &[
            ("ruri", "sip:vivekg@chair-dnrc.example.com;unknownparam"),
            ("to.tag", "1918181833n"),
            ("from.display", "J Rosenberg \\\""),
            ("from.tag", "98asjd8"),
            ("max_forwards", "68"),
            ("cseq", "9 INVITE"),
            ("vias", "3"),
            ("via.hosts", "192.0.2.2 spindle.example.com 192.168.255.111"),
            ("branch", "390skdjuw"),
            ("subject", ""),
            ("NewFangledHeader", "newfangled value continued newfangled value"),
            ("UnknownHeaderWithUnusualValue", ";;,,;;,;"),
            ("route", "sip:services.example.com;lr;unknownwith=value;unknown-no-value"),
            ("contact", "sip:jdrosen@example.com"),
            ("contact.q", "330"),
            ("body.len", "150"),
        ],
    );
    valid(
        "intmeth",
        torture("intmeth"),
        &[
            ("method", "!interesting-Method0123456789_*+`.%indeed'~"),
            ("ruri.user", "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"),
            ("ruri.password", "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"),
            ("ruri.host", "example.com"),
            ("to.display", "BEL:\u{7} NUL:\0 DEL:\u{7f}"),
            ("from.display", "token1~` token2'+_ token3*%!.-"),
            ("from.tag", "_token~1'+`*%!-."),
            ("call_id", "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
            ("max_forwards", "255"),
            ("extensionHeader-!.%*+_`'~", "\u{feff}大停電"),
        ],
    );
    valid(
        "esc01",
        torture("esc01"),
        &[
            ("ruri.user", "sips%3Auser%40example.com"),
            ("ruri.decoded", "sips:user@example.com"),
            ("ruri.host", "example.net"),
            ("to.uri", "sip:%75se%72@example.com"),
            ("call_id", "esc01.239409asdfakjkn23onasd0-3234"),
            ("contact", "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31"),
            ("body.len", "150"),
        ],
    );
    valid(
        "escnull",
        torture("escnull"),
        &[
            ("to.uri", "sip:null-%00-null@example.com"),
            ("contacts", "2"),
            ("contact.user", "%00"),
            ("contact2.uri", "sip:%00%00@host5.example.com"),
            ("body.len", "0"),
        ],
    );
    valid(
        "esc02",
        torture("esc02"),
        &[
            ("method", "RE%47IST%45R"),
            ("to.display", "%Z%45"),
            ("branch", "z9hG4bK209%fzsnel234"),
            ("contacts", "2"),
            ("C%6Fntact", "<sip:alias2@host2.example.com>"),
        ],
    );
    valid(
        "lwsdisp",
        torture("lwsdisp"),
        &[("from.display", "caller"), ("from.uri", "sip:caller@example.com"), ("from.tag", "323")],
    );
    valid("longreq", torture("longreq"), &[("vias", "34"), ("cseq", "3882340 INVITE"), ("body.len", "150")]);
    valid(
        "dblreq",
        torture("dblreq"),
        &[
            ("method", "REGISTER"),
            ("call_id", "dblreq.0ha0isndaksdj99sdfafnl3lk233412"),
            ("contact.host", "host.example.com"),
            ("body.len", "0"),
        ],
    );
    valid(
        "semiuri",
        torture("semiuri"),
        &[
            ("ruri.user", "user;par=u%40example.net"),
            ("ruri.host", "example.com"),
            ("call_id", "semiuri.0ha0isndaksdj"),
        ],
    );
    valid(
        "transports",
        torture("transports"),
        &[
            ("vias", "5"),
            ("via.hosts", "t1.example.com t2.example.com t3.example.com t4.example.com t5.example.com"),
            ("via.transport", "UDP"),
        ],
    );
    valid("mpart01", torture("mpart01"), &[("body.len", "553"), ("Content-Transfer-Encoding", "binary")]);
    valid(
        "unreason",
        torture("unreason"),
        &[
            ("status", "200"),
            ("reason", "= 2**3 * 5**2 но сто девяносто девять - простое"),
            ("body.len", "154"),
        ],
    );
    valid("noreason", torture("noreason"), &[("status", "100"), ("reason", ""), ("method", "INVITE")]);
}

#[test]
fn rfc4475_invalid_messages() {
    answerable("ncl", torture("ncl"), 400, "Bad Content-Length Header Field");
    answerable("clerr", torture("clerr"), 400, "Body Shorter Than Content-Length");
    // A broken top Via says nowhere to send the answer to.
    invalid("badinv01", torture("badinv01"), 400, "Bad Via Header Field");
    answerable("scalar02", torture("scalar02"), 400, "Bad CSeq Header Field");
    invalid("scalarlg", torture("scalarlg"), 400, "Bad CSeq Header Field");
    answerable("quotbal", torture("quotbal"), 400, "Bad To Header Field");
    answerable("ltgtruri", torture("ltgtruri"), 400, "Bad Request-URI");
    answerable("lwsruri", torture("lwsruri"), 400, "Bad Request-URI");
    answerable("lwsstart", torture("lwsstart"), 400, "Bad Request-URI");
    answerable("trws", torture("trws"), 400, "Bad Request Line");
    answerable("escruri", torture("escruri"), 400, "Bad Request-URI");
    answerable("regbadct", torture("regbadct"), 400, "Bad Contact Header Field");
    answerable("badaspec", torture("badaspec"), 400, "Bad To Header Field");
    answerable("baddn", torture("baddn"), 400, "Bad From Header Field");
    answerable("badvers", torture("badvers"), 505, "Version Not Supported");
    answerable("mismatch01", torture("mismatch01"), 400, "CSeq Method Does Not Match Request Method");
    // §3.1.2.18 wants 501 for the unknown method rather than 400 for its CSeq; that is for the layers above.
    valid("mismatch02", torture("mismatch02"), &[("method", "NEWMETHOD"), ("cseq", "8 INVITE")]);
    invalid("bigcode", torture("bigcode"), 400, "Bad Status Code");
}

#[test]
fn rfc4475_messages_for_the_layers_above() {
    valid(
        "badbranch",
        torture("badbranch"),
        &[("branch", "z9hG4bK"), ("call_id", "badbranch.sadonfo23i420jv0as0derf3j3n")],
    );
    answerable("insuf", torture("insuf"), 400, "Missing From Header Field");
    valid("unkscm", torture("unkscm"), &[("ruri.scheme", "nobodyKnowsThisScheme"), ("ruri.user", "-")]);
    valid(
        "novelsc",
        torture("novelsc"),
        &[("ruri.scheme", "soap.beep"), ("ruri", "soap.beep://192.0.2.103:3002")],
    );
    valid(
        "unksm2",
        torture("unksm2"),
        &[
            ("to.uri", "isbn:2983792873"),
            ("from.uri", "http://www.example.com"),
            ("contact", "name:John_Smith"),
        ],
    );
    valid("bext01", torture("bext01"), &[("require", "nothingSupportsThis|nothingSupportsThisEither")]);
    valid("regaut01", torture("regaut01"), &[("Authorization", "NoOneKnowsThisScheme opaque-data=here")]);
    answerable("multi01", torture("multi01"), 400, "Repeated CSeq Header Field");
    answerable("mcl01", torture("mcl01"), 400, "Repeated Content-Length Header Field");
    valid("bcast", torture("bcast"), &[("via.hosts", "192.0.2.198 255.255.255.255"), ("body.len", "154")]);
    valid("zeromf", torture("zeromf"), &[("max_forwards", "0")]);
    valid("cparam01", torture("cparam01"), &[("contact", "sip:+19725552222@gw1.example.net")]);
    valid(
        "regescrt",
        torture("regescrt"),
        &[
            ("contact", "sip:user@example.com?Route=%3Csip:sip.example.com%3E"),
            ("contact.host", "example.com"),
        ],
    );
    valid(
        "inv2543",
        torture("inv2543"),
        &[
            ("from.tag", "-"),
            ("branch", "-"),
            ("record_routes", "1"),
            ("to.uri", "sip:+16505552222@ss1.example.net"),
        ],
    );
}

#[test]
fn uris_met_in_the_field() {
    let dotted = request_with(
        "INVITE sip:alice.smith@example.com SIP/2.0",
        &[("Contact", "<sip:john.doe@192.0.2.1>")],
        "",
    );
    valid(
        "x-dotuser",
        dotted,
        &[
            ("ruri.user", "alice.smith"),
            ("ruri.host", "example.com"),
            ("contact.user", "john.doe"),
            ("contact.host", "192.0.2.1"),
        ],
    );
    let ipv6 = request_with(
        "INVITE sip:bob@[2001:db8::10]:5070 SIP/2.0",
        &[
            ("Via", "SIP/2.0/UDP [2001:db8::9:1]:5060;branch=z9hG4bKas3-111"),
            ("Contact", "<sip:a@[2001:db8::9:1]>"),
        ],
        "",
    );
    valid(
        "x-ipv6",
        ipv6,
        &[
            ("ruri.host", "[2001:db8::10]"),
            ("ruri.port", "5070"),
            ("via.host", "[2001:db8::9:1]"),
            ("contact.host", "[2001:db8::9:1]"),
        ],
    );
    let tel = request_with("INVITE tel:+4930123456 SIP/2.0", &[("To", "<tel:+4930123456>")], "");
    valid(
        "x-tel",
        tel,
        &[("ruri.scheme", "tel"), ("ruri.user", "+4930123456"), ("to.uri", "tel:+4930123456")],
    );
    let lower = request_with("OPTIONS sip:b@example.com;transport=tls;lr=on SIP/2.0", &[], "");
    valid(
        "x-lcparam",
        lower,
        &[("ruri", "sip:b@example.com;transport=tls;lr=on"), ("ruri.transport", "tls")],
    );
    let unknown = request_with("OPTIONS sip:b@example.com;transport=beep SIP/2.0", &[], "");
    valid("x-unktrans", unknown, &[("ruri.transport", "beep")]);
    let odd = request_with("OPTIONS sip:b@example.com;x=a/b:[c]&d SIP/2.0", &[], "");
    valid("x-uriq", odd, &[("ruri.x", "a/b:[c]&d"), ("ruri.host", "example.com")]);
    let password = request_with("OPTIONS sip:bob:p&w=1+2$3,4@example.com SIP/2.0", &[], "");
    valid(
        "x-passwd",
        password,
        &[("ruri.user", "bob"), ("ruri.password", "p&w=1+2$3,4"), ("ruri.host", "example.com")],
    );
    invalid(
        "x-hugeport",
        request_with("OPTIONS sip:b@example.com:99999 SIP/2.0", &[], ""),
        400,
        "Bad Request-URI",
    );
    invalid("x-emptyhost", request_with("OPTIONS sip:user@ SIP/2.0", &[], ""), 400, "Bad Request-URI");
}

#[test]
fn header_fields_met_in_the_field() {
    let via = "SIP/2.0/UDP h.example.com;received=2001:db8::7;branch=z9hG4bKabc";
    valid(
        "x-viarecv6",
        invite_with(&[("Via", via)]),
        &[("via.received", "2001:db8::7"), ("branch", "z9hG4bKabc")],
    );
    let vias = "SIP/2.0/UDP a.example.com;branch=z9hG4bKa, SIP/2.0/TCP b.example.com;branch=z9hG4bKb";
    valid(
        "x-vialist",
        invite_with(&[("Via", vias)]),
        &[("vias", "2"), ("branch", "z9hG4bKa"), ("via.hosts", "a.example.com b.example.com")],
    );
    let routes = "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>\nRecord-Route: <sip:p3.example.com;lr>";
    valid("x-rrlist", invite_with(&[("Record-Route", routes)]), &[("record_routes", "3")]);
    let contacts = "\"A, B\" <sip:a@192.0.2.1>;q=0.5, <sip:a@192.0.2.2>;expires=60";
    valid(
        "x-ctlist",
        invite_with(&[("Contact", contacts)]),
        &[("contacts", "2"), ("contact.host", "192.0.2.1"), ("contact2.uri", "sip:a@192.0.2.2")],
    );
    let star = request_with("REGISTER sip:example.com SIP/2.0", &[("Contact", "*"), ("Expires", "0")], "");
    valid("x-ctstar", star, &[("contacts", "*"), ("Expires", "0")]);
    let instance =
        "<sip:a@192.0.2.1>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";reg-id=1";
    valid(
        "x-instance",
        invite_with(&[("Contact", instance)]),
        &[
            ("contact.host", "192.0.2.1"),
            ("contact.instance", "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\""),
        ],
    );
    let display = r#""A <b>, \"c\"; d" <sip:alice@example.com>;tag=77"#;
    valid(
        "x-dnangle",
        invite_with(&[("From", display)]),
        &[("from.display", "A <b>, \"c\"; d"), ("from.tag", "77"), ("from.uri", "sip:alice@example.com")],
    );
    let spaced = invite_with(&[
        ("From", "<sip:alice@example.com> ; tag = 88"),
        ("Via", "SIP/2.0/UDP h.example.com ; branch = z9hG4bKx ; rport"),
    ]);
    valid("x-paramlws", spaced, &[("from.tag", "88"), ("branch", "z9hG4bKx")]);
    let cased =
        invite_with(&[("CALL-id", "odd"), ("Call-ID", "-"), ("cOnTaCt", "<sip:x@h>"), ("Contact", "-")]);
    valid("x-casehdr", cased, &[("call_id", "odd"), ("contact", "sip:x@h")]);
    let compact = Bytes::from_static(
        b"INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKq\r\nf: <sip:a@h>;tag=1\r\n\
          t: <sip:b@h>\r\ni: cid\r\nm: <sip:a@192.0.2.7>\r\nCSeq: 1 INVITE\r\nk: timer, 100rel\r\nl: 0\r\n\r\n",
    );
    valid(
        "x-compact",
        compact,
        &[
            ("branch", "z9hG4bKq"),
            ("from.tag", "1"),
            ("call_id", "cid"),
            ("contact.host", "192.0.2.7"),
            ("supported", "timer|100rel"),
        ],
    );
    let folded =
        "Digest realm=\"example.com\",\n\tnonce=\"84a4cc6f3082121f32b42a2187831a9e\",\n qop=\"auth\"";
    valid(
        "x-fold",
        request_with("SIP/2.0 401 Unauthorized", &[("WWW-Authenticate", folded)], ""),
        &[(
            "WWW-Authenticate",
            "Digest realm=\"example.com\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", qop=\"auth\"",
        )],
    );
    let wss = "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKws";
    valid(
        "x-wsws",
        invite_with(&[("Via", wss)]),
        &[("via.transport", "WSS"), ("via.host", "df7jal23ls0d.invalid")],
    );
    valid("x-cseqlws", invite_with(&[("CSeq", "17\t  INVITE")]), &[("cseq", "17 INVITE")]);
}

#[test]
fn framing_met_in_the_field() {
    let mut led = b"\r\n\r\n".to_vec();
    led.extend_from_slice(&invite_with(&[]));
    valid("x-leadcrlf", led.into(), &[("method", "INVITE"), ("from.tag", "9fxced76sl")]);
    let whole = invite_with(&[]);
    invalid("x-trunc", whole.slice(..whole.len() - 60), 400, "Message Ends Within Header Fields");
    invalid("x-trunc2", whole.slice(..whole.len() - 2), 400, "Message Ends Within Header Fields");
    let lower = request_with("invite sip:bob@example.com SIP/2.0", &[], "");
    valid("x-lower", lower, &[("method", "invite"), ("cseq", "1 invite")]);
    let busy = request_with("SIP/2.0 486 Besetzt, bitte warten", &[], "");
    valid("x-reason", busy, &[("status", "486"), ("reason", "Besetzt, bitte warten")]);
    let body =
        request_with("INVITE sip:bob@example.com SIP/2.0", &[("Content-Type", "text/plain")], "to the end");
    valid("x-nocl", body, &[("body.len", "10")]);
    let lf = String::from_utf8(invite_with(&[]).to_vec()).unwrap().replace("\r\n", "\n");
    valid("x-lfonly", Bytes::from(lf), &[("method", "INVITE"), ("call_id", "3848276298220188511@192.0.2.1")]);
}

#[test]
fn a_header_that_is_not_utf8_passes_unchanged() {
    // x-utf8bad
    let text = invite_with(&[("From", "\"Andr@ M\" <sip:a@h>;tag=5")]);
    let mut octets = text.to_vec();
    let at = octets.windows(5).position(|window| window == b"Andr@").unwrap();
    octets[at + 4] = 0xe9;
    let message = accept(octets.clone().into()).unwrap();
    assert_eq!(field(&message, "from.display"), "Andr\u{fffd} M");
    assert_eq!(field(&message, "from.tag"), "5");
    assert_eq!(message.to_rsip(), Err(NotInRsip::NotText));

    let line = b"From: \"Andr\xe9 M\" <sip:a@h>;tag=5\r\n";
    let holds = |bytes: &Bytes| bytes.windows(line.len()).any(|window| window == line);
    assert!(holds(&message.edit().set(Header::MaxForwards, "69").finish()));
    assert!(holds(&message.response(200, "OK").finish()));
}

#[test]
fn a_header_may_stand_twice_only_where_that_deceives_nobody() {
    for name in
        ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type", "Expires", "Refer-To", "Event"]
    {
        let value = match name {
            "CSeq" => "1 INVITE",
            "From" | "To" | "Refer-To" => "<sip:a@h>",
            _ => "1",
        };
        let twice = invite_with(&[(name, &format!("{value}\n{name}: {value}"))]);
        assert_eq!(refused(twice).phrase(), format!("Repeated {name} Header Field"));
    }
    for name in ["User-Agent", "Subject", "Supported", "X-Other", "Date"] {
        assert!(accept(invite_with(&[(name, &format!("a\n{name}: b"))])).is_ok(), "{name}");
    }
}

#[test]
fn what_is_lenient_stays_lenient() {
    for lines in [
        &[("Max-Forwards", "-")][..],
        &[("From", "Имя Фамилия <sip:a@h>;tag=1")],
        &[("Contact", "-")],
        &[("To", "<sip:b@host_with_underscore;lr=>")],
        &[("Expires", "soon")],
        &[("Allow", "")],
    ] {
        assert!(accept(invite_with(lines)).is_ok(), "{lines:?}");
    }
}

#[test]
fn what_readers_could_disagree_on_is_refused() {
    for (lines, phrase) in [
        (&[("X", "a\rVia: x")][..], "Bare CR or LF"),
        (&[("Content-Length", "+0")], "Bad Content-Length Header Field"),
        (&[("Content-Length", "0, 0")], "Bad Content-Length Header Field"),
        (&[("Content-Length", "")], "Bad Content-Length Header Field"),
        (&[("CSeq", "+1 INVITE")], "Bad CSeq Header Field"),
        (&[("CSeq", "2147483648 INVITE")], "Bad CSeq Header Field"),
        (&[("CSeq", "1INVITE")], "Bad CSeq Header Field"),
        (&[("CSeq", "1")], "Bad CSeq Header Field"),
        (&[("Call-ID", "a b")], "Bad Call-ID Header Field"),
        (&[("Max-Forwards", "256")], "Bad Max-Forwards Header Field"),
        (&[("Contact", "*, <sip:a@h>")], "Bad Contact Header Field"),
        (&[("Via", "SIP/2.0/UDP h, ")], "Bad Via Header Field"),
        (&[("X Y", "1")], "Bad Header Field Name"),
        (&[("X\u{b}", "1")], "Bad Header Field Name"),
        (&[("From", "-")], "Missing From Header Field"),
        (&[("Via", "-")], "Missing Via Header Field"),
    ] {
        assert_eq!(refused(invite_with(lines)).phrase(), phrase, "{lines:?}");
    }
}
