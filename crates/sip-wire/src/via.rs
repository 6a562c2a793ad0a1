//! [`Via`]: where a response goes (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use crate::params::Params;
use crate::scan;
use crate::text::Text;
use crate::uri::{host_end, parse_ip, parse_port};

/// One Via value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The transport as written: `UDP`, `tcp`, or one nobody has heard of.
    pub transport: Text,
    /// The host of sent-by as written, an IPv6 address in its brackets.
    pub host: Text,
    /// The port of sent-by, where one is written.
    pub port: Option<u16>,
    /// The branch.
    pub branch: Option<Text>,
    /// The `received` parameter, added by whoever took the message from the network.
    pub received: Option<Text>,
    /// `Some(None)` asks for symmetric response routing, `Some(Some(port))` is the answer to it (RFC 3581 §3).
    pub rport: Option<Option<u16>>,
    raw: Text,
    params: Text,
}

/// A value that is no Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad Via")]
pub struct BadVia;

/// The same, borrowed and cut only.
#[derive(Clone, Copy, Debug)]
pub struct ViaView<'a> {
    /// The transport as written.
    pub transport: &'a str,
    /// The host of sent-by as written.
    pub host: &'a str,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The parameters as written, from the first `;` on.
    pub params: &'a str,
    branch: Option<&'a str>,
    received: Option<&'a str>,
    rport: Option<Option<u16>>,
}

impl<'a> ViaView<'a> {
    /// Cuts one value into its parts. White space may stand around `/`, `:`, `;` and `=` (RFC 3261 §25.1).
    pub fn parse(value: &'a str) -> Option<ViaView<'a>> {
        let (protocol, rest) = value.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !scan::trim(protocol).eq_ignore_ascii_case("SIP") || !is_version(scan::trim(version)) {
            return None;
        }
        let rest = scan::trim(rest);
        let (transport, rest) = rest.split_at(rest.find([' ', '\t'])?);
        let rest = scan::trim(rest);
        let (host, rest) = rest.split_at_checked(host_end(rest)?)?;
        let rest = scan::trim(rest);
        let (port, params) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (digits, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
                (Some(parse_port(scan::trim(digits))?), params)
            }
            None => (None, rest),
        };
        if !scan::is_token(transport.as_bytes()) {
            return None;
        }
        ViaView { transport, host, port, params, branch: None, received: None, rport: None }.with_params()
    }

    /// One walk over the parameters. Of one that stands twice the first counts.
    fn with_params(mut self) -> Option<ViaView<'a>> {
        let mut params = Params::new(self.params);
        for (name, value) in &mut params {
            let value = value.filter(|value| !value.is_empty());
            if name.eq_ignore_ascii_case("branch") {
                self.branch = self.branch.or(value);
            } else if name.eq_ignore_ascii_case("received") {
                self.received = self.received.or(value);
            } else if name.eq_ignore_ascii_case("rport") {
                self.rport = self.rport.or(Some(value.and_then(parse_port)));
            }
        }
        params.is_sound().then_some(self)
    }

    /// The branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// The `received` parameter.
    pub fn received(&self) -> Option<&'a str> {
        self.received
    }

    /// As [`Via::rport`].
    pub fn rport(&self) -> Option<Option<u16>> {
        self.rport
    }

    /// The value of a parameter as written; `""` when it has none. Names match in any case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        Params::find(self.params, name)
    }
}

/// Any version: the answer to a request of another version needs its Via (RFC 4475 §3.1.2.16).
fn is_version(version: &str) -> bool {
    version
        .split_once('.')
        .is_some_and(|(major, minor)| scan::number(major).is_some() && scan::number(minor).is_some())
}

impl Via {
    /// The start of every branch that is unique by RFC 3261 §8.1.1.7.
    pub const COOKIE: &'static str = "z9hG4bK";

    /// Reads one value.
    pub fn parse(value: &str) -> Result<Via, BadVia> {
        Via::from_text(Text::from(value))
    }

    /// Reads one value without copying it.
    pub fn from_text(raw: Text) -> Result<Via, BadVia> {
        let view = ViaView::parse(&raw).ok_or(BadVia)?;
        let share = |part: &str| raw.share(part);
        Ok(Via {
            transport: share(view.transport),
            host: share(view.host),
            port: view.port,
            branch: view.branch.map(share),
            received: view.received.map(share),
            rport: view.rport,
            params: if view.params.is_empty() { Text::new() } else { share(view.params) },
            raw,
        })
    }

    /// The value as written.
    pub fn raw(&self) -> &Text {
        &self.raw
    }

