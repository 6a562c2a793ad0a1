//! Writing responses (RFC 3261 §8.2.6).

use std::net::IpAddr;

use bytes::Bytes;

use crate::header::Header;
use crate::index::Line;
use crate::message::Message;
use crate::scan::ListValues;
use crate::via;
use crate::writer::{Head, copy, is_own};

/// Writes a response.
///
/// CR, LF and NUL in a value become spaces, so no value can end its line. Content-Length is the writer's own.
#[derive(Clone, Debug)]
pub struct ResponseWriter {
    status: u16,
    reason: String,
    request: Option<Message>,
    record_route: bool,
    to_tag: Option<String>,
    source: Option<Source>,
    head: Head,
    body: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ip: IpAddr,
    port: u16,
    force: bool,
}

impl Message {
    /// A response to this request: its Vias, From, To, Call-ID and CSeq go back as they were received.
    pub fn response(&self, status: u16, reason: &str) -> ResponseWriter {
        ResponseWriter { request: Some(self.clone()), ..ResponseWriter::new(status, reason) }
    }
}

impl ResponseWriter {
    /// A response that copies nothing. A status outside 100 to 699 is moved to the nearer end.
    pub fn new(status: u16, reason: &str) -> ResponseWriter {
        ResponseWriter {
            status,
            reason: reason.to_owned(),
            request: None,
            record_route: false,
            to_tag: None,
            source: None,
            head: Head::default(),
            body: Bytes::new(),
        }
    }

    /// Copies Record-Route too: for whatever creates a dialog (RFC 3261 §12.1.1).
    pub fn record_route(mut self) -> ResponseWriter {
        self.record_route = true;
        self
    }

    /// Adds a tag to To when it has none (RFC 3261 §8.2.6.2).
    pub fn to_tag(mut self, tag: &str) -> ResponseWriter {
        self.to_tag = Some(tag.to_owned());
        self
    }

    /// Writes the true source into the top Via: `received` when the sender asked for `rport` or his sent-by has another
    /// host, and the port into `rport` when he asked for it (RFC 3261 §18.2.1, RFC 3581 §4). What he wrote himself into
    /// these is replaced.
    pub fn top_via_received(mut self, ip: IpAddr, port: u16) -> ResponseWriter {
        self.source = Some(Source { ip, port, force: false });
        self
    }

    /// As [`ResponseWriter::top_via_received`], as if the sender had asked for `rport`: for peers with `force_rport`.
    pub fn top_via_received_forced(mut self, ip: IpAddr, port: u16) -> ResponseWriter {
        self.source = Some(Source { ip, port, force: true });
        self
    }

    /// Appends a header line.
    pub fn header(mut self, header: Header, value: impl AsRef<str>) -> ResponseWriter {
        self.push(header, value.as_ref());
        self
    }

    /// As [`ResponseWriter::header`], for use in loops.
    pub fn push(&mut self, header: Header, value: &str) {
        if header != Header::ContentLength {
            self.head.line(header.name(), value.as_bytes());
        }
    }

    /// Appends a header line of any name.
    pub fn header_raw(mut self, name: &str, value: impl AsRef<[u8]>) -> ResponseWriter {
        self.push_raw(name, value.as_ref());
        self
    }

    /// As [`ResponseWriter::header_raw`], for use in loops.
    pub fn push_raw(&mut self, name: &str, value: &[u8]) {
        if !is_own(name) {
            self.head.line(name, value);
        }
    }

    /// Appends all lines of a header as they were received in another message.
    pub fn copy_from(mut self, message: &Message, header: Header) -> ResponseWriter {
        copy(&mut self.head, message, header);
        self
    }

    /// The body, and its Content-Type in front of Content-Length. An empty body has no type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> ResponseWriter {
        self.body = body.into();
        if !self.body.is_empty() {
            self.push(Header::ContentType, content_type);
        }
        self
    }

    /// The message.
    pub fn finish(self) -> Bytes {
        let mut head = Head::with_capacity(1024 + self.body.len());
        head.status_line(self.status, &self.reason);
        if let Some(request) = &self.request {
            self.copy_request(request, &mut head);
        }
        head.append(&self.head);
        head.finish(&self.body)
    }

    fn copy_request(&self, request: &Message, head: &mut Head) {
        self.copy_vias(request, head);
        if self.record_route {
            copy(head, request, Header::RecordRoute);
        }
        // One line each: what stands twice is answered with 400, and that answer must not repeat the defect.
        for header in [Header::From, Header::To, Header::CallId, Header::CSeq] {
            let Some(line) = request.line(header) else { continue };
            match &self.to_tag {
                Some(tag) if header == Header::To && request.to_tag().is_none() => {
                    head.received_and(request, line, &format!(";tag={tag}"));
                }
                _ => head.received(request, line),
            }
        }
    }

    fn copy_vias(&self, request: &Message, head: &mut Head) {
        let mut vias = request.lines().iter().filter(|line| line.header == Some(Header::Via));
        let Some(top) = vias.next() else { return };
        match self.source.and_then(|source| patched(request, top, source)) {
            Some(value) => head.line(Header::Via.name(), value.as_bytes()),
            None => head.received(request, top),
        }
        for line in vias {
            head.received(request, line);
        }
    }
}

/// The top Via line with the source in its first value, or `None` when it stays as it is.
fn patched(request: &Message, line: &Line, source: Source) -> Option<String> {
    let value = request.value(line);
    let first = ListValues::new(value).next()?;
    let mut patched = via::with_source(first, source.ip, source.port, source.force)?;
    // `first` was trimmed at its start like the whole value, so what follows it is the rest of the list.
    patched.push_str(value.get(first.len()..)?);
    Some(patched)
}
