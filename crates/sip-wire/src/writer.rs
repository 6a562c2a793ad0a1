//! Writing messages. One growing buffer, `Content-Length` last and right, and no way for a value to end its line.

use bytes::{BufMut, Bytes, BytesMut};

use crate::header::Header;
use crate::index::Line;
use crate::message::Message;
use crate::method::Method;
use crate::scan;

/// The header section under construction. CR, LF and NUL in a value become spaces; octets that no header name may have
/// become `-`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head(BytesMut);

impl Head {
    pub(crate) fn with_capacity(octets: usize) -> Head {
        Head(BytesMut::with_capacity(octets))
    }

    /// `METHOD uri SIP/2.0`; white space in the parts would make other parts of them and is dropped.
    pub(crate) fn request_line(&mut self, method: &Method, uri: &str) {
        self.put_solid(method.as_str());
        self.0.put_u8(b' ');
        self.put_solid(uri);
        self.0.put_slice(b" SIP/2.0\r\n");
    }

    pub(crate) fn status_line(&mut self, status: u16, reason: &str) {
        self.0.put_slice(b"SIP/2.0 ");
        self.0.put_slice(itoa::Buffer::new().format(status.clamp(100, 699)).as_bytes());
        self.0.put_u8(b' ');
        self.put_value(reason.as_bytes());
        self.end_line();
    }

    pub(crate) fn line(&mut self, name: &str, value: &[u8]) {
        self.put_name(name);
        self.0.put_slice(b": ");
        self.put_value(value);
        self.end_line();
    }

    /// A received line as it was, its own end replaced by CRLF.
    pub(crate) fn received(&mut self, message: &Message, line: &Line) {
        if line.verbatim {
            self.0.put_slice(line.whole.of(message.bytes()));
            self.end_line();
        } else {
            let name = String::from_utf8_lossy(line.name.of(message.bytes()));
            self.line(&name, message.value(line).as_bytes());
        }
    }

    /// A received line with something behind its value.
    pub(crate) fn received_and(&mut self, message: &Message, line: &Line, suffix: &str) {
        self.received(message, line);
        self.0.truncate(self.0.len() - 2);
        while self.0.last().is_some_and(|octet| scan::is_lws(*octet)) {
            self.0.truncate(self.0.len() - 1);
        }
        self.put_value(suffix.as_bytes());
        self.end_line();
    }

    /// A received start line as it was.
    pub(crate) fn start_line(&mut self, octets: &[u8]) {
        self.put_value(octets);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.0.put_slice(b"\r\n");
    }

    pub(crate) fn finish(mut self, body: &[u8]) -> Bytes {
        self.0.put_slice(b"Content-Length: ");
        self.0.put_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        self.0.put_slice(b"\r\n\r\n");
        self.0.put_slice(body);
        self.0.freeze()
    }

    pub(crate) fn finish_without_length(mut self, body: &[u8]) -> Bytes {
        self.end_line();
        self.0.put_slice(body);
        self.0.freeze()
    }

    pub(crate) fn append(&mut self, other: &Head) {
        self.0.put_slice(&other.0);
    }

    fn put_solid(&mut self, part: &str) {
        if part.bytes().any(|octet| octet <= b' ' || octet == 0x7f) {
            self.0.extend(part.bytes().filter(|octet| *octet > b' ' && *octet != 0x7f));
        } else {
            self.0.put_slice(part.as_bytes());
        }
    }

    fn put_name(&mut self, name: &str) {
        if scan::is_token(name.as_bytes()) {
            self.0.put_slice(name.as_bytes());
        } else {
            self.0.extend(name.bytes().map(|octet| if scan::is_token_octet(octet) { octet } else { b'-' }));
        }
    }

    fn put_value(&mut self, value: &[u8]) {
        let breaks = |octet: u8| matches!(octet, b'\r' | b'\n' | 0);
        if memchr::memchr3(b'\r', b'\n', 0, value).is_none() {
            self.0.put_slice(value);
        } else {
            self.0.extend(value.iter().map(|octet| if breaks(*octet) { b' ' } else { *octet }));
        }
    }
}

/// True for the headers a writer writes itself.
pub(crate) fn is_own(name: &str) -> bool {
    Header::parse(name) == Some(Header::ContentLength)
}

/// Writes a request.
///
/// CR, LF and NUL in a value become spaces, so no value can end its line. Content-Length is the writer's own: what is
/// given for it is dropped.
#[derive(Clone, Debug)]
pub struct RequestWriter {
    head: Head,
    body: Bytes,
}

impl RequestWriter {
    /// Begins with the request line. White space and controls in `uri` are dropped.
    pub fn new(method: &Method, uri: &str) -> RequestWriter {
        let mut head = Head::with_capacity(1024);
        head.request_line(method, uri);
        RequestWriter { head, body: Bytes::new() }
    }

    /// Appends a header line.
    pub fn header(mut self, header: Header, value: impl AsRef<str>) -> RequestWriter {
        self.push(header, value.as_ref());
        self
    }

    /// As [`RequestWriter::header`], for use in loops.
    pub fn push(&mut self, header: Header, value: &str) {
        if header != Header::ContentLength {
            self.head.line(header.name(), value.as_bytes());
        }
    }

    /// Appends a header line of any name.
    pub fn header_raw(mut self, name: &str, value: impl AsRef<[u8]>) -> RequestWriter {
        self.push_raw(name, value.as_ref());
        self
    }

    /// As [`RequestWriter::header_raw`], for use in loops.
    pub fn push_raw(&mut self, name: &str, value: &[u8]) {
        if !is_own(name) {
            self.head.line(name, value);
        }
    }

    /// Appends all lines of a header as they were received in another message.
    pub fn copy_from(mut self, message: &Message, header: Header) -> RequestWriter {
        copy(&mut self.head, message, header);
        self
    }

    /// The body, and its Content-Type in front of Content-Length. An empty body has no type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> RequestWriter {
        self.body = body.into();
        if !self.body.is_empty() {
            self.push(Header::ContentType, content_type);
        }
        self
    }

    /// The message.
    pub fn finish(self) -> Bytes {
        self.head.finish(&self.body)
    }
}

pub(crate) fn copy(head: &mut Head, message: &Message, header: Header) {
    if header == Header::ContentLength {
        return;
    }
    for line in message.lines().iter().filter(|line| line.header == Some(header)) {
        head.received(message, line);
    }
}
