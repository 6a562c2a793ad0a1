//! One thread that relays: it owns its ports, its streams and its sessions, and shares nothing.
//!
//! A round: wait for sockets, receive all they have in batches, decide on each datagram, send what goes on in as
//! few calls as there are sockets to send from, then carry out orders, once a second look at the time.

use std::collections::HashMap;
use std::hash::RandomState;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use fairlead_model::id::{CallRef, Side};
use fairlead_model::relay::{SessionRef, SessionStatistics};
use prometheus_client::metrics::counter::Counter;
use rtp::{Dropped, PortId, Settings, Streams, Verdict};
use rustix::event::epoll;
use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Outgoing, overflowed};
use crate::hairpin::Hairpin;
use crate::metrics::Metrics;
use crate::ports::PortPair;
use crate::session::{Change, NotChanged, Session, StreamPorts};
use crate::wake::Wake;

mod sessions;

/// Orders that may wait for a worker.
pub(crate) const QUEUE: usize = 4_096;

/// How often time is looked at.
const TICK: Duration = Duration::from_secs(1);

/// With more packets a second than this, a worker looks for new ones no more often than every [`PAUSE`]: waking up costs
/// more than relaying a packet does.
const BUSY: u64 = 2_000;

/// The longest that a packet lies because of that; a twentieth of the time between two packets of a phone.
const PAUSE: Duration = Duration::from_millis(1);

/// Sockets told of in one wait.
const READY: usize = 256;

/// The token that is no socket.
const WAKE: u64 = u64::MAX;

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Change(Box<Change>, oneshot::Sender<Result<Vec<StreamPorts>, NotChanged>>),
    Close(SessionRef, oneshot::Sender<Option<SessionStatistics>>),
    Query(SessionRef, oneshot::Sender<Option<SessionStatistics>>),
    List(Option<CallRef>, oneshot::Sender<Vec<(SessionRef, SessionStatistics)>>),
}

/// A session in which a side fell silent for too long, and which is over.
#[derive(Debug)]
pub(crate) struct Silent {
    pub session: SessionRef,
    pub side: Side,
    pub statistics: SessionStatistics,
}

pub(crate) struct Worker {
    ports: Vec<PortPair>,
    /// The ports of each bound address.
    by_bind: Vec<Vec<PortId>>,
    streams: Streams<RandomState>,
    sessions: HashMap<SessionRef, Session>,
    poll: OwnedFd,
    wake: Arc<Wake>,
    hairpin: Arc<Hairpin>,
    commands: Receiver<Command>,
    silent: mpsc::UnboundedSender<Silent>,
    counts: Counts,
    outgoing: Vec<Outgoing>,
    /// Datagrams received since the last tick.
    lately: u64,
}

/// Counted in this thread, handed to the shared counters once a round.
struct Counts {
    metrics: Metrics,
    drops: [Counter; Dropped::ALL.len()],
    received: u64,
    bytes: u64,
    sent: u64,
    not_sent: u64,
    dropped: [u64; Dropped::ALL.len()],
}

/// What a worker is born with.
pub(crate) struct Birth {
    pub ports: Vec<PortPair>,
    pub binds: usize,
    pub settings: Settings,
    pub wake: Arc<Wake>,
    pub hairpin: Arc<Hairpin>,
    pub commands: Receiver<Command>,
    /// Bounded by the number of sessions: each is in it once at most.
    pub silent: mpsc::UnboundedSender<Silent>,
    pub metrics: Metrics,
}

