//! SIP messages as bytes: framing, indexing, reading, editing and writing (RFC 3261 section 7, 25).
