//! Starting roles: settings are read and judged, then everything is bound, then it runs until the drain is over.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::ArgMatches;
use fairlead_model::member::{Member, Role};
use fairlead_proto::client::RegistrarClient;
use fairlead_proto::tls::{PodTls, TlsMetrics};
use fairlead_proto::trace::TraceHooks;
use fairlead_runtime::common::{CommonSettings, Handles};
use fairlead_runtime::drain::Drain;
use fairlead_runtime::health::Health;
use fairlead_runtime::identity::Identity;
use fairlead_runtime::metrics::Metrics;
use fairlead_runtime::settings::value::HostPort;
use fairlead_runtime::settings::{Layers, Settings};
use fairlead_runtime::telemetry::{Telemetry, TelemetrySettings};
use tokio_util::sync::CancellationToken;

use crate::command_line::layers;
use crate::settings::{
    AdminSettings, MediaSettings, OperatorSettings, RegistrarSettings, SignalingSettings, StandaloneSettings,
    TlsSettings,
};

mod admin;
mod media;
mod operator;
mod registrar;
mod signaling;
mod standalone;

/// Runs the role that the word names until it is told to end.
pub fn run(word: &str, matches: &ArgMatches) -> anyhow::Result<()> {
    let layers = layers(matches)?;
    match word {
        "standalone" => {
            start(Role::Signaling, "standalone", &layers, StandaloneSettings::read(&layers)?, standalone::run)
        }
        "registrar" => {
            start(Role::Registrar, word, &layers, RegistrarSettings::read(&layers)?, registrar::run)
        }
        "signaling" => {
            start(Role::Signaling, word, &layers, SignalingSettings::read(&layers)?, signaling::run)
        }
        "media" => start(Role::Media, word, &layers, MediaSettings::read(&layers)?, media::run),
        "admin" => start(Role::Admin, word, &layers, AdminSettings::read(&layers)?, admin::run),
        "operator" => start(Role::Operator, word, &layers, OperatorSettings::read(&layers)?, operator::run),
        other => bail!("there is no role {other}"),
    }
}

/// What every role is started with.
struct Start {
    common: CommonSettings,
    handles: Handles,
    /// Whether traces are exported.
    traced: bool,
    /// How other pods are known; for the operator not yet.
    tls: PodTls,
    /// For the operator alone: what to give to [`pod_tls`] once keys are being made.
    own_tls: Option<TlsSettings>,
}

/// How much a role holds that is worth waiting for at its end.
type Live = Box<dyn Fn() -> usize + Send>;

fn start<S, F>(
    role: Role,
    word: &str,
    layers: &Layers,
    settings: S,
    run: impl FnOnce(S, Start) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Live>>,
{
    let common = CommonSettings::read(layers)?;
    let telemetry = TelemetrySettings::read(layers)?;
    // In one process there is nobody to prove anything to.
    let tls = (word != "standalone").then(|| TlsSettings::read(layers)).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start")?;
    let ended = runtime.block_on(async {
        let who = common.identity(role);
        let traced = telemetry.otlp_endpoint.is_some();
        let telemetry = Telemetry::start(&telemetry, &who)?;
        let handles =
            Handles { who, metrics: Metrics::new(word), health: Health::new(), drain: Drain::on_signals()? };
        tracing::info!(role = word, pod = %handles.who.pod, name = handles.who.name, version = fairlead_runtime::build::VERSION, "starting");
        // Before anybody can ask: what a role needs to be ready it says only when it has its certificates.
        let started = handles.health.flag("started");
        serve_health(&common, &handles).await?;
        let (drain, grace) = (handles.drain.clone(), common.drain_timeout);
        let draining = drain.draining();
        let starting = async {
            // The operator makes certificates, its own among them: it waits for that one while it does.
            let (tls, own_tls) = match role {
                Role::Operator => (PodTls::off(), tls),
                _ => (pod_tls(tls, role, &handles).await?, None),
            };
            run(settings, Start { common, handles, traced, tls, own_tls }).await
        };
        tokio::select! {
            live = starting => {
                let live = live?;
                started.set(true);
                drain.finish(grace, live).await;
            }
            // Told to end while it still waits for what it needs.
            () = draining.cancelled() => {}
        }
        tracing::info!("ended");
        anyhow::Ok(telemetry)
    });
    // The last traces are sent by this runtime, so they go first.
    let ended = ended.map(Telemetry::finish);
    // Threads that are still in a system call are not waited for.
    runtime.shutdown_background();
    ended
}

/// Waits for this pod's certificates; without a folder for them says what that means.
async fn pod_tls(settings: Option<TlsSettings>, role: Role, handles: &Handles) -> anyhow::Result<PodTls> {
    let Some(settings) = settings else { return Ok(PodTls::off()) };
    let Some(dir) = settings.tls_dir else {
        tracing::warn!(
            "gRPC between pods is plain: whoever reaches a port of this pod may ask and read everything; --tls-dir changes that"
        );
        return Ok(PodTls::off());
    };
    let domain =
        settings.tls_domain.context("--tls-dir needs --tls-domain, the domain that certificates name")?;
    let ready = handles.health.flag("certificates");
    let metrics = handles.metrics.register(TlsMetrics::registered);
    let tls = PodTls::from_dir(&dir, &domain, role, metrics).await?;
    ready.set(true);
    Ok(tls)
}

/// `/livez`, `/readyz` and `/metrics` on a port of their own, if one is named.
async fn serve_health(common: &CommonSettings, handles: &Handles) -> anyhow::Result<()> {
    let Some(address) = common.listen_health else { return Ok(()) };
    let listener = fairlead_runtime::http::bind(address).await?;
    let router = fairlead_runtime::http::router(handles.health.clone(), handles.metrics.clone());
    // Ready to the very end (kube-proxy cuts the flows of a pod that is not serving): it ends with the runtime.
    let stop = CancellationToken::new();
    tokio::spawn(async move {
        if let Err(failed) = fairlead_runtime::http::serve(listener, router, stop).await {
            tracing::error!(%failed, "the health port failed");
        }
    });
    Ok(())
}

/// This process as the others see it.
fn member(who: &Identity, role: Role, grpc: SocketAddr) -> Member {
    let version = fairlead_runtime::build::VERSION.to_owned();
    Member { version, ..Member::started(who.pod, who.name.clone(), role, grpc, who.started) }
}

/// The registrars that these names stand for, begun with another one by each pod.
fn registrars(names: &[HostPort], who: &Identity, tls: &PodTls) -> anyhow::Result<Arc<RegistrarClient>> {
    if names.is_empty() {
        bail!("registrar is not set: give --registrar HOST:PORT");
    }
    let start = usize::try_from(who.pod.0 & 0xffff).unwrap_or_default();
    let names = names.iter().map(ToString::to_string).collect();
    Ok(Arc::new(RegistrarClient::connect(names, start, tls.clone())))
}

/// How traces cross gRPC in this process.
fn trace(traced: bool) -> TraceHooks {
    if traced {
        TraceHooks {
            inject: fairlead_runtime::trace::inject,
            follow: fairlead_runtime::trace::follow_metadata,
        }
    } else {
        TraceHooks::default()
    }
}
