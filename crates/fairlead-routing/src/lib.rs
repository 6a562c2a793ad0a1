//! Who sent this request and where does it go: matching of peers, targets, limits.
