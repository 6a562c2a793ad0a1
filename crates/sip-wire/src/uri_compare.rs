//! When two URIs are the same (RFC 3261 §19.1.4).

use std::collections::BTreeMap;

use crate::uri::{Uri, unescape_octets};

impl Uri {
    /// Equivalence by RFC 3261 §19.1.4. It is not transitive. URIs of other schemes are compared as text, but for the
    /// case of the scheme.
    pub fn equivalent(&self, other: &Uri) -> bool {
        if self == other {
            return true;
        }
        if !self.scheme().eq_ignore_ascii_case(other.scheme()) {
            return false;
        }
        if !self.is_sip() {
            return self.opaque() == other.opaque();
        }
        same_octets(self.user(), other.user())
            && same_octets(self.password(), other.password())
            && self.same_host(other)
            && self.port() == other.port()
            && same_params(self, other)
            && same_headers(self.headers(), other.headers())
    }

    fn opaque(&self) -> &str {
        self.as_str().get(self.scheme().len()..).unwrap_or_default()
    }

    /// Hosts compare without case; addresses by value, for IPv6 has many spellings (RFC 5954 §4.2).
    fn same_host(&self, other: &Uri) -> bool {
        self.host().eq_ignore_ascii_case(other.host())
            || self.host_ip().is_some_and(|address| other.host_ip() == Some(address))
    }
}

fn same_octets(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || unescape_octets(one) == unescape_octets(other),
        (None, None) => true,
        _ => false,
    }
}

fn same_word(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || unescape_octets(one).eq_ignore_ascii_case(&unescape_octets(other))
}

/// Parameters in both must match. `user`, `ttl`, `method` and `maddr` in one only never match; any other is ignored.
fn same_params(one: &Uri, other: &Uri) -> bool {
    // Sorted first, for a hostile URI may have thousands.
    let (one, other) = (param_map(one), param_map(other));
    covers(&one, &other) && covers(&other, &one)
}

fn param_map(uri: &Uri) -> BTreeMap<String, &str> {
    let mut map = BTreeMap::new();
    for (name, value) in uri.params() {
        map.entry(name.to_ascii_lowercase()).or_insert(value.unwrap_or(""));
    }
    map
}

fn covers(one: &BTreeMap<String, &str>, other: &BTreeMap<String, &str>) -> bool {
    one.iter().all(|(name, value)| match other.get(name) {
        Some(found) => same_word(value, found),
        None => !["user", "ttl", "method", "maddr"].contains(&name.as_str()),
    })
}

/// Headers are never ignored; their order does not matter.
fn same_headers(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => header_set(one) == header_set(other),
        _ => false,
    }
}

fn header_set(headers: &str) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut set: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for header in headers.split('&') {
        let (name, value) = header.split_once('=').unwrap_or((header, ""));
        set.entry(unescape_octets(name).to_ascii_lowercase()).or_default().push(unescape_octets(value));
    }
    set.values_mut().for_each(|values| values.sort());
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equivalent(one: &str, other: &str) -> bool {
        let (one, other) = (Uri::parse(one).unwrap(), Uri::parse(other).unwrap());
        assert_eq!(one.equivalent(&other), other.equivalent(&one));
        one.equivalent(&other)
    }

    #[test]
    fn the_equivalent_uris_of_section_19_1_4() {
        for (one, other) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8:0:0::1]", "sip:a@[2001:DB8::1]"),
            ("tel:+358-555-1234567", "TEL:+358-555-1234567"),
        ] {
            assert!(equivalent(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_different_uris_of_section_19_1_4() {
        for (one, other) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com:5060", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;user=phone"),
            ("sip:bob@biloxi.com;maddr=192.0.2.1", "sip:bob@biloxi.com"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("sip:bob@biloxi.com", "sip:biloxi.com"),
            ("sip:bob:x@biloxi.com", "sip:bob@biloxi.com"),
        ] {
            assert!(!equivalent(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_user_with_an_escaped_nul_is_its_own() {
        // RFC 4475 §3.1.1.4
        assert!(!equivalent("sip:null-%00-null@h", "sip:null-null@h"));
        assert!(!equivalent("sip:%00@h", "sip:%00%00@h"));
    }
}
