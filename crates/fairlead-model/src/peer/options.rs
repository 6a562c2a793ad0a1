//! One table of every option: the same for sip.conf and for the columns of realtime peers.
//!
//! An option that is read but has no effect yet says so in a [`Remark`], which the reader of sip.conf
//! prints with file and line. Names are case-insensitive; old spellings are known by the new one.

use std::fmt;

use super::value::BadValue;
use super::{GeneralFull, Peer};

mod general;
mod peer;

pub use general::GENERAL_OPTIONS;
pub use peer::PEER_OPTIONS;

/// Whether an option has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honoured {
    /// Yes.
    Yes,
    /// Not yet: it is kept, and that is all.
    NotYet,
    /// Only with one of these values (which is how Fairlead behaves anyway).
    Only(&'static [&'static str]),
    /// Never: chan_sip does not honour it either.
    Never,
}

/// One option and how its value is taken in.
pub struct OptionOf<T: 'static> {
    /// The name as documentation writes it. One that ends in `*` stands for all names with that beginning.
    pub name: &'static str,
    /// Older spellings.
    pub aliases: &'static [&'static str],
    /// For options of a peer: whether it may also stand in `[general]`, for all peers.
    pub in_general: bool,
    /// Whether it has its effect.
    pub honoured: Honoured,
    /// Whether several lines add up; a column then holds several values with `;` between them.
    pub adds_up: bool,
    /// Whether its value must not be printed.
    pub is_secret: bool,
    set: fn(&mut T, &str, &str) -> Result<(), BadValue>,
}

impl<T> OptionOf<T> {
    const fn new(
        name: &'static str,
        honoured: Honoured,
        set: fn(&mut T, &str, &str) -> Result<(), BadValue>,
    ) -> Self {
        OptionOf { name, aliases: &[], in_general: false, honoured, adds_up: false, is_secret: false, set }
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn general_too(mut self) -> Self {
        self.in_general = true;
        self
    }

    const fn adds_up(mut self) -> Self {
        self.adds_up = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    fn is_called(&self, key: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => {
                key.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
            }
            None => self.name.eq_ignore_ascii_case(key) || self.is_alias(key),
        }
    }

    fn is_alias(&self, key: &str) -> bool {
        self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(key))
    }

    /// Takes one value in. An empty list means that nothing is to be said about it.
    fn take(&self, target: &mut T, key: &str, value: &str) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let option = if self.is_alias(key) { self.name.to_owned() } else { key.to_ascii_lowercase() };
        if self.is_alias(key) {
            remarks.push(Remark::Renamed { old: key.to_owned(), new: self.name });
        }
        if let Err(bad) = (self.set)(target, &option, value) {
            let value = (!self.is_secret).then(|| value.to_owned());
            remarks.push(Remark::Bad { option, value, allowed: bad.allowed });
            return remarks;
        }
        match self.honoured {
            Honoured::Yes => {}
            Honoured::NotYet => remarks.push(Remark::NotYet { option }),
            Honoured::Never => remarks.push(Remark::Never { option }),
            Honoured::Only(values) => {
                if !values.iter().any(|honoured| same_value(honoured, value)) {
                    remarks.push(Remark::NotYetValue { option, value: value.to_owned(), honoured: values });
                }
            }
        }
        remarks
    }
}

/// Equal, or equal as booleans.
fn same_value(a: &str, b: &str) -> bool {
    use super::value::boolean;
    a.eq_ignore_ascii_case(b.trim()) || boolean(a).is_ok_and(|a| boolean(b) == Ok(a))
}

/// What is to be said about one line or column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// No such option.
    Unknown {
        /// As written.
        option: String,
        /// A name that differs by a letter or two.
        meant: Option<&'static str>,
    },
    /// It is read but has no effect yet.
    NotYet {
        /// The option.
        option: String,
    },
    /// This value has no effect yet.
    NotYetValue {
        /// The option.
        option: String,
        /// As written.
        value: String,
        /// The values that have.
        honoured: &'static [&'static str],
    },
    /// It never had an effect.
    Never {
        /// The option.
        option: String,
    },
    /// An older spelling.
    Renamed {
        /// As written.
        old: String,
        /// As it is called now.
        new: &'static str,
    },
    /// The value is not allowed; the option keeps what it had.
    Bad {
        /// The option.
        option: String,
        /// As written; `None` where it must not be printed.
        value: Option<String>,
        /// What is allowed.
        allowed: String,
    },
    /// It belongs into another section.
    Misplaced {
        /// The option.
        option: String,
        /// Where it belongs.
        place: &'static str,
    },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::Unknown { option, meant: Some(meant) } => {
                write!(f, "option '{option}' is not known; is '{meant}' meant?")
            }
            Remark::Unknown { option, meant: None } => write!(f, "option '{option}' is not known"),
            Remark::NotYet { option } => write!(f, "option '{option}' is not yet honoured"),
            Remark::NotYetValue { option, value, honoured } => {
                write!(f, "option '{option}': '{value}' is not yet honoured, only {}", honoured.join(", "))
            }
            Remark::Never { option } => write!(f, "option '{option}' has no effect"),
            Remark::Renamed { old, new } => write!(f, "option '{old}' is now called '{new}'"),
            Remark::Bad { option, value: Some(value), allowed } => {
                write!(f, "option '{option}': '{value}' is not allowed, but {allowed}")
            }
            Remark::Bad { option, value: None, allowed } => {
                write!(f, "option '{option}': the value is not allowed, but {allowed}")
            }
            Remark::Misplaced { option, place } => write!(f, "option '{option}' belongs into {place}"),
        }
    }
}

