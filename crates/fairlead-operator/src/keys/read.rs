//! What Secrets hold, as [`plan`](super::plan) wants to know it. A certificate is asked here what pods will ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use rcgen::{KeyPair, PublicKeyData};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::make::Made;
use super::plan::{Authorities, Authority, AuthorityId, Found, Leaf, Life};

/// The data of a Secret.
pub(super) type Data = BTreeMap<String, ByteString>;

/// Keys of `FULL-ca`.
pub(super) const CA: [&str; 2] = ["ca.crt", "ca.key"];
pub(super) const NEXT: [&str; 2] = ["next.crt", "next.key"];
pub(super) const PREVIOUS: &str = "previous.crt";
/// Keys of `FULL-tls-ROLE`, as cert-manager writes them.
pub(super) const CHAIN: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
pub(super) const TRUSTED: &str = "ca.crt";

/// The fewest characters of a token; admin takes no shorter one.
const SHORTEST: usize = 8;

/// Certificates of authorities by their name, DER.
pub(super) type Known = BTreeMap<AuthorityId, CertificateDer<'static>>;

/// `FULL-ca`, with what signs.
#[derive(Default)]
pub(super) struct Keyring {
    pub known: Known,
    pub signs: BTreeMap<AuthorityId, Made>,
}

/// What `FULL-ca` holds; `settled` is its annotation.
pub(super) fn authorities(data: &Data, settled: Option<i64>) -> (Found<Authorities>, Keyring) {
    let mut ring = Keyring::default();
    match read_authorities(data, settled, &mut ring) {
        Ok(authorities) => (Found::Good(authorities), ring),
        Err(why) => (Found::Broken(why), Keyring::default()),
    }
}

fn read_authorities(data: &Data, settled: Option<i64>, ring: &mut Keyring) -> Result<Authorities, String> {
    let current = authority(data, CA, ring)?.ok_or("ca.crt is missing")?;
    // What is to follow can be made again, so a broken one is as good as none.
    let next = authority(data, NEXT, ring).ok().flatten().filter(|next| next.signs);
    let previous = match data.get(PREVIOUS).and_then(|pem| CertificateDer::from_pem_slice(&pem.0).ok()) {
        Some(certificate) => {
            let id = id_of(&certificate);
            ring.known.insert(id, certificate);
            Some(id)
        }
        None => None,
    };
    Ok(Authorities { current, next, previous, settled })
}

fn authority(
    data: &Data,
    [certificate, key]: [&str; 2],
    ring: &mut Keyring,
) -> Result<Option<Authority>, String> {
    let Some(pem) = data.get(certificate) else { return Ok(None) };
    let unreadable = |why: String| format!("{certificate} is no certificate: {why}");
    let der = CertificateDer::from_pem_slice(&pem.0).map_err(|why| unreadable(why.to_string()))?;
    let (_, read) = X509Certificate::from_der(&der).map_err(|why| unreadable(why.to_string()))?;
    if !read.is_ca() {
        return Err(format!("the certificate in {certificate} may not sign others"));
    }
    let life = life_of(&read);
    let signer = match data.get(key) {
        None => None,
        Some(key_pem) => Some(signing_key(&read, &key_pem.0).map_err(|why| format!("{key}: {why}"))?),
    };
    let id = id_of(&der);
    if let Some(key) = &signer {
        let certificate = String::from_utf8_lossy(&pem.0).into_owned();
        ring.signs.insert(id, Made { certificate, key: key.clone() });
    }
    ring.known.insert(id, der);
    Ok(Some(Authority { id, life, signs: signer.is_some() }))
}

fn signing_key(certificate: &X509Certificate<'_>, pem: &[u8]) -> Result<String, String> {
    let pem = std::str::from_utf8(pem).map_err(|_| "no PEM".to_owned())?;
    let key = KeyPair::from_pem(pem).map_err(|why| why.to_string())?;
    if key.der_bytes() != certificate.public_key().subject_public_key.data.as_ref() {
        return Err("it is the key of another certificate".to_owned());
    }
    Ok(pem.to_owned())
}

