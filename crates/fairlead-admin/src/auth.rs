//! Who may come in: a bearer token, compared in constant time; without one only this host.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fairlead_runtime::settings::value::Secret;
use subtle::ConstantTimeEq;

use crate::rest::problem::Problem;

/// The longest token file that is read, bytes.
const FILE_LIMIT: u64 = 4096;

/// The shortest token that is taken.
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
}

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Secret>,
}

impl Access {
    /// By the token of the settings, or of a file (blank at its ends is cut off). With neither only a loopback address
    /// may be listened on, and that is said.
    pub fn new(token: Option<Secret>, file: Option<&Path>, listen: SocketAddr) -> Result<Self, AccessError> {
        let token = match (token, file) {
            (Some(_), Some(_)) => return Err(AccessError::Twice),
            (Some(token), None) => Some(token),
            (None, Some(file)) => Some(read(file)?),
            (None, None) => None,
        };
        match &token {
            None if !listen.ip().is_loopback() => return Err(AccessError::Open(listen)),
            None => {
                tracing::warn!(%listen, "admin asks for no token: whoever is on this host may do everything")
            }
            Some(token) => {
                let text = token.expose();
                if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(AccessError::Token);
                }
            }
        }
        Ok(Access { token })
    }

    /// Whether these headers let somebody in.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        match &self.token {
            Some(token) => {
                bearer(headers).is_some_and(|given| given.as_bytes().ct_eq(token.expose().as_bytes()).into())
            }
            // A web page that somebody on this host looks at can make his browser ask us. It says so (Origin), or it
            // reaches us under a name of its own (Host).
            None => !headers.contains_key(header::ORIGIN) && is_meant_for_loopback(headers),
        }
    }
}

/// Middleware in front of everything but the three routes of kubelet and Prometheus.
pub async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let host = request.uri().authority().map(|authority| authority.host().to_owned());
    let foreign = access.token.is_none() && host.is_some_and(|host| !is_loopback_name(&host));
    if access.allows(request.headers()) && !foreign {
        return next.run(request).await;
    }
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return tonic::Status::unauthenticated("a bearer token is wanted").into_http();
    }
    Problem::unauthorized().into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_meant_for_loopback(headers: &HeaderMap) -> bool {
    // Without Host it is HTTP/2, whose authority is looked at by the guard.
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

fn read(file: &Path) -> Result<Secret, AccessError> {
    let failed = |cause| AccessError::File { file: file.display().to_string(), cause };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_LIMIT {
        return Err(AccessError::Token);
    }
    std::fs::read_to_string(file).map(|text| Secret::new(text.trim())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:8080";

    fn with(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_right_token_lets_in() {
        let access =
            Access::new(Some(Secret::new("right-token")), None, "0.0.0.0:1".parse().unwrap()).unwrap();
        assert!(access.allows(&with(&[(header::AUTHORIZATION, "Bearer right-token")])));
        assert!(access.allows(&with(&[(header::AUTHORIZATION, "bearer right-token")])));
        for bad in
            ["Bearer wrong-token", "Bearer right-toke", "Bearer right-token2", "Basic right-token", "Bearer "]
        {
            assert!(!access.allows(&with(&[(header::AUTHORIZATION, bad)])), "{bad}");
        }
        assert!(!access.allows(&HeaderMap::new()));
    }

    #[test]
    fn without_a_token_only_loopback_is_listened_on() {
        assert!(matches!(
            Access::new(None, None, "0.0.0.0:8080".parse().unwrap()),
            Err(AccessError::Open(_))
        ));
        assert!(matches!(Access::new(None, None, "[::]:8080".parse().unwrap()), Err(AccessError::Open(_))));
        assert!(Access::new(None, None, LOOPBACK.parse().unwrap()).is_ok());
        assert!(Access::new(None, None, "[::1]:8080".parse().unwrap()).is_ok());
    }

    #[test]
    fn without_a_token_a_web_page_cannot_make_a_browser_ask() {
        let access = Access::new(None, None, LOOPBACK.parse().unwrap()).unwrap();
        assert!(access.allows(&with(&[(header::HOST, "127.0.0.1:8080")])));
        assert!(access.allows(&with(&[(header::HOST, "[::1]:8080")])));
        assert!(access.allows(&with(&[(header::HOST, "localhost")])));
        assert!(!access.allows(&with(&[(header::HOST, "rebound.example:8080")])));
        assert!(!access.allows(&with(&[(header::HOST, LOOPBACK), (header::ORIGIN, "https://evil.example")])));
    }

    #[test]
    fn the_token_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "  from-the-file\n").unwrap();
        let access = Access::new(None, Some(&file), "0.0.0.0:1".parse().unwrap()).unwrap();
        assert!(access.allows(&with(&[(header::AUTHORIZATION, "Bearer from-the-file")])));
        std::fs::write(&file, "\n").unwrap();
        assert!(matches!(Access::new(None, Some(&file), LOOPBACK.parse().unwrap()), Err(AccessError::Token)));
        let absent = folder.path().join("absent");
        assert!(matches!(
            Access::new(None, Some(&absent), LOOPBACK.parse().unwrap()),
            Err(AccessError::File { .. })
        ));
    }
}
