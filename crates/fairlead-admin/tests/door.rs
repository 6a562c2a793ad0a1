//! All three faces on one port, in front of pods of which some are late.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod edge;

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge::{Edge, ask, json};
use fairlead_admin::cli::{self, HttpClient};
use fairlead_admin::directory::{Door, Together};
use fairlead_model::id::PodRef;
use fairlead_model::member::Role;
use fairlead_model::surroundings::{Diagnosis, Finding, Severity, Surroundings, code};
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::admin::v1::admin_client::AdminClient;
use tonic::Code;

async fn sip(edge: &Edge, line: &str) -> (u8, String, String) {
    let http = HttpClient::new(&edge.url, edge.token.as_deref()).unwrap();
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = cli::run(&http, &words, &mut out, &mut err).await;
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test]
async fn peers_of_all_registrars_come_once_in_order_of_name_a_page_at_a_time() {
    let edge = Edge::start(1200, None).await;
    let mut met: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = json(&edge, &format!("/v1/peers?limit=500&cursor={cursor}")).await;
        assert_eq!(status, 200);
        let peers = page["peers"].as_array().unwrap();
        assert!(peers.len() <= 500);
        met.extend(peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()));
        cursor = page["next"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(met, edge::names(1200));
}

#[tokio::test]
async fn ndjson_gives_every_entry_a_line_and_an_end() {
    let edge = Edge::start(1200, None).await;
    let (status, _, text) = ask(&edge, "GET", "/v1/peers", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(status, 200);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1201);
    assert_eq!(lines[1200]["end"]["next"], "");
    assert_eq!(lines[1200]["end"]["missing"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_words_print_the_table_and_say_on_the_other_stream_who_did_not_answer() {
    let edge = Edge::start(3, None).await;
    let (status, out, err) = sip(&edge, "show peers").await;
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("Name/username             Host  "), "{out}");
    assert!(
        out.ends_with("3 sip peers [Monitored: 0 online, 0 offline Unmonitored: 3 online, 0 offline]\n"),
        "{out}"
    );

    let (status, out, _) = sip(&edge, "show peers like 0001$").await;
    assert_eq!(status, 0);
    assert!(out.lines().nth(1).unwrap().starts_with("peer00001 "), "{out}");
    assert!(out.contains("\n1 sip peers ["));

    edge.silence("registrar-1");
    let began = Instant::now();
    let (status, out, err) = sip(&edge, "show peers").await;
    assert!(began.elapsed() < Duration::from_secs(2), "one deadline, not one a page");
    assert_eq!(status, 0);
    assert!(out.contains("2 sip peers"), "what the other one knows: {out}");
    assert_eq!(err, "No answer from registrar registrar-1 (did not answer in time).\n");
}

#[tokio::test]
async fn an_answer_without_any_pod_is_an_error_that_names_them() {
    let edge = Edge::start(3, None).await;
    edge.silence("registrar-0");
    edge.silence("registrar-1");
    let (status, problem) = json(&edge, "/v1/peers").await;
    assert_eq!(status, 503);
    let missing: Vec<_> =
        problem["missing"].as_array().unwrap().iter().map(|pod| pod["pod"].clone()).collect();
    assert_eq!(missing, ["registrar-0", "registrar-1"]);
    let (status, out, err) = sip(&edge, "show peers").await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("no registrar pod answered") && err.contains("registrar-1"), "{err}");
}

#[tokio::test]
async fn channels_of_every_signaling_pod_are_one_list_with_the_media_of_the_relay() {
    let edge = Edge::start(0, None).await;
    let (_, out, _) = sip(&edge, "show channels").await;
    assert!(out.ends_with("4 active SIP dialogs\n"), "{out}");
    let (_, page) = json(&edge, "/v1/channels?limit=3").await;
    assert_eq!(page["channels"].as_array().unwrap().len(), 3);
    let next = page["next"].as_str().unwrap();
    let (_, rest) = json(&edge, &format!("/v1/channels?cursor={next}")).await;
    assert_eq!(rest["channels"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next"], "");

    let (_, out, _) = sip(&edge, "show channelstats").await;
    let row = out.lines().find(|line| line.contains("call-0-a")).unwrap();
    assert!(row.contains("0000000101  0000000002 ( 1.94%) 0.0010 0000000098 "), "{row}");
    let (_, out, _) = sip(&edge, "show bridged --pods").await;
    assert!(
        out.contains("(ulaw)") && out.contains(" signaling-1\n") && out.ends_with("2 active SIP bridges\n"),
        "{out}"
    );
    let (_, out, _) = sip(&edge, "show channel call-1-b").await;
    assert!(
        out.contains("  Call-ID:                call-1-b\n")
            && out.contains("Audio IP:               127.0.10.1"),
        "{out}"
    );

    edge.silence("media-0");
    let (status, out, err) = sip(&edge, "show channelstats").await;
    assert_eq!((status, err.as_str()), (0, "No answer from media media-0 (did not answer in time).\n"));
    assert!(out.ends_with("0 active SIP channels\n"));
}

#[tokio::test]
async fn pruning_asks_every_registrar_and_counts_a_peer_once() {
    let edge = Edge::start(4, None).await;
    let (_, answer) = post(&edge, "/v1/realtime/prune?all=true").await;
    assert_eq!(answer["pruned"], 4);
    assert_eq!(answer["receipts"].as_array().unwrap().len(), 2);
    let edge = Edge::start(4, None).await;
    assert_eq!(sip(&edge, "prune realtime peer00001").await.1, "Peer 'peer00001' pruned.\n");
    assert_eq!(sip(&edge, "prune realtime peer00001").await.1, "Peer 'peer00001' not found.\n");
    assert_eq!(
        sip(&edge, "prune realtime static").await.1,
        "Peer 'static' is not a Realtime peer, cannot be pruned.\n"
    );
    assert_eq!(sip(&edge, "prune realtime all").await.1, "3 peers pruned.\n");
}

#[tokio::test]
async fn peers_are_shown_unregistered_and_qualified_by_name() {
    let edge = Edge::start(2, None).await;
    let (status, out, _) = sip(&edge, "show peer peer00000").await;
    assert_eq!(status, 0);
    assert!(out.starts_with("\n\n  * Name       : peer00000\n"), "{out}");
    assert_eq!(sip(&edge, "show peer nosuch").await, (1, "Peer nosuch not found.\n\n".into(), String::new()));
    assert_eq!(sip(&edge, "unregister peer00000").await.1, "Unregistered peer 'peer00000'\n\n");
    assert_eq!(sip(&edge, "unregister peer00000").await.1, "Peer peer00000 not registered\n");
    assert_eq!(sip(&edge, "unregister nosuch").await.1, "Peer unknown: 'nosuch'. Not unregistered.\n");
    assert_eq!(sip(&edge, "qualify peer peer00001").await, (0, String::new(), String::new()));
    assert_eq!(sip(&edge, "qualify peer nosuch").await.1, "Peer 'nosuch' not found\n");
    let (_, answer) = post(&edge, "/v1/peers/peer00001/qualify").await;
    assert_eq!(answer["results"][0]["status"], "OK (3 ms)");
    assert_eq!(answer["results"][0]["pod"], "signaling-1", "the pod that owns the flow asks");
}

#[tokio::test]
async fn what_one_registrar_does_for_all_the_next_does_when_it_is_late() {
    let edge = Edge::start(2, None).await;
    edge.silence("registrar-0");
    let (status, out, err) = sip(&edge, "unregister peer00000").await;
    assert_eq!((status, out.as_str()), (0, "Unregistered peer 'peer00000'\n\n"));
    assert_eq!(err, "No answer from registrar registrar-0 (did not answer in time).\n");
}

#[tokio::test]
async fn a_contact_whose_pod_does_not_answer_is_not_qualified_and_the_pod_is_named() {
    let edge = Edge::start(2, None).await;
    edge.silence("signaling-1");
    let (status, problem) = post(&edge, "/v1/peers/peer00001/qualify").await;
    assert_eq!((status, problem["missing"][0]["pod"].as_str()), (503, Some("signaling-1")));
}

#[tokio::test]
async fn grpc_speaks_the_same_on_the_same_port() {
    let edge = Edge::start(1200, None).await;
    let mut client = AdminClient::connect(edge.url.clone()).await.unwrap();
    let request = pb::ListPeersRequest { like: Some("0$".to_owned()), ..Default::default() };
    let mut stream = client.list_peers(request).await.unwrap().into_inner();
    let mut peers = 0;
    let mut parts = 0;
    while let Some(part) = stream.message().await.unwrap() {
        peers += part.peers.len();
        parts += 1;
    }
    assert_eq!((peers, parts > 1), (120, true));
    let refused =
        client.list_peers(pb::ListPeersRequest { like: Some("[".to_owned()), ..Default::default() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let absent = client.get_peer(pb::GetPeerRequest { name: "nosuch".to_owned(), load: false }).await;
    assert_eq!(absent.unwrap_err().code(), Code::NotFound);

    let channel = tonic::transport::Endpoint::new(edge.url.clone()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: "fairlead.admin.v1.Admin".to_owned() };
    let status = health.check(asked).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
}

#[tokio::test]
async fn grpc_reflection_knows_the_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response::MessageResponse};

    let edge = Edge::start(0, None).await;
    let channel = tonic::transport::Endpoint::new(edge.url.clone()).unwrap().connect().await.unwrap();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "fairlead.admin.v1.Admin"), "{list:?}");
}

#[tokio::test]
async fn with_a_token_nobody_comes_in_without_it() {
    let edge = Edge::start(2, Some("a-good-token")).await;
    for path in ["/v1/peers", "/openapi.json", "/v1/nothing", "/"] {
        let (status, headers, body) = ask(&edge, "GET", path, &[]).await;
        assert_eq!(status, 401, "{path}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["www-authenticate"], "Bearer realm=\"fairlead\"");
        assert!(!body.contains("peer0"));
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&edge, "GET", path, &[]).await.0, 200, "{path}");
    }
    let bearer = ("authorization", "Bearer a-good-token");
    assert_eq!(ask(&edge, "GET", "/v1/peers", &[bearer]).await.0, 200);
    assert_eq!(sip(&edge, "show peers").await.0, 0);
    let mut client = AdminClient::connect(edge.url.clone()).await.unwrap();
    let refused = client.list_pods(pb::ListPodsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(pb::ListPodsRequest {});
    request.metadata_mut().insert("authorization", "Bearer a-good-token".parse().unwrap());
    assert_eq!(client.list_pods(request).await.unwrap().into_inner().pods.len(), 2);
    // Who guesses is seen: four paths and one gRPC method.
    let counted = ask(&edge, "GET", "/metrics", &[]).await.2;
    assert!(counted.contains("fairlead_admin_refused_total{reason=\"unauthorized\"} 5"), "{counted}");
}

