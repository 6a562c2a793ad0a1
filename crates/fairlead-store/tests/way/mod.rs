//! A way to a server on which connections fall silent: nothing comes through any more, not even their end, as when a node
//! loses its power or a NAT forgets a flow.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub struct Way {
    at: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    takes_no_listeners: Arc<AtomicBool>,
}

#[derive(Default)]
struct Connection {
    subscribes: AtomicBool,
    silent: AtomicBool,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let way = Way { at, connections: Arc::default(), takes_no_listeners: Arc::default() };
        let connections = Arc::clone(&way.connections);
        let no_listeners = Arc::clone(&way.takes_no_listeners);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let connection = Arc::new(Connection::default());
                connections.lock().push(Arc::clone(&connection));
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::spawn(pass_on(from_near, to_far, Arc::clone(&connection), Arc::clone(&no_listeners)));
                tokio::spawn(pass_on(from_far, to_near, connection, Arc::clone(&no_listeners)));
            }
        });
        way
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.at)
    }

    /// All connections that there are now fall silent; new ones are good.
    pub fn falls_silent(&self) {
        self.connections.lock().iter().for_each(|one| one.silent.store(true, Ordering::Relaxed));
    }

    /// Only those on which somebody listens fall silent; how many.
    pub fn falls_silent_for_listeners(&self) -> usize {
        let connections = self.connections.lock();
        let listeners = connections.iter().filter(|one| one.subscribes.load(Ordering::Relaxed));
        listeners.map(|one| one.silent.store(true, Ordering::Relaxed)).count()
    }

    /// Whoever wants to listen gets no answer.
    pub fn takes_no_listeners(&self, none: bool) {
        self.takes_no_listeners.store(none, Ordering::Relaxed);
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connection: Arc<Connection>,
    no_listeners: Arc<AtomicBool>,
) {
    let mut octets = vec![0; 16_384];
    loop {
        let count = from.read(&mut octets).await.unwrap_or(0);
        let octets = &octets[..count];
        if octets.windows(9).any(|word| word == b"SUBSCRIBE") {
            connection.subscribes.store(true, Ordering::Relaxed);
            connection.silent.fetch_or(no_listeners.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if connection.silent.load(Ordering::Relaxed) {
            // Neither end hears of the other again.
            std::future::pending::<()>().await;
        }
        if count == 0 || to.write_all(octets).await.is_err() {
            return;
        }
    }
}
