//! The two ports on the path of a message, as roles see them: in one process, or through gRPC.
//!
//! A role that serves implements the trait; `standalone` hands that very object to signaling, a split
//! edge hands it a client of this crate that implements the same trait over tonic.

use std::sync::Arc;

use fairlead_model::ask::{Answer, AskFailed, AskRef, Envelope};
use fairlead_model::member::{Briefing, Member};
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply};
use tokio::sync::mpsc;

/// What a pod sends up its stream to a registrar.
#[derive(Clone, Debug)]
pub enum Up {
    /// Questions, as many as were waiting.
    Asks(Vec<Envelope>),
    /// W3C `traceparent`s of questions that the next `Asks` brings; sent only while traces are recorded.
    Traces(Vec<(AskRef, String)>),
    /// Still here; renews the lease (every second).
    Beat {
        /// Calls, sessions or streams held now.
        load: u32,
        /// No new ones are taken.
        draining: bool,
    },
}

/// What a registrar sends down.
#[derive(Clone, Debug)]
pub enum Down {
    /// Answers, in any order.
    Answers(Vec<(AskRef, Result<Answer, AskFailed>)>),
    /// Keys, members, `[general]`: first of all at attach, then at each change.
    Briefed(Arc<Briefing>),
    /// Contacts to qualify have changed: ask `QualifyList` again.
    Requalify,
}

/// The registrar as the other pods see it.
#[async_trait::async_trait]
pub trait RegistrarPort: Send + Sync + 'static {
    /// Opens the stream of one pod. It ends when either side drops its end.
    async fn attach(&self, who: Member, up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed>;
}

/// A media relay as signaling sees it.
#[async_trait::async_trait]
pub trait RelayPort: Send + Sync + 'static {
    /// Carries out an order.
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused>;

    /// What the relay tells by itself (RTP timeouts, sessions that ended), from now on.
    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused>;
}
