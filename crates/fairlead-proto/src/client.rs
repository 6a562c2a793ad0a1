//! The ports again, at the other end of gRPC.

mod channels;
mod diagnosis;
mod peers;
mod provisioning;
mod registrar;
mod relay;

pub use channels::ChannelsClient;
pub use diagnosis::DiagnosisClient;
pub use peers::PeersClient;
pub use provisioning::ProvisioningClient;
pub use registrar::RegistrarClient;
pub use relay::RelayClient;

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_model::member::Role;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::operator::Unanswered;
use crate::tls::{Connector, PodTls};

/// How often a connection is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(1);

/// How long a ping may stay unanswered: with the interval before it, a dead pod is noticed within 3 s.
pub const PING_LIMIT: Duration = Duration::from_secs(2);

/// How long a connection may take to be made, handshake included.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long the operator's questions may take.
pub const OPERATOR_LIMIT: Duration = Duration::from_secs(5);

/// A connection to a pod of this role, made at first use and again whenever it broke; pinged while it is idle too
/// (architecture: dead pods are noticed by pings, not by Kubernetes). With certificates, whoever answers there has to
/// prove that it has the role; each attempt uses the certificates of its moment.
pub fn connection(to: SocketAddr, tls: &PodTls, role: Role) -> Channel {
    match Connector::new(tls, to, role) {
        Some(connector) => endpoint(to).connect_with_connector_lazy(connector),
        None => endpoint(to).connect_lazy(),
    }
}

/// The same, made now.
pub(crate) async fn connected(
    to: SocketAddr,
    tls: &PodTls,
    role: Role,
) -> Result<Channel, tonic::transport::Error> {
    match Connector::new(tls, to, role) {
        Some(connector) => endpoint(to).connect_with_connector(connector).await,
        None => endpoint(to).connect().await,
    }
}

fn endpoint(to: SocketAddr) -> Endpoint {
    // Written from a socket address this is always a URI; were it not, the connection attempt fails and says so.
    let uri = format!("http://{to}");
    let endpoint = Endpoint::from_shared(uri).unwrap_or_else(|_| Endpoint::from_static("http://[::]:0"));
    endpoint
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
}

impl From<Status> for Unanswered {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unavailable => Unanswered::Unreachable,
            Code::DeadlineExceeded | Code::Cancelled => Unanswered::Deadline,
            Code::InvalidArgument => Unanswered::Invalid(status.message().to_owned()),
            Code::Unimplemented => Unanswered::Unknown,
            _ => Unanswered::Unable(status.message().to_owned()),
        }
    }
}

pub(crate) fn garbled(unreadable: crate::convert::Unreadable) -> Unanswered {
    Unanswered::Unable(format!("answered what cannot be read: {unreadable}"))
}

/// A request with the operator's deadline.
pub(crate) fn limited<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(OPERATOR_LIMIT);
    request
}
