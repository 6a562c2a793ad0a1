//! The admin role: one table of operations behind gRPC, REST and text.