#[tokio::test]
async fn without_a_token_a_page_of_another_site_is_refused() {
    let edge = Edge::start(2, None).await;
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(ask(&edge, "POST", "/v1/peers/peer00000/unregister", &foreign).await.0, 401);
    assert_eq!(ask(&edge, "GET", "/v1/peers", &[("host", "rebound.example")]).await.0, 401);
    assert_eq!(ask(&edge, "GET", "/v1/peers", &[]).await.0, 200);
}

#[tokio::test]
async fn errors_are_problems() {
    let edge = Edge::start(2, None).await;
    for (method, path, status) in [
        ("GET", "/v1/peers/nosuch", 404),
        ("GET", "/v1/peers?like=%5B", 400),
        ("GET", "/v1/peers?limit=0", 400),
        ("GET", "/v1/peers?limit=10001", 400),
        ("GET", "/v1/peers?cursor=!!", 400),
        ("GET", "/v1/peers?liek=x", 400),
        ("POST", "/v1/realtime/prune", 400),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/peers", 405),
    ] {
        let (got, headers, body) = ask(&edge, method, path, &[]).await;
        assert_eq!(got, status, "{method} {path} {body}");
        assert_eq!(headers["content-type"], "application/problem+json", "{path}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn text_is_the_table_that_the_words_print() {
    let edge = Edge::start(3, None).await;
    for (path, words) in [
        ("/v1/peers", "show peers"),
        ("/v1/peers/peer00001", "show peer peer00001"),
        ("/v1/inuse", "show inuse"),
    ] {
        let (_, _, text) = ask(&edge, "GET", path, &[("accept", "text/plain")]).await;
        assert_eq!(text, sip(&edge, words).await.1, "{path}");
    }
}

#[tokio::test]
async fn json_and_csv_are_for_programs() {
    let edge = Edge::start(3, None).await;
    let (_, out, _) = sip(&edge, "show peers --format json").await;
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["peers"].as_array().unwrap().len(), 3);
    let (_, out, _) = sip(&edge, "show peers --csv").await;
    let mut lines = out.lines();
    let name = lines.next().unwrap().split(',').position(|column| column == "name").unwrap();
    assert_eq!(lines.next().unwrap().split(',').nth(name), Some("peer00000"));
    let (_, out, _) = sip(&edge, "show peer nosuch --format json").await;
    assert_eq!(out, "");
}

#[tokio::test]
async fn operations_and_pods_that_do_not_answer_are_counted() {
    let edge = Edge::start(2, None).await;
    edge.silence("registrar-0");
    sip(&edge, "show peers").await;
    sip(&edge, "show peer nosuch").await;
    let (_, _, text) = ask(&edge, "GET", "/metrics", &[]).await;
    for line in [
        "fairlead_admin_operations_total{operation=\"show peers\",outcome=\"ok\"} 1",
        "fairlead_admin_operations_total{operation=\"show peer\",outcome=\"not_found\"} 1",
        "fairlead_admin_operation_seconds_count{operation=\"show peer\"} 1",
        "fairlead_admin_unanswered_total{role=\"registrar\"} 2",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let edge = Arc::new(Edge::start(50, None).await);
    let asked = (0..200).map(|_| {
        let edge = edge.clone();
        tokio::spawn(async move { ask(&edge, "GET", "/v1/peers", &[]).await.0 })
    });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.unwrap(), 200);
    }
}

