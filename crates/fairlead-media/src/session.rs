//! A session as its worker has it: streams with two ends each, and how long a side may be silent.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use fairlead_model::id::Side;
use fairlead_model::relay::{SessionRef, StreamStatistics};
use rtp::{Counters, EndpointId, Signalled};

/// What is to become of the streams of a session, all or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub session: SessionRef,
    /// The session is new; otherwise it must be there.
    pub opens: bool,
    /// One entry an m= line.
    pub streams: Vec<StreamChange>,
    /// Whose description is being written: its port may still change. `None`: nobody is told anything.
    pub told: Option<Side>,
    /// How long each side (A, B) may be silent from now on; `None` for ever.
    pub silence: Option<[Option<Duration>; 2]>,
}

/// What is to become of one stream.
#[derive(Clone, Debug)]
pub(crate) enum StreamChange {
    /// It stays as it is, also when it is not there.
    Keep,
    /// It ends.
    Close,
    /// It is there from now on.
    Open(Box<OpenStream>),
}

/// A stream that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct OpenStream {
    /// `audio`, …
    pub media: String,
    /// A and B.
    pub sides: [OpenSide; 2],
    /// Tell the sides what signalling says when the stream is there already; otherwise only at its opening.
    pub update: bool,
}

/// One side of it.
#[derive(Clone, Debug)]
pub(crate) struct OpenSide {
    /// Index of the bound address.
    pub bind: usize,
    /// Our address as it stands in SDP.
    pub advertise: IpAddr,
    /// Where its signalling comes from.
    pub near: IpAddr,
    /// The port number that its own port must not have: it is that port (a call out and back).
    pub not: Option<u16>,
    pub signalled: Signalled,
}

/// Our port numbers towards A and B.
pub(crate) type StreamPorts = Option<[u16; 2]>;

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotChanged {
    NoPort,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub began: Instant,
    /// When silence began to count.
    pub since: Instant,
    pub streams: Vec<Option<Stream>>,
    pub silence: [Option<Duration>; 2],
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub media: String,
    /// Towards A and B.
    pub ends: [EndpointId; 2],
    /// Our addresses as they stand in SDP.
    pub advertised: [IpAddr; 2],
}

pub(crate) const SIDES: [Side; 2] = [Side::A, Side::B];

/// The place of a side in pairs.
pub(crate) const fn at(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// What the operator sees of one direction of one stream.
pub(crate) fn statistics_of(
    index: usize,
    media: &str,
    from: Side,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    counters: &Counters,
) -> StreamStatistics {
    StreamStatistics {
        index: u16::try_from(index).unwrap_or(u16::MAX),
        media: media.to_owned(),
        from,
        local,
        remote,
        packets: counters.reception.packets(),
        bytes: counters.reception.bytes(),
        sent: counters.sent,
        lost: counters.reception.lost(),
        out_of_order: counters.reception.out_of_order(),
        jitter_us: counters.reception.jitter_us(),
        reported_lost: counters.reported_lost,
        reported_jitter_us: counters.reported_jitter_us,
        round_trip_us: counters.round_trip_us,
        dropped: counters.dropped,
    }
}
