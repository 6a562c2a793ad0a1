//! CPU time that somebody used, from /proc.

use std::time::Duration;

use anyhow::Context;

/// Whose CPU is measured.
#[derive(Clone, Debug)]
pub enum Of {
    /// A process.
    Process(u32),
    /// Threads of this process, by name.
    Threads(&'static str),
}

/// User and kernel time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// In user space.
    pub user: Duration,
    /// In the kernel.
    pub kernel: Duration,
}

impl Of {
    /// Used since it began.
    pub fn used(&self) -> anyhow::Result<Used> {
        match self {
            Of::Process(pid) => read(&format!("/proc/{pid}/stat")),
            Of::Threads(name) => {
                let mut all = Used::default();
                for task in std::fs::read_dir("/proc/self/task")? {
                    let path = task?.path();
                    if std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == *name) {
                        let used = read(&path.join("stat").to_string_lossy())?;
                        all.user += used.user;
                        all.kernel += used.kernel;
                    }
                }
                Ok(all)
            }
        }
    }
}

/// proc(5): fields 14 and 15, counted from behind the name in brackets.
fn read(path: &str) -> anyhow::Result<Used> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {path}"))?;
    let fields = text.rsplit_once(") ").map(|(_, rest)| rest).context("no process status")?;
    let ticks = |at: usize| -> anyhow::Result<Duration> {
        let ticks: u64 = fields.split(' ').nth(at).context("a short process status")?.parse()?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    };
    Ok(Used { user: ticks(11)?, kernel: ticks(12)? })
}
