//! [`Editor`]: a received message with some lines changed; the others go out byte for byte.

use bytes::Bytes;

use crate::header::Header;
use crate::index::Line;
use crate::message::Message;
use crate::scan::{self, ListValues};
use crate::writer::Head;

/// Changes to a message.
///
/// CR, LF and NUL in a new value become spaces. Content-Length follows the body: the line stays as received while it is
/// right, else it is rewritten, and it is appended where there was none.
#[derive(Clone, Debug)]
pub struct Editor {
    message: Message,
    uri: Option<String>,
    lines: Vec<Edited>,
    body: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Edited {
    Kept(Line),
    New { name: String, value: Vec<u8> },
}

impl Message {
    /// Begins to edit.
    pub fn edit(&self) -> Editor {
        Editor {
            message: self.clone(),
            uri: None,
            lines: self.lines().iter().copied().map(Edited::Kept).collect(),
            body: None,
        }
    }
}

impl Editor {
    fn is(&self, line: &Edited, name: &str) -> bool {
        let found = match line {
            Edited::Kept(Line { header: Some(header), .. }) => return Header::parse(name) == Some(*header),
            Edited::Kept(line) => line.name.of(self.message.bytes()),
            Edited::New { name, .. } => name.as_bytes(),
        };
        match Header::parse(name) {
            Some(header) => Header::of(found) == Some(header),
            None => found.eq_ignore_ascii_case(name.as_bytes()),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| self.is(line, name))
    }

    fn new_line(name: &str, value: &[u8]) -> Edited {
        Edited::New { name: name.to_owned(), value: value.to_vec() }
    }

    /// Puts one line with this value where the first line of the header stands, and drops its other lines; at the end
    /// when there is none.
    pub fn set(self, header: Header, value: &str) -> Editor {
        self.set_named(header.name(), value)
    }

    /// As [`Editor::set`], for any name.
    pub fn set_named(mut self, name: &str, value: &str) -> Editor {
        let at = self.position(name).unwrap_or(self.lines.len());
        self = self.remove_named(name);
        self.lines.insert(at.min(self.lines.len()), Editor::new_line(name, value.as_bytes()));
        self
    }

    /// Replaces the first line of the header, leaving its other lines; nothing happens when there is none.
    pub fn replace_first(mut self, header: Header, value: &str) -> Editor {
        if let Some(line) = self.position(header.name()).and_then(|at| self.lines.get_mut(at)) {
            *line = Editor::new_line(header.name(), value.as_bytes());
        }
        self
    }

    /// Drops all lines of the header.
    pub fn remove(self, header: Header) -> Editor {
        self.remove_named(header.name())
    }

    /// As [`Editor::remove`], for any name.
    pub fn remove_named(mut self, name: &str) -> Editor {
        let lines = std::mem::take(&mut self.lines);
        self.lines = lines.into_iter().filter(|line| !self.is(line, name)).collect();
        self
    }

    /// Puts a line in front of the first line of this header, or of all lines: as a proxy adds Via, Route, Record-Route.
    pub fn push_front(mut self, header: Header, value: &str) -> Editor {
        let at = self.position(header.name()).unwrap_or(0);
        self.lines.insert(at, Editor::new_line(header.name(), value.as_bytes()));
        self
    }

    /// Puts a line behind all others.
    pub fn append(self, header: Header, value: &str) -> Editor {
        self.append_named(header.name(), value)
    }

    /// As [`Editor::append`], for any name.
    pub fn append_named(mut self, name: &str, value: &str) -> Editor {
        self.lines.push(Editor::new_line(name, value.as_bytes()));
        self
    }

    /// Puts a Via on top.
    pub fn push_via(self, value: &str) -> Editor {
        self.push_front(Header::Via, value)
    }

    /// Replaces the topmost Via value; other values in its line stay.
    pub fn replace_top_via(self, value: &str) -> Editor {
        self.change_top_via(Some(value))
    }

    /// Drops the topmost Via value (RFC 3261 §16.7 step 3).
    pub fn remove_top_via(self) -> Editor {
        self.change_top_via(None)
    }

    fn change_top_via(mut self, top: Option<&str>) -> Editor {
        let name = Header::Via.name();
        let Some(at) = self.position(name) else { return self };
        let line = match self.lines.get(at) {
            Some(Edited::Kept(line)) => self.message.value(line).to_owned(),
            Some(Edited::New { value, .. }) => String::from_utf8_lossy(value).into_owned(),
            None => return self,
        };
        let rest = ListValues::new(&line).skip(1);
        let values: Vec<&str> = top.into_iter().chain(rest).collect();
        if values.is_empty() {
            self.lines.remove(at);
        } else if let Some(line) = self.lines.get_mut(at) {
            *line = Editor::new_line(name, values.join(", ").as_bytes());
        }
        self
    }

    /// Replaces the Request-URI; of a response nothing changes.
    pub fn set_request_uri(mut self, uri: &str) -> Editor {
        self.uri = Some(uri.to_owned());
        self
    }

    /// Replaces the body and its Content-Type; an empty body takes the type away.
    pub fn set_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Editor {
        let body = body.into();
        self = if body.is_empty() {
            self.remove(Header::ContentType)
        } else {
            self.set(Header::ContentType, content_type)
        };
        self.body = Some(body);
        self
    }

    /// The message.
    pub fn finish(self) -> Bytes {
        let message = &self.message;
        let old_body = message.body();
        let body = self.body.as_deref().unwrap_or(old_body);
        let mut head = Head::with_capacity(message.bytes().len() + 256 + body.len());
        match &self.uri {
            Some(uri) if message.is_request() => head.request_line(message.method(), uri),
            _ => head.start_line(message.start_line()),
        }
        let mut has_length = false;
        for line in &self.lines {
            if self.is(line, Header::ContentLength.name()) {
                // Only the first one, and only while it tells the truth.
                if let Edited::Kept(line) = line
                    && !has_length
                    && scan::number(message.value(line)) == u64::try_from(body.len()).ok()
                {
                    head.received(message, line);
                    has_length = true;
                }
                continue;
            }
            match line {
                Edited::Kept(line) => head.received(message, line),
                Edited::New { name, value } => head.line(name, value),
            }
        }
        if has_length { head.finish_without_length(body) } else { head.finish(body) }
    }
}
