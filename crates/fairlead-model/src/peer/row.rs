//! Realtime peers: rows of `sippeers` columns, read by the table of options that reads sip.conf.

use super::options::{PEER_OPTIONS, Remark, peer_option, set_peer};
use super::{Host, Peer, PeerSource};

/// Columns that are no options: written by SIP, or the key.
pub const RUNTIME_COLUMNS: [&str; 8] =
    ["ipaddr", "port", "regseconds", "fullcontact", "useragent", "lastms", "regserver", "path"];

/// Columns that name the row.
const KEY_COLUMNS: [&str; 2] = ["id", "name"];

impl Peer {
    /// A realtime peer from its columns (names are case-insensitive; empty ones count as absent) on top of what
    /// `[general]` says. Columns come in no order, so options are taken in that of the table: `disallow` before
    /// `allow`, `deny` before `permit`. A column of an option whose lines add up may hold several
    /// values with `;` between them, as in Asterisk's realtime.
    ///
    /// `port` is the configured port of a static host; for a dynamic one SIP writes it, see [`RuntimeColumns`].
    pub fn from_row<'a>(
        name: &str,
        row: impl IntoIterator<Item = (&'a String, &'a String)>,
        defaults: &Peer,
    ) -> (Peer, Vec<Remark>) {
        let mut peer = Peer { source: PeerSource::Realtime, ..Peer::named(name, defaults) };
        let mut remarks = Vec::new();
        let mut columns = Vec::new();
        let mut port = "";
        for (key, value) in row {
            let value = value.trim();
            if key.eq_ignore_ascii_case("port") {
                port = value;
            } else if !value.is_empty() && !is_no_option(key) {
                columns.push((place(key), key.as_str(), value));
            }
        }
        columns.sort_unstable();
        for (_, key, value) in columns {
            let adds_up = peer_option(key).is_some_and(|option| option.adds_up);
            if adds_up {
                for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
                    remarks.append(&mut set_peer(&mut peer, key, part));
                }
            } else {
                remarks.append(&mut set_peer(&mut peer, key, value));
            }
        }
        if matches!(peer.host, Host::Static(_)) && !port.is_empty() && port != "0" {
            remarks.append(&mut set_peer(&mut peer, "port", port));
        }
        (peer, remarks)
    }
}

/// Where the table has an option; unknown ones last.
fn place(key: &str) -> usize {
    let known = peer_option(key).map(|option| option.name);
    PEER_OPTIONS.iter().position(|option| Some(option.name) == known).unwrap_or(usize::MAX)
}

fn is_no_option(key: &str) -> bool {
    RUNTIME_COLUMNS.iter().chain(&KEY_COLUMNS).any(|column| column.eq_ignore_ascii_case(key))
}

/// The columns that SIP writes back at registration (chan_sip's names and meaning).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeColumns {
    /// `ipaddr`: address of the contact that would be called first, or empty.
    pub ipaddr: String,
    /// `port`: its port, or 0.
    pub port: u16,
    /// `regseconds`: when it expires, seconds since 1970, or 0.
    pub regseconds: u64,
    /// `fullcontact`: the Contact URI, or empty.
    pub fullcontact: String,
    /// `useragent`
    pub useragent: String,
    /// `lastms`: round trip of the last qualify; -1 unreachable, 0 unknown.
    pub lastms: i32,
    /// `regserver`: who took the registration; written with `rtsavesysname` only.
    pub regserver: Option<String>,
    /// `defaultuser`: user part of the Contact; `None` leaves the column as it is.
    pub defaultuser: Option<String>,
    /// `path`; written with `rtsavepath` only.
    pub path: Option<String>,
}

