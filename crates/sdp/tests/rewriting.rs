//! What leaves a relay is what came, but for what the relay changes.

#![allow(clippy::unwrap_used)] // a test that unwraps fails as it should
use sdp::narrow::{NoAnswer, narrow, offered};
use sdp::{Description, Direction, Malformed, Rewrite, StreamRewrite, stamp_origin};

fn relay_v4() -> std::net::IpAddr {
    "198.51.100.7".parse().unwrap()
}

fn relayed(port: u16, mux: bool) -> StreamRewrite {
    StreamRewrite::relayed(std::net::SocketAddr::new(relay_v4(), port), mux, None)
}

fn rewritten(body: &[u8], streams: &[StreamRewrite]) -> Vec<u8> {
    let description = Description::parse(body).unwrap();
    Rewrite { address: relay_v4(), streams, offered: &[] }.write(&description)
}

const PHONE: &[u8] = b"v=0\r\no=alice 5 7 IN IP4 10.0.0.4\r\ns=A call\r\nc=IN IP4 10.0.0.4\r\nb=X-odd:1.5\r\nt=0 0\r\n\
a=group:BUNDLE 0\r\na=ice-lite\r\na=x-caf\xe9:\xff\xfe\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\na=candidate:1 1 UDP 1 10.0.0.4 4000 typ host\r\na=ice-ufrag:abcd\r\na=rtcp:4001 IN IP4 10.0.0.4\r\n\
a=rtcp-mux\r\na=ptime:20\r\nZ=what is this\r\na=sendrecv\r\n";

#[test]
fn unknown_lines_stay_byte_for_byte_and_in_place() {
    let out = rewritten(PHONE, &[relayed(10_000, true)]);
    let expected = b"v=0\r\no=- 0 0 IN IP4 198.51.100.7\r\ns=A call\r\nc=IN IP4 198.51.100.7\r\nb=X-odd:1.5\r\nt=0 0\r\n\
a=x-caf\xe9:\xff\xfe\r\nm=audio 10000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\na=rtcp:10000 IN IP4 198.51.100.7\r\na=rtcp-mux\r\na=ptime:20\r\nZ=what is this\r\na=sendrecv\r\n";
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
    assert_eq!(out, expected);
}

#[test]
fn nothing_of_the_phones_address_passes() {
    let out = rewritten(PHONE, &[relayed(10_000, false)]);
    let text = String::from_utf8_lossy(&out).into_owned();
    assert!(!text.contains("10.0.0.4") && !text.contains("rtcp-mux") && !text.contains("ice"), "{text}");
    assert!(text.contains("a=rtcp:10001 IN IP4 198.51.100.7"), "{text}");
}

#[test]
fn rfc_5761_mux_that_one_leg_has_and_the_other_wants_is_written_at_the_end() {
    let body = b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=ptime:20\n";
    let out = rewritten(body, &[relayed(10_002, true)]);
    assert!(out.ends_with(b"m=audio 10002 RTP/AVP 0\r\na=ptime:20\r\na=rtcp-mux\r\n"));
}

#[test]
fn families_may_differ_between_the_legs() {
    let description = Description::parse(PHONE).unwrap();
    let address = "2001:db8::7".parse().unwrap();
    let streams = [StreamRewrite::relayed(std::net::SocketAddr::new(address, 10_000), false, None)];
    let out = Rewrite { address, streams: &streams, offered: &[] }.write(&description);
    let text = String::from_utf8_lossy(&out).into_owned();
    assert!(
        text.contains("o=- 0 0 IN IP6 2001:db8::7\r\n") && text.contains("c=IN IP6 2001:db8::7\r\n"),
        "{text}"
    );
}

#[test]
fn what_the_rfc_asks_for_and_the_sender_left_out_is_added() {
    let out =
        rewritten(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n\r\n", &[relayed(10_000, false)]);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "v=0\r\no=- 0 0 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"
    );
}

#[test]
fn rfc_3264_8_4_the_zero_address_of_an_old_hold_stays_zero() {
    let body =
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert!(Description::parse(body).unwrap().is_hold());
    assert!(
        String::from_utf8_lossy(&rewritten(body, &[relayed(10_000, false)])).contains("c=IN IP4 0.0.0.0\r\n")
    );
}

