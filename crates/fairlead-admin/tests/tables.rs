//! The tables to the letter, against what chan_sip printed for the same facts.

use fairlead_admin::engine::Entry;
use fairlead_admin::operation::Operation;
use fairlead_admin::table::{self, Sheet};
use fairlead_model::operator::PruneSelector;
use fairlead_proto::admin::v1 as pb;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/", $name, ".txt"))
    };
}

fn written(operation: Operation, entries: Vec<Entry>) -> String {
    let mut sheet = Sheet::new(operation, false);
    let rows: String = entries.chunks(3).map(|chunk| sheet.rows(chunk)).collect();
    rows + &sheet.foot()
}

fn same(ours: &str, theirs: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours, theirs, "the ends differ");
}

fn peers(entries: Vec<pb::Peer>) -> String {
    let entries = entries.into_iter().map(|peer| Entry::Peer(Box::new(peer))).collect();
    written(Operation::ShowPeers { like: None }, entries)
}

/// A dynamic peer with `nat=force_rport,comedia` that is not registered.
fn peer(name: &str, status: &str) -> pb::Peer {
    pb::Peer {
        name: name.to_owned(),
        dynamic: true,
        force_rport: "Yes".to_owned(),
        comedia: "Yes".to_owned(),
        monitored: status != "Unmonitored",
        status: status.to_owned(),
        source: "static".to_owned(),
        ..pb::Peer::default()
    }
}

fn at(peer: pb::Peer, user: &str, host: &str, port: u32, status: &str) -> pb::Peer {
    pb::Peer { username: user.to_owned(), host: host.to_owned(), port, status: status.to_owned(), ..peer }
}

fn configured() -> [pb::Peer; 7] {
    let nat =
        |peer: pb::Peer, word: &str| pb::Peer { force_rport: word.into(), comedia: word.into(), ..peer };
    let fixed = |name: &str| pb::Peer { dynamic: false, ..peer(name, "Unmonitored") };
    [
        peer("alice", "UNKNOWN"),
        nat(peer("bob", "UNKNOWN"), "No"),
        pb::Peer { acl: true, ..nat(peer("carol", "UNKNOWN"), "Auto (No)") },
        pb::Peer { description: "Dave desk phone".into(), ..peer("dave", "Unmonitored") },
        pb::Peer { acl: true, ..peer("denied", "Unmonitored") },
        at(fixed("peeronly"), "", "127.0.12.8", 5088, "Unmonitored"),
        at(fixed("trunk1"), "labtrunk", "127.0.12.9", 5090, "Unmonitored"),
    ]
}

#[test]
fn show_peers_of_an_idle_edge() {
    same(&peers(configured().into()), golden!("show-peers-idle"));
    same(&peers(vec![peer("alice", "UNKNOWN")]), golden!("show-peers-like-ali-idle"));
}

#[test]
fn show_peers_of_registered_phones() {
    let [alice, bob, carol, dave, denied, peeronly, trunk1] = configured();
    let alice = at(alice, "alice", "127.0.11.1", 5061, "OK (1 ms)");
    let all = vec![
        alice.clone(),
        at(bob, "bob", "127.0.11.2", 5062, "OK (21 ms)"),
        at(carol, "carol", "127.0.11.3", 57991, "OK (1 ms)"),
        at(dave, "dave", "127.0.11.4", 5064, "Unmonitored"),
        denied,
        peeronly,
        trunk1,
    ];
    same(&peers(all), golden!("show-peers-registered"));
    same(&peers(vec![alice]), golden!("show-peers-like-ali-registered"));
}

#[test]
fn show_peers_has_the_realtime_column_where_there_are_realtime_peers() {
    let cached = pb::Peer { source: "cached".to_owned(), ..peer("rt2", "Unmonitored") };
    same(&peers(vec![cached]), golden!("show-peers-realtime-one"));
}

#[test]
fn lagged_is_online_and_unreachable_is_not() {
    let text = peers(vec![peer("a", "LAGGED (701 ms)"), peer("b", "UNREACHABLE"), peer("c", "OK (1 ms)")]);
    assert!(
        text.ends_with("3 sip peers [Monitored: 2 online, 1 offline Unmonitored: 0 online, 0 offline]\n")
    );
}

