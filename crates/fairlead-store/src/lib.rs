//! Where peers, bindings, slots and checkpoints live: Redis, redb and memory behind one trait.
