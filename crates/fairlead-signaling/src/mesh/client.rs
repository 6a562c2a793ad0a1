//! One other pod: frames up, results down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use fairlead_core::input::SendFailed;
use fairlead_model::flow::Flow;
use fairlead_model::id::PodRef;
use fairlead_model::member::Role;
use fairlead_proto::client::connection;
use fairlead_proto::signaling::v1 as pb;
use fairlead_proto::signaling::v1::mesh_client::MeshClient;
use fairlead_proto::tls::PodTls;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{Job, What, result_label};
use crate::metrics::{Crossing, Metrics};
use crate::news::{News, Reply, ShardDoor};

/// Frames in one message.
const BATCH: usize = 256;

/// A frame without a result for this long counts as not sent.
const RESULT_LIMIT: Duration = Duration::from_secs(2);

/// How long opening a stream may take.
const OPEN_LIMIT: Duration = Duration::from_secs(2);

/// The pause before the stream is opened again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Client {
    pub(super) own: PodRef,
    pub(super) to: SocketAddr,
    pub(super) tls: PodTls,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) doors: Vec<ShardDoor>,
    pub(super) metrics: Metrics,
}

struct Sent {
    reply: Reply,
    flow: Flow,
    kind: &'static str,
    at: Instant,
}

impl Client {
    /// Until the pod is gone, or the role stops.
    pub(super) async fn run(mut self, until: CancellationToken) {
        loop {
            tokio::select! {
                () = until.cancelled() => break,
                () = self.one_stream() => {}
            }
            // What comes while the other pod cannot be reached is told so at once, not kept.
            let again = Instant::now() + PAUSE;
            loop {
                tokio::select! {
                    () = until.cancelled() => break,
                    () = tokio::time::sleep_until(again) => break,
                    job = self.jobs.recv() => match job {
                        Some(job) => self.fail(job),
                        None => return,
                    },
                }
            }
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.fail(job);
        }
    }

    async fn one_stream(&mut self) {
        let (frames, stream) = mpsc::channel(64);
        let first = pb::MeshRequest { from: self.own.0, frames: Vec::new() };
        if frames.try_send(first).is_err() {
            return;
        }
        let connection = connection(self.to, &self.tls, Role::Signaling);
        let mut stub = MeshClient::new(connection).max_decoding_message_size(16 << 20);
        let opened = tokio::time::timeout(OPEN_LIMIT, stub.mesh(ReceiverStream::new(stream))).await;
        let Ok(Ok(response)) = opened else { return };
        let mut waiting = HashMap::new();
        self.exchange(frames, response.into_inner(), &mut waiting).await;
        for (_, sent) in waiting {
            self.finish(sent, Some(SendFailed::NoSuchFlow));
        }
    }

    async fn exchange(
        &mut self,
        frames: mpsc::Sender<pb::MeshRequest>,
        mut results: Streaming<pb::MeshResponse>,
        waiting: &mut HashMap<u64, Sent>,
    ) {
        let mut next = 0;
        let mut jobs = Vec::new();
        let mut check = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                taken = self.jobs.recv_many(&mut jobs, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    let mut batch = Vec::with_capacity(taken);
                    for Job { what, reply } in jobs.drain(..) {
                        next += 1;
                        let (flow, kind, what) = frame(what);
                        waiting.insert(next, Sent { reply, flow, kind, at: Instant::now() });
                        batch.push(pb::Frame { id: next, what: Some(what) });
                    }
                    let message = pb::MeshRequest { from: self.own.0, frames: batch };
                    let put = tokio::time::timeout(RESULT_LIMIT, frames.send(message)).await;
                    if !matches!(put, Ok(Ok(()))) {
                        return;
                    }
                }
                message = results.message() => {
                    let Ok(Some(message)) = message else { return };
                    for result in message.results {
                        if let Some(sent) = waiting.remove(&result.id) {
                            self.finish(sent, failed(result.result()));
                        }
                    }
                }
                _ = check.tick() => {
                    let late: Vec<u64> = waiting
                        .iter()
                        .filter(|(_, sent)| sent.at.elapsed() > RESULT_LIMIT)
                        .map(|(id, _)| *id)
                        .collect();
                    for id in late {
                        if let Some(sent) = waiting.remove(&id) {
                            self.finish(sent, Some(SendFailed::NoSuchFlow));
                        }
                    }
                }
            }
        }
    }

    fn fail(&self, job: Job) {
        let (flow, kind, _) = frame(job.what);
        self.finish(Sent { reply: job.reply, flow, kind, at: Instant::now() }, Some(SendFailed::NoSuchFlow));
    }

    fn finish(&self, sent: Sent, failed: Option<SendFailed>) {
        let labels = Crossing { direction: "out", kind: sent.kind, result: result_label(failed) };
        self.metrics.mesh.get_or_create(&labels).inc();
        if let Reply::Shard { shard, send } = sent.reply
            && let Some(door) = self.doors.get(usize::from(shard))
        {
            // A shard that is thousands of news behind learns it by its transaction's own timer.
            let _ = door.news.try_send(News::Sent { send, failed, flow: Some(sent.flow) });
        }
    }
}

fn frame(what: What) -> (Flow, &'static str, pb::frame::What) {
    match what {
        What::Deliver { message, flow, shard } => {
            let shard = shard.map(Into::into);
            let deliver = pb::Deliver { message, flow: Some(flow.into()), shard };
            (flow, "deliver", pb::frame::What::Deliver(deliver))
        }
        What::Send { message, flow } => {
            (flow, "send", pb::frame::What::Send(pb::Send { message, flow: Some(flow.into()) }))
        }
    }
}

fn failed(result: pb::SendResult) -> Option<SendFailed> {
    match result {
        pb::SendResult::Sent => None,
        pb::SendResult::NoSuchFlow | pb::SendResult::Unspecified => Some(SendFailed::NoSuchFlow),
        pb::SendResult::ConnectionGone => Some(SendFailed::ConnectionGone),
        pb::SendResult::Full => Some(SendFailed::Full),
        pb::SendResult::Socket => Some(SendFailed::Socket),
    }
}
