//! chan_sip's tables, to the letter: widths, order, words and blank ends of lines.
//!
//! What somebody sent us is printed without control characters, so that nobody writes on the operator's terminal.

mod around;
mod channel;
mod lists;
mod peer;

use fairlead_model::operator::PruneSelector;
use fairlead_proto::admin::v1 as pb;

pub use around::{addresses, findings};
pub use channel::channel;
pub use lists::Sheet;
pub use peer::{peer, user};

use crate::operation::Operation;

/// A cell of exactly `width`: padded, or cut as `%-15.15s` does.
pub(crate) fn cell(text: &str, width: usize) -> String {
    let mut cell: String = clean(text).take(width).collect();
    pad(&mut cell, width);
    cell
}

/// A cell of at least `width`, as `%-8s` makes it.
pub(crate) fn at_least(text: &str, width: usize) -> String {
    let mut cell: String = clean(text).collect();
    pad(&mut cell, width);
    cell
}

/// Text without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    clean(text).collect()
}

fn clean(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() || is_direction(c) { '?' } else { c })
}

/// Characters that reverse the direction of the text around them.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn pad(cell: &mut String, width: usize) {
    let length = cell.chars().count();
    cell.extend(std::iter::repeat_n(' ', width.saturating_sub(length)));
}

pub(crate) const fn yes_no(value: bool) -> &'static str {
    if value { "Yes" } else { "No" }
}

/// `(ulaw|alaw)`, `(nothing)`
pub(crate) fn formats(names: &[String]) -> String {
    if names.is_empty() { "(nothing)".to_owned() } else { format!("({})", plain(&names.join("|"))) }
}

/// `00:01:07`
pub(crate) fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What `sip prune realtime …` prints.
pub fn pruned(which: &PruneSelector, answer: &pb::PruneRealtimeResponse) -> String {
    match which {
        PruneSelector::Name(name) if answer.pruned > 0 => format!("Peer '{}' pruned.\n", plain(name)),
        PruneSelector::Name(name) if answer.is_static => {
            format!("Peer '{}' is not a Realtime peer, cannot be pruned.\n", plain(name))
        }
        PruneSelector::Name(name) => format!("Peer '{}' not found.\n", plain(name)),
        _ if answer.pruned == 0 => "No peers found to prune.\n".to_owned(),
        _ => format!("{} peers pruned.\n", answer.pruned),
    }
}

/// What `sip unregister NAME` prints when the name is known.
pub fn unregistered(name: &str, answer: &pb::UnregisterResponse) -> String {
    if answer.unregistered {
        format!("Unregistered peer '{}'\n\n", plain(name))
    } else {
        format!("Peer {} not registered\n", plain(name))
    }
}

/// What chan_sip prints where nobody has the name.
pub fn not_found(operation: &Operation) -> String {
    match operation {
        Operation::ShowPeer { name, .. } => format!("Peer {} not found.\n\n", plain(name)),
        Operation::ShowUser { name, .. } => format!("User {} not found.\n\n", plain(name)),
        Operation::Unregister { name } => format!("Peer unknown: '{}'. Not unregistered.\n", plain(name)),
        Operation::QualifyPeer { name, .. } => format!("Peer '{}' not found\n", plain(name)),
        _ => "Not found.\n".to_owned(),
    }
}

/// The pods of the edge.
pub fn pods(answer: &pb::ListPodsResponse) -> String {
    let row = |cells: [&str; 6]| {
        let [name, role, grpc, load, state, version] = cells;
        format!(
            "{} {} {} {} {} {}\n",
            cell(name, 40),
            cell(role, 10),
            cell(grpc, 30),
            cell(load, 8),
            cell(state, 8),
            cell(version, 12)
        )
    };
    let mut text = row(["Pod", "Role", "gRPC", "Load", "State", "Version"]);
    for pod in &answer.pods {
        let state = if pod.draining { "draining" } else { "ready" };
        let grpc = if pod.grpc.is_empty() { "-" } else { &pod.grpc };
        text += &row([&pod.name, &pod.role, grpc, &pod.load.to_string(), state, &pod.version]);
    }
    text + &format!("{} pods\n", answer.pods.len())
}

/// One line that says which pods did not answer.
pub fn missing(pods: &[pb::Missing]) -> String {
    let named =
        |pod: &pb::Missing| format!("{} {} ({})", plain(&pod.role), plain(&pod.pod), plain(&pod.reason));
    let list: Vec<_> = pods.iter().map(named).collect();
    format!("No answer from {}.\n", list.join(", "))
}
