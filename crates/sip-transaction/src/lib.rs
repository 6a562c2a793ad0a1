//! The transactions of RFC 3261 §17 with RFC 6026 and RFC 4320, without sockets and without a clock.
//!
//! [`Transactions`] is the table of one shard: hand it each message ([`Transactions::handle_request`],
//! [`Transactions::handle_response`]), open transactions, respond, then drain [`Transactions::poll_output`] and
//! sleep until [`Transactions::poll_timeout`]. The four machines below it are plain values that decide; the table
//! keeps their messages, keys and timers.

mod client_invite;
mod client_non_invite;
mod error;
mod incoming;
mod key;
mod machine;
mod output;
mod requests;
mod schedule;
mod server_invite;
mod server_non_invite;
mod slots;
mod table;
mod timers;

pub use client_invite::ClientInvite;
pub use client_non_invite::ClientNonInvite;
pub use error::{NotOpened, NotSent};
pub use incoming::{Received, Request};
pub use machine::{Send, Step, Tell};
pub use output::{Failure, Output};
pub use server_invite::ServerInvite;
pub use server_non_invite::ServerNonInvite;
pub use slots::TransactionId;
pub use table::{Cancelled, Limits, Transactions};
pub use timers::Timers;