impl Worker {
    /// Takes over the sockets.
    pub fn new(birth: Birth) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut by_bind = vec![Vec::new(); birth.binds];
        for (index, pair) in birth.ports.iter().enumerate() {
            if let Some(ports) = by_bind.get_mut(pair.bind) {
                ports.push(PortId(index as u32));
            }
            let token = index as u64 * 2;
            epoll::add(&poll, &pair.rtp, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
            epoll::add(&poll, &pair.rtcp, epoll::EventData::new_u64(token + 1), epoll::EventFlags::IN)?;
        }
        epoll::add(&poll, &*birth.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let drops = birth.metrics.drops();
        Ok(Worker {
            streams: Streams::new(birth.ports.len(), birth.settings, RandomState::new()),
            ports: birth.ports,
            by_bind,
            sessions: HashMap::new(),
            poll,
            wake: birth.wake,
            hairpin: birth.hairpin,
            commands: birth.commands,
            silent: birth.silent,
            counts: Counts {
                metrics: birth.metrics,
                drops,
                received: 0,
                bytes: 0,
                sent: 0,
                not_sent: 0,
                dropped: [0; Dropped::ALL.len()],
            },
            outgoing: Vec::with_capacity(crate::batch::CAPACITY),
            lately: 0,
        })
    }

    /// Relays until nobody can give orders any more.
    pub fn run(mut self) {
        let mut batch = Batch::new();
        let mut events = Vec::with_capacity(READY);
        let mut tick = Instant::now() + TICK;
        let mut busy = false;
        loop {
            let now = Instant::now();
            if now >= tick {
                self.tick(now);
                tick = now + TICK;
                busy = std::mem::take(&mut self.lately) > BUSY;
            }
            events.clear();
            if let Err(failed) = self.wait(&mut events, tick.saturating_duration_since(now)) {
                if failed != rustix::io::Errno::INTR {
                    tracing::error!(%failed, "a relay worker cannot wait for its sockets");
                    std::thread::sleep(Duration::from_millis(100));
                }
                continue;
            }
            let mut woken = false;
            for event in &events {
                match event.data.u64() {
                    WAKE => woken = true,
                    token => self.drain(&mut batch, token),
                }
            }
            self.relay(&mut batch);
            self.lately += self.counts.received;
            self.counts.hand_over();
            if woken && !self.obey() {
                return;
            }
            if busy && let Some(rest) = PAUSE.checked_sub(now.elapsed()) {
                std::thread::sleep(rest);
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, limit: Duration) -> rustix::io::Result<()> {
        let limit = rustix::event::Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(1),
            // Rounded up, so that a wait does not end just before its time and turn in circles.
            tv_nsec: i64::from(limit.subsec_nanos().max(1_000_000)),
        };
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(events), Some(&limit)).map(|_| ())
    }

    /// Receives what one socket has, relaying whenever the batch is full. A flood on one port cannot keep the others
    /// from being read: after four full batches it is their turn.
    fn drain(&mut self, batch: &mut Batch, token: u64) {
        for _ in 0..4 {
            let Some(socket) = socket(&self.ports, token) else { return };
            let before = batch.received().len();
            let room = crate::batch::CAPACITY - before;
            let given = batch.receive(socket).unwrap_or(0);
            let too_long = given.saturating_sub(batch.received().len() - before);
            if too_long > 0 {
                self.counts.metrics.too_long.inc_by(too_long as u64);
            }
            self.decide(batch, before, PortId((token / 2) as u32), token % 2 == 1);
            if batch.is_full() {
                self.relay(batch);
            }
            if given < room {
                return;
            }
        }
    }

    /// Decides on what was received of one socket.
    fn decide(&mut self, batch: &Batch, first: usize, port: PortId, rtcp: bool) {
        let now = Instant::now();
        let hairpin = self.hairpin.is_open();
        for datagram in batch.received().iter().skip(first) {
            self.counts.received += 1;
            self.counts.bytes += u64::from(datagram.length);
            if hairpin
                && let Some(pair) = self.ports.get(port.0 as usize)
                && self.hairpin.notice(pair.port + u16::from(rtcp), batch.bytes(datagram))
            {
                continue;
            }
            match self.streams.packet(now, port, rtcp, datagram.from, batch.bytes(datagram)) {
                Verdict::Forward { port, rtcp, to } => self.outgoing.push(Outgoing {
                    socket: port.0 * 2 + u32::from(rtcp),
                    buffer: datagram.buffer,
                    length: datagram.length,
                    to,
                }),
                Verdict::Drop(reason) => self.counts.drop(reason),
            }
        }
    }

    /// Sends what goes on, all of one socket in one call, in the order in which it came.
    fn relay(&mut self, batch: &mut Batch) {
        // Buffers are filled in the order of arrival, and an unstable sort needs no memory.
        self.outgoing.sort_unstable_by_key(|datagram| (datagram.socket, datagram.buffer));
        for run in self.outgoing.chunk_by(|one, other| one.socket == other.socket) {
            let Some(token) = run.first().map(|first| first.socket) else { continue };
            let Some(socket) = socket(&self.ports, token.into()) else { continue };
            let sent = batch.send(socket, run);
            self.counts.sent += sent as u64;
            self.counts.not_sent += (run.len() - sent) as u64;
        }
        self.outgoing.clear();
        batch.clear();
    }

    /// Carries out the orders that wait. False when there will be none any more.
    fn obey(&mut self) -> bool {
        self.wake.look();
        loop {
            match self.commands.try_recv() {
                // Whoever no longer waits for the reply has given up; what was ordered is done all the same.
                Ok(Command::Change(change, reply)) => {
                    let _ = reply.send(self.change(*change));
                }
                Ok(Command::Close(session, reply)) => {
                    let _ = reply.send(self.close(session));
                }
                Ok(Command::Query(session, reply)) => {
                    let _ = reply.send(self.sessions.get(&session).map(|known| self.statistics(known)));
                }
                Ok(Command::List(call, reply)) => {
                    let wanted = self
                        .sessions
                        .iter()
                        .filter(|(session, _)| call.is_none_or(|call| session.call == call));
                    let _ = reply
                        .send(wanted.map(|(session, known)| (*session, self.statistics(known))).collect());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let (ports, counts) = (&self.ports, &mut self.counts);
        self.streams.tick(now, |keep| {
            let Some(pair) = ports.get(keep.port.0 as usize) else { return };
            let socket = if keep.rtcp { &pair.rtcp } else { &pair.rtp };
            match socket.send_to(&[], keep.to) {
                Ok(_) => counts.sent += 1,
                Err(_) => counts.not_sent += 1,
            }
        });
        for pair in &mut self.ports {
            for (socket, known) in [pair.rtp.as_fd(), pair.rtcp.as_fd()].into_iter().zip(&mut pair.overflowed)
            {
                if let Some(now) = overflowed(socket).filter(|now| now != known) {
                    self.counts.metrics.overflowed.inc_by(now.wrapping_sub(*known).into());
                    *known = now;
                }
            }
        }
        let silent: Vec<(SessionRef, Side)> = self
            .sessions
            .iter()
            .filter_map(|(session, known)| self.silent_side(now, known).map(|side| (*session, side)))
            .collect();
        for (session, side) in silent {
            if let Some(statistics) = self.close(session) {
                // Nobody listens only when the relay is being taken down.
                let _ = self.silent.send(Silent { session, side, statistics });
            }
        }
    }
}

/// The socket of a token: twice the index of its port, and one more for RTCP.
fn socket(ports: &[PortPair], token: u64) -> Option<BorrowedFd<'_>> {
    let pair = ports.get(usize::try_from(token / 2).ok()?)?;
    Some(if token.is_multiple_of(2) { pair.rtp.as_fd() } else { pair.rtcp.as_fd() })
}

impl Counts {
    fn drop(&mut self, reason: Dropped) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    fn hand_over(&mut self) {
        if self.received == 0 && self.sent == 0 && self.not_sent == 0 {
            return;
        }
        self.metrics.received.inc_by(std::mem::take(&mut self.received));
        self.metrics.received_bytes.inc_by(std::mem::take(&mut self.bytes));
        self.metrics.sent.inc_by(std::mem::take(&mut self.sent));
        self.metrics.not_sent.inc_by(std::mem::take(&mut self.not_sent));
        for (count, counter) in self.dropped.iter_mut().zip(&self.drops) {
            if *count > 0 {
                counter.inc_by(std::mem::take(count));
            }
        }
    }
}
