//! Why something was not done.

/// Why a transaction was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The table is full.
    #[error("there are too many transactions")]
    Full,
    /// The message has no top Via with a branch, or no CSeq.
    #[error("the request cannot be matched: it lacks a branch or a CSeq")]
    Unmatchable,
    /// There is one with this key.
    #[error("there is a transaction with this branch already")]
    Exists,
}

/// Why a response was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The transaction is over.
    #[error("the transaction is over")]
    Gone,
    /// A final response was given before.
    #[error("a final response was given before")]
    AlreadyFinal,
    /// RFC 4320 does not allow this response to a request that is no INVITE (now).
    #[error("RFC 4320 forbids this response to a request other than INVITE")]
    Forbidden,
}
