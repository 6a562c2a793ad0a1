//! What a call wants done, and the names by which it speaks of things that the core keeps for it.

use std::net::SocketAddr;

use bytes::Bytes;
use fairlead_model::ask::Ask;
use fairlead_model::id::{AttemptRef, PodRef};
use fairlead_model::relay::{RelayOrder, SessionStatistics};

use crate::passes::Passed;

/// A server transaction that the core keeps, with what its responses say of where its request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerRef {
    /// Names it.
    pub id: u64,
    /// The true source of the request.
    pub source: SocketAddr,
    /// Whether the response goes there although the request did not ask for it (`nat=force_rport`).
    pub forced: bool,
}

/// A request that the call has open; its responses come back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// An order to the relay whose reply the call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderTag(pub u32);

/// One dialog of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegRef {
    /// The caller's.
    A,
    /// An attempt's to reach the callee.
    B(AttemptRef),
    /// A further answer of a forked INVITE, which is acknowledged and ended (RFC 3261 §13.2.2.4).
    Stray(u16),
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Find out how the target of an attempt is reached: look its name up, pick the network, and say
    /// [`Call::reached`](crate::call::Call::reached) or [`Call::not_reached`](crate::call::Call::not_reached).
    Reach(AttemptRef),
    /// Take a call slot for the peer of this attempt; [`Call::occupied`](crate::call::Call::occupied) tells.
    Occupy(AttemptRef),
    /// Answer a request. For a 2xx of an INVITE it comes again and again until the ACK.
    Respond {
        /// Whose.
        server: ServerRef,
        /// Its status.
        status: u16,
        /// The whole response.
        message: Bytes,
    },
    /// Send a request: the core picks the next hop, writes its Via, and takes the text from
    /// [`Call::write`](crate::call::Call::write).
    Request {
        /// Names it.
        ticket: Ticket,
        /// On which leg.
        leg: LegRef,
    },
    /// Send the INVITE of an attempt anew, to the next address of its name (RFC 3263 §4.3). Where it went before is given up:
    /// cancelled as soon as that is allowed (RFC 3261 §9.1), an answer from there acknowledged and ended.
    NextAddress {
        /// The INVITE.
        ticket: Ticket,
        /// Whose.
        attempt: AttemptRef,
    },
    /// Acknowledge the 2xx of an INVITE; the text is [`Call::write_ack`](crate::call::Call::write_ack)'s, and the
    /// core sends it again when the 2xx comes again.
    Ack {
        /// The INVITE.
        ticket: Ticket,
        /// On which leg.
        leg: LegRef,
    },
    /// A 2xx came again, so its ACK goes out again.
    AckAgain {
        /// On which leg.
        leg: LegRef,
        /// The ACK as it was sent.
        message: Bytes,
    },
    /// Cancel an open INVITE as soon as that is allowed (RFC 3261 §9.1).
    Cancel {
        /// The INVITE.
        ticket: Ticket,
        /// Headers from the other leg.
        passed: Vec<Passed>,
    },
    /// Order a relay. The reply, if one is waited for, comes with the tag.
    Relay {
        /// Names it.
        tag: OrderTag,
        /// The relay that has the session.
        relay: Option<PodRef>,
        /// The order.
        what: RelayOrder,
    },
    /// Tell the registrar; nobody waits for the answer.
    Tell(Ask),
    /// Ask the registrar to answer a challenge; [`Call::challenge_answered`](crate::call::Call::challenge_answered).
    AnswerChallenge {
        /// The request that was challenged.
        ticket: Ticket,
        /// The static peer it went to.
        peer: String,
        /// The challenges.
        challenges: Vec<String>,
        /// Method of the request.
        method: String,
        /// Its Request-URI.
        uri: String,
        /// Its CSeq, which tells it from a later one of the same ticket.
        cseq: u32,
        /// The header that the answer goes into: of a proxy or of a user agent.
        proxy: bool,
    },
    /// The call is as [`Call::checkpoint`](crate::checkpoint) says: write it down.
    Confirmed,
    /// The call was answered.
    Answered {
        /// From INVITE to 200, milliseconds.
        setup_ms: u64,
    },
    /// An answer claimed more than its offer allows.
    Narrowed(u32),
    /// Both legs are ended; the record of the call. Transactions may still be closing.
    Ended(Box<Ended>),
}

/// What remains of a call, as far as the call knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The peer it reached or tried last.
    pub to: String,
    /// From INVITE to its end, milliseconds.
    pub duration_ms: u64,
    /// From answer to end, milliseconds.
    pub billed_ms: u64,
    /// Final status of leg A's INVITE.
    pub status: u16,
    /// Who ended it.
    pub by: EndedBy,
    /// Statistics of the media.
    pub media: Option<SessionStatistics>,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// BYE from the caller.
    Caller,
    /// BYE from the callee.
    Callee,
    /// CANCEL.
    Cancel,
    /// No RTP for too long.
    RtpTimeout,
    /// The longest time allowed is over.
    MaxDuration,
    /// An operator.
    Operator,
    /// The process that holds it ends, and the time for it to end in peace is over.
    Shutdown,
    /// It could not be set up, or a leg is gone.
    Failure,
}

impl EndedBy {
    /// The word in the record.
    pub const fn word(self) -> &'static str {
        match self {
            EndedBy::Caller => "caller",
            EndedBy::Callee => "callee",
            EndedBy::Cancel => "cancel",
            EndedBy::RtpTimeout => "rtp-timeout",
            EndedBy::MaxDuration => "max-duration",
            EndedBy::Operator => "operator",
            EndedBy::Shutdown => "shutdown",
            EndedBy::Failure => "failure",
        }
    }
}
