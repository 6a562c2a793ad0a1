//! Generated gRPC code and the conversions between it and our words.
//!
//! [`link`] has the two ports on a message's path as roles see them, [`operator`] those of the operator's door;
//! [`server`] puts an implementation of a port behind gRPC, [`client`] is the port again at the other end;
//! [`generated`] is what the build makes of `proto/`; [`convert`] goes between it and our words.

pub mod attached;
pub mod client;
pub mod convert;
pub mod link;
pub mod operator;
pub mod provisioning;
pub mod server;
pub mod tls;
pub mod trace;

/// What the build makes of the files under `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/fairlead.rs"));
}

pub use generated::fairlead::{admin, common, media, registrar, signaling};

/// All services and messages, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fairlead_descriptor.bin"));
