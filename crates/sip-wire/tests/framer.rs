//! Messages out of byte streams: pieces of any size, keep-alives, limits (RFC 3261 §18.3, RFC 5626 §3.5.1).
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use sip_wire::{Frame, Limits, Malformed, MalformedReason, StreamFramer, is_keep_alive};
use support::request_with;

/// Short names of the frames, and the error that ended the stream.
fn frames_of(framer: &mut StreamFramer, octets: &[u8], piece: usize) -> (Vec<String>, Option<Malformed>) {
    let mut found = Vec::new();
    for part in octets.chunks(piece) {
        framer.push(part);
        loop {
            match framer.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => found.push("ping".to_owned()),
                Ok(Some(Frame::Message(message))) => {
                    found.push(format!("{} {}", message.method(), message.body().len()));
                }
                Ok(Some(Frame::Malformed(malformed))) => found.push(malformed.reason.label().to_owned()),
                Err(malformed) => return (found, Some(malformed)),
            }
        }
    }
    (found, None)
}

/// The frames, the same for pieces of every size.
fn frames(octets: &[u8]) -> (Vec<String>, Option<MalformedReason>) {
    let cut = |piece| {
        let (found, failed) = frames_of(&mut StreamFramer::new(Limits::DEFAULT), octets, piece);
        (found, failed.map(|malformed| malformed.reason))
    };
    let whole = cut(octets.len().max(1));
    for piece in [1, 2, 3, 64] {
        assert_eq!(cut(piece), whole, "in pieces of {piece}");
    }
    whole
}

fn message(method: &str, lines: &[(&str, &str)], body: &str) -> String {
    let octets = request_with(&format!("{method} sip:b@h SIP/2.0"), lines, body);
    String::from_utf8(octets.to_vec()).unwrap()
}

fn options(body: &str) -> String {
    message("OPTIONS", &[("Content-Length", &body.len().to_string())], body)
}

#[test]
fn messages_follow_one_another() {
    let stream = options("") + &options("hello") + &message("BYE", &[("l", "2")], "xy");
    assert_eq!(
        frames(stream.as_bytes()),
        (vec!["OPTIONS 0".into(), "OPTIONS 5".into(), "BYE 2".into()], None)
    );
}

#[test]
fn without_content_length_there_is_no_body() {
    let stream = message("OPTIONS", &[], "") + &options("");
    assert_eq!(frames(stream.as_bytes()), (vec!["OPTIONS 0".into(), "OPTIONS 0".into()], None));
}

#[test]
fn a_double_crlf_is_a_ping_and_a_single_one_is_skipped() {
    assert_eq!(frames(b"\r\n\r\n"), (vec!["ping".into()], None));
    assert_eq!(frames(b"\r\n\r\n\r\n\r\n"), (vec!["ping".into(), "ping".into()], None));
    let stream = format!("\r\n{}\r\n{}\r\n\r\n", options(""), options("x"));
    assert_eq!(
        frames(stream.as_bytes()),
        (vec!["OPTIONS 0".into(), "OPTIONS 1".into(), "ping".into()], None)
    );
}

#[test]
fn a_broken_message_that_is_whole_is_given_up_and_the_next_one_read() {
    let broken = message("OPTIONS", &[("Content-Length", "3")], "abc").replace("SIP/2.0\r\n", "SIP/9.0\r\n");
    let nameless = message("OPTIONS", &[("Content-Length", "0")], "").replace("Max-Forwards:", ":");
    let stream = broken + &nameless + &options("");
    assert_eq!(
        frames(stream.as_bytes()),
        (vec!["version".into(), "header_line".into(), "OPTIONS 0".into()], None)
    );
}

