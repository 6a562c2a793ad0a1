//! Credentials: what Authorization and Proxy-Authorization say, read but not judged.

use sip_wire::params::AuthParams;

use crate::Algorithm;

/// Quality of protection, where one is used. `auth-int` is neither offered nor taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `auth`.
    Auth,
}

/// The parameters of one Digest answer, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Whose secret is claimed to be known.
    pub username: String,
    /// Realm.
    pub realm: String,
    /// Nonce.
    pub nonce: String,
    /// `uri`, as it went into the digest.
    pub uri: String,
    /// The response as sent.
    pub response: String,
    /// The algorithm, MD5 when none is named; `None` when it is one we do not know.
    pub algorithm: Option<Algorithm>,
    /// The protection and what it needs; `None` for an answer without qop.
    pub protection: Option<Protection>,
}

/// What comes with `qop=auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// `nc`, counted.
    pub nc: u32,
    /// `nc` as sent, since that is what was hashed.
    pub nc_text: String,
    /// `cnonce`.
    pub cnonce: String,
}

/// Why a header value is no usable Digest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// It cannot be read at all.
    #[error("the credentials cannot be read")]
    Syntax,
    /// It is of another scheme (Basic is not allowed: RFC 3261 §22).
    #[error("only Digest credentials are taken")]
    Scheme,
    /// A parameter is missing.
    #[error("the credentials lack {0}")]
    Missing(&'static str),
    /// `qop` is something else than `auth`.
    #[error("only qop=auth is taken")]
    Qop,
    /// `nc` is not one to eight hexadecimal digits.
    #[error("nc is not eight hexadecimal digits")]
    Nc,
}

impl Credentials {
    /// Reads one header value.
    pub fn parse(value: &str) -> Result<Credentials, BadCredentials> {
        let params = AuthParams::parse(value).map_err(|_| BadCredentials::Syntax)?;
        if !params.scheme().eq_ignore_ascii_case("digest") {
            return Err(BadCredentials::Scheme);
        }
        let needed = |name: &'static str| match params.get(name) {
            Some(value) => Ok(value.to_string()),
            None => Err(BadCredentials::Missing(name)),
        };
        let protection = match params.get("qop") {
            // RFC 7616 §3.4: qop and nc are tokens here; phones quote them all the same, and some send an
            // empty one for none.
            None => None,
            Some(qop) if qop.trim().is_empty() => None,
            Some(qop) if !qop.trim().eq_ignore_ascii_case("auth") => return Err(BadCredentials::Qop),
            Some(_) => {
                let nc_text = needed("nc")?;
                Some(Protection { nc: read_nc(&nc_text)?, nc_text, cnonce: needed("cnonce")? })
            }
        };
        let algorithm = match params.get("algorithm") {
            None => Some(Algorithm::Md5),
            Some(name) => name.parse().ok(),
        };
        Ok(Credentials {
            username: needed("username")?,
            realm: needed("realm")?,
            nonce: needed("nonce")?,
            uri: needed("uri")?,
            response: needed("response")?,
            algorithm,
            protection,
        })
    }

    /// Finds, among all values of Authorization and Proxy-Authorization of a request, the one for `realm`
    /// (RFC 3261 §22.3: there may be one for each proxy on the way). Of several for this realm it is the one
    /// with the strongest algorithm of `algorithms`.
    ///
    /// An error is that of the first value that could not be used, and only when none could. `Ok(None)`: there is
    /// nothing for this realm, the request has to be challenged.
    pub fn pick<V: AsRef<str>>(
        values: &[V],
        realm: &str,
        algorithms: &[Algorithm],
    ) -> Result<Option<Credentials>, BadCredentials> {
        let mut best: Option<Credentials> = None;
        let mut bad = None;
        for value in values {
            match Credentials::parse(value.as_ref()) {
                Ok(found) if found.realm == realm => {
                    let offered = |c: &Credentials| c.algorithm.filter(|a| algorithms.contains(a));
                    if best.as_ref().is_none_or(|best| offered(&found) > offered(best)) {
                        best = Some(found);
                    }
                }
                Ok(_) => {}
                Err(error) => bad = bad.or(Some(error)),
            }
        }
        match (best, bad) {
            (Some(best), _) => Ok(Some(best)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// The count of this use of the nonce, as [`NonceUse::note`](crate::NonceUse::note) wants it.
    pub fn nc(&self) -> Option<u32> {
        self.protection.as_ref().map(|protection| protection.nc)
    }
}

fn read_nc(text: &str) -> Result<u32, BadCredentials> {
    // from_str_radix would take a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BadCredentials::Nc);
    }
    u32::from_str_radix(text, 16).map_err(|_| BadCredentials::Nc)
}
