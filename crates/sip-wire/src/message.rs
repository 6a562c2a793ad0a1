//! [`Message`]: a received SIP message, and how datagrams become one.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::header::Header;
use crate::index::{Index, Line, Span, StartLine};
use crate::limits::Limits;
use crate::malformed::{Malformed, MalformedReason};
use crate::method::Method;
use crate::scan;
use crate::text::Text;
use crate::via::ViaView;

/// A SIP message as it was received, with an index of its lines. Cloning it copies nothing.
///
/// Parsing frames and indexes only; values are read when somebody asks, and each reader says what is wrong with its
/// header field. What an element must refuse in general is told by [`Message::check_mandatory`].
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    /// Clean copies of folded values, see [`Index::side`].
    side: Text,
    index: Index,
    /// The request's method; in a response the method of its CSeq, empty when that cannot be read.
    method: Method,
}

/// Who says where the body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The datagram does; Content-Length may only shorten the body (RFC 3261 §18.3).
    Datagram,
    /// The stream framer cut the message to its Content-Length.
    Stream,
}

impl Message {
    /// Reads one datagram with the default [`Limits`].
    ///
    /// Line ends in front of the start line are skipped (RFC 3261 §7.5), octets behind the body dropped (§18.3).
    pub fn parse(datagram: Bytes) -> Result<Message, Malformed> {
        Message::parse_with(datagram, &Limits::DEFAULT)
    }

    /// Reads one datagram.
    pub fn parse_with(datagram: Bytes, limits: &Limits) -> Result<Message, Malformed> {
        let blank = leading_line_ends(&datagram);
        let bytes = datagram.slice(blank..);
        let index = Index::build(&bytes, limits);
        Message::assemble(bytes, index, Framing::Datagram)
    }

    /// Puts bytes and index together and settles where the body ends.
    pub(crate) fn assemble(
        mut bytes: Bytes,
        mut index: Index,
        framing: Framing,
    ) -> Result<Message, Malformed> {
        let there = bytes.len().saturating_sub(index.head_end);
        match content_length(&index, &bytes) {
            Ok(None) => {}
            Ok(Some(length)) if length <= there => bytes.truncate(index.head_end + length),
            Ok(Some(_)) if framing == Framing::Datagram => {
                index.problem.get_or_insert(MalformedReason::BodyShort);
            }
            Ok(Some(_)) => {}
            Err(reason) => {
                index.problem.get_or_insert(reason);
            }
        }
        let problem = index.problem;
        let side = Text::from(std::mem::take(&mut index.side));
        let method = match &index.start {
            StartLine::Request { method, .. } => method.clone(),
            StartLine::Response { .. } => Method::Other(Text::new()),
        };
        let mut inner = Inner { bytes, side, index, method };
        if let StartLine::Response { .. } = inner.index.start
            && let Some((_, name)) = inner.first(Header::CSeq).and_then(crate::read::cseq_parts)
        {
            inner.method = Method::parse(name);
        }
        let message = Message(Arc::new(inner));
        match problem {
            None => Ok(message),
            Some(reason) => {
                let partial = message.is_answerable().then(|| Box::new(message));
                Err(Malformed { reason, partial })
            }
        }
    }

    /// True when a response to this request can be built and sent (RFC 3261 §8.2.6.2, §18.2.2).
    fn is_answerable(&self) -> bool {
        let needed = [Header::From, Header::To, Header::CallId, Header::CSeq];
        self.is_request()
            && needed.iter().all(|header| self.header(*header).is_some())
            && self.first_value(Header::Via).is_some_and(|via| ViaView::parse(via).is_some())
    }

    /// The message as received, from its start line to the end of its body.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// True for a request, false for a response.
    pub fn is_request(&self) -> bool {
        matches!(self.0.index.start, StartLine::Request { .. })
    }

    /// The request's method. Of a response: the method in its CSeq, empty when that cannot be read.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The status code, 100 to 699; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        match self.0.index.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase as the peer wrote it; empty for a request.
    pub fn reason(&self) -> &str {
        match self.0.index.start {
            StartLine::Request { .. } => "",
            StartLine::Response { reason, aside, .. } => self.0.text(reason, aside),
        }
    }

