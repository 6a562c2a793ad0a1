//! Writing a description for the other side of a relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::line::Line;
use crate::narrow::Offered;
use crate::{Description, Direction, Stream, address};

/// What changes in a description on its way through a relay. Everything else stays byte for byte and in its
/// place, lines ending in CRLF.
///
/// `o=` becomes `o=- 0 0 IN IPx` and the relay's address, for [`stamp_origin`](crate::stamp_origin). What the
/// relay terminates is left out: candidates and all of ICE (RFC 8839), BUNDLE (RFC 9143), source filters (RFC 4570).
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'r> {
    /// The relay's address for `o=` and `c=`.
    pub address: IpAddr,
    /// One entry for each `m=` line to write. Fewer than the description has: the others are left out. More: they are
    /// written as refused from `offered` (RFC 3264 §6: an answer has as many `m=` lines as its offer).
    pub streams: &'r [StreamRewrite],
    /// The offer's streams, when the description is an answer.
    pub offered: &'r [Offered],
}

/// What becomes of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRewrite {
    /// Written with port 0.
    Refused,
    /// Led through the relay.
    Relayed {
        /// The relay's port for RTP.
        port: u16,
        /// The relay's port for RTCP: the next one, or the same one under an agreed rtcp-mux.
        rtcp: u16,
        /// Write `a=rtcp-mux`.
        mux: bool,
        /// Write this direction instead of the one that is there.
        direction: Option<Direction>,
    },
}

impl Rewrite<'_> {
    /// Writes `description` with these changes.
    pub fn write(&self, description: &Description<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.session(description, &mut out);
        for (index, rewrite) in self.streams.iter().enumerate() {
            match (description.streams.get(index), self.offered.get(index)) {
                (Some(stream), _) => self.stream(stream, rewrite, &mut out),
                (None, Some(offered)) => {
                    media_line(&mut out, &offered.media, 0, &offered.protocol, &offered.formats);
                }
                (None, None) => {}
            }
        }
        out
    }

    /// RFC 8866 §5: `v=`, `o=` and `s=` come first, `t=` must be there.
    fn session(&self, description: &Description<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"v=0\r\no=- 0 0 ");
        address::write(out, self.address);
        out.extend_from_slice(b"\r\n");
        let has = |letter| description.session.iter().any(|line| line.letter == letter);
        if !has(b's') {
            out.extend_from_slice(b"s=-\r\n");
        }
        for line in &description.session {
            match line.letter {
                b'o' => {}
                b'c' => self.connection(out, zero(line)),
                b'a' if is_terminated(line) => {}
                _ => plain(out, line),
            }
        }
        if !has(b't') {
            out.extend_from_slice(b"t=0 0\r\n");
        }
    }

    fn stream(&self, stream: &Stream<'_>, rewrite: &StreamRewrite, out: &mut Vec<u8>) {
        let StreamRewrite::Relayed { port, rtcp, mux, direction } = *rewrite else {
            media_line(out, stream.media, 0, stream.protocol, stream.formats);
            return;
        };
        media_line(out, stream.media, port, stream.protocol, stream.formats);
        let mut mux_wanted = mux;
        for line in &stream.lines {
            match line.attribute_name() {
                None if line.letter == b'c' => self.connection(out, zero(line)),
                None => plain(out, line),
                Some(b"rtcp") => {
                    out.extend_from_slice(format!("a=rtcp:{rtcp} ").as_bytes());
                    address::write(out, self.address);
                    out.extend_from_slice(b"\r\n");
                }
                Some(b"rtcp-mux") if mux_wanted => {
                    mux_wanted = false;
                    plain(out, line);
                }
                Some(b"rtcp-mux") => {}
                Some(name) if direction.is_some() && Direction::from_name(name).is_some() => {}
                Some(_) if is_terminated(line) => {}
                Some(_) => plain(out, line),
            }
        }
        if mux_wanted {
            out.extend_from_slice(b"a=rtcp-mux\r\n");
        }
        if let Some(direction) = direction {
            out.extend_from_slice(format!("a={}\r\n", direction.word()).as_bytes());
        }
    }

    /// RFC 3264 §8.4: a zero address holds the other side, so it must stay zero.
    fn connection(&self, out: &mut Vec<u8>, zero: bool) {
        let address = match (zero, self.address) {
            (false, address) => address,
            (true, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (true, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        out.extend_from_slice(b"c=");
        address::write(out, address);
        out.extend_from_slice(b"\r\n");
    }
}

impl StreamRewrite {
    /// Led through the relay by `rtp` and the port after it, or by `rtp` alone under `mux`.
    pub const fn relayed(rtp: SocketAddr, mux: bool, direction: Option<Direction>) -> Self {
        let port = rtp.port();
        StreamRewrite::Relayed { port, rtcp: if mux { port } else { port.saturating_add(1) }, mux, direction }
    }
}

fn media_line(out: &mut Vec<u8>, media: &str, port: u16, protocol: &str, formats: &str) {
    out.extend_from_slice(format!("m={media} {port} {protocol} {formats}\r\n").as_bytes());
}

fn plain(out: &mut Vec<u8>, line: &Line<'_>) {
    out.extend_from_slice(&[line.letter, b'=']);
    out.extend_from_slice(line.value);
    out.extend_from_slice(b"\r\n");
}

fn zero(line: &Line<'_>) -> bool {
    address::Connection::read(line)
        .ok()
        .and_then(|connection| connection.address())
        .is_some_and(|address| address.is_unspecified())
}

/// Attributes that speak of what ends at the relay: transport addresses and how they were found.
fn is_terminated(line: &Line<'_>) -> bool {
    let Some((name, value)) = line.attribute() else { return false };
    match name {
        b"candidate" | b"remote-candidates" | b"end-of-candidates" | b"rtcp-mux-only" | b"bundle-only"
        | b"source-filter" => true,
        b"group" => value.is_some_and(|value| value.starts_with(b"BUNDLE")),
        _ => name.starts_with(b"ice-"),
    }
}
