//! Everything on one port: gRPC with reflection and health, REST, OpenAPI, and what kubelet and Prometheus ask.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fairlead_proto::DESCRIPTORS;
use fairlead_proto::admin::v1::admin_server::AdminServer;
use fairlead_runtime::common::Handles;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::auth::{Access, guard};
use crate::engine::Engine;
use crate::grpc::AdminService;
use crate::metrics::OperationMetrics;
use crate::rest::problem::Problem;
use crate::{openapi, rest};

/// The largest body taken, bytes: all that is asked fits into a path.
const LARGEST_BODY: usize = 64 * 1024;

/// Requests that are carried out at once; more wait.
const AT_ONCE: usize = 64;

/// Reflection could not be made of the descriptors that were built in.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors for gRPC reflection are not readable")]
pub struct BadDescriptors(#[source] tonic_reflection::server::Error);

/// All routes. To be called inside the runtime.
pub async fn router(engine: Engine, access: Access, handles: &Handles) -> Result<Router, BadDescriptors> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AdminServer<AdminService>>().await;
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let counts = OperationMetrics::registered(&handles.metrics);
    let engine = engine.measured(counts.clone());
    let grpc = Routes::new(AdminServer::new(AdminService::new(engine.clone())))
        .add_service(health)
        .add_service(described().build_v1().map_err(BadDescriptors)?)
        // Older clients ask the version before.
        .add_service(described().build_v1alpha().map_err(BadDescriptors)?)
        .prepare()
        .into_axum_router();
    let guarded = rest::router(engine)
        .route("/openapi.json", get(openapi_json))
        .merge(grpc)
        .fallback(rest::not_found)
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(AT_ONCE))
        .layer(axum::middleware::from_fn_with_state((access, counts.clone()), guard))
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::map_response_with_state(counts, count));
    Ok(fairlead_runtime::http::router(handles.health.clone(), handles.metrics.clone()).merge(guarded))
}

/// Serves until the drain says stop, and a little longer for requests that are under way.
pub async fn serve(listener: TcpListener, router: Router, handles: &Handles) -> std::io::Result<()> {
    handles.health.flag("admin").set(true);
    fairlead_runtime::http::serve(listener, router, handles.drain.stopping()).await
}

async fn count(State(counts): State<OperationMetrics>, response: Response) -> Response {
    counts.answered(&response);
    response
}

/// The panic itself is in the log, by the hook.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a mistake of Fairlead; the log has more")
        .into_response()
}

async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text())
}
