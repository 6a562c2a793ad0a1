//! Every word crosses the wire and comes back the same.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use fairlead_model::ask::*;
use fairlead_model::binding::{BindingKey, Qualify, QualifyState};
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{AttemptRef, CallRef, ConnectionRef, PodRef, ShardRef, Side, UnixMillis};
use fairlead_model::member::{Briefing, Member, MintKey, NonceKey, Role};
use fairlead_model::operator::*;
use fairlead_model::peer::{EffectiveNat, General, RtpSource};
use fairlead_model::relay::*;
use fairlead_proto::convert::answered_from;
use fairlead_proto::{common, media, registrar, signaling};
use prost::Message;

/// To a message, to bytes, and all the way back.
fn crosses<P, M>(word: M)
where
    P: Message + Default + From<M>,
    M: Clone + PartialEq + Debug + TryFrom<P>,
    M::Error: Debug,
{
    let bytes = P::from(word.clone()).encode_to_vec();
    assert_eq!(M::try_from(P::decode(bytes.as_slice()).unwrap()).unwrap(), word);
}

fn pod(number: u64) -> PodRef {
    PodRef(PodRef::MAX - number)
}

fn call() -> CallRef {
    CallRef { pod: pod(1), shard: ShardRef(255), number: u64::MAX }
}

fn session() -> SessionRef {
    SessionRef { call: call(), attempt: AttemptRef(65_535) }
}

fn flow() -> Flow {
    Flow {
        pod: pod(2),
        transport: Transport::Tcp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "[2001:db8::ffff:1]:65535".parse().unwrap(),
        connection: Some(ConnectionRef(u64::MAX)),
    }
}

fn flows() -> Vec<Flow> {
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
        .into_iter()
        .map(|transport| Flow { transport, connection: None, ..flow() })
        .chain([flow()])
        .collect()
}

fn hops() -> Vec<Hop> {
    vec![
        Hop::Flow(flow()),
        Hop::Address { transport: Transport::Udp, host: "sip.example.org".to_owned(), port: None },
        Hop::Address { transport: Transport::Tls, host: "2001:db8::1".to_owned(), port: Some(5061) },
    ]
}

fn credentials() -> Credentials {
    Credentials { values: texts("Digest "), method: "INVITE".to_owned(), uri: "sip:b@c".to_owned() }
}

fn texts(start: &str) -> Vec<String> {
    vec![format!("{start}1"), String::new(), format!("{start}ü")]
}

fn contact() -> ContactChange {
    ContactChange {
        uri: "sip:a@192.0.2.9".to_owned(),
        value: "<sip:a@192.0.2.9>;q=0.5".to_owned(),
        expires: Some(0),
        q: Some(500),
        instance: Some("<urn:uuid:1>".to_owned()),
        reg_id: Some(2),
    }
}

fn register(contacts: Contacts) -> RegisterRequest {
    RegisterRequest {
        user: "ann".to_owned(),
        host: "edge".to_owned(),
        contacts,
        expires: Some(3600),
        path: texts("<sip:p"),
        call_id: "c1".to_owned(),
        cseq: u32::MAX,
        user_agent: "Phone/1".to_owned(),
        flow: flow(),
        via_differs: true,
        asked_rport: true,
        supports_path: true,
        credentials: Some(credentials()),
        received_at: UnixMillis(u64::MAX),
    }
}

fn policy() -> LegPolicy {
    LegPolicy {
        peer: Some("ann".to_owned()),
        nat: EffectiveNat { force_rport: true, comedia: false },
        rtp_source: RtpSource::Any,
        rtp_timeout: 30,
        rtp_hold_timeout: 60,
        caller_name: "Ann".to_owned(),
        caller_number: "200".to_owned(),
        from_user: Some("u".to_owned()),
        from_domain: Some(String::new()),
        answers_challenges: true,
        max_duration: 7200,
        t1_ms: 500,
        uncounted: true,
    }
}

fn qualify() -> Qualify {
    Qualify { state: QualifyState::Lagged, rtt_ms: 2001, at: UnixMillis(7) }
}

fn target() -> QualifyTarget {
    QualifyTarget {
        peer: "ann".to_owned(),
        key: Some(BindingKey("k".to_owned())),
        uri: "sip:ann@192.0.2.9".to_owned(),
        route: texts("<sip:r"),
        hop: Hop::Flow(flow()),
        limit_ms: 2000,
        every: 60,
        last: qualify(),
    }
}

fn record() -> CheckpointRecord {
    CheckpointRecord {
        call: call(),
        owner: pod(3),
        epoch: u64::MAX,
        schema: 4,
        written: UnixMillis(5),
        deadline: Some(UnixMillis(6)),
        call_ids: texts("id"),
        state: Bytes::from_static(&[0, 255, 1]),
    }
}

