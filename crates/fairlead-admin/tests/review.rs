//! Tokens that Kubernetes knows, in front of an API server of our own that says what a real one would.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod edge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use edge::{Edge, ask};
use fairlead_admin::auth::{Access, Reviewer};
use fairlead_admin::cli::{self, GrpcClient};
use fairlead_admin::directory::Together;
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::admin::v1::admin_client::AdminClient;
use fairlead_runtime::settings::value::Secret;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Code, Request};

const AUDIENCE: &str = "fairlead-admin/sip/edge";
const STATIC: &str = "the-static-token";

/// What an API server says: a token is `NAME@AUDIENCE`, and a viewer may look at all, an agent unregister ann besides.
#[derive(Clone, Default)]
struct ApiServer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    reviews: AtomicUsize,
    questions: Mutex<Vec<String>>,
    /// It takes questions and does not answer.
    hangs: AtomicBool,
    /// It does not look at audiences.
    old: AtomicBool,
    /// Admin's own account may not ask.
    refuses: AtomicBool,
}

impl ApiServer {
    async fn start(&self) -> kube::Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token_review))
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access_review))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
    }

    async fn wait(&self) -> Result<(), (StatusCode, Json<Value>)> {
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.0.refuses.load(Ordering::Relaxed) {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "tokenreviews is forbidden"});
            return Err((StatusCode::FORBIDDEN, Json(status)));
        }
        Ok(())
    }
}

type Reviewed = Result<Json<Value>, (StatusCode, Json<Value>)>;

async fn token_review(State(server): State<ApiServer>, Json(mut review): Json<Value>) -> Reviewed {
    server.wait().await?;
    server.0.reviews.fetch_add(1, Ordering::Relaxed);
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    let (name, audience) = token.split_once('@').unwrap_or((&token, ""));
    let old = server.0.old.load(Ordering::Relaxed);
    let is_for = review["spec"]["audiences"].as_array().unwrap().iter().any(|wanted| wanted == audience);
    review["status"] = if is_for || old {
        let user = json!({"username": format!("system:serviceaccount:sip:edge-fairlead-{name}"), "uid": "1",
            "groups": ["system:serviceaccounts"]});
        let audiences = if old { json!(["https://kubernetes.default.svc"]) } else { json!([audience]) };
        json!({"authenticated": true, "user": user, "audiences": audiences})
    } else {
        json!({"error": "token audiences do not fit"})
    };
    Ok(Json(review))
}