#[test]
fn pods_are_one_more_column_at_the_end() {
    let mut sheet = Sheet::new(Operation::ShowPeers { like: None }, true);
    let of_pod = pb::Peer { pod: "edge-signaling-1".to_owned(), ..peer("alice", "UNKNOWN") };
    let text = sheet.rows(&[Entry::Peer(Box::new(of_pod))]);
    let plain = golden!("show-peers-like-ali-idle");
    let ends = text.lines().zip(plain.lines()).map(|(ours, theirs)| ours.strip_prefix(theirs).unwrap());
    assert_eq!(ends.collect::<Vec<_>>(), [" Pod", " edge-signaling-1"]);
}

/// What is the same of every peer in the captures.
fn detail(name: &str) -> pb::PeerDetail {
    let text = str::to_owned;
    pb::PeerDetail {
        peer: Some(peer(name, "Unmonitored")),
        secret_set: true,
        context: text("from-sip"),
        record_on_feature: text("automon"),
        record_off_feature: text("automon"),
        subscribe_context: text("hints"),
        ama_flags: text("Unknown"),
        transfer_open: true,
        calling_pres: text("Presentation Allowed, Not Screened"),
        from_domain_port: 5060,
        vm_exten: text("asterisk"),
        call_limit: 2_147_483_647,
        max_call_bitrate: 384,
        expires_in: -1,
        t38_ec_mode: text("Unknown"),
        t38_max_datagram: u32::MAX,
        trust_id_outbound: text("Legacy"),
        allow_subscribe: true,
        overlap_dial: text("Yes"),
        dtmf_mode: text("rfc2833"),
        timer_t1: 500,
        timer_b: 32_000,
        primary_transport: text("UDP"),
        allowed_transports: vec![text("UDP")],
        codecs: vec![text("ulaw"), text("alaw")],
        qualify_freq: 60_000,
        session_timers: text("Accept"),
        session_refresher: text("uas"),
        session_expires: 1800,
        session_min_se: 90,
        rtp_engine: text("asterisk"),
        ..pb::PeerDetail::default()
    }
}

fn alice() -> pb::PeerDetail {
    pb::PeerDetail {
        peer: Some(peer("alice", "UNKNOWN")),
        callgroup: "1".to_owned(),
        pickupgroup: "1".to_owned(),
        mailbox: "2001@default".to_owned(),
        messages_new: 32_767,
        messages_old: 65_535,
        call_limit: 2,
        caller_name: "Alice A".to_owned(),
        caller_number: "2001".to_owned(),
        ..detail("alice")
    }
}

fn carol() -> pb::PeerDetail {
    let [_, _, carol, ..] = configured();
    pb::PeerDetail {
        peer: Some(carol),
        secret_set: false,
        md5secret_set: true,
        allowed_transports: vec!["UDP".to_owned(), "TCP".to_owned()],
        ..detail("carol")
    }
}

#[test]
fn show_peer_of_phones_that_are_not_registered() {
    let [_, _, _, dave_row, ..] = configured();
    let dave = pb::PeerDetail {
        peer: Some(dave_row),
        codecs: vec!["alaw".to_owned(), "g722".to_owned()],
        variables: vec![pb::Variable { name: "FOO".to_owned(), value: "bar".to_owned() }],
        ..detail("dave")
    };
    same(&table::peer(&alice(), false), golden!("show-peer-alice-idle"));
    same(&table::peer(&carol(), false), golden!("show-peer-carol-idle"));
    same(&table::peer(&dave, false), golden!("show-peer-dave-idle"));
}

#[test]
fn show_peer_of_trunks() {
    let [.., peeronly_row, trunk1_row] = configured();
    let peeronly = pb::PeerDetail {
        peer: Some(peeronly_row),
        accountcode: "acct-7".to_owned(),
        call_limit: 3,
        to_host: "127.0.12.8".to_owned(),
        ..detail("peeronly")
    };
    let trunk1 = pb::PeerDetail {
        peer: Some(trunk1_row),
        secret_set: false,
        remote_secret_set: true,
        from_user: "labtrunk".to_owned(),
        from_domain: "trunk.lab.example".to_owned(),
        insecure_port: true,
        insecure_invite: true,
        to_host: "127.0.12.9".to_owned(),
        default_username: "labtrunk".to_owned(),
        ..detail("trunk1")
    };
    same(&table::peer(&peeronly, false), golden!("show-peer-peeronly-idle"));
    same(&table::peer(&trunk1, false), golden!("show-peer-trunk1-idle"));
}

