//! The registrars as pods see them: found by name, one stream at a time, the next one when one is gone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairlead_model::ask::{AskFailed, AskRef};
use fairlead_model::member::{Member, Role};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::connected;
use crate::convert::answered_from;
use crate::link::{Down, RegistrarPort, Up};
use crate::registrar::v1 as pb;
use crate::registrar::v1::registrar_client::RegistrarClient as Stub;
use crate::tls::PodTls;

/// Batches that wait in each direction.
const BATCHES: usize = 64;

/// The largest message taken, bytes. A briefing of a large edge with its trusted prefixes is well below.
const LARGEST: usize = 64 * 1024 * 1024;

/// How long one registrar may take to open a stream.
const OPEN_LIMIT: Duration = Duration::from_secs(3);

/// A registrar that has not opened a stream after this long gets company: the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(300);

/// How long a name may take to be looked up; then the addresses of before have to do.
const LOOKUP_LIMIT: Duration = Duration::from_secs(1);

/// Several registrars. Each [`RegistrarPort::attach`] opens a stream at the next one that can be reached, so that
/// whoever attaches again after a failure gets another, if there is one.
#[derive(Debug)]
pub struct RegistrarClient {
    names: Vec<String>,
    next: AtomicUsize,
    tls: PodTls,
    /// What the names stood for when they could be looked up.
    known: Mutex<HashMap<String, Vec<SocketAddr>>>,
}

impl RegistrarClient {
    /// Registrars at these `HOST:PORT`s; a name is looked up at each attach and stands for all its addresses (a
    /// headless Service). `start` spreads pods over registrars: any number.
    pub fn connect(names: Vec<String>, start: usize, tls: PodTls) -> Self {
        RegistrarClient { names, next: AtomicUsize::new(start), tls, known: Mutex::default() }
    }

    /// All addresses that the names stand for now, in a fixed order. A name that cannot be looked up stands for those
    /// that it stood for before: the name server may be on the node that was lost.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for name in &self.names {
            match tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host(name)).await {
                Ok(Ok(addresses)) => {
                    let addresses: Vec<SocketAddr> = addresses.collect();
                    found.extend(&addresses);
                    self.known.lock().insert(name.clone(), addresses);
                    continue;
                }
                Ok(Err(error)) => tracing::warn!(%name, %error, "a registrar's name cannot be looked up"),
                Err(_) => tracing::warn!(%name, "looking up a registrar's name takes too long"),
            }
            found.extend(self.known.lock().get(name).into_iter().flatten());
        }
        found.sort();
        found.dedup();
        found
    }
}

#[async_trait::async_trait]
impl RegistrarPort for RegistrarClient {
    async fn attach(&self, who: Member, up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let addresses = self.addresses().await;
        let mut failed = AskFailed::Unreachable;
        let mut left = addresses.len();
        let mut trying = FuturesUnordered::new();
        loop {
            if left > 0 {
                left -= 1;
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                let Some(&address) = addresses.get(turn % addresses.len()) else { break };
                let opening = open(address, &self.tls, who.clone());
                trying.push(async move { (address, tokio::time::timeout(OPEN_LIMIT, opening).await) });
            }
            let opened = tokio::select! {
                opened = trying.next() => opened,
                () = tokio::time::sleep(STAGGER), if left > 0 => continue,
            };
            match opened {
                Some((address, Ok(Ok((requests, responses))))) => {
                    tracing::info!(%address, "attached to a registrar");
                    let (tell, down) = mpsc::channel(BATCHES);
                    tokio::spawn(write(up, requests));
                    tokio::spawn(read(responses, tell));
                    return Ok(down);
                }
                Some((address, Ok(Err(status)))) => {
                    tracing::warn!(%address, error = %status, "a registrar does not take us");
                    if status.code() == Code::ResourceExhausted {
                        failed = AskFailed::Overloaded;
                    }
                }
                Some((address, Err(_))) => tracing::warn!(%address, "a registrar does not answer"),
                None => break,
            }
        }
        Err(failed)
    }
}

type Requests = mpsc::Sender<pb::AttachRequest>;

async fn open(
    address: SocketAddr,
    tls: &PodTls,
    who: Member,
) -> Result<(Requests, Streaming<pb::AttachResponse>), Status> {
    let connection = connected(address, tls, Role::Registrar)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let (requests, stream) = mpsc::channel(BATCHES);
    let attach = pb::Attach { who: Some(who.into()) };
    let first = pb::AttachRequest { what: Some(pb::attach_request::What::Attach(attach)) };
    requests.send(first).await.map_err(|_| Status::internal("the stream ended before it began"))?;
    let mut stub = Stub::new(connection).max_decoding_message_size(LARGEST);
    let responses = stub.attach(ReceiverStream::new(stream)).await?.into_inner();
    Ok((requests, responses))
}

/// Until the pod drops its end (then the stream ends), or the stream is gone (then so is `up`, and the pod sees it).
async fn write(mut up: mpsc::Receiver<Up>, requests: Requests) {
    use pb::attach_request::What;
    let mut traces: HashMap<AskRef, String> = HashMap::new();
    loop {
        let next = tokio::select! {
            next = up.recv() => next,
            () = requests.closed() => return,
        };
        let what = match next {
            None => return,
            Some(Up::Traces(list)) => {
                traces.extend(list);
                continue;
            }
            Some(Up::Asks(asks)) => {
                let asks = asks.into_iter().map(|envelope| {
                    let traceparent = traces.remove(&envelope.id).unwrap_or_default();
                    pb::Envelope { traceparent, ..envelope.into() }
                });
                let asks = asks.collect();
                traces.clear();
                What::Asks(pb::Asks { asks })
            }
            Some(Up::Beat { load, draining }) => What::Beat(pb::Beat { load, draining }),
        };
        if requests.send(pb::AttachRequest { what: Some(what) }).await.is_err() {
            return;
        }
    }
}

async fn read(mut responses: Streaming<pb::AttachResponse>, tell: mpsc::Sender<Down>) {
    use pb::attach_response::What;
    loop {
        let message = tokio::select! {
            message = responses.message() => message,
            () = tell.closed() => return,
        };
        let down = match message {
            Ok(Some(message)) => match message.what {
                Some(What::Answers(answers)) => {
                    Down::Answers(answers.answers.into_iter().map(answered_from).collect())
                }
                Some(What::Briefed(briefing)) => match briefing.try_into() {
                    Ok(briefing) => Down::Briefed(std::sync::Arc::new(briefing)),
                    Err(error) => {
                        tracing::error!(%error, "a registrar's briefing cannot be read");
                        continue;
                    }
                },
                Some(What::Requalify(_)) => Down::Requalify,
                None => continue,
            },
            Ok(None) => return,
            Err(status) if status.code() == Code::Unavailable => {
                tracing::info!(reason = status.message(), "a registrar ends our stream");
                return;
            }
            Err(status) => {
                tracing::warn!(error = %status, "the stream to a registrar broke");
                return;
            }
        };
        if tell.send(down).await.is_err() {
            return;
        }
    }
}
