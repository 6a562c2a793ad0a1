//! Certificates that others make: `tls.internal.mode` existing, cert-manager, off. `generated` is in `secrets`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::outside::Phone;
use crate::small::{Small, SmallPod, short_call};
use crate::world::{World, until};

const ROLES: [&str; 5] = ["signaling", "media", "registrar", "admin", "operator"];

/// How long a Secret may take until a pod uses it. Its kubelet alone would take up to two minutes.
const SOON: Duration = Duration::from_secs(20);

pub async fn certificates_of_ones_own(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-tls-existing", "restricted").await?;
    let outcome = of_ones_own(world, &small).await;
    small.end(world, outcome).await
}

pub async fn certificates_by_cert_manager(world: &mut World) -> anyhow::Result<()> {
    let kinds = world.run("tests/charts/run.sh kinds").await.context("the kinds of cert-manager")?;
    let kinds =
        format!("-f {0}/cert-manager.io_certificates.yaml -f {0}/cert-manager.io_issuers.yaml", kinds.trim());
    let (there, _) = world.cluster.shell.both(&format!("kubectl get {kinds}")).await?;
    if !there {
        world
            .run(&format!(
                "kubectl apply --server-side {kinds} && kubectl wait --for=condition=Established {kinds}"
            ))
            .await?;
    }
    let small = Small::prepare(world, "e2e-cert-manager", "restricted").await?;
    let outcome = by_cert_manager(world, &small).await;
    let outcome = small.end(world, outcome).await;
    if !there {
        world.run(&format!("kubectl delete --wait=false {kinds}")).await?;
    }
    outcome
}

pub async fn no_certificates_is_said_loudly(world: &mut World) -> anyhow::Result<()> {
    let small = Small::prepare(world, "e2e-tls-off", "restricted").await?;
    let outcome = off(world, &small).await;
    small.end(world, outcome).await
}

async fn of_ones_own(world: &mut World, small: &Small) -> anyhow::Result<()> {
    // One Secret has a name of its own, the others those that the values name.
    let secret = |role: &str| match role {
        "registrar" => "of-the-registrar".to_owned(),
        role => format!("edge-fairlead-tls-{role}"),
    };
    let old = Authority::make(world, small, "old").await?;
    let mut leaves = BTreeMap::new();
    for role in ROLES {
        let leaf = old.sign(world, &Leaf::of(role, small.namespace, 20)).await?;
        leaf.put(world, small, &secret(role), &[&old]).await?;
        leaves.insert(role, leaf);
    }
    small
        .install(
            world,
            "--set tls.internal.mode=existing,tls.internal.existingSecrets.registrar=of-the-registrar",
        )
        .await?;
    let (ann, ben) = small.ann_and_ben(world).await?;
    let lives = lives(&small.pods(world).await?);
    let pair = in_a_call(&ann, &ben).await?;
    let chapter = super::calls::begin(world, &pair).await?;

    // A certificate.
    let before = used(world, small).await?;
    leaves.insert("registrar", old.sign(world, &Leaf::of("registrar", small.namespace, 21)).await?);
    leaves["registrar"].put(world, small, &secret("registrar"), &[&old]).await?;
    let took = wait_used(world, small, &before, &["registrar"], &leaves).await?;
    world.figure(format!("another certificate was used after {:.1} s", took.as_secs_f64()));
    ann.register().await?;

    let left_behind = leaves["media"].clone();

    // An authority: trusted by all, then signing for all, then alone.
    let new = Authority::make(world, small, "new").await?;
    let steps: [(&str, bool, Vec<&Authority>); 3] = [
        ("trusted with the old one", false, vec![&old, &new]),
        ("signs", true, vec![&new, &old]),
        ("trusted alone", false, vec![&new]),
    ];
    for (what, signs, trusted) in steps {
        let before = used(world, small).await?;
        for role in ROLES {
            if signs {
                leaves.insert(role, new.sign(world, &Leaf::of(role, small.namespace, 22)).await?);
            }
            leaves[role].put(world, small, &secret(role), &trusted).await?;
        }
        let took = wait_used(world, small, &before, &ROLES, &leaves).await?;
        world.figure(format!("another authority, {what}: in all pods after {:.1} s", took.as_secs_f64()));
        ann.register().await.with_context(|| format!("the new authority is {what}"))?;
    }
    super::calls::compare(world, &pair, chapter).await?;
    ann.hang_up().await?;
    short_call(world, &ben, &ann).await?;
    // Who has only a certificate of the old one is a stranger by now.
    let registrar = small.pod(world, "registrar").await?.name;
    // A forward ends with the first connection that is refused: each has its own.
    let mut answers = Vec::new();
    for leaf in [&left_behind, &leaves["media"]] {
        let door = world.forward_in(small.namespace, &format!("pod/{registrar}"), 7001).await?;
        answers.push(is_refused(world, door.port, leaf).await?);
        door.end().await?;
    }
    let (refused, welcome) = (answers[0], !answers[1]);
    ensure!(
        refused && welcome,
        "the old authority's certificate is refused: {refused}, the new one's is taken: {welcome}"
    );
    world.figure("a certificate of the old authority is refused, one of the new is taken");
    same(&lives, small.pods(world).await?)
}

