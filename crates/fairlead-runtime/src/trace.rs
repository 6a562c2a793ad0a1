//! One trace over several processes: W3C trace context in gRPC metadata and in strings.
//!
//! Spans made with `tracing` carry the context when OTLP export is on (see [`crate::telemetry`]). Without it there
//! is none, and nothing is sent.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of a span, if it is being traced: `00-TRACE-SPAN-FLAGS`.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = One(None);
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.0
}

/// Makes `span` a child of the span that a `traceparent` names. Text that is none changes nothing.
pub fn follow(span: &Span, traceparent: &str) {
    adopt(span, TraceContextPropagator::new().extract(&One(Some(traceparent.to_owned()))));
}

/// Writes the context of the current span into metadata of a request.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Metadata(metadata));
}

/// Makes `span` a child of the span that sent a request with this metadata.
pub fn follow_metadata(span: &Span, metadata: &MetadataMap) {
    adopt(span, TraceContextPropagator::new().extract(&MetadataRef(metadata)));
}

/// A tonic interceptor for clients that does [`inject`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Inject;

impl tonic::service::Interceptor for Inject {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        inject(request.metadata_mut());
        Ok(request)
    }
}

fn adopt(span: &Span, context: Context) {
    if context.span().span_context().is_valid() {
        // Refused only when no layer traces or the span was entered before; then there is nothing to join.
        let _ = span.set_parent(context);
    }
}

struct One(Option<String>);

impl Injector for One {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

impl Extractor for One {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT { self.0.as_deref() } else { None }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct Metadata<'m>(&'m mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(&value))
        else {
            return;
        };
        // An empty tracestate says nothing.
        if !value.is_empty() {
            self.0.insert(key, value);
        }
    }
}

struct MetadataRef<'m>(&'m MetadataMap);

impl Extractor for MetadataRef<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, "tracestate"]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn traced<T>(run: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run)
    }

    #[test]
    fn a_trace_goes_on_in_another_process() {
        let (sent, metadata) = traced(|| {
            let span = tracing::info_span!("asks");
            let mut metadata = MetadataMap::new();
            span.in_scope(|| inject(&mut metadata));
            (traceparent(&span).unwrap(), metadata)
        });
        assert_eq!(metadata.get("traceparent").unwrap().to_str().unwrap(), sent);
        let trace = sent.split('-').nth(1).unwrap().to_owned();

        let by_metadata = traced(|| {
            let span = tracing::info_span!("answers");
            follow_metadata(&span, &metadata);
            traceparent(&span).unwrap()
        });
        let by_text = traced(|| {
            let span = tracing::info_span!("answers");
            follow(&span, &sent);
            traceparent(&span).unwrap()
        });
        assert_eq!(by_metadata.split('-').nth(1).unwrap(), trace);
        assert_eq!(by_text.split('-').nth(1).unwrap(), trace);
        assert_ne!(by_text, sent);
    }

    #[test]
    fn what_is_no_traceparent_starts_a_trace_of_its_own() {
        traced(|| {
            let span = tracing::info_span!("answers");
            follow(&span, "00-zz\r\nevil-01");
            assert!(traceparent(&span).unwrap().starts_with("00-"));
        });
    }

    #[test]
    fn without_export_there_is_no_traceparent() {
        assert_eq!(traceparent(&tracing::info_span!("alone")), None);
    }
}
