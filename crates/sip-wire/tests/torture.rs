//! Every message of RFC 4475: framed, indexed, edited and written back without loss.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use bytes::Bytes;
use sip_wire::{Frame, Header, Limits, Message, StreamFramer};
use support::{torture, torture_messages};

/// All that can be read: the message itself, or what was read of a broken one. Those without either are listed in
/// [`without_partial`].
fn read(octets: Bytes) -> Option<Message> {
    match Message::parse(octets) {
        Ok(message) => Some(message),
        Err(malformed) => malformed.partial.map(|partial| *partial),
    }
}

#[test]
fn there_are_49_of_them() {
    assert_eq!(torture_messages().len(), 49);
}

#[test]
fn only_responses_and_what_cannot_be_answered_leave_nothing() {
    let without_partial: Vec<String> = torture_messages()
        .into_iter()
        .filter(|(_, _, octets)| read(octets.clone()).is_none())
        .map(|found| found.1)
        .collect();
    // A status code of ten digits is for nobody to answer.
    assert_eq!(without_partial, ["bigcode"]);
}

#[test]
fn every_line_is_found_with_its_octets() {
    for (_, name, octets) in torture_messages() {
        let Some(message) = read(octets.clone()) else { continue };
        // The header section is the start line, then name, colon and raw value of each line, in order.
        let mut again = octets[..octets.windows(2).position(|two| two == b"\r\n").unwrap() + 2].to_vec();
        let raw = |found: &str, value: &[u8], text: &[u8]| {
            let line = text.windows(found.len()).position(|part| part == found.as_bytes()).unwrap();
            let colon = line + text[line..].iter().position(|octet| *octet == b':').unwrap();
            [&text[line..=colon], value, b"\r\n"].concat()
        };
        for (found, value) in message.header_lines() {
            let line = raw(found, value, &octets[again.len()..]);
            again.extend_from_slice(&line);
        }
        again.extend_from_slice(b"\r\n");
        again.extend_from_slice(message.body());
        assert_eq!(again, octets[..again.len()], "{name}");
        // Only dblreq has octets behind its body: the second request.
        assert_eq!(octets.len() - again.len(), if name == "dblreq" { 448 } else { 0 }, "{name}");
    }
}

#[test]
fn an_edit_of_nothing_changes_nothing() {
    for (_, name, octets) in torture_messages() {
        let Ok(message) = Message::parse(octets) else { continue };
        let written = message.edit().finish();
        if message.header(Header::ContentLength).is_some() {
            assert_eq!(written, message.bytes(), "{name}");
        } else {
            // Where there was no Content-Length there is one now (RFC 3261 §18.3 wants it on streams).
            let again = Message::parse(written).unwrap();
            assert_eq!(again.edit().remove(Header::ContentLength).finish(), again.bytes(), "{name}");
            assert_eq!(again.number(Header::ContentLength), Ok(message.body().len() as u32), "{name}");
        }
    }
}

#[test]
fn an_edit_of_one_line_leaves_all_others() {
    for (_, name, octets) in torture_messages() {
        let Ok(message) = Message::parse(octets) else { continue };
        let edited =
            message.edit().set(Header::UserAgent, "fairlead").push_via("SIP/2.0/UDP us;branch=z9hG4bKus");
        let edited = Message::parse(edited.finish()).unwrap();
        assert_eq!(edited.top_via().unwrap().host, "us", "{name}");
        assert_eq!(edited.header(Header::UserAgent), Some("fairlead"), "{name}");
        assert_eq!(edited.body(), message.body(), "{name}");
        let others = |of: &Message| -> Vec<(String, Vec<u8>)> {
            of.header_lines()
                .filter(|(line, value)| {
                    *line != "User-Agent" && *line != "Content-Length" && !value.ends_with(b"z9hG4bKus")
                })
                .map(|(line, value)| (line.to_owned(), value.to_vec()))
                .collect()
        };
        assert_eq!(others(&edited), others(&message), "{name}");
    }
}

#[test]
fn every_request_is_answered_with_its_own_octets() {
    for (_, name, octets) in torture_messages() {
        let Some(message) = read(octets).filter(Message::is_request) else { continue };
        let answer = message.response(400, "Bad Request").record_route().finish();
        let text = answer.to_vec();
        for (line, value) in message.header_lines() {
            let copied = [Header::Via, Header::RecordRoute].map(|header| Some(header) == Header::parse(line));
            if copied.contains(&true) {
                assert!(text.windows(value.len()).any(|part| part == value), "{name}: {line}");
            }
        }
        let answer = Message::parse(answer).unwrap();
        for header in [Header::From, Header::To, Header::CallId, Header::CSeq] {
            assert_eq!(answer.header(header), message.header(header), "{name}: {header}");
        }
        assert_eq!(answer.values(Header::Via).count(), message.values(Header::Via).count(), "{name}");
    }
}

#[test]
fn a_stream_of_all_well_framed_messages_gives_each_of_them() {
    // These say wrongly, or not at all, where they end.
    let unframed = ["clerr", "ncl", "mcl01", "inv2543", "dblreq"];
    let framed: Vec<_> =
        torture_messages().into_iter().filter(|(_, name, _)| !unframed.contains(&name.as_str())).collect();
    let stream: Vec<u8> = framed.iter().flat_map(|(_, _, octets)| octets.to_vec()).collect();
    for piece in [1, 7, 1000, stream.len()] {
        let mut framer = StreamFramer::new(Limits::DEFAULT);
        let mut frames = Vec::new();
        for octets in stream.chunks(piece) {
            framer.push(octets);
            while let Some(frame) = framer.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames.len(), framed.len(), "in pieces of {piece}");
        for (frame, (_, name, octets)) in frames.iter().zip(&framed) {
            match (frame, Message::parse(octets.clone())) {
                (Frame::Message(message), Ok(same)) => assert_eq!(*message, same, "{name}"),
                (Frame::Malformed(malformed), Err(same)) => {
                    assert_eq!(malformed.reason, same.reason, "{name}")
                }
                (frame, parsed) => panic!("{name}: {frame:?} but as datagram {parsed:?}"),
            }
        }
        assert!(framer.is_idle());
    }
}

#[test]
fn a_stream_takes_the_second_request_of_dblreq_too() {
    let mut framer = StreamFramer::new(Limits::DEFAULT);
    framer.push(&torture("dblreq"));
    let mut methods = Vec::new();
    while let Some(Frame::Message(message)) = framer.next_frame().unwrap() {
        methods.push(message.method().to_string());
    }
    assert_eq!(methods, ["REGISTER", "INVITE"]);
}
