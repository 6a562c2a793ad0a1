//! Location: what a REGISTER changes, who is called first, where a flow has gone (RFC 3261 §10).
//!
//! [`plan`] turns a request, the bindings a peer has and the time into a [`Plan`]: all of its changes or a
//! refusal, never a part. The store applies it in one step, if the record is still the one it was planned from.
//! [`order`] says who is called, [`first`] whose row the operator sees, [`move_flow`] what a phone's packet at
//! another pod does, [`expired`], [`closed`] and [`unregistered`] how bindings end without a REGISTER.
//! Nothing here reads a clock or a store.

mod columns;
mod contact;
mod ending;
mod moving;
mod order;
mod register;

#[cfg(test)]
mod bench;

pub use columns::runtime_columns;
pub use contact::same_contact;
pub use ending::{Ending, closed, expired, unregistered};
pub use moving::{DAMPING_MS, Move, move_flow};
pub use order::{first, order};
pub use register::{Plan, Turned, plan};
