//! What the table wants done.

use bytes::Bytes;

use crate::TransactionId;
#[cfg(doc)]
use crate::Transactions;

/// Something to be done or known, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<D> {
    /// Send this message. Should that fail, say so with [`Transactions::transport_error`].
    Send {
        /// Whose it is.
        transaction: TransactionId,
        /// What the user gave when it opened the transaction.
        user: D,
        /// The message.
        message: Bytes,
        /// Whether it was sent before.
        again: bool,
    },
    /// It did not work out. A client transaction ends with this; a server transaction goes on absorbing.
    Failed {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
        /// Why.
        why: Failure,
    },
    /// Nobody has answered this request yet and it is time for a 100: build one and
    /// [`respond`](Transactions::respond) with it.
    TryingDue {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
    },
    /// The transaction is gone.
    Ended {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
    },
}

/// Why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No response in time: like a 408 (§8.1.3.1).
    Timeout,
    /// A message could not be sent: like a 503 (§8.1.3.1).
    Transport,
    /// A final response to an INVITE was never acknowledged.
    NoAck,
}