#[test]
fn a_refused_stream_keeps_its_line_and_nothing_else() {
    let body = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nm=image 4002 udptl t38\r\na=T38FaxVersion:0\r\n";
    let out = rewritten(body, &[relayed(10_000, false), StreamRewrite::Refused]);
    assert!(out.ends_with(b"m=audio 10000 RTP/AVP 0\r\nm=image 0 udptl t38\r\n"));
}

fn with_direction(direction: &str) -> Vec<u8> {
    format!("v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na={direction}\r\nm=audio 4000 RTP/AVP 0\r\n").into_bytes()
}

#[test]
fn rfc_3264_6_1_an_answer_is_narrowed_to_what_its_offer_allows() {
    let cases = [
        ("sendrecv", "sendrecv", Direction::SendRecv, false),
        ("sendrecv", "recvonly", Direction::RecvOnly, false),
        ("sendonly", "sendrecv", Direction::RecvOnly, true),
        ("sendonly", "sendonly", Direction::Inactive, true),
        ("sendonly", "recvonly", Direction::RecvOnly, false),
        ("recvonly", "sendrecv", Direction::SendOnly, true),
        ("recvonly", "recvonly", Direction::Inactive, true),
        ("inactive", "sendrecv", Direction::Inactive, true),
        ("inactive", "inactive", Direction::Inactive, false),
    ];
    for (offer, answer, direction, changed) in cases {
        let (offer_body, answer_body) = (with_direction(offer), with_direction(answer));
        let offered = offered(&Description::parse(&offer_body).unwrap());
        let (narrowed, beyond) = narrow(&offered, &Description::parse(&answer_body).unwrap()).unwrap();
        assert_eq!(
            (narrowed[0].direction, narrowed[0].changed, beyond),
            (direction, changed, 0),
            "{offer} {answer}"
        );
    }
}

#[test]
fn a_narrowed_direction_replaces_the_one_that_was_there() {
    let body =
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\na=ptime:20\r\n";
    let rewrite = StreamRewrite::relayed(
        std::net::SocketAddr::new(relay_v4(), 10_000),
        false,
        Some(Direction::RecvOnly),
    );
    assert!(rewritten(body, &[rewrite]).ends_with(b"RTP/AVP 0\r\na=ptime:20\r\na=recvonly\r\n"));
}

#[test]
fn rfc_3264_6_an_answer_has_as_many_streams_as_its_offer() {
    let offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 34\r\n";
    let short = b"v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 5000 RTP/AVP 0\r\n";
    let long = b"v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 5000 RTP/AVP 0\r\nm=video 0 RTP/AVP 34\r\nm=text 5004 RTP/AVP 98\r\n";
    let offered = offered(&Description::parse(offer).unwrap());
    let answer = Description::parse(short).unwrap();
    let (narrowed, _) = narrow(&offered, &answer).unwrap();
    assert!(narrowed[0].used && !narrowed[1].used);
    let streams = [relayed(10_000, false), StreamRewrite::Refused];
    let out = Rewrite { address: relay_v4(), streams: &streams, offered: &offered }.write(&answer);
    assert!(out.ends_with(b"m=audio 10000 RTP/AVP 0\r\nm=video 0 RTP/AVP 34\r\n"));
    let (_, beyond) = narrow(&offered, &Description::parse(long).unwrap()).unwrap();
    assert_eq!(beyond, 1);
}

#[test]
fn a_stream_that_was_refused_in_the_offer_stays_refused() {
    let offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n";
    let offered = offered(&Description::parse(offer).unwrap());
    let body = with_direction("sendrecv");
    let (narrowed, _) = narrow(&offered, &Description::parse(&body).unwrap()).unwrap();
    assert!(!narrowed[0].used && narrowed[0].changed);
}

#[test]
fn an_answer_of_another_kind_is_none() {
    let offer = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 4000 RTP/AVP 34\r\n";
    let offered = offered(&Description::parse(offer).unwrap());
    let body = with_direction("sendrecv");
    assert_eq!(narrow(&offered, &Description::parse(&body).unwrap()), Err(NoAnswer::OtherMedia(0)));
}

