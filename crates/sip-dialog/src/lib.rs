//! Dialogs of RFC 3261 §12 without sockets and without a clock: creation on both sides, early dialogs by To tag,
//! route set, remote target, CSeq, the 2xx that is repeated until its ACK (§13.3.1.4) and the ACK that is
//! repeated for each 2xx (§13.2.2.4).
//!
//! [`Dialog`] is a value that can be written down ([`serde`]) and gone on with elsewhere ([`Dialog::resumed`]).

mod acks;
mod dialog;
mod error;
mod forks;
mod id;
mod request;
mod routes;
mod unacknowledged;

pub use acks::Acks;
pub use dialog::{Dialog, State};
pub use error::{DialogError, OutOfOrder};
pub use forks::{Fork, Forks};
pub use id::DialogId;
pub use request::InDialog;
pub use unacknowledged::{Due, Unacknowledged};
