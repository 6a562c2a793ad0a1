//! What the machine wants sent: by a socket or a connection of this shard, by another shard, or by another pod.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_core::input::{Input, SendFailed};
use fairlead_core::output::{SendRef, SendTo};
use fairlead_model::flow::{Flow, Transport};
use fairlead_model::id::PodRef;
use sip_net::connection::{NotTaken, shard_of};
use sip_net::udp::NotSent;
use sip_wire::Message;

use super::Shard;
use crate::machine::Machine;
use crate::mesh::{Job, What};
use crate::news::{Handed, News, Reply};
use crate::shed;

/// Messages that wait for one connection to open.
const MOST_WAITING: usize = 64;

/// Connections being opened at once.
const MOST_DIALS: usize = 1024;

/// Connections being opened, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    next: u64,
    dials: HashMap<u64, Dial>,
    to: HashMap<(Transport, SocketAddr), u64>,
}

#[derive(Debug)]
struct Dial {
    to: (Transport, SocketAddr),
    waiting: Vec<(Bytes, Option<SendRef>)>,
    began: Instant,
}

impl<M: Machine> Shard<M> {
    pub(super) fn send(&mut self, send: SendRef, to: SendTo, message: Bytes, report: bool) {
        match to {
            SendTo::Flow(flow) => self.send_by_flow(send, flow, message, report),
            SendTo::Address { network, remote } => {
                let report = report.then_some(send);
                self.send_to_address(report, network, remote, message);
            }
        }
    }

    fn send_by_flow(&mut self, send: SendRef, flow: Flow, message: Bytes, report: bool) {
        let shard = self.identity.shard;
        let reply = || if report { Reply::Shard { shard, send } } else { Reply::Nobody };
        if flow.pod != self.identity.pod {
            let job = Job { what: What::Send { message, flow }, reply: reply() };
            if let Err(failed) = self.links.mesh.give(flow.pod, job) {
                self.metrics.crossing("out", "send", crate::mesh::result_label(Some(failed)));
                self.sent(report.then_some(send), Some(failed), Some(flow));
            }
            return;
        }
        if let Some(owner) = flow.connection.map(shard_of).filter(|owner| *owner != shard) {
            let handed = Handed::Send { message, flow, reply: reply() };
            let Some(door) = self.links.shards.get(usize::from(owner)) else {
                return self.sent(report.then_some(send), Some(SendFailed::NoSuchFlow), Some(flow));
            };
            if door.hand(handed).is_err() {
                self.metrics.shed("handed");
                self.sent(report.then_some(send), Some(SendFailed::Full), Some(flow));
            }
            return;
        }
        let failed = self.send_by_own(message, &flow);
        self.sent(report.then_some(send), failed, Some(flow));
    }

    /// By a socket or a connection of this shard.
    pub(super) fn send_by_own(&mut self, message: Bytes, flow: &Flow) -> Option<SendFailed> {
        if flow.pod != self.identity.pod {
            // It was ours to send, not to pass on: no message crosses the mesh twice.
            return Some(SendFailed::NoSuchFlow);
        }
        match flow.connection {
            Some(name) => {
                let Some(connection) = self.connections.get(&name) else {
                    return Some(SendFailed::ConnectionGone);
                };
                let may_be_shed = shed::is_request_to_shed(&message);
                match connection.writer.send(message, may_be_shed) {
                    Ok(()) => None,
                    Err(NotTaken::Full) => {
                        self.metrics.shed("connection");
                        Some(SendFailed::Full)
                    }
                    Err(NotTaken::Gone) => Some(SendFailed::ConnectionGone),
                }
            }
            None if flow.transport == Transport::Udp => {
                let Some(socket) = self.socket_of(flow.local) else { return Some(SendFailed::NoSuchFlow) };
                let sent = socket.send(&message, Some(flow.local.ip()), flow.remote);
                self.told(sent)
            }
            None => Some(SendFailed::NoSuchFlow),
        }
    }

