//! The API server: a client that does not hang with it, and what its refusals mean.

use std::time::Duration;

use kube::{Client, Config, Error};

/// How long one request may take; tests do not wait that long.
pub const LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// How long the API server may say nothing on a connection on which something is waited for: longer than a watch without
/// news, which it ends after a minute.
const SILENCE: Duration = Duration::from_secs(75);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The API server refused it, or cannot be reached.
    #[error("{}", text(.0))]
    Api(#[from] Error),
    /// It did not answer in time.
    #[error("the API server does not answer")]
    Late,
    /// Somebody else may lead by now.
    #[error("not leading any more")]
    Over,
}

impl Failed {
    /// 403, or 401: it may not be done.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.code(), Some(401 | 403))
    }

    /// 404.
    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    /// 409.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// It is of the API server and not of what was asked: no answer, too many questions, or one that it cannot give now.
    pub fn passes(&self) -> bool {
        matches!(self.code(), None | Some(429 | 502..=504))
    }

    fn code(&self) -> Option<u16> {
        match self {
            Failed::Api(error) => code(error),
            Failed::Late | Failed::Over => None,
        }
    }
}

/// The HTTP status of a refusal.
pub fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What an error says, without the answer as a whole that `kube` adds to a refusal.
pub fn text(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// A client of the cluster this runs in, or of the one that KUBECONFIG names.
pub async fn client() -> Result<Client, ClientFailed> {
    let config = Config::infer().await.map_err(|cause| ClientFailed::NoCluster(cause.to_string()))?;
    Client::try_from(bounded(config, SILENCE)).map_err(|cause| ClientFailed::Unusable(cause.to_string()))
}

/// Lists and the beginnings of watches have no limit of their own.
fn bounded(mut config: Config, silence: Duration) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(LIMIT);
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    config
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientFailed {
    /// Neither in a pod nor with a kubeconfig.
    #[error("there is no cluster to speak to: neither a service account nor KUBECONFIG ({0})")]
    NoCluster(String),
    /// What describes it cannot be used.
    #[error("the cluster's description cannot be used: {0}")]
    Unusable(String),
}

/// With the usual time limit.
pub async fn limited<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
    within(LIMIT, request).await
}

/// With a time limit.
pub async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failed::from),
        Err(_) => Err(Failed::Late),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::runtime::watcher;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::watching::{Trouble, watch};

    #[tokio::test]
    async fn a_list_that_is_never_answered_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        });
        let config = bounded(Config::new(url.parse().unwrap()), Duration::from_millis(200));
        let secrets: Api<Secret> = Api::namespaced(Client::try_from(config).unwrap(), "sip");
        let stop = CancellationToken::new();
        let watching = watch(secrets, watcher::Config::default(), stop.clone(), |seen| {
            if matches!(seen, Err(Trouble::Other(_))) {
                stop.cancel();
            }
            std::future::ready(())
        });
        tokio::time::timeout(Duration::from_secs(5), watching).await.unwrap();
    }
}
