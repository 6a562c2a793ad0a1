//! Tables of lists: a head, a line an entry, a foot that counts.

use fairlead_proto::admin::v1 as pb;

use super::{at_least, cell, channel, clock, formats, plain, yes_no};
use crate::engine::Entry;
use crate::operation::Operation;

/// One table that is being written, entries as they come.
#[derive(Debug)]
pub struct Sheet {
    operation: Operation,
    pods: bool,
    realtime: bool,
    begun: bool,
    rows: usize,
    online: Counts,
}

/// For the foot of show peers.
#[derive(Debug, Default)]
struct Counts {
    monitored_online: usize,
    monitored_offline: usize,
    unmonitored_online: usize,
    unmonitored_offline: usize,
}

impl Sheet {
    /// The table of a list; `pods` appends a column at the end.
    pub fn new(operation: Operation, pods: bool) -> Self {
        Sheet { operation, pods, realtime: false, begun: false, rows: 0, online: Counts::default() }
    }

    /// The next lines; the head in front of the first.
    ///
    /// chan_sip has the column Realtime only where realtime is configured. Here it is wherever one of the first
    /// entries is a realtime peer.
    pub fn rows(&mut self, entries: &[Entry]) -> String {
        let mut text = String::new();
        if !self.begun {
            let is_realtime = |entry: &Entry| matches!(entry, Entry::Peer(peer) if peer.source != "static");
            self.realtime = entries.iter().any(is_realtime);
            self.begun = true;
            text += &self.head();
        }
        for entry in entries {
            self.rows += 1;
            text += &self.row(entry);
        }
        text
    }

    /// The end of the table; the head too when there was no entry.
    pub fn foot(&mut self) -> String {
        let head = if self.begun { String::new() } else { self.rows(&[]) };
        let (rows, s) = (self.rows, if self.rows == 1 { "" } else { "s" });
        let foot = match &self.operation {
            Operation::ShowPeers { .. } => {
                let Counts { monitored_online, monitored_offline, unmonitored_online, unmonitored_offline } =
                    self.online;
                format!(
                    "{rows} sip peers [Monitored: {monitored_online} online, {monitored_offline} offline \
                     Unmonitored: {unmonitored_online} online, {unmonitored_offline} offline]\n"
                )
            }
            Operation::ShowChannels => format!("{rows} active SIP dialog{s}\n"),
            Operation::ShowChannel { prefix } if rows == 0 => {
                format!("No such SIP Call ID starting with '{}'\n", plain(prefix))
            }
            Operation::ShowChannelStats => format!("{rows} active SIP channel{s}\n"),
            Operation::ShowBridged => format!("{rows} active SIP bridges\n"),
            _ => String::new(),
        };
        head + &foot
    }

    fn head(&self) -> String {
        let line = match self.operation {
            Operation::ShowPeers { .. } => {
                let realtime = if self.realtime { "Realtime" } else { "" };
                peers_line(
                    ["Name/username", "Host", "Dyn", "Forcerport", "Comedia", "ACL", "Port", "Status", "Description"],
                    realtime,
                )
            }
            Operation::ShowUsers { .. } => {
                users_line(["Username", "Secret", "Accountcode", "Def.Context", "ACL", "Forcerport"])
            }
            Operation::ShowChannels => {
                let hold = cell("Hold", 7);
                channels_line(["Peer", "User/ANR", "Call ID", "Format"], &hold, ["Last Message", "Expiry", "Peer"])
            }
            Operation::ShowChannelStats => {
                "Peer             Call ID      Duration Recv: Pack  Lost       (     %) Jitter Send: Pack  Lost       (     %) Jitter"
                    .to_owned()
            }
            Operation::ShowBridged => {
                bridges_line(["Peer", "Call ID", "Peer", "Call ID", "Format", "Duration"])
            }
            Operation::ShowInUse { .. } => in_use_line(["* Peer name", "In use", "Limit"]),
            // Show channel has no head; what is no list has no table.
            _ => return String::new(),
        };
        self.ended(line, "Pod")
    }

    fn row(&mut self, entry: &Entry) -> String {
        match entry {
            Entry::Peer(peer) => {
                self.online.add(peer);
                self.ended(self.peer(peer), &peer.pod)
            }
            Entry::User(user) => self.ended(user_row(user), ""),
            Entry::Channel(leg) if matches!(self.operation, Operation::ShowChannel { .. }) => {
                channel(leg, self.pods)
            }
            Entry::Channel(leg) => self.ended(channel_row(leg), &leg.pod),
            Entry::ChannelStats(stats) => self.ended(stats_row(stats), &stats.pod),
            Entry::Bridge(bridge) => self.ended(bridge_row(bridge), &bridge.pod),
            Entry::InUse(in_use) => self.ended(in_use_row(in_use), ""),
        }
    }

    /// The line, and with `--pods` one more column.
    fn ended(&self, line: String, pod: &str) -> String {
        if self.pods { format!("{line} {}\n", plain(pod)) } else { format!("{line}\n") }
    }

    fn peer(&self, peer: &pb::Peer) -> String {
        let name = match peer.username.as_str() {
            "" => peer.name.clone(),
            username => format!("{}/{username}", peer.name),
        };
        let host = if peer.host.is_empty() { "(Unspecified)" } else { &peer.host };
        let (dynamic, acl) = (if peer.dynamic { " D " } else { "" }, if peer.acl { " A " } else { "" });
        let realtime = if peer.source == "static" {
            ""
        } else if peer.source == "cached" {
            "Cached RT"
        } else {
            "RT"
        };
        let port = peer.port.to_string();
        let cells = [
            &name,
            host,
            dynamic,
            &peer.force_rport,
            &peer.comedia,
            acl,
            &port,
            &peer.status,
            &peer.description,
        ];
        peers_line(cells, realtime)
    }
}

