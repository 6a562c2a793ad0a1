//! The one pass over received bytes: where the start line, each header line and its value are.
//!
//! An [`Index`] holds offsets only, so the stream framer can keep it until the body has come. Defects do not stop the
//! pass: the first is noted, and all that could be read stays usable for the answer.

use smallvec::SmallVec;

use crate::header::Header;
use crate::limits::Limits;
use crate::malformed::MalformedReason;
use crate::method::Method;
use crate::scan;
use crate::text::Text;

/// Half-open range of octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        // The pass never looks further than `u32::MAX`, see `Index::build`.
        Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// One header line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub header: Option<Header>,
    /// The name, without white space.
    pub name: Span,
    /// The whole line as received, without its line end, with all its folds.
    pub whole: Span,
    /// The value without white space at its ends; in [`Index::side`] when `aside`.
    pub value: Span,
    /// The value was folded, holds a bare CR or LF, or is not UTF-8: a clean copy is in [`Index::side`].
    pub aside: bool,
    /// The line may go out as it came in: it holds no CR or LF but in folds that begin with CRLF and hold more than
    /// white space. A fold of white space alone looks like the end of the header section to some readers.
    pub verbatim: bool,
}

impl Line {
    /// What follows the colon, as received.
    pub(crate) fn raw_value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let after_name = Span { start: self.name.end, end: self.whole.end }.of(bytes);
        let colon = memchr::memchr(b':', after_name).map_or(after_name.len(), |colon| colon + 1);
        after_name.get(colon..).unwrap_or_default()
    }
}

/// The start line.
#[derive(Clone, Debug)]
pub(crate) enum StartLine {
    Request {
        method: Method,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
        /// The reason is in [`Index::side`].
        aside: bool,
    },
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub start: StartLine,
    /// The start line as received, without its line end.
    pub start_line: Span,
    pub lines: SmallVec<[Line; 20]>,
    /// Clean copies of values that were folded or not UTF-8. Valid UTF-8.
    pub side: String,
    /// Where the body begins.
    pub head_end: usize,
    /// The first defect found.
    pub problem: Option<MalformedReason>,
}

impl Index {
    /// Reads the header section at the start of `bytes`, which begins with the start line.
    pub(crate) fn build(bytes: &[u8], limits: &Limits) -> Index {
        let visible = bytes.len().min(limits.max_message).min(u32::MAX as usize);
        let mut pass = Pass {
            bytes: bytes.get(..visible).unwrap_or_default(),
            at: 0,
            lone_lf: false,
            index: Index {
                start: StartLine::Response { status: 0, reason: Span::default(), aside: false },
                start_line: Span::default(),
                lines: SmallVec::new(),
                side: String::new(),
                head_end: visible,
                problem: (visible < bytes.len()).then_some(MalformedReason::TooLarge),
            },
        };
        pass.run(limits);
        pass.index
    }

    fn note(&mut self, reason: MalformedReason) {
        self.problem.get_or_insert(reason);
    }
}

struct Pass<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The start line ended with a bare LF, so lines of this message may. After a CRLF none may: a mixture is how
    /// header fields are smuggled past whoever reads CRLF only.
    lone_lf: bool,
    index: Index,
}

/// A line that was found: where it ends, where the next begins, and what stands in it.
struct Found {
    end: usize,
    next: usize,
    folded: bool,
    /// It holds a CR or LF that ends no line.
    bare: bool,
}

