//! The transactions against the text of the RFCs: one file a machine, one test a sentence.

#![allow(clippy::unwrap_used, clippy::panic)]

mod hostile;
mod lab;
mod rfc3261_17_1_1_client_invite;
mod rfc3261_17_1_2_client_non_invite;
mod rfc3261_17_2_1_server_invite;
mod rfc3261_17_2_2_server_non_invite;
mod rfc3261_17_matching;
mod rfc3261_9_cancel;
mod simulated;
mod table;