fn asks() -> Vec<Ask> {
    let key = || BindingKey("k".to_owned());
    vec![
        Ask::Register(Box::new(register(Contacts::Query))),
        Ask::Register(Box::new(register(Contacts::Star))),
        Ask::Register(Box::new(register(Contacts::List(vec![contact()])))),
        Ask::Admit(Box::new(AdmitRequest {
            method: "INVITE".to_owned(),
            call: call(),
            call_id: "c".to_owned(),
            from_tag: "f".to_owned(),
            cseq: 1,
            branch: "z9hG4bK1".to_owned(),
            flow: flow(),
            via_differs: true,
            from_user: "a".to_owned(),
            from_host: "h".to_owned(),
            from_display: "A".to_owned(),
            target_user: "b".to_owned(),
            target_host: "e".to_owned(),
            credentials: None,
        })),
        Ask::Owner { call_id: "c".to_owned(), from_tag: "f".to_owned() },
        Ask::Disown { call_id: "c".to_owned(), from_tag: "f".to_owned(), call: call() },
        Ask::Locate { peer: "ann".to_owned(), key: key() },
        Ask::Release { call: call() },
        Ask::Occupy { call: call(), peer: "bob".to_owned() },
        Ask::Usage { call: call(), peer: "bob".to_owned(), usage: Usage::Ringing },
        Ask::Usage { call: call(), peer: "bob".to_owned(), usage: Usage::Up },
        Ask::Usage { call: call(), peer: "bob".to_owned(), usage: Usage::OnHold },
        Ask::Checkpoint { call: call(), record: Some(record()) },
        Ask::Checkpoint { call: call(), record: None },
        Ask::Qualified { peer: "ann".to_owned(), key: Some(key()), result: qualify() },
        Ask::Qualified { peer: "trunk".to_owned(), key: None, result: Qualify::default() },
        Ask::QualifyList,
        Ask::MoveFlow { flow: flow() },
        Ask::AnswerChallenge(Box::new(ChallengeToAnswer {
            peer: "trunk".to_owned(),
            challenges: texts("Digest "),
            method: "INVITE".to_owned(),
            uri: "sip:t".to_owned(),
            cnonce: "0011223344556677".to_owned(),
            nc: 3,
        })),
    ]
}

fn answers() -> Vec<Result<Answer, AskFailed>> {
    let target_of_call = |hop: Hop, binding: Option<BindingKey>| Target {
        policy: policy(),
        uri: "sip:b@192.0.2.8".to_owned(),
        route: texts("<sip:r"),
        hop,
        binding,
        ring_time: 20,
    };
    let targets: Vec<Target> =
        hops().into_iter().map(|hop| target_of_call(hop, Some(BindingKey("b".to_owned())))).collect();
    vec![
        Ok(Answer::Registered(Registered {
            contacts: vec![("<sip:a@b>".to_owned(), 59), (String::new(), 0)],
            path: texts("<sip:p"),
            qualify: true,
        })),
        Ok(Answer::Challenge { stale: true }),
        Ok(Answer::Challenge { stale: false }),
        Ok(Answer::Refused(Refusal {
            status: 423,
            phrase: "Interval Too Brief".to_owned(),
            retry_after: Some(9),
            min_expires: Some(60),
        })),
        Ok(Answer::Admitted(Box::new(Admitted {
            caller: policy(),
            binding: Some(BindingKey("sip:ann@192.0.2.1".to_owned())),
            targets,
        }))),
        Ok(Answer::Admitted(Box::new(Admitted {
            caller: LegPolicy { peer: None, from_user: None, from_domain: None, ..policy() },
            binding: None,
            targets: Vec::new(),
        }))),
        Ok(Answer::Owned { pod: pod(1), call: call() }),
        Ok(Answer::NotOwned),
        Ok(Answer::Located(Some(Hop::Flow(flow())))),
        Ok(Answer::Located(None)),
        Ok(Answer::QualifyList(vec![target(), QualifyTarget { key: None, ..target() }])),
        Ok(Answer::QualifyList(Vec::new())),
        Ok(Answer::ChallengeAnswered { value: "Digest x".to_owned() }),
        Ok(Answer::Done),
        Err(AskFailed::Unreachable),
        Err(AskFailed::Deadline),
        Err(AskFailed::Overloaded),
        Err(AskFailed::Unknown),
    ]
}

#[test]
fn flows_and_hops() {
    flows().into_iter().for_each(crosses::<common::v1::Flow, _>);
    hops().into_iter().for_each(crosses::<common::v1::Hop, _>);
}

#[test]
fn questions() {
    for ask in asks() {
        crosses::<registrar::v1::Envelope, _>(Envelope {
            id: AskRef(u64::MAX),
            key: IdempotencyKey(u128::MAX - 5),
            deadline: Duration::from_millis(4_321),
            ask,
        });
    }
}

