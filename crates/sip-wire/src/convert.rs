//! To and from the crate rsip, whose types are the vocabulary of other SIP libraries.
