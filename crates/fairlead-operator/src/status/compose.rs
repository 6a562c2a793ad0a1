//! A status from what is known, and how it differs from the one that was written.

use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::operator::{NatView, PeerView};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::crd::{ContactStatus, Row, SipPeerSpec, SipPeerStatus};
use crate::peers::Verdict;

/// A latency below this is as good as this: phones on one's own network answer in one millisecond or in three.
const LATENCY_FLOOR: i64 = 10;

/// Contacts that a status shows, values of Path of each, and characters of what a phone wrote. A status is written as a whole,
/// and the API server takes 1.5 MB: a phone must not be able to make one that is refused again and again.
const CONTACTS: usize = 16;
const PATHS: usize = 8;
const CHARACTERS: usize = 512;

/// Whether phones can be called, in the words of the status.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub(super) state: String,
    pub(super) latency_ms: Option<i64>,
    pub(super) contacts: Vec<ContactStatus>,
    pub(super) row: Row,
    pub(super) is_dynamic: bool,
}

impl View {
    /// Of a peer as a registrar tells it.
    pub fn of(peer: &PeerView) -> Self {
        let contacts: Vec<ContactStatus> = peer
            .contacts
            .iter()
            .take(CONTACTS)
            .map(|contact| ContactStatus {
                uri: shown(&contact.uri),
                address: host_port(&contact.address.host, contact.address.port),
                transport: contact.transport.clone(),
                user_agent: shown(&contact.user_agent),
                state: if peer.monitored { word(contact.qualify.state).to_owned() } else { String::new() },
                latency_ms: latency(peer.monitored, contact.qualify),
                path: contact.path.iter().take(PATHS).map(|value| shown(value)).collect(),
            })
            .collect();
        let name_username = match peer.username.as_str() {
            "" => peer.name.clone(),
            user => format!("{}/{user}", peer.name),
        };
        let (host, port) = match &peer.address {
            Some(address) => (address.host.clone(), i32::from(address.port)),
            None => ("(Unspecified)".to_owned(), 0),
        };
        View {
            state: if peer.monitored { word(peer.qualify.state) } else { UNMONITORED }.to_owned(),
            latency_ms: latency(peer.monitored, peer.qualify),
            contacts,
            row: Row {
                name_username,
                host,
                dynamic: if peer.dynamic { "D" } else { "" }.to_owned(),
                forcerport: peer.force_rport.word().to_owned(),
                comedia: peer.comedia.word().to_owned(),
                acl: if peer.acl { "A" } else { "" }.to_owned(),
                port,
                status: row_status(peer),
                description: peer.description.clone(),
            },
            is_dynamic: peer.dynamic,
        }
    }

    /// Of a peer of which no registrar has told anything: nobody has registered. What `[general]` says of `nat` is not
    /// known here, so chan_sip's own default stands until it is.
    pub fn unregistered(sip_name: &str, spec: &SipPeerSpec) -> Self {
        let is_dynamic = spec.is_dynamic();
        let is_monitored = spec.qualify.unwrap_or(spec.qualify_limit.is_some());
        let (forcerport, comedia) = spec.nat_views().unwrap_or((NatView::AutoNo, NatView::No));
        let peer = PeerView {
            name: sip_name.to_owned(),
            username: spec.default_user.as_ref().map(|user| user.0.clone()).unwrap_or_default(),
            address: (!is_dynamic).then(|| fairlead_model::operator::PeerAddress {
                host: spec.host.clone().unwrap_or_default(),
                port: spec.port.and_then(|port| u16::try_from(port.0).ok()).unwrap_or(5060),
            }),
            dynamic: is_dynamic,
            force_rport: forcerport,
            comedia,
            acl: spec.has_acl(),
            monitored: is_monitored,
            description: spec.description.as_ref().map(|text| text.0.clone()).unwrap_or_default(),
            ..PeerView::default()
        };
        View::of(&peer)
    }

    pub(super) fn is_registered(&self) -> bool {
        !self.contacts.is_empty()
    }

    /// What `since` is about.
    pub(super) fn standing(&self) -> (bool, &str) {
        (self.is_registered(), &self.state)
    }
}

const UNMONITORED: &str = "Unmonitored";

