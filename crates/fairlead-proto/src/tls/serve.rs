//! The server's end: handshakes are bounded in number and time, and only who has a certificate gets as far as HTTP/2.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::server::Connected;

use super::allow::{AllowLayer, Peer, roles_in};
use super::metrics::reason;
use super::{Inner, PodTls};
use crate::client::{PING_EVERY, PING_LIMIT};

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Handshakes at once; more connections wait in the kernel's queue.
const HANDSHAKES: usize = 128;

/// Handshakes at once from one address; more are closed, so that one host cannot keep all others waiting.
const HANDSHAKES_OF_ONE: usize = 16;

/// Connections at once from one address, above all those that other pods need: a pod that is not ours any more cannot use
/// up the file descriptors of this one.
const OPEN_OF_ONE: usize = 256;

/// Requests and streams at once on one connection; more wait at the other end.
const STREAMS: u32 = 1024;

/// The largest head of a request, bytes.
const LARGEST_HEAD: u32 = 16 * 1024;

/// Serves `routes` on a listener that is bound already. After `shutdown` nothing new is taken and requests under way end
/// in peace; streams that have no end of their own are cut by dropping the future.
///
/// With certificates, callers have to prove who they are, and each service is open only to the roles in
/// [`super::allow::ALLOWED`]. Both ends ping: a client that is gone is noticed as fast as a server.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    tls: &PodTls,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let (tell, connections) = mpsc::channel(16);
    let (open, closed) = oneshot::channel::<()>();
    // The port closes before the requests under way end: nobody is taken and then left waiting.
    let shutdown = async move {
        shutdown.await;
        drop(open);
    };
    let accept = async {
        tokio::select! {
            () = accept(listener, tls.0.clone(), tell) => {}
            _ = closed => {}
        }
    };
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_LIMIT))
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(LARGEST_HEAD)
        .layer(AllowLayer::new(tls.0.as_ref().map(|inner| inner.metrics.clone())))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), shutdown);
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = accept => {}
    }
    server.await
}

type Tell = mpsc::Sender<io::Result<Connection>>;

/// Until the server takes no more connections.
async fn accept(listener: TcpListener, tls: Option<Arc<Inner>>, tell: Tell) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    let (shaking, open) = (OfOne::new(HANDSHAKES_OF_ONE), OfOne::new(OPEN_OF_ONE));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tell.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                // Out of file descriptors: others have to end first.
                tracing::warn!(%cause, "could not take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Without it answers wait for more to say; it is no reason to turn somebody away.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls.clone() else {
            let Some(open) = open.turn(from.ip()) else { continue };
            if tell.send(Ok(Connection::plain(stream, from, open))).await.is_err() {
                return;
            }
            continue;
        };
        let (Some(turn), Some(open)) = (shaking.turn(from.ip()), open.turn(from.ip())) else {
            tls.metrics.failed("server", "too_many");
            continue;
        };
        let tell = tell.clone();
        tokio::spawn(async move {
            let shaken = handshake(stream, from, &tls, open).await;
            drop((place, turn));
            if let Some(connection) = shaken {
                // Nobody listens any more: the server has ended.
                let _ = tell.send(Ok(connection)).await;
            }
        });
    }
}

async fn handshake(stream: TcpStream, from: SocketAddr, tls: &Inner, open: Turn) -> Option<Connection> {
    let accepting = TlsAcceptor::from(tls.server()).accept(stream);
    let failed = match tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await {
        Ok(Ok(stream)) => {
            let own = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let roles = own.map(|own| roles_in(own, &tls.domain)).unwrap_or_default();
            return Some(Connection {
                stream: Stream::Tls(Box::new(stream)),
                peer: Peer::known(from, roles),
                _open: open,
            });
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    let reason = if failed.kind() == io::ErrorKind::TimedOut { "timeout" } else { reason(&failed) };
    tls.metrics.failed("server", reason);
    // One that opens and closes is a probe of a port, and whoever floods is not to fill the log.
    tracing::debug!(%from, reason, error = %failed, "a handshake failed");
    None
}

/// How many of something each address has at once.
#[derive(Clone, Debug)]
struct OfOne {
    limit: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl OfOne {
    fn new(limit: usize) -> Self {
        OfOne { limit, counts: Arc::default() }
    }

    fn turn(&self, address: IpAddr) -> Option<Turn> {
        let mut turns = self.counts.lock();
        let count = turns.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Turn { of: self.clone(), address })
    }
}

struct Turn {
    of: OfOne,
    address: IpAddr,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.of.counts.lock();
        if let Some(count) = turns.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                turns.remove(&self.address);
            }
        }
    }
}

/// A connection that HTTP/2 is spoken on.
struct Connection {
    stream: Stream,
    peer: Peer,
    /// Given back when it is closed.
    _open: Turn,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn plain(stream: TcpStream, from: SocketAddr, open: Turn) -> Self {
        Connection { stream: Stream::Plain(stream), peer: Peer::unknown(from), _open: open }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, to),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, to),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
