//! The client's end: each new connection is made with the certificates of that moment.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fairlead_model::member::Role;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tower::Service;

use super::allow::roles_in;
use super::metrics::reason;
use super::{Inner, PodTls, name_of};

/// Opens connections to one pod, which has to prove that it has this role.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Arc<Inner>,
    to: SocketAddr,
    role: Role,
}

impl Connector {
    /// `None` when connections are plain.
    pub(crate) fn new(tls: &PodTls, to: SocketAddr, role: Role) -> Option<Self> {
        tls.0.clone().map(|tls| Connector { tls, to, role })
    }

    async fn open(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name_of(self.role, &self.tls.domain))
            .map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?;
        let shaken = TlsConnector::from(self.tls.client()).connect(name, stream).await;
        match shaken.and_then(|stream| self.named(stream)) {
            Ok(stream) => Ok(TokioIo::new(stream)),
            Err(error) => {
                let reason = reason(&error);
                self.tls.metrics.failed("client", reason);
                tracing::warn!(to = %self.to, role = self.role.word(), reason, %error, "a pod does not prove who it is");
                Err(error)
            }
        }
    }

    /// What rustls has checked matches wildcards too: a certificate of all hosts of a domain would be all roles.
    fn named(&self, stream: TlsStream<TcpStream>) -> io::Result<TlsStream<TcpStream>> {
        let own = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let roles = own.map(|own| roles_in(own, &self.tls.domain)).unwrap_or_default();
        if roles.contains(&self.role) {
            return Ok(stream);
        }
        let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName);
        Err(io::Error::new(io::ErrorKind::InvalidData, wrong))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}
