//! [`AuthParams`]: credentials and challenges (RFC 3261 §20.7, §20.44; RFC 7616).

use crate::params::{quote, unquote};
use crate::scan;
use crate::text::Text;

/// The scheme and parameters of an Authorization, Proxy-Authorization, WWW-Authenticate, Proxy-Authenticate or
/// Authentication-Info value. Quoted strings are unescaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthParams {
    scheme: Text,
    params: Vec<(Text, Text)>,
}

/// Why a value is not `scheme name=value, …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthParamsError {
    /// It does not begin with a scheme.
    #[error("no authentication scheme")]
    Scheme,
    /// Something is not `name=value` with a token or a quoted string as value.
    #[error("bad authentication parameter")]
    Parameter,
    /// A parameter stands twice: which one counts is what an attacker would choose.
    #[error("repeated authentication parameter")]
    Repeated,
    /// There are more than [`AuthParams::MAX`] parameters.
    #[error("too many authentication parameters")]
    TooMany,
}

impl AuthParams {
    /// The most parameters a value may have.
    pub const MAX: usize = 32;

    /// Reads a header value.
    pub fn parse(value: &str) -> Result<AuthParams, AuthParamsError> {
        let value = scan::trim(value);
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        if !scan::is_token(scheme.as_bytes()) {
            return Err(AuthParamsError::Scheme);
        }
        let mut read = AuthParams { scheme: Text::from(scheme), params: Vec::new() };
        let mut rest = Some(rest).filter(|rest| !scan::trim(rest).is_empty());
        while let Some(list) = rest {
            let (param, after) = scan::split_outside(list, b',', false);
            rest = after;
            read.push(scan::trim(param))?;
        }
        Ok(read)
    }

    fn push(&mut self, param: &str) -> Result<(), AuthParamsError> {
        // An empty place in the list is tolerated: phones write a comma at the end.
        if param.is_empty() {
            return Ok(());
        }
        let (name, value) = param.split_once('=').ok_or(AuthParamsError::Parameter)?;
        let (name, value) = (scan::trim(name), scan::trim(value));
        let sound = match value.as_bytes().first() {
            Some(b'"') => scan::quoted_end(value) == Some(value.len()),
            Some(_) => value.bytes().all(|octet| octet > b' ' && octet != b'"' && octet != 0x7f),
            None => false,
        };
        if !sound || !scan::is_token(name.as_bytes()) {
            return Err(AuthParamsError::Parameter);
        }
        if self.get(name).is_some() {
            return Err(AuthParamsError::Repeated);
        }
        if self.params.len() >= AuthParams::MAX {
            return Err(AuthParamsError::TooMany);
        }
        self.params.push((Text::from(name), Text::from(unquote(value).as_ref())));
        Ok(())
    }

    /// The scheme as written; compare it in any case ([`AuthParams::is_scheme`]).
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// True when the scheme is that one, in any case.
    pub fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter, without quotes. Names match in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `name="value"`, ready to be put behind a scheme or a comma.
    pub fn quoted(name: &str, value: &str) -> String {
        format!("{name}={}", quote(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_with_quotes_commas_and_white_space() {
        let read = AuthParams::parse(
            "Digest username=\"a\\\"b\", realm = \"x, y\",nc=0000000a ,qop=auth,uri=\"sip:h;transport=tls\"",
        )
        .unwrap();
        assert!(read.is_scheme("digest"));
        assert_eq!(read.get("username"), Some("a\"b"));
        assert_eq!(read.get("REALM"), Some("x, y"));
        assert_eq!(read.get("nc"), Some("0000000a"));
        assert_eq!(read.get("uri"), Some("sip:h;transport=tls"));
        assert_eq!(read.get("cnonce"), None);
    }

    #[test]
    fn an_unknown_scheme_is_read_too() {
        // RFC 4475 §3.3.7
        let read = AuthParams::parse("NoOneKnowsThisScheme opaque-data=here").unwrap();
        assert_eq!(read.scheme(), "NoOneKnowsThisScheme");
        assert_eq!(read.get("opaque-data"), Some("here"));
    }

    #[test]
    fn what_is_broken_or_doubled_is_refused() {
        assert_eq!(AuthParams::parse(""), Err(AuthParamsError::Scheme));
        assert_eq!(AuthParams::parse("Digest realm=\"x"), Err(AuthParamsError::Parameter));
        assert_eq!(AuthParams::parse("Digest realm"), Err(AuthParamsError::Parameter));
        assert_eq!(AuthParams::parse("Digest nc=1, NC=2"), Err(AuthParamsError::Repeated));
        let many: String = (0..40).map(|n| format!("p{n}=1,")).collect();
        assert_eq!(AuthParams::parse(&format!("Digest {many}")), Err(AuthParamsError::TooMany));
    }
}
