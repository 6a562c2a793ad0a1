//! Pods that prove who they are, over real connections on the loopback.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

mod authority;
mod crowds;
mod desk;
mod pod;
mod renewal;
mod trusting;
mod who;

/// The domain of this edge: certificates name a role as `ROLE.DOMAIN`.
const DOMAIN: &str = "edge.sip";
