//! Messages between pods. Each pod opens a stream to each other one; its frames go up, a result for each comes down.
//! What came by mesh never leaves by mesh again.

mod client;
mod server;

pub(crate) use server::MeshService;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use fairlead_core::input::SendFailed;
use fairlead_model::flow::Flow;
use fairlead_model::id::PodRef;
use fairlead_model::member::{Briefing, Role};
use fairlead_proto::tls::PodTls;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::news::{Reply, ShardDoor};
use crate::shed;

/// A frame for another pod.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) what: What,
    pub(crate) reply: Reply,
}

/// What the other pod is to do.
#[derive(Debug)]
pub(crate) enum What {
    /// Take a message that belongs to it.
    Deliver { message: Bytes, flow: Flow, shard: Option<u8> },
    /// Send a message by a flow of its own.
    Send { message: Bytes, flow: Flow },
}

/// The other pods, as shards see them: a table that is swapped whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mesh {
    pods: Arc<ArcSwap<HashMap<PodRef, mpsc::Sender<Job>>>>,
}

impl Mesh {
    /// Gives a frame to another pod's queue; at once why not.
    pub(crate) fn give(&self, pod: PodRef, job: Job) -> Result<(), SendFailed> {
        let pods = self.pods.load();
        let queue = pods.get(&pod).ok_or(SendFailed::NoSuchFlow)?;
        let (What::Deliver { message, .. } | What::Send { message, .. }) = &job.what;
        let may_be_shed = shed::is_request_to_shed(message);
        shed::offer(queue, job, may_be_shed).map_err(|_| SendFailed::Full)
    }
}

/// Keeps a client for each signaling pod that is there, until the role stops.
#[allow(clippy::too_many_arguments)]
pub(crate) async fn keep_pods(
    mesh: Mesh,
    own: PodRef,
    tls: PodTls,
    mut briefings: watch::Receiver<Option<Arc<Briefing>>>,
    doors: Vec<ShardDoor>,
    queue: usize,
    metrics: Metrics,
    stopping: CancellationToken,
) {
    let mut clients: HashMap<PodRef, (mpsc::Sender<Job>, CancellationToken)> = HashMap::new();
    loop {
        if let Some(briefing) = briefings.borrow_and_update().clone() {
            let mut there = HashMap::new();
            for member in &briefing.members {
                if member.role != Role::Signaling || member.pod == own {
                    continue;
                }
                let client = clients.remove(&member.pod).unwrap_or_else(|| {
                    let (jobs, taken) = mpsc::channel(queue);
                    let until = stopping.child_token();
                    let client = client::Client {
                        own,
                        to: member.grpc,
                        tls: tls.clone(),
                        jobs: taken,
                        doors: doors.clone(),
                        metrics: metrics.clone(),
                    };
                    tokio::spawn(client.run(until.clone()));
                    (jobs, until)
                });
                there.insert(member.pod, client);
            }
            for (_, (_, until)) in clients.drain() {
                until.cancel();
            }
            clients = there;
            let table = clients.iter().map(|(pod, (jobs, _))| (*pod, jobs.clone())).collect();
            mesh.pods.store(Arc::new(table));
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = briefings.changed() => if changed.is_err() { return },
        }
    }
}

/// For metrics.
pub(crate) fn result_label(failed: Option<SendFailed>) -> &'static str {
    match failed {
        None => "sent",
        Some(SendFailed::NoSuchFlow) => "no_such_flow",
        Some(SendFailed::ConnectionGone) => "connection_gone",
        Some(SendFailed::Full) => "full",
        Some(SendFailed::Socket) => "socket",
    }
}
