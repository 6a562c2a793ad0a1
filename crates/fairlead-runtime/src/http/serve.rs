//! HTTP/1.1 and HTTP/2 on one port, with bounds that strangers cannot use up.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections at once; more wait in the kernel's queue.
pub const CONNECTIONS: usize = 1024;

/// How long requests that are under way may take when the end has come.
pub const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// How long a new connection may say nothing, and how long a head may take.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// The largest head, bytes.
const LARGEST_HEAD: u32 = 16 * 1024;

/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 128;

/// How often a connection of HTTP/2 is pinged; one that does not answer in [`FIRST_WORDS`] is closed.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Serves `router` on a listener that is bound already, until `stop`; then requests under way get [`LAST_REQUESTS`].
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let builder = bounded();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    while let Some((stream, place)) = next(&listener, &places, &stop).await {
        // For those who count by address.
        let from = stream.peer_addr().ok().map(ConnectInfo);
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            from.map(|from| request.extensions_mut().insert(from));
            request.map(Body::new)
        });
        let (builder, watcher) = (builder.clone(), open.watcher());
        tokio::spawn(async move {
            let _place = place;
            if tokio::time::timeout(FIRST_WORDS, stream.readable()).await.is_err() {
                return;
            }
            let connection =
                builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            if let Err(cause) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%cause, "a connection broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(LAST_REQUESTS, open.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off at the end");
    }
    Ok(())
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let accept = async {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it answers wait for more to say; it is no reason to turn somebody away.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, place));
                }
                Err(cause) => {
                    // Out of file descriptors: others have to end first.
                    tracing::warn!(%cause, "could not take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accept => accepted,
    }
}

fn bounded() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS)
        .max_buf_size(usize::try_from(LARGEST_HEAD).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LARGEST_HEAD)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(FIRST_WORDS);
    builder
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn started(
        router: Router,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let ends = stop.clone();
        let task = tokio::spawn(async move { serve(listener, router, ends).await.unwrap() });
        (address, stop, task)
    }

    async fn said(address: std::net::SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_before_the_end() {
        let slow = get(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        });
        let (address, stop, task) = started(Router::new().route("/", slow)).await;
        let asked = tokio::spawn(said(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
        assert!(asked.await.unwrap().ends_with("done"));
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() {
        let (address, stop, task) = started(Router::new().route("/", get(async || "x"))).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 512];
        assert!(idle.read(&mut answer).await.unwrap() > 0);
        let began = std::time::Instant::now();
        stop.cancel();
        task.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _stop, _task) = started(Router::new().route("/", get(async || "x"))).await;
        let answer =
            said(address, &format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000))).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}