#[test]
fn answers_of_the_registrar() {
    for answer in answers() {
        let message = registrar::v1::Answered::from((AskRef(9), answer.clone()));
        let bytes = message.encode_to_vec();
        let back = answered_from(registrar::v1::Answered::decode(bytes.as_slice()).unwrap());
        assert_eq!(back, (AskRef(9), answer));
    }
}

#[test]
fn an_answer_of_a_kind_that_is_not_known_fails_its_question_alone() {
    let newer = registrar::v1::Answered { id: 4, answer: None };
    assert_eq!(answered_from(newer), (AskRef(4), Err(AskFailed::Unknown)));
}

#[test]
fn a_briefing() {
    let member = |role, grpc: &str| Member {
        pod: pod(9),
        name: "pod-0".to_owned(),
        role,
        grpc: grpc.parse().unwrap(),
        started: UnixMillis(1),
        seen: UnixMillis(2),
        draining: true,
        load: 3,
        version: "0.1.0".to_owned(),
    };
    crosses::<registrar::v1::Briefing, _>(Briefing {
        version: u64::MAX,
        mint_keys: vec![MintKey { version: b'a', key: [7; 16] }],
        nonce_keys: vec![NonceKey { id: 255, epoch: u32::MAX, key: [8; 32] }],
        members: vec![
            member(Role::Signaling, "192.0.2.1:7002"),
            member(Role::Media, "[2001:db8::2]:7003"),
            member(Role::Registrar, "192.0.2.3:7001"),
            member(Role::Admin, "192.0.2.4:8080"),
        ],
        general: General { realm: "edge".to_owned(), max_forwards: 255, ..General::default() },
        trusted: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        surroundings: Default::default(),
    });
}

#[test]
fn a_member_of_a_role_that_is_not_known_is_left_out_of_a_briefing() {
    let mut message = registrar::v1::Briefing {
        general: Some(General::default().into()),
        ..registrar::v1::Briefing::default()
    };
    message.members.push(common::v1::Member { role: 77, ..common::v1::Member::default() });
    assert!(Briefing::try_from(message).unwrap().members.is_empty());
}

fn side_media(signalling: &str) -> SideMedia {
    SideMedia {
        network: "inside".to_owned(),
        signalling: signalling.parse().unwrap(),
        comedia: true,
        source: RtpSource::Signalled,
        rtp_timeout: 1,
        rtp_hold_timeout: 2,
        ipv6: true,
    }
}

fn statistics() -> SessionStatistics {
    let stream = StreamStatistics {
        index: 65_535,
        media: "audio".to_owned(),
        from: Side::B,
        local: Some("192.0.2.1:10000".parse().unwrap()),
        remote: Some("[2001:db8::9]:4000".parse().unwrap()),
        packets: u64::MAX,
        bytes: 2,
        sent: 3,
        lost: 4,
        out_of_order: 5,
        jitter_us: 6,
        reported_lost: 7,
        reported_jitter_us: 8,
        round_trip_us: Some(0),
        dropped: 9,
    };
    let silent =
        StreamStatistics { from: Side::A, local: None, remote: None, round_trip_us: None, ..stream.clone() };
    SessionStatistics { streams: vec![stream, silent], duration_ms: 10 }
}

#[test]
fn orders_to_a_relay_and_what_it_tells() {
    crosses::<media::v1::SdpOrder, _>(SdpOrder {
        session: session(),
        from: Side::A,
        sdp: Bytes::from_static(b"v=0\r\n\xff"),
        a: side_media("192.0.2.1"),
        b: side_media("2001:db8::1"),
    });
    crosses::<media::v1::Described, _>(Described {
        relay: pod(1),
        sdp: Bytes::from_static(b"v=0"),
        narrowed: 1,
        hold: true,
        formats: texts("ulaw"),
    });
    crosses::<common::v1::SessionStatistics, _>(statistics());
    crosses::<media::v1::WatchResponse, _>(RelayEvent::Abandoned { session: session() });
    crosses::<media::v1::WatchResponse, _>(RelayEvent::TimedOut {
        session: session(),
        side: Side::B,
        statistics: Box::new(statistics()),
    });
    for refused in [
        RelayRefused::NoPort,
        RelayRefused::BadDescription("no m= line".to_owned()),
        RelayRefused::UnknownSession,
        RelayRefused::Busy,
    ] {
        crosses::<media::v1::Refused, _>(refused);
    }
}

