//! Sockets for SIP: UDP in batches, TCP connections with framing, and the true addresses of both.
//!
//! A message comes out with the [`Flow`](fairlead_model::flow::Flow) it came by, whose addresses are those of the
//! socket, never of the message. [`udp`] and [`tcp`] open sockets that many shards share a port with;
//! [`connection`] is one stream from its first octet to its last; [`limits`] says how much a stranger may use.

pub mod address;
pub mod connection;
pub mod limits;
mod sys;
pub mod tcp;
pub mod udp;
