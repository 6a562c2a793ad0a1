//! How commands reach admin.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::operation::Verb;

/// How long admin may take to begin its answer. It waits for pods itself, and for OPTIONS.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest line and the largest single answer that is read, bytes.
const LONGEST: usize = 16 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How.
    pub verb: Verb,
    /// Path and query.
    pub target: String,
    /// In which form the answer is wanted.
    pub accept: &'static str,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is none.
    #[error("{0:?} is no URL of admin, http://HOST:PORT is wanted")]
    Url(String),
    /// The token cannot stand in a header.
    #[error("the admin token holds characters that no header can")]
    Token,
    /// Admin cannot be reached.
    #[error("could not reach admin at {url}: {cause}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// The answer broke off.
    #[error("the answer of admin broke off: {0}")]
    Broken(String),
}

/// Reaches an admin.
#[async_trait::async_trait]
pub trait Http: Send + Sync {
    /// Asks; the reply has begun when this returns.
    async fn send(&self, ask: Ask) -> Result<Reply, HttpError>;
}

/// A reply, its body still to come.
pub struct Reply {
    /// The status.
    pub status: u16,
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    read: VecDeque<u8>,
    /// How much of `read` holds no end of a line.
    searched: usize,
}

impl Reply {
    /// With a body that comes in pieces.
    pub fn new(status: u16, body: BoxStream<'static, Result<Bytes, HttpError>>) -> Self {
        Reply { status, body, read: VecDeque::new(), searched: 0 }
    }

    /// The whole body.
    pub async fn collect(mut self) -> Result<Vec<u8>, HttpError> {
        while self.more().await? {}
        Ok(self.read.into())
    }

    /// The next line without its end; `None` after the last.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = self.read.iter().skip(self.searched).position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let line = self.read.drain(..=end).take(end).collect();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if !self.more().await? {
                let rest = std::mem::take(&mut self.read);
                return Ok((!rest.is_empty()).then(|| rest.into()));
            }
        }
    }

    async fn more(&mut self) -> Result<bool, HttpError> {
        match self.body.next().await {
            None => Ok(false),
            Some(Err(cause)) => Err(cause),
            Some(Ok(bytes)) if self.read.len() + bytes.len() > LONGEST => {
                Err(HttpError::Broken(format!("more than {LONGEST} bytes in one piece")))
            }
            Some(Ok(bytes)) => {
                self.read.extend(bytes);
                Ok(true)
            }
        }
    }
}

/// Over TCP, `http://` only.
#[derive(Debug)]
pub struct HttpClient {
    url: String,
    authorization: Option<HeaderValue>,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl HttpClient {
    /// To the admin at `url` (`http://HOST:PORT`), with a token if it wants one.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, HttpError> {
        let parsed: Uri = url.parse().map_err(|_| HttpError::Url(url.to_owned()))?;
        let is_plain = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        if parsed.scheme_str() != Some("http") || parsed.host().is_none_or(str::is_empty) || !is_plain {
            return Err(HttpError::Url(url.to_owned()));
        }
        let authorization = token
            .map(|token| {
                let mut value =
                    HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| HttpError::Token)?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(HttpClient { url: url.trim_end_matches('/').to_owned(), authorization, client })
    }
}

#[async_trait::async_trait]
impl Http for HttpClient {
    async fn send(&self, ask: Ask) -> Result<Reply, HttpError> {
        let unreachable = |cause: String| HttpError::Unreachable { url: self.url.clone(), cause };
        let method = match ask.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{}", self.url, ask.target))
            .header(header::ACCEPT, ask.accept)
            .body(Empty::new())
            .map_err(|cause| unreachable(cause.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let response = tokio::time::timeout(PATIENCE, self.client.request(request))
            .await
            .map_err(|_| unreachable("no answer in time".to_owned()))?
            .map_err(|cause| unreachable(innermost(&cause)))?;
        let status = response.status().as_u16();
        let body = response.into_body().into_data_stream();
        let body = body.map(|piece| piece.map_err(|cause| HttpError::Broken(innermost(&cause))));
        Ok(Reply::new(status, body.boxed()))
    }
}

/// The error that began it: `Connection refused`, not `client error (Connect)`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_admin_is_refused() {
        for bad in [
            "",
            "localhost:8080",
            "ftp://host",
            "https://host",
            "http://",
            "http://host/path",
            "http://host/?q",
        ] {
            assert!(matches!(HttpClient::new(bad, None), Err(HttpError::Url(_))), "{bad}");
        }
        for good in ["http://127.0.0.1:8080", "http://[::1]:8080/", "http://admin.example"] {
            assert!(HttpClient::new(good, None).is_ok(), "{good}");
        }
    }

    #[tokio::test]
    async fn lines_are_found_however_the_body_is_cut() {
        let pieces = ["a", "b\nc", "\n\nde", "f"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut reply = Reply::new(200, futures::stream::iter(pieces).boxed());
        let mut lines = Vec::new();
        while let Some(line) = reply.line().await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["ab", "c", "", "def"]);
    }
}