impl RuntimeColumns {
    /// Reads them from a row; what is absent or cannot be read counts as not registered.
    pub fn from_row<'a>(row: impl IntoIterator<Item = (&'a String, &'a String)>) -> RuntimeColumns {
        let mut columns = RuntimeColumns::default();
        for (key, value) in row {
            let value = value.trim();
            let some = (!value.is_empty()).then(|| value.to_owned());
            match key.to_ascii_lowercase().as_str() {
                "ipaddr" => columns.ipaddr = value.to_owned(),
                "port" => columns.port = value.parse().unwrap_or_default(),
                "regseconds" => columns.regseconds = value.parse().unwrap_or_default(),
                "fullcontact" => columns.fullcontact = value.to_owned(),
                "useragent" => columns.useragent = value.to_owned(),
                "lastms" => columns.lastms = value.parse().unwrap_or_default(),
                "regserver" => columns.regserver = some,
                "defaultuser" => columns.defaultuser = some.or(columns.defaultuser),
                "username" => columns.defaultuser = columns.defaultuser.or(some),
                "path" => columns.path = some,
                _ => {}
            }
        }
        columns
    }

    /// As columns to be written. Those that this configuration does not write are left out.
    pub fn columns(&self) -> Vec<(&'static str, String)> {
        let mut columns = vec![
            ("ipaddr", self.ipaddr.clone()),
            ("port", self.port.to_string()),
            ("regseconds", self.regseconds.to_string()),
            ("fullcontact", self.fullcontact.clone()),
            ("useragent", self.useragent.clone()),
            ("lastms", self.lastms.to_string()),
        ];
        let optional =
            [("regserver", &self.regserver), ("defaultuser", &self.defaultuser), ("path", &self.path)];
        columns.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        columns
    }

    /// What is written when the last contact is gone (chan_sip blanks these and leaves `defaultuser`).
    pub fn cleared(saves_sysname: bool, saves_path: bool) -> RuntimeColumns {
        RuntimeColumns {
            regserver: saves_sysname.then(String::new),
            path: saves_path.then(String::new),
            ..RuntimeColumns::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use crate::peer::GeneralFull;
    use crate::peer::options::set_general;

    fn row(columns: &[(&str, &str)]) -> HashMap<String, String> {
        columns.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_row_is_read_by_the_options_of_sip_conf() {
        let mut general = GeneralFull::default();
        set_general(&mut general, "nat", "force_rport,comedia");
        let columns = row(&[
            ("id", "7"),
            ("name", "2001"),
            ("host", "dynamic"),
            ("type", "friend"),
            ("secret", "hush"),
            ("qualify", "yes"),
            ("allow", "alaw;ulaw"),
            ("disallow", "all"),
            ("context", ""),
            ("ipaddr", "192.0.2.7"),
            ("port", "40001"),
            ("regseconds", "1764000000"),
            ("useragent", "phone"),
        ]);
        let (peer, remarks) = Peer::from_row("2001", &columns, &general.defaults);
        assert_eq!(peer.source, PeerSource::Realtime);
        assert!(peer.nat.force_rport && peer.nat.comedia, "from [general]");
        assert_eq!(peer.secret.as_ref().map(|s| s.expose()), Some("hush"));
        assert_eq!(peer.media.codecs.words(), "(alaw|ulaw)", "disallow comes first");
        assert_eq!(peer.context, "default", "an empty column counts as absent");
        assert_eq!(peer.port, None, "the port of a dynamic peer is SIP's");
        assert!(remarks.iter().all(|remark| matches!(remark, Remark::NotYet { .. })), "{remarks:?}");
    }

    #[test]
    fn the_port_of_a_static_host_is_configured() {
        let columns = row(&[("host", "192.0.2.9"), ("port", "5080"), ("type", "peer")]);
        let (peer, _) = Peer::from_row("trunk", &columns, &Peer::default());
        assert_eq!(peer.static_address(), Some("192.0.2.9:5080".parse().unwrap()));
    }

    #[test]
    fn wrong_and_unknown_columns_are_named() {
        let columns = row(&[("qualify", "often"), ("colour", "red")]);
        let (_, remarks) = Peer::from_row("2001", &columns, &Peer::default());
        assert!(matches!(&remarks[0], Remark::Bad { option, .. } if option == "qualify"));
        assert!(matches!(&remarks[1], Remark::Unknown { option, .. } if option == "colour"));
    }

    #[test]
    fn runtime_columns_go_out_as_they_come_in() {
        let columns = RuntimeColumns {
            ipaddr: "192.0.2.7".to_owned(),
            port: 40_001,
            regseconds: 1_764_000_000,
            fullcontact: "sip:2001@192.0.2.7:5060".to_owned(),
            useragent: "phone".to_owned(),
            lastms: -1,
            regserver: None,
            defaultuser: Some("2001".to_owned()),
            path: None,
        };
        let written: HashMap<_, _> =
            columns.columns().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert!(!written.contains_key("regserver"));
        assert_eq!(RuntimeColumns::from_row(&written), columns);
    }

    #[test]
    fn clearing_leaves_the_user_and_writes_numbers() {
        let columns = RuntimeColumns::cleared(true, false).columns();
        assert!(columns.contains(&("port", "0".to_owned())), "an integer column takes no blank");
        assert!(columns.contains(&("regserver", String::new())));
        assert!(!columns.iter().any(|(name, _)| *name == "defaultuser" || *name == "path"));
    }
}
