//! Who may do what: people by RBAC, programs by bearer tokens.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::world::World;

/// People, what of `admin.access` names them, and the levels that they reach.
const PEOPLE: [(&str, Option<&str>); 4] =
    [("nina", None), ("vera", Some("viewer")), ("alex", Some("agent")), ("root", Some("admin"))];

/// What is asked, the least level that may, and the rule of the API that a lower one lacks.
const WORDS: [(&str, usize, &str); 6] = [
    ("show peers", 1, "list"),
    ("show channels", 1, "list"),
    ("doctor", 1, "list"),
    ("unregister e001", 2, "create serviceaccounts/token"),
    ("qualify peer e001", 2, "create serviceaccounts/token"),
    ("prune realtime e001", 3, "create serviceaccounts/token"),
];

pub async fn three_people_may_what_their_role_says(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    world.registered(1, 1).await?;
    let outcome = try_people(world).await;
    world.upgrade("--set-json admin.access.viewer=[],admin.access.agent=[],admin.access.admin=[]").await?;
    world.run("kubectl delete namespace people --ignore-not-found --wait=false").await?;
    outcome
}

async fn try_people(world: &mut World) -> anyhow::Result<()> {
    world.run("kubectl create namespace people --dry-run=client -o yaml | kubectl apply -f -").await?;
    let mut access = Vec::new();
    for (name, level) in PEOPLE {
        world
            .run(&format!(
                "kubectl -n people create serviceaccount {name} --dry-run=client -o yaml | kubectl apply -f -"
            ))
            .await?;
        // Their own kubeconfig: the address of the API server, and who they are.
        world
            .run(&format!(
                "mkdir -p target/e2e && token=$(kubectl -n people create token {name}) && kubectl config view --raw --minify --flatten -o json \
                 | jq --arg token \"$token\" '.users[0].user = {{token: $token}}' >target/e2e/{name}.kubeconfig && chmod 600 target/e2e/{name}.kubeconfig"
            ))
            .await?;
        if let Some(level) = level {
            access.push(format!(
                "admin.access.{level}=[{{\"kind\":\"ServiceAccount\",\"name\":\"{name}\",\"namespace\":\"people\"}}]"
            ));
        }
    }
    let words: Vec<_> = access.iter().map(|each| format!("--set-json '{each}'")).collect();
    world.upgrade(&words.join(" ")).await?;
    let mut wrong = Vec::new();
    for (level, (name, _)) in PEOPLE.into_iter().enumerate() {
        let (mut may, mut may_not) = (Vec::new(), Vec::new());
        for (words, least, rule) in WORDS {
            let line = format!("KUBECONFIG=target/e2e/{name}.kubeconfig kubectl sip -n sip {words}");
            let (done, said) = world.cluster.shell.both(&line).await?;
            if level >= least {
                may.push(words);
                if !done {
                    wrong.push(format!("{name} may `{words}` and is told:\n{said}"));
                }
                continue;
            }
            may_not.push((words, said.trim().to_owned()));
            // Who may nothing at all is not even told which pods there are.
            let rule = if level == 0 { "list pods" } else { rule };
            if done || !said.contains(rule) || !said.contains("namespace sip") {
                wrong.push(format!(
                    "{name} may not `{words}` for lack of `{rule}`; done: {done}, said:\n{said}"
                ));
            }
        }
        world.figure(format!(
            "{name} may {}",
            if may.is_empty() { "nothing".to_owned() } else { may.join(", ") }
        ));
        if let Some((words, said)) = may_not.last() {
            world.figure(format!("{name}, `{words}`: {said}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// `PruneRealtime {all: true}` as gRPC frames it, and an empty `ListPods`.
const PRUNE_ALL: &str = r"\0\0\0\0\2\10\1";
const EMPTY: &str = r"\0\0\0\0\0";

pub async fn a_missing_or_lesser_bearer_is_told_what_it_needs(world: &mut World) -> anyhow::Result<()> {
    world.installed().await?;
    let forward = world.forward("svc/edge-fairlead-admin", 8080).await?;
    let at = format!("localhost:{}", forward.port);
    let token = |account: &str, audience: &str| {
        format!("kubectl -n sip create token edge-fairlead-{account} --duration=10m {audience}")
    };
    let ours = "--audience=fairlead-admin/sip/edge";
    let viewer = world.run(&token("viewer", ours)).await?.trim().to_owned();
    let agent = world.run(&token("agent", ours)).await?.trim().to_owned();
    let elsewhere =
        world.run(&token("admin", "--audience=fairlead-admin/sip/another")).await?.trim().to_owned();
    let own = world.run(&token("admin", "")).await?.trim().to_owned();
    let fixed = world
        .run("kubectl -n sip get secret edge-fairlead-admin -o jsonpath='{.data.token}' | base64 -d")
        .await?;
    let (get, prune) = (("GET", "/v1/peers?limit=1"), ("POST", "/v1/realtime/prune?name=e002"));
    let unregister = ("POST", "/v1/peers/e002/unregister");
    for (what, bearer, (method, path), status, words) in [
        ("no token", "", get, 401, "a bearer token is wanted"),
        ("a wrong token", "wrong-token", get, 401, "not one that is let in"),
        ("a token for another release", &elsewhere, get, 401, "not one that is let in"),
        ("a token for the API server", &own, get, 401, "not one that is let in"),
        ("viewer's", &viewer, get, 200, ""),
        ("viewer's", &viewer, unregister, 403, "create sippeers.fairlead.dev/unregister"),
        ("viewer's", &viewer, prune, 403, "create sippeers.fairlead.dev/prune"),
        ("agent's", &agent, unregister, 200, ""),
        ("agent's", &agent, prune, 403, "create sippeers.fairlead.dev/prune"),
        ("the static token", &fixed, prune, 200, ""),
    ] {
        let header =
            if bearer.is_empty() { String::new() } else { format!("-H 'Authorization: Bearer {bearer}'") };
        let said = world
            .run(&format!(
                "curl -sS -X {method} {header} -w '\\n%{{http_code}} %{{content_type}}' '{at}{path}'"
            ))
            .await?;
        let (body, end) = said.trim_end().rsplit_once('\n').with_context(|| said.clone())?;
        ensure!(end.starts_with(&status.to_string()), "{what}, {method} {path}: {end}, not {status}\n{body}");
        if status >= 400 {
            let problem: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;
            let detail = problem["detail"].as_str().unwrap_or_default();
            ensure!(
                end.contains("application/problem+json")
                    && problem["status"] == status
                    && detail.contains(words),
                "{what}, {method} {path}: {end}\n{body}"
            );
            world.figure(format!("{what}, {method} {path}: {status} {detail}"));
        }
    }
    let (list, prune) = (("ListPods", EMPTY), ("PruneRealtime", PRUNE_ALL));
    for (what, bearer, (call, frame), code, name) in [
        ("no token", "", list, 16, "UNAUTHENTICATED"),
        ("a wrong token", "wrong-token", list, 16, "UNAUTHENTICATED"),
        ("a token for another release", &elsewhere, list, 16, "UNAUTHENTICATED"),
        ("viewer's", &viewer, list, 0, "OK"),
        ("viewer's", &viewer, prune, 7, "PERMISSION_DENIED"),
        ("agent's", &agent, prune, 7, "PERMISSION_DENIED"),
    ] {
        let header =
            if bearer.is_empty() { String::new() } else { format!("-H 'Authorization: Bearer {bearer}'") };
        // Trailers are headers where curl shows them.
        let said = world
            .run(&format!(
                "printf '{frame}' | curl -sS --http2-prior-knowledge -D - -o /dev/null -H 'Content-Type: application/grpc' -H 'TE: trailers' \
                 {header} --data-binary @- http://{at}/fairlead.admin.v1.Admin/{call}"
            ))
            .await?;
        let of = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        ensure!(
            of("grpc-status") == Some(code.to_string()),
            "gRPC {call} with {what} is not {name}:\n{said}"
        );
        world.figure(format!("gRPC {call}, {what}: {name} {}", of("grpc-message").unwrap_or_default()));
    }
    forward.end().await
}