#[test]
fn show_peer_of_registered_phones() {
    let registered = |detail: pb::PeerDetail, row: pb::Peer, contact: &str| pb::PeerDetail {
        messages_new: 0,
        messages_old: 0,
        expires_in: 3604,
        default_username: row.name.clone(),
        user_agent: "labua".to_owned(),
        contact: contact.to_owned(),
        peer: Some(row),
        ..detail
    };
    let [alice_row, bob_row, ..] = configured();
    let alice = registered(
        alice(),
        at(alice_row, "alice", "127.0.11.1", 5061, "OK (1 ms)"),
        "sip:alice@127.0.11.1:5061",
    );
    same(&table::peer(&alice, false), golden!("show-peer-alice-registered"));
    let bob = pb::PeerDetail { call_limit: 10, busy_level: 2, dtmf_mode: "info".to_owned(), ..detail("bob") };
    let bob =
        registered(bob, at(bob_row, "bob", "127.0.11.2", 5062, "LAGGED (701 ms)"), "sip:bob@127.0.11.2:5062");
    same(&table::peer(&bob, false), golden!("show-peer-bob-registered"));
}

#[test]
fn show_peer_says_that_a_realtime_peer_is_one() {
    let mut rt2 = detail("rt2");
    rt2.peer = Some(pb::Peer { source: "cached".to_owned(), ..peer("rt2", "Unmonitored") });
    same(&table::peer(&rt2, false), golden!("show-peer-rt2"));
}

#[test]
fn show_user() {
    let userinonly = pb::PeerDetail {
        caller_name: "Inbound Only".to_owned(),
        caller_number: "7001".to_owned(),
        ..detail("userinonly")
    };
    same(&table::user(&alice()), golden!("show-user-alice"));
    same(&table::user(&carol()), golden!("show-user-carol"));
    same(&table::user(&userinonly), golden!("show-user-userinonly"));
}

#[test]
fn show_users() {
    let user = pb::User {
        name: "userinonly".to_owned(),
        secret_set: true,
        context: "from-sip".to_owned(),
        force_rport: "Yes".to_owned(),
        ..pb::User::default()
    };
    let text = written(Operation::ShowUsers { like: None }, vec![Entry::User(user)]);
    same(&text, golden!("show-users-like-user"));
}

fn leg(address: &str, user: &str, call_id: &str, format: &str, message: &str, peer: &str) -> pb::Channel {
    pb::Channel {
        peer_address: address.to_owned(),
        user: user.to_owned(),
        call_id: call_id.to_owned(),
        formats: vec![format.to_owned()],
        last_message: message.to_owned(),
        peer: peer.to_owned(),
        ..pb::Channel::default()
    }
}

#[test]
fn show_channels() {
    let held = |leg: pb::Channel| pb::Channel { hold: true, ..leg };
    let legs = vec![
        leg("127.0.11.1", "alice", "94a9870243df@127.0.11.1", "ulaw", "Rx: ACK", "alice"),
        leg(
            "127.0.11.2",
            "bob",
            "35e4c30216bb14742afcd70705a15c36@127.0.10.1:5060",
            "ulaw",
            "Tx: ACK",
            "bob",
        ),
        leg("127.0.11.3", "carol", "76d63e26893d@127.0.11.3", "ulaw", "Rx: ACK", "carol"),
        leg("127.0.11.20", "10006", "1d31497959b2d95b@127.0.10.1:5060", "ulaw", "Tx: ACK", "10006"),
        held(leg("127.0.11.20", "10005", "161f1eac72a5@127.0.11.20", "ulaw", "Rx: ACK", "10005")),
        leg("127.0.11.20", "10003", "9e5cb2d06611@127.0.11.20", "ulaw", "Rx: ACK", "10003"),
        leg("127.0.11.20", "10004", "80460d132efb@127.0.11.20", "ulaw", "Rx: INVITE", "10004"),
        leg("127.0.11.20", "10007", "6dc28310d351@127.0.11.20", "ulaw", "Rx: INVITE", "10007"),
        leg("127.0.11.9", "7001", "72ce29ce31f4@127.0.11.9", "ulaw", "Rx: ACK", "userinonly"),
        leg("127.0.11.4", "dave", "79503a0a00abee3@127.0.10.1:5060", "alaw", "Init: INVITE", "dave"),
    ];
    let entries = legs.into_iter().map(|leg| Entry::Channel(Box::new(leg))).collect();
    same(&written(Operation::ShowChannels, entries), golden!("show-channels-busy"));
}

