//! Established calls as the registrar keeps them, so that another pod can go on with them.

use bytes::Bytes;

use crate::id::{CallRef, PodRef, UnixMillis};

/// One call's record. What is inside `state` is the business of `fairlead-call`; the envelope is the store's.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointRecord {
    /// The call.
    pub call: CallRef,
    /// Who has it.
    pub owner: PodRef,
    /// Counts owners: a record with a lower epoch than the stored one is refused (fencing).
    pub epoch: u64,
    /// Schema of `state`.
    pub schema: u32,
    /// When the record was written.
    pub written: UnixMillis,
    /// When the call ends by itself (max duration), if it does.
    pub deadline: Option<UnixMillis>,
    /// Call-IDs of the call's dialogs, by which a message finds it.
    pub call_ids: Vec<String>,
    /// The call's state.
    pub state: Bytes,
}
