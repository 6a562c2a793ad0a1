//! Lines of a description (RFC 8866 §5).

use crate::Malformed;

/// One line, without its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Its letter.
    pub letter: u8,
    /// All behind the `=`, as received.
    pub value: &'a [u8],
}

impl<'a> Line<'a> {
    /// Name and value of an `a=` line; a property attribute has no value (RFC 8866 §5.13).
    pub fn attribute(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.letter != b'a' {
            return None;
        }
        Some(match self.value.iter().position(|&byte| byte == b':') {
            Some(colon) => (&self.value[..colon], self.value.get(colon + 1..)),
            None => (self.value, None),
        })
    }

    /// The name of an `a=` line.
    pub fn attribute_name(&self) -> Option<&'a [u8]> {
        self.attribute().map(|(name, _)| name)
    }

    /// The value as text, if it is UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value).ok()
    }
}

/// Splits a body into lines. CRLF and LF end a line; empty lines are passed over, as many senders add one.
pub(crate) fn lines(body: &[u8]) -> impl Iterator<Item = Result<Line<'_>, Malformed>> {
    body.split(|&byte| byte == b'\n').enumerate().filter_map(|(index, line)| {
        let number = index + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [] => None,
            [letter, b'=', value @ ..]
                if letter.is_ascii_alphabetic() && !value.iter().any(|byte| matches!(byte, 0 | b'\r')) =>
            {
                Some(Ok(Line { number, letter: *letter, value }))
            }
            _ => Some(Err(Malformed::Line(number))),
        }
    })
}

/// The fields of a value: runs of spaces separate them, as senders are known to double one.
pub(crate) fn fields(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b' ').filter(|field| !field.is_empty())
}

/// A field as a decimal number.
pub(crate) fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    if !field.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}
