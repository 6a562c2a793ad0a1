//! The signaling role: shards, listeners, the mesh, the streams to registrar and media.
