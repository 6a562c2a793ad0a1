//! Realtime peers: rows of `sippeers` columns.

/// The columns that SIP writes back at registration (chan_sip's names and meaning).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeColumns {
    /// `ipaddr`: address of the contact, or empty.
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
    /// `regserver`: who took the registration (with `rtsavesysname`).
    pub regserver: String,
    /// `defaultuser`: user part of the Contact.
    pub defaultuser: String,
    /// `path` (with `rtsavepath`)
    pub path: String,
}
