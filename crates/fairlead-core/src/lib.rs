//! The transaction user: all that one signaling shard decides, composed from the pure machines below it.
//!
//! One input, drain all outputs, sleep until the timeout:
//! [`Core::handle`](core::Core::handle) with an [`Input`](input::Input), [`Core::poll_output`](core::Core::poll_output)
//! until `None`, [`Core::poll_timeout`](core::Core::poll_timeout), [`Core::handle_timeout`](core::Core::handle_timeout).

pub mod addresses;
pub mod core;
pub mod input;
pub mod mint;
pub mod output;
pub mod random;
pub mod route_message;
mod timers;

pub use crate::core::{Core, Limits, Open, Statistics};
