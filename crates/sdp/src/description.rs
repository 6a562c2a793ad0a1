//! A description as read.

use std::net::{IpAddr, SocketAddr};

use crate::address::Connection;
use crate::codec::Format;
use crate::line::{Line, fields, lines, number};
use crate::{Direction, Malformed, Origin};

/// The longest body that is read, bytes.
pub const MAX_BYTES: usize = 65_535;

/// The most `m=` lines that are read.
pub const MAX_STREAMS: usize = 32;

/// A session description that borrows its body.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    pub(crate) session: Vec<Line<'a>>,
    pub(crate) streams: Vec<Stream<'a>>,
    origin: Option<Origin<'a>>,
    connection: Option<Connection<'a>>,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    /// `audio`, `video`, …
    pub media: &'a str,
    /// The port; 0 refuses the stream (RFC 3264 §5.1, §6).
    pub port: u16,
    /// The transport as written: `RTP/AVP`, …
    pub protocol: &'a str,
    /// The formats as written.
    pub formats: &'a str,
    /// The lines that follow it, up to the next `m=`.
    pub lines: Vec<Line<'a>>,
    connection: Option<Connection<'a>>,
    session_connection: Option<Connection<'a>>,
    session_direction: Direction,
}

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RTP in the clear: `RTP/AVP`, `RTP/AVPF`.
    Plain,
    /// RTP under keys that were exchanged in SDP or otherwise outside of the stream (RFC 3711): `RTP/SAVP`, `RTP/SAVPF`.
    Secure,
    /// Anything else: keys by DTLS, T.38 over UDPTL, MSRP, …
    Other,
}

