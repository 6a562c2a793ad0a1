//! What one shard costs: a REGISTER with its challenge, and a whole call, from the first message to the last.
//! Registrar and relay answer at once; sockets and processes are measured elsewhere.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use fairlead_core::input::{Identity, Input, Network, Now};
use fairlead_core::output::Output;
use fairlead_core::{Core, Limits};
use fairlead_model::ask::{Admitted, Answer, Ask, LegPolicy, Registered, Target};
use fairlead_model::binding::BindingKey;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Briefing, MintKey, NonceKey};
use fairlead_model::peer::{EffectiveNat, General, Peer};
use fairlead_model::relay::{Described, RelayOrder, RelayReply, SessionStatistics};
use sip_wire::{Header, Message, Method};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 25060 RTP/AVP 0 8 101\r\n\
                   a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn flow(remote: &str) -> Flow {
    Flow {
        pod: PodRef(1),
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        remote: address(remote),
        connection: None,
    }
}

fn policy(peer: &str) -> LegPolicy {
    Peer::named(peer, &Peer::default()).leg_policy(EffectiveNat { force_rport: true, comedia: false })
}

fn shard(now: Now) -> Core {
    let identity = Identity {
        pod: PodRef(1),
        shard: 0,
        shards: 1,
        networks: vec![Network {
            name: String::new(),
            transport: Transport::Udp,
            bind: address("192.0.2.1:5060"),
            advertised: ("192.0.2.1".to_owned(), 5060),
            told: true,
            awaits: false,
            routed: false,
        }],
    };
    let mut core = Core::new(identity, [7; 32], Limits::default());
    let briefing = Briefing {
        version: 1,
        mint_keys: vec![MintKey { version: b'a', key: [9; 16] }],
        nonce_keys: vec![NonceKey { id: 1, epoch: 1, key: [7; 32] }],
        members: Vec::new(),
        general: General::default(),
        trusted: vec!["198.51.100.1/32".parse().expect("a network")],
        surroundings: Default::default(),
    };
    core.handle(Input::Briefed(Arc::new(briefing)), now);
    core
}

/// Does what the shard wants, as a registrar and a relay that answer at once, and gives back what it sends.
fn drain(core: &mut Core, now: Now) -> Vec<Bytes> {
    let mut sent = Vec::new();
    while let Some(output) = core.poll_output() {
        match output {
            Output::Send { message, send, report, .. } => {
                sent.push(message);
                if report {
                    core.handle(Input::Sent { send, failed: None, flow: None }, now);
                }
            }
            Output::Ask(envelope) => {
                let answer = match envelope.ask {
                    Ask::Register(request) => Answer::Registered(Registered {
                        contacts: vec![(format!("<sip:{}@198.51.100.1>", request.user), 3600)],
                        path: Vec::new(),
                        qualify: false,
                    }),
                    Ask::Admit(_) => Answer::Admitted(Box::new(Admitted {
                        caller: policy("ann"),
                        binding: None,
                        targets: vec![Target {
                            policy: policy("bob"),
                            uri: "sip:bob@198.51.100.2:5060".to_owned(),
                            route: Vec::new(),
                            hop: Hop::Flow(flow("198.51.100.2:5060")),
                            binding: Some(BindingKey("sip:bob@198.51.100.2:5060".to_owned())),
                            ring_time: 30,
                        }],
                    })),
                    Ask::Locate { .. } => Answer::Located(Some(Hop::Flow(flow("198.51.100.2:5060")))),
                    _ => Answer::Done,
                };
                core.handle(Input::Answered { ask: envelope.id, answer: Ok(answer) }, now);
            }
            Output::Relay { order, what, .. } => {
                let reply = match what {
                    RelayOrder::Offer(sdp) | RelayOrder::Answer(sdp) => RelayReply::Described(Described {
                        relay: PodRef(2),
                        sdp: sdp.sdp,
                        narrowed: 0,
                        hold: false,
                        formats: vec!["ulaw".to_owned()],
                    }),
                    _ => RelayReply::Statistics(SessionStatistics::default()),
                };
                core.handle(Input::Relayed { order, reply: Ok(reply) }, now);
            }
            _ => {}
        }
    }
    sent
}