/// What `FULL-tls-ROLE` holds, and one of the authorities in its `ca.crt` that signed its certificate, whether it is
/// known or not.
pub(super) fn leaf(
    data: &Data,
    name: &str,
    known: &Known,
    now: i64,
) -> (Found<Leaf>, Option<CertificateDer<'static>>) {
    match read_leaf(data, name, known, now) {
        Ok((leaf, signer)) => (Found::Good(leaf), signer),
        Err(why) => (Found::Broken(why), None),
    }
}

fn read_leaf(
    data: &Data,
    name: &str,
    known: &Known,
    now: i64,
) -> Result<(Leaf, Option<CertificateDer<'static>>), String> {
    let field =
        |name: &str| data.get(name).map(|bytes| bytes.0.as_slice()).ok_or(format!("{name} is missing"));
    let certificates = |file: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(field(file)?).collect();
        list.map_err(|why| format!("{file} is no PEM: {why}"))
    };
    let chain = certificates(CHAIN)?;
    let own = chain.first().ok_or("tls.crt holds no certificate")?;
    let key =
        PrivateKeyDer::from_pem_slice(field(KEY)?).map_err(|why| format!("tls.key is no key: {why}"))?;
    CertifiedKey::from_der(chain.clone(), key, &rustls::crypto::ring::default_provider())
        .map_err(|why| format!("tls.key and tls.crt do not fit together: {why}"))?;
    let (_, read) =
        X509Certificate::from_der(own).map_err(|why| format!("tls.crt is no certificate: {why}"))?;
    let (life, named) = (life_of(&read), names(&read, name));
    let trusted = certificates(TRUSTED)?;
    let then = now.clamp(life.from, life.until.max(life.from));
    let signed = |by: &CertificateDer<'static>| !named || is_taken(&chain, by, name, then);
    let signed_by = known.iter().find(|(_, certificate)| signed(certificate)).map(|(id, _)| *id);
    let signer = trusted.iter().find(|certificate| named && signed(certificate)).cloned();
    let trusts: BTreeSet<AuthorityId> = trusted.iter().map(id_of).collect();
    Ok((Leaf { signed_by, life, named, trusts }, signer))
}

/// Whether pods that trust this authority alone take the certificate, as a client's and as a server's.
fn is_taken(
    chain: &[CertificateDer<'static>],
    authority: &CertificateDer<'static>,
    name: &str,
    then: i64,
) -> bool {
    let mut roots = RootCertStore::empty();
    let (Some((own, between)), Ok(())) = (chain.split_first(), roots.add(authority.clone())) else {
        return false;
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let then = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(then).unwrap_or_default()));
    let Ok(name) = ServerName::try_from(name.to_owned()) else { return false };
    let roots = Arc::new(roots);
    let (Ok(server), Ok(client)) = (
        WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build(),
        WebPkiClientVerifier::builder_with_provider(roots, provider).build(),
    ) else {
        return false;
    };
    server.verify_server_cert(own, between, &name, &[], then).is_ok()
        && client.verify_client_cert(own, between, then).is_ok()
}

fn names(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let is_it = |general: &GeneralName<'_>| matches!(general, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name));
    names.value.general_names.iter().any(is_it)
}

fn life_of(certificate: &X509Certificate<'_>) -> Life {
    let validity = certificate.validity();
    Life { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
}

/// Which authority a certificate is of.
pub(super) fn id_of(certificate: &CertificateDer<'_>) -> AuthorityId {
    Sha256::digest(certificate.as_ref()).into()
}

/// When an authority's certificate ends.
pub(super) fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    X509Certificate::from_der(certificate).ok().map(|(_, read)| life_of(&read).until)
}

/// Whether a Secret holds a token or a password under this key.
pub(super) fn text(data: &Data, key: &str) -> Found<()> {
    let Some(bytes) = data.get(key) else { return Found::Broken(format!("it has no key `{key}`")) };
    let text = bytes.0.trim_ascii_end();
    if text.len() < SHORTEST || !text.iter().all(u8::is_ascii_graphic) {
        return Found::Broken(format!("`{key}` is not at least {SHORTEST} visible characters of ASCII"));
    }
    Found::Good(())
}
