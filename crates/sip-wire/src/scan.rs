//! Small scanners over header values: white space, tokens, quoted strings, comma lists. None allocates.

/// SP and HTAB; folded lines have been joined by a single space before anything here sees them.
pub(crate) fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `token` of RFC 3261 §25.1.
pub(crate) fn is_token_octet(octet: u8) -> bool {
    TOKEN.has(octet)
}

/// True for a non-empty `token` of RFC 3261 §25.1.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|octet| is_token_octet(*octet))
}

static TOKEN: Set = Set::alphanumeric_and(b"-.!%*_+`'~");

/// A set of octets.
pub(crate) struct Set([bool; 256]);

impl Set {
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Set {
        let mut set = [false; 256];
        let mut octet = 0;
        while octet < 256 {
            set[octet] = (octet as u8).is_ascii_alphanumeric();
            octet += 1;
        }
        Set(set).with(others, true)
    }

    /// All octets above SP but DEL and `others`; those above 127 are in.
    pub(crate) const fn printing_without(others: &[u8]) -> Set {
        let mut set = [false; 256];
        let mut octet = 0;
        while octet < 256 {
            set[octet] = octet > 0x20 && octet != 0x7f;
            octet += 1;
        }
        Set(set).with(others, false)
    }

    const fn with(mut self, others: &[u8], are_in: bool) -> Set {
        let mut at = 0;
        while at < others.len() {
            self.0[others[at] as usize] = are_in;
            at += 1;
        }
        self
    }

    pub(crate) fn has(&self, octet: u8) -> bool {
        self.0.get(usize::from(octet)).copied().unwrap_or(false)
    }

    pub(crate) fn has_all(&self, text: &str) -> bool {
        text.bytes().all(|octet| self.has(octet))
    }
}

/// Decimal digits only: no sign, no space, at least one.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Where the quoted string ends that begins at the start of `text` (the place behind the closing quote).
pub(crate) fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Splits at the first `delimiter` that stands outside quoted strings, and outside `<>` when `angles` is set. An open
/// quote or angle swallows the rest: whoever reads the value will refuse it.
pub(crate) fn split_outside(text: &str, delimiter: u8, angles: bool) -> (&str, Option<&str>) {
    let bytes = text.as_bytes();
    let open = if angles { b'<' } else { b'"' };
    let mut at = 0;
    loop {
        let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr3(delimiter, b'"', open, rest))
        else {
            return (text, None);
        };
        at += found;
        let skipped = match bytes.get(at) {
            Some(b'"') => text.get(at..).and_then(quoted_end),
            Some(b'<') if angles => {
                bytes.get(at..).and_then(|rest| memchr::memchr(b'>', rest)).map(|end| end + 1)
            }
            _ => return (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        };
        match skipped {
            Some(length) => at += length,
            None => return (text, None),
        }
    }
}

/// The values of a comma list (RFC 3261 §7.3.1), trimmed. An empty list has none; an empty place between commas is an
/// empty value.
#[derive(Clone, Debug)]
pub struct ListValues<'a> {
    rest: Option<&'a str>,
}

impl<'a> ListValues<'a> {
    /// The values that stand in `list`.
    pub fn new(list: &'a str) -> ListValues<'a> {
        ListValues { rest: Some(list).filter(|list| !trim(list).is_empty()) }
    }
}

impl<'a> Iterator for ListValues<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (value, rest) = split_outside(self.rest?, b',', true);
        self.rest = rest;
        Some(trim(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &str) -> Vec<&str> {
        ListValues::new(list).collect()
    }

    #[test]
    fn commas_in_quotes_and_angles_part_nothing() {
        assert_eq!(
            values(r#""A, \"B\", <C" <sip:a,b@h>;x="1,2" , <sip:c@h>"#),
            [r#""A, \"B\", <C" <sip:a,b@h>;x="1,2""#, "<sip:c@h>"]
        );
    }

    #[test]
    fn empty_places_are_values_and_an_empty_list_has_none() {
        assert_eq!(values("a,,b,"), ["a", "", "b", ""]);
        assert_eq!(values(" \t"), [""; 0]);
    }

    #[test]
    fn an_open_quote_swallows_the_rest() {
        assert_eq!(values(r#"<sip:a@h>, "b <sip:b@h>, c"#), ["<sip:a@h>", r#""b <sip:b@h>, c"#]);
        assert_eq!(values(r#""\"#), [r#""\"#]);
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(number("0068"), Some(68));
        for wrong in ["", "+5", "-1", " 1", "99999999999999999999", "1e3"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
