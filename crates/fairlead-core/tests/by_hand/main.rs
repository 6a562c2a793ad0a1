//! Both phones by hand: what ordinary phones seldom do, at the moment the test wants it.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod hanging_up;
mod in_dialog;
mod lab;
mod late_answers;
mod reinvites;
mod ringing;
