//! The registrar role: authentication, bindings, slots, membership, over a store.
//!
//! A [`Registrar`] answers the questions of signaling pods ([`fairlead_proto::link::RegistrarPort`]), of the
//! operator ([`fairlead_proto::operator::PeersPort`]) and of the operator role
//! ([`fairlead_proto::provisioning::ProvisioningPort`]). `standalone` hands the very object to the other roles, a
//! split edge puts it behind gRPC with `fairlead_proto::server`.
//!
//! One way through it: [`stream`](mod@stream) takes a batch from a pod's stream and lets all its questions run
//! at once; [`register`], [`admit`], [`calls`], [`flows`] and [`qualify`] answer one each, with the pure crates for
//! every decision; their steps meet again in the store, which makes one journey of them.

mod admit;
mod auth;
mod away;
mod calls;
mod catalog;
mod change;
mod clock;
mod config;
mod diagnosis;
mod drift;
mod flows;
mod follow;
mod forgetting;
mod found;
mod housekeeping;
mod keys;
mod leaving;
mod locations;
mod losses;
mod members;
mod metrics;
mod operator;
mod outbound;
mod provisioning;
mod qualify;
mod register;
mod registrar;
mod storage;
mod stream;
mod surroundings;
mod view;

pub use config::RegistrarConfig;
pub use registrar::Registrar;
