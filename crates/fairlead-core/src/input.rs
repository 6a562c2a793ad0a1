//! What comes into a shard.

use std::sync::Arc;

use fairlead_model::ask::{Answer, AskFailed, AskRef};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::{CallRef, PodRef};
use fairlead_model::member::Briefing;
use fairlead_model::relay::{RelayEvent, RelayRefused, RelayReply};
use std::net::SocketAddr;

use crate::output::{OrderRef, ResolveRef, SendRef};

pub use fairlead_call::Now;

/// One thing that happened. Handle it, then drain the outputs.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message arrived on a socket of this pod, or by mesh from the pod that `flow.pod` names.
    Received {
        /// The message, framed and indexed.
        message: sip_wire::Message,
        /// How it came. Answers leave by it.
        flow: Flow,
    },
    /// Something arrived that is no message; it can be answered where its partial reading allows.
    Malformed {
        /// What is wrong.
        malformed: sip_wire::Malformed,
        /// How it came.
        flow: Flow,
    },
    /// What became of a message that was sent (`None`: it left) or passed on (`None`: the other pod took it).
    Sent {
        /// Which.
        send: SendRef,
        /// Why it did not leave.
        failed: Option<SendFailed>,
        /// The flow it left by, for messages that were sent to an address: later requests of the dialog may use it.
        flow: Option<Flow>,
    },
    /// Something that is no message (a keep-alive, RFC 5626 §4.4.1) came by a socket of this pod: its sender is there.
    Heard {
        /// How it came.
        flow: Flow,
    },
    /// A connection of this pod is gone.
    Closed {
        /// Its flow.
        flow: Flow,
    },
    /// The registrar answered.
    Answered {
        /// Which question.
        ask: AskRef,
        /// The answer.
        answer: Result<Answer, AskFailed>,
    },
    /// A relay replied.
    Relayed {
        /// Which order.
        order: OrderRef,
        /// The reply.
        reply: Result<RelayReply, RelayRefused>,
    },
    /// A relay told something by itself.
    RelayEvent(RelayEvent),
    /// A name was looked up; nothing found is an empty list.
    Resolved {
        /// Which.
        resolve: ResolveRef,
        /// Addresses to try, in order.
        addresses: Vec<SocketAddr>,
    },
    /// The registrar's newest briefing.
    Briefed(Arc<Briefing>),
    /// The operator wants something.
    Command(Command),
    /// Go on with a call that another pod (or an earlier incarnation) had.
    Adopt(CheckpointRecord),
    /// Take no new calls from now on: they are passed on to a pod that does not drain; where there is none, 503 with
    /// Retry-After.
    Drain,
    /// The end is near: where another pod takes new calls they are not heard here any more, so that whoever repeats his
    /// INVITE finds that pod once this one is gone, and those that were passed on come to their end. Over a connection, where
    /// nobody repeats, they are 503.
    Fade,
    /// The time for calls to end in peace is over: those that are left are ended with BYE or CANCEL on both legs.
    EndCalls,
    /// Hear no new requests any more, so that what is open can come to its end: whoever repeats his finds another pod, and
    /// who asks over a connection is told to ask again (503).
    Close,
}

/// Why a message did not leave: a transport error, at once (RFC 3261 §8.1.3.1, §17.1.4), but for a datagram that found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendFailed {
    /// The pod that owns the flow is gone or does not have it.
    NoSuchFlow,
    /// The connection is gone or could not be made.
    ConnectionGone,
    /// A queue or the buffer of a socket is full. Over UDP that is one datagram lost, which is repeated.
    Full,
    /// The socket refused (address family, message too long, unreachable).
    Socket,
}

/// What an operator can make a shard do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// OPTIONS now, to one contact; its result comes as [`crate::output::Event::Qualified`].
    Qualify(Box<fairlead_model::ask::QualifyTarget>),
    /// The contacts this shard keeps qualified from now on, replacing the list before.
    QualifyList(Vec<fairlead_model::ask::QualifyTarget>),
    /// End a call with BYE or CANCEL on both legs.
    HangUp {
        /// Which.
        call: CallRef,
    },
}

/// A listener of this pod, as the shard needs it to write Via and Contact (architecture: addresses).
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its name; empty for the default one.
    pub name: String,
    /// Transport.
    pub transport: Transport,
    /// Local address messages of this network leave from (port included); unspecified address for a wildcard listener.
    pub bind: SocketAddr,
    /// What is written into Via and Contact: host (name or address) and port.
    pub advertised: (String, u16),
    /// Whether the operator said so, rather than that it was found out; then it stands for every pod of the edge.
    pub told: bool,
    /// Whether `advertised` must not be said unless it was told: behind a Service the listener's own address is of no use
    /// to anybody. Until the surroundings name an address, nothing that carries one leaves by this network.
    pub awaits: bool,
    /// Whether any pod of the edge may send from it (routed), not only the one that a phone's packets reach.
    pub routed: bool,
}

/// What a shard is told at birth and again when its addresses change.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This pod.
    pub pod: PodRef,
    /// This shard's number.
    pub shard: u8,
    /// How many there are in this pod.
    pub shards: u8,
    /// Its networks. The first with a matching transport and family is the default for messages to addresses.
    pub networks: Vec<Network>,
}
