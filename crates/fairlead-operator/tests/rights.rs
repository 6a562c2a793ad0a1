//! What the role asks of an API server is what its README says it may, no more and no less. (That the chart grants what
//! the README says is a test of the chart.)
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Member, Role};
use fairlead_model::peer::GeneralFull;
use fairlead_operator::keys::CertificatesConfig;
use fairlead_operator::{AroundConfig, Exposure, OperatorConfig};
use fairlead_proto::server;
use fairlead_proto::tls::{self, PodTls};
use fairlead_registrar::{Registrar, RegistrarConfig};
use fairlead_runtime::common::Handles;
use fairlead_runtime::drain::Drain;
use fairlead_runtime::health::Health;
use fairlead_runtime::identity::Identity;
use fairlead_runtime::metrics::Metrics;
use fairlead_store::MemoryStore;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::codegen::http::{Method, Request, Response};
use tonic::service::Routes;

const README: &str = include_str!("../README.md");

/// One release with everything that it can be told to do, in a namespace of its own and watching another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_asks_for_exactly_what_its_readme_says() {
    let registrar = registrar().await;
    let api = ApiServer::default();
    let tables = [
        ("sip", table("In the release's namespace:", "In each other namespace")),
        ("desks", table("In each other namespace", "For the whole cluster")),
        ("", table("For the whole cluster", "\u{0}")),
    ];
    // First nothing of what is made is there; then all of it is, and is broken.
    for is_there in [false, true] {
        if is_there {
            api.0.lock().break_secrets();
        }
        let handles = Handles {
            who: Identity::new(Role::Operator, Some("edge-fairlead-operator-0")),
            metrics: Metrics::new("operator"),
            health: Health::new(),
            drain: Drain::new(),
        };
        let (_keep, certificates) = watch::channel(Some(PodTls::off()));
        fairlead_operator::start(config(&registrar), api.client(), certificates, &handles);
        let began = Instant::now();
        while !api.has_asked_for_all(&tables, is_there) && began.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        handles.drain.start();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for (namespace, rights) in &tables {
        let asked = api.asked(namespace);
        let needless: Vec<&Right> =
            rights.iter().filter(|right| !asked.iter().any(|one| right.covers(one))).collect();
        assert!(needless.is_empty(), "{namespace:?}: never asked for: {needless:?}");
        let more: Vec<&Right> =
            asked.iter().filter(|one| !rights.iter().any(|right| right.covers(one))).collect();
        assert!(more.is_empty(), "{namespace:?}: the README does not know: {more:?}");
    }
}

/// A right, or what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
    /// Empty: all.
    name: String,
}

impl Right {
    fn covers(&self, asked: &Right) -> bool {
        (&self.group, &self.resource, &self.verb) == (&asked.group, &asked.resource, &asked.verb)
            && (self.name.is_empty() || self.name == asked.name)
    }
}

/// A table of the README.
fn table(from: &str, to: &str) -> Vec<Right> {
    let text = README.split_once(from).unwrap().1;
    let text = text.split_once(to).map_or(text, |(text, _)| text);
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut rights = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, group, resources, verbs, names, ..] = cells.as_slice() else { panic!("{row}") };
        for resource in resources.split(", ") {
            for verb in verbs.split(", ") {
                for name in names.split(", ") {
                    rights.push(Right {
                        group: group.replace("(core)", ""),
                        resource: resource.to_owned(),
                        verb: verb.to_owned(),
                        name: name.replace("FULL", "edge-fairlead"),
                    });
                }
            }
        }
    }
    assert!(!rights.is_empty(), "{from}");
    rights
}

fn config(registrar: &str) -> OperatorConfig {
    OperatorConfig {
        namespace: "sip".to_owned(),
        release: "edge".to_owned(),
        full_name: "edge-fairlead".to_owned(),
        registrars: vec![registrar.to_owned()],
        watch_namespaces: vec!["desks".to_owned(), "sip".to_owned()],
        status_writes_per_second: 5,
        around: AroundConfig {
            sip_service: "edge-fairlead-sip".to_owned(),
            exposure: Exposure::NodePort,
            sip_addresses: Vec::new(),
            internal: Vec::new(),
        },
        certificates: Some(CertificatesConfig::new("edge-fairlead.sip")),
        admin_token_secret: Some("edge-fairlead-admin".to_owned()),
        redis_password_secret: Some("edge-fairlead-redis".to_owned()),
    }
}

/// A registrar over memory; where it is reached.
async fn registrar() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let me = Member::started(PodRef(1), "registrar-0", Role::Registrar, address, UnixMillis(1));
    let registrar = Registrar::new(
        Arc::new(MemoryStore::new()),
        RegistrarConfig::new(me),
        GeneralFull::default(),
        Vec::new(),
        &mut Registry::default(),
    );
    let routes = Routes::new(server::registrar(registrar.clone()))
        .add_service(server::peers(registrar.clone()))
        .add_service(server::provisioning(registrar));
    tokio::spawn(async move { tls::serve(listener, routes, &PodTls::off(), std::future::pending()).await });
    address.to_string()
}

/// An API server that writes down what it is asked, and lets everything be done.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<Inner>>);

struct Inner {
    /// With the namespace.
    asked: BTreeSet<(String, Right)>,
    /// Namespace, resource and name → object.
    objects: BTreeMap<(String, String, String), Value>,
    version: u64,
}

