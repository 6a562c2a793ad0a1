//! RTP and RTCP as a relay sees them (RFC 3550): headers, statistics, and [`Streams`], the table that tells apart
//! the many streams of few ports.
//!
//! Nothing here owns a socket or a clock: a datagram and the time go in, a [`Verdict`] comes out.

mod endpoint;
mod flow;
mod header;
mod payloads;
mod probation;
mod reception;
mod report;
mod settings;
mod streams;
mod table;

pub use endpoint::{Counters, Learn, Remote, Signalled};
pub use header::{Header, Kind};
pub use payloads::Payloads;
pub use reception::Reception;
pub use report::{Report, read_reports};
pub use settings::Settings;
pub use streams::{Dropped, KeepAlive, Streams, Verdict};
pub use table::{EndpointId, NoPort, PortId};
