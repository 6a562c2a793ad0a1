//! Commands reach admin by its REST API.

mod reply;

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use self::reply::Reply;
use super::{Ended, Part, Parts, Transport};
use crate::engine::{Answer, Entry};
use crate::operation::{Operation, Place, Verb};
use crate::rest::EndFacts;
use crate::rest::problem::Problem;
use crate::table;

/// How long admin may take to begin its answer. It waits for pods itself, and for OPTIONS.
const PATIENCE: Duration = Duration::from_secs(90);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ask {
    verb: Verb,
    /// Path and query.
    target: String,
    /// In which form the answer is wanted.
    accept: &'static str,
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

impl HttpClient {
    /// Asks; the reply has begun when this returns.
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

#[async_trait::async_trait]
impl Transport for HttpClient {
    async fn one(&self, operation: &Operation) -> Result<Answer, Ended> {
        let reply = self.send(ask(operation, "application/json")).await?;
        let body = checked(reply).await?.collect().await?;
        read_one(operation, &body)
    }

    async fn list(&self, operation: &Operation) -> Result<Parts, Ended> {
        let reply = checked(self.send(ask(operation, "application/x-ndjson")).await?).await?;
        let operation = operation.clone();
        let parts = futures::stream::unfold(Some((reply, operation)), |reading| async move {
            let (mut reply, operation) = reading?;
            let part = match part(&mut reply, &operation).await {
                Ok(Some(part)) => part,
                Ok(None) => return None,
                Err(ended) => return Some((Err(ended), None)),
            };
            let is_end = matches!(part, Part::End(_));
            Some((Ok(part), (!is_end).then_some((reply, operation))))
        });
        Ok(parts.boxed())
    }
}

async fn part(reply: &mut Reply, operation: &Operation) -> Result<Option<Part>, Ended> {
    let Some(line) = reply.line().await? else { return Ok(None) };
    if let Some(end) = read_end(&line) {
        return Ok(Some(Part::End(end)));
    }
    Ok(Some(Part::Entries(vec![read_entry(operation, &line)?])))
}

/// The operation as REST asks it.
fn ask(operation: &Operation, accept: &'static str) -> Ask {
    let Some(row) = operation.row() else { return Ask { verb: Verb::Get, target: "/".to_owned(), accept } };
    let arguments = operation.arguments();
    let (mut target, mut query) = (row.path.to_owned(), Vec::new());
    for (name, value) in &arguments {
        let value = utf8_percent_encode(value, UNRESERVED).to_string();
        let in_path = row.parameters.iter().any(|known| known.name == *name && known.place == Place::Path);
        if in_path {
            target = target.replace(&format!("{{{name}}}"), &value);
        } else {
            query.push(format!("{name}={value}"));
        }
    }
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    Ask { verb: row.verb, target, accept }
}

/// All but what RFC 3986 §2.3 leaves alone.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

async fn checked(reply: Reply) -> Result<Reply, Ended> {
    let status = reply.status;
    if let 200..=299 = status {
        return Ok(reply);
    }
    let problem: Option<Problem> = serde_json::from_slice(&reply.collect().await?).ok();
    if status == 404 && problem.as_ref().is_some_and(|problem| problem.detail == NO_SUCH_PEER) {
        return Err(Ended::NotFound);
    }
    let detail = match problem {
        Some(problem) if problem.missing.is_empty() => problem.detail,
        Some(problem) => format!("{}. {}", problem.detail, table::missing(&problem.missing).trim_end()),
        None => format!("admin answered with status {status}"),
    };
    Err(match status {
        403 => Ended::Forbidden(detail),
        503 => Ended::Away(detail),
        _ => Ended::Refused(detail),
    })
}

/// The detail of [`crate::engine::Failure::NotFound`].
const NO_SUCH_PEER: &str = "there is no such peer";

fn read_one(operation: &Operation, body: &[u8]) -> Result<Answer, Ended> {
    Ok(match operation {
        Operation::ShowPeer { .. } => Answer::Peer(Box::new(read(body)?)),
        Operation::ShowUser { .. } => Answer::User(Box::new(read(body)?)),
        Operation::PruneRealtime(_) => Answer::Pruned(read(body)?),
        Operation::Unregister { .. } => Answer::Unregistered(read(body)?),
        Operation::QualifyPeer { .. } => Answer::Qualified(read(body)?),
        Operation::ShowPods => Answer::Pods(read(body)?),
        Operation::Reindex => Answer::Reindexed(read(body)?),
        Operation::Address => Answer::Addresses(read(body)?),
        Operation::Doctor => Answer::Diagnosed(read(body)?),
        _ => return Err(Ended::Garbled("a list instead of one answer".to_owned())),
    })
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Ended> {
    serde_json::from_slice(text).map_err(|cause| Ended::Garbled(cause.to_string()))
}

fn read_end(line: &[u8]) -> Option<EndFacts> {
    // Entries have no field of that name, and begin with another one.
    if !line.starts_with(b"{\"end\":") {
        return None;
    }
    serde_json::from_slice::<crate::rest::End>(line).ok().map(|line| line.end)
}

fn read_entry(operation: &Operation, line: &[u8]) -> Result<Entry, Ended> {
    Ok(match operation {
        Operation::ShowPeers { .. } => Entry::Peer(Box::new(read(line)?)),
        Operation::ShowUsers { .. } => Entry::User(read(line)?),
        Operation::ShowChannels | Operation::ShowChannel { .. } => Entry::Channel(Box::new(read(line)?)),
        Operation::ShowChannelStats => Entry::ChannelStats(Box::new(read(line)?)),
        Operation::ShowBridged => Entry::Bridge(read(line)?),
        Operation::ShowInUse { .. } => Entry::InUse(read(line)?),
        _ => return Err(Ended::Garbled("one answer instead of a list".to_owned())),
    })
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

    #[test]
    fn names_are_written_into_the_path_without_losing_a_character() {
        let ask = ask(&Operation::ShowPeer { name: "a/b c?%é".to_owned(), load: true }, "application/json");
        assert_eq!(ask.target, "/v1/peers/a%2Fb%20c%3F%25%C3%A9?load=true");
    }
}
