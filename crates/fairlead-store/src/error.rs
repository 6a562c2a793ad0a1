//! Why a step was not done.

/// Why a step was not done. Sorted by who acts: [`StoreError::Away`] and [`StoreError::Overloaded`] pass by themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or does not answer in time; said at once while it is known.
    #[error("the store cannot be reached")]
    Away,
    /// More steps wait than the queue holds.
    #[error("the store is overloaded")]
    Overloaded,
    /// The store refused this step: a key of the wrong type, no memory, no right.
    #[error("the store refused: {0}")]
    Refused(String),
    /// What lies there cannot be read; the rest of the store is not touched by it.
    #[error("the record of {key} cannot be read: {cause}")]
    Unreadable {
        /// Which.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The disk failed.
    #[error("the file could not be written: {0}")]
    Disk(String),
    /// An answer of another kind than the step has; a defect of ours.
    #[error("an answer of another kind: {0}")]
    Unexpected(&'static str),
}

impl StoreError {
    /// Whether the same step may be done a moment later.
    pub const fn passes(&self) -> bool {
        matches!(self, StoreError::Away | StoreError::Overloaded | StoreError::Disk(_))
    }
}