/// Whether a server ends TLS with an alert when somebody shows this certificate.
async fn is_refused(world: &World, port: u16, leaf: &Leaf) -> anyhow::Result<bool> {
    let line = format!(
        "cd {} && (printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'; sleep 2) | timeout 5 openssl s_client -alpn h2 \
         -connect localhost:{port} -cert {file}.crt -key {file}.key 2>&1",
        leaf.folder.display(),
        file = leaf.file
    );
    let (_, said) = world.cluster.shell.both(&line).await?;
    ensure!(said.contains("CONNECTED"), "no connection:\n{said}");
    Ok(said.to_lowercase().contains("alert"))
}

async fn by_cert_manager(world: &mut World, small: &Small) -> anyhow::Result<()> {
    // The pods wait for what is asked of cert-manager, and helm for the pods.
    let began = Instant::now();
    let (_, manager) = tokio::try_join!(
        small.install(world, "--set tls.internal.mode=cert-manager"),
        Manager::play(world, small)
    )?;
    world.figure(format!(
        "everything ready after {:.1} s, certificates asked of cert-manager included",
        began.elapsed().as_secs_f64()
    ));
    let (ann, ben) = small.ann_and_ben(world).await?;
    let lives = lives(&small.pods(world).await?);
    let pair = in_a_call(&ann, &ben).await?;
    let chapter = super::calls::begin(world, &pair).await?;
    let before = used(world, small).await?;
    let asked = manager.asked.get("edge-fairlead-tls-media").context("nothing is asked for media")?;
    let leaf = manager.issue(world, small, asked).await?;
    let took = wait_used(world, small, &before, &["media"], &BTreeMap::from([("media", leaf)])).await?;
    world.figure(format!("the renewed certificate of media was used after {:.1} s", took.as_secs_f64()));
    super::calls::compare(world, &pair, chapter).await?;
    ann.hang_up().await?;
    short_call(world, &ben, &ann).await?;
    same(&lives, small.pods(world).await?)
}

async fn off(world: &mut World, small: &Small) -> anyhow::Result<()> {
    let notes = small.install(world, "--set tls.internal.mode=off").await?;
    ensure!(notes.contains("WARNING: tls.internal.mode=off"), "the notes do not warn:\n{notes}");
    for pod in small.pods(world).await? {
        let said = small.kubectl(world, &format!("logs {}", pod.name)).await?;
        let loud =
            said.lines().any(|line| line.contains("\"WARN\"") && line.contains("gRPC between pods is plain"));
        ensure!(
            loud,
            "{} does not warn:\n{}",
            pod.name,
            said.lines().take(10).collect::<Vec<_>>().join("\n")
        );
    }
    world.figure("the notes and every pod's log warn");
    let doctor = format!("kubectl sip -n {} doctor", small.namespace);
    let finding = until(Duration::from_secs(15), || async {
        // It ends with 1 when it has found an error.
        let (_, said) = world.cluster.shell.both(&doctor).await?;
        let names_the_value = said.contains("TlsOff") && said.contains("tls.internal.mode");
        ensure!(names_the_value, "no finding of what is missing:\n{said}");
        Ok(said.lines().find(|line| line.contains("TlsOff")).unwrap_or_default().trim().to_owned())
    })
    .await?;
    world.figure(format!("doctor: {finding}"));
    let (ann, ben) = small.ann_and_ben(world).await?;
    short_call(world, &ann, &ben).await.map(drop)
}

async fn in_a_call(caller: &Phone, callee: &Phone) -> anyhow::Result<[(Phone, Phone); 1]> {
    until(Duration::from_secs(15), || async { caller.call(&callee.name).await }).await?;
    Ok([(caller.clone(), callee.clone())])
}

// ---------------------------------------------------------------------- what pods use

/// When the certificate that a pod uses ends, and how many it has taken since it started; by role.
type Used = BTreeMap<String, (i64, i64)>;

