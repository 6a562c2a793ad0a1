//! Orders to a media relay, and its replies.
//!
//! A session joins side A and side B of one attempt of one call. An offer goes in from one side and comes out
//! rewritten for the other; the answer comes back the other way. Orders are idempotent: the same offer
//! twice gives the same ports.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptRef, CallRef, PodRef, Side};
use crate::peer::RtpSource;

/// One relay session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionRef {
    /// The call.
    pub call: CallRef,
    /// Its attempt.
    pub attempt: AttemptRef,
}

/// What a relay is told.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayOrder {
    /// A description offered by one side, to be rewritten for the other. Opens the session when it is new.
    Offer(Box<SdpOrder>),
    /// The answer to the last offer.
    Answer(Box<SdpOrder>),
    /// The last offer was refused: what was agreed before holds.
    Withdraw(SessionRef),
    /// Over. Replies with the statistics; a session that is not known is no error.
    Delete(SessionRef),
    /// Statistics so far.
    Query(SessionRef),
    /// Still wanted: a session that nobody renews for 120 s ends.
    Renew(Vec<SessionRef>),
}

/// A description and both sides' circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct SdpOrder {
    /// The session.
    pub session: SessionRef,
    /// Who sent the description.
    pub from: Side,
    /// The description as received.
    pub sdp: Bytes,
    /// Side A.
    pub a: SideMedia,
    /// Side B.
    pub b: SideMedia,
}

/// How one side is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideMedia {
    /// Name of the network whose advertised address is written for it; empty for the default one.
    pub network: String,
    /// The address its signalling comes from.
    pub signalling: IpAddr,
    /// Symmetric RTP (`nat=comedia` in effect).
    pub comedia: bool,
    /// Where its RTP may come from when comedia is in effect.
    pub source: RtpSource,
    /// End the session after this long without RTP from it; 0 never. Seconds.
    pub rtp_timeout: u32,
    /// The same while on hold.
    pub rtp_hold_timeout: u32,
    /// Address family to write for it, when it is known to have only one.
    pub ipv6: bool,
}

/// What a relay replies.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayReply {
    /// The description for the other side. Its `o=` line holds our address; session id and version are stamped by the leg.
    Described(Described),
    /// The session's statistics; for [`RelayOrder::Delete`] they are the last.
    Statistics(SessionStatistics),
    /// Nothing to say but that it was done. For [`RelayOrder::Renew`]: the sessions it does not have.
    Done {
        /// Sessions that were named and are not there.
        missing: Vec<SessionRef>,
    },
}

/// A rewritten description.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Which relay has the session; later orders go there.
    pub relay: PodRef,
    /// The description for the other side.
    pub sdp: Bytes,
    /// Streams whose direction or formats claimed more than the offer allows and were narrowed (RFC 3264 §6.1).
    pub narrowed: u32,
    /// The side that sent it puts the other on hold.
    pub hold: bool,
    /// Codec names in order, as the operator's Format column shows them.
    pub formats: Vec<String>,
}

/// Why a relay did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayRefused {
    /// This relay has no port for another stream now; another may have.
    #[error("no relay port is free")]
    NoPort,
    /// The description cannot be read or relayed: 488 or 400 to whoever sent it.
    #[error("{0}")]
    BadDescription(String),
    /// The relay does not know the session.
    #[error("the relay does not have this session")]
    UnknownSession,
    /// It drains or sheds load; another may not.
    #[error("the relay takes no new session")]
    Busy,
    /// It cannot be reached.
    #[error("no relay can be reached")]
    Unreachable,
}

/// What a relay tells by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayEvent {
    /// A session ended because no RTP came (`rtptimeout`, `rtpholdtimeout`).
    TimedOut {
        /// Which.
        session: SessionRef,
        /// The side that fell silent.
        side: Side,
        /// The last statistics.
        statistics: Box<SessionStatistics>,
    },
    /// A session ended because nobody renewed it.
    Abandoned {
        /// Which.
        session: SessionRef,
    },
}

/// All that a relay knows of one session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionStatistics {
    /// One entry a stream and direction.
    pub streams: Vec<StreamStatistics>,
    /// How long the session has been there, milliseconds.
    pub duration_ms: u64,
}

/// One direction of one stream: packets that came in from `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStatistics {
    /// Index of the m= line.
    pub index: u16,
    /// `audio`, `video`, …
    pub media: String,
    /// Whose packets these are.
    pub from: Side,
    /// Our port that they come to, and theirs; `None` while it is not known.
    pub local: Option<SocketAddr>,
    /// Where they come from.
    pub remote: Option<SocketAddr>,
    /// RTP packets received from that side.
    pub packets: u64,
    /// Their bytes, RTP header included.
    pub bytes: u64,
    /// RTP packets sent on to the other side.
    pub sent: u64,
    /// Lost by sequence number (RFC 3550 A.3).
    pub lost: u64,
    /// Came out of order.
    pub out_of_order: u64,
    /// Interarrival jitter, microseconds (RFC 3550 A.8).
    pub jitter_us: u32,
    /// Loss that this side reported of what we sent it, packets (RTCP).
    pub reported_lost: u64,
    /// Jitter that this side reported, microseconds.
    pub reported_jitter_us: u32,
    /// Round trip by RTCP, microseconds; `None` before the first report.
    pub round_trip_us: Option<u32>,
    /// Packets from elsewhere or of the wrong kind that were dropped.
    pub dropped: u64,
}
