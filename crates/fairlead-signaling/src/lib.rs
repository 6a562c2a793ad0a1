//! The signaling role: shards, listeners, the mesh, the streams to registrar and media.
//!
//! ```text
//! sockets ─► shard ─► fairlead-core ─► shard ─► sockets
//!              │ ▲                       │ ▲
//!              ▼ └─ news ◄───────────────┼─┴── results
//!   registrar_link · media_link · mesh · resolver
//! ```
//!
//! A [`shard`] is a thread with sockets of its own and one [`machine`]; what it cannot do itself it puts into a bounded
//! queue, and what comes of it returns as [`news`]. Nothing on the path of a message takes a lock.

pub mod config;
mod diagnosis;
mod ending;
mod machine;
mod media_link;
mod mesh;
mod metrics;
mod news;
mod operator;
mod registrar_link;
mod resolver;
mod running;
mod shard;
mod shed;

pub use config::{Config, Listener, Queues, towards_world};
pub use diagnosis::Doctor;
pub use media_link::{OwnRelay, Relays, RemoteRelays};
pub use operator::Operator;
pub use running::{Signaling, StartError};
