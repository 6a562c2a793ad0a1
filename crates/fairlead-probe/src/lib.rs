//! Two throw-away phones that register at the edge, call each other through it and say whether they heard each other:
//! what `helm test` and `fairlead probe` run. It needs nothing but two peers and their passwords.
//!
//! [`run`] is all of it: the steps in their order, each told as it ends, and a [`Report`] of what was seen.

mod audio;
mod credentials;
mod link;
mod options;
mod phone;
mod report;
mod steps;
mod text;

pub use audio::{Direction, Heard};
pub use credentials::Peer;
pub use link::Transport;
pub use options::Options;
pub use report::{Failure, Report, Step, StepName};
pub use steps::run;