#[test]
fn a_guest_a_leg_without_media_and_one_that_ends_have_their_words() {
    let guest =
        pb::Channel { ending: true, ..leg("127.0.11.2", "", "f411db90@127.0.11.2", "", "Rx: BYE", "") };
    let guest = pb::Channel { formats: Vec::new(), ..guest };
    let text = written(Operation::ShowChannels, vec![Entry::Channel(Box::new(guest))]);
    let row = "127.0.11.2       (None)           f411db90@127.0.  (nothing)        No  (d)  Rx: BYE                    <guest>   ";
    assert_eq!(text.lines().nth(1), Some(row));
    assert!(text.ends_with("\n1 active SIP dialog\n"));
}

#[test]
fn show_channel() {
    let text = str::to_owned;
    let incoming = pb::Channel {
        call: text("0123456789ab-0-2"),
        relay: text("relay"),
        theoretical_address: text("127.0.11.1:5061"),
        received_address: text("127.0.11.1:5061"),
        formats: vec![text("ulaw"), text("alaw")],
        force_rport: true,
        audio_address: text("127.0.10.1"),
        local_tag: text("as53bec90e"),
        remote_tag: text("926594ce"),
        user_agent: text("labua"),
        uri: text("sip:alice@127.0.11.1:5061"),
        caller_id: text("\"Alice A\" <2001>"),
        answered_ms: Some(1),
        transport: text("UDP"),
        ..leg("127.0.11.1", "alice", "94a9870243df@127.0.11.1", "", "Rx: ACK", "alice")
    };
    let shown = |prefix: &str, leg: &pb::Channel| {
        let operation = Operation::ShowChannel { prefix: prefix.to_owned() };
        written(operation, vec![Entry::Channel(Box::new(leg.clone()))])
    };
    same(&shown("94a9", &incoming), golden!("show-channel-incoming"));
    let outgoing = pb::Channel {
        outgoing: true,
        call: text("0123456789ab-0-3"),
        call_id: text("35e4c30216bb14742afcd70705a15c36@127.0.10.1:5060"),
        theoretical_address: text("127.0.11.2:5062"),
        received_address: text("127.0.11.2:5062"),
        force_rport: false,
        local_tag: text("as791e3f10"),
        remote_tag: text("t27bfd7cc"),
        user_agent: String::new(),
        user: text("bob"),
        peer: text("bob"),
        uri: text("sip:bob@127.0.11.2:5062"),
        caller_id: String::new(),
        last_message: text("Tx: ACK"),
        route: vec![text("<sip:bob@127.0.11.2:5062>")],
        ..incoming
    };
    same(&shown("35e4c30216bb14", &outgoing), golden!("show-channel-outgoing"));
    same(
        &written(Operation::ShowChannel { prefix: "nosuch".to_owned() }, vec![]),
        golden!("show-channel-nosuch"),
    );
}

fn stats(
    address: &str,
    call_id: &str,
    received: u64,
    sent: u64,
    sent_jitter_us: u32,
    duration: u64,
) -> Entry {
    Entry::ChannelStats(Box::new(pb::ChannelStats {
        peer_address: address.to_owned(),
        call_id: call_id.to_owned(),
        duration,
        received,
        sent,
        sent_jitter_us,
        ..pb::ChannelStats::default()
    }))
}

#[test]
fn show_channelstats() {
    let rows = vec![
        stats("127.0.11.1", "94a9870243df@127.0.11.1", 161, 160, 500, 3),
        stats("127.0.11.2", "35e4c30216bb14742afc", 161, 161, 600, 3),
        stats("127.0.11.3", "76d63e26893d", 156, 155, 500, 3),
        stats("127.0.11.20", "1d31497959b2d95b", 158, 158, 500, 3),
        stats("127.0.11.20", "161f1eac72a5", 158, 156, 600, 3),
        stats("127.0.11.20", "9e5cb2d06611", 163, 163, 600, 3),
        stats("127.0.11.20", "80460d132efb", 0, 0, 0, 3),
        stats("127.0.11.20", "6dc28310d351", 0, 0, 0, 3),
        stats("127.0.11.9", "72ce29ce31f4", 158, 0, 500, 3),
        stats("127.0.11.4", "79503a0a00abee3", 0, 0, 0, 3),
    ];
    same(&written(Operation::ShowChannelStats, rows), golden!("show-channelstats-busy"));
    same(&written(Operation::ShowChannelStats, vec![]), golden!("show-channelstats-idle"));
}

