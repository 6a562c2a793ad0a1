//! What every role needs to run, and nothing that only one of them needs.
//!
//! In the order in which a program meets it: [`settings`] are read and checked before anything else happens;
//! [`identity`] says who this process is; [`telemetry`] turns on logs and traces; [`metrics`] and [`health`] are
//! what the outside may ask, through [`http`]; [`drain`] ends it all.

pub mod build;
pub mod common;
pub mod diagnosis;
pub mod drain;
pub mod health;
pub mod http;
pub mod identity;
pub mod listen;
pub mod metrics;
pub mod settings;
pub mod telemetry;
pub mod trace;
