//! Logs to standard error, as JSON or for people, and traces to an OTLP collector when one is named.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::build;
use crate::identity::Identity;
use crate::settings;
use crate::settings::value::{BadValue, SettingValue, Share};

settings! {
    /// Logs and traces, the same for every role.
    pub struct TelemetrySettings in "telemetry" {
        /// How logs are written: for people, or one JSON object a line.
        log_format: LogFormat = "human",
        /// Which logs are written: a level, or TARGET=LEVEL, separated by commas. Numbers and addresses of people appear at debug.
        log: LogFilter = "info",
        /// Where traces go: an OTLP collector that speaks gRPC. No traces are made without it.
        otlp_endpoint: Option<OtlpEndpoint>,
        /// How much is traced, of what nobody else has decided already.
        trace_share: Share = "1",
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl SettingValue for LogFormat {
    const ALLOWED: &'static str = "human or json";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err(BadValue),
        }
    }
}

/// A filter of `tracing_subscriber`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl SettingValue for LogFilter {
    const ALLOWED: &'static str =
        "error, warn, info, debug, trace or off, or TARGET=LEVEL, separated by commas";

    fn parse(text: &str) -> Result<Self, BadValue> {
        EnvFilter::builder().parse(text).map(|_| LogFilter(text.to_owned())).map_err(|_| BadValue)
    }
}

/// `http://HOST:PORT` of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(pub String);

impl SettingValue for OtlpEndpoint {
    const ALLOWED: &'static str = "http://HOST:PORT";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let uri: axum::http::Uri = text.parse().map_err(|_| BadValue)?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(BadValue);
        }
        Ok(OtlpEndpoint(text.to_owned()))
    }
}

/// Why logs and traces could not be turned on.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not hold.
    #[error("the setting log is not a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The exporter could not be made.
    #[error("could not make the OTLP exporter")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Logs are on already.
    #[error("logs are on already")]
    Again(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps traces going; flush with [`Telemetry::finish`] at the end.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Turns on logs and, if wanted, traces. To be called inside the runtime, once.
    pub fn start(settings: &TelemetrySettings, who: &Identity) -> Result<Self, TelemetryError> {
        // The watcher of kube repeats what the operator role says once, at each attempt; who wants that can ask for it.
        let filter = format!("kube_runtime::watcher=error,{}", settings.log.0);
        let filter = EnvFilter::builder().parse(filter).map_err(TelemetryError::Filter)?;
        let provider =
            settings.otlp_endpoint.as_ref().map(|to| provider(to, settings.trace_share, who)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("fairlead"))
                // What the exporter's own client does is no part of anybody's trace.
                .with_filter(EnvFilter::new("info,h2=off,hyper=off,tower=off,tonic=off,opentelemetry=off"))
        });
        let logs = match settings.log_format {
            LogFormat::Human => tracing_subscriber::fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .boxed(),
            LogFormat::Json => tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(std::io::stderr)
                .boxed(),
        };
        tracing_subscriber::registry()
            .with(logs.with_filter(filter))
            .with(traces)
            .try_init()
            .map_err(TelemetryError::Again)?;
        Ok(Telemetry { provider })
    }

    /// Sends what is left. Blocks for 2 s at most; to be called from a thread that may block.
    pub fn finish(self) {
        if let Some(provider) = self.provider
            && let Err(cause) = provider.shutdown_with_timeout(Duration::from_secs(2))
        {
            tracing::warn!(%cause, "the last traces could not be sent");
        }
    }
}

fn provider(to: &OtlpEndpoint, share: Share, who: &Identity) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(to.0.clone())
        .with_timeout(Duration::from_secs(5))
        .build()
        .map_err(TelemetryError::Exporter)?;
    let resource = Resource::builder()
        .with_service_name(format!("fairlead-{}", who.role.word()))
        .with_attributes([
            KeyValue::new("service.version", build::VERSION),
            KeyValue::new("service.instance.id", who.pod.to_string()),
            KeyValue::new("k8s.pod.name", who.name.clone()),
        ])
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share.0)));
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build())
}
