//! Spans reach a collector, the last ones too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::{Arc, Mutex};

use fairlead_model::member::Role;
use fairlead_runtime::identity::Identity;
use fairlead_runtime::settings::{Layers, Settings};
use fairlead_runtime::telemetry::{Telemetry, TelemetrySettings};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Keeps what it is sent: service name and span name.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, String)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let service = attributes.into_iter().find(|pair| pair.key == "service.name").unwrap();
            let Some(Value::StringValue(service)) = service.value.unwrap().value else { continue };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span.name)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_reach_the_collector_before_the_process_ends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let collector = Collector::default();
    let telemetry = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let layers = Layers::new().with_flag("otlp-endpoint", [endpoint]);
        let settings = TelemetrySettings::read(&layers).unwrap();
        let telemetry = Telemetry::start(&settings, &Identity::new(Role::Signaling, None)).unwrap();
        tracing::info_span!("call").in_scope(|| tracing::info!("a call is up"));
        tracing::debug_span!("too fine").in_scope(|| {});
        telemetry
    });
    telemetry.finish();
    let spans = collector.0.lock().unwrap().clone();
    assert_eq!(spans, [("fairlead-signaling".to_owned(), "call".to_owned())]);
}