#[test]
fn what_leaves_the_end_of_a_message_unsure_ends_the_stream() {
    let smuggled = options("");
    for (lines, reason) in [
        (
            vec![("Content-Length", "0\nContent-Length: 400")],
            MalformedReason::Repeated(sip_wire::Header::ContentLength),
        ),
        (
            vec![("Content-Length", "0"), ("l", "0")],
            MalformedReason::Repeated(sip_wire::Header::ContentLength),
        ),
        (vec![("Content-Length", "-1")], MalformedReason::Bad(sip_wire::Header::ContentLength)),
        (vec![("Content-Length", "+5")], MalformedReason::Bad(sip_wire::Header::ContentLength)),
        (vec![("Content-Length", "5 5")], MalformedReason::Bad(sip_wire::Header::ContentLength)),
        (vec![("Content-Length", "99999999999")], MalformedReason::Bad(sip_wire::Header::ContentLength)),
        (vec![("Content-Length", "2000000000")], MalformedReason::TooLarge),
        (vec![("X", "a\rContent-Length: 9")], MalformedReason::LineEnd),
    ] {
        let stream = message("OPTIONS", &lines, "") + &smuggled;
        let (found, failed) = frames(stream.as_bytes());
        assert_eq!((found, failed), (Vec::<String>::new(), Some(reason)), "{lines:?}");
    }
}

#[test]
fn a_stream_that_ended_stays_ended_and_its_last_request_can_be_answered() {
    let mut framer = StreamFramer::new(Limits::DEFAULT);
    let stream = message("OPTIONS", &[("Content-Length", "2000000000")], "");
    let (_, failed) = frames_of(&mut framer, stream.as_bytes(), 100);
    let malformed = failed.unwrap();
    assert_eq!(malformed.reason.status(), 513);
    assert_eq!(malformed.partial.unwrap().call_id(), "3848276298220188511@192.0.2.1");
    framer.push(options("").as_bytes());
    assert_eq!(framer.next_frame().unwrap_err().reason, MalformedReason::TooLarge);
    assert_eq!(framer.pending(), 0);
}

#[test]
fn headers_that_never_end_are_cut_off_at_the_limit() {
    let limits = Limits { max_message: 2_000, ..Limits::DEFAULT };
    let mut framer = StreamFramer::new(limits);
    let drip = "OPTIONS sip:b@h SIP/2.0\r\n".to_owned() + &"X-Slow: 1\r\n".repeat(1_000);
    let (found, failed) = frames_of(&mut framer, drip.as_bytes(), 1);
    assert!(found.is_empty());
    assert_eq!(failed.unwrap().reason, MalformedReason::TooLarge);
}

#[test]
fn a_line_of_megabytes_is_cut_off_at_the_limit() {
    let mut framer = StreamFramer::new(Limits::DEFAULT);
    let octets = vec![b'A'; 2_000_000];
    let (found, failed) = frames_of(&mut framer, &octets, 4_096);
    assert!(found.is_empty());
    assert_eq!(failed.unwrap().reason, MalformedReason::TooLarge);
}

#[test]
fn many_header_lines_end_the_stream() {
    let many = options("").replace("Max-Forwards", &("X: 1\r\n".repeat(300) + "Max-Forwards"));
    let (found, failed) = frames(many.as_bytes());
    assert_eq!((found, failed), (Vec::<String>::new(), Some(MalformedReason::TooManyHeaders)));
}

#[test]
fn bare_line_feeds_frame_too_when_the_start_line_has_one() {
    let stream = (options("ab") + &options("")).replace("\r\n", "\n");
    assert_eq!(frames(stream.as_bytes()), (vec!["OPTIONS 2".into(), "OPTIONS 0".into()], None));
}

#[test]
fn an_empty_line_of_line_feeds_ends_no_header_section_of_crlf() {
    // A reader that takes LF LF for the end would see the smuggled request.
    let stream = options("").replace("Max-Forwards: 70", "X: a\n\nBYE sip:x SIP/2.0");
    let (found, failed) = frames(stream.as_bytes());
    assert_eq!((found, failed), (Vec::<String>::new(), Some(MalformedReason::LineEnd)));
}

#[test]
fn idle_means_between_messages() {
    let mut framer = StreamFramer::new(Limits::DEFAULT);
    assert!(framer.is_idle());
    framer.push(b"OPTIONS");
    assert!(matches!(framer.next_frame(), Ok(None)));
    assert!(!framer.is_idle());
    assert_eq!(framer.pending(), 7);
}

#[test]
fn a_datagram_of_line_ends_is_a_keep_alive() {
    assert!(is_keep_alive(b"\r\n\r\n"));
    assert!(is_keep_alive(b""));
    assert!(!is_keep_alive(b"\r\n\r\nx"));
}
