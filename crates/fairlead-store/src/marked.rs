//! Peers that somebody looks after ([`fairlead_model::provision`]): which columns are whose, and whether a row still is
//! what was written.
//!
//! Beside the mark a row holds the sum of all columns that its writer gave it ([`SUM`]): without asking the writer it can
//! be told that somebody else changed one.

use fairlead_model::peer::row::RUNTIME_COLUMNS;
use fairlead_model::provision::{GENERATION, Mark, ORIGIN, Provision, Provisioned, UID};
use sha2::{Digest, Sha256};

use crate::record::Columns;

/// Column of the sum: the first 128 bits of SHA-256 over all columns but this and those that SIP writes, hexadecimal.
pub const SUM: &str = "fairlead_sum";

/// Columns that SIP writes into the row of a dynamic peer besides [`RUNTIME_COLUMNS`].
const USER: &str = "defaultuser";

/// Whether the peer of this row registers.
pub fn is_dynamic(row: &Columns) -> bool {
    row.get("host").is_none_or(|host| host.trim().is_empty() || host.trim().eq_ignore_ascii_case("dynamic"))
}

/// The columns that SIP writes into such a row. A static host's port and user are configured.
pub fn runtime_columns(dynamic: bool) -> impl Iterator<Item = &'static str> {
    let configured = move |column: &&str| dynamic || *column != "port";
    RUNTIME_COLUMNS.into_iter().filter(configured).chain(dynamic.then_some(USER))
}

fn is_runtime(column: &str, dynamic: bool) -> bool {
    runtime_columns(dynamic).any(|runtime| runtime == column)
}

/// The mark of a row, if it has one.
pub fn mark_of(row: &Columns) -> Option<Mark> {
    let text = |column: &str| row.get(column).cloned().unwrap_or_default();
    Some(Mark {
        uid: row.get(UID).filter(|uid| !uid.is_empty())?.clone(),
        origin: text(ORIGIN),
        generation: text(GENERATION),
    })
}

/// All columns that are written for it: its own, the mark, and the sum of both.
pub fn row_of(peer: &Provision) -> Columns {
    let dynamic = is_dynamic(&peer.columns);
    let mut row: Columns = peer
        .columns
        .iter()
        .filter(|(column, value)| !(value.is_empty() || dynamic && *column == "port"))
        .map(|(column, value)| (column.clone(), value.clone()))
        .collect();
    row.insert(ORIGIN.to_owned(), peer.mark.origin.clone());
    row.insert(UID.to_owned(), peer.mark.uid.clone());
    row.insert(GENERATION.to_owned(), peer.mark.generation.clone());
    let sum = sum(&row);
    row.insert(SUM.to_owned(), sum);
    row
}

fn sum(row: &Columns) -> String {
    let dynamic = is_dynamic(row);
    let mut all = Sha256::new();
    for (column, value) in row.iter().filter(|(column, _)| *column != SUM && !is_runtime(column, dynamic)) {
        for part in [column, value] {
            // Behind its length, so that no two rows are the same.
            all.update((part.len() as u64).to_be_bytes());
            all.update(part.as_bytes());
        }
    }
    all.finalize().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

/// Whether a marked row is no longer what was written under its mark.
pub fn has_drifted(row: &Columns) -> bool {
    mark_of(row).is_some() && row.get(SUM).map(String::as_str) != Some(sum(row).as_str())
}

/// What a row has to become, and what is said of it; `None` when nothing is to be written. `redis/scripts/provision.lua`
/// does the same.
pub fn provisioned(stored: Option<&Columns>, peer: &Provision) -> (Option<Columns>, Provisioned) {
    let wanted = row_of(peer);
    let Some(stored) = stored else {
        return (Some(wanted), Provisioned::Written { put_right: Vec::new(), silent: Vec::new() });
    };
    let mark = mark_of(stored);
    let ours = mark.as_ref().is_some_and(|mark| {
        mark.uid == peer.mark.uid || (!peer.instead_of.is_empty() && mark.uid == peer.instead_of)
    });
    if !ours {
        return (None, Provisioned::Taken(mark));
    }
    let same = mark.as_ref() == Some(&peer.mark);
    let dynamic = is_dynamic(&wanted);
    let counts = |column: &&String| !(same && is_runtime(column, dynamic));
    let wrong = wanted.iter().filter(|(column, value)| stored.get(*column) != Some(*value));
    let excess = stored.keys().filter(|column| !wanted.contains_key(*column) && !is_runtime(column, dynamic));
    let mut changed: Vec<String> =
        wrong.map(|(column, _)| column).filter(counts).chain(excess).cloned().collect();
    if changed.is_empty() {
        return (None, Provisioned::Unchanged);
    }
    let mut row: Columns = stored
        .iter()
        .filter(|(column, _)| is_runtime(column, dynamic))
        .map(|(column, value)| (column.clone(), value.clone()))
        .collect();
    row.extend(wanted.into_iter().filter(|(column, _)| counts(&column)));
    changed.sort_unstable();
    changed.retain(|column| column != SUM);
    let put_right = if same { changed } else { Vec::new() };
    (Some(row), Provisioned::Written { put_right, silent: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(&str, &str)]) -> Columns {
        pairs.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect()
    }

    fn peer(pairs: &[(&str, &str)]) -> Provision {
        let mark =
            Mark { origin: "sippeer/sip/ann".to_owned(), uid: "u1".to_owned(), generation: "1".to_owned() };
        Provision {
            name: "ann".to_owned(),
            columns: row(pairs),
            mark,
            instead_of: String::new(),
            forget: false,
        }
    }

    #[test]
    fn what_sip_writes_is_no_drift_and_what_people_write_is() {
        let mut row = row_of(&peer(&[("secret", "hush"), ("context", "phones")]));
        assert!(!has_drifted(&row));
        row.insert("ipaddr".to_owned(), "192.0.2.1".to_owned());
        row.insert("port".to_owned(), "40000".to_owned());
        assert!(!has_drifted(&row));
        row.insert("context".to_owned(), "default".to_owned());
        assert!(has_drifted(&row));
    }

    #[test]
    fn the_port_of_a_static_host_is_configured() {
        let mut row = row_of(&peer(&[("host", "192.0.2.9"), ("port", "5080")]));
        assert_eq!(row.get("port").map(String::as_str), Some("5080"));
        row.insert("port".to_owned(), "5060".to_owned());
        assert!(has_drifted(&row));
    }

    #[test]
    fn a_row_without_a_mark_has_not_drifted() {
        assert!(!has_drifted(&row(&[("secret", "hush")])));
    }
}
