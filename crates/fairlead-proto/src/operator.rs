//! What the operator's door asks of the roles that know: in one process, or through gRPC.
//!
//! As with [`crate::link`]: a role implements the trait, [`crate::server`] puts it behind gRPC, and the clients of
//! [`crate::client`] implement it again at the other end.

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::Qualify;
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::id::CallRef;
use fairlead_model::member::Member;
use fairlead_model::operator::{
    InUseView, PeerDetail, PeerPage, PeerView, PruneReceipt, PruneSelector, UnregisterOutcome, UserView,
};
use fairlead_model::relay::{SessionRef, SessionStatistics};

/// How many entries one page holds at most.
pub const PAGE: u32 = 1000;

/// Why a role did not answer the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It cannot be reached.
    #[error("cannot be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("did not answer in time")]
    Deadline,
    /// What was asked makes no sense (a regular expression that cannot be read); the text says why.
    #[error("{0}")]
    Invalid(String),
    /// It could not do it (its store is away).
    #[error("{0}")]
    Unable(String),
    /// It is an older release that does not know the question.
    #[error("does not know this question")]
    Unknown,
}

/// One page of a list that is sorted by name, bytewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// There are more after the last of these.
    pub more: bool,
}

/// What a registrar knows. A limit of 0 or above [`PAGE`] means [`PAGE`].
#[async_trait::async_trait]
pub trait PeersPort: Send + Sync + 'static {
    /// `sip show peers`.
    async fn list_peers(&self, page: PeerPage) -> Result<Page<PeerView>, Unanswered>;
    /// `sip show peer X [load]`; `None` when nobody has that name.
    async fn get_peer(&self, name: &str, load: bool) -> Result<Option<PeerDetail>, Unanswered>;
    /// `sip show users`.
    async fn list_users(&self, page: PeerPage) -> Result<Page<UserView>, Unanswered>;
    /// `sip show inuse [all]`.
    async fn in_use(&self, all: bool, page: PeerPage) -> Result<Page<InUseView>, Unanswered>;
    /// `sip prune realtime …`, here alone.
    async fn prune(&self, which: PruneSelector) -> Result<PruneReceipt, Unanswered>;
    /// `sip unregister X`.
    async fn unregister(&self, name: &str) -> Result<UnregisterOutcome, Unanswered>;
    /// The contacts that `sip qualify peer X` has to ask, with their flows; `None` when nobody has that name.
    async fn qualify_peer(&self, name: &str) -> Result<Option<Vec<QualifyTarget>>, Unanswered>;
    /// `fairlead reindex`; how many peers were found.
    async fn reindex(&self) -> Result<u64, Unanswered>;
    /// Everybody who is there, in order of role and name.
    async fn members(&self) -> Result<Vec<Member>, Unanswered>;
}

/// What a signaling pod knows.
#[async_trait::async_trait]
pub trait ChannelsPort: Send + Sync + 'static {
    /// Legs of calls whose Call-ID begins with `prefix`, in order of Call-ID.
    async fn list_channels(&self, prefix: &str) -> Result<Vec<Channel>, Unanswered>;
    /// Pairs of legs that hear each other, in order of leg A's Call-ID.
    async fn list_bridges(&self) -> Result<Vec<Bridge>, Unanswered>;
    /// Ends a call; whether this pod has it.
    async fn hang_up(&self, call: CallRef) -> Result<bool, Unanswered>;
    /// OPTIONS now.
    async fn qualify(&self, target: QualifyTarget) -> Result<Qualify, Unanswered>;
}

/// What a relay knows.
#[async_trait::async_trait]
pub trait SessionsPort: Send + Sync + 'static {
    /// Its sessions (of one call), in order of call and attempt.
    async fn list_sessions(
        &self,
        call: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered>;
}
