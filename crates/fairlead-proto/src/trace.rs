//! How a trace crosses gRPC: two functions that the program hands in, so that this crate knows no telemetry.

use tonic::metadata::MetadataMap;
use tracing::Span;

/// What to do with the metadata of calls. `Default` does nothing.
#[derive(Clone, Copy, Debug)]
pub struct TraceHooks {
    /// Writes the context of the current span into the metadata of a call that leaves.
    pub inject: fn(&mut MetadataMap),
    /// Makes a span the child of the span that a call came from.
    pub follow: fn(&Span, &MetadataMap),
}

impl Default for TraceHooks {
    fn default() -> Self {
        TraceHooks { inject: |_| {}, follow: |_, _| {} }
    }
}