impl Default for Inner {
    fn default() -> Self {
        let mut inner = Inner { asked: BTreeSet::new(), objects: BTreeMap::new(), version: 1 };
        for namespace in ["sip", "desks"] {
            inner.put(
                namespace,
                "secrets",
                json!({"metadata": {"name": "phones"}, "data": {"ann": "c2VzYW1l"}}),
            );
            for (name, secret) in [("ann", "phones"), ("ben", "lost")] {
                let name = format!("{namespace}-{name}");
                let spec = json!({"secretRef": {"name": secret, "key": "ann"}});
                let metadata =
                    json!({"name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"});
                inner.put(
                    namespace,
                    "sippeers",
                    json!({"apiVersion": "fairlead.dev/v1alpha1", "kind": "SipPeer", "metadata": metadata, "spec": spec}),
                );
            }
        }
        let words = json!({"name": "edge-fairlead-test", "labels": {"fairlead.dev/generate": "true"},
            "annotations": {"fairlead.dev/generate-keys": "caller"}});
        inner.put("sip", "secrets", json!({ "metadata": words }));
        for name in ["edge-fairlead-sip", "edge-fairlead-sip-tcp"] {
            let labels = json!({"app.kubernetes.io/component": "signaling"});
            let metadata = json!({"name": name, "labels": labels, "annotations": {"fairlead.dev/ports": "sip/5060/TCP"}});
            inner.put("sip", "services", json!({"metadata": metadata, "spec": {"ports": []}}));
        }
        inner.put(
            "sip",
            "pods",
            json!({"metadata": {"name": "edge-fairlead-signaling-0"}, "spec": {"containers": []}}),
        );
        inner.put("sip", "deployments", json!({"metadata": {"name": "edge-fairlead-operator"}}));
        inner
    }
}

impl Inner {
    fn put(&mut self, namespace: &str, resource: &str, mut object: Value) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(namespace);
        metadata["resourceVersion"] = json!(self.version.to_string());
        let name = metadata["name"].as_str().unwrap().to_owned();
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("{namespace}-{resource}-{name}"));
        }
        self.objects.insert((namespace.to_owned(), resource.to_owned(), name), object.clone());
        object
    }

    /// Everything that was made holds nothing any more, and the other leader is gone.
    fn break_secrets(&mut self) {
        for ((_, resource, name), object) in &mut self.objects {
            if resource == "secrets" && name != "phones" {
                object["data"] = json!({});
            }
        }
        self.objects.retain(|(_, resource, _), _| resource != "leases");
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl ApiServer {
    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.serve(request).await) }
        });
        Client::new(service, "sip")
    }

    fn asked(&self, namespace: &str) -> Vec<Right> {
        let inner = self.0.lock();
        inner.asked.iter().filter(|(of, _)| of == namespace).map(|(_, right)| right.clone()).collect()
    }

    /// At the first turn what is made is not there yet, so nothing is updated.
    fn has_asked_for_all(&self, tables: &[(&str, Vec<Right>)], is_there: bool) -> bool {
        tables.iter().all(|(namespace, rights)| {
            let asked = self.asked(namespace);
            let mut due = rights
                .iter()
                .filter(|right| is_there || right.resource != "secrets" || right.verb != "update");
            due.all(|right| asked.iter().any(|one| right.covers(one)))
        })
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let sent = body.collect().await.unwrap().to_bytes();
        let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let parts: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        // As an API server reads a path.
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            other => panic!("{other:?}"),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = (rest[0], rest.get(1).copied().unwrap_or_default());
        let verb = match head.method {
            Method::GET if !name.is_empty() => "get",
            Method::GET if query.contains("watch=true") => "watch",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            ref other => panic!("{other}"),
        };
        let mut full = resource.to_owned();
        if let Some(sub) = rest.get(2) {
            full = format!("{full}/{sub}");
        }
        let right =
            Right { group: group.to_owned(), resource: full, verb: verb.to_owned(), name: name.to_owned() };
        let mut inner = self.0.lock();
        inner.asked.insert((namespace.to_owned(), right));
        let key = (namespace.to_owned(), resource.to_owned(), name.to_owned());
        match verb {
            "watch" => inner.watched(namespace, resource),
            "list" => {
                let items: Vec<Value> = inner
                    .objects
                    .iter()
                    .filter(|((of, kind, _), _)| of == namespace && kind == resource)
                    .map(|(_, object)| object.clone())
                    .collect();
                json(200, &json!({"metadata": {"resourceVersion": "1"}, "items": items}))
            }
            "create" | "update" => {
                let made = inner.put(namespace, resource, sent);
                json(if verb == "create" { 201 } else { 200 }, &made)
            }
            // What changes of them is nothing to this test.
            "patch" if resource == "events" => json(200, &sent),
            _ => match inner.objects.get(&key) {
                Some(object) => json(200, object),
                None => json(
                    404,
                    &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "", "code": 404}),
                ),
            },
        }
    }
}

impl Inner {
    /// Nothing happens, but that the peers whose Secret is lost are written once more, so that the Event is said again.
    fn watched(&self, namespace: &str, resource: &str) -> Answer {
        let ben = (namespace.to_owned(), resource.to_owned(), format!("{namespace}-ben"));
        let again = self.objects.get(&ben).map(|object| {
            let mut object = object.clone();
            object["metadata"]["generation"] = json!(2);
            object["metadata"]["resourceVersion"] = json!("1000");
            Bytes::from(json!({"type": "MODIFIED", "object": object}).to_string() + "\n")
        });
        let news = futures::stream::iter(again).then(|line| async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(Frame::data(line))
        });
        Response::new(StreamBody::new(news.chain(futures::stream::pending())).boxed_unsync())
    }
}

fn json(code: u16, object: &Value) -> Answer {
    let body = Full::new(Bytes::from(object.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}
