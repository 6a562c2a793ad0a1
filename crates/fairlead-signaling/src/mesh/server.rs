//! What other pods hand to this one.

use fairlead_core::input::SendFailed;
use fairlead_core::route_message::Router;
use fairlead_model::flow::Flow;
use fairlead_model::id::PodRef;
use fairlead_proto::signaling::v1 as pb;
use fairlead_proto::signaling::v1::mesh_server::Mesh;
use sip_net::connection::shard_of;
use sip_wire::{Limits, Message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::result_label;
use crate::metrics::{Crossing, Metrics};
use crate::news::{Handed, Reply, ShardDoor};

/// Results in one message.
const BATCH: usize = 256;

/// Results that wait for one other pod. Beyond that its frames are not read.
const RESULTS: usize = 4096;

/// The mesh as a tonic service.
pub(crate) struct MeshService {
    pub(crate) own: PodRef,
    pub(crate) router: Router,
    pub(crate) doors: Vec<ShardDoor>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
}

#[tonic::async_trait]
impl Mesh for MeshService {
    type MeshStream = ReceiverStream<Result<pb::MeshResponse, Status>>;

    async fn mesh(
        &self,
        request: Request<Streaming<pb::MeshRequest>>,
    ) -> Result<Response<Self::MeshStream>, Status> {
        let reader = Reader {
            own: self.own,
            router: self.router.clone(),
            doors: self.doors.clone(),
            limits: self.limits,
            metrics: self.metrics.clone(),
        };
        let (results, taken) = mpsc::channel(RESULTS);
        let (out, outbound) = mpsc::channel(64);
        tokio::spawn(reader.run(request.into_inner(), results));
        tokio::spawn(write(taken, out));
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

struct Reader {
    own: PodRef,
    router: Router,
    doors: Vec<ShardDoor>,
    limits: Limits,
    metrics: Metrics,
}

type Results = mpsc::Sender<(u64, Option<SendFailed>)>;

impl Reader {
    async fn run(self, mut inbound: Streaming<pb::MeshRequest>, results: Results) {
        // An error is the end as much as an end is: the other pod opens another stream.
        while let Ok(Some(message)) = inbound.message().await {
            for frame in message.frames {
                let id = frame.id;
                let refused = match frame.what {
                    Some(pb::frame::What::Deliver(deliver)) => self.count("deliver", self.deliver(deliver)),
                    Some(pb::frame::What::Send(send)) => match self.hand_on(send, id, &results) {
                        // The shard replies when it has sent it.
                        Ok(()) => {
                            self.count("send", None);
                            continue;
                        }
                        Err(failed) => self.count("send", Some(failed)),
                    },
                    // A frame of a newer release.
                    None => Some(SendFailed::NoSuchFlow),
                };
                if results.send((id, refused)).await.is_err() {
                    return;
                }
            }
        }
    }

    fn count(&self, kind: &'static str, failed: Option<SendFailed>) -> Option<SendFailed> {
        let labels = Crossing { direction: "in", kind, result: result_label(failed) };
        self.metrics.mesh.get_or_create(&labels).inc();
        failed
    }

    fn deliver(&self, deliver: pb::Deliver) -> Option<SendFailed> {
        let flow: Option<Flow> = deliver.flow.and_then(|flow| flow.try_into().ok());
        // A message that came by our own socket never comes back by mesh.
        let Some(flow) = flow.filter(|flow| flow.pod != self.own) else {
            return Some(SendFailed::NoSuchFlow);
        };
        let Ok(message) = Message::parse_with(deliver.message, &self.limits) else {
            return Some(SendFailed::Socket);
        };
        let shard = deliver.shard.and_then(|shard| usize::try_from(shard).ok());
        let door = shard.and_then(|shard| self.doors.get(shard)).or_else(|| {
            let shard = self.router.shard_of(message.call_id());
            self.doors.get(usize::from(shard.0))
        });
        let Some(door) = door else { return Some(SendFailed::NoSuchFlow) };
        door.hand(Handed::Message { message, flow }).err().map(|_| SendFailed::Full)
    }

    fn hand_on(&self, send: pb::Send, frame: u64, results: &Results) -> Result<(), SendFailed> {
        let flow: Flow = send.flow.and_then(|flow| flow.try_into().ok()).ok_or(SendFailed::NoSuchFlow)?;
        if flow.pod != self.own {
            return Err(SendFailed::NoSuchFlow);
        }
        let shard = match flow.connection {
            Some(connection) => usize::from(shard_of(connection)),
            // Any shard can send a datagram; the same one always does for one address.
            None => usize::from(flow.remote.port()) % self.doors.len().max(1),
        };
        let door = self.doors.get(shard).ok_or(SendFailed::NoSuchFlow)?;
        let reply = Reply::Mesh { results: results.clone(), frame };
        door.hand(Handed::Send { message: send.message, flow, reply }).map_err(|_| SendFailed::Full)
    }
}

async fn write(
    mut results: mpsc::Receiver<(u64, Option<SendFailed>)>,
    out: mpsc::Sender<Result<pb::MeshResponse, Status>>,
) {
    let mut batch = Vec::new();
    while results.recv_many(&mut batch, BATCH).await > 0 {
        let results =
            batch.drain(..).map(|(id, failed)| pb::FrameResult { id, result: result(failed).into() });
        let message = pb::MeshResponse { results: results.collect() };
        if out.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

fn result(failed: Option<SendFailed>) -> pb::SendResult {
    match failed {
        None => pb::SendResult::Sent,
        Some(SendFailed::NoSuchFlow) => pb::SendResult::NoSuchFlow,
        Some(SendFailed::ConnectionGone) => pb::SendResult::ConnectionGone,
        Some(SendFailed::Full) => pb::SendResult::Full,
        Some(SendFailed::Socket) => pb::SendResult::Socket,
    }
}
