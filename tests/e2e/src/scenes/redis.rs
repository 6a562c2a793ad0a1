//! Redis of one's own, as the examples of values say: with TLS, behind Sentinel, as a Cluster; each with a user and its password.
//!
//! The pods have the names that the examples have. They are pods without a controller: one that is deleted does not come back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::phones::words::Tell;
use crate::small::{Small, short_call};
use crate::world::{World, until};

const USER: &str = "edge";
const PASSWORD: &str = "the-password-of-the-edge";

/// How long an edge may refuse while Sentinel makes a replica the master: its patience (1 s), a vote, our next attempt.
const FAILOVER: Duration = Duration::from_secs(15);

pub async fn redis_with_tls_and_a_user(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-redis-tls", "restricted").await?;
    let outcome = with_tls(world, &small).await;
    small.end(world, outcome).await
}

pub async fn redis_behind_sentinel_fails_over(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-redis-sentinel", "restricted").await?;
    let outcome = behind_sentinel(world, &small).await;
    small.end(world, outcome).await
}

pub async fn redis_as_a_cluster(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-redis-cluster", "restricted").await?;
    let outcome = as_a_cluster(world, &small).await;
    small.end(world, outcome).await
}

async fn with_tls(world: &mut World, small: &Small) -> anyhow::Result<()> {
    let folder = world.cluster.shell.root.join("target/e2e").join(small.namespace);
    let folder = folder.display();
    // Its certificate is of an authority that nobody else knows.
    world
        .run(&format!(
            "mkdir -p {folder} && cd {folder} && \
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=authority of Redis' -keyout ca.key -out ca.crt 2>/dev/null && \
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis -keyout tls.key -out tls.csr 2>/dev/null && \
             openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile <(echo subjectAltName=DNS:redis) -out tls.crt 2>/dev/null"
        ))
        .await?;
    small.kubectl(world, &format!("create secret generic redis-ca --from-file={folder}/ca.crt")).await?;
    small
        .kubectl(
            world,
            &format!("create secret tls redis-tls --cert={folder}/tls.crt --key={folder}/tls.key"),
        )
        .await?;
    access(world, small, "password").await?;
    let args = "--port 0 --tls-port 6380 --tls-auth-clients no --tls-ca-cert-file /etc/authority/ca.crt \
                --tls-cert-file /etc/tls/tls.crt --tls-key-file /etc/tls/tls.key --aclfile /etc/access/users.acl --dir /data";
    let mut server = server(&world.redis_image(), "redis-0", args);
    mount(&mut server, "tls", "/etc/tls", json!({"secret": {"secretName": "redis-tls"}}))?;
    mount(&mut server, "authority", "/etc/authority", json!({"secret": {"secretName": "redis-ca"}}))?;
    small.apply(world, &[service(), server]).await?;
    // The example names a host that is in no cluster.
    install(world, small, "values-redis-tls.yaml --set redis.url=rediss://edge@redis:6380").await?;
    let (ann, ben) = small.ann_and_ben(world).await?;
    short_call(world, &ann, &ben).await?;
    let clients =
        redis_cli(world, small, "redis-0", "--tls --cacert /etc/authority/ca.crt -p 6380", "client list")
            .await?;
    let of_the_edge = clients
        .lines()
        .filter(|line| line.contains(&format!("user={USER} ")) && !line.contains("cmd=client"))
        .count();
    ensure!(of_the_edge > 0, "nobody is connected as {USER}:\n{clients}");
    world.figure(format!("{of_the_edge} connections as user {USER}, by TLS alone"));
    Ok(())
}

