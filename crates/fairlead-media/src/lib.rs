//! The media role: relay workers, ports, latching, statistics, and its gRPC service.
//!
//! [`Relay`] is the whole of it in this process and implements [`RelayPort`](fairlead_proto::link::RelayPort);
//! [`run`] puts it behind gRPC and makes it a member of the cluster.

mod batch;
mod config;
mod diagnosis;
mod hairpin;
mod metrics;
mod negotiation;
mod ports;
mod relay;
mod role;
mod session;
mod slices;
mod wake;
mod worker;

pub use config::{Config, HEAR_LIMIT, Network, Place, StartError};
pub use diagnosis::Doctor;
pub use relay::Relay;
pub use role::{Grpc, RunError, run};
pub use slices::{BadSlices, NoSlice, Slices};
