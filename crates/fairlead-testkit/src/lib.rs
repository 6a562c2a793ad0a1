//! For tests only: a network that loses, doubles and reorders by a seeded plan, a clock that only the test moves,
//! and scripted phones that know nothing of our own machines.
//!
//! * [`Net`]: packets under way.
//! * [`Sim`]: nodes at addresses, run on one clock until a time or until all is quiet.
//! * [`Phone`]: a user agent with its own transactions, written apart from `sip-transaction` so that it can prove
//!   something.

mod digest;
mod net;
mod phone;
mod random;
mod sim;

pub use net::{Net, Packet, Plan};
pub use phone::{CallState, Heard, Incoming, Phone, PhoneCall};
pub use random::Random;
pub use sim::{Node, NodeRef, Sim};