async fn behind_sentinel(world: &mut World, small: &Small) -> anyhow::Result<()> {
    let image = world.redis_image();
    let args = format!(
        "--aclfile /etc/access/users.acl --dir /data --repl-diskless-sync-delay 0 --masteruser {USER} --masterauth {PASSWORD}"
    );
    access(world, small, "password").await?;
    small.apply(world, &[service(), server(&image, "redis-0", &args)]).await?;
    let master = address(world, small, "redis-0").await?;
    // Sentinel writes into its settings, and a Secret cannot be written: they are copied.
    let sentinels = if world.cluster.own {
        let name = "localhost/redis-sentinel:7";
        world
            .run(&format!(
                "tests/cluster/cluster pack {name} /usr/bin/redis-server /usr/bin/redis-cli /usr/bin/cp"
            ))
            .await?;
        name.to_owned()
    } else {
        image.clone()
    };
    let settings = format!(
        "sentinel monitor mymaster {master} 6379 2\nsentinel auth-user mymaster {USER}\nsentinel auth-pass mymaster {PASSWORD}\n\
         sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 4000\n"
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sentinel"}, "stringData": {"sentinel.conf": settings}});
    let replica = server(&image, "redis-1", &format!("{args} --replicaof {master} 6379"));
    let mut objects = vec![secret, replica];
    for number in 0..3 {
        let mut sentinel =
            server(&sentinels, &format!("sentinel-{number}"), "/data/sentinel.conf --sentinel");
        mount(&mut sentinel, "settings", "/etc/sentinel", json!({"secret": {"secretName": "sentinel"}}))?;
        let mut copies = container(&sentinels, "copies");
        copies["command"] = json!(["cp", "/etc/sentinel/sentinel.conf", "/data/sentinel.conf"]);
        copies["volumeMounts"] = sentinel["spec"]["containers"][0]["volumeMounts"].clone();
        sentinel["spec"]["initContainers"] = json!([copies]);
        objects.push(sentinel);
    }
    small.apply(world, &objects).await?;
    install(world, small, "values-redis-sentinel.yaml").await?;
    small.peers(world, &["carl"]).await?;
    let edge = small.edge(world).await?;
    let (ann, ben) = small.ann_and_ben(world).await?;
    let carl = small.registered(&world.phones, "carl", edge).await?;
    until(Duration::from_secs(15), || async {
        for number in 0..3 {
            let said = sentinel(world, small, number, "sentinel master mymaster").await?;
            let words: Vec<&str> = said.lines().collect();
            let of = |name: &str| {
                words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1).copied())
            };
            ensure!(
                of("num-slaves") == Some("1") && of("num-other-sentinels") == Some("2"),
                "sentinel-{number} does not know all others yet:\n{said}"
            );
        }
        Ok(())
    })
    .await?;
    let before = registered_addresses(world, small).await?;

    let lost = Instant::now();
    small.kubectl(world, "delete pod redis-0 --grace-period=1 --wait=false").await?;
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let mut confirmed_again = Duration::ZERO;
    loop {
        let begun = lost.elapsed();
        let (status, _) = carl.status(Tell::Register(3600)).await?;
        *seen.entry(status).or_default() += 1;
        match status {
            // For three seconds, and by another master.
            200 if begun > confirmed_again + Duration::from_secs(3) => {
                let said = sentinel(world, small, 0, "sentinel get-master-addr-by-name mymaster").await?;
                if !said.contains(&master) {
                    break;
                }
            }
            200 => {}
            503 => {
                confirmed_again = lost.elapsed();
                let head = carl.refusal().await?;
                ensure!(head.contains("\r\nRetry-After:"), "503 without Retry-After:\n{head}");
            }
            other => bail!("REGISTER was answered {other}, {begun:?} after the master was lost"),
        }
        ensure!(begun < FAILOVER + Duration::from_secs(5), "{begun:?} after the master was lost: {seen:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.figure(format!(
        "the master was lost: REGISTERs by status {seen:?}, refused until {:.1} s, then confirmed by its replica",
        confirmed_again.as_secs_f64()
    ));
    ensure!(confirmed_again < FAILOVER, "refused for {confirmed_again:?}");
    let after = registered_addresses(world, small).await?;
    ensure!(before == after, "registered before: {before:?}\nafter the failover: {after:?}");
    // Neither has registered anew.
    short_call(world, &ann, &ben).await?;
    world.figure(format!("{} registrations are as before, two of them in a call", after.len()));
    Ok(())
}

