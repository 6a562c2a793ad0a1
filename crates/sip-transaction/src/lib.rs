//! The transactions of RFC 3261 §17 with RFC 6026 and RFC 4320, without sockets and without a clock.
//!
//! [`Transactions`] is the table of one shard: hand it each message ([`Transactions::handle_request`],
//! [`Transactions::handle_response`]), open transactions, respond, then drain [`Transactions::poll_output`] and
//! sleep until [`Transactions::poll_timeout`]. The four machines below it are plain values that decide; the table
//! keeps their messages, keys and timers.

mod client_invite;
mod client_non_invite;
mod key;
mod machine;
mod requests;
mod schedule;
mod server_invite;
mod server_non_invite;
mod table;
mod timers;

pub use client_invite::ClientInvite;
pub use client_non_invite::ClientNonInvite;
pub use machine::{Send, Step, Tell};
pub use server_invite::ServerInvite;
pub use server_non_invite::ServerNonInvite;
pub use table::{
    Cancelled, Failure, Limits, NotOpened, NotSent, Output, Received, Request, TransactionId, Transactions,
};
pub use timers::Timers;
