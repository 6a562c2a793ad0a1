//! The stream of one pod at the registrar.

use std::sync::Arc;
use std::time::Duration;

use fairlead_model::ask::{Answer, AskFailed, AskRef, Envelope};
use fairlead_model::member::{Briefing, Member, Role};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::status_of;
use crate::link::{Down, RegistrarPort, Up};
use crate::registrar::v1 as pb;
use crate::registrar::v1::registrar_server::{Registrar, RegistrarServer};
use crate::tls::allow::{Peer, may_be};

/// Batches that wait in each direction. HTTP/2 flow control holds the other side back beyond that.
const BATCHES: usize = 64;

/// How long a stream may be open before its pod has said who it is.
const FIRST_LIMIT: Duration = Duration::from_secs(5);

/// The largest message taken, bytes: a batch of a few hundred questions is well below.
const LARGEST: usize = 8 * 1024 * 1024;

/// A registrar behind gRPC.
#[derive(Debug)]
pub struct RegistrarService<P: ?Sized>(Arc<P>);

/// A registrar's stream as a tonic service.
pub fn registrar<P: RegistrarPort + ?Sized>(port: Arc<P>) -> RegistrarServer<RegistrarService<P>> {
    RegistrarServer::new(RegistrarService(port)).max_decoding_message_size(LARGEST)
}

#[tonic::async_trait]
impl<P: RegistrarPort + ?Sized> Registrar for RegistrarService<P> {
    type AttachStream = ReceiverStream<Result<pb::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let mut inbound = request.into_inner();
        // Who holds a certificate of some role cannot speak for another one.
        let who = tokio::time::timeout(FIRST_LIMIT, first(&mut inbound))
            .await
            .map_err(|_| Status::deadline_exceeded("the first message must be an Attach"))??;
        may_be(peer.as_ref(), who.role)?;
        let role = who.role;
        let (up, from_pod) = mpsc::channel(BATCHES);
        let down = self.0.attach(who, from_pod).await.map_err(status_of)?;
        let (out, outbound) = mpsc::channel(BATCHES);
        tokio::spawn(read(inbound, up, out.clone(), role));
        tokio::spawn(write(down, out, role));
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

async fn first(inbound: &mut Streaming<pb::AttachRequest>) -> Result<Member, Status> {
    use pb::attach_request::What;
    match inbound.message().await?.and_then(|message| message.what) {
        Some(What::Attach(attach)) => {
            let who = attach.who.ok_or_else(|| Status::invalid_argument("`who` is missing"))?;
            Ok(who.try_into()?)
        }
        _ => Err(Status::invalid_argument("the first message must be an Attach")),
    }
}

type Out = mpsc::Sender<Result<pb::AttachResponse, Status>>;

/// Until the pod ends its stream, or the registrar drops its end.
async fn read(mut inbound: Streaming<pb::AttachRequest>, up: mpsc::Sender<Up>, out: Out, role: Role) {
    use pb::attach_request::What;
    loop {
        let message = tokio::select! {
            message = inbound.next() => message,
            () = up.closed() => return,
            () = out.closed() => return,
        };
        // An error is the end as much as an end is: the pod attaches again.
        let Some(Ok(message)) = message else { return };
        let batches = match message.what {
            // The others attach to be members; nothing on a message's path is theirs to ask.
            Some(What::Asks(_)) if role != Role::Signaling => {
                let text = format!("questions are for signaling; the caller is {}", role.word());
                let _ = out.send(Err(Status::permission_denied(text))).await;
                return;
            }
            Some(What::Asks(asks)) => {
                let read = Batch::read(asks);
                if !read.unknown.is_empty() && out.send(Ok(answers(read.unknown))).await.is_err() {
                    return;
                }
                [
                    (!read.traces.is_empty()).then_some(Up::Traces(read.traces)),
                    (!read.asks.is_empty()).then_some(Up::Asks(read.asks)),
                ]
            }
            Some(What::Beat(beat)) => [Some(Up::Beat { load: beat.load, draining: beat.draining }), None],
            // A second Attach says nothing new; what this release does not know is not for it.
            Some(What::Attach(_)) | None => [None, None],
        };
        for batch in batches.into_iter().flatten() {
            if up.send(batch).await.is_err() {
                return;
            }
        }
    }
}

async fn write(mut down: mpsc::Receiver<Down>, out: Out, role: Role) {
    use pb::attach_response::What;
    loop {
        let next = tokio::select! {
            next = down.recv() => next,
            () = out.closed() => return,
        };
        let Some(next) = next else {
            // The registrar ends the stream (it drains): say so, the pod goes to another.
            let _ = out.send(Err(Status::unavailable("this registrar ends the stream"))).await;
            return;
        };
        let message = match next {
            Down::Answers(list) => answers(list),
            Down::Briefed(briefing) => {
                pb::AttachResponse { what: Some(What::Briefed(for_role(&briefing, role).into())) }
            }
            Down::Requalify => pb::AttachResponse { what: Some(What::Requalify(pb::Requalify {})) },
        };
        if out.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

/// What a pod of this role needs of a briefing. Only signaling mints names and nonces: whoever has the keys could make
/// some that every shard takes for its own.
fn for_role(briefing: &Briefing, role: Role) -> Briefing {
    let mut briefing = briefing.clone();
    if role != Role::Signaling {
        briefing.mint_keys.clear();
        briefing.nonce_keys.clear();
        briefing.trusted.clear();
    }
    briefing
}

fn answers(list: Vec<(AskRef, Result<Answer, AskFailed>)>) -> pb::AttachResponse {
    let answers = list.into_iter().map(Into::into).collect();
    pb::AttachResponse { what: Some(pb::attach_response::What::Answers(pb::Answers { answers })) }
}

/// What a batch of questions holds.
struct Batch {
    asks: Vec<Envelope>,
    traces: Vec<(AskRef, String)>,
    /// Questions that cannot be read: answered as not known.
    unknown: Vec<(AskRef, Result<Answer, AskFailed>)>,
}

impl Batch {
    fn read(asks: pb::Asks) -> Self {
        let mut batch =
            Batch { asks: Vec::with_capacity(asks.asks.len()), traces: Vec::new(), unknown: Vec::new() };
        for mut envelope in asks.asks {
            let id = AskRef(envelope.id);
            let traceparent = std::mem::take(&mut envelope.traceparent);
            match envelope.try_into() {
                Ok(envelope) => batch.asks.push(envelope),
                Err(_) => {
                    batch.unknown.push((id, Err(AskFailed::Unknown)));
                    continue;
                }
            }
            if !traceparent.is_empty() {
                batch.traces.push((id, traceparent));
            }
        }
        batch
    }
}
