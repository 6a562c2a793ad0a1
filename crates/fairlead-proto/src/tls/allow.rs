//! Which role may call which service.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fairlead_model::member::Role;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ROLES, TlsMetrics};
use crate::{common, media, registrar, signaling};

/// The shortest time between two words in the log about calls that are refused: a pod that asks on and on is not to
/// fill it. All are counted.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Every service that pods offer each other, and who needs it. Whoever is not named here is refused, and so is a
/// service that is not.
pub const ALLOWED: &[(&str, &[Role])] = &[
    (
        registrar::v1::registrar_server::SERVICE_NAME,
        &[Role::Signaling, Role::Media, Role::Admin, Role::Operator],
    ),
    (registrar::v1::operator_server::SERVICE_NAME, &[Role::Admin, Role::Operator]),
    // It holds secrets of peers.
    (registrar::v1::provisioning_server::SERVICE_NAME, &[Role::Operator]),
    (media::v1::relay_server::SERVICE_NAME, &[Role::Signaling, Role::Admin]),
    (signaling::v1::mesh_server::SERVICE_NAME, &[Role::Signaling]),
    (signaling::v1::signaling_server::SERVICE_NAME, &[Role::Admin]),
    (common::v1::diagnosis_server::SERVICE_NAME, &[Role::Admin]),
];

/// Who is at the other end of a connection; in the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    roles: Option<Arc<[Role]>>,
}

impl Peer {
    pub(super) fn known(address: SocketAddr, roles: Vec<Role>) -> Self {
        Peer { address, roles: Some(roles.into()) }
    }

    pub(super) fn unknown(address: SocketAddr) -> Self {
        Peer { address, roles: None }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The roles that its certificate names; `None` on a plain connection, where nobody proves anything.
    pub fn roles(&self) -> Option<&[Role]> {
        self.roles.as_deref()
    }
}

/// Whether who is at the other end may say that it is a pod of this role: its certificate has to name it. On a plain
/// connection nobody proves anything.
pub(crate) fn may_be(peer: Option<&Peer>, role: Role) -> Result<(), Status> {
    match peer.and_then(Peer::roles) {
        Some(roles) if !roles.contains(&role) => Err(Status::permission_denied(format!(
            "it says that it is {}; the certificate of the caller names {}",
            role.word(),
            words(roles)
        ))),
        _ => Ok(()),
    }
}

/// The names that a certificate gives to whoever shows it, in lower case; wildcards as they stand there.
pub(super) fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

/// The roles that a certificate names in this domain. A wildcard names none.
pub(super) fn roles_in(certificate: &CertificateDer<'_>, domain: &str) -> Vec<Role> {
    let role = |name: String| {
        let word = name.strip_suffix(domain)?.strip_suffix('.')?;
        ROLES.into_iter().find(|role| role.word() == word)
    };
    names_in(certificate).into_iter().filter_map(role).collect()
}

fn words(roles: &[Role]) -> String {
    match roles {
        [] => "no role of this edge".to_owned(),
        roles => roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", "),
    }
}

/// Asks who calls before a service is reached; on plain connections it lets everything through.
#[derive(Clone, Debug)]
pub(super) struct AllowLayer {
    with: Option<TlsMetrics>,
    said: Arc<Mutex<Option<Instant>>>,
}

impl AllowLayer {
    pub(super) fn new(with: Option<TlsMetrics>) -> Self {
        AllowLayer { with, said: Arc::default() }
    }
}

impl<S> Layer<S> for AllowLayer {
    type Service = Allow<S>;

    fn layer(&self, inner: S) -> Allow<S> {
        Allow { inner, with: self.with.clone(), said: self.said.clone() }
    }
}

/// A service behind that question.
#[derive(Clone, Debug)]
pub(super) struct Allow<S> {
    inner: S,
    with: Option<TlsMetrics>,
    /// When the log was told of a refusal, for all connections together.
    said: Arc<Mutex<Option<Instant>>>,
}