impl Counts {
    fn add(&mut self, peer: &pb::Peer) {
        let count = match (peer.monitored, is_online(peer)) {
            (true, true) => &mut self.monitored_online,
            (true, false) => &mut self.monitored_offline,
            (false, true) => &mut self.unmonitored_online,
            (false, false) => &mut self.unmonitored_offline,
        };
        *count += 1;
    }
}

/// Answered at all, or, where nobody asks, has an address.
fn is_online(peer: &pb::Peer) -> bool {
    if peer.monitored {
        peer.status.starts_with("OK") || peer.status.starts_with("LAGGED")
    } else {
        !peer.host.is_empty() && peer.port != 0
    }
}

fn peers_line(cells: [&str; 9], realtime: &str) -> String {
    let [name, host, dynamic, force_rport, comedia, acl, port, status, description] = cells;
    format!(
        "{} {} {} {} {} {} {} {} {} {realtime}",
        cell(name, 25),
        cell(host, 39),
        cell(dynamic, 3),
        cell(force_rport, 10),
        cell(comedia, 10),
        cell(acl, 3),
        at_least(port, 8),
        at_least(status, 11),
        cell(description, 32),
    )
}

fn users_line(cells: [&str; 6]) -> String {
    let [name, secret, account, context, acl, force_rport] = cells;
    format!(
        "{}  {}  {}  {}  {}{}",
        cell(name, 25),
        cell(secret, 15),
        cell(account, 15),
        cell(context, 15),
        cell(acl, 5),
        cell(force_rport, 10)
    )
}

fn user_row(user: &pb::User) -> String {
    // chan_sip prints the secret itself in this column.
    let secret = if user.secret_set { "<Set>" } else { "" };
    users_line([&user.name, secret, &user.accountcode, &user.context, yes_no(user.acl), &user.force_rport])
}

fn channels_line(before: [&str; 4], hold: &str, after: [&str; 3]) -> String {
    let [address, user, call_id, format] = before.map(|text| cell(text, 15));
    let [message, expiry, peer] = after;
    format!(
        "{address}  {user}  {call_id}  {format}  {hold}  {} {} {}",
        cell(message, 15),
        cell(expiry, 10),
        cell(peer, 10)
    )
}

fn channel_row(leg: &pb::Channel) -> String {
    let user = if leg.user.is_empty() { "(None)" } else { &leg.user };
    let peer = if leg.peer.is_empty() { "<guest>" } else { &leg.peer };
    let ending = if leg.ending { "(d)" } else { "" };
    let hold = format!("{} {}", cell(yes_no(leg.hold), 3), cell(ending, 3));
    let format = formats(&leg.formats);
    channels_line([&leg.peer_address, user, &leg.call_id, &format], &hold, [&leg.last_message, "", peer])
}

fn stats_row(stats: &pb::ChannelStats) -> String {
    let received_share = share(stats.received_lost, stats.received.saturating_add(stats.received_lost));
    let sent_share = share(stats.sent_lost, stats.sent);
    let count = |packets: u64| if packets > 100_000 { (packets / 1000, "K") } else { (packets, " ") };
    let ((received, received_k), (sent, sent_k)) = (count(stats.received), count(stats.sent));
    format!(
        "{}  {}  {} {received:010}{received_k} {:010} ({received_share:5.2}%) {} {sent:010}{sent_k} {:010} ({sent_share:5.2}%) {}",
        cell(&stats.peer_address, 15),
        cell(&stats.call_id, 11),
        cell(&clock(stats.duration), 8),
        stats.received_lost,
        jitter(stats.received_jitter_us),
        stats.sent_lost,
        jitter(stats.sent_jitter_us),
    )
}

/// Per cent.
fn share(lost: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { lost as f64 / of as f64 * 100.0 }
}

/// Seconds, `%-6.4lf`.
fn jitter(microseconds: u32) -> String {
    format!("{:<6.4}", f64::from(microseconds) / 1e6)
}

fn bridges_line(cells: [&str; 6]) -> String {
    let [peer_a, call_a, peer_b, call_b, format, duration] = cells;
    format!(
        "{}  {}  {}  {}  {}  {}",
        cell(peer_a, 15),
        cell(call_a, 15),
        cell(peer_b, 15),
        cell(call_b, 15),
        cell(format, 15),
        cell(duration, 8)
    )
}

fn bridge_row(bridge: &pb::Bridge) -> String {
    let format = match bridge.format.as_str() {
        "" => "(nothing)".to_owned(),
        codec => format!("({codec})"),
    };
    bridges_line([
        &bridge.peer_a,
        &bridge.call_id_a,
        &bridge.peer_b,
        &bridge.call_id_b,
        &format,
        &clock(bridge.duration),
    ])
}

fn in_use_line(cells: [&str; 3]) -> String {
    let [name, used, limit] = cells;
    // chan_sip ends these lines with a blank.
    format!("{} {} {} ", cell(name, 25), cell(used, 15), cell(limit, 15))
}

fn in_use_row(in_use: &pb::InUse) -> String {
    let used = format!("{}/{}/{}", in_use.in_use, in_use.ringing, in_use.on_hold);
    let limit = in_use.limit.map_or_else(|| "N/A".to_owned(), |limit| limit.to_string());
    in_use_line([&in_use.name, &used, &limit])
}