    /// The Request-URI as written; empty for a response. [`Message::uri`] reads it.
    pub fn request_uri(&self) -> &str {
        match self.0.index.start {
            StartLine::Request { uri, .. } => self.0.text(uri, false),
            StartLine::Response { .. } => "",
        }
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        self.0.bytes.get(self.0.index.head_end..).unwrap_or_default()
    }

    /// The body, sharing the bytes of the message.
    pub fn body_bytes(&self) -> Bytes {
        self.0.bytes.slice(self.0.index.head_end.min(self.0.bytes.len())..)
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.0.index.lines
    }

    pub(crate) fn start_line(&self) -> &[u8] {
        self.0.index.start_line.of(&self.0.bytes)
    }

    /// The trimmed, unfolded value of a line.
    pub(crate) fn value(&self, line: &Line) -> &str {
        self.0.text(line.value, line.aside)
    }

    /// As [`Message::value`], sharing bytes.
    pub(crate) fn value_text(&self, line: &Line) -> Text {
        self.0.shared(line.value, line.aside)
    }

    /// The first line of `header`.
    pub(crate) fn line(&self, header: Header) -> Option<&Line> {
        self.0.index.lines.iter().find(|line| line.header == Some(header))
    }

    /// A part of the request line as text that shares bytes.
    pub(crate) fn request_uri_text(&self) -> Text {
        match self.0.index.start {
            StartLine::Request { uri, .. } => self.0.shared(uri, false),
            StartLine::Response { .. } => Text::new(),
        }
    }
}

impl Inner {
    fn text(&self, span: Span, aside: bool) -> &str {
        if aside {
            return self.side.get(span.range()).unwrap_or_default();
        }
        // The pass put aside whatever is not UTF-8, so this never fails.
        std::str::from_utf8(span.of(&self.bytes)).unwrap_or_default()
    }

    fn shared(&self, span: Span, aside: bool) -> Text {
        if aside {
            return self.side.slice(span.range());
        }
        let end = self.bytes.len();
        let range = span.range();
        Text::from_utf8_lossy(self.bytes.slice(range.start.min(end)..range.end.min(end)))
    }

    fn first(&self, header: Header) -> Option<&str> {
        let line = self.index.lines.iter().find(|line| line.header == Some(header))?;
        Some(self.text(line.value, line.aside))
    }
}

/// The value of Content-Length. Two of them are an attack or a defect, equal or not (RFC 4475 §3.3.9).
pub(crate) fn content_length(index: &Index, bytes: &[u8]) -> Result<Option<usize>, MalformedReason> {
    let mut lines = index.lines.iter().filter(|line| line.header == Some(Header::ContentLength));
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(MalformedReason::Repeated(Header::ContentLength));
    }
    let value = if line.aside {
        index.side.get(line.value.range())
    } else {
        std::str::from_utf8(line.value.of(bytes)).ok()
    };
    value
        .and_then(scan::number)
        .and_then(|length| u32::try_from(length).ok())
        .map(|length| Some(length as usize))
        .ok_or(MalformedReason::Bad(Header::ContentLength))
}

/// How many octets of line ends stand in front of the start line.
pub(crate) fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()
}

/// True for a datagram that holds nothing but line ends: a keep-alive, to be dropped (RFC 3261 §7.5, RFC 5626 §3.5.1).
pub fn is_keep_alive(datagram: &[u8]) -> bool {
    leading_line_ends(datagram) == datagram.len()
}

impl fmt::Debug for Message {
    /// The kind only: numbers, names and addresses of people do not slip into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Message");
        shown.field("method", &self.method().label());
        if let Some(status) = self.status() {
            shown.field("status", &status);
        }
        shown.field("octets", &self.bytes().len()).finish_non_exhaustive()
    }
}

impl PartialEq for Message {
    /// Equal when received with the same octets.
    fn eq(&self, other: &Message) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Message {}
