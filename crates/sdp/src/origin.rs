//! `o=` lines: theirs, read; ours, stamped (RFC 8866 §5.2, RFC 3264 §8).

use std::net::IpAddr;

use crate::Malformed;
use crate::line::{Line, fields, number};

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

/// Writes the session id and version of a dialog of ours into the `o=` line of `body`; its user name and address
/// stay, and so does everything else byte for byte. A body without an `o=` line that can be read comes out as it is.
///
/// The id stays the same for the whole dialog; the version grows by one when, and only when, the rest of the body
/// differs from what was sent before (RFC 3264 §8).
pub fn stamp_origin(body: &[u8], session_id: u64, version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 32);
    let mut stamped = false;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let value = line.strip_prefix(b"o=").filter(|_| !stamped);
        let mut parts = value.unwrap_or_default().splitn(4, |&byte| byte == b' ');
        let (Some(username), Some(_), Some(_), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            out.extend_from_slice(line);
            continue;
        };
        stamped = true;
        out.extend_from_slice(b"o=");
        out.extend_from_slice(username);
        out.extend_from_slice(format!(" {session_id} {version} ").as_bytes());
        out.extend_from_slice(rest);
    }
    out
}
