//! `o=` lines: theirs, read; ours, stamped (RFC 8866 §5.2, RFC 3264 §8).

use std::net::IpAddr;

use crate::Malformed;
use crate::line::{Line, fields, lines, number};

/// The `o=` line of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// User name.
    pub username: &'a [u8],
    /// Session id, as written.
    pub session_id: &'a [u8],
    /// Version; `None` when it is no number of 64 bits.
    pub version: Option<u64>,
    /// The address, when it is one.
    pub address: Option<IpAddr>,
}

impl<'a> Origin<'a> {
    pub(crate) fn read(line: &Line<'a>) -> Result<Self, Malformed> {
        let mut parts = fields(line.value);
        let (
            Some(username),
            Some(session_id),
            Some(version),
            Some(_network),
            Some(_family),
            Some(host),
            None,
        ) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        )
        else {
            return Err(Malformed::Origin(line.number));
        };
        Ok(Origin {
            username,
            session_id,
            version: number(version),
            address: std::str::from_utf8(host).ok().and_then(|host| host.parse().ok()),
        })
    }
}

/// What stands in `o=` of the descriptions that one dialog of ours sends.
///
/// Session id and user name never change in a dialog; the version grows by one when, and only when, the rest of
/// the description differs from the one sent before (RFC 3264 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnOrigin {
    username: String,
    session_id: u64,
    version: u64,
    last: Vec<u8>,
}

impl OwnOrigin {
    /// For a new dialog. `username` must have no white space; characters that would break the line are left out.
    /// The first description leaves as `version`.
    pub fn new(username: &str, session_id: u64, version: u64) -> Self {
        let username: String = username.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let username = if username.is_empty() { "-".to_owned() } else { username };
        OwnOrigin { username, session_id, version, last: Vec::new() }
    }

    /// For a dialog that goes on: `last` is the description that was sent last, as it left.
    pub fn resumed(username: &str, session_id: u64, version: u64, last: Vec<u8>) -> Self {
        OwnOrigin { last, ..Self::new(username, session_id, version) }
    }

    /// The session id.
    pub fn session_id(&self) -> u64 {
        self.session_id
    }

    /// The version of the description that was sent last.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The description that was sent last, as it left; empty before the first.
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// Writes our user name, session id and version into the `o=` line of `body`; the address in it stays. The
    /// same body again comes out the same.
    pub fn stamp(&mut self, body: &[u8]) -> Result<Vec<u8>, Malformed> {
        if !self.last.is_empty() {
            let stamped = self.write(body, self.version)?;
            if stamped == self.last {
                return Ok(stamped);
            }
            self.version = self.version.saturating_add(1);
        }
        let stamped = self.write(body, self.version)?;
        self.last.clone_from(&stamped);
        Ok(stamped)
    }

    fn write(&self, body: &[u8], version: u64) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(body.len() + 48);
        let mut seen = false;
        for line in lines(body) {
            let line = line?;
            out.extend_from_slice(&[line.letter, b'=']);
            if line.letter == b'o' && !seen {
                Origin::read(&line)?;
                seen = true;
                out.extend_from_slice(format!("{} {} {version}", self.username, self.session_id).as_bytes());
                for field in fields(line.value).skip(3) {
                    out.push(b' ');
                    out.extend_from_slice(field);
                }
            } else {
                out.extend_from_slice(line.value);
            }
            out.extend_from_slice(b"\r\n");
        }
        if seen { Ok(out) } else { Err(Malformed::Origin(0)) }
    }
}
