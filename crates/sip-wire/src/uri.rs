//! [`Uri`]: SIP and SIPS URIs (RFC 3261 §19.1), tel URIs (RFC 3966), and whatever other scheme stands where a URI may.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use crate::params::Params;
use crate::scan;
use crate::text::Text;

/// A URI that was read. Its text stays as written; the parts point into it.
///
/// `==` compares the text; [`Uri::equivalent`] compares by RFC 3261 §19.1.4.
#[derive(Clone)]
pub struct Uri {
    text: Text,
    parts: Parts,
}

/// A URI that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad URI")]
pub struct BadUri;

/// Offsets into the text. For schemes other than sip, sips and tel only `scheme` is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    scheme: usize,
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    /// From the first `;` on, without the headers.
    params: Range<usize>,
    /// Behind the `?`.
    headers: Option<Range<usize>>,
}

impl Uri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<Uri, BadUri> {
        Uri::from_text(Text::from(text))
    }

    /// Reads a URI without copying it.
    pub fn from_text(text: Text) -> Result<Uri, BadUri> {
        let parts = Parts::find(&text).ok_or(BadUri)?;
        Ok(Uri { text, parts })
    }

    /// `sip:user@host:port`; the user is escaped where needed, IPv6 is bracketed by the caller.
    pub fn sip(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Uri, BadUri> {
        let mut text = String::from("sip:");
        if let Some(user) = user {
            text.push_str(&escape_user(user));
            text.push('@');
        }
        text.push_str(host);
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        Uri::from_text(Text::from(text))
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The URI as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URI as written, shared.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// A copy that keeps no message alive, for what is stored.
    pub fn detached(&self) -> Uri {
        Uri { text: self.text.detached(), parts: self.parts.clone() }
    }

    /// The scheme as written.
    pub fn scheme(&self) -> &str {
        self.part(&(0..self.parts.scheme))
    }

    /// True for sip and sips.
    pub fn is_sip(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("sip") || self.is_sips()
    }

    /// True for sips.
    pub fn is_sips(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("sips")
    }

    /// True for tel.
    pub fn is_tel(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("tel")
    }

    /// The user part as written, escapes and user parameters included; of a tel URI the number.
    pub fn user(&self) -> Option<&str> {
        self.parts.user.as_ref().map(|range| self.part(range))
    }

    /// The user part with its escapes resolved. A `%` that begins no escape stays.
    pub fn decoded_user(&self) -> Option<Cow<'_, str>> {
        self.user().map(unescape)
    }

    /// The password as written. Log it nowhere.
    pub fn password(&self) -> Option<&str> {
        self.parts.password.as_ref().map(|range| self.part(range))
    }

    /// The host as written, an IPv6 address in its brackets; empty for other schemes than sip and sips.
    pub fn host(&self) -> &str {
        self.part(&self.parts.host)
    }

    /// The host when it is an address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(self.host())
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters as written, from the first `;` on; empty when there are none.
    pub fn params_str(&self) -> &str {
        self.part(&self.parts.params)
    }

    /// The parameters in order.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.params_str())
    }

    /// The value of a parameter as written; `""` when it has none. Names match in any case.
    pub fn param(&self, name: &str) -> Option<&str> {
        Params::find(self.params_str(), name)
    }

    /// The `transport` parameter as written.
    pub fn transport(&self) -> Option<&str> {
        self.param("transport").filter(|value| !value.is_empty())
    }

    /// True with the `lr` parameter: a loose router (RFC 3261 §19.1.1).
    pub fn has_lr(&self) -> bool {
        self.param("lr").is_some()
    }

    /// What stands behind `?`, as written.
    pub fn headers(&self) -> Option<&str> {
        self.parts.headers.as_ref().map(|range| self.part(range))
    }

    /// Scheme, user, host and port without parameters and headers, as written: what stands in front of them.
    pub fn without_params(&self) -> &str {
        self.text.get(..self.parts.params.start).unwrap_or_default()
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Uri) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uri").field(&self.text).finish()
    }
}

impl std::str::FromStr for Uri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Uri, BadUri> {
        Uri::parse(text)
    }
}

impl Parts {
    pub(crate) fn find(text: &str) -> Option<Parts> {
        let clean = |octet: u8| octet > b' ' && octet != 0x7f && !matches!(octet, b'<' | b'>' | b'"');
        let scheme = text.find(':')?;
        let name = text.get(..scheme)?;
        if !is_scheme(name) || !text.bytes().all(clean) {
            return None;
        }
        if name.eq_ignore_ascii_case("sip") || name.eq_ignore_ascii_case("sips") {
            return Parts::of_sip(text, scheme);
        }
        let opaque = text.get(scheme + 1..)?;
        if opaque.is_empty() {
            return None;
        }
        let end = text.len();
        let mut parts = Parts { scheme, params: end..end, ..Parts::default() };
        if name.eq_ignore_ascii_case("tel") {
            let number = opaque.find(';').unwrap_or(opaque.len());
            parts.user = Some(scheme + 1..scheme + 1 + number);
            parts.params = scheme + 1 + number..end;
            if number == 0 || !Params::are_sound(text.get(parts.params.clone())?) {
                return None;
            }
        }
        Some(parts)
    }