fn word(state: QualifyState) -> &'static str {
    match state {
        QualifyState::Unknown => "UNKNOWN",
        QualifyState::Ok => "OK",
        QualifyState::Lagged => "LAGGED",
        QualifyState::Unreachable => "UNREACHABLE",
    }
}

fn latency(is_monitored: bool, qualify: Qualify) -> Option<i64> {
    let is_known = matches!(qualify.state, QualifyState::Ok | QualifyState::Lagged);
    // As `sip show peers`: an answer within a millisecond took one.
    (is_monitored && is_known).then(|| i64::from(qualify.rtt_ms.max(1)))
}

/// As the console shows it.
fn row_status(peer: &PeerView) -> String {
    match latency(peer.monitored, peer.qualify) {
        Some(ms) => format!("{} ({ms} ms)", word(peer.qualify.state)),
        None if peer.monitored => word(peer.qualify.state).to_owned(),
        None => UNMONITORED.to_owned(),
    }
}

/// What a phone wrote, as it can be shown on a terminal: kubectl prints a field as it is.
fn shown(text: &str) -> String {
    let is_unseen =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().take(CHARACTERS).map(|c| if is_unseen(c) { '?' } else { c }).collect()
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What a status is made from.
pub(super) struct Facts<'a> {
    pub verdict: Option<&'a (i64, Verdict)>,
    /// `None` while it is not known, or where the object does not have its name.
    pub view: Option<&'a View>,
    /// When `view` came to stand as it does.
    pub since: Timestamp,
    pub now: Timestamp,
    pub before: Option<&'a SipPeerStatus>,
}

/// The status of an object.
pub(super) fn compose(facts: &Facts<'_>) -> SipPeerStatus {
    let before = facts.before.cloned().unwrap_or_default();
    let mut status = SipPeerStatus { observed_at: Some(Time(facts.now)), ..SipPeerStatus::default() };
    if let Some((generation, verdict)) = facts.verdict {
        status.observed_generation = Some(*generation);
        let ready = Condition {
            type_: "Ready".to_owned(),
            status: if verdict.is_ready() { "True" } else { "False" }.to_owned(),
            reason: verdict.reason().to_owned(),
            message: bounded(verdict.message()),
            observed_generation: Some(*generation),
            last_transition_time: Time(facts.now),
        };
        status.conditions.push(ready);
    } else {
        status.observed_generation = before.observed_generation;
        status
            .conditions
            .extend(before.conditions.iter().find(|condition| condition.type_ == "Ready").cloned());
    }
    let holds_name = !matches!(facts.verdict, Some((_, Verdict::NameTaken(_))));
    match facts.view.filter(|_| holds_name) {
        Some(view) => {
            status.state = Some(view.state.clone());
            status.latency_ms = view.latency_ms;
            status.contacts.clone_from(&view.contacts);
            status.row = Some(view.row.clone());
            let stood_so = is_registered(&before) == Some(view.is_registered())
                && before.state.as_deref() == Some(view.state.as_str());
            status.since = before.since.filter(|_| stood_so).or(Some(Time(facts.since)));
            let (state, reason, message) = match (view.is_registered(), view.is_dynamic) {
                (true, _) => ("True", "Registered", "it has a contact"),
                (false, true) => ("False", "NotRegistered", "it has no contact"),
                (false, false) => {
                    ("False", "FixedHost", "it is reached at a fixed address and does not register")
                }
            };
            status.conditions.push(Condition {
                type_: "Registered".to_owned(),
                status: state.to_owned(),
                reason: reason.to_owned(),
                message: message.to_owned(),
                observed_generation: status.observed_generation,
                last_transition_time: Time(facts.since),
            });
        }
        // It has no peer, so there is nothing to tell of one.
        None if !holds_name => {}
        None => {
            status.state = before.state;
            status.latency_ms = before.latency_ms;
            status.contacts = before.contacts;
            status.row = before.row;
            status.since = before.since;
            status.conditions.extend(before.conditions.iter().filter(|c| c.type_ == "Registered").cloned());
        }
    }
    for condition in &mut status.conditions {
        let same =
            before.conditions.iter().find(|c| c.type_ == condition.type_ && c.status == condition.status);
        if let Some(same) = same {
            condition.last_transition_time = same.last_transition_time.clone();
        }
    }
    status
}

