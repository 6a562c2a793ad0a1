//! Why there is no dialog, and why a request does not fit into one.

/// Why a message makes no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// Contact is missing where §8.1.1.8 wants it, or is not exactly one SIP URI.
    #[error("a Contact with one SIP URI is wanted")]
    Contact,
    /// Record-Route cannot be read.
    #[error("Record-Route cannot be read")]
    RecordRoute,
    /// CSeq cannot be read.
    #[error("CSeq cannot be read")]
    CSeq,
    /// From or To cannot be read.
    #[error("From or To cannot be read")]
    Party,
    /// The response has no To tag: it makes no dialog (§12.1).
    #[error("the response has no To tag")]
    NoTag,
}

/// A request whose CSeq is not higher than that of the one before (§12.2.2): answered 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq {got} is not above {last}")]
pub struct OutOfOrder {
    /// Its number.
    pub got: u32,
    /// The highest so far.
    pub last: u32,
}
