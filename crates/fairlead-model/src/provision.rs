//! Peers that somebody else looks after: the operator role writes a realtime peer for each `SipPeer` object and marks it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::operator::PeerView;

/// Column of the mark: which object a realtime peer was made from (`sippeer/NAMESPACE/NAME`).
pub const ORIGIN: &str = "fairlead_origin";
/// Column of the mark: that object's UID.
pub const UID: &str = "fairlead_uid";
/// Column of the mark: its generation, and what of its Secrets went in, as the writer puts it.
pub const GENERATION: &str = "fairlead_generation";

/// Whose a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// `sippeer/NAMESPACE/NAME`.
    pub origin: String,
    /// UID of the object.
    pub uid: String,
    /// Its generation, as the writer puts it.
    pub generation: String,
}

/// A peer as it is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Provision {
    /// Its name.
    pub name: String,
    /// Columns of `sippeers`, without the mark and without those that SIP writes back. Columns that the peer has beside
    /// these are removed.
    pub columns: BTreeMap<String, String>,
    /// Whose it is.
    pub mark: Mark,
    /// The UID of a mark that this one may take the name from (the older claim was given up); empty for none.
    pub instead_of: String,
    /// Whether every registrar is to forget what it holds also when the peer is so already: an attempt before this one may
    /// have written it without all of them having heard so.
    pub forget: bool,
}

impl std::fmt::Debug for Provision {
    /// Without what the columns hold: passwords are among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provision")
            .field("name", &self.name)
            .field("columns", &self.columns.keys())
            .field("mark", &self.mark)
            .field("instead_of", &self.instead_of)
            .field("forget", &self.forget)
            .finish()
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// It is as it should be now, and every registrar that is there has forgotten what it held before.
    Written {
        /// Columns that somebody else had changed since this mark was written; empty when it is new or its mark moved on.
        put_right: Vec<String>,
        /// Names of registrars that did not say that they have forgotten it.
        silent: Vec<String>,
    },
    /// It was so already, mark included.
    Unchanged,
    /// The name is somebody else's: another mark, or `None` for a peer without one (or a static peer).
    Taken(Option<Mark>),
    /// Options with values that no peer can have; nothing was written.
    Invalid(Vec<String>),
}

/// What came of removing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is gone, its contacts with it, and registrars have forgotten it.
    Removed,
    /// Nobody has that name.
    Absent,
    /// It is not this object's.
    NotYours,
}

/// A marked peer, as lists give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub mark: Mark,
}

/// What happens to peers, for somebody who follows it.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerNews {
    /// A peer's registration or state is this now (first of all: of every peer that has a contact or is monitored).
    Peer(Box<PeerView>),
    /// This peer has gone: nobody has that name any more.
    Gone(String),
    /// All that was there at the beginning has been told.
    Told,
    /// The store is there and was emptied: what was written before is to be written again.
    Emptied,
    /// The store is there again after it was away: what was written last may be lost (a replica took over), so it is to be
    /// compared.
    Resumed,
    /// A peer's record was changed by somebody (its columns, not its registration).
    Changed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_to_be_is_printed_without_what_its_columns_hold() {
        let columns = BTreeMap::from([("secret".to_owned(), "sesame".to_owned())]);
        let mark = Mark { origin: String::new(), uid: String::new(), generation: String::new() };
        let peer =
            Provision { name: "ann".to_owned(), columns, mark, instead_of: String::new(), forget: false };
        let printed = format!("{peer:?}");
        assert!(printed.contains("\"secret\"") && !printed.contains("sesame"), "{printed}");
    }
}
