//! `/livez`, `/readyz` and `/metrics`: what kubelet and Prometheus ask. Without a token, without a body, cheap.

mod serve;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// The three routes, to be merged into a role's own router or served alone.
pub fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(exposition)).with_state(metrics))
}

pub use serve::{CONNECTIONS, LAST_REQUESTS, serve};

/// Binds, and says which address was meant when that fails.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(crate::listen::usable(address))
        .await
        .map_err(|cause| std::io::Error::new(cause.kind(), format!("could not listen on {address}: {cause}")))
}

async fn livez(State(health): State<Health>) -> Response {
    let stuck = health.stuck();
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}\n", stuck.join(", "))).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let missing = health.not_ready();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))).into_response()
}

async fn exposition(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(cause) => {
            tracing::error!(%cause, "could not write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_flags_and_liveness_does_not() {
        let health = Health::new();
        let router = router(health.clone(), Metrics::new("signaling"));
        let flag = health.flag("listeners");
        assert_eq!(
            ask(&router, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: listeners\n".into())
        );
        assert_eq!(ask(&router, "/livez").await, (StatusCode::OK, "ok\n".into()));
        flag.set(true);
        assert_eq!(ask(&router, "/readyz").await, (StatusCode::OK, "ok\n".into()));
        let (status, text) = ask(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("role=\"signaling\""));
    }
}
