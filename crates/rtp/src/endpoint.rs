//! One side of one stream.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::flow::Flow;
use crate::header::Header;
use crate::payloads::Payloads;
use crate::probation::Probation;
use crate::reception::Reception;
use crate::table::{EndpointId, PortId};

/// Whether the address of RTP may be learned from RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learn {
    /// No: only the signalled address.
    #[default]
    Never,
    /// Any port of this address, until locked.
    From(IpAddr),
    /// Anywhere, until locked.
    Anywhere,
}

impl Learn {
    /// RTP from there may be learned.
    pub(crate) fn covers(self, from: IpAddr) -> bool {
        match self {
            Learn::Never => false,
            Learn::From(ip) => ip == from,
            Learn::Anywhere => true,
        }
    }
}

/// What signalling says about where RTP goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remote {
    /// Nothing yet: the answer has not come.
    #[default]
    Unknown,
    /// The zero address (RFC 3264 §8.4): nothing is sent, what was known of its source stays.
    Zero,
    /// There.
    At(SocketAddr),
}

/// All that signalling says about one side of a stream.
#[derive(Clone, Debug, Default)]
pub struct Signalled {
    /// Where its RTP goes and comes from.
    pub remote: Remote,
    /// Where its RTCP goes, when that is not its RTP address.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub mux: bool,
    /// Whether its address may be learned.
    pub learn: Learn,
    /// It has not been told its port yet, so nothing can come from it: an address that is to be learned is not waited for.
    pub untold: bool,
    /// The payload types that it may send.
    pub payloads: Payloads,
    /// Its RTCP is encrypted (RFC 3711) and not read.
    pub secure: bool,
    /// It is a port of this very relay: nothing forwards between us, so it is spoken to at once.
    pub own: bool,
    /// Said at its opening: all that have this number stand for one stream of one phone, which it sends to each in turn.
    pub party: Option<u64>,
}

/// What was counted on one side.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// What came from it.
    pub reception: Reception,
    /// RTP packets from it that were sent on.
    pub sent: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Loss that it reported of what it was sent, packets.
    pub reported_lost: u64,
    /// Jitter that it reported, microseconds.
    pub reported_jitter_us: u32,
    /// Round trip between it and us, microseconds.
    pub round_trip_us: Option<u32>,
    /// When RTP came from it last.
    pub last_rtp: Option<Instant>,
}

/// Sender reports that passed to the other side, to know the time when it answers them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentReports {
    stamps: [Option<(u32, Instant)>; 4],
    next: usize,
}

impl SentReports {
    pub fn passed(&mut self, stamp: u32, now: Instant) {
        if let Some(slot) = self.stamps.get_mut(self.next) {
            *slot = Some((stamp, now));
        }
        self.next = (self.next + 1) % self.stamps.len();
    }

    pub fn when(&self, stamp: u32) -> Option<Instant> {
        self.stamps.iter().flatten().find(|(known, _)| *known == stamp).map(|&(_, at)| at)
    }
}

/// Where its RTP comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Not known, and not waited for: its answer will say, or it does not know its port yet.
    Pending,
    /// Not known, waited for.
    Waiting,
    /// This address and no other.
    Locked(SocketAddr),
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub port: PortId,
    pub party: Option<u64>,
    pub peer: Option<EndpointId>,
    pub signalled: Signalled,
    pub source: Source,
    pub rtcp_learned: Option<SocketAddr>,
    pub probation: Probation,
    pub counters: Counters,
    pub rtp_flow: Flow,
    pub rtcp_flow: Flow,
    pub reports: SentReports,
    /// Where it is likely to be, while that is all that is known.
    pub near: Option<IpAddr>,
    /// The last address that signalling gave, through times of [`Remote::Zero`].
    pub address: Option<SocketAddr>,
    pub was: Option<Was>,
    /// Sequence number of the last of its packets that came from where it is not known.
    pub strayed: Option<u16>,
}

/// Where a side was that waits once more: believed at once, and spoken to, until it comes from somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Was {
    pub address: SocketAddr,
    /// Signalling has moved it: what comes from there until then may have been on its way before, and does not end the
    /// waiting. `None`: it says the same address as ever.
    pub moved: Option<Instant>,
}

impl Remote {
    /// The address, when one is said.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Remote::At(address) => Some(address),
            Remote::Unknown | Remote::Zero => None,
        }
    }
}

impl Endpoint {
    /// Where its RTP comes from, as far as that was ever learned.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.source {
            Source::Locked(address) => Some(address),
            Source::Waiting => self.was.map(|was| was.address),
            Source::Pending => None,
        }
    }

    /// The address whose flow is kept alive. RFC 6263 §3: also while nothing is sent, by whatever means that was said.
    pub fn kept(&self) -> Option<SocketAddr> {
        self.destination().or_else(|| self.source())
    }

    /// What comes from there now may be what was sent before signalling moved it.
    pub fn is_late(&self, now: Instant, from: SocketAddr) -> bool {
        self.was.is_some_and(|was| was.address == from && was.moved.is_some_and(|until| now < until))
    }

    /// A packet from another port of its address goes on where its stream stopped: its own, behind a NAT that forgot it.
    /// RFC 3550 §5.1: both numbers begin at random, so hardly anybody else's; but some phones have one SSRC for ever.
    pub fn strays(&mut self, from: IpAddr, header: &Header) -> bool {
        const NEAR: u16 = 100;
        let reception = &self.counters.reception;
        let goes_on = self.source().is_some_and(|source| source.ip() == from)
            && reception.ssrc() == Some(header.ssrc)
            && [reception.highest(), self.strayed]
                .into_iter()
                .flatten()
                .any(|last| (1..=NEAR).contains(&header.sequence.wrapping_sub(last)));
        if goes_on {
            self.strayed = Some(header.sequence);
        }
        goes_on
    }

    /// Where RTP for it goes.
    pub fn destination(&self) -> Option<SocketAddr> {
        match (self.signalled.remote, self.source) {
            (Remote::Zero, _) => None,
            (_, Source::Locked(address)) => Some(address),
            // It has moved, and may well be where it says.
            (Remote::At(said), Source::Waiting)
                if self.signalled.learn == Learn::From(said.ip())
                    && self.was.is_none_or(|was| was.moved.is_some()) =>
            {
                Some(said)
            }
            (_, Source::Waiting) if self.was.is_some() => self.was.map(|was| was.address),
            // Until it is heard, where it said it is; a private address behind a NAT hears nothing, as before.
            (Remote::At(address), Source::Waiting | Source::Pending) => Some(address),
            _ => None,
        }
    }

    /// Where RTCP for it goes, when it does not share the port with RTP.
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        if self.rtcp_learned.is_some() || self.signalled.remote == Remote::Zero {
            return self.rtcp_learned.filter(|_| self.signalled.remote != Remote::Zero);
        }
        match self.kept() {
            // Learned elsewhere than signalled: the signalled RTCP address is as wrong as the RTP address was.
            Some(address) if Some(address) != self.address => {
                address.port().checked_add(1).map(|port| SocketAddr::new(address.ip(), port))
            }
            _ => self.signalled.rtcp,
        }
    }
}
