//! The operator role: objects of Kubernetes become what the registrars hold, and what happens there comes back.

pub mod api;
mod around;
pub mod crd;
mod desk;
mod events;
mod hints;
pub mod keys;
mod labels;
mod lease;
mod metrics;
pub mod peers;
mod registrars;
mod role;
pub mod status;
pub mod throwaway;
mod watching;

pub use around::{AroundConfig, Exposure};
pub use role::{OperatorConfig, start};
