//! [`Method`]: request methods. An unknown one is a method like any other until somebody must act on it (405, 501).

use std::fmt;

use crate::text::Text;

/// A request method (RFC 3261 §7.1). Methods are case-sensitive: `invite` is not INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Info,
    Message,
    Notify,
    Subscribe,
    Refer,
    Update,
    Prack,
    Publish,
    /// An extension method.
    Other(Text),
}

impl Method {
    /// The known methods, in the order in which Allow lists them.
    pub const KNOWN: [Method; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Register,
        Method::Options,
        Method::Info,
        Method::Message,
        Method::Notify,
        Method::Subscribe,
        Method::Refer,
        Method::Update,
        Method::Prack,
        Method::Publish,
    ];

    /// The method of that exact name, if it is a known one.
    pub fn known(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"REGISTER" => Method::Register,
            b"OPTIONS" => Method::Options,
            b"INFO" => Method::Info,
            b"MESSAGE" => Method::Message,
            b"NOTIFY" => Method::Notify,
            b"SUBSCRIBE" => Method::Subscribe,
            b"REFER" => Method::Refer,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            b"PUBLISH" => Method::Publish,
            _ => return None,
        })
    }

    /// The method of that exact name.
    pub fn parse(name: &str) -> Method {
        Method::known(name.as_bytes()).unwrap_or_else(|| Method::Other(Text::from(name)))
    }

    /// The name as written in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Other(name) => name.as_str(),
            known => known.label(),
        }
    }

    /// A name from a closed set, fit for a metric's label: "OTHER" for every extension method.
    pub fn label(&self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Register => "REGISTER",
            Method::Options => "OPTIONS",
            Method::Info => "INFO",
            Method::Message => "MESSAGE",
            Method::Notify => "NOTIFY",
            Method::Subscribe => "SUBSCRIBE",
            Method::Refer => "REFER",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Publish => "PUBLISH",
            Method::Other(_) => "OTHER",
        }
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Method {
        Method::parse(name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_is_read_as_it_is_written() {
        for method in Method::KNOWN {
            assert_eq!(Method::parse(method.as_str()), method);
            assert_eq!(method.label(), method.as_str());
        }
    }

    #[test]
    fn case_makes_another_method() {
        assert_eq!(Method::parse("invite"), Method::Other(Text::from("invite")));
        assert_eq!(Method::parse("invite").label(), "OTHER");
    }
}
