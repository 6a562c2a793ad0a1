//! [`NameAddr`]: the values of From, To, Contact, Route and their kin (RFC 3261 §20.10, §25.1 `name-addr`/`addr-spec`).

use std::borrow::Cow;

use crate::params::{Params, unquote};
use crate::scan;
use crate::text::Text;
use crate::uri::{Parts as UriParts, Uri};

/// `"Display name" <uri>;params`, or `uri;params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without its quotes and escapes.
    pub display: Option<Text>,
    /// The URI.
    pub uri: Uri,
    raw: Text,
    params: Text,
}

/// A value that is no name-addr or addr-spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad address")]
pub struct BadNameAddr;

/// The same, borrowed and cut only.
#[derive(Clone, Copy, Debug)]
pub struct NameAddrView<'a> {
    /// The display name as written, with its quotes.
    pub display: Option<&'a str>,
    /// The URI as written.
    pub uri: &'a str,
    /// The parameters behind it as written, from the first `;` on.
    pub params: &'a str,
    tag: Option<&'a str>,
}

impl<'a> NameAddrView<'a> {
    /// Cuts one value into its parts; the URI itself is not read.
    pub fn parse(value: &'a str) -> Option<NameAddrView<'a>> {
        let value = scan::trim(value);
        let (display, rest) = if value.starts_with('"') {
            let (quoted, rest) = value.split_at_checked(scan::quoted_end(value)?)?;
            (Some(quoted), scan::trim(rest))
        } else {
            match value.find(['<', ';', '"']).map(|at| value.split_at(at)) {
                Some((name, rest)) if rest.starts_with('<') => {
                    let name = scan::trim(name);
                    if !name.bytes().all(is_display_octet) {
                        return None;
                    }
                    (Some(name).filter(|name| !name.is_empty()), rest)
                }
                Some((_, rest)) if rest.starts_with('"') => return None,
                _ => return NameAddrView::addr_spec(value),
            }
        };
        let (uri, params) = rest.strip_prefix('<')?.split_once('>')?;
        NameAddrView::checked(display, uri, scan::trim(params))
    }

    /// Without `<>` all parameters are the header field's, and `?` and `,` may not stand in the URI (§20.10).
    fn addr_spec(value: &'a str) -> Option<NameAddrView<'a>> {
        let (uri, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let uri = scan::trim(uri);
        if uri.contains(['?', ',']) {
            return None;
        }
        NameAddrView::checked(None, uri, params)
    }

    fn checked(display: Option<&'a str>, uri: &'a str, params: &'a str) -> Option<NameAddrView<'a>> {
        let mut tag = None;
        let mut list = Params::new(params);
        for (name, value) in &mut list {
            if tag.is_none() && name.eq_ignore_ascii_case("tag") {
                tag = value.filter(|tag| !tag.is_empty());
            }
        }
        (!uri.is_empty() && list.is_sound()).then_some(NameAddrView { display, uri, params, tag })
    }

    /// The value of a parameter as written; `""` when it has none. Names match in any case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        Params::find(self.params, name)
    }

    /// The tag.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// The display name without its quotes and escapes.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        self.display.map(unquote)
    }

    /// True when the URI can be read.
    pub fn has_sound_uri(&self) -> bool {
        UriParts::find(self.uri).is_some()
    }
}

/// `token` and white space; octets above 127 are let through, for phones do not quote names in their own script.
fn is_display_octet(octet: u8) -> bool {
    scan::is_token_octet(octet) || scan::is_lws(octet) || octet >= 0x80
}

impl NameAddr {
    /// Reads one value.
    pub fn parse(value: &str) -> Result<NameAddr, BadNameAddr> {
        NameAddr::from_text(Text::from(value))
    }

    /// Reads one value without copying it.
    pub fn from_text(raw: Text) -> Result<NameAddr, BadNameAddr> {
        let view = NameAddrView::parse(&raw).ok_or(BadNameAddr)?;
        let uri = Uri::from_text(raw.share(view.uri)).map_err(|_| BadNameAddr)?;
        let display = view.display.map(|display| match unquote(display) {
            Cow::Borrowed(name) => raw.share(name),
            Cow::Owned(name) => Text::from(name),
        });
        let params = if view.params.is_empty() { Text::new() } else { raw.share(view.params) };
        Ok(NameAddr { display, uri, params, raw })
    }

    /// A copy that keeps no message alive, for what is stored.
    pub fn detached(&self) -> NameAddr {
        NameAddr {
            display: self.display.as_ref().map(Text::detached),
            uri: self.uri.detached(),
            raw: self.raw.detached(),
            params: self.params.detached(),
        }
    }

    /// The value as written.
    pub fn raw(&self) -> &Text {
        &self.raw
    }

    /// The parameters behind the URI as written, from the first `;` on.
    pub fn params_str(&self) -> &str {
        &self.params
    }

    /// The parameters behind the URI, in order.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.params)
    }

    /// The value of a parameter as written; `""` when it has none. Names match in any case.
    pub fn param(&self, name: &str) -> Option<&str> {
        Params::find(&self.params, name)
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }

    /// The `q` parameter in thousandths, 0 to 1000; `None` when it is absent or no qvalue (RFC 3261 §25.1).
    pub fn q(&self) -> Option<u16> {
        self.param("q").and_then(q_thousandths)
    }

    /// The `expires` parameter in seconds. What is no number counts as 3600 (RFC 3261 §10.2.1.1, §20.10).
    pub fn expires(&self) -> Option<u32> {
        let value = self.param("expires")?;
        Some(scan::number(value).and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(3600))
    }
}

/// `0[.ddd]` or `1[.000]` in thousandths.
fn q_thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let thousandths =
        decimals.bytes().zip([100, 10, 1]).map(|(digit, weight)| u16::from(digit - b'0') * weight).sum();
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        // `.5` is not in the grammar, but its meaning is plain.
        ("", thousandths) if !decimals.is_empty() => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_may_hold_angles_commas_and_escaped_quotes() {
        let read = NameAddr::parse(r#""A <b>, \"c\"; d"<sip:a@h;x=y> ; tag = 7"#).unwrap();
        assert_eq!(read.display.as_deref(), Some(r#"A <b>, "c"; d"#));
        assert_eq!(read.uri.as_str(), "sip:a@h;x=y");
        assert_eq!(read.tag(), Some("7"));
    }

    #[test]
    fn without_angles_parameters_belong_to_the_header() {
        let read = NameAddr::parse("sip:a@h ;tag=7;x").unwrap();
        assert_eq!(read.uri.as_str(), "sip:a@h");
        assert_eq!((read.tag(), read.param("x")), (Some("7"), Some("")));
        assert_eq!(read.display, None);
    }

    #[test]
    fn tokens_and_unquoted_scripts_are_display_names() {
        assert_eq!(NameAddr::parse("J Rosenberg <sip:a@h>").unwrap().display.unwrap(), "J Rosenberg");
        assert_eq!(NameAddr::parse("Имя <sip:a@h>").unwrap().display.unwrap(), "Имя");
        assert_eq!(NameAddr::parse("<sip:a@h>").unwrap().display, None);
    }

    #[test]
    fn broken_values_are_refused() {
        for broken in [
            "",
            "<>",
            "\"Open <sip:a@h>",
            "Bell, Alexander <sip:a@h>;tag=43",
            "\"W\" < sip:a@h >",
            "sip:a@h?Route=x",
            "<sip:a@h>garbage",
            "<sip:a@h>;;",
            "> <sip:a@h",
            "<sip:a@h",
            "Joe \"x\" <sip:a@h>",
            "sip:a b@h",
        ] {
            assert_eq!(NameAddr::parse(broken), Err(BadNameAddr), "{broken}");
        }
    }

    #[test]
    fn q_is_read_in_thousandths() {
        for (text, q) in [
            ("1", Some(1000)),
            ("0.7", Some(700)),
            ("0.125", Some(125)),
            ("1.000", Some(1000)),
            ("0", Some(0)),
        ] {
            assert_eq!(q_thousandths(text), q, "{text}");
        }
        for text in ["1.1", "2", "", ".", "0.1234", "-0.5", "0.x"] {
            assert_eq!(q_thousandths(text), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_contact_expiry_counts_as_an_hour() {
        assert_eq!(NameAddr::parse("<sip:a@h>;expires=60").unwrap().expires(), Some(60));
        assert_eq!(NameAddr::parse("<sip:a@h>;expires=280297596632815").unwrap().expires(), Some(3600));
        assert_eq!(NameAddr::parse("<sip:a@h>;expires=soon").unwrap().expires(), Some(3600));
        assert_eq!(NameAddr::parse("<sip:a@h>").unwrap().expires(), None);
    }
}
