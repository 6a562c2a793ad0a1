//! One stream connection, from its first octet to its last.
//!
//! A task of its own reads, frames and writes; it tells its shard by [`Event`]s and takes messages by a [`Writer`].
//! Reading waits while the shard's queue is full, so that a flood is held back by TCP itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{ConnectionRef, PodRef};
use sip_wire::{Frame, Malformed, Message, StreamFramer};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::plain;
use crate::limits::{ConnectionLimits, Door, Place, TooMany};
use crate::tcp;

/// How long a connection whose stream is garbled stays for the answer (RFC 3261 §18.3: a 400, then close).
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long one whose other side has ended its half stays for answers that are on their way.
const HALF_CLOSED: Duration = Duration::from_millis(100);

/// One CRLF answers a CRLF CRLF (RFC 5626 §3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// Names connections of one pod; the low octet is the shard whose task has the connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ConnectionNames(Arc<AtomicU64>);

impl ConnectionNames {
    /// A name that this incarnation never gave before.
    pub fn next(&self, shard: u8) -> ConnectionRef {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        ConnectionRef((number << 8) | u64::from(shard))
    }
}

/// The shard whose task has a connection.
pub const fn shard_of(connection: ConnectionRef) -> u8 {
    (connection.0 & 0xff) as u8
}

/// What a connection tells its shard.
#[derive(Debug)]
pub enum Event {
    /// It is there. Dropping the writer closes it.
    Opened {
        /// Its flow.
        flow: Flow,
        /// Takes messages.
        writer: Writer,
        /// The number of the [`Dialer::dial`] that opened it; `None` for those that came in.
        dialled: Option<u64>,
    },
    /// A [`Dialer::dial`] came to nothing.
    NotOpened {
        /// Its number.
        dialled: u64,
        /// Why.
        error: io::Error,
    },
    /// A message came.
    Received {
        /// How.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Something came that is no message. When the stream cannot go on, [`Event::Closed`] follows.
    Malformed {
        /// How.
        flow: Flow,
        /// What is wrong.
        malformed: Malformed,
    },
    /// It is gone.
    Closed {
        /// Its flow.
        flow: Flow,
        /// Why.
        why: Ended,
    },
    /// Somebody was not let in.
    TurnedAway(TooMany),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The other side closed it.
    ByPeer,
    /// We closed it.
    ByUs,
    /// It was silent for too long, or began what it did not end.
    Idle,
    /// The other side does not take what we send.
    SlowReader,
    /// What came was no SIP, and where the next message begins cannot be known.
    Garbled,
    /// The network broke it.
    Broken,
}

impl Ended {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Ended::ByPeer => "peer",
            Ended::ByUs => "local",
            Ended::Idle => "idle",
            Ended::SlowReader => "slow_reader",
            Ended::Garbled => "garbled",
            Ended::Broken => "broken",
        }
    }
}

/// Takes messages for one connection. Dropping it closes the connection once they are written.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Bytes>,
}

/// Why a connection did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Its queue is full.
    #[error("the connection's queue is full")]
    Full,
    /// It is gone.
    #[error("the connection is gone")]
    Gone,
}

impl Writer {
    /// Hands over a message. What may be shed (a new request) is not taken into the second half of the queue, which is
    /// kept for responses, ACK, CANCEL and BYE.
    pub fn send(&self, message: Bytes, may_be_shed: bool) -> Result<(), NotTaken> {
        if may_be_shed && self.queue.capacity() < self.queue.max_capacity() / 2 {
            return Err(if self.queue.is_closed() { NotTaken::Gone } else { NotTaken::Full });
        }
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Gone,
        })
    }
}

/// What all connections of one shard have in common.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// This pod.
    pub pod: PodRef,
    /// The shard.
    pub shard: u8,
    /// Names of connections.
    pub names: ConnectionNames,
    /// Who is let in, and the limits.
    pub door: Door,
    /// The shard's queue.
    pub events: mpsc::Sender<Event>,
}

