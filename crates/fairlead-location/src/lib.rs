//! REGISTER to a plan of changes, and the order in which contacts are called (RFC 3261 section 10).
