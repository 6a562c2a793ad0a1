//! [`Text`]: an immutable string that is cheap to clone and may share the bytes of the message it was read from.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};

use bytes::Bytes;

/// An immutable UTF-8 string; cloning and slicing copy no characters.
///
/// A `Text` that was cut out of a message keeps the whole message alive. What is stored for long (a binding, a
/// dialog) should go through [`Text::detached`].
#[derive(Clone, Default)]
pub struct Text(Bytes);

impl Text {
    /// The empty text.
    pub const fn new() -> Text {
        Text(Bytes::new())
    }

    /// A text that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Text {
        Text(Bytes::from_static(text.as_bytes()))
    }

    /// The bytes as text, or `None` when they are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Option<Text> {
        std::str::from_utf8(&bytes).is_ok().then(|| Text(bytes))
    }

    /// The bytes as text; octets that are not UTF-8 become U+FFFD.
    pub fn from_utf8_lossy(bytes: Bytes) -> Text {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Text(bytes),
            Err(_) => Text::from(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Every constructor and `slice` checked this; the empty string is never reached.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same characters as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no character.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A part of this text that shares its bytes; empty when the range is not one of whole characters of this text.
    pub fn slice(&self, range: Range<usize>) -> Text {
        if self.as_str().get(range.clone()).is_some() { Text(self.0.slice(range)) } else { Text::new() }
    }

    /// A copy that shares its bytes with nobody, so that keeping it keeps no message alive.
    pub fn detached(&self) -> Text {
        Text(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes of this text, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The part of `self` that `part` points into.
    ///
    /// `part` must have been cut out of `self.as_str()`; anything else is copied.
    pub(crate) fn share(&self, part: &str) -> Text {
        let whole = self.0.as_ptr() as usize;
        let start = (part.as_ptr() as usize).wrapping_sub(whole);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.0.len() && !part.is_empty() => Text(self.0.slice(start..end)),
            _ => Text::from(part),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(Bytes::from(text))
    }
}

impl From<&Text> for Text {
    fn from(text: &Text) -> Text {
        text.clone()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.as_str().to_owned()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        other == self
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        other == *self
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` does it, so that a map keyed by `Text` can be asked with a `&str`.
        self.as_str().hash(state);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_map_keyed_by_text_is_asked_with_a_str() {
        let map = HashMap::from([(Text::from("alice"), 1)]);
        assert_eq!(map.get("alice"), Some(&1));
    }

    #[test]
    fn a_slice_off_a_character_boundary_is_empty() {
        let text = Text::from("né");
        assert_eq!(text.slice(0..2), "");
        assert_eq!(text.slice(1..3), "é");
        assert_eq!(text.slice(2..9), "");
    }

    #[test]
    fn octets_that_are_not_utf8_are_refused_or_replaced() {
        let latin1 = Bytes::from_static(b"caf\xe9");
        assert_eq!(Text::from_utf8(latin1.clone()), None);
        assert_eq!(Text::from_utf8_lossy(latin1), "caf\u{fffd}");
    }

    #[test]
    fn a_shared_part_points_into_the_whole() {
        let whole = Text::from("sip:alice@example.com");
        let part = whole.share(&whole.as_str()[4..9]);
        assert_eq!(part, "alice");
        assert_eq!(part.as_bytes().as_ptr(), whole.as_bytes()[4..].as_ptr());
        assert_eq!(whole.share("elsewhere"), "elsewhere");
    }
}
