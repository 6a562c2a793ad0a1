//! What objects are told of their peers.
//!
//! `status/planner.rs` decides which status is written next, and when none is; `status/compose.rs` makes it.

mod compose;
mod planner;

pub use compose::{View, is_served};
pub use planner::{Outcome, StatusPlanner, Write};
