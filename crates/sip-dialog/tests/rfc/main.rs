//! Dialogs against the text of RFC 3261: one file a section.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;
mod s12_1_creation;
mod s12_2_requests;
mod s13_2_2_4_acks;
mod s13_3_1_4_success;
mod written_down;