/// Finds an option of a peer by any of its names.
pub fn peer_option(key: &str) -> Option<&'static OptionOf<Peer>> {
    PEER_OPTIONS.iter().find(|option| option.is_called(key))
}

/// Finds an option of `[general]` that no peer has, by any of its names.
pub fn general_option(key: &str) -> Option<&'static OptionOf<GeneralFull>> {
    GENERAL_OPTIONS.iter().find(|option| option.is_called(key))
}

/// Takes one line of a peer's section (or one column of its row) in.
pub fn set_peer(peer: &mut Peer, key: &str, value: &str) -> Vec<Remark> {
    match (peer_option(key), general_option(key)) {
        (Some(option), _) => option.take(peer, key, value),
        (None, Some(_)) => vec![Remark::Misplaced { option: key.to_owned(), place: "[general]" }],
        (None, None) => vec![unknown(key)],
    }
}

/// Takes one line of `[general]` in. Options that peers have too become what every peer starts from.
pub fn set_general(general: &mut GeneralFull, key: &str, value: &str) -> Vec<Remark> {
    if let Some(option) = general_option(key) {
        return option.take(general, key, value);
    }
    match peer_option(key) {
        Some(option) if option.in_general => option.take(&mut general.defaults, key, value),
        Some(_) => vec![Remark::Misplaced { option: key.to_owned(), place: "a peer's section" }],
        None => vec![unknown(key)],
    }
}

/// An unknown name, with the known one it is close to.
fn unknown(key: &str) -> Remark {
    let names = PEER_OPTIONS.iter().map(|o| o.name).chain(GENERAL_OPTIONS.iter().map(|o| o.name));
    let far = if key.len() < 5 { 1 } else { 2 };
    let meant = names
        .filter(|name| !name.ends_with('*') && name.len().abs_diff(key.len()) <= far)
        .map(|name| (distance(&key.to_ascii_lowercase(), name), name))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, name)| name);
    Remark::Unknown { option: key.to_owned(), meant }
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *slot;
            left = (above + 1).min(left + 1).min(diagonal + usize::from(x != y));
            diagonal = above;
            *slot = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(remarks: Vec<Remark>) -> Vec<String> {
        remarks.iter().map(Remark::to_string).collect()
    }

    #[test]
    fn no_name_is_there_twice() {
        let mut names: Vec<_> = PEER_OPTIONS.iter().flat_map(|o| o.aliases.iter().chain([&o.name])).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        let mut names: Vec<_> =
            GENERAL_OPTIONS.iter().flat_map(|o| o.aliases.iter().chain([&o.name])).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_typing_error_is_named_with_what_was_meant() {
        let mut peer = Peer::default();
        assert_eq!(
            said(set_peer(&mut peer, "secrte", "x")),
            ["option 'secrte' is not known; is 'secret' meant?"]
        );
        assert_eq!(said(set_peer(&mut peer, "zzzzzzzz", "x")), ["option 'zzzzzzzz' is not known"]);
    }

    #[test]
    fn old_spellings_are_taken_with_a_word() {
        let mut peer = Peer::default();
        assert_eq!(
            said(set_peer(&mut peer, "username", "ann")),
            ["option 'username' is now called 'defaultuser'"]
        );
        assert_eq!(peer.default_user.as_deref(), Some("ann"));
    }

    #[test]
    fn only_some_values_may_be_honoured() {
        let mut peer = Peer::default();
        assert_eq!(said(set_peer(&mut peer, "directmedia", "off")), [""; 0]);
        assert_eq!(
            said(set_peer(&mut peer, "directmedia", "nonat")),
            ["option 'directmedia': 'nonat' is not yet honoured, only no"]
        );
    }

    #[test]
    fn wrong_values_name_what_is_allowed_and_change_nothing() {
        let mut peer = Peer::default();
        let remarks = said(set_peer(&mut peer, "nat", "route"));
        assert_eq!(
            remarks,
            [
                "option 'nat': 'route' is not allowed, but no, or a list of force_rport, comedia, auto_force_rport, auto_comedia"
            ]
        );
        assert_eq!(peer, Peer::default());
    }

    #[test]
    fn options_in_general_are_what_peers_start_from() {
        let mut general = GeneralFull::default();
        assert!(set_general(&mut general, "nat", "force_rport,comedia").is_empty());
        assert!(set_general(&mut general, "Realm", "example.com").is_empty());
        assert!(general.defaults.nat.comedia);
        assert_eq!(general.general().realm, "example.com");
        assert_eq!(
            said(set_general(&mut general, "secret", "x")),
            ["option 'secret' belongs into a peer's section"]
        );
        assert_eq!(
            said(set_peer(&mut general.defaults, "realm", "x")),
            ["option 'realm' belongs into [general]"]
        );
    }
}