impl Dialer {
    /// Takes connections for ever. The listener's transport is TCP.
    pub async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => self.take(stream, plain(remote)).await,
                Err(error) => {
                    // Out of descriptors, or the connection was gone before it was taken: neither ends the listener.
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn take(&self, stream: TcpStream, remote: SocketAddr) {
        match self.door.enter(remote.ip()) {
            Ok(place) => {
                let Ok(local) = stream.local_addr() else { return };
                self.start(stream, plain(local), remote, Some(place), None);
            }
            Err(why) => {
                // Closed without a word. The event is only for counting: a full queue has better things to do.
                drop(stream);
                let _ = self.events.try_send(Event::TurnedAway(why));
            }
        }
    }

    /// Connects to `to` from `from` (a wildcard lets the system choose); [`Event::Opened`] or [`Event::NotOpened`] with
    /// this number tells what came of it.
    pub fn dial(&self, number: u64, from: IpAddr, to: SocketAddr) {
        let this = self.clone();
        tokio::spawn(async move {
            let connected = timeout(this.door.limits().connect, tcp::connect(from, to)).await;
            let opened = connected
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .and_then(|stream| Ok((stream.local_addr()?, stream)));
            match opened {
                Ok((local, stream)) => this.start(stream, plain(local), to, None, Some(number)),
                Err(error) => {
                    // Fails only when the shard is gone.
                    let _ = this.events.send(Event::NotOpened { dialled: number, error }).await;
                }
            }
        });
    }

    fn start(
        &self,
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
        place: Option<Place>,
        dialled: Option<u64>,
    ) {
        // Delaying small messages helps nobody here; a system that cannot do it still works.
        let _ = stream.set_nodelay(true);
        let flow = Flow {
            pod: self.pod,
            transport: Transport::Tcp,
            local,
            remote,
            connection: Some(self.names.next(self.shard)),
        };
        let (queue, messages) = mpsc::channel(self.door.limits().queue.max(2));
        let task = Task {
            flow,
            limits: self.door.limits().clone(),
            events: self.events.clone(),
            pongs: queue.downgrade(),
            came_in: dialled.is_none(),
        };
        let opened = Event::Opened { flow, writer: Writer { queue }, dialled };
        tokio::spawn(async move {
            let _place = place;
            if task.events.send(opened).await.is_err() {
                return;
            }
            task.run(stream, messages).await;
        });
    }
}

struct Task {
    flow: Flow,
    limits: ConnectionLimits,
    events: mpsc::Sender<Event>,
    pongs: mpsc::WeakSender<Bytes>,
    came_in: bool,
}

impl Task {
    async fn run(self, stream: TcpStream, mut messages: mpsc::Receiver<Bytes>) {
        let (reading, mut writing) = stream.into_split();
        let why = tokio::select! {
            why = self.read(reading) => {
                let linger = match why {
                    Ended::Garbled => LAST_WORDS,
                    Ended::ByPeer => HALF_CLOSED,
                    _ => Duration::ZERO,
                };
                // What the shard has to say about it may still leave; its time being over is no error.
                let _ = timeout(linger, self.last_words(&mut writing, &mut messages)).await;
                why
            }
            why = self.write(&mut writing, &mut messages) => why,
        };
        // Before the shard hears of it, so that whoever acts on the news finds the socket closed.
        let _ = timeout(Duration::from_millis(100), writing.shutdown()).await;
        drop(writing);
        let _ = self.events.send(Event::Closed { flow: self.flow, why }).await;
    }

    async fn read(&self, reading: OwnedReadHalf) -> Ended {
        let mut framer = StreamFramer::new(self.limits.message);
        let opened = Instant::now();
        let mut last = opened;
        let mut heard = !self.came_in;
        let mut begun: Option<Instant> = None;
        loop {
            let mut deadline = last + self.limits.idle;
            if !heard {
                deadline = deadline.min(opened + self.limits.first_message);
            }
            if let Some(begun) = begun {
                deadline = deadline.min(begun + self.limits.rest_of_message);
            }
            match timeout_at(deadline, reading.readable()).await {
                Err(_) => return Ended::Idle,
                Ok(Err(_)) => return Ended::Broken,
                Ok(Ok(())) => {}
            }
            match read_some(&reading, &mut framer) {
                Ok(0) => return Ended::ByPeer,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Ended::Broken,
            }
            let mut whole = false;
            loop {
                let event = match framer.next_frame() {
                    Ok(None) => break,
                    Ok(Some(Frame::Ping)) => {
                        // A full queue, or one that is closed, answers no ping.
                        if let Some(pongs) = self.pongs.upgrade() {
                            let _ = pongs.try_send(PONG);
                        }
                        whole = true;
                        continue;
                    }
                    Ok(Some(Frame::Message(message))) => {
                        heard = true;
                        Event::Received { flow: self.flow, message }
                    }
                    Ok(Some(Frame::Malformed(malformed))) => Event::Malformed { flow: self.flow, malformed },
                    Err(malformed) => {
                        let event = Event::Malformed { flow: self.flow, malformed };
                        let _ = self.events.send(event).await;
                        return Ended::Garbled;
                    }
                };
                whole = true;
                if self.events.send(event).await.is_err() {
                    return Ended::ByUs;
                }
            }
            let now = Instant::now();
            if whole {
                last = now;
            }
            begun = match begun {
                _ if framer.is_idle() => None,
                Some(begun) if !whole => Some(begun),
                _ => Some(now),
            };
        }
    }

    async fn write(&self, writing: &mut OwnedWriteHalf, messages: &mut mpsc::Receiver<Bytes>) -> Ended {
        while let Some(message) = messages.recv().await {
            match timeout(self.limits.slow_reader, writing.write_all(&message)).await {
                Err(_) => return Ended::SlowReader,
                Ok(Err(_)) => return Ended::Broken,
                Ok(Ok(())) => {}
            }
        }
        Ended::ByUs
    }

    async fn last_words(&self, writing: &mut OwnedWriteHalf, messages: &mut mpsc::Receiver<Bytes>) {
        while let Some(message) = messages.recv().await {
            if writing.write_all(&message).await.is_err() {
                return;
            }
        }
    }
}

/// Reads what is there, through a buffer that no idle connection holds.
fn read_some(reading: &OwnedReadHalf, framer: &mut StreamFramer) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let length = reading.try_read(&mut buffer)?;
    framer.push(buffer.get(..length).unwrap_or_default());
    Ok(length)
}