async fn as_a_cluster(world: &mut World, small: &Small) -> anyhow::Result<()> {
    access(world, small, "redis-password").await?;
    let image = world.redis_image();
    let names = ["redis-0", "redis-1", "redis-2"];
    let args =
        "--cluster-enabled yes --cluster-node-timeout 2000 --aclfile /etc/access/users.acl --dir /data";
    let mut objects = vec![service()];
    objects.extend(names.iter().map(|name| server(&image, name, args)));
    small.apply(world, &objects).await?;
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(format!("{}:6379", address(world, small, name).await?));
    }
    let line = format!("--cluster create {} --cluster-yes", nodes.join(" "));
    until(Duration::from_secs(10), || redis_cli(world, small, "redis-0", "", &line)).await?;
    install(world, small, "values-redis-cluster.yaml").await?;
    let (ann, ben) = small.ann_and_ben(world).await?;
    short_call(world, &ann, &ben).await?;
    let mut keys = Vec::new();
    for name in names {
        keys.push(redis_cli(world, small, name, "", "dbsize").await?.trim().to_owned());
    }
    ensure!(
        keys.iter().filter(|count| count.as_str() != "0").count() > 1,
        "all keys lie on one of the masters: {keys:?}"
    );
    world.figure(format!("keys on the three masters: {}", keys.join(", ")));
    Ok(())
}

/// The release with values of deploy/examples, and words that override them.
async fn install(world: &World, small: &Small, example: &str) -> anyhow::Result<()> {
    small.install(world, &format!("--set redis.enabled=false -f deploy/examples/{example}")).await.map(drop)
}

/// Name and address of all that `sip show peers` shows as registered.
async fn registered_addresses(world: &World, small: &Small) -> anyhow::Result<Vec<(String, String)>> {
    let said = world.run(&format!("kubectl sip -n {} show peers", small.namespace)).await?;
    let rows = said.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let found: Vec<_> = rows.filter(|(_, address)| address.parse::<std::net::IpAddr>().is_ok()).collect();
    ensure!(found.len() >= 3, "`sip show peers` shows {found:?}:\n{said}");
    Ok(found)
}

/// The password for the edge under this key of the Secret `redis`, and the same for servers: nobody else gets in.
async fn access(world: &World, small: &Small, key: &str) -> anyhow::Result<()> {
    let secret = |name: &str, key: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}});
    let users = format!("user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\n");
    small.apply(world, &[secret("redis", key, PASSWORD), secret("redis-access", "users.acl", &users)]).await
}

/// Gives each of the pods a name: redis-0.redis.
fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis"},
        "spec": {"clusterIP": "None", "selector": {"app": "redis"}, "publishNotReadyAddresses": true}})
}

fn container(image: &str, name: &str) -> Value {
    json!({"name": name, "image": image, "securityContext": {
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}})
}

/// A pod with redis-server.
fn server(image: &str, name: &str, args: &str) -> Value {
    let mut container = container(image, "redis");
    container["command"] = json!(["redis-server"]);
    container["args"] = args.split_whitespace().collect();
    container["volumeMounts"] = json!([
        {"name": "data", "mountPath": "/data"}, {"name": "access", "mountPath": "/etc/access", "readOnly": true}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "redis"}},
        "spec": {
            "hostname": name, "subdomain": "redis", "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "access", "secret": {"secretName": "redis-access"}}]}})
}

fn mount(pod: &mut Value, name: &str, path: &str, mut volume: Value) -> anyhow::Result<()> {
    volume["name"] = json!(name);
    let spec = &mut pod["spec"];
    spec["volumes"].as_array_mut().context("no volumes")?.push(volume);
    let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().context("no mounts")?;
    mounts.push(json!({"name": name, "mountPath": path, "readOnly": true}));
    Ok(())
}

/// The address of a pod, once it runs.
async fn address(world: &World, small: &Small, pod: &str) -> anyhow::Result<String> {
    small.kubectl(world, &format!("wait --for=condition=Ready pod/{pod} --timeout=30s")).await?;
    small.kubectl(world, &format!("get pod {pod} -o jsonpath='{{.status.podIP}}'")).await
}

async fn redis_cli(
    world: &World,
    small: &Small,
    pod: &str,
    how: &str,
    words: &str,
) -> anyhow::Result<String> {
    small
        .kubectl(world, &format!("exec {pod} -c redis -- redis-cli {how} --user {USER} --pass {PASSWORD} --no-auth-warning {words}"))
        .await
}

async fn sentinel(world: &World, small: &Small, number: usize, words: &str) -> anyhow::Result<String> {
    small.kubectl(world, &format!("exec sentinel-{number} -c redis -- redis-cli -p 26379 {words}")).await
}
