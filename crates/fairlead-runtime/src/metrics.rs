//! One registry of metrics a process, read at `/metrics`. Labels never hold what somebody sent us.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::build;

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process's metrics. Cheap to clone; roles register theirs at start, in `standalone` all into the same one.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// With the metrics of the process itself and `fairlead_build_info`; `role` is the subcommand.
    pub fn new(role: &str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let labels = vec![
            ("version", build::VERSION.to_owned()),
            ("commit", build::COMMIT.to_owned()),
            ("role", role.to_owned()),
        ];
        registry.register("fairlead_build", "The release that runs", Info::new(labels));
        Metrics { registry: Arc::new(Mutex::new(registry)) }
    }

    /// Adds metrics. Names are `fairlead_AREA_WHAT_UNIT`.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock())
    }

    /// All of them in OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

/// `process_*`, with the names that every Prometheus client uses; Linux only, read at each scrape.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // A fact that cannot be read is left out; the rest is still worth having.
        let Some(facts) = ProcessFacts::read() else { return Ok(()) };
        counter(&mut encoder, "process_cpu", "CPU time used", Some(Unit::Seconds), facts.cpu_seconds)?;
        gauge(&mut encoder, "process_resident_memory", "Resident memory", Some(Unit::Bytes), facts.resident)?;
        gauge(
            &mut encoder,
            "process_virtual_memory",
            "Virtual memory",
            Some(Unit::Bytes),
            facts.virtual_memory,
        )?;
        gauge(&mut encoder, "process_threads", "Threads", None, facts.threads)?;
        gauge(&mut encoder, "process_start_time", "Start, since 1970", Some(Unit::Seconds), facts.started)?;
        if let Some(open) = facts.open_files {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors", None, open)?;
        }
        if let Some(max) = facts.max_files {
            gauge(&mut encoder, "process_max_fds", "Most file descriptors that may be open", None, max)?;
        }
        Ok(())
    }
}

fn gauge(to: &mut DescriptorEncoder, name: &str, help: &str, unit: Option<Unit>, value: f64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(to.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
}

fn counter(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    value: f64,
) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(to.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
}

struct ProcessFacts {
    cpu_seconds: f64,
    virtual_memory: f64,
    resident: f64,
    threads: f64,
    started: f64,
    open_files: Option<f64>,
    max_files: Option<f64>,
}

impl ProcessFacts {
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // proc(5): the second field is in brackets and may hold anything, so count from its end.
        let after = stat.get(stat.rfind(')')? + 2..)?;
        let fields: Vec<&str> = after.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(ProcessFacts {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started: boot_time()? + field(22)? / ticks,
            virtual_memory: field(23)?,
            resident: field(24)? * rustix::param::page_size() as f64,
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64),
            max_files: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(|max| max as f64),
        })
    }
}

fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_the_release_are_in_the_text() {
        let text = Metrics::new("media").encode().unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name} is missing in\n{text}");
        }
        assert!(text.contains("fairlead_build_info{") && text.contains("role=\"media\""), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