async fn access_review(State(server): State<ApiServer>, Json(mut review): Json<Value>) -> Reviewed {
    server.wait().await?;
    let spec = &review["spec"];
    let of = |field: &str| spec["resourceAttributes"][field].as_str().unwrap_or_default().to_owned();
    let (verb, resource, name) = (of("verb"), of("resource"), of("name"));
    let rule =
        format!("{verb} {resource}.{}/{} {name} in {}", of("group"), of("subresource"), of("namespace"));
    let user = spec["user"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
    assert_eq!(spec["groups"], json!(["system:serviceaccounts"]), "groups count for permissions");
    server.0.questions.lock().push(format!("{user}: {rule}"));
    let viewer: BTreeSet<&str> =
        ["list sippeers.fairlead.dev/  in sip", "list sippeers.fairlead.dev/channels  in sip"].into();
    let may = viewer.contains(rule.as_str())
        || user == "agent" && rule == "create sippeers.fairlead.dev/unregister peer00000 in sip";
    review["status"] = json!({"allowed": may});
    Ok(Json(review))
}

async fn edge(server: &ApiServer) -> Edge {
    let reviewer = Reviewer::new(AUDIENCE).unwrap().asking(server.start().await);
    behind(reviewer).await
}

async fn behind(reviewer: Reviewer) -> Edge {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access::new(Some(Secret::new(STATIC)), None, Some(reviewer), address).unwrap();
    let registrar = fairlead_admin::directory::Door {
        pod: fairlead_model::id::PodRef(1),
        name: "registrar-0".to_owned(),
        role: fairlead_model::member::Role::Registrar,
        port: edge::registrar(3),
    };
    let directory = Together { registrars: vec![registrar], ..Together::default() };
    Edge::guarded(Arc::new(directory), access, listener, None).await
}

async fn answer(edge: &Edge, method: &str, path: &str, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let (status, headers, body) = ask(edge, method, path, &[("authorization", &bearer)]).await;
    assert_eq!(status == 401, headers.contains_key("www-authenticate"), "{status}");
    if status >= 400 {
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    (status, serde_json::from_str(&body).unwrap())
}

fn token(name: &str) -> String {
    format!("{name}@{AUDIENCE}")
}

#[tokio::test]
async fn a_token_lets_do_what_its_account_may_and_the_refusal_says_what_was_needed() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    let (status, page) = answer(&edge, "GET", "/v1/peers", &token("viewer")).await;
    assert_eq!((status, page["peers"].as_array().unwrap().len()), (200, 3));

    let (status, problem) = answer(&edge, "POST", "/v1/realtime/prune?all=true", &token("viewer")).await;
    assert_eq!(status, 403);
    assert_eq!(
        problem["detail"],
        "not allowed: create sippeers.fairlead.dev/prune in namespace sip is needed"
    );
    // A rule may name the peer.
    for (path, expected) in [("/v1/peers/peer00000/unregister", 200), ("/v1/peers/peer00001/unregister", 403)]
    {
        assert_eq!(answer(&edge, "POST", path, &token("agent")).await.0, expected, "{path}");
    }
    assert_eq!(answer(&edge, "GET", "/v1/peers/peer00001", &token("viewer")).await.0, 403);
    assert!(
        server.0.questions.lock().contains(&"viewer: get sippeers.fairlead.dev/ peer00001 in sip".to_owned())
    );
}

#[tokio::test]
async fn only_tokens_for_this_release_count() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    for wrong in ["viewer", "viewer@https://kubernetes.default.svc", "viewer@fairlead-admin/sip/other"] {
        let (status, problem) = answer(&edge, "GET", "/v1/peers", wrong).await;
        assert_eq!(status, 401);
        assert!(problem["detail"].as_str().unwrap().contains(AUDIENCE), "{problem}");
    }
    assert_eq!(ask(&edge, "GET", "/v1/peers", &[]).await.0, 401);
    server.0.old.store(true, Ordering::Relaxed);
    let (status, problem) = answer(&edge, "GET", "/v1/peers", &token("viewer")).await;
    assert_eq!(status, 401, "it said yes, but not to the audience: {problem}");
}

#[tokio::test]
async fn what_the_api_server_said_counts_for_a_while() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    for _ in 0..5 {
        assert_eq!(answer(&edge, "GET", "/v1/peers", &token("viewer")).await.0, 200);
        assert_eq!(answer(&edge, "GET", "/v1/peers", "wrong").await.0, 401);
    }
    assert_eq!(server.0.reviews.load(Ordering::Relaxed), 2, "one of each token");
    assert_eq!(server.0.questions.lock().len(), 1);
    let (_, _, metrics) = ask(&edge, "GET", "/metrics", &[]).await;
    assert!(metrics.contains("fairlead_admin_access_total{result=\"reviewed\"} 5"), "{metrics}");
    assert!(metrics.contains("fairlead_admin_access_total{result=\"wrong\"} 5"));
}

#[tokio::test]
async fn who_makes_up_tokens_floods_no_api_server_and_keeps_no_known_one_out() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    assert_eq!(answer(&edge, "GET", "/v1/peers", &token("viewer")).await.0, 200);
    let mut statuses = Vec::new();
    for number in 0..60 {
        statuses.push(answer(&edge, "GET", "/v1/peers", &format!("made-up-{number}")).await.0);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 30);
    assert_eq!(server.0.reviews.load(Ordering::Relaxed), 31, "the rest was not asked about");
    let (status, problem) = answer(&edge, "GET", "/v1/peers", &token("agent")).await;
    assert_eq!(status, 503, "nor is anybody else new from there");
    assert!(problem["detail"].as_str().unwrap().contains("wait ten seconds"), "{problem}");
    assert_eq!(answer(&edge, "GET", "/v1/peers", &token("viewer")).await.0, 200);
    assert_eq!(answer(&edge, "GET", "/v1/peers", STATIC).await.0, 200);
}

