//! What a setting can be, and how its text is read.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Wiped from memory when it goes, never printed.
pub use fairlead_model::peer::Secret;

/// The text is not allowed. The setting knows what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadValue;

/// One value.
pub trait SettingValue: Sized {
    /// What is allowed, as an error and the list say it: `a number from 1 to 65535`.
    const ALLOWED: &'static str;
    /// A flag without a value means `true`.
    const SWITCH: bool = false;
    /// Never printed.
    const SECRET: bool = false;

    /// Reads the text.
    fn parse(text: &str) -> Result<Self, BadValue>;
}

/// A value as a struct holds it: once, perhaps, or several times.
pub trait Field: Sized {
    /// See [`SettingValue::ALLOWED`].
    const ALLOWED: &'static str;
    /// See [`SettingValue::SWITCH`].
    const SWITCH: bool;
    /// See [`SettingValue::SECRET`].
    const SECRET: bool;
    /// It has to be given when there is no default.
    const REQUIRED: bool;
    /// It may be given several times.
    const REPEATED: bool;

    /// Reads the texts; none or one unless it may be repeated.
    fn from_texts(texts: &[String]) -> Result<Self, BadValue>;
}

impl<T: SettingValue> Field for T {
    const ALLOWED: &'static str = T::ALLOWED;
    const SWITCH: bool = T::SWITCH;
    const SECRET: bool = T::SECRET;
    const REQUIRED: bool = true;
    const REPEATED: bool = false;

    fn from_texts(texts: &[String]) -> Result<Self, BadValue> {
        T::parse(texts.first().ok_or(BadValue)?)
    }
}

impl<T: SettingValue> Field for Option<T> {
    const ALLOWED: &'static str = T::ALLOWED;
    const SWITCH: bool = T::SWITCH;
    const SECRET: bool = T::SECRET;
    const REQUIRED: bool = false;
    const REPEATED: bool = false;

    fn from_texts(texts: &[String]) -> Result<Self, BadValue> {
        // An empty text takes back what a weaker layer says.
        texts.first().filter(|text| !text.is_empty()).map(|text| T::parse(text)).transpose()
    }
}

impl<T: SettingValue> Field for Vec<T> {
    const ALLOWED: &'static str = T::ALLOWED;
    const SWITCH: bool = T::SWITCH;
    const SECRET: bool = T::SECRET;
    const REQUIRED: bool = false;
    const REPEATED: bool = true;

    fn from_texts(texts: &[String]) -> Result<Self, BadValue> {
        texts.iter().map(|text| T::parse(text)).collect()
    }
}

macro_rules! parsed {
    ($($type:ty: $allowed:literal),* $(,)?) => {
        $(impl SettingValue for $type {
            const ALLOWED: &'static str = $allowed;

            fn parse(text: &str) -> Result<Self, BadValue> {
                text.parse().map_err(|_| BadValue)
            }
        })*
    };
}

parsed! {
    u8: "a number from 0 to 255",
    u16: "a number from 0 to 65535",
    u32: "a number from 0 to 4294967295",
    u64: "a number",
    usize: "a number",
    IpAddr: "an IP address",
    SocketAddr: "IP:PORT, with brackets around an IPv6 address",
}

impl SettingValue for String {
    const ALLOWED: &'static str = "text";

    fn parse(text: &str) -> Result<Self, BadValue> {
        Ok(text.to_owned())
    }
}

impl SettingValue for PathBuf {
    const ALLOWED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() { Err(BadValue) } else { Ok(PathBuf::from(text)) }
    }
}

impl SettingValue for bool {
    const ALLOWED: &'static str = "true or false";
    const SWITCH: bool = true;

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(BadValue),
        }
    }
}

impl SettingValue for Duration {
    const ALLOWED: &'static str = "a time such as 500ms, 2s, 10m or 1h";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at_checked(digits).ok_or(BadValue)?;
        let number: u64 = number.parse().map_err(|_| BadValue)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(BadValue),
        };
        number.checked_mul(millis).map(Duration::from_millis).ok_or(BadValue)
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first; not 0.
    pub first: u16,
    /// The last; not less than the first.
    pub last: u16,
}

impl SettingValue for PortRange {
    const ALLOWED: &'static str = "FIRST-LAST, each from 1 to 65535";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (first, last) = text.split_once('-').ok_or(BadValue)?;
        let first = first.trim().parse().map_err(|_| BadValue)?;
        let last = last.trim().parse().map_err(|_| BadValue)?;
        if first == 0 || last < first { Err(BadValue) } else { Ok(PortRange { first, last }) }
    }
}

/// A host, by name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an IP address without brackets.
    pub host: String,
    /// The port; not 0.
    pub port: u16,
}

impl SettingValue for HostPort {
    const ALLOWED: &'static str = "HOST:PORT, with brackets around an IPv6 address";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let (host, port) = text.rsplit_once(':').ok_or(BadValue)?;
        let port = port.parse().map_err(|_| BadValue)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or(BadValue)?;
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| BadValue)?;
                inner
            }
            None if host.contains(':') => return Err(BadValue),
            None => host,
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if port == 0 || host.is_empty() || !host.chars().all(is_host) {
            return Err(BadValue);
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A part of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl SettingValue for Share {
    const ALLOWED: &'static str = "a number from 0 to 1";

    fn parse(text: &str) -> Result<Self, BadValue> {
        text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).map(Share).ok_or(BadValue)
    }
}

impl SettingValue for Secret {
    const ALLOWED: &'static str = "text";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() { Err(BadValue) } else { Ok(Secret::new(text)) }
    }
}
