//! What a message that came in turned out to be.

use crate::TransactionId;
#[cfg(doc)]
use crate::Transactions;

/// What a request that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Of no transaction: check it and open one with [`Transactions::open_server`], or answer it without.
    New,
    /// A CANCEL, itself new, and the INVITE it is for, if that is known and not finally answered. Without one the
    /// answer is 481 (§9.2).
    Cancel {
        /// The transaction to be cancelled.
        invite: Option<TransactionId>,
    },
    /// An ACK that is not for a non-2xx response of ours: by its dialog it belongs to a 2xx, or to nothing. Over
    /// the transaction of the INVITE only when the sender used its branch again (RFC 2543).
    Ack,
    /// The ACK that a non-2xx response waited for. Nothing to do.
    Acknowledged(TransactionId),
    /// A repetition; the last response, if any, was sent again. Nothing to do.
    Retransmission(TransactionId),
    /// It has no top Via or CSeq to be matched by. Nothing was done.
    Unmatchable,
}

/// What a response that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// For the user of this transaction. A 2xx to an INVITE may come repeatedly and with several To tags
    /// (RFC 6026 §7.2). [`Transactions::user`] knows who that is, even when this response ended it.
    ForUser(TransactionId),
    /// A repetition or of no interest (answers to a CANCEL). Nothing to do.
    Absorbed,
    /// Of no transaction, or a 2xx for an INVITE that ended otherwise. A 2xx may be of a dialog whose ACK was
    /// lost (§13.2.2.4); everything else is dropped.
    Stray,
}