/// A condition's message has at most 32768 characters; a thousand are enough for anybody.
fn bounded(message: String) -> String {
    match message.char_indices().nth(1000) {
        Some((at, _)) => format!("{}…", message.get(..at).unwrap_or_default()),
        None => message,
    }
}

fn is_registered(status: &SipPeerStatus) -> Option<bool> {
    status.conditions.iter().find(|condition| condition.type_ == "Registered").map(|c| c.status == "True")
}

/// Whether it says that the object is served.
pub(super) fn is_ready(status: &SipPeerStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether it says so of this generation.
pub fn is_served(status: &SipPeerStatus, generation: i64) -> bool {
    status.observed_generation == Some(generation) && is_ready(status)
}

/// How urgent a difference is; the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A phone is gone or cannot be reached, or its peer is not served any more.
    Loss,
    /// A new object, a new verdict, a phone that has come.
    News,
    /// Anything else.
    Change,
    /// Only the latency.
    Latency,
}

/// How the status that ought to be there differs from the one that is, if it is worth a write.
pub(super) fn difference(is: Option<&SipPeerStatus>, ought: &SipPeerStatus) -> Option<Urgency> {
    let Some(is) = is else { return Some(Urgency::News) };
    let may_be_called = |state: &Option<String>| !matches!(state.as_deref(), Some("UNREACHABLE" | "LAGGED"));
    let lost_contact = is_registered(is) == Some(true) && is_registered(ought) != Some(true);
    let lost_service = is_ready(is) && !is_ready(ought);
    if lost_contact || lost_service || (may_be_called(&is.state) && !may_be_called(&ought.state)) {
        return Some(Urgency::Loss);
    }
    let ready = |status: &SipPeerStatus| {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        (status.observed_generation, ready.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone())))
    };
    if ready(is) != ready(ought) || (is_registered(is) != Some(true) && is_registered(ought) == Some(true)) {
        return Some(Urgency::News);
    }
    if still(is) != still(ought) {
        return Some(Urgency::Change);
    }
    let mut latencies = vec![(is.latency_ms, ought.latency_ms)];
    latencies.extend(is.contacts.iter().zip(&ought.contacts).map(|(a, b)| (a.latency_ms, b.latency_ms)));
    latencies.into_iter().any(|(is, ought)| has_doubled(is, ought)).then_some(Urgency::Latency)
}

fn has_doubled(is: Option<i64>, ought: Option<i64>) -> bool {
    match (is, ought) {
        (Some(is), Some(ought)) => {
            let (is, ought) = (is.max(LATENCY_FLOOR), ought.max(LATENCY_FLOOR));
            ought >= is * 2 || ought * 2 <= is
        }
        (is, ought) => is != ought,
    }
}

/// A status without what changes all the time.
fn still(status: &SipPeerStatus) -> SipPeerStatus {
    let mut still = SipPeerStatus {
        observed_at: None,
        since: None,
        latency_ms: None,
        conditions: Vec::new(),
        ..status.clone()
    };
    for contact in &mut still.contacts {
        contact.latency_ms = None;
    }
    if let Some(row) = &mut still.row {
        row.status = row.status.split(' ').next().unwrap_or_default().to_owned();
    }
    still
}

#[cfg(test)]
mod tests {
    use fairlead_model::operator::{ContactView, PeerAddress};

    use super::*;

    #[test]
    fn what_phones_write_is_bounded_and_does_not_drive_a_terminal() {
        let contact = ContactView {
            uri: format!("sip:ann@192.0.2.1;x={}", "y".repeat(8000)),
            address: PeerAddress { host: "192.0.2.1".to_owned(), port: 5060 },
            user_agent: "\u{1b}[2JPhone\u{202e}\n".to_owned(),
            path: vec!["<sip:p.example.com;lr>".repeat(300); 16],
            ..ContactView::default()
        };
        let view = View::of(&PeerView { contacts: vec![contact; 100], ..PeerView::default() });
        assert_eq!(view.contacts[0].user_agent, "?[2JPhone??");
        assert!(view.contacts[0].uri.starts_with("sip:ann@192.0.2.1;x=y"));
        let facts = Facts {
            verdict: None,
            view: Some(&view),
            since: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            before: None,
        };
        let written = serde_json::to_vec(&compose(&facts)).unwrap();
        assert!(written.len() < 100_000, "{}", written.len());
    }
}