#[test]
fn channels_and_bridges() {
    let channel = Channel {
        pod: pod(1),
        call: call(),
        side: Side::B,
        session: Some(session()),
        relay: Some(pod(2)),
        peer_address: "192.0.2.1".to_owned(),
        received_address: "192.0.2.1:5060".to_owned(),
        theoretical_address: "192.0.2.2".to_owned(),
        user: "200".to_owned(),
        peer: "ann".to_owned(),
        call_id: "c".to_owned(),
        local_tag: "l".to_owned(),
        remote_tag: "r".to_owned(),
        formats: texts("ulaw"),
        hold: true,
        ending: true,
        last_message: "Rx: ACK".to_owned(),
        outgoing: true,
        state: "Confirmed".to_owned(),
        user_agent: "Phone".to_owned(),
        transport: "UDP".to_owned(),
        force_rport: true,
        route: texts("<sip:r"),
        caller_id: "\"Ann\" <200>".to_owned(),
        uri: "sip:b@c".to_owned(),
        options: texts("100rel"),
        since: UnixMillis(1),
        answered: Some(UnixMillis(2)),
    };
    let new = Channel { session: None, relay: None, answered: None, side: Side::A, ..channel.clone() };
    crosses::<signaling::v1::Channel, _>(channel);
    crosses::<signaling::v1::Channel, _>(new);
    crosses::<signaling::v1::Bridge, _>(Bridge {
        pod: pod(1),
        call: call(),
        peer_a: "ann".to_owned(),
        call_id_a: "a".to_owned(),
        peer_b: "bob".to_owned(),
        call_id_b: "b".to_owned(),
        format: "ulaw".to_owned(),
        answered: UnixMillis(3),
    });
}

#[test]
fn what_the_operator_sees_of_peers() {
    let address = || PeerAddress { host: "192.0.2.1".to_owned(), port: 65_535 };
    let view = PeerView {
        name: "ann".to_owned(),
        username: "200".to_owned(),
        address: Some(address()),
        dynamic: true,
        force_rport: NatView::AutoYes,
        comedia: NatView::Yes,
        acl: true,
        monitored: true,
        qualify: qualify(),
        description: "Ann's".to_owned(),
        source: PeerSource::Cached,
        pod: Some(pod(1)),
        contacts: vec![ContactView {
            uri: "sip:a@b".to_owned(),
            address: address(),
            transport: "TCP".to_owned(),
            q: 1000,
            expires_at: UnixMillis(4),
            user_agent: "Phone".to_owned(),
            qualify: qualify(),
            pod: Some(pod(2)),
            path: texts("<sip:p"),
            instance: Some("<urn:uuid:1>".to_owned()),
        }],
    };
    crosses::<registrar::v1::PeerView, _>(PeerView::default());
    crosses::<registrar::v1::PeerDetail, _>(PeerDetail::default());
    crosses::<registrar::v1::PeerDetail, _>(PeerDetail {
        view: view.clone(),
        tonezone: Some("de".to_owned()),
        expires_at: Some(UnixMillis(5)),
        default_address: Some(address()),
        variables: vec![("A".to_owned(), "1".to_owned())],
        ..PeerDetail::default()
    });
    crosses::<registrar::v1::PeerView, _>(view);
    crosses::<registrar::v1::UserView, _>(UserView {
        name: "ann".to_owned(),
        secret_set: true,
        accountcode: "x".to_owned(),
        context: "default".to_owned(),
        acl: true,
        force_rport: NatView::AutoNo,
    });
    crosses::<registrar::v1::InUseView, _>(InUseView {
        name: "ann".to_owned(),
        in_use: 1,
        ringing: 2,
        on_hold: 3,
        limit: Some(0),
    });
    for which in
        [PruneSelector::All, PruneSelector::Name("ann".to_owned()), PruneSelector::Like("^a".to_owned())]
    {
        crosses::<registrar::v1::PruneRequest, _>(which);
    }
    crosses::<registrar::v1::PruneResponse, _>(PruneReceipt {
        pruned: 2,
        is_static: true,
        names: texts("a"),
    });
    crosses::<registrar::v1::PeerPage, _>(PeerPage {
        like: Some(String::new()),
        after: Some("a".to_owned()),
        limit: 7,
    });
}

#[test]
fn what_is_missing_or_out_of_range_is_refused_by_name() {
    let missing = common::v1::Flow { pod: 1, transport: 1, ..common::v1::Flow::default() };
    assert_eq!(Flow::try_from(missing).unwrap_err().to_string(), "`local` is missing or out of range");
    let wide = common::v1::CallRef { pod: PodRef::MAX + 1, shard: 0, number: 1 };
    assert_eq!(CallRef::try_from(wide).unwrap_err().0, "pod");
    let many = common::v1::CallRef { pod: 1, shard: 256, number: 1 };
    assert_eq!(CallRef::try_from(many).unwrap_err().0, "shard");
    let both = registrar::v1::Contacts { star: true, list: vec![contact().into()] };
    assert!(Contacts::try_from(both).is_err());
}