#[tokio::test]
async fn while_the_api_server_is_away_only_the_static_token_lets_in() {
    let hanging = ApiServer::default();
    hanging.0.hangs.store(true, Ordering::Relaxed);
    let refusing = ApiServer::default();
    refusing.0.refuses.store(true, Ordering::Relaxed);
    let nobody = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    for (edge, said) in [
        (edge(&hanging).await, "did not answer in time"),
        (edge(&refusing).await, "system:auth-delegator"),
        (behind(Reviewer::new(AUDIENCE).unwrap().asking(nobody)).await, "cannot be reached"),
        (behind(Reviewer::new(AUDIENCE).unwrap()).await, "does not run in Kubernetes"),
    ] {
        let began = Instant::now();
        let (status, problem) = answer(&edge, "GET", "/v1/peers", &token("viewer")).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(status, 503);
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        assert_eq!(answer(&edge, "GET", "/v1/peers", STATIC).await.0, 200);
    }
}

#[tokio::test]
async fn grpc_refuses_with_the_codes_of_grpc() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    let code = async |bearer: Option<String>| {
        let mut client = AdminClient::connect(edge.url.clone()).await.unwrap();
        let mut request = Request::new(pb::PruneRealtimeRequest { all: true, ..Default::default() });
        if let Some(bearer) = bearer {
            request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        }
        client.prune_realtime(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code(None).await, Code::Unauthenticated);
    assert_eq!(code(Some("wrong".to_owned())).await, Code::Unauthenticated);
    assert_eq!(code(Some(token("viewer"))).await, Code::PermissionDenied);
    assert_eq!(code(Some(STATIC.to_owned())).await, Code::Ok);
    server.0.hangs.store(true, Ordering::Relaxed);
    assert_eq!(code(Some(token("other"))).await, Code::Unavailable);
}

#[tokio::test]
async fn the_words_print_the_same_by_grpc_as_by_rest() {
    let server = ApiServer::default();
    let edge = edge(&server).await;
    let channel = tonic::transport::Endpoint::new(edge.url.clone()).unwrap().connect_lazy();
    let grpc = GrpcClient::new(channel, Some(STATIC)).unwrap();
    let rest = cli::HttpClient::new(&edge.url, Some(STATIC)).unwrap();
    for line in [
        "show peers",
        "show peers --json",
        "show users --csv",
        "show inuse all",
        "show peer peer00000",
        "show peer nosuch",
        "show peer peer00001 --json",
        "unregister nosuch",
        "show channels",
        "prune realtime nosuch",
        "address",
        "address --json",
        "doctor",
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (mut out, mut err) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let statuses = (
            cli::run(&grpc, &words, &mut out.0, &mut err.0).await,
            cli::run(&rest, &words, &mut out.1, &mut err.1).await,
        );
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(statuses.0, statuses.1, "{line}");
        assert_eq!(text(out.0), text(out.1), "{line}");
        // Behind these words there is no pod: HTTP lists the missing pods in a field of their own.
        assert_eq!(err.0.is_empty(), err.1.is_empty(), "{line}");
    }
    let viewer = GrpcClient::new(
        tonic::transport::Endpoint::new(edge.url.clone()).unwrap().connect_lazy(),
        Some(&token("viewer")),
    )
    .unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["reindex".to_owned()];
    assert_eq!(cli::run(&viewer, &words, &mut out, &mut err).await, 1);
    assert_eq!(
        String::from_utf8(err).unwrap(),
        "not allowed: create sippeers.fairlead.dev/prune in namespace sip is needed\n"
    );
}
