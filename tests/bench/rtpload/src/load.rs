//! The streams: one thread sends them all at their pace, one receives and counts.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::cpu::{Of, Used};

/// Two phones, connected to the relay.
pub struct Call {
    /// The caller.
    pub a: UdpSocket,
    /// The callee.
    pub b: UdpSocket,
}

/// When what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Sent before counting.
    pub warmup: Duration,
    /// Sent and counted.
    pub measured: Duration,
    /// Between two packets of a stream.
    pub every: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    streams: usize,
    seconds: f64,
    sent: u64,
    not_sent: u64,
    received: u64,
    /// Streams that lost something, and the most that one lost.
    worst: (usize, u64),
    late: Duration,
    latencies: Vec<u64>,
    used: Option<Used>,
}

/// Which packets are counted, behind the RTP header.
const COUNTED: u32 = 0x4641_4952;
/// A packet of G.711 at 20 ms.
const LENGTH: usize = 172;
/// Latencies up to this many microseconds are told apart.
const LONGEST: usize = 200_000;

struct Phone {
    socket: UdpSocket,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    sent: u64,
}

/// Sends and receives.
pub fn run(calls: Vec<Call>, pace: Pace, of: Option<Of>) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut phones = Vec::with_capacity(calls.len() * 2);
    for socket in calls.into_iter().flat_map(|call| [call.a, call.b]) {
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(256 * 1024)?;
        let ssrc = 0x1000_0000 + phones.len() as u32;
        phones.push(Phone { socket, sequence: 1, timestamp: 0, ssrc, sent: 0 });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let heard: Arc<Vec<AtomicU64>> = Arc::new(phones.iter().map(|_| AtomicU64::new(0)).collect());
    let ears = phones.iter().map(|phone| phone.socket.try_clone()).collect::<Result<Vec<_>, _>>()?;
    let (stopped, counts) = (stop.clone(), heard.clone());
    let receiver = std::thread::Builder::new()
        .name("load-receive".to_owned())
        .spawn(move || receive(&ears, began, &stopped, &counts))?;

    // A quarter of a millisecond at a time, each with its share of the streams, so that the load is even.
    let slots = (pace.every.as_micros() / 250).max(1) as usize;
    let tick = pace.every / slots as u32;
    let warm = (pace.warmup.as_micros() / tick.as_micros()) as usize;
    let end = warm + (pace.measured.as_micros() / tick.as_micros()) as usize;
    let (mut not_sent, mut late) = (0, Duration::ZERO);
    let (mut before, mut measured_from) = (None, began);
    let start = Instant::now();
    for step in 0..end {
        let counted = step >= warm;
        if step == warm {
            before = of.as_ref().map(Of::used).transpose()?;
            measured_from = Instant::now();
        }
        let due = start + tick * step as u32;
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        } else if counted {
            late = late.max(now - due);
        }
        for phone in phones.iter_mut().skip(step % slots).step_by(slots) {
            if phone.send(began, counted, pace.every) {
                phone.sent += u64::from(counted);
            } else {
                not_sent += u64::from(counted);
            }
        }
    }
    let seconds = measured_from.elapsed().as_secs_f64();
    let after = of.as_ref().map(Of::used).transpose()?;
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    let latencies = receiver.join().map_err(|_| anyhow::anyhow!("the receiver failed"))??;

    let heard: Vec<u64> = heard.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    // What one phone of a call sent, the other should have heard.
    let lost: Vec<u64> = (0..phones.len()).map(|at| phones[at].sent.saturating_sub(heard[at ^ 1])).collect();
    Ok(Outcome {
        streams: phones.len(),
        seconds,
        sent: phones.iter().map(|phone| phone.sent).sum(),
        not_sent,
        received: heard.iter().sum(),
        worst: (lost.iter().filter(|&&lost| lost > 0).count(), lost.iter().copied().max().unwrap_or(0)),
        late,
        latencies,
        used: before.zip(after).map(|(before, after)| Used {
            user: after.user.saturating_sub(before.user),
            kernel: after.kernel.saturating_sub(before.kernel),
        }),
    })
}

impl Phone {
    fn send(&mut self, began: Instant, counted: bool, every: Duration) -> bool {
        let mut packet = [0xff; LENGTH];
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(every.as_millis() as u32 * 8);
        packet[0] = 0x80;
        packet[1] = 0;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        packet[12..16].copy_from_slice(&if counted { COUNTED } else { 0 }.to_be_bytes());
        packet[16..24].copy_from_slice(&(began.elapsed().as_micros() as u64).to_be_bytes());
        self.socket.send(&packet).is_ok()
    }
}

/// Counts for each socket, and how long the packets took, until told to stop.
fn receive(
    ears: &[UdpSocket],
    began: Instant,
    stop: &AtomicBool,
    heard: &[AtomicU64],
) -> anyhow::Result<Vec<u64>> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, socket) in ears.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
    }
    let mut latencies = vec![0; LONGEST + 1];
    let mut events = Vec::with_capacity(512);
    let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut packet = [0; 2_048];
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&limit)).is_err() {
            continue;
        }
        for event in &events {
            let at = event.data.u64() as usize;
            while let Ok(length) = ears[at].recv(&mut packet) {
                if length != LENGTH || packet[12..16] != COUNTED.to_be_bytes() {
                    continue;
                }
                heard[at].fetch_add(1, Ordering::Relaxed);
                let sent = u64::from_be_bytes(packet[16..24].try_into()?);
                let took = (began.elapsed().as_micros() as u64).saturating_sub(sent);
                latencies[(took as usize).min(LONGEST)] += 1;
            }
        }
    }
    Ok(latencies)
}

impl Outcome {
    /// Prints it in a few lines.
    pub fn print(&self, what: &str) {
        let lost = self.sent.saturating_sub(self.received);
        println!(
            "{what}: streams={} seconds={:.1} sent={} received={} lost={lost} ({:.4} %) not_sent={} pps={:.0}",
            self.streams,
            self.seconds,
            self.sent,
            self.received,
            100.0 * lost as f64 / self.sent.max(1) as f64,
            self.not_sent,
            self.received as f64 / self.seconds,
        );
        println!(
            "streams that lost: {}, at most {} packets; sender late by {:?} at most",
            self.worst.0, self.worst.1, self.late
        );
        let percentile = |share: f64| {
            let wanted = (self.received as f64 * share) as u64;
            let mut seen = 0;
            self.latencies.iter().position(|count| {
                seen += count;
                seen >= wanted.max(1)
            })
        };
        println!(
            "latency as the receiver saw it, us: p50={:?} p99={:?} p99.9={:?}",
            percentile(0.5).unwrap_or(0),
            percentile(0.99).unwrap_or(0),
            percentile(0.999).unwrap_or(0)
        );
        if let Some(used) = self.used {
            let each = |time: Duration| time.as_secs_f64() * 1e6 / self.received.max(1) as f64;
            println!(
                "CPU us per packet relayed: {:.2} (user {:.2}, kernel {:.2}); cores {:.2}",
                each(used.user + used.kernel),
                each(used.user),
                each(used.kernel),
                (used.user + used.kernel).as_secs_f64() / self.seconds
            );
        }
    }
}
