//! Tokens for admin: of the chart's ServiceAccounts, for this release alone, for ten minutes, in memory alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairlead_admin::cli::Ended;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::account::Account;
use crate::release::Release;
use crate::trouble::{Asked, ended};

/// How long a token lasts, seconds: the shortest that Kubernetes gives.
const LASTS: i64 = 600;

/// How long one is used: it may have been on its way for a while.
const USED_FOR: Duration = Duration::from_secs(480);

/// Those that were given already.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<Account, (Instant, String)>>);

impl Tokens {
    /// One of this account.
    pub async fn of(&self, account: Account, client: &Client, release: &Release) -> Result<String, Ended> {
        let mut given = self.0.lock().await;
        let fresh = given.get(&account).filter(|(at, _)| at.elapsed() < USED_FOR);
        if let Some((_, token)) = fresh {
            return Ok(token.clone());
        }
        let name = account_name(account, release);
        let asked = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![release.audience()],
                expiration_seconds: Some(LASTS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &release.namespace);
        let answer = accounts.create_token_request(&name, &PostParams::default(), &asked).await;
        let answer = answer.map_err(|cause| refused(cause, &name, release))?;
        let token = answer.status.map(|status| status.token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Ended::Refused(format!("Kubernetes gave no token of {name}")))?;
        given.insert(account, (Instant::now(), token.clone()));
        Ok(token)
    }
}

/// What the chart calls it.
pub fn account_name(account: Account, release: &Release) -> String {
    format!("{}-{}", release.full_name, account.word())
}

fn refused(cause: kube::Error, name: &str, release: &Release) -> Ended {
    let namespace = &release.namespace;
    if matches!(&cause, kube::Error::Api(status) if status.code == 404) {
        return Ended::Refused(format!(
            "release {} in namespace {namespace} has no ServiceAccount {name}, which the chart makes",
            release.name
        ));
    }
    let what = format!("ask for a token of ServiceAccount {name}");
    ended(cause, &Asked { what: &what, rule: RULE, names: &[name.to_owned()], namespace })
}

/// The rule that lets ask for one.
pub const RULE: &str = "create serviceaccounts/token";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    /// An API server that gives tokens of the agent alone.
    async fn answer(
        State(asked): State<Arc<AtomicUsize>>,
        Path(name): Path<String>,
        Json(mut request): Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        asked.fetch_add(1, Ordering::Relaxed);
        let code = match name.as_str() {
            "edge-fairlead-agent" => {
                let is_ours = request["spec"]["audiences"] == json!(["fairlead-admin/sip/edge"]);
                assert!(is_ours && request["spec"]["expirationSeconds"] == json!(600));
                request["status"] = json!({"token": "t", "expirationTimestamp": "2030-01-01T00:00:00Z"});
                return (StatusCode::CREATED, Json(request));
            }
            "edge-fairlead-viewer" => StatusCode::FORBIDDEN,
            _ => StatusCode::NOT_FOUND,
        };
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
            "reason": "No", "code": code.as_u16()});
        (code, Json(status))
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_and_a_refusal_names_the_rule() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let path = "/api/v1/namespaces/sip/serviceaccounts/{name}/token";
        let router = Router::new().route(path, post(answer)).with_state(asked.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(url.parse().expect("a URL"));
        let client = Client::try_from(config).expect("a client");
        let release = Release {
            namespace: "sip".to_owned(),
            name: "edge".to_owned(),
            full_name: "edge-fairlead".to_owned(),
            pods: Vec::new(),
        };
        let tokens = Tokens::default();
        for _ in 0..2 {
            assert_eq!(tokens.of(Account::Agent, &client, &release).await.expect("a token"), "t");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let Err(Ended::Forbidden(why)) = tokens.of(Account::Viewer, &client, &release).await else {
            unreachable!("it is forbidden")
        };
        assert!(
            why.contains("`create serviceaccounts/token`, resourceNames [edge-fairlead-viewer]"),
            "{why}"
        );
        assert!(matches!(tokens.of(Account::Admin, &client, &release).await, Err(Ended::Refused(_))));
    }
}