    fn told(&self, sent: Result<(), NotSent>) -> Option<SendFailed> {
        match sent {
            Ok(()) => None,
            Err(NotSent::Full) => {
                self.metrics.shed("udp");
                Some(SendFailed::Full)
            }
            Err(error @ (NotSent::Family | NotSent::Socket(_))) => {
                tracing::debug!(%error, "a datagram could not be sent");
                Some(SendFailed::Socket)
            }
        }
    }

    /// The socket that a datagram with this local address came by: bound to it, or to the wildcard with its port.
    fn socket_of(&self, local: SocketAddr) -> Option<&sip_net::udp::UdpSocket> {
        let sockets = || self.udp.iter().map(|listening| &listening.socket);
        sockets().find(|socket| socket.local() == local).or_else(|| {
            sockets().find(|socket| {
                let bound = socket.local();
                bound.port() == local.port() && bound.ip().is_unspecified() && socket.reaches(local)
            })
        })
    }

    fn send_to_address(
        &mut self,
        report: Option<SendRef>,
        network: usize,
        remote: SocketAddr,
        message: Bytes,
    ) {
        let Some(network) = self.identity.networks.get(network) else {
            return self.sent(report, Some(SendFailed::Socket), None);
        };
        let (transport, bind) = (network.transport, network.bind);
        if transport == Transport::Udp {
            let Some(local) = self.local_towards(bind, remote) else {
                return self.sent(report, Some(SendFailed::Socket), None);
            };
            let Some(socket) = self.socket_of(local) else {
                return self.sent(report, Some(SendFailed::Socket), None);
            };
            let sent = socket.send(&message, Some(local.ip()), remote);
            let failed = self.told(sent);
            let flow = Flow { pod: self.identity.pod, transport, local, remote, connection: None };
            return self.sent(report, failed, Some(flow));
        }
        // RFC 3261 §18.1.1: a connection to that address that is open is used again.
        if let Some(connection) =
            self.by_remote.get(&(transport, remote)).and_then(|name| self.connections.get(name))
        {
            let flow = connection.flow;
            let failed = self.send_by_own(message, &flow);
            return self.sent(report, failed, Some(flow));
        }
        self.dial(report, (transport, remote), bind.ip(), message);
    }

    fn local_towards(&mut self, bind: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        if !bind.ip().is_unspecified() {
            return Some(bind);
        }
        let ip = self.local.towards(remote, Instant::now()).ok()?;
        Some(SocketAddr::new(ip, bind.port()))
    }

    fn dial(&mut self, report: Option<SendRef>, to: (Transport, SocketAddr), from: IpAddr, message: Bytes) {
        if let Some(dial) = self.dialling.to.get(&to).and_then(|number| self.dialling.dials.get_mut(number)) {
            if dial.waiting.len() < MOST_WAITING {
                dial.waiting.push((message, report));
            } else {
                self.metrics.shed("dial");
                self.sent(report, Some(SendFailed::Full), None);
            }
            return;
        }
        if self.dialling.dials.len() >= MOST_DIALS {
            self.metrics.shed("dial");
            return self.sent(report, Some(SendFailed::Full), None);
        }
        self.dialling.next += 1;
        let number = self.dialling.next;
        self.dialling.to.insert(to, number);
        let dial = Dial { to, waiting: vec![(message, report)], began: Instant::now() };
        self.dialling.dials.insert(number, dial);
        self.dialer.dial(number, from, to.1);
    }

    /// A connection that was asked for is there, or not.
    pub(super) fn dialled(&mut self, number: u64, opened: Result<Flow, SendFailed>) {
        let Some(dial) = self.dialling.dials.remove(&number) else { return };
        self.dialling.to.remove(&dial.to);
        for (message, report) in dial.waiting {
            match opened {
                Ok(flow) => {
                    let failed = self.send_by_own(message, &flow);
                    self.sent(report, failed, Some(flow));
                }
                Err(failed) => self.sent(report, Some(failed), None),
            }
        }
        self.settle(super::now());
    }

