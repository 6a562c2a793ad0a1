//! `SipPeer` objects become realtime peers.
//!
//! `peers/plan.rs` decides, with `peers/claims.rs` (who has which SIP name) and `peers/secrets.rs`; `peers/verdict.rs` is
//! what an object is told.

mod claims;
mod plan;
mod secrets;
mod verdict;

pub use claims::{Key, Wanted};
pub use plan::{Action, PeerPlan, Told};
pub use secrets::{SecretRef, Value};
pub use verdict::Verdict;