    /// The parameters in order.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.params)
    }

    /// The value of a parameter as written; `""` when it has none. Names match in any case.
    pub fn param(&self, name: &str) -> Option<&str> {
        Params::find(&self.params, name)
    }

    /// The host of sent-by when it is an address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(&self.host)
    }

    /// The `received` parameter when it is an address, with or without brackets.
    pub fn received_ip(&self) -> Option<IpAddr> {
        self.received.as_deref().and_then(parse_ip)
    }

    /// The `maddr` parameter (RFC 3261 §18.2.2).
    pub fn maddr(&self) -> Option<&str> {
        self.param("maddr").filter(|value| !value.is_empty())
    }

    /// The branch when it is unique by RFC 3261 §8.1.1.7: it begins with the cookie and goes on behind it
    /// (RFC 4475 §3.1.2.19).
    pub fn unique_branch(&self) -> Option<&str> {
        self.branch.as_deref().filter(|branch| {
            let cookie = branch.get(..Via::COOKIE.len());
            branch.len() > Via::COOKIE.len()
                && cookie.is_some_and(|start| start.eq_ignore_ascii_case(Via::COOKIE))
        })
    }

    /// `host` or `host:port` as in sent-by, for the key of a transaction (RFC 3261 §17.2.3).
    pub fn sent_by(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.as_str().to_owned(),
        }
    }
}

/// The value with `received` set to the true source, and `rport` to its port when the sender asked for it or `force`
/// is set. `received` is written when the sender asked for `rport` (RFC 3581 §4) or wrote another host (RFC 3261
/// §18.2.1). What the sender wrote into them himself is replaced. `None` when nothing changes.
pub(crate) fn with_source(value: &str, ip: IpAddr, port: u16, force: bool) -> Option<String> {
    let view = ViaView::parse(value)?;
    let ip = ip.to_canonical();
    let asked = view.rport.is_some() || force;
    let other_host = parse_ip(view.host).is_none_or(|host| host.to_canonical() != ip);
    let claimed = view.param("received").is_some();
    if !asked && !other_host && !claimed {
        return None;
    }
    let before = value.get(..value.len() - view.params.len()).unwrap_or_default();
    let mut out = String::with_capacity(value.len() + 48);
    out.push_str(before.trim_end_matches([' ', '\t']));
    for (name, value) in Params::new(view.params) {
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        out.push(';');
        out.push_str(name);
        if let Some(value) = value {
            out.push('=');
            out.push_str(value);
        }
    }
    if asked || other_host {
        out.push_str(&format!(";received={ip}"));
    }
    if asked {
        out.push_str(&format!(";rport={port}"));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_around_every_separator() {
        let via = Via::parse(
            "SIP / 2.0 / UDP  first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch = z9hG4bKa7",
        )
        .unwrap();
        assert_eq!(
            (via.transport.as_str(), via.host.as_str(), via.port),
            ("UDP", "first.example.com", Some(4000))
        );
        assert_eq!(via.branch.as_deref(), Some("z9hG4bKa7"));
        assert_eq!(via.maddr(), Some("224.2.0.1"));
        assert_eq!(via.rport, None);
    }

    #[test]
    fn ipv6_stands_in_brackets_but_not_in_received() {
        let via =
            Via::parse("SIP/2.0/TCP [2001:db8::1]:5070;received=2001:db8::7;branch=z9hG4bK1;rport").unwrap();
        assert_eq!(via.host, "[2001:db8::1]");
        assert_eq!(via.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(via.received_ip(), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(via.rport, Some(None));
    }

    #[test]
    fn broken_values_are_refused() {
        for broken in [
            "",
            "SIP/2.0/UDP",
            "SIP/2/UDP h",
            "SIX/2.0/UDP h",
            "SIP/2.0/UDP h;;,",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP h garbage",
            "SIP/2.0/UDP [::1;branch=x",
            ";",
            "SIP/2.0/ h",
        ] {
            assert_eq!(Via::parse(broken), Err(BadVia), "{broken}");
        }
    }

    #[test]
    fn a_branch_of_the_cookie_alone_is_not_unique() {
        // RFC 4475 §3.3.12
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=z9hG4bK").unwrap().unique_branch(), None);
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=z9hG4bK1").unwrap().unique_branch(), Some("z9hG4bK1"));
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=390skdjuw").unwrap().unique_branch(), None);
    }

    #[test]
    fn the_true_source_replaces_what_the_sender_claims() {
        let ip = "192.0.2.9".parse().unwrap();
        let set = |value| with_source(value, ip, 1024, false);
        assert_eq!(set("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"), None);
        assert_eq!(set("SIP/2.0/UDP h ;branch=1").unwrap(), "SIP/2.0/UDP h;branch=1;received=192.0.2.9");
        assert_eq!(
            set("SIP/2.0/UDP 192.0.2.9;rport;branch=1").unwrap(),
            "SIP/2.0/UDP 192.0.2.9;branch=1;received=192.0.2.9;rport=1024"
        );
        assert_eq!(set("SIP/2.0/UDP 192.0.2.9;received=10.0.0.1").unwrap(), "SIP/2.0/UDP 192.0.2.9");
        assert_eq!(
            with_source("SIP/2.0/UDP 192.0.2.9", ip, 1024, true).unwrap(),
            "SIP/2.0/UDP 192.0.2.9;received=192.0.2.9;rport=1024"
        );
    }
}
