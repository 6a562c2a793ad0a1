//! Generated gRPC code and the conversions between it and our words.
pub mod link;
