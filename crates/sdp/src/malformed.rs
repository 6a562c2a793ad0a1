//! Why a description could not be read.

/// What is wrong with a description. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is longer than [`MAX_BYTES`](crate::MAX_BYTES).
    #[error("the description is longer than {} bytes", crate::MAX_BYTES)]
    TooLong,
    /// It has more than [`MAX_STREAMS`](crate::MAX_STREAMS) `m=` lines.
    #[error("the description has more than {} streams", crate::MAX_STREAMS)]
    TooManyStreams,
    /// It does not begin with `v=0` (RFC 8866 §5.1).
    #[error("the description does not begin with v=0")]
    Version,
    /// A line is not a letter, `=` and a value without NUL or CR (RFC 8866 §5).
    #[error("line {0} of the description is not a letter, '=' and a value")]
    Line(usize),
    /// An `o=` line does not have its six fields (RFC 8866 §5.2).
    #[error("the o= line in line {0} does not have six fields")]
    Origin(usize),
    /// A `c=` line does not have its three fields (RFC 8866 §5.7).
    #[error("the c= line in line {0} cannot be read")]
    Connection(usize),
    /// An `m=` line cannot be read (RFC 8866 §5.14).
    #[error("the m= line in line {0} cannot be read")]
    Media(usize),
    /// There are two of a line that may be there once.
    #[error("line {0} of the description is there for the second time")]
    Twice(usize),
}
