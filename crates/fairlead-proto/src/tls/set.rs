//! One set of files: read, checked, made into what rustls wants.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::allow::names_in;

/// The chain of this pod, its own certificate first.
pub(super) const CHAIN: &str = "tls.crt";
/// Its key.
pub(super) const KEY: &str = "tls.key";
/// Everybody who may have signed another pod's certificate; old and new stand here together while one replaces the
/// other.
pub(super) const AUTHORITIES: &str = "ca.crt";

/// The largest file taken, bytes.
const LARGEST: u64 = 1024 * 1024;

/// HTTP/2, the only thing spoken.
const ALPN: &[u8] = b"h2";

/// What a folder held at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(…)")
    }
}

/// A file that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be read: {why}", path.display())]
pub(super) struct Missing {
    path: PathBuf,
    why: String,
}

/// Why a set is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("{file} holds {what}")]
    Content { file: &'static str, what: String },
    #[error("tls.key is not the key of the certificate in tls.crt: {0}")]
    KeyMismatch(rustls::Error),
    #[error("a certificate in ca.crt cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("the certificate in tls.crt is none that other pods take as {name}: {cause}")]
    NotOurs { name: String, cause: rustls::Error },
    #[error("rustls does not take the set: {0}")]
    Rustls(String),
}

impl Files {
    /// Reads all three. Kubernetes swaps the folder behind `..data` in one step: all three are read from where it
    /// points now, so that they are of one version.
    pub(super) async fn read(dir: &Path) -> Result<Self, Missing> {
        let version = tokio::fs::canonicalize(dir.join("..data")).await;
        let from = version.as_deref().unwrap_or(dir);
        let (chain, key) = (read(dir, from, CHAIN).await?, read(dir, from, KEY).await?);
        Ok(Files { chain, key, authorities: read(dir, from, AUTHORITIES).await? })
    }
}

async fn read(dir: &Path, from: &Path, file: &str) -> Result<Vec<u8>, Missing> {
    let missing = |why: String| Missing { path: dir.join(file), why };
    let path = from.join(file);
    let length = tokio::fs::metadata(&path).await.map_err(|cause| missing(cause.to_string()))?.len();
    if length > LARGEST {
        return Err(missing(format!("it has {length} bytes, more than any certificate")));
    }
    let bytes = tokio::fs::read(&path).await.map_err(|cause| missing(cause.to_string()))?;
    if bytes.is_empty() {
        return Err(missing("it is empty".to_owned()));
    }
    Ok(bytes)
}

/// A set that fits together, ready for both ends.
pub(super) struct Set {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    /// Seconds since 1970.
    pub(super) not_after: i64,
}

impl Set {
    /// `name` is what other pods will ask of our certificate.
    pub(super) fn of(files: &Files, name: &str) -> Result<Self, Unfit> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(CHAIN, &files.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|cause| Unfit::Content { file: KEY, what: cause.to_string() })?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(AUTHORITIES, &files.authorities)? {
            roots.add(authority).map_err(Unfit::Authority)?;
        }
        let roots = Arc::new(roots);
        let (not_before, not_after) = lifetime(&chain)?;
        would_be_taken(&provider, &roots, &chain, name, (not_before, not_after))?;
        let client = client(&provider, &roots, chain.clone(), key.clone_key())?;
        let server = server(provider, roots, chain, key)?;
        Ok(Set { client: Arc::new(client), server: Arc::new(server), not_after })
    }
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let list = read.map_err(|cause| Unfit::Content { file, what: format!("what is no PEM: {cause}") })?;
    if list.is_empty() {
        return Err(Unfit::Content { file, what: "no certificate".to_owned() });
    }
    Ok(list)
}

/// From when to when the first certificate holds, seconds since 1970.
fn lifetime(chain: &[CertificateDer<'_>]) -> Result<(i64, i64), Unfit> {
    let unreadable = |what: String| Unfit::Content { file: CHAIN, what };
    let own = chain.first().ok_or_else(|| unreadable("no certificate".to_owned()))?;
    let (_, own) = X509Certificate::from_der(own)
        .map_err(|cause| unreadable(format!("a certificate that cannot be read: {cause}")))?;
    Ok((own.validity().not_before.timestamp(), own.validity().not_after.timestamp()))
}

/// Asks of our own certificate what the other pods will ask of it, so that a wrong one is found here and now instead
/// of in every other pod's log. Only its time is not held against it: what has expired is still better than nothing
/// for whoever starts, and says so.
fn would_be_taken(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    name: &str,
    (not_before, not_after): (i64, i64),
) -> Result<(), Unfit> {
    let Some((own, between)) = chain.split_first() else {
        return Err(Unfit::Content { file: CHAIN, what: "no certificate".to_owned() });
    };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(i64::MAX);
    if now > not_after || now < not_before {
        tracing::warn!(
            not_before,
            not_after,
            "the certificate in tls.crt is not valid now: other pods will refuse it"
        );
    }
    let then = u64::try_from(now.min(not_after).max(not_before)).unwrap_or_default();
    let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
    let not_ours = |cause| Unfit::NotOurs { name: name.to_owned(), cause };
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|cause| Unfit::Rustls(cause.to_string()))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|cause| Unfit::Rustls(cause.to_string()))?;
    verifier.verify_server_cert(own, between, &server_name, &[], then).map_err(not_ours)?;
    // Which other pods take by its whole name, while rustls matches wildcards.
    if !names_in(own).iter().any(|named| named == name) {
        return Err(not_ours(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)));
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|cause| Unfit::Rustls(cause.to_string()))?;
    verifier.verify_client_cert(own, between, then).map_err(not_ours)?;
    Ok(())
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Unfit> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|cause| Unfit::Rustls(cause.to_string()))?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)
        .map_err(Unfit::KeyMismatch)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not look at certificates again; connections are few and long.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn server(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Unfit> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|cause| Unfit::Rustls(cause.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|cause| Unfit::Rustls(cause.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(Unfit::KeyMismatch)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
