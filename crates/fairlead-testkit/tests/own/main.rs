//! The bench against itself, and our machines against the bench.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agent;
mod agent_and_phone;
mod phones;