impl<S> Service<Request<Body>> for Allow<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(metrics) = &self.with
            && let Err(denied) = may(request.uri().path(), request.extensions().get::<Peer>())
        {
            metrics.denied(denied.service);
            if is_time(&mut self.said.lock(), Instant::now()) {
                tracing::warn!(service = denied.service, "{}", denied.text);
            }
            let response = Status::permission_denied(denied.text).into_http();
            return Box::pin(std::future::ready(Ok(response)));
        }
        Box::pin(self.inner.call(request))
    }
}

fn is_time(said: &mut Option<Instant>, now: Instant) -> bool {
    let is_time = said.is_none_or(|said| now.saturating_duration_since(said) >= SAY_EVERY);
    if is_time {
        *said = Some(now);
    }
    is_time
}

struct Denied {
    service: &'static str,
    text: String,
}

fn may(path: &str, peer: Option<&Peer>) -> Result<(), Denied> {
    let asked = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let Some((service, roles)) = ALLOWED.iter().find(|(service, _)| *service == asked) else {
        return Err(Denied {
            service: "unknown",
            text: "there is no such service for other pods".to_owned(),
        });
    };
    let seen = peer.and_then(Peer::roles).unwrap_or_default();
    if seen.iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    let text =
        format!("{service} is for {}; the certificate of the caller names {}", words(roles), words(seen));
    Err(Denied { service, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[Role]) -> Peer {
        Peer::known(([127, 0, 0, 1], 1).into(), roles.to_vec())
    }

    #[test]
    fn each_service_is_open_to_those_who_need_it_and_says_whom_it_saw() {
        for (service, allowed) in ALLOWED {
            for role in ROLES {
                let answer = may(&format!("/{service}/Anything"), Some(&caller(&[role])));
                assert_eq!(answer.is_ok(), allowed.contains(&role), "{service} {role:?}");
            }
        }
        let path = "/fairlead.registrar.v1.Provisioning/Follow";
        let Err(denied) = may(path, Some(&caller(&[Role::Media]))) else { panic!("let in") };
        assert_eq!(
            denied.text,
            "fairlead.registrar.v1.Provisioning is for operator; the certificate of the caller names media"
        );
        assert!(may(path, Some(&caller(&[]))).is_err());
        assert!(may(path, None).is_err(), "nobody is not everybody");
    }

    #[test]
    fn a_pod_may_say_that_it_is_what_its_certificate_names() {
        assert!(may_be(Some(&caller(&[Role::Media])), Role::Media).is_ok());
        let denied = may_be(Some(&caller(&[Role::Media])), Role::Signaling).unwrap_err();
        assert_eq!(
            denied.message(),
            "it says that it is signaling; the certificate of the caller names media"
        );
        assert!(may_be(Some(&caller(&[])), Role::Media).is_err());
        assert!(may_be(Some(&Peer::unknown(([127, 0, 0, 1], 1).into())), Role::Signaling).is_ok());
    }

    #[test]
    fn a_flood_of_refused_calls_does_not_fill_the_log() {
        let (mut said, now) = (None, Instant::now());
        let times = (0..1000).filter(|number| is_time(&mut said, now + Duration::from_millis(3 * number)));
        assert_eq!(times.count(), 3, "three seconds");
    }

    #[test]
    fn every_service_between_pods_is_in_the_table() {
        let set = <prost_types::FileDescriptorSet as prost::Message>::decode(crate::DESCRIPTORS).unwrap();
        let services = set.file.iter().flat_map(|file| {
            file.service.iter().map(move |service| format!("{}.{}", file.package(), service.name()))
        });
        // Admin's own door is not between pods.
        let between: Vec<String> = services.filter(|name| !name.starts_with("fairlead.admin.")).collect();
        for service in &between {
            assert!(ALLOWED.iter().any(|(known, _)| known == service), "{service} is missing");
        }
        assert_eq!(between.len(), ALLOWED.len());
    }
}