#[tokio::test]
async fn doctor_finds_nothing_where_nothing_is_wrong_and_names_who_is_silent() {
    let edge = Edge::start(0, None).await;
    assert_eq!(sip(&edge, "doctor").await, (0, "no findings\n".to_owned(), String::new()));
    edge.silence("media-0");
    let (status, out, err) = sip(&edge, "doctor").await;
    assert_eq!((status, err.as_str()), (1, "No answer from media media-0 (did not answer in time).\n"));
    assert!(out.contains("error     NoAnswer  media-0") && out.contains("kubectl logs media-0"), "{out}");
}

#[tokio::test]
async fn doctor_puts_together_what_pods_say_and_what_only_several_show() {
    let finding = |severity, about: &str| {
        Finding::new(code::REDIS_EVICTS, severity, about, "Redis may evict.", "maxmemory-policy")
    };
    let pod = |name: &str, ahead_ms: i64, version: &str, findings| {
        let says = Diagnosis { version: version.to_owned(), findings, ..Diagnosis::default() };
        let (pod, name) = (PodRef(ahead_ms.unsigned_abs()), name.to_owned());
        Door { pod, name, role: Role::Registrar, port: edge::examined(ahead_ms, says) }
    };
    let directory = Together {
        every_pod: vec![
            pod("registrar-0", 0, "0.1.0", vec![finding(Severity::Warning, "redis")]),
            pod("registrar-1", 1, "0.1.0", vec![finding(Severity::Warning, "redis")]),
            pod("registrar-2", 9_000, "0.2.0", Vec::new()),
        ],
        surroundings: Surroundings {
            findings: vec![finding(Severity::Error, "edge-sip")],
            ..Surroundings::default()
        },
        ..Together::default()
    };
    let edge = Edge::open(Arc::new(directory), None).await;
    let (status, answer) = json(&edge, "/v1/doctor").await;
    assert_eq!(status, 200);
    let found: Vec<_> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (&found["code"], &found["about"]))
        .collect();
    assert_eq!(
        found,
        [
            (&"RedisEvicts".into(), &"edge-sip".into()),
            (&"ClocksApart".into(), &"registrar-2".into()),
            (&"RedisEvicts".into(), &"redis".into()),
            (&"VersionsDiffer".into(), &"0.1.0, 0.2.0".into()),
        ]
    );
    assert_eq!(sip(&edge, "doctor").await.0, 1);
}