    /// Every dial ends by itself; this is for one whose task did not live to say so.
    pub(super) fn forget_old_dials(&mut self) {
        if self.dialling.dials.is_empty() {
            return;
        }
        let limit = self.dialer.door.limits().connect + Duration::from_secs(5);
        let old: Vec<u64> = self
            .dialling
            .dials
            .iter()
            .filter(|(_, dial)| dial.began.elapsed() > limit)
            .map(|(number, _)| *number)
            .collect();
        for number in old {
            self.dialled(number, Err(SendFailed::ConnectionGone));
        }
    }

    /// Tells the machine at its next turn.
    fn sent(&mut self, send: Option<SendRef>, failed: Option<SendFailed>, flow: Option<Flow>) {
        if let Some(send) = send {
            self.pending.push_back(Input::Sent { send, failed, flow });
        }
    }

    /// Tells whoever handed a message over.
    pub(super) fn reply(&mut self, reply: Reply, failed: Option<SendFailed>, flow: Option<Flow>) {
        match reply {
            Reply::Nobody => {}
            Reply::Shard { shard, send } => {
                let Some(door) = self.links.shards.get(usize::from(shard)) else { return };
                // A shard whose news do not fit is behind by thousands; the transaction's own timer ends what waits here.
                if door.news.try_send(News::Sent { send, failed, flow }).is_err() {
                    self.metrics.shed("news");
                }
            }
            Reply::Mesh { results, frame } => {
                // The other pod gives a frame up by itself when its result does not come.
                if results.try_send((frame, failed)).is_err() {
                    self.metrics.shed("mesh_results");
                }
            }
        }
    }

    /// A message that belongs to another shard or pod.
    pub(super) fn forward(
        &mut self,
        (pod, shard): (PodRef, Option<u8>),
        message: Bytes,
        flow: Flow,
        report: Option<SendRef>,
    ) {
        if pod != self.identity.pod {
            return self.deliver((pod, shard), message, flow, report);
        }
        let failed = self.hand_to_shard(shard, message, flow).err();
        self.sent(report, failed, None);
    }

    fn deliver(
        &mut self,
        (pod, shard): (PodRef, Option<u8>),
        message: Bytes,
        flow: Flow,
        report: Option<SendRef>,
    ) {
        if flow.pod != self.identity.pod {
            // It came by mesh: it is dropped rather than sent round in a ring.
            self.metrics.crossing("out", "deliver", "twice");
            return self.sent(report, Some(SendFailed::NoSuchFlow), None);
        }
        let reply = report.map_or(Reply::Nobody, |send| Reply::Shard { shard: self.identity.shard, send });
        let job = Job { what: What::Deliver { message, flow, shard }, reply };
        if let Err(failed) = self.links.mesh.give(pod, job) {
            self.metrics.crossing("out", "deliver", crate::mesh::result_label(Some(failed)));
            self.sent(report, Some(failed), None);
        }
    }

    fn hand_to_shard(&mut self, shard: Option<u8>, message: Bytes, flow: Flow) -> Result<(), SendFailed> {
        let Ok(message) = Message::parse_with(message, &self.dialer.door.limits().message) else {
            self.metrics.dropped("unreadable_forward");
            return Err(SendFailed::Socket);
        };
        let door = shard.filter(|shard| *shard != self.identity.shard);
        let Some(door) = door.and_then(|shard| self.links.shards.get(usize::from(shard))) else {
            self.metrics.dropped("forward_to_nobody");
            return Err(SendFailed::NoSuchFlow);
        };
        door.hand(Handed::Message { message, flow }).map_err(|_| {
            self.metrics.shed("handed");
            SendFailed::Full
        })
    }

    pub(super) fn close(&mut self, flow: &Flow) {
        if flow.pod == self.identity.pod && flow.connection.map(shard_of) == Some(self.identity.shard) {
            // Dropping the writer ends the connection once what is queued is written.
            self.forget_connection(flow);
        }
    }

    pub(super) fn forget_connection(&mut self, flow: &Flow) {
        let Some(name) = flow.connection else { return };
        self.connections.remove(&name);
        let key = (flow.transport, flow.remote);
        if self.by_remote.get(&key) == Some(&name) {
            self.by_remote.remove(&key);
        }
    }
}
