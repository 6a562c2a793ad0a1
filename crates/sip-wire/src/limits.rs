//! Bounds on what one message may cost.

/// Bounds on a received message. What exceeds them is [`Malformed`](crate::Malformed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the whole message with its body. A UDP datagram cannot have more than 65,535.
    pub max_message: usize,
    /// Header lines.
    pub max_headers: usize,
    /// Octets of one line, all its folds counted; the start line too.
    pub max_header_line: usize,
}

impl Limits {
    /// The bounds used where nothing else is said.
    pub const DEFAULT: Limits = Limits { max_message: 65_535, max_headers: 256, max_header_line: 8_192 };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// The most values one reader collects of one header field.
pub const MAX_VALUES: usize = 512;
