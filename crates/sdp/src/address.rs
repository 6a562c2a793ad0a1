//! `c=` lines (RFC 8866 §5.7).

use std::net::IpAddr;

use crate::Malformed;
use crate::line::{Line, fields};

/// Where media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The address or name.
    pub host: Host<'a>,
}

/// What a `c=` line holds behind its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An address. One that is unspecified (`0.0.0.0`, `::`) is hold as RFC 2543 had it (RFC 3264 §8.4).
    Address(IpAddr),
    /// A name, or a network that is not `IN`.
    Other(&'a [u8]),
}

impl<'a> Connection<'a> {
    pub(crate) fn read(line: &Line<'a>) -> Result<Self, Malformed> {
        let mut parts = fields(line.value);
        let (Some(network), Some(_family), Some(host), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Connection(line.number));
        };
        // A multicast address carries its TTL and count behind a slash.
        let address = host.split(|&byte| byte == b'/').next().unwrap_or(host);
        let address = std::str::from_utf8(address).ok().and_then(|text| text.parse::<IpAddr>().ok());
        Ok(Connection {
            host: match address {
                Some(address) if network == b"IN" => Host::Address(address.to_canonical()),
                _ => Host::Other(host),
            },
        })
    }

    /// The address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address) => Some(address),
            Host::Other(_) => None,
        }
    }
}

/// `IN IP4 …` or `IN IP6 …`, as `o=`, `c=` and `a=rtcp` write an address.
pub(crate) fn write(out: &mut Vec<u8>, address: IpAddr) {
    out.extend_from_slice(if address.is_ipv4() { b"IN IP4 " } else { b"IN IP6 " });
    out.extend_from_slice(address.to_string().as_bytes());
}
