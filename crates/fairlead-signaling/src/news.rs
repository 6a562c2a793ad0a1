//! What reaches a shard from outside its own sockets, and how its results go back.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use fairlead_core::input::{Command, SendFailed};
use fairlead_core::output::{OrderRef, ResolveRef, SendRef};
use fairlead_model::ask::{Answer, AskFailed, AskRef, QualifyTarget};
use fairlead_model::binding::Qualify;
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::flow::Flow;
use fairlead_model::id::CallRef;
use fairlead_model::member::Briefing;
use fairlead_model::relay::{RelayEvent, RelayRefused, RelayReply};
use sip_wire::Message;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::shed::{self, NotTaken};

/// A message that another shard or pod hands over.
#[derive(Debug)]
pub(crate) enum Handed {
    /// It belongs to this shard.
    Message {
        /// The message.
        message: Message,
        /// How it came to the edge.
        flow: Flow,
    },
    /// This shard has the flow that it is to be sent by (or any shard of this pod has).
    Send {
        /// The message.
        message: Bytes,
        /// The flow.
        flow: Flow,
        /// Who wants to know what came of it.
        reply: Reply,
    },
}

/// Who wants to know what became of a message.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody.
    Nobody,
    /// A shard of this pod.
    Shard {
        /// Which.
        shard: u8,
        /// What it calls the send.
        send: SendRef,
    },
    /// Another pod.
    Mesh {
        /// The results of its stream.
        results: mpsc::Sender<(u64, Option<SendFailed>)>,
        /// What it calls the frame.
        frame: u64,
    },
}

/// Anything else that a shard is told.
#[derive(Debug)]
pub(crate) enum News {
    Answers(Vec<(AskRef, Result<Answer, AskFailed>, Span)>),
    Relayed { order: OrderRef, reply: Result<RelayReply, RelayRefused>, span: Span },
    RelayEvent(RelayEvent),
    Resolved { resolve: ResolveRef, addresses: Vec<SocketAddr> },
    Sent { send: SendRef, failed: Option<SendFailed>, flow: Option<Flow> },
    Briefed(Arc<Briefing>),
    Command(Command),
    Query(Query),
    Drain,
    Fade,
    EndCalls,
    Close,
    Stop,
}

/// What the operator asks of a shard.
#[derive(Debug)]
pub(crate) enum Query {
    Channels { prefix: String, answer: oneshot::Sender<Vec<Channel>> },
    Bridges { answer: oneshot::Sender<Vec<Bridge>> },
    Registrations { answer: oneshot::Sender<HashMap<IpAddr, u64>> },
    HangUp { call: CallRef, answer: oneshot::Sender<bool> },
    Qualify { target: Box<QualifyTarget>, answer: oneshot::Sender<Qualify> },
}

/// The ways into one shard. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ShardDoor {
    pub(crate) handed: mpsc::Sender<Handed>,
    pub(crate) news: mpsc::Sender<News>,
}

impl ShardDoor {
    /// Hands over a message.
    pub(crate) fn hand(&self, handed: Handed) -> Result<(), NotTaken> {
        let may_be_shed = match &handed {
            Handed::Message { message, .. } => shed::is_new_request(message),
            Handed::Send { message, .. } => shed::is_request_to_shed(message),
        };
        shed::offer(&self.handed, handed, may_be_shed)
    }

    /// Tells something that must not be lost. Waits while the shard is behind.
    pub(crate) async fn tell(&self, news: News) {
        // Fails only when the shard has ended, and then nobody wants to know.
        let _ = self.news.send(news).await;
    }
}