    /// True when the URI has `?` headers.
    pub(crate) fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    fn of_sip(text: &str, scheme: usize) -> Option<Parts> {
        let mut parts = Parts { scheme, ..Parts::default() };
        let mut at = scheme + 1;
        if let Some(length) = text.get(at..)?.find('@') {
            let user_end = at + length;
            let password = text.get(at..user_end)?.find(':').map(|colon| at + colon);
            let user = at..password.unwrap_or(user_end);
            if user.is_empty() {
                return None;
            }
            parts.password = password.map(|colon| colon + 1..user_end);
            parts.user = Some(user);
            at = user_end + 1;
        }
        let host = host_end(text.get(at..)?)?;
        parts.host = at..at + host;
        at += host;
        if let Some(rest) = text.get(at..)?.strip_prefix(':') {
            let digits = rest.find([';', '?']).unwrap_or(rest.len());
            parts.port = Some(parse_port(rest.get(..digits)?)?);
            at += 1 + digits;
        }
        let headers = text.get(at..)?.find('?').map(|mark| at + mark);
        parts.params = at..headers.unwrap_or(text.len());
        parts.headers = headers.map(|mark| mark + 1..text.len());
        Params::are_sound(text.get(parts.params.clone())?).then_some(parts)
    }
}

fn is_scheme(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
}

/// How long the host is that `text` begins with; what follows must be the end, `:`, `;`, `?` or white space.
pub(crate) fn host_end(text: &str) -> Option<usize> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        text.get(1..end)?.parse::<Ipv6Addr>().ok()?;
        let after = text.as_bytes().get(end + 1);
        return after.is_none_or(|octet| b":;? \t".contains(octet)).then_some(end + 1);
    }
    let end = text.find([':', ';', '?', ' ', '\t']).unwrap_or(text.len());
    // The underscore is not in the grammar, but in host names out there.
    let sound = text.bytes().take(end).all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
    (end > 0 && sound).then_some(end)
}

/// A port: digits only, at most 65535.
pub(crate) fn parse_port(digits: &str) -> Option<u16> {
    scan::number(digits).and_then(|port| u16::try_from(port).ok())
}

/// The address a host is, with or without brackets.
pub(crate) fn parse_ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Resolves `%` escapes. A `%` that begins none stays; octets that are no UTF-8 become U+FFFD.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(String::from_utf8_lossy(&unescape_octets(text)).into_owned())
}

/// As [`unescape`], before the octets are taken for characters.
pub(crate) fn unescape_octets(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(octet) = bytes.get(at).copied() {
        if octet == b'%'
            && let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)))
        {
            plain.push(high * 16 + low);
            at += 3;
        } else {
            plain.push(octet);
            at += 1;
        }
    }
    plain
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    char::from(*digit?).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Escapes what a user part may not hold as it is (RFC 3261 §25.1 `user`). The `;` of user parameters is escaped too.
pub fn escape_user(user: &str) -> Cow<'_, str> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&octet);
    if user.bytes().all(plain) {
        return Cow::Borrowed(user);
    }
    let mut escaped = String::with_capacity(user.len() + 8);
    for octet in user.bytes() {
        if plain(octet) {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_found() {
        let uri =
            Uri::parse("sips:al;x=1:p,w@[2001:db8::1]:5061;transport=tls;lr?Subject=a&Route=%3Csip:b%3E")
                .unwrap();
        assert!(uri.is_sips() && uri.is_sip() && uri.has_lr());
        assert_eq!((uri.user(), uri.password()), (Some("al;x=1"), Some("p,w")));
        assert_eq!((uri.host(), uri.port()), ("[2001:db8::1]", Some(5061)));
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.params_str(), ";transport=tls;lr");
        assert_eq!((uri.transport(), uri.param("LR"), uri.param("ttl")), (Some("tls"), Some(""), None));
        assert_eq!(uri.headers(), Some("Subject=a&Route=%3Csip:b%3E"));
        assert_eq!(uri.without_params(), "sips:al;x=1:p,w@[2001:db8::1]:5061");
    }

    #[test]
    fn other_schemes_are_read_as_far_as_they_go() {
        let tel = Uri::parse("tel:+1-201-555-0123;phone-context=example.com").unwrap();
        assert_eq!(
            (tel.user(), tel.host(), tel.param("phone-context")),
            (Some("+1-201-555-0123"), "", Some("example.com"))
        );
        let urn = Uri::parse("urn:service:sos").unwrap();
        assert_eq!((urn.scheme(), urn.user(), urn.is_sip()), ("urn", None, false));
    }

    #[test]
    fn broken_uris_are_refused() {
        for broken in [
            "",
            "sip",
            "sip:",
            ":x",
            "sip:@h",
            "sip:u@",
            "sip:u@h:",
            "sip:u@h:65536",
            "sip:u@h:+1",
            "sip:u@h x",
            "sip:u@[::1",
            "sip:u@[::1]x",
            "sip:u@[1.2]",
            "sip:u@h;;lr",
            "sip:u@a@b",
            "1sip:h",
            "tel:",
            "sip:h\u{0}",
            "sip:\"a\"@h",
            "<sip:h>",
        ] {
            assert_eq!(Uri::parse(broken), Err(BadUri), "{broken}");
        }
    }

    #[test]
    fn a_user_is_escaped_so_that_it_stays_the_user() {
        for user in ["bob", "a@b", "a b:c;d?e", "50%", "\r\nVia: x", "é"] {
            let uri = Uri::sip(Some(user), "example.com", Some(5070)).unwrap();
            assert_eq!(uri.decoded_user().unwrap(), user);
            assert_eq!((uri.password(), uri.host(), uri.port()), (None, "example.com", Some(5070)), "{uri}");
        }
        assert_eq!(unescape("%zz%4"), "%zz%4");
    }
}