async fn used(world: &World, small: &Small) -> anyhow::Result<Used> {
    let mut used = Used::new();
    for pod in small.pods(world).await? {
        let metrics = small.metrics(world, &pod.name).await?;
        let value = |name: &str| -> anyhow::Result<i64> {
            let line = metrics.lines().find(|line| line.starts_with(name));
            let text = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
            Ok(text.parse::<f64>().with_context(|| format!("{name} of {}: {text}", pod.name))? as i64)
        };
        let ends = value("fairlead_tls_certificate_expiry_seconds")?;
        used.insert(pod.component, (ends, value("fairlead_tls_reloads_total{result=\"ok\"}")?));
    }
    Ok(used)
}

/// Waits until pods of these roles have taken what was written, and use these certificates.
async fn wait_used(
    world: &World,
    small: &Small,
    before: &Used,
    roles: &[&str],
    leaves: &BTreeMap<&str, Leaf>,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    until(SOON, || async {
        let now = used(world, small).await?;
        for role in roles {
            let (Some((_, took_before)), Some((ends, took))) = (before.get(*role), now.get(*role)) else {
                bail!("there is no pod of {role}");
            };
            let wanted = leaves.get(role).map(|leaf| leaf.ends);
            ensure!(
                took > took_before && Some(*ends) == wanted,
                "{role} uses the certificate that ends {ends}, wanted {wanted:?}; it took {took}, before {took_before}"
            );
        }
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}

fn lives(pods: &[SmallPod]) -> BTreeMap<String, String> {
    pods.iter().map(|pod| (pod.name.clone(), pod.life.clone())).collect()
}

fn same(before: &BTreeMap<String, String>, pods: Vec<SmallPod>) -> anyhow::Result<()> {
    let after = lives(&pods);
    ensure!(*before == after, "pods were started again: before {before:?}, after {after:?}");
    Ok(())
}

// ---------------------------------------------------------------------- who signs

/// An authority of the test's own: NAME.crt and NAME.key in a folder of the namespace's.
struct Authority {
    folder: PathBuf,
    name: String,
}

/// A certificate and its key, in files of this name beside the authority's.
#[derive(Clone, Debug, Default)]
struct Leaf {
    folder: PathBuf,
    file: String,
    names: Vec<String>,
    /// As openssl calls them.
    key_usage: Vec<String>,
    extended_key_usage: Vec<String>,
    days: u32,
    /// When it ends, seconds since 1970.
    ends: i64,
}

impl Leaf {
    /// What the documents of the chart ask for.
    fn of(role: &str, namespace: &str, days: u32) -> Self {
        Leaf {
            file: format!("{role}-{days}"),
            names: vec![format!("{role}.edge-fairlead.{namespace}")],
            key_usage: vec!["digitalSignature".to_owned()],
            extended_key_usage: vec!["serverAuth".to_owned(), "clientAuth".to_owned()],
            days,
            ..Leaf::default()
        }
    }

    /// Writes it into a Secret of this name, with all who are to be trusted.
    async fn put(
        &self,
        world: &World,
        small: &Small,
        secret: &str,
        trusted: &[&Authority],
    ) -> anyhow::Result<()> {
        let (folder, file) = (self.folder.display(), &self.file);
        let authorities: Vec<_> = trusted.iter().map(|one| format!("{}.crt", one.name)).collect();
        world
            .run(&format!(
                "cd {folder} && cat {} >{file}.ca && kubectl -n {namespace} create secret generic {secret} --type=kubernetes.io/tls \
                 --from-file=tls.crt={file}.crt --from-file=tls.key={file}.key --from-file=ca.crt={file}.ca --dry-run=client -o yaml \
                 | kubectl -n {namespace} apply -f -",
                authorities.join(" "),
                namespace = small.namespace
            ))
            .await
            .map(drop)
    }
}

impl Authority {
    async fn make(world: &World, small: &Small, name: &str) -> anyhow::Result<Self> {
        let folder = world.cluster.shell.root.join("target/e2e").join(small.namespace);
        let authority = Authority { folder, name: name.to_owned() };
        world
            .run(&format!(
                "mkdir -p {folder} && cd {folder} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
                 -subj '/CN={name}' -addext keyUsage=critical,keyCertSign,cRLSign -keyout {name}.key -out {name}.crt 2>/dev/null",
                folder = authority.folder.display()
            ))
            .await
            .context("openssl makes an authority")?;
        Ok(authority)
    }

    /// Makes a key and signs its certificate.
    async fn sign(&self, world: &World, leaf: &Leaf) -> anyhow::Result<Leaf> {
        let Leaf { file, days, .. } = leaf;
        let authority = &self.name;
        let names: Vec<_> = leaf.names.iter().map(|name| format!("DNS:{name}")).collect();
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\\nsubjectAltName=critical,{}\\nkeyUsage=critical,{}\\nextendedKeyUsage={}\\n",
            names.join(","),
            leaf.key_usage.join(","),
            leaf.extended_key_usage.join(",")
        );
        // The key as cert-manager writes it unless it is asked for PKCS #8.
        let said = world
            .run(&format!(
                "cd {} && openssl ecparam -name prime256v1 -genkey -noout -out {file}.key && openssl req -new -key {file}.key -subj / -out {file}.csr && \
                 openssl x509 -req -in {file}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days {days} \
                 -extfile <(printf '{extensions}') -out {file}.crt 2>/dev/null && \
                 date -d \"$(openssl x509 -in {file}.crt -noout -enddate | cut -d= -f2)\" +%s",
                self.folder.display()
            ))
            .await
            .context("openssl signs a certificate")?;
        Ok(Leaf { folder: self.folder.clone(), ends: said.trim().parse().context(said)?, ..leaf.clone() })
    }
}

/// Plays cert-manager: makes the Secrets that Certificates ask for.
struct Manager {
    authority: Authority,
    /// By name.
    asked: BTreeMap<String, Value>,
}

impl Manager {
    /// Answers every Certificate of the namespace once.
    async fn play(world: &World, small: &Small) -> anyhow::Result<Self> {
        let asked = until(Duration::from_secs(30), || async {
            let list: Value = serde_json::from_str(
                &small.kubectl(world, "get certificates.cert-manager.io -o json").await?,
            )?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            ensure!(items.len() == ROLES.len() + 1, "{} Certificates", items.len());
            let named =
                |item: Value| Some((item["metadata"]["name"].as_str()?.to_owned(), item["spec"].clone()));
            Ok(items.into_iter().filter_map(named).collect::<BTreeMap<_, _>>())
        })
        .await?;
        // The authority is asked for too, of an issuer that signs itself.
        let (name, spec) =
            asked.iter().find(|(_, spec)| spec["isCA"] == true).context("no authority is asked for")?;
        ensure!(
            issuer(world, small, spec).await?["selfSigned"].is_object(),
            "{name} does not sign itself: {spec}"
        );
        let common = spec["commonName"].as_str().context("the authority has no name")?;
        let authority = Authority::make(world, small, common).await?;
        let itself = Leaf { folder: authority.folder.clone(), file: common.to_owned(), ..Leaf::default() };
        itself.put(world, small, text(&spec["secretName"])?, &[&authority]).await?;
        let manager = Manager { authority, asked };
        for spec in manager.asked.values().filter(|spec| spec["isCA"] != true) {
            manager.issue(world, small, spec).await?;
        }
        Ok(manager)
    }

    /// Makes what a Certificate asks for, not more.
    async fn issue(&self, world: &World, small: &Small, spec: &Value) -> anyhow::Result<Leaf> {
        let by = issuer(world, small, spec).await?;
        let ours =
            self.asked.values().any(|of| of["isCA"] == true && of["secretName"] == by["ca"]["secretName"]);
        ensure!(ours, "nobody signs {spec}: {by}");
        let key = &spec["privateKey"];
        ensure!(
            key["algorithm"] == "ECDSA" && key["size"] == 256 && key["encoding"].is_null(),
            "another key is asked for: {key}"
        );
        let mut leaf = Leaf { file: text(&spec["secretName"])?.to_owned(), ..Leaf::default() };
        for name in spec["dnsNames"].as_array().context("no names are asked for")? {
            leaf.names.push(text(name)?.to_owned());
        }
        for usage in spec["usages"].as_array().context("no usages are asked for")? {
            match text(usage)? {
                "digital signature" => leaf.key_usage.push("digitalSignature".to_owned()),
                "key encipherment" => leaf.key_usage.push("keyEncipherment".to_owned()),
                "server auth" => leaf.extended_key_usage.push("serverAuth".to_owned()),
                "client auth" => leaf.extended_key_usage.push("clientAuth".to_owned()),
                other => bail!("a usage that this test does not know: {other}"),
            }
        }
        let hours = text(&spec["duration"])?.split('h').next().unwrap_or_default().parse::<u32>()?;
        leaf.days = hours / 24;
        let leaf = self.authority.sign(world, &leaf).await?;
        leaf.put(world, small, &leaf.file, &[&self.authority]).await?;
        Ok(leaf)
    }
}

/// What the issuer is that a Certificate names.
async fn issuer(world: &World, small: &Small, spec: &Value) -> anyhow::Result<Value> {
    let named = &spec["issuerRef"];
    ensure!(
        *named == json!({"group": "cert-manager.io", "kind": "Issuer", "name": named["name"]}),
        "an issuer of another kind: {named}"
    );
    let line = format!("get issuers.cert-manager.io {} -o json", text(&named["name"])?);
    // Helm may make it after what names it.
    let said = until(Duration::from_secs(10), || small.kubectl(world, &line)).await?;
    Ok(serde_json::from_str::<Value>(&said)?["spec"].clone())
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}