#[test]
fn rfc_3264_8_session_id_and_version_are_stamped_and_nothing_else_changes() {
    let relayed = rewritten(PHONE, &[relayed(10_000, false)]);
    let stamped = stamp_origin(&relayed, 77, 78);
    assert!(stamped.starts_with(b"v=0\r\no=- 77 78 IN IP4 198.51.100.7\r\ns=A call\r\n"));
    assert_eq!(stamp_origin(&stamped, 0, 0), relayed);
    let without = b"v=0\r\no=-\r\na=o=x 1 2 3\r\n";
    assert_eq!(stamp_origin(without, 77, 78), without);
}

#[test]
fn formats_are_named_as_the_operator_knows_them() {
    let body =
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 0 96 97 101 13\r\na=rtpmap:96 opus/48000/2\r\n\
a=rtpmap:97 G726-32/8000\r\na=rtpmap:101 telephone-event/8000\r\nm=video 0 RTP/AVP 34\r\n";
    assert_eq!(Description::parse(body).unwrap().formats(), ["alaw", "ulaw", "opus", "g726"]);
}

#[test]
fn rtcp_goes_where_rfc_3605_says_or_to_the_next_port() {
    let rtcp = |attribute: &str| {
        let body = format!("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n{attribute}");
        Description::parse(body.as_bytes()).unwrap().streams()[0].rtcp().map(|address| address.to_string())
    };
    assert_eq!(rtcp("").as_deref(), Some("192.0.2.1:4001"));
    assert_eq!(rtcp("a=rtcp:53020\r\n").as_deref(), Some("192.0.2.1:53020"));
    assert_eq!(rtcp("a=rtcp:53020 IN IP6 2001:db8::1\r\n").as_deref(), Some("[2001:db8::1]:53020"));
    assert_eq!(rtcp("a=rtcp:0\r\n"), None);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let cases: [(&[u8], Malformed); 9] = [
        (b"", Malformed::Version),
        (b"v=1\r\n", Malformed::Version),
        (b"v=0\r\nnonsense\r\n", Malformed::Line(2)),
        (b"v=0\r\na=x\0y\r\n", Malformed::Line(2)),
        (b"v=0\r\no=- 1 1 IN IP4\r\n", Malformed::Origin(2)),
        (b"v=0\r\nc=IN\r\n", Malformed::Connection(2)),
        (b"v=0\r\nm=audio 70000 RTP/AVP 0\r\n", Malformed::Media(2)),
        (b"v=0\r\nm=audio +5 RTP/AVP 0\r\n", Malformed::Media(2)),
        (b"v=0\r\nv=0\r\n", Malformed::Twice(2)),
    ];
    for (body, malformed) in cases {
        assert_eq!(Description::parse(body).err(), Some(malformed), "{}", String::from_utf8_lossy(body));
    }
    let many = [b"v=0\r\n".to_vec(), b"m=audio 1 RTP/AVP 0\r\n".repeat(33)].concat();
    assert_eq!(Description::parse(&many).err(), Some(Malformed::TooManyStreams));
    assert_eq!(Description::parse(&vec![b'v'; 65_536]).err(), Some(Malformed::TooLong));
}

#[test]
fn mutated_descriptions_never_panic_and_what_is_read_can_be_read_again() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut body = PHONE.to_vec();
        for _ in 0..random() % 4 + 1 {
            let at = random() % body.len();
            match random() % 3 {
                0 => body[at] = random() as u8,
                1 => drop(body.remove(at)),
                _ => body.insert(at, b"\r\n=: 09az\0"[random() % 10]),
            }
        }
        let Ok(description) = Description::parse(&body) else { continue };
        read += 1;
        let (_, _) = (description.formats(), description.is_hold());
        let streams: Vec<_> = description.streams().iter().map(|_| relayed(10_000, false)).collect();
        let out = Rewrite { address: relay_v4(), streams: &streams, offered: &[] }.write(&description);
        let again = Description::parse(&out).unwrap();
        assert_eq!(again.streams().len(), description.streams().len());
    }
    assert!(read > 5_000, "{read}");
}
