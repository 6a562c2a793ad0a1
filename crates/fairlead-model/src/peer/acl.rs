//! `permit` and `deny`: ordered rules over addresses, the last that matches decides.

use std::net::IpAddr;

use ipnet::IpNet;

use super::value::BadValue;

/// An ordered list of rules. An address that no rule matches is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    rules: Vec<(bool, IpNet)>,
    /// A line could not be read: nobody is let in.
    broken: bool,
}

impl Acl {
    /// Adds the networks of one `permit` or `deny` line (`!` in front of one turns it round). A line that cannot
    /// be read closes the list for everybody: a typing error must not let strangers in (chan_sip drops the peer).
    pub fn add(&mut self, permit: bool, value: &str) -> Result<(), BadValue> {
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (turned, text) = part.strip_prefix('!').map_or((false, part), |rest| (true, rest));
            match network(text) {
                Some(net) => self.rules.push((permit != turned, net)),
                None => {
                    self.broken = true;
                    return Err(BadValue::new(
                        "ADDRESS, ADDRESS/BITS or ADDRESS/MASK (nobody is let in until this is corrected)",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether there is any rule (the ACL column of the operator).
    pub fn is_set(&self) -> bool {
        self.broken || !self.rules.is_empty()
    }

    /// Whether this address is let in.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let last = self.rules.iter().rev().find(|(_, net)| net.contains(&address));
        !self.broken && last.is_none_or(|(permit, _)| *permit)
    }
}

/// An address alone, with prefix length, or with mask.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(IpNet::from(ip));
    }
    let (ip, mask) = text.split_once('/')?;
    IpNet::with_netmask(ip.trim().parse().ok()?, mask.trim().parse().ok()?).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(lines: &[(bool, &str)]) -> Acl {
        let mut acl = Acl::default();
        for (permit, value) in lines {
            let _ = acl.add(*permit, value);
        }
        acl
    }

    fn lets_in(acl: &Acl, address: &str) -> bool {
        acl.permits(address.parse().unwrap())
    }

    #[test]
    fn the_last_match_decides() {
        let acl = acl(&[(false, "0.0.0.0/0.0.0.0"), (true, "192.0.2.0/24"), (false, "192.0.2.7")]);
        assert!(lets_in(&acl, "192.0.2.1"));
        assert!(!lets_in(&acl, "192.0.2.7"));
        assert!(!lets_in(&acl, "198.51.100.1"));
        assert!(lets_in(&acl, "2001:db8::1"), "rules are by family");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert!(!lets_in(&acl(&[(false, "192.0.2.0/24")]), "::ffff:192.0.2.9"));
    }

    #[test]
    fn a_line_that_cannot_be_read_lets_nobody_in() {
        let mut acl = Acl::default();
        assert!(acl.add(false, "192.0.2.0/33").is_err());
        assert!(!lets_in(&acl, "192.0.2.1"));
        assert!(!lets_in(&acl, "198.51.100.1"));
    }

    #[test]
    fn an_exclamation_mark_turns_one_round() {
        let acl = acl(&[(false, "192.0.2.0/24,!192.0.2.5")]);
        assert!(!lets_in(&acl, "192.0.2.4"));
        assert!(lets_in(&acl, "192.0.2.5"));
    }
}
