//! The transaction user: all that one signaling shard decides, composed from the pure machines below it.
//!
//! One input, drain all outputs, sleep until the timeout:
//! [`Core::handle`](crate::core::Core) with an [`Input`](crate::input::Input), `poll_output` until `None`, `poll_timeout`.

pub mod input;
pub mod output;
