//! Parameters: `;name=value` lists, quoted strings, and the comma lists of credentials and challenges.

use std::borrow::Cow;

use crate::scan::{self, Set};

pub use crate::auth_params::{AuthParams, AuthParamsError};

/// The parameters of a header value or URI, in order: name, and value as written (a quoted string keeps its quotes).
///
/// Iteration ends at the first defect; [`Params::is_sound`] tells afterwards whether there was one.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: Option<&'a str>,
    sound: bool,
}

impl<'a> Params<'a> {
    /// The parameters in `text`, which is empty or begins with `;`.
    pub fn new(text: &'a str) -> Params<'a> {
        let text = scan::trim(text);
        match text.strip_prefix(';') {
            Some(rest) => Params { rest: Some(rest), sound: true },
            None => Params { rest: None, sound: text.is_empty() },
        }
    }

    /// True when all of `text` is well-formed.
    pub fn are_sound(text: &str) -> bool {
        let mut params = Params::new(text);
        while params.next().is_some() {}
        params.is_sound()
    }

    /// True while no defect was met.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// The first parameter of that name; `""` for one without a value. Names match in any case.
    pub fn find(text: &'a str, name: &str) -> Option<&'a str> {
        Params::new(text)
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or(""))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (param, rest) = scan::split_outside(self.rest?, b';', false);
        self.rest = rest;
        let (name, value) = match param.split_once('=') {
            Some((name, value)) => (scan::trim(name), Some(scan::trim(value))),
            None => (scan::trim(param), None),
        };
        if is_param_name(name) && value.is_none_or(is_param_value) {
            return Some((name, value));
        }
        self.sound = false;
        self.rest = None;
        None
    }
}

/// `token`, and the `[]/:&+$` that URI parameters may have (RFC 3261 §25.1 `param-unreserved`).
static NAME: Set = Set::alphanumeric_and(b"-.!%*_+`'~[]/:&$");

/// What an unquoted value is made of.
static VALUE: Set = Set::printing_without(b"\"<>,;");

fn is_param_name(name: &str) -> bool {
    !name.is_empty() && NAME.has_all(name)
}

/// A whole quoted string, or text without white space, quotes, angles and controls. An empty value is not in the
/// grammar, but `lr=` is in use and means what `lr` means.
fn is_param_value(value: &str) -> bool {
    if value.starts_with('"') { scan::quoted_end(value) == Some(value.len()) } else { VALUE.has_all(value) }
}

/// The value as quoted string (RFC 3261 §25.1): `"` and `\` escaped, CR and LF made spaces.
pub fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\r' | '\n' => quoted.push(' '),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// What a quoted string says; anything else is given back as it is.
pub fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_have_white_space_everywhere_and_quoted_semicolons() {
        let all: Vec<_> = Params::new(r#" ; a = 1 ;b;c="x;y=\"z\"" "#).collect();
        assert_eq!(all, [("a", Some("1")), ("b", None), ("c", Some(r#""x;y=\"z\"""#))]);
    }

    #[test]
    fn empty_and_broken_parameters_are_not_sound() {
        for broken in [";", ";;a", ";=a", ";a=b c", r#";a="b"#, r#";a="b"c"#, "a", ";a b", ";a=<b>"] {
            assert!(!Params::are_sound(broken), "{broken}");
        }
        assert!(Params::are_sound(""));
        assert!(Params::are_sound(";received=2001:db8::7;x=a/b:[c]&d;+sip.instance=\"<urn:uuid:1>\""));
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for plain in ["", "a b", r#"say "hi" \o/"#, "ünï"] {
            assert_eq!(unquote(&quote(plain)), plain);
        }
        assert_eq!(quote("a\r\nb"), "\"a  b\"");
        assert_eq!(unquote("token"), "token");
    }
}
