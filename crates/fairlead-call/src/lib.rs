//! The B2BUA: one call as steps, its legs, attempts and offer/answer machines.
//!
//! [`call::Call`] is one call: two legs, each a dialog of its own, and what passes between them. It writes messages
//! and reads them, but sends none: the core has the transactions, picks the next hop, and tells it the time.

pub mod call;
pub mod caller_gets;
pub mod checkpoint;
pub mod leg;
mod multipart;
pub mod negotiation;
pub mod output;
pub mod passes;
mod time;

pub use time::Now;
