//! Calls outlive the process that had them. See `tests/kill.rs`.
