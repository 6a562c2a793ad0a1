//! What is wrong with a message, in a form that can be counted and answered.

use std::fmt;

use crate::header::Header;
use crate::message::Message;

/// A message that breaks the rules, with as much of it as could be read.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// The first defect found.
    pub reason: MalformedReason,
    /// Present when it is a request and enough was read to answer it: Via, From, To, Call-ID and CSeq are all there
    /// and the top Via says where the answer goes (RFC 3261 §8.2.6). Never answer an ACK.
    pub partial: Option<Box<Message>>,
}

impl Malformed {
    pub(crate) fn new(reason: MalformedReason) -> Malformed {
        Malformed { reason, partial: None }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)
    }
}

impl std::error::Error for Malformed {}

/// One defect of a message. It holds nothing that the sender wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MalformedReason {
    /// There is no start line.
    #[error("Empty Message")]
    Empty,
    /// The message is longer than [`Limits::max_message`](crate::Limits::max_message).
    #[error("Message Too Large")]
    TooLarge,
    /// There are more header lines than [`Limits::max_headers`](crate::Limits::max_headers).
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    /// A line is longer than [`Limits::max_header_line`](crate::Limits::max_header_line).
    #[error("Header Field Too Long")]
    HeaderTooLong,
    /// No empty line ends the header fields.
    #[error("Message Ends Within Header Fields")]
    Truncated,
    /// A CR or LF stands alone where lines end with CRLF.
    #[error("Bare CR or LF")]
    LineEnd,
    /// The start line is neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    #[error("Bad Request Line")]
    StartLine,
    /// The Request-URI is not an absolute URI, or holds what it must not (RFC 3261 §19.1.1).
    #[error("Bad Request-URI")]
    RequestUri,
    /// The version is not SIP/2.0.
    #[error("Version Not Supported")]
    Version,
    /// The status code is not one of 100 to 699.
    #[error("Bad Status Code")]
    StatusCode,
    /// A header line has no colon, or no name before it.
    #[error("Bad Header Field Name")]
    HeaderLine,
    /// The body is shorter than Content-Length says.
    #[error("Body Shorter Than Content-Length")]
    BodyShort,
    /// A mandatory header field is not there (RFC 3261 §8.1.1).
    #[error("Missing {0} Header Field")]
    Missing(Header),
    /// A header field that may stand once stands twice.
    #[error("Repeated {0} Header Field")]
    Repeated(Header),
    /// A header field cannot be read.
    #[error("Bad {0} Header Field")]
    Bad(Header),
    /// A header field has more values than [`MAX_VALUES`](crate::MAX_VALUES).
    #[error("Too Many {0} Values")]
    TooManyValues(Header),
    /// The method in CSeq is not that of the request (RFC 3261 §8.1.1.5).
    #[error("CSeq Method Does Not Match Request Method")]
    CSeqMethod,
}

impl MalformedReason {
    /// A name from a closed set, fit for a metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            MalformedReason::Empty => "empty",
            MalformedReason::TooLarge => "too_large",
            MalformedReason::TooManyHeaders => "too_many_headers",
            MalformedReason::HeaderTooLong => "header_too_long",
            MalformedReason::Truncated => "truncated",
            MalformedReason::LineEnd => "line_end",
            MalformedReason::StartLine => "start_line",
            MalformedReason::RequestUri => "request_uri",
            MalformedReason::Version => "version",
            MalformedReason::StatusCode => "status_code",
            MalformedReason::HeaderLine => "header_line",
            MalformedReason::BodyShort => "body_short",
            MalformedReason::Missing(_) => "missing_header",
            MalformedReason::Repeated(_) => "repeated_header",
            MalformedReason::Bad(_) => "bad_header",
            MalformedReason::TooManyValues(_) => "too_many_values",
            MalformedReason::CSeqMethod => "cseq_method",
        }
    }

    /// The status that answers it: 400, 505 or 513.
    pub fn status(&self) -> u16 {
        match self {
            MalformedReason::Version => 505,
            MalformedReason::TooLarge | MalformedReason::HeaderTooLong | MalformedReason::TooManyHeaders => {
                513
            }
            _ => 400,
        }
    }

    /// The reason phrase of that answer; it names the header field at fault (RFC 3261 §21.4.1).
    pub fn phrase(&self) -> String {
        self.to_string()
    }

    /// The header field at fault, where there is one.
    pub fn header(&self) -> Option<Header> {
        match self {
            MalformedReason::Missing(header)
            | MalformedReason::Repeated(header)
            | MalformedReason::Bad(header)
            | MalformedReason::TooManyValues(header) => Some(*header),
            MalformedReason::CSeqMethod => Some(Header::CSeq),
            MalformedReason::BodyShort => Some(Header::ContentLength),
            _ => None,
        }
    }
}
