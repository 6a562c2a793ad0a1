//! The B2BUA: one call as steps, its legs, attempts and offer/answer machines.
