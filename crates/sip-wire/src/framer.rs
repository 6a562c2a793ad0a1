//! [`StreamFramer`]: messages out of a byte stream (RFC 3261 §18.3, §7.5; RFC 5626 §3.5.1).

use bytes::{Buf, BytesMut};

use crate::index::Index;
use crate::limits::Limits;
use crate::malformed::{Malformed, MalformedReason};
use crate::message::{Framing, Message, content_length};

/// Cuts a stream into messages. It holds at most one message of [`Limits::max_message`] octets plus what is pushed at
/// once, and looks at each octet a bounded number of times however small the pieces are.
#[derive(Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between messages. The number of CRLFs seen since the last message or ping: two of them are a ping.
    Between { line_ends: u8 },
    /// In the header section.
    Head(HeadSearch),
    /// The header section is read, the body is awaited.
    Body { index: Box<Index>, length: usize },
    /// The stream cannot go on.
    Broken(MalformedReason),
}

/// How far the search for the end of the header section has come, so that no octet is searched twice.
#[derive(Debug, Default)]
struct HeadSearch {
    /// Where the line begins that has not ended yet.
    line: usize,
    /// Where no LF stands between here and `line`.
    searched: usize,
    /// The start line ended with a bare LF, so lines may; else only CRLF ends one, as in the index.
    lone_lf: bool,
}

/// What came out of the stream.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// A message that is broken but whole: it can be answered where its partial reading allows, and the stream goes on.
    Malformed(Malformed),
    /// CRLF CRLF: to be answered with one CRLF (RFC 5626 §3.5.1).
    Ping,
}

impl StreamFramer {
    /// A framer at the start of a stream.
    pub fn new(limits: Limits) -> StreamFramer {
        StreamFramer { limits, buffer: BytesMut::new(), state: State::Between { line_ends: 0 } }
    }

    /// Takes octets that were received. Call [`StreamFramer::next_frame`] until it has nothing before pushing more.
    pub fn push(&mut self, octets: &[u8]) {
        if !matches!(self.state, State::Broken(_)) {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// Octets that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// True between messages: a stream that may be closed for being idle.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Between { .. }) && self.buffer.is_empty()
    }

    /// The next frame; `None` when more octets are needed. After an error nothing more can be read from the stream:
    /// answer where [`Malformed::partial`] allows, and close it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            match &mut self.state {
                State::Between { .. } => {
                    if let Some(frame) = self.skip_line_ends() {
                        return Ok(Some(frame));
                    }
                    if matches!(self.buffer.as_ref(), [] | [b'\r']) {
                        return Ok(None);
                    }
                    self.state = State::Head(HeadSearch::default());
                }
                State::Head(_) => {
                    if !self.read_head()? {
                        return Ok(None);
                    }
                }
                State::Body { length, .. } => {
                    if self.buffer.len() < *length {
                        return Ok(None);
                    }
                    return Ok(Some(self.take_message()));
                }
                State::Broken(reason) => return Err(Malformed::new(*reason)),
            }
        }
    }

    /// Skips line ends in front of a start line; every second CRLF in a row is a ping.
    fn skip_line_ends(&mut self) -> Option<Frame> {
        let State::Between { line_ends } = &mut self.state else { return None };
        loop {
            match self.buffer.as_ref() {
                [b'\r', b'\n', ..] => self.buffer.advance(2),
                [b'\n', ..] => {
                    self.buffer.advance(1);
                    continue;
                }
                // A CR that no LF follows is left to the parser, which refuses it.
                _ => return None,
            }
            *line_ends += 1;
            if *line_ends == 2 {
                *line_ends = 0;
                return Some(Frame::Ping);
            }
        }
    }

    /// True when the header section is complete and the next state is set.
    fn read_head(&mut self) -> Result<bool, Malformed> {
        let State::Head(search) = &mut self.state else { return Ok(false) };
        let Some(end) = search.advance(&self.buffer) else {
            if self.buffer.len() > self.limits.max_message {
                return Err(self.fail(MalformedReason::TooLarge));
            }
            return Ok(false);
        };
        let mut index = Index::build(self.buffer.get(..end).unwrap_or_default(), &self.limits);
        index.head_end = end;
        let body = match content_length(&index, &self.buffer) {
            // A stream tells the length of a body by Content-Length only; without it there is none (RFC 3261 §18.3).
            Ok(length) => length.unwrap_or(0),
            Err(reason) => return Err(self.fail_with(reason, index)),
        };
        if let Some(
            reason @ (MalformedReason::LineEnd | MalformedReason::TooLarge | MalformedReason::TooManyHeaders),
        ) = index.problem
        {
            // Where the next message begins is not sure.
            return Err(self.fail_with(reason, index));
        }
        if body > self.limits.max_message.saturating_sub(end) {
            return Err(self.fail_with(MalformedReason::TooLarge, index));
        }
        self.state = State::Body { index: Box::new(index), length: end + body };
        Ok(true)
    }

    fn take_message(&mut self) -> Frame {
        let between = State::Between { line_ends: 0 };
        let State::Body { index, length } = std::mem::replace(&mut self.state, between) else {
            return Frame::Malformed(Malformed::new(MalformedReason::Empty));
        };
        let bytes = self.buffer.split_to(length).freeze();
        match Message::assemble(bytes, *index, Framing::Stream) {
            Ok(message) => Frame::Message(message),
            Err(malformed) => Frame::Malformed(malformed),
        }
    }

    fn fail(&mut self, reason: MalformedReason) -> Malformed {
        let index = Index::build(&self.buffer, &self.limits);
        self.fail_with(reason, index)
    }

    fn fail_with(&mut self, reason: MalformedReason, mut index: Index) -> Malformed {
        index.problem = Some(reason);
        self.state = State::Broken(reason);
        let bytes = std::mem::take(&mut self.buffer).freeze();
        match Message::assemble(bytes, index, Framing::Stream) {
            Ok(_) => Malformed::new(reason),
            Err(malformed) => malformed,
        }
    }
}

impl HeadSearch {
    /// Where the header section ends, or `None` when that has not come yet.
    fn advance(&mut self, buffer: &[u8]) -> Option<usize> {
        loop {
            let Some(length) = memchr::memchr(b'\n', buffer.get(self.searched..)?) else {
                self.searched = buffer.len();
                return None;
            };
            let next = self.searched + length + 1;
            let line = buffer.get(self.line..next)?;
            if self.line == 0 {
                self.lone_lf = !line.ends_with(b"\r\n");
            }
            if line == b"\r\n" || (line == b"\n" && self.lone_lf) {
                return Some(next);
            }
            self.line = next;
            self.searched = next;
        }
    }
}
