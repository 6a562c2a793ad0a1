//! Fairlead's words: peers, bindings, flows, questions to the registrar, orders to the relay,
//! and what the operator sees. Everything here is a value; nothing here acts.
//!
//! A signaling shard asks the registrar ([`ask`]), orders relays ([`relay`]), writes
//! [`checkpoint`]s and shows [`channel`]s; the registrar keeps [`binding`]s of [`peer`]s that are
//! reached by [`flow`]s; all of them know each other by [`member`]ship.

pub mod ask;
pub mod binding;
pub mod channel;
pub mod checkpoint;
pub mod flow;
pub mod id;
pub mod member;
pub mod operator;
pub mod peer;
pub mod provision;
pub mod relay;
pub mod surroundings;