fn hear(core: &mut Core, from: &str, message: Bytes, now: Now) -> Vec<Bytes> {
    let message = Message::parse(message).expect("a message");
    core.handle(Input::Received { message, flow: flow(from) }, now);
    drain(core, now)
}

fn find(sent: &[Bytes], start: &str) -> Message {
    let found = sent.iter().find(|message| message.starts_with(start.as_bytes()));
    assert!(found.is_some(), "no {start}");
    Message::parse(found.cloned().unwrap_or_default()).expect("ours")
}

fn head(method: &str, uri: &str, number: u64, cseq: u32, to: &str, more: &str, body: &str) -> Bytes {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    Bytes::from(format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK{method}{number}x{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:ann@edge.example>;tag=f{number}\r\nTo: {to}\r\nCall-ID: call{number}@198.51.100.1\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:ann@198.51.100.1:5060>\r\n{more}User-Agent: Phone/1.0\r\n{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

const PHONE: &str = "198.51.100.66:5060";
const ANN: &str = "198.51.100.1:5060";
const BOB: &str = "198.51.100.2:5060";

fn register(core: &mut Core, number: u64, now: Now) {
    let to = "<sip:ann@edge.example>";
    let first =
        hear(core, PHONE, head("REGISTER", "sip:edge.example", number, 1, to, "Expires: 3600\r\n", ""), now);
    let challenge = find(&first, "SIP/2.0 401");
    let nonce =
        challenge.header(Header::WwwAuthenticate).and_then(|v| v.split("nonce=\"").nth(1)?.split('"').next());
    let more = format!(
        "Expires: 3600\r\nAuthorization: Digest username=\"ann\", realm=\"asterisk\", nonce=\"{}\", uri=\"sip:edge.example\", \
         response=\"00000000000000000000000000000000\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"abcd\"\r\n",
        nonce.unwrap_or_default()
    );
    let second = hear(core, PHONE, head("REGISTER", "sip:edge.example", number, 2, to, &more, ""), now);
    black_box(find(&second, "SIP/2.0 200"));
}

fn answer(request: &Message, status: u16, body: &str) -> Bytes {
    let mut writer =
        request.response(status, "OK").to_tag("t").header(Header::Contact, "<sip:bob@198.51.100.2:5060>");
    if !body.is_empty() {
        writer = writer.body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
    }
    writer.finish()
}

fn call(core: &mut Core, number: u64, now: Now) {
    let to = "<sip:bob@edge.example>";
    let sent = hear(core, ANN, head("INVITE", "sip:bob@edge.example", number, 1, to, "", SDP), now);
    let invite = find(&sent, "INVITE");
    hear(core, BOB, answer(&invite, 180, ""), now);
    let sent = hear(core, BOB, answer(&invite, 200, SDP), now);
    let ok = find(&sent, "SIP/2.0 200");
    let to = ok.header(Header::To).unwrap_or_default();
    let target = ok.contact().and_then(Result::ok).map(|c| c.uri.as_str().to_owned()).unwrap_or_default();
    hear(core, ANN, head("ACK", &target, number, 1, to, "", ""), now);
    let sent = hear(core, ANN, head("BYE", &target, number, 2, to, "", ""), now);
    let bye = find(&sent, "BYE");
    assert_eq!(*bye.method(), Method::Bye);
    hear(core, BOB, answer(&bye, 200, ""), now);
    assert_eq!(core.calls(), 0);
}

fn bench(c: &mut Criterion) {
    let start = Instant::now();
    let at = |number: u64| Now {
        mono: start + std::time::Duration::from_millis(number),
        wall: UnixMillis(1_800_000_000_000 + number),
    };
    let (mut core, mut number) = (shard(at(0)), 0);
    c.bench_function("shard/register: 401 and 200", |b| {
        b.iter(|| {
            number += 1;
            register(&mut core, number, at(number));
            core.handle_timeout(at(number));
            drain(&mut core, at(number));
        });
    });
    let (mut core, mut number) = (shard(at(0)), 0);
    c.bench_function("shard/call: INVITE to BYE, both legs", |b| {
        b.iter(|| {
            number += 1;
            call(&mut core, number, at(number));
            core.handle_timeout(at(number));
            drain(&mut core, at(number));
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
