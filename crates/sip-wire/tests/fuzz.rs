//! Mutation fuzzing with a fixed seed: nothing panics, and what is written never holds a line that was not meant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a failure is to be loud")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_wire::{
    AuthParams, Contacts, Frame, Header, Limits, Message, Method, NameAddr, StreamFramer, Uri, Via,
};
use support::{invite_with, request_with, torture_messages};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const TOKENS: [&[u8]; 36] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"=",
    b"\"",
    b"\\",
    b"<",
    b">",
    b"@",
    b"?",
    b"%",
    b"%00",
    b"%zz",
    b"[",
    b"]",
    b"[::1]",
    b"*",
    b"/",
    b"SIP/2.0",
    b"Via:",
    b"v:",
    b"Content-Length: 5\r\n",
    b"l: 0\r\n",
    b"4294967296",
    b"\xff",
    b"\xc3\xa9",
    b"z9hG4bK",
    b";tag=",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        torture_messages().into_iter().map(|(_, _, octets)| octets.to_vec()).collect();
    let plain = [
        invite_with(&[("Route", "<sip:a;lr>, \"x, y\" <sip:b>;z=\"1,2\"")]),
        request_with(
            "REGISTER sip:h SIP/2.0",
            &[("Contact", "*"), ("Expires", "0"), ("Path", "<sip:p;lr>")],
            "",
        ),
        request_with(
            "REGISTER sip:h SIP/2.0",
            &[(
                "Authorization",
                "Digest username=\"a\", realm=\"b\", nonce=\"c\", uri=\"sip:h\", response=\"d\", nc=00000001",
            )],
            "",
        ),
        request_with(
            "SIP/2.0 401 Unauthorized",
            &[("WWW-Authenticate", "Digest realm=\"b\",\n nonce=\"c\"")],
            "",
        ),
        Bytes::from(String::from_utf8(invite_with(&[]).to_vec()).unwrap().replace("\r\n", "\n")),
    ];
    seeds.extend(plain.iter().map(|octets| octets.to_vec()));
    seeds
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(octets.len() + 1);
        match random.below(7) {
            0 if at < octets.len() => octets[at] ^= 1 << random.below(8),
            1 if at < octets.len() => octets[at] = random.next() as u8,
            2 => {
                let token = TOKENS[random.below(TOKENS.len())];
                octets.splice(at..at, token.iter().copied());
            }
            3 => {
                let end = (at + random.below(20)).min(octets.len());
                octets.drain(at..end);
            }
            4 => octets.truncate(at.max(octets.len() / 2)),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let end = (from + random.below(200)).min(other.len());
                octets.splice(at..at, other[from..end].iter().copied());
            }
            _ => {
                let end = (at + random.below(80)).min(octets.len());
                let again = octets[at..end].to_vec();
                octets.splice(at..at, again);
            }
        }
    }
    octets
}

/// Asks for everything.
fn read_all(message: &Message) {
    let _ = (
        message.method().label(),
        message.status(),
        message.reason(),
        message.request_uri(),
        message.call_id(),
    );
    let _ = (
        message.from(),
        message.to(),
        message.from_tag(),
        message.to_tag(),
        message.cseq(),
        message.top_via(),
    );
    let _ =
        (message.vias(), message.route(), message.record_route(), message.contact(), message.max_forwards());
    let _ = (
        message.expires(),
        message.content_is("application/sdp"),
        message.check_mandatory(),
        message.to_rsip(),
    );
    if let Ok(uri) = message.uri() {
        read_uri(&uri);
    }
    if let Ok(Contacts::List(contacts)) = message.contacts() {
        contacts.iter().for_each(read_address);
    }
    for (header, _, value) in message.fields() {
        let _ = (AuthParams::parse(value), header.map(|header| message.values(header).count()));
        if let Ok(via) = Via::parse(value) {
            let _ =
                (via.host_ip(), via.received_ip(), via.unique_branch(), via.sent_by(), via.params().count());
        }
        if let Ok(address) = NameAddr::parse(value) {
            read_address(&address);
        }
    }
}

fn read_address(address: &NameAddr) {
    let _ = (address.q(), address.expires(), address.tag(), address.params().count());
    read_uri(&address.uri);
}

fn read_uri(uri: &Uri) {
    let again = Uri::parse(uri.as_str()).unwrap();
    assert!(uri.equivalent(&again), "{uri} is not itself");
    let _ = (uri.decoded_user(), uri.host_ip(), uri.params().count(), uri.transport(), uri.to_rsip());
}

