//! Messages for the tests of this crate.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;

use bytes::Bytes;
use sip_wire::{Header, Malformed, MalformedReason, Message};

/// All fixtures: section, name, octets.
pub fn torture_messages() -> Vec<(String, String, Bytes)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torture");
    let mut found = Vec::new();
    for section in ["valid", "invalid", "transaction", "application", "backward"] {
        for entry in std::fs::read_dir(root.join(section)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((section.to_owned(), name, std::fs::read(&path).unwrap().into()));
        }
    }
    found.sort();
    found
}

/// One fixture by its name in RFC 4475.
pub fn torture(name: &str) -> Bytes {
    let found = torture_messages().into_iter().find(|(_, found, _)| found == name);
    found.unwrap_or_else(|| panic!("no fixture {name}")).2
}

/// A plain INVITE with lines replaced (same name) or added. `\n` in a value becomes CRLF.
pub fn invite_with(lines: &[(&str, &str)]) -> Bytes {
    request_with("INVITE sip:bob@example.com SIP/2.0", lines, "")
}

/// As [`invite_with`], with a start line and a body. A line whose value is `-` is left out.
pub fn request_with(start: &str, lines: &[(&str, &str)], body: &str) -> Bytes {
    let method = start.split(' ').next().unwrap_or_default();
    let method = if start.starts_with("SIP/") { "INVITE" } else { method };
    let cseq = format!("1 {method}");
    let mut all = vec![
        ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9"),
        ("Max-Forwards", "70"),
        ("From", "\"Alice\" <sip:alice@example.com>;tag=9fxced76sl"),
        ("To", "<sip:bob@example.com>"),
        ("Call-ID", "3848276298220188511@192.0.2.1"),
        ("CSeq", cseq.as_str()),
        ("Contact", "<sip:alice@192.0.2.1:5060>"),
    ];
    for (name, value) in lines {
        match all.iter_mut().find(|(found, _)| found == name) {
            Some(line) => line.1 = value,
            None => all.push((name, value)),
        }
    }
    let mut text = format!("{start}\r\n");
    for (name, value) in all.iter().filter(|(_, value)| *value != "-") {
        text.push_str(&format!("{name}: {}\r\n", value.replace('\n', "\r\n")));
    }
    text.push_str(&format!("\r\n{body}"));
    text.into()
}

/// Reads and checks.
pub fn accept(octets: Bytes) -> Result<Message, Malformed> {
    let message = Message::parse(octets)?;
    match message.check_mandatory() {
        Ok(()) => Ok(message),
        Err(reason) => Err(Malformed { reason, partial: Some(Box::new(message)) }),
    }
}

/// Why a message is refused.
pub fn refused(octets: Bytes) -> MalformedReason {
    match accept(octets) {
        Ok(message) => panic!("was taken: {}", String::from_utf8_lossy(message.bytes())),
        Err(malformed) => malformed.reason,
    }
}

/// What a message says under a short name, for tables of expectations.
pub fn field(message: &Message, name: &str) -> String {
    let text = |found: Option<&str>| found.unwrap_or("-").to_owned();
    let uri = || message.uri().unwrap();
    let contact = |at: usize| match message.contacts().unwrap() {
        sip_wire::Contacts::List(all) => all[at].clone(),
        sip_wire::Contacts::Star => panic!("Contact is *"),
    };
    match name {
        "method" => message.method().to_string(),
        "status" => message.status().unwrap().to_string(),
        "reason" => message.reason().to_owned(),
        "ruri" => message.request_uri().to_owned(),
        "ruri.scheme" => uri().scheme().to_owned(),
        "ruri.user" => text(uri().user()),
        "ruri.decoded" => uri().decoded_user().unwrap().into_owned(),
        "ruri.password" => text(uri().password()),
        "ruri.host" => uri().host().to_owned(),
        "ruri.port" => uri().port().map_or("-".into(), |port| port.to_string()),
        "ruri.transport" => text(uri().transport()),
        "ruri.x" => text(uri().param("x")),
        "vias" => message.vias().unwrap().len().to_string(),
        "via.hosts" => {
            let hosts: Vec<String> = message.vias().unwrap().iter().map(|via| via.host.to_string()).collect();
            hosts.join(" ")
        }
        "via.transport" => message.top_via().unwrap().transport.to_string(),
        "via.host" => message.top_via().unwrap().host.to_string(),
        "via.received" => text(message.top_via().unwrap().received.as_deref()),
        "branch" => text(message.top_via().unwrap().branch.as_deref()),
        "from.tag" => text(message.from_tag()),
        "from.display" => text(message.from().unwrap().display.as_deref()),
        "from.uri" => message.from().unwrap().uri.to_string(),
        "to.tag" => text(message.to_tag()),
        "to.uri" => message.to().unwrap().uri.to_string(),
        "to.display" => text(message.to().unwrap().display.as_deref()),
        "call_id" => message.call_id().to_owned(),
        "cseq" => message.cseq().map(|cseq| format!("{} {}", cseq.number, cseq.method)).unwrap(),
        "contacts" => match message.contacts().unwrap() {
            sip_wire::Contacts::Star => "*".to_owned(),
            sip_wire::Contacts::List(all) => all.len().to_string(),
        },
        "contact" => contact(0).uri.to_string(),
        "contact.host" => contact(0).uri.host().to_owned(),
        "contact.user" => text(contact(0).uri.user()),
        "contact.q" => contact(0).q().unwrap().to_string(),
        "contact.instance" => text(contact(0).param("+sip.instance")),
        "contact2.uri" => contact(1).uri.to_string(),
        "record_routes" => message.record_route().unwrap().len().to_string(),
        "route" => message.route().unwrap()[0].uri.to_string(),
        "max_forwards" => message.max_forwards().unwrap().unwrap().to_string(),
        "body.len" => message.body().len().to_string(),
        "subject" => text(message.header(Header::Subject)),
        "supported" => message.values(Header::Supported).collect::<Vec<_>>().join("|"),
        "require" => message.values(Header::Require).collect::<Vec<_>>().join("|"),
        _ => text(message.header_named(name)),
    }
}
