//! Errors as RFC 9457 writes them: `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fairlead_proto::admin::v1 as pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::Failure;

/// An error (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Problem {
    /// What kind it is; `about:blank`: as the status says.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// Pods that did not answer.
    pub missing: Vec<pb::Missing>,
}

impl Problem {
    /// With a status and what is wrong.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            missing: Vec::new(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        match failure {
            Failure::NotFound => Problem::new(StatusCode::NOT_FOUND, detail),
            Failure::Invalid(_) => Problem::new(StatusCode::BAD_REQUEST, detail),
            Failure::Forbidden { .. } => Problem::new(StatusCode::FORBIDDEN, detail),
            Failure::Undecided(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Failure::Nobody { missing, .. } => {
                Problem { missing, ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fairlead\""));
        }
        response
    }
}