/// Name and unfolded value of each line.
fn lines(message: &Message) -> Vec<(String, String)> {
    message.fields().map(|(_, name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What is written back says the same, line by line.
fn edit_keeps_lines(message: &Message) {
    let mut want = lines(message);
    if message.header(Header::ContentLength).is_none() {
        want.push(("Content-Length".to_owned(), message.body().len().to_string()));
    }
    let again = Message::parse(message.edit().finish()).unwrap();
    assert_eq!(lines(&again), want);
    assert_eq!(again.body(), message.body());
    assert_eq!(again.edit().finish(), again.bytes());
}

/// An answer has the lines of an answer and no other.
fn answer_has_its_lines(message: &Message) {
    let source = "192.0.2.77".parse().unwrap();
    let answer = message
        .response(400, "Bad Request")
        .to_tag("t")
        .record_route()
        .top_via_received_forced(source, 9)
        .finish();
    let answer =
        Message::parse(answer.clone()).unwrap_or_else(|malformed| panic!("{malformed} in {answer:?}"));
    let allowed = [
        Header::Via,
        Header::RecordRoute,
        Header::From,
        Header::To,
        Header::CallId,
        Header::CSeq,
        Header::ContentLength,
    ];
    for (header, name, _) in answer.fields() {
        assert!(header.is_some_and(|header| allowed.contains(&header)), "{name}");
    }
    assert_eq!(answer.headers(Header::Via).count(), message.headers(Header::Via).count());
    assert_eq!(answer.headers(Header::To).count(), message.headers(Header::To).count().min(1));
}

/// A stream cuts the same message out.
fn stream_agrees(message: &Message) {
    let mut framer = StreamFramer::new(Limits::DEFAULT);
    framer.push(message.bytes());
    match framer.next_frame() {
        Ok(Some(Frame::Message(same))) if message.header(Header::ContentLength).is_some() => {
            assert_eq!(same, *message)
        }
        Ok(Some(Frame::Message(same))) => assert_eq!(lines(&same), lines(message)),
        other => panic!("{other:?} for {:?}", message.bytes()),
    }
}

/// 12,000 in every run; more with FUZZ_ROUNDS, where a change of the parser deserves it.
fn rounds() -> usize {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12_000)
}

#[test]
fn mutated_messages_are_read_written_and_answered_without_panic() {
    let seeds = seeds();
    let mut random = Random(4475);
    let (mut taken, mut partial) = (0, 0);
    for _ in 0..rounds() {
        let octets = Bytes::from(mutate(&mut random, &seeds));
        match Message::parse(octets) {
            Ok(message) => {
                taken += 1;
                read_all(&message);
                edit_keeps_lines(&message);
                answer_has_its_lines(&message);
                stream_agrees(&message);
            }
            Err(malformed) => {
                let _ = (malformed.reason.label(), malformed.reason.status(), malformed.reason.phrase());
                if let Some(message) = malformed.partial {
                    partial += 1;
                    read_all(&message);
                    answer_has_its_lines(&message);
                    let _ = message.edit().finish();
                }
            }
        }
    }
    // The mutations are mild enough that both roads are walked.
    assert!(taken > 2_000 && partial > 1_000, "{taken} taken, {partial} refused with a partial reading");
}

#[test]
fn a_mutated_stream_in_pieces_gives_the_same_frames_as_at_once() {
    let seeds = seeds();
    let mut random = Random(5626);
    for _ in 0..1_500 {
        let mut stream = mutate(&mut random, &seeds);
        stream.extend(mutate(&mut random, &seeds));
        let cut = |sizes: &mut dyn FnMut() -> usize| {
            let mut framer = StreamFramer::new(Limits { max_message: 4_096, ..Limits::DEFAULT });
            let mut seen = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (part, after) = rest.split_at(sizes().clamp(1, rest.len()));
                framer.push(part);
                rest = after;
                loop {
                    match framer.next_frame() {
                        Ok(None) => break,
                        Ok(Some(Frame::Message(message))) => seen.push(format!("{:?}", message.bytes())),
                        Ok(Some(Frame::Malformed(malformed))) => {
                            seen.push(malformed.reason.label().to_owned())
                        }
                        Ok(Some(Frame::Ping)) => seen.push("ping".to_owned()),
                        Err(malformed) => {
                            seen.push(format!("closed: {}", malformed.reason.label()));
                            return seen;
                        }
                    }
                }
            }
            seen
        };
        let whole = cut(&mut || 1);
        let pieces = cut(&mut || 1 + random.below(300));
        // How much of an endless header section was there when the limit closed the stream may differ; nothing else.
        assert_eq!(pieces, whole);
    }
}

#[test]
fn random_octets_are_refused_without_panic() {
    let mut random = Random(1);
    for _ in 0..3_000 {
        let length = random.below(300);
        let octets: Bytes = (0..length).map(|_| random.next() as u8).collect();
        if let Ok(message) = Message::parse(octets.clone()) {
            read_all(&message);
        }
        let text = String::from_utf8_lossy(&octets).into_owned();
        let _ = (
            Uri::parse(&text),
            NameAddr::parse(&text),
            Via::parse(&text),
            AuthParams::parse(&text),
            Method::parse(&text),
        );
    }
}

#[test]
fn hostile_shapes_cost_linear_time() {
    let params: String = (0..8_000).map(|n| format!(";p{n}=1")).collect();
    let list = "<sip:a@h>,".repeat(5_000) + "<sip:z@h>";
    let quotes = "\"".repeat(30_000);
    let folds = "a\r\n ".repeat(1_500);
    let hostile = [
        request_with(&format!("INVITE sip:b@h{params} SIP/2.0"), &[], ""),
        invite_with(&[("Record-Route", &list)]),
        invite_with(&[("Contact", &quotes)]),
        invite_with(&[("Subject", &folds)]),
        invite_with(&[("Via", &"SIP/2.0/UDP h;branch=z9hG4bK1,".repeat(1_500))]),
        invite_with(&[("From", &"<".repeat(30_000))]),
        Bytes::from(b"X:\r\n".repeat(16_000)),
        Bytes::from(b"INVITE ".repeat(9_000)),
    ];
    let limits = Limits { max_header_line: 65_535, max_headers: 20_000, ..Limits::DEFAULT };
    for octets in hostile {
        let began = Instant::now();
        if let Ok(message) = Message::parse_with(octets.clone(), &limits) {
            read_all(&message);
            let _ = message.response(400, "Bad Request").to_tag("t").finish();
        }
        let _ = Message::parse(octets.clone());
        let took = began.elapsed();
        // Unoptimised and on a busy machine this takes some milliseconds; quadratic cost would be minutes.
        assert!(took < Duration::from_secs(1), "{took:?} for {:?}", &octets[..80]);
    }
}
