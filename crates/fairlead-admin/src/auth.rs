//! Who may come in, and who that is: the static token, a token that Kubernetes knows, or, without either, this host.
//!
//! [`guard`] finds out who asks and hands the [`Caller`] on; what he may do is decided where the operation is known, in
//! [`crate::engine::Engine::run`], and so once for gRPC, REST and text.

mod cache;
mod caller;
mod review;
mod strangers;
mod token_file;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fairlead_runtime::settings::value::Secret;
use subtle::ConstantTimeEq;
use tonic::Status;

pub use caller::Caller;
pub use review::{Reviewer, Undecided};

use crate::metrics::OperationMetrics;
use crate::rest::problem::Problem;
use token_file::TokenFile;

/// The shortest static token that is taken.
const SHORTEST: usize = 8;

/// Why admin does not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file of the token is not readable.
    #[error("could not read the admin token in {file}")]
    File {
        /// The file.
        file: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The token is too short, or holds what no header can.
    #[error(
        "admin-token, or what admin-token-file holds, is not allowed: at least {SHORTEST} visible characters of ASCII are"
    )]
    Token,
    /// Both were given.
    #[error("the admin token is given twice: take admin-token or admin-token-file")]
    Twice,
    /// Open to the network without a token.
    #[error(
        "admin listens on {0} and has no token: give admin-token or admin-token-file, or listen on a loopback address"
    )]
    Open(SocketAddr),
    /// The audience does not say for which release tokens are.
    #[error("token-review-audience is {0:?}, allowed: fairlead-admin/NAMESPACE/RELEASE")]
    Audience(String),
}

/// Who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fixed: Static,
    reviewer: Option<Arc<Reviewer>>,
}

/// The static token: whoever has it may do everything.
#[derive(Debug)]
enum Static {
    None,
    Given(Secret),
    File(TokenFile),
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// He showed nothing.
    Missing,
    /// What he showed is worth nothing; the text says why, as far as it is known.
    Wrong(String),
    /// Whether he may come in cannot be known now; the text says why.
    Undecided(String),
}

impl Refusal {
    fn text(&self) -> String {
        match self {
            Refusal::Missing => "a bearer token is wanted".to_owned(),
            Refusal::Wrong(why) if why.is_empty() => "the bearer token is not one that is let in".to_owned(),
            Refusal::Wrong(why) => format!("the bearer token is not one that is let in: {why}"),
            Refusal::Undecided(why) => why.clone(),
        }
    }

    /// For metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Wrong(_) => "wrong",
            Refusal::Undecided(_) => "undecided",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Missing | Refusal::Wrong(_) => StatusCode::UNAUTHORIZED,
            Refusal::Undecided(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, refusal.text())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing | Refusal::Wrong(_) => Status::unauthenticated(refusal.text()),
            Refusal::Undecided(_) => Status::unavailable(refusal.text()),
        }
    }
}

impl Access {
    /// By the token of the settings, or of a file (blank at its ends is cut off; it is waited for and read again when it
    /// changes), and by tokens that `reviewer` knows. With nothing of these only a loopback address may be listened on,
    /// and that is said.
    pub fn new(
        token: Option<Secret>,
        file: Option<&Path>,
        reviewer: Option<Reviewer>,
        listen: SocketAddr,
    ) -> Result<Self, AccessError> {
        let fixed = match (token, file) {
            (Some(_), Some(_)) => return Err(AccessError::Twice),
            (Some(token), None) if is_allowed(&token) => Static::Given(token),
            (Some(_), None) => return Err(AccessError::Token),
            (None, Some(file)) => Static::File(TokenFile::open(file)?),
            (None, None) => Static::None,
        };
        if matches!(fixed, Static::None) && reviewer.is_none() {
            if !listen.ip().is_loopback() {
                return Err(AccessError::Open(listen));
            }
            tracing::warn!(%listen, "admin asks for no token: whoever is on this host may do everything");
        }
        Ok(Access(Arc::new(Inner { fixed, reviewer: reviewer.map(Arc::new) })))
    }

    /// Who sent these headers, if he is let in. `authority` is that of the request's URI (HTTP/2 has it instead of Host),
    /// `from` where it came from.
    pub async fn who(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        from: IpAddr,
    ) -> Result<Caller, Refusal> {
        let Inner { fixed, reviewer } = &*self.0;
        if matches!(fixed, Static::None) && reviewer.is_none() {
            // A web page that somebody on this host looks at can make his browser ask us. It says so (Origin), or it
            // reaches us under a name of its own (Host).
            let from_here = !headers.contains_key(header::ORIGIN)
                && is_meant_for_loopback(headers)
                && authority.is_none_or(is_loopback_name);
            return if from_here { Ok(Caller::this_host()) } else { Err(Refusal::Missing) };
        }
        let given = bearer(headers).filter(|token| !token.is_empty()).ok_or(Refusal::Missing)?;
        let not_yet = match fixed {
            Static::None => None,
            Static::Given(token) if is_same(given, token) => return Ok(Caller::static_token()),
            Static::Given(_) => None,
            Static::File(file) => match file.current(Instant::now()) {
                Ok(token) if is_same(given, &token) => return Ok(Caller::static_token()),
                Ok(_) => None,
                Err(why) => Some(why),
            },
        };
        let refusal = match reviewer {
            None => Refusal::Wrong(String::new()),
            Some(reviewer) => match Reviewer::identify(reviewer, given, from).await {
                Ok(caller) => return Ok(caller),
                Err(refusal) => refusal,
            },
        };
        // What Kubernetes does not know may be the static token, which is not there yet.
        Err(match (refusal, not_yet) {
            (Refusal::Wrong(_), Some(why)) => Refusal::Undecided(why),
            (refusal, _) => refusal,
        })
    }
}

/// Middleware in front of everything but the three routes of kubelet and Prometheus.
pub async fn guard(
    State((access, counts)): State<(Access, OperationMetrics)>,
    mut request: Request,
    next: Next,
) -> Response {
    let authority = request.uri().authority().map(|authority| authority.host().to_owned());
    // Without an address, which a connection that is just breaking has not any more, all such are counted together.
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = from.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(from)| from.ip());
    match access.who(request.headers(), authority.as_deref(), from).await {
        Ok(caller) => {
            counts.access(caller.word());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            counts.access(refusal.word());
            let is_grpc = request
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            if is_grpc { Status::from(refusal).into_http() } else { Problem::from(refusal).into_response() }
        }
    }
}

/// Whether a header can carry it, and it is not too easy to guess.
fn is_allowed(token: &Secret) -> bool {
    let text = token.expose();
    text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_same(given: &str, token: &Secret) -> bool {
    given.as_bytes().ct_eq(token.expose().as_bytes()).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_meant_for_loopback(headers: &HeaderMap) -> bool {
    // Without Host it is HTTP/2, whose authority is looked at beside this.
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    is_loopback_name(name)
}

fn is_loopback_name(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
