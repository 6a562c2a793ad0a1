//! The admin role: one table of operations behind gRPC, REST and text.
//!
//! [`operation`] is the table, [`words`] reads what an operator types; [`engine`] carries operations out: it asks the
//! pods of a [`directory`] at once and merges what they say; [`grpc`], [`rest`] and [`table`] are the three faces,
//! [`mod@serve`] puts them on one port behind [`auth`]; [`cli`] is the other end, `fairlead sip …`.

pub mod auth;
pub mod cli;
mod convert;
pub mod directory;
pub mod engine;
pub mod fan_out;
pub mod grpc;
mod merge;
pub mod metrics;
pub mod openapi;
pub mod operation;
pub mod rest;
pub mod serve;
pub mod table;
pub mod words;
