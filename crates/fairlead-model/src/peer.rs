//! The peer object.
