//! The digest as a phone of 2005 computes it, so that ours has something foreign to meet.

use md5::{Digest, Md5};
use sip_wire::params::AuthParams;

/// The Authorization value for a challenge; `None` when it is no Digest challenge with MD5.
pub(crate) fn answer(challenge: &str, user: &str, password: &str, method: &str, uri: &str) -> Option<String> {
    let params = AuthParams::parse(challenge).ok()?;
    let algorithm = params.get("algorithm").unwrap_or("MD5");
    if !params.scheme().eq_ignore_ascii_case("digest") || !algorithm.eq_ignore_ascii_case("md5") {
        return None;
    }
    let (realm, nonce) = (params.get("realm")?, params.get("nonce")?);
    let a1 = md5(&format!("{user}:{realm}:{password}"));
    let a2 = md5(&format!("{method}:{uri}"));
    let head = format!("Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\"");
    if params.get("qop").is_some() {
        let response = md5(&format!("{a1}:{nonce}:00000001:f00d:auth:{a2}"));
        Some(format!("{head},response=\"{response}\",algorithm=MD5,cnonce=\"f00d\",qop=auth,nc=00000001"))
    } else {
        let response = md5(&format!("{a1}:{nonce}:{a2}"));
        Some(format!("{head},response=\"{response}\",algorithm=MD5"))
    }
}

fn md5(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