#[tokio::test]
async fn an_address_is_printed_or_why_there_is_none() {
    let edge = Edge::start(0, None).await;
    let printed = (0, "udp 203.0.113.7:5060\ntcp 203.0.113.7:5060\n".to_owned(), String::new());
    assert_eq!(sip(&edge, "address").await, printed);
    let (_, answer) = json(&edge, "/v1/addresses").await;
    assert_eq!(
        (&answer["addresses"][0]["transport"], &answer["addresses"][1]["port"]),
        (&"udp".into(), &5060.into())
    );

    let edge = Edge::open(Arc::new(Together::default()), None).await;
    let began = Instant::now();
    let (status, out, _) = sip(&edge, "address --wait=2s").await;
    assert!(status == 1 && out.starts_with("No address yet. "), "{out}");
    assert!(began.elapsed() >= Duration::from_secs(1), "it was waited for");
}

async fn post(edge: &Edge, path: &str) -> (u16, serde_json::Value) {
    let (status, _, body) = ask(edge, "POST", path, &[]).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_pod_that_nobody_can_ask_is_listed_without_a_port() {
    let edge = Edge::start(1, None).await;
    let (status, page) = json(&edge, "/v1/pods").await;
    assert_eq!(status, 200);
    let rows = page["pods"].as_array().unwrap().iter();
    let rows: Vec<_> = rows.map(|pod| (pod["role"].as_str(), pod["grpc"].as_str())).collect();
    assert_eq!(rows, [(Some("signaling"), Some("127.0.0.1:1")), (Some("operator"), Some(""))]);
}
