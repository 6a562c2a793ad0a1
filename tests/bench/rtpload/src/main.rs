//! Loads a media relay with RTP and measures it.

mod cpu;
mod floor;
mod load;
mod orders;
mod serve;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Load a relay.
    Load(Load),
    /// Be a relay without registrar and signaling, to be loaded.
    Relay {
        /// Where it takes orders.
        #[arg(long, default_value = "127.0.0.1:7103")]
        listen: SocketAddr,
        /// UDP ports.
        #[arg(long, default_value = "30000-30099", value_parser = ports)]
        rtp_ports: (u16, u16),
        /// The address that RTP ports are bound to.
        #[arg(long, default_value = "127.0.43.1")]
        bind: IpAddr,
        /// Threads; 0: one a core.
        #[arg(long, default_value_t = 0)]
        workers: usize,
    },
    /// Load the least that a relay can do, in this process.
    Floor(Streams),
    /// Set up and end calls without RTP: what orders cost.
    Orders {
        /// The relay's gRPC port; without it the relay is in this process.
        #[arg(long)]
        relay: Option<SocketAddr>,
        /// The process whose CPU is measured; without it this one, which is the relay as well or only orders.
        #[arg(long)]
        pid: Option<u32>,
        #[command(flatten)]
        streams: Streams,
    },
}

#[derive(Debug, Args)]
struct Load {
    /// The relay's gRPC port.
    #[arg(long, required_unless_present = "map")]
    relay: Option<SocketAddr>,
    /// A file of calls that are set up already.
    #[arg(long, conflicts_with = "relay")]
    map: Option<PathBuf>,
    /// The process whose CPU is measured.
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    streams: Streams,
}

#[derive(Clone, Copy, Debug, Args)]
struct Streams {
    /// Calls, two streams each.
    #[arg(long, default_value_t = 100)]
    calls: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Milliseconds between two packets of a stream.
    #[arg(long, default_value_t = 20)]
    ptime: u64,
    /// The first address of callers.
    #[arg(long, default_value = "127.0.41.1")]
    a: Ipv4Addr,
    /// The first address of callees.
    #[arg(long, default_value = "127.0.42.1")]
    b: Ipv4Addr,
    /// How many addresses each side has; 1: all calls are between two hosts, as between trunks.
    #[arg(long, default_value_t = 200)]
    addresses: u32,
}

impl Streams {
    /// The phones of one call.
    fn phones(&self, number: usize) -> std::io::Result<(UdpSocket, UdpSocket)> {
        let nth = number as u32 % self.addresses.max(1);
        let of = |first: Ipv4Addr| UdpSocket::bind((Ipv4Addr::from(u32::from(first).saturating_add(nth)), 0));
        Ok((of(self.a)?, of(self.b)?))
    }

    fn pace(&self) -> load::Pace {
        load::Pace {
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
            every: Duration::from_millis(self.ptime.clamp(5, 1_000)),
        }
    }
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let parsed =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    parsed.filter(|(first, last)| first < last).ok_or_else(|| "FIRST-LAST is wanted".to_owned())
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    raise_open_files();
    match Cli::parse().what {
        What::Relay { listen, rtp_ports, bind, workers } => {
            runtime.block_on(serve::serve(listen, rtp_ports, bind, workers))
        }
        What::Floor(streams) => {
            let (calls, process) = floor::start(&streams)?;
            load::run(calls, streams.pace(), Some(cpu::Of::Threads(process)))?.print("floor");
            Ok(())
        }
        What::Orders { relay, pid, streams } => runtime.block_on(async {
            let of = cpu::Of::Process(pid.unwrap_or_else(std::process::id));
            let relay = match relay {
                Some(at) => orders::elsewhere(at),
                None => Arc::new(serve::relay((31_000, 31_999), Ipv4Addr::new(127, 0, 43, 3).into(), 0)?),
            };
            let before = of.used()?;
            orders::churn(relay, &streams).await?;
            print_setup(before, of.used()?, streams.calls);
            Ok(())
        }),
        What::Load(load) => {
            let pid = load.pid.map(cpu::Of::Process);
            if let Some(map) = &load.map {
                load::run(orders::read(map)?, load.streams.pace(), pid)?.print("map");
                return Ok(());
            }
            let relay = load.relay.ok_or_else(|| anyhow::anyhow!("--relay or --map is wanted"))?;
            let before = pid.as_ref().map(cpu::Of::used).transpose()?;
            let (ordered, calls) =
                runtime.block_on(async { orders::order(orders::elsewhere(relay), &load.streams).await })?;
            if let (Some(before), Some(pid)) = (before, &pid) {
                print_setup(before, pid.used()?, calls.len());
            }
            load::run(calls, load.streams.pace(), pid)?.print("relay");
            runtime.block_on(ordered.delete())
        }
    }
}

fn print_setup(before: cpu::Used, after: cpu::Used, calls: usize) {
    let used = (after.user + after.kernel).saturating_sub(before.user + before.kernel);
    println!("CPU s per 1000 calls set up: {:.3}", used.as_secs_f64() * 1000.0 / calls.max(1) as f64);
}

/// Each stream has a socket of its own.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err() {
        eprintln!("the limit of open files stays at {:?}", limit.current);
    }
}
