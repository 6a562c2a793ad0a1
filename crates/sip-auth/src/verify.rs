//! Judging an answer (RFC 3261 §22.4, RFC 7616 §3.4, RFC 8760 §2.6).

use sip_wire::Uri;
use subtle::{Choice, ConstantTimeEq};

use crate::digest::{Terms, response};
use crate::{Algorithm, Credentials, Secret};

/// What an answer has to be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our realm.
    pub realm: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// Its Request-URI.
    pub uri: &'a str,
    /// The algorithms we offer.
    pub algorithms: &'a [Algorithm],
}

/// Why an answer does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is for another realm.
    #[error("the credentials are for another realm")]
    Realm,
    /// Its `uri` is not the Request-URI.
    #[error("the credentials are for another URI")]
    Uri,
    /// It uses an algorithm that was not offered.
    #[error("the credentials use an algorithm that was not offered")]
    Algorithm,
    /// The response is wrong, or there is no such user; nobody is told which.
    #[error("the digest does not hold")]
    Digest,
}

/// Says whether `credentials` prove the knowledge of `secret` for this request.
///
/// It neither looks at the nonce's origin ([`Challenger::check_nonce`](crate::Challenger::check_nonce)) nor counts
/// its uses ([`NonceUse`](crate::NonceUse)). What is compared before the digest depends on nothing secret; the rest
/// takes the same time whether the user is unknown, the password wrong, or all is well.
pub fn verify(
    credentials: &Credentials,
    secret: Secret<'_>,
    expected: &Expected<'_>,
) -> Result<(), Rejected> {
    if credentials.realm != expected.realm {
        return Err(Rejected::Realm);
    }
    if !same_uri(&credentials.uri, expected.uri) {
        return Err(Rejected::Uri);
    }
    let algorithm = match credentials.algorithm {
        Some(algorithm) if expected.algorithms.contains(&algorithm) => algorithm,
        _ => return Err(Rejected::Algorithm),
    };
    let (ha1, known) = secret.ha1(algorithm, &credentials.username, &credentials.realm);
    let protection = credentials.protection.as_ref();
    let terms = Terms {
        algorithm,
        session: false,
        nonce: &credentials.nonce,
        method: expected.method,
        uri: &credentials.uri,
        auth: protection.map(|p| (p.nc_text.as_str(), p.cnonce.as_str())),
        cnonce: "",
    };
    let right = response(&ha1, &terms);
    let given = credentials.response.to_ascii_lowercase();
    let holds = right.as_bytes().ct_eq(given.as_bytes()) & Choice::from(u8::from(known));
    if bool::from(holds) { Ok(()) } else { Err(Rejected::Digest) }
}

/// RFC 7616 §3.4.6: the resources must be the same. Letter for letter is the rule; a phone that writes the same
/// URI differently (RFC 3261 §19.1.4) is still right, and so is one that names only the server it asks (no user): the
/// hash covers the method, and what it could be replayed for is the same phone's next request to the same server.
fn same_uri(claimed: &str, request_uri: &str) -> bool {
    if claimed == request_uri {
        return true;
    }
    match (Uri::parse(claimed), Uri::parse(request_uri)) {
        (Ok(claimed), Ok(requested)) => claimed.equivalent(&requested) || names_server(&claimed, &requested),
        _ => false,
    }
}

fn names_server(claimed: &Uri, requested: &Uri) -> bool {
    let port = |uri: &Uri| uri.port().unwrap_or(if uri.is_sips() { 5061 } else { 5060 });
    claimed.user().is_none()
        && claimed.scheme().eq_ignore_ascii_case(requested.scheme())
        && claimed.host().eq_ignore_ascii_case(requested.host())
        && port(claimed) == port(requested)
}
