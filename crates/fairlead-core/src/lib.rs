//! The transaction user: all that one signaling shard decides, composed.