impl<'a> Description<'a> {
    /// Reads a body.
    ///
    /// Lines may be missing that RFC 8866 §5 asks for (`o=`, `s=`, `t=`) and stand in any order, as phones do;
    /// but it must begin with `v=0`, and what is read must make sense.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        if body.len() > MAX_BYTES {
            return Err(Malformed::TooLong);
        }
        let mut lines = lines(body);
        match lines.next().transpose()? {
            Some(Line { letter: b'v', value: b"0", .. }) => {}
            _ => return Err(Malformed::Version),
        }
        let mut description = Description {
            session: Vec::with_capacity(8),
            streams: Vec::new(),
            origin: None,
            connection: None,
        };
        for line in lines {
            description.take(line?)?;
        }
        let (connection, direction) = (description.connection, direction(&description.session));
        for stream in &mut description.streams {
            stream.session_connection = connection;
            stream.session_direction = direction.unwrap_or_default();
        }
        Ok(description)
    }

    fn take(&mut self, line: Line<'a>) -> Result<(), Malformed> {
        if line.letter == b'm' {
            if self.streams.len() == MAX_STREAMS {
                return Err(Malformed::TooManyStreams);
            }
            self.streams.push(Stream::read(&line)?);
            return Ok(());
        }
        if let Some(stream) = self.streams.last_mut() {
            if line.letter == b'c' && stream.connection.is_none() {
                stream.connection = Some(Connection::read(&line)?);
            }
            stream.lines.push(line);
            return Ok(());
        }
        match line.letter {
            b'v' => return Err(Malformed::Twice(line.number)),
            b'o' if self.origin.is_some() => return Err(Malformed::Twice(line.number)),
            b'o' => self.origin = Some(Origin::read(&line)?),
            b'c' if self.connection.is_some() => return Err(Malformed::Twice(line.number)),
            b'c' => self.connection = Some(Connection::read(&line)?),
            _ => {}
        }
        self.session.push(line);
        Ok(())
    }

    /// The streams, in the order of their `m=` lines.
    pub fn streams(&self) -> &[Stream<'a>] {
        &self.streams
    }

    /// The `o=` line.
    pub fn origin(&self) -> Option<&Origin<'a>> {
        self.origin.as_ref()
    }

    /// Lines above the first `m=`, without `v=`.
    pub fn session_lines(&self) -> &[Line<'a>] {
        &self.session
    }

    /// Whoever wrote it puts the other side on hold: no stream that is in use receives (RFC 3264 §8.4; also the
    /// zero address of RFC 2543). A description without a stream in use holds nobody.
    pub fn is_hold(&self) -> bool {
        let mut used = self.streams.iter().filter(|stream| !stream.is_refused()).peekable();
        used.peek().is_some() && used.all(|stream| !stream.direction().receives() || stream.is_zero_address())
    }

    /// Names of the codecs of the streams in use, in order, each once, as the operator's Format column shows them.
    pub fn formats(&self) -> Vec<String> {
        let mut names = Vec::new();
        for stream in self.streams.iter().filter(|stream| !stream.is_refused()) {
            for format in stream.rtp_formats().iter().filter(|format| format.is_codec()) {
                let name = format.operator_name();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

impl<'a> Stream<'a> {
    fn read(line: &Line<'a>) -> Result<Self, Malformed> {
        let wrong = Malformed::Media(line.number);
        let text = line.text().ok_or(wrong)?;
        let mut parts = text.splitn(4, ' ');
        let (Some(media), Some(port), Some(protocol), Some(formats)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong);
        };
        // `port/count` is for layered multicast; a relay carries the first pair only.
        let port = port.split('/').next().and_then(|port| number(port.as_bytes())).ok_or(wrong)?;
        if media.is_empty() || protocol.is_empty() || formats.trim().is_empty() {
            return Err(wrong);
        }
        Ok(Stream {
            media,
            port,
            protocol,
            formats,
            lines: Vec::with_capacity(8),
            connection: None,
            session_connection: None,
            session_direction: Direction::SendRecv,
        })
    }

    /// Its port is 0: refused, ended, or part of another stream's bundle.
    pub fn is_refused(&self) -> bool {
        self.port == 0
    }

    /// How it is carried.
    pub fn profile(&self) -> Profile {
        let is = |name: &str| self.protocol.eq_ignore_ascii_case(name);
        if is("RTP/AVP") || is("RTP/AVPF") {
            Profile::Plain
        } else if is("RTP/SAVP") || is("RTP/SAVPF") {
            Profile::Secure
        } else {
            Profile::Other
        }
    }

    /// Its `c=` line, or that of the session.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.connection.or(self.session_connection)
    }

    /// Where its RTP is wanted; `None` when that is no address.
    pub fn rtp(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.connection()?.address()?, self.port))
    }

    /// Where its RTCP is wanted: `a=rtcp` (RFC 3605), else the next port (RFC 3550 §11).
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let rtp = self.rtp()?;
        let Some(value) = self.attribute_value(b"rtcp") else {
            return rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port));
        };
        let mut parts = fields(value);
        let port = parts.next().and_then(number).filter(|&port| port != 0)?;
        let address = match parts.nth(2) {
            Some(host) => std::str::from_utf8(host).ok()?.parse::<IpAddr>().ok()?.to_canonical(),
            None => rtp.ip(),
        };
        Some(SocketAddr::new(address, port))
    }

    /// It has `a=rtcp-mux` (RFC 5761 §5.1.1).
    pub fn rtcp_mux(&self) -> bool {
        self.has_attribute(b"rtcp-mux") || self.has_attribute(b"rtcp-mux-only")
    }

    /// Its direction, or that of the session (RFC 8866 §6.7).
    pub fn direction(&self) -> Direction {
        direction(&self.lines).unwrap_or(self.session_direction)
    }

    /// Its address is the zero one: hold as RFC 2543 had it (RFC 3264 §8.4).
    pub fn is_zero_address(&self) -> bool {
        self.connection()
            .and_then(|connection| connection.address())
            .is_some_and(|address| address.is_unspecified())
    }

    /// The formats of an RTP stream, in the order of the `m=` line. What is no payload type is left out.
    pub fn rtp_formats(&self) -> Vec<Format<'a>> {
        if self.profile() == Profile::Other && !self.protocol.contains("RTP/") {
            return Vec::new();
        }
        let payloads = self.formats.split(' ').filter_map(|text| number::<u8>(text.as_bytes()));
        let mut formats: Vec<Format<'a>> =
            payloads.filter(|&payload| payload < 128).take(128).map(Format::fixed).collect();
        for line in &self.lines {
            let Some((b"rtpmap", Some(value))) = line.attribute() else { continue };
            let Some(mapped) = std::str::from_utf8(value).ok().and_then(Format::mapped) else { continue };
            if let Some(format) = formats.iter_mut().find(|format| format.payload == mapped.payload) {
                *format = mapped;
            }
        }
        formats
    }

    /// The value of its first attribute of that name; names are case-sensitive (RFC 8866 §5.13).
    pub fn attribute_value(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.lines.iter().find_map(|line| match line.attribute() {
            Some((found, Some(value))) if found == name => Some(value),
            _ => None,
        })
    }

    /// Whether it has an attribute of that name.
    pub fn has_attribute(&self, name: &[u8]) -> bool {
        self.lines.iter().any(|line| line.attribute_name() == Some(name))
    }
}

/// The last direction said in some lines.
fn direction(lines: &[Line<'_>]) -> Option<Direction> {
    lines.iter().rev().find_map(|line| line.attribute_name().and_then(Direction::from_name))
}
