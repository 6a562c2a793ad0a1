//! Secrets in an API server that is a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_model::member::Role;
use http_body_util::BodyExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tonic::codegen::http::{Method, Request, Response, StatusCode};

use super::look::Keys;
use super::plan::Found;
use super::{CertificatesConfig, KeysConfig, KeysMetrics, ROLES, read};

/// Some moment; the operator's clock is an argument.
const NOW: i64 = 1_800_000_000;

#[tokio::test]
async fn everything_is_made_once_with_labels_and_owner() {
    let api = Table::default();
    let keys = api.keys(|_| ());
    keys.look(NOW).await.unwrap();
    let names: Vec<String> = api.0.lock().secrets.keys().cloned().collect();
    assert_eq!(
        names,
        [
            "edge-admin",
            "edge-ca",
            "edge-redis",
            "edge-tls-admin",
            "edge-tls-media",
            "edge-tls-operator",
            "edge-tls-registrar",
            "edge-tls-signaling"
        ]
    );
    let hinted = std::mem::take(&mut api.0.lock().hinted);
    assert_eq!(hinted, ["admin", "media", "operator", "redis", "registrar", "signaling"]);
    let before = api.all();
    keys.look(NOW).await.unwrap();
    assert!(api.0.lock().hinted.is_empty());
    assert_eq!(api.all(), before, "a second look changes nothing");

    let leaf = api.get("edge-tls-media");
    assert_eq!(leaf.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(leaf.metadata.owner_references.unwrap()[0].name, "edge-operator");
    let labels = leaf.metadata.labels.unwrap();
    assert_eq!(labels["app.kubernetes.io/component"], "media");
    for (label, value) in [
        ("name", "fairlead"),
        ("instance", "edge"),
        ("part-of", "fairlead"),
        ("managed-by", "fairlead-operator"),
    ] {
        assert_eq!(labels[&format!("app.kubernetes.io/{label}")], value);
    }
    let token = api.text("edge-admin", "token");
    assert_eq!(token.len(), 43, "32 bytes: {token}");
    assert_ne!(token, api.text("edge-redis", "password"));
}

#[tokio::test]
async fn a_pod_that_has_just_gone_keeps_no_other_from_being_hinted() {
    let api = Table::default();
    api.0.lock().gone = Some("media".to_owned());
    api.keys(|_| ()).look(NOW).await.unwrap();
    let hinted = std::mem::take(&mut api.0.lock().hinted);
    assert!(hinted.contains(&"media-next".to_owned()), "{hinted:?}");
    assert!(!hinted.contains(&"media".to_owned()), "{hinted:?}");
}

#[tokio::test]
async fn what_somebody_else_keeps_there_is_used_if_it_is_good_and_never_written() {
    let api = Table::default();
    api.put("edge-admin", &[("token", "chosen-by-hand"), ("note", "ours")]);
    api.put("edge-redis", &[("password", "short"), ("note", "theirs")]);
    api.put("edge-tls-media", &[("tls.crt", "x"), ("tls.key", "y"), ("note", "zz")]);
    let before = api.all();
    let metrics = KeysMetrics::default();
    let keys = api.keys(|config| config.metrics = metrics.clone());
    keys.look(NOW).await.unwrap();
    let after = api.all();
    for (name, secret) in &before {
        assert_eq!(after.get(name), Some(secret), "{name}");
    }
    assert!(after.contains_key("edge-tls-registrar"), "the others are made all the same");
    assert_eq!(metrics.foreign.get(), 2, "two of the three cannot be used");

    // Handed over by its labels, or taken away, it is made good.
    api.0.lock().secrets.get_mut("edge-tls-media").unwrap().metadata.labels =
        Some(crate::labels::made_here("edge", "media"));
    api.0.lock().secrets.remove("edge-redis");
    keys.look(NOW).await.unwrap();
    assert!(api.text("edge-tls-media", "tls.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(api.text("edge-tls-media", "note"), "zz", "only what is broken is written");
    assert_eq!(api.text("edge-redis", "password").len(), 43);
    assert!(api.get("edge-admin").metadata.owner_references.is_none(), "it is not ours to take away");
    assert_eq!(metrics.foreign.get(), 0);
}

#[tokio::test]
async fn an_authority_of_somebody_else_signs_as_long_as_it_lasts_and_is_never_written() {
    let api = Table::default();
    let keys = api.keys(|_| ());
    keys.look(NOW).await.unwrap();
    api.0.lock().secrets.get_mut("edge-ca").unwrap().metadata.labels = None;
    let authority = api.get("edge-ca");
    let due = NOW + 730 * 24 * 3600 * 3 / 4;
    let before = api.text("edge-tls-media", "tls.crt");
    keys.look(due).await.unwrap();
    assert_eq!(api.get("edge-ca"), authority);
    assert_ne!(api.text("edge-tls-media", "tls.crt"), before, "certificates are renewed all the same");
}

#[tokio::test]
async fn a_secret_that_may_not_be_written_does_not_keep_the_others_from_being_made() {
    let api = Table::default();
    api.0.lock().forbidden = Some("edge-admin".to_owned());
    let keys = api.keys(|_| ());
    assert!(keys.look(NOW).await.is_err());
    let all = api.all();
    assert!(!all.contains_key("edge-admin"));
    assert!(all.contains_key("edge-redis") && all.contains_key("edge-tls-registrar"), "{:?}", all.keys());
}

#[tokio::test]
async fn an_api_server_that_hangs_holds_up_one_look_and_not_all() {
    let hanging = tower::service_fn(|_: Request<Body>| async {
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>().await
    });
    let api = Table::default();
    let keys = Keys::new(Client::new(hanging, "sip"), api.config());
    let looked = tokio::time::timeout(std::time::Duration::from_secs(5), keys.look(NOW)).await.unwrap();
    assert_eq!(looked.unwrap_err().to_string(), "Kubernetes: the API server does not answer");
}

#[tokio::test]
async fn an_authority_is_replaced_in_steps_and_every_secret_follows() {
    let api = Table::default();
    let keys = api.keys(|_| ());
    keys.look(NOW).await.unwrap();
    let old = api.text("edge-ca", "ca.crt");
    let due = NOW + 730 * 24 * 3600 * 2 / 3;
    // Nobody looked for a while, so that certificates are due as well.
    keys.look(due).await.unwrap();
    let next = api.text("edge-ca", "next.crt");
    assert_eq!(api.text("edge-ca", "ca.crt"), old);
    for role in ROLES {
        let trusted = api.text(&format!("edge-tls-{}", role.word()), "ca.crt");
        assert_eq!(trusted.matches("BEGIN").count(), 2, "{role:?} trusts both");
    }
    keys.look(due + 899).await.unwrap();
    assert_eq!(api.text("edge-ca", "ca.crt"), old, "kubelets may still be bringing it");
    keys.look(due + 900).await.unwrap();
    assert_eq!(api.text("edge-ca", "ca.crt"), next);
    assert_eq!(api.text("edge-ca", "previous.crt"), old);
    keys.look(due + 1800).await.unwrap();
    assert!(!api.get("edge-ca").data.unwrap().contains_key("previous.crt"));
    for role in ROLES {
        let data = api.get(&format!("edge-tls-{}", role.word())).data.unwrap();
        let known = read::authorities(&api.get("edge-ca").data.unwrap(), None).1.known;
        let (leaf, _) = read::leaf(&data, &format!("{}.edge.sip", role.word()), &known, due);
        assert!(matches!(leaf, Found::Good(leaf) if leaf.signed_by.is_some() && leaf.trusts.len() == 1));
    }
}

#[tokio::test]
async fn a_lost_authority_is_salvaged_from_what_pods_trust() {
    let api = Table::default();
    let keys = api.keys(|_| ());
    keys.look(NOW).await.unwrap();
    let (lost, leaf) = (api.text("edge-ca", "ca.crt"), api.text("edge-tls-media", "tls.crt"));
    api.0.lock().secrets.remove("edge-ca");
    keys.look(NOW).await.unwrap();
    assert_eq!(api.text("edge-ca", "ca.crt").replace('\r', ""), lost.replace('\r', ""));
    assert!(!api.get("edge-ca").data.unwrap().contains_key("ca.key"));
    assert_eq!(api.text("edge-tls-media", "tls.crt"), leaf, "certificates stay until pods trust the new one");
    assert_eq!(api.text("edge-tls-media", "ca.crt").matches("BEGIN").count(), 2);
}

#[tokio::test]
async fn a_certificate_of_another_role_domain_or_key_is_made_anew() {
    let api = Table::default();
    let keys = api.keys(|_| ());
    keys.look(NOW).await.unwrap();
    let media = api.text("edge-tls-media", "tls.crt");
    // Somebody mixed them up.
    let admin = api.get("edge-tls-admin").data;
    api.0.lock().secrets.get_mut("edge-tls-media").unwrap().data = admin;
    let key = api.get("edge-tls-registrar").data.unwrap()["tls.key"].clone();
    api.0
        .lock()
        .secrets
        .get_mut("edge-tls-signaling")
        .unwrap()
        .data
        .as_mut()
        .unwrap()
        .insert("tls.key".into(), key);
    keys.look(NOW).await.unwrap();
    let known = read::authorities(&api.get("edge-ca").data.unwrap(), None).1.known;
    for role in [Role::Media, Role::Signaling] {
        let data = api.get(&format!("edge-tls-{}", role.word())).data.unwrap();
        let (leaf, _) = read::leaf(&data, &format!("{}.edge.sip", role.word()), &known, 0);
        assert!(matches!(leaf, Found::Good(leaf) if leaf.named), "{role:?}");
    }
    assert_ne!(api.text("edge-tls-media", "tls.crt"), media);
}

#[tokio::test]
async fn whoever_is_late_does_not_overwrite_what_the_other_made() {
    let api = Table::default();
    let (one, other) = (api.keys(|_| ()), api.keys(|_| ()));
    let (a, b) = tokio::join!(one.look(NOW), other.look(NOW));
    a.unwrap();
    b.unwrap();
    let before = api.all();
    one.look(NOW).await.unwrap();
    assert_eq!(api.all(), before, "they agree");
    assert!(api.0.lock().refused > 0, "they met");
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    secrets: BTreeMap<String, Secret>,
    version: u64,
    refused: usize,
    /// The Role does not let it be written.
    forbidden: Option<String>,
    /// Pods whose kubelets were told that a Secret is there.
    hinted: Vec<String>,
    /// A pod that is still listed, with the one that takes its place.
    gone: Option<String>,
}

impl Table {
    fn keys(&self, change: impl FnOnce(&mut KeysConfig)) -> Keys {
        let table = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let table = table.clone();
            async move { Ok::<_, std::convert::Infallible>(table.serve(request).await) }
        });
        let mut config = self.config();
        change(&mut config);
        Keys::new(Client::new(service, "sip"), config)
    }

    fn config(&self) -> KeysConfig {
        KeysConfig {
            namespace: "sip".to_owned(),
            release: "edge".to_owned(),
            full_name: "edge".to_owned(),
            certificates: Some(CertificatesConfig::new("edge.sip")),
            admin_token: Some("edge-admin".to_owned()),
            redis_password: Some("edge-redis".to_owned()),
            owner: Some(OwnerReference { name: "edge-operator".to_owned(), ..OwnerReference::default() }),
            metrics: KeysMetrics::default(),
        }
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.uri.path().starts_with("/api/v1/namespaces/sip/pods") {
            return self.serve_pods(&head);
        }
        let name =
            head.uri.path().trim_start_matches("/api/v1/namespaces/sip/secrets").trim_matches('/').to_owned();
        let bytes = body.collect().await.unwrap().to_bytes();
        // So that two who ask at the same time meet.
        tokio::task::yield_now().await;
        let mut table = self.0.lock();
        let mut sent: Option<Secret> = (!bytes.is_empty()).then(|| serde_json::from_slice(&bytes).unwrap());
        let name = sent.as_ref().and_then(|secret| secret.metadata.name.clone()).unwrap_or(name);
        let there = table.secrets.get(&name).cloned();
        let version =
            |secret: &Option<Secret>| secret.as_ref().and_then(|s| s.metadata.resource_version.clone());
        if head.method != Method::GET && table.forbidden.as_ref() == Some(&name) {
            return status(StatusCode::FORBIDDEN);
        }
        let is_refused = match head.method {
            Method::POST => there.is_some(),
            Method::PUT => version(&there) != version(&sent),
            _ => false,
        };
        if is_refused {
            table.refused += 1;
            return status(StatusCode::CONFLICT);
        }
        if let Some(secret) = &mut sent {
            table.version += 1;
            secret.metadata.resource_version = Some(table.version.to_string());
            table.secrets.insert(name.clone(), secret.clone());
        }
        match table.secrets.get(&name) {
            Some(secret) => Response::new(Body::from(serde_json::to_vec(secret).unwrap())),
            None => status(StatusCode::NOT_FOUND),
        }
    }

    /// One pod of each component.
    fn serve_pods(&self, head: &tonic::codegen::http::request::Parts) -> Response<Body> {
        let pod = |name: &str| serde_json::json!({"metadata": {"name": name}});
        let answer = if head.method == Method::PATCH {
            let name = head.uri.path().rsplit('/').next().unwrap().to_owned();
            if self.0.lock().gone.as_ref() == Some(&name) {
                return status(StatusCode::NOT_FOUND);
            }
            let object = pod(&name);
            self.0.lock().hinted.push(name);
            object
        } else {
            let component = head.uri.query().unwrap().rsplit("component%3D").next().unwrap();
            let component = component.split('&').next().unwrap();
            let mut items = vec![pod(component)];
            if self.0.lock().gone.as_deref() == Some(component) {
                items.push(pod(&format!("{component}-next")));
            }
            serde_json::json!({"metadata": {}, "items": items})
        };
        Response::new(Body::from(serde_json::to_vec(&answer).unwrap()))
    }

    fn put(&self, name: &str, data: &[(&str, &str)]) {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.resource_version = Some("0".to_owned());
        let bytes = |(key, value): &(&str, &str)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
        secret.data = Some(data.iter().map(bytes).collect());
        self.0.lock().secrets.insert(name.to_owned(), secret);
    }

    fn get(&self, name: &str) -> Secret {
        self.0.lock().secrets[name].clone()
    }

    fn all(&self) -> BTreeMap<String, Secret> {
        self.0.lock().secrets.clone()
    }

    fn text(&self, name: &str, key: &str) -> String {
        String::from_utf8(self.get(name).data.unwrap()[key].0.clone()).unwrap()
    }
}

fn status(code: StatusCode) -> Response<Body> {
    let reason = if code == StatusCode::CONFLICT { "Conflict" } else { "NotFound" };
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": reason, "code": code.as_u16()
    });
    Response::builder().status(code).body(Body::from(serde_json::to_vec(&text).unwrap())).unwrap()
}