impl Pass<'_> {
    fn run(&mut self, limits: &Limits) {
        let Some(found) = self.start_line_end() else {
            self.index.note(if self.bytes.is_empty() {
                MalformedReason::Empty
            } else {
                MalformedReason::Truncated
            });
            let end = memchr::memchr2(b'\r', b'\n', self.bytes).unwrap_or(self.bytes.len());
            self.read_start_line(end);
            return;
        };
        if found.end > limits.max_header_line {
            self.index.note(MalformedReason::HeaderTooLong);
        }
        self.read_start_line(found.end);
        self.at = found.next;
        loop {
            if let Some(length) = self.empty_line() {
                self.index.head_end = self.at + length;
                return;
            }
            let Some(found) = self.line_end() else {
                self.index.note(MalformedReason::Truncated);
                return;
            };
            if self.index.lines.len() >= limits.max_headers {
                self.index.note(MalformedReason::TooManyHeaders);
                return;
            }
            if found.end - self.at > limits.max_header_line {
                self.index.note(MalformedReason::HeaderTooLong);
            } else {
                self.read_line(&found);
            }
            self.at = found.next;
        }
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The length of the line end that makes an empty line of what comes next.
    fn empty_line(&self) -> Option<usize> {
        match (self.lone_lf, self.octet(self.at)?) {
            (true, b'\n') => Some(1),
            (_, b'\r') if self.octet(self.at + 1) == Some(b'\n') => Some(2),
            _ => None,
        }
    }

    fn start_line_end(&mut self) -> Option<Found> {
        let end = memchr::memchr2(b'\r', b'\n', self.bytes)?;
        if self.octet(end) == Some(b'\n') {
            self.lone_lf = true;
            return Some(Found { end, next: end + 1, folded: false, bare: false });
        }
        if self.octet(end + 1)? != b'\n' {
            self.index.note(MalformedReason::LineEnd);
            return self.line_end();
        }
        Some(Found { end, next: end + 2, folded: false, bare: false })
    }

    /// Where the line ends that begins here, its folds included (RFC 3261 §7.3.1).
    fn line_end(&mut self) -> Option<Found> {
        let mut from = self.at;
        let (mut folded, mut bare) = (false, false);
        loop {
            let end = from + memchr::memchr2(b'\r', b'\n', self.bytes.get(from..)?)?;
            let next = match (self.octet(end)?, self.lone_lf) {
                (b'\n', true) => end + 1,
                (b'\r', _) if self.octet(end + 1)? == b'\n' => end + 2,
                _ => {
                    self.index.note(MalformedReason::LineEnd);
                    bare = true;
                    from = end + 1;
                    continue;
                }
            };
            match self.octet(next) {
                Some(b' ' | b'\t') => {
                    folded = true;
                    from = next;
                }
                _ => return Some(Found { end, next, folded, bare }),
            }
        }
    }

    fn read_line(&mut self, found: &Found) {
        let Some(line) = self.bytes.get(self.at..found.end) else { return };
        let Some(colon) = memchr::memchr(b':', line) else {
            return self.index.note(MalformedReason::HeaderLine);
        };
        let name = trim_end(line.get(..colon).unwrap_or_default());
        let header = Header::of(name);
        if header.is_none() && !scan::is_token(name) {
            return self.index.note(MalformedReason::HeaderLine);
        }
        let value = line.get(colon + 1..).unwrap_or_default();
        let trimmed = trim(value);
        let is_text = std::str::from_utf8(trimmed).is_ok();
        let aside = found.folded || found.bare || !is_text;
        let value = if aside {
            self.put_aside(trimmed)
        } else {
            let start = self.at + colon + 1 + (value.len() - trim_start(value).len());
            Span::new(start, start + trimmed.len())
        };
        self.index.lines.push(Line {
            header,
            name: Span::new(self.at, self.at + name.len()),
            whole: Span::new(self.at, found.end),
            value,
            aside,
            verbatim: !found.bare && !(found.folded && (self.lone_lf || has_blank_fold(line))),
        });
    }

    /// Keeps a clean copy: folds become one space, octets that are no UTF-8 become U+FFFD.
    fn put_aside(&mut self, value: &[u8]) -> Span {
        let start = self.index.side.len();
        for part in value.split(|octet| matches!(octet, b'\r' | b'\n')) {
            let part = trim(part);
            if part.is_empty() {
                continue;
            }
            if self.index.side.len() > start {
                self.index.side.push(' ');
            }
            self.index.side.push_str(&String::from_utf8_lossy(part));
        }
        Span::new(start, self.index.side.len())
    }

    fn read_start_line(&mut self, end: usize) {
        self.index.start_line = Span::new(0, end);
        let line = self.bytes.get(..end).unwrap_or_default();
        if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
            self.read_status_line(line);
        } else {
            self.read_request_line(line);
        }
    }

    /// `Method SP Request-URI SP SIP-Version`, with exactly these spaces (RFC 3261 §7.1).
    fn read_request_line(&mut self, line: &[u8]) {
        let first = memchr::memchr(b' ', line).unwrap_or(line.len());
        let last = memchr::memrchr(b' ', line).unwrap_or(line.len());
        let name = line.get(..first).unwrap_or_default();
        let version = line.get(last + 1..).unwrap_or_default();
        let uri = line.get(first + 1..last).unwrap_or_default();
        if !scan::is_token(name) || first >= last {
            self.index.note(if line.is_empty() {
                MalformedReason::Empty
            } else {
                MalformedReason::StartLine
            });
        } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
            let sip = version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
            self.index.note(if sip { MalformedReason::Version } else { MalformedReason::StartLine });
        } else if !is_uri_text(uri) {
            self.index.note(MalformedReason::RequestUri);
        }
        let method = Method::known(name).unwrap_or_else(|| Method::Other(lossy(name)));
        // A Request-URI that is no text is left empty; the defect is noted.
        let uri = if std::str::from_utf8(uri).is_ok() {
            Span::new(first + 1, first + 1 + uri.len())
        } else {
            Span::default()
        };
        self.index.start = StartLine::Request { method, uri };
    }

    /// `SIP-Version SP Status-Code SP Reason-Phrase` (RFC 3261 §7.2). A missing space before an empty phrase passes.
    fn read_status_line(&mut self, line: &[u8]) {
        let version = line.get(..8).unwrap_or_default();
        if !version.eq_ignore_ascii_case(b"SIP/2.0 ") {
            self.index.note(MalformedReason::Version);
        }
        let after = memchr::memchr(b' ', line).map_or(line.len(), |space| space + 1);
        let rest = line.get(after..).unwrap_or_default();
        let digits = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let status = match rest.get(..digits) {
            Some([a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => {
                self.index.note(MalformedReason::StatusCode);
                0
            }
        };
        let start = (after + digits + 1).min(line.len());
        let reason = line.get(start..).unwrap_or_default();
        let aside = std::str::from_utf8(reason).is_err();
        let reason = if aside { self.put_aside(reason) } else { Span::new(start, line.len()) };
        self.index.start = StartLine::Response { status, reason, aside };
    }
}

/// What a Request-URI may be made of: no space, no control, no `<>` or quote, and it begins with a letter.
fn is_uri_text(uri: &[u8]) -> bool {
    uri.first().is_some_and(u8::is_ascii_alphabetic)
        && !uri.iter().any(|octet| octet.is_ascii_control() || matches!(octet, b' ' | b'<' | b'>' | b'"'))
        && std::str::from_utf8(uri).is_ok()
}

fn has_blank_fold(line: &[u8]) -> bool {
    line.split(|octet| *octet == b'\n').skip(1).any(|fold| trim(fold).is_empty())
}

fn lossy(bytes: &[u8]) -> Text {
    Text::from(String::from_utf8_lossy(bytes).into_owned())
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|octet| is_space(**octet)).count();
    bytes.get(blanks..).unwrap_or_default()
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().rev().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    bytes.get(..bytes.len() - blanks).unwrap_or_default()
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    let blanks = bytes.iter().rev().take_while(|octet| is_space(**octet)).count();
    bytes.get(..bytes.len() - blanks).unwrap_or_default()
}
