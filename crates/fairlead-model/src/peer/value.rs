//! Reading option values: booleans, numbers, words, addresses. A wrong value says what is allowed.

use std::net::{IpAddr, SocketAddr};

/// A value that an option does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{allowed} is allowed")]
pub struct BadValue {
    /// What would have been right.
    pub allowed: String,
}

impl BadValue {
    /// With what is allowed.
    pub fn new(allowed: impl Into<String>) -> Self {
        BadValue { allowed: allowed.into() }
    }
}

/// `yes true y t 1 on` or `no false n f 0 off`.
pub fn boolean(value: &str) -> Result<bool, BadValue> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "y" | "t" | "1" | "on" => Ok(true),
        "no" | "false" | "n" | "f" | "0" | "off" => Ok(false),
        _ => Err(BadValue::new("yes or no")),
    }
}

/// A whole number from `least` to `most`.
pub fn number(value: &str, least: u32, most: u32) -> Result<u32, BadValue> {
    match value.trim().parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(BadValue::new(format!("a whole number from {least} to {most}"))),
    }
}

/// A port from 1 to 65535.
pub fn port(value: &str) -> Result<u16, BadValue> {
    number(value, 1, 65_535).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
}

/// An IP address, with or without brackets.
pub fn ip(value: &str) -> Result<IpAddr, BadValue> {
    let value = value.trim();
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    bare.parse().map_err(|_| BadValue::new("an IP address"))
}

/// An IP address with an optional port.
pub fn ip_port(value: &str) -> Result<(IpAddr, Option<u16>), BadValue> {
    let value = value.trim();
    if let Ok(both) = value.parse::<SocketAddr>() {
        return Ok((both.ip(), Some(both.port())));
    }
    ip(value).map(|ip| (ip, None)).map_err(|_| BadValue::new("an IP address, with :port if wanted"))
}

/// A host (name, IPv4, or IPv6 in brackets or bare) with an optional port.
pub fn host_port(value: &str) -> Result<(String, Option<u16>), BadValue> {
    let wrong = || BadValue::new("a host name or IP address, with :port if wanted");
    let value = value.trim();
    if let Ok((ip, port)) = ip_port(value) {
        return Ok((ip.to_string(), port));
    }
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) => (host, Some(self::port(port).map_err(|_| wrong())?)),
        None => (value, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(is_name) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// The words of a comma list, trimmed, empty ones left out.
pub fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// `"name" <number>`, or a bare number, or a bare name: name and number, either empty.
pub fn caller_id(value: &str) -> (String, String) {
    let value = value.trim();
    if let Some((name, rest)) = value.split_once('<') {
        let number = rest.split('>').next().unwrap_or_default().trim();
        return (unquoted(name), number.to_owned());
    }
    let dialled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '*' | '#' | '-' | '(' | ')' | ' ' | '.');
    if !value.is_empty() && value.chars().all(dialled) {
        (String::new(), value.to_owned())
    } else {
        (unquoted(value), String::new())
    }
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).trim().to_owned()
}

/// A set of group numbers written as `1,3-5`; each from 0 to 63.
pub fn groups(value: &str) -> Result<u64, BadValue> {
    let wrong = || BadValue::new("group numbers from 0 to 63, like 1,3-5");
    let mut set = 0_u64;
    for part in list(value) {
        let (first, last) = part.split_once('-').unwrap_or((&part, &part));
        let first = number(first, 0, 63).map_err(|_| wrong())?;
        let last = number(last, 0, 63).map_err(|_| wrong())?;
        if first > last {
            return Err(wrong());
        }
        for group in first..=last {
            set |= 1 << group;
        }
    }
    Ok(set)
}

/// Declares an enum of words that an option takes, with its reader and its writer.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// The words, for messages about a wrong value.
            pub const ALLOWED: &'static str = concat!("one of" $(, " ", $word)+);

            /// The word of the option.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// Reads the option.
            pub fn parse(value: &str) -> Result<Self, $crate::peer::value::BadValue> {
                match value.trim().to_ascii_lowercase().as_str() {
                    $($word $(| $alias)* => Ok($name::$variant),)+
                    _ => Err($crate::peer::value::BadValue::new($name::ALLOWED)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_asterisks_words_and_nothing_else() {
        assert_eq!(boolean(" Yes "), Ok(true));
        assert_eq!(boolean("off"), Ok(false));
        assert!(boolean("maybe").is_err());
    }

    #[test]
    fn hosts_come_with_and_without_port() {
        assert_eq!(host_port("trunk.example.com:5080"), Ok(("trunk.example.com".to_owned(), Some(5080))));
        assert_eq!(host_port("[2001:db8::1]:5080"), Ok(("2001:db8::1".to_owned(), Some(5080))));
        assert_eq!(host_port("2001:db8::1"), Ok(("2001:db8::1".to_owned(), None)));
        for wrong in ["", "a b", "host:0", "host:70000", "a:b:c"] {
            assert!(host_port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn caller_ids_have_a_name_a_number_or_both() {
        let read = |text| caller_id(text);
        assert_eq!(read("\"Ann B\" <2001>"), ("Ann B".to_owned(), "2001".to_owned()));
        assert_eq!(read("Ann <2001>"), ("Ann".to_owned(), "2001".to_owned()));
        assert_eq!(read("2001"), (String::new(), "2001".to_owned()));
        assert_eq!(read("Ann"), ("Ann".to_owned(), String::new()));
        assert_eq!(read("<2001"), (String::new(), "2001".to_owned()));
    }

    #[test]
    fn groups_are_numbers_and_ranges() {
        assert_eq!(groups("1,3-5"), Ok(0b11_1010));
        assert_eq!(groups("63"), Ok(1 << 63));
        for wrong in ["64", "5-3", "x"] {
            assert!(groups(wrong).is_err(), "{wrong}");
        }
    }
}
