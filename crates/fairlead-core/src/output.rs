//! What a shard wants done.

use fairlead_model::ask::{Envelope, Refusal};
use fairlead_model::binding::{BindingKey, Qualify};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef};
use fairlead_model::relay::{RelayOrder, SessionStatistics};
use std::net::SocketAddr;

/// Pairs a send with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendRef(pub u64);

/// Pairs a relay order with its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderRef(pub u64);

/// Pairs a name look-up with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolveRef(pub u64);

/// One thing to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message. Its result comes back as [`Input::Sent`](crate::input::Input::Sent) when `report` is set.
    Send {
        /// Names it.
        send: SendRef,
        /// Where it goes.
        to: SendTo,
        /// The message.
        message: bytes::Bytes,
        /// Whether the result matters (requests and responses of transactions).
        report: bool,
    },
    /// Pass a message on to the pod (or the shard of this pod) that owns it.
    Forward {
        /// The pod.
        pod: PodRef,
        /// The shard, if what was minted says it.
        shard: Option<u8>,
        /// The message as received.
        message: bytes::Bytes,
        /// How it came here.
        flow: Flow,
        /// Whether the pod took it comes back as [`Input::Sent`](crate::input::Input::Sent) with this name.
        report: Option<SendRef>,
    },
    /// Ask the registrar.
    Ask(Envelope),
    /// Order a relay. For the first order of a session the caller picks the relay and tries others
    /// while they refuse with `NoPort`, `Busy` or `Unreachable`.
    Relay {
        /// Names it.
        order: OrderRef,
        /// The relay that has the session, once there is one.
        relay: Option<PodRef>,
        /// The order.
        what: RelayOrder,
    },
    /// Look a name up.
    Resolve {
        /// Names it.
        resolve: ResolveRef,
        /// The name.
        host: String,
        /// The port.
        port: Option<u16>,
        /// Over which transport it will be used.
        transport: Transport,
    },
    /// Close a connection (its stream cannot be read any more).
    Close {
        /// Its flow.
        flow: Flow,
    },
    /// Something to count, log or write down. Never needed for what happens next.
    Event(Event),
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendTo {
    /// By a flow, whoever owns it.
    Flow(Flow),
    /// To an address from a network of this pod; connections are opened or used again (RFC 3261 §18.1.1).
    Address {
        /// Index into [`Identity::networks`](crate::input::Identity).
        network: usize,
        /// Where to.
        remote: SocketAddr,
    },
}

/// What is worth counting or writing down.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A request or response came in (`method` of the request, status 0 for requests).
    Received {
        /// Method label, from a fixed set.
        method: &'static str,
        /// Status of a response.
        status: u16,
    },
    /// A message went out.
    Transmitted {
        /// Method label, from a fixed set.
        method: &'static str,
        /// Status of a response.
        status: u16,
    },
    /// A retransmission was sent.
    Retransmitted {
        /// Method label.
        method: &'static str,
    },
    /// A message was dropped without an answer.
    Dropped {
        /// Why, from a fixed set.
        reason: &'static str,
    },
    /// A request was refused.
    Refused {
        /// Method label.
        method: &'static str,
        /// The refusal.
        refusal: Refusal,
        /// Why, from a fixed set.
        reason: &'static str,
    },
    /// A stateless challenge left.
    Challenged,
    /// A REGISTER was answered 200.
    Registered {
        /// The address that it came from, as the socket saw it.
        source: std::net::IpAddr,
    },
    /// A call began (leg A was admitted).
    CallBegan {
        /// Which.
        call: CallRef,
    },
    /// It was answered.
    CallAnswered {
        /// Which.
        call: CallRef,
        /// From INVITE to 200, milliseconds.
        setup_ms: u64,
    },
    /// It is over: the call detail record.
    CallEnded(Box<CallRecord>),
    /// A relay narrowed an answer.
    Narrowed {
        /// How many streams.
        streams: u32,
    },
    /// A qualify that the operator or the schedule asked for has its result.
    Qualified {
        /// The peer.
        peer: String,
        /// The contact.
        key: Option<BindingKey>,
        /// The result.
        result: Qualify,
    },
}

/// What remains of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// The call.
    pub call: CallRef,
    /// The caller's peer, empty for a guest.
    pub from: String,
    /// Whom it reached, or the last that was tried.
    pub to: String,
    /// Call-ID of leg A.
    pub call_id: String,
    /// From INVITE to its end, milliseconds.
    pub duration_ms: u64,
    /// From answer to end, milliseconds; 0 when it was not answered.
    pub billed_ms: u64,
    /// Final status of leg A's INVITE.
    pub status: u16,
    /// Who ended it, from a fixed set: `caller`, `callee`, `cancel`, `rtp-timeout`, `max-duration`, `operator`,
    /// `shutdown`, `failure`.
    pub ended_by: &'static str,
    /// Media statistics, when a relay gave them.
    pub media: Option<SessionStatistics>,
}