#[test]
fn large_counters_are_thousands_and_losses_are_per_cent() {
    let row = Entry::ChannelStats(Box::new(pb::ChannelStats {
        peer_address: "10.0.0.1".to_owned(),
        call_id: "c".to_owned(),
        duration: 36_061,
        received: 150_000,
        received_lost: 50_000,
        received_jitter_us: 1500,
        sent: 200_001,
        sent_lost: 100,
        ..pb::ChannelStats::default()
    }));
    let text = written(Operation::ShowChannelStats, vec![row]);
    let line = "10.0.0.1         c            10:01:01 0000000150K 0000050000 (25.00%) 0.0015 0000000200K 0000000100 ( 0.05%) 0.0000";
    assert_eq!(text.lines().nth(1), Some(line));
}

#[test]
fn show_bridged() {
    let bridge = pb::Bridge {
        peer_a: "alice".to_owned(),
        call_id_a: "94a9870243df@127.0.11.1".to_owned(),
        peer_b: "bob".to_owned(),
        call_id_b: "35e4c30216bb14742afc".to_owned(),
        format: "ulaw".to_owned(),
        duration: 67,
        ..pb::Bridge::default()
    };
    let text = written(Operation::ShowBridged, vec![Entry::Bridge(bridge)]);
    let wanted = "\
Peer             Call ID          Peer             Call ID          Format           Duration
alice            94a9870243df@12  bob              35e4c30216bb147  (ulaw)           00:01:07
1 active SIP bridges
";
    same(&text, wanted);
}

#[test]
fn show_inuse() {
    let row = |name: &str, in_use, ringing, limit| {
        Entry::InUse(pb::InUse { name: name.to_owned(), in_use, ringing, on_hold: 0, limit })
    };
    let idle = vec![
        row("10216", 0, 0, Some(100)),
        row("userinonly", 0, 0, Some(i32::MAX as u32)),
        row("peeronly", 0, 0, Some(3)),
    ];
    same(&written(Operation::ShowInUse { all: false }, idle), golden!("show-inuse"));
    let busy = written(Operation::ShowInUse { all: true }, vec![row("dave", 1, 1, None)]);
    assert_eq!(busy.lines().nth(1), Some("dave                      1/1/0           N/A             "));
}

#[test]
fn receipts() {
    let unregister = |unregistered| pb::UnregisterResponse { unregistered, missing: vec![] };
    same(&table::unregistered("10008", &unregister(true)), golden!("unregister-done"));
    same(&table::unregistered("alice", &unregister(false)), golden!("unregister-not-registered"));
    let prune = |pruned, is_static| pb::PruneRealtimeResponse { pruned, is_static, ..Default::default() };
    let one = |name: &str| PruneSelector::Name(name.to_owned());
    same(&table::pruned(&one("alice"), &prune(0, true)), golden!("prune-static"));
    same(&table::pruned(&one("rt1"), &prune(1, false)), golden!("prune-one"));
    same(&table::pruned(&one("rt1"), &prune(0, false)), golden!("prune-not-found"));
    same(&table::pruned(&PruneSelector::Like("^rt[45]$".into()), &prune(2, false)), golden!("prune-like"));
    same(&table::pruned(&PruneSelector::All, &prune(0, false)), golden!("prune-none"));
}

#[test]
fn names_that_nobody_has() {
    let name = || "nosuch".to_owned();
    let says = |operation: Operation, golden: &str| same(&table::not_found(&operation), golden);
    says(Operation::ShowPeer { name: name(), load: false }, golden!("show-peer-nosuch"));
    says(Operation::ShowUser { name: name(), load: false }, golden!("show-user-nosuch"));
    says(Operation::Unregister { name: name() }, golden!("unregister-nosuch"));
    says(Operation::QualifyPeer { name: name(), load: false }, golden!("qualify-nosuch"));
}

#[test]
fn nobody_writes_on_the_operators_terminal() {
    let evil = at(peer("ev\u{1b}[2Jil\n", "UNKNOWN"), "a\u{202e}b", "", 0, "UNKNOWN");
    let text = peers(vec![evil.clone()]);
    assert!(text.lines().nth(1).unwrap().starts_with("ev?[2Jil?/a?b "), "{text}");
    let mut shown = detail("x");
    shown.user_agent = "\u{1b}]0;title\u{7}".to_owned();
    assert!(table::peer(&shown, false).contains("  Useragent    : ?]0;title?\n"));
}
