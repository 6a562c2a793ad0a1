//! The registrar role: authentication, bindings, slots, membership, over a store.
