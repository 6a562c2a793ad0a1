//! RTP: which stream it belongs to, who is believed to have sent it, and where it goes.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Dropped, Streams, Verdict};
use crate::endpoint::{Learn, Source, Was};
use crate::flow::Flow;
use crate::header::{Header, Kind};
use crate::table::{EndpointId, Former, Holder, PortId};

impl<S: BuildHasher + Clone> Streams<S> {
    /// A datagram came to the RTP half of a port, or with `rtcp` to its RTCP half.
    pub fn packet(
        &mut self,
        now: Instant,
        port: PortId,
        rtcp: bool,
        from: SocketAddr,
        packet: &[u8],
    ) -> Verdict {
        let kind = Kind::of(packet);
        if rtcp {
            return match kind {
                Kind::Rtcp { sender } => self.report(now, port, from, sender, packet),
                Kind::Rtp(_) | Kind::Other => Verdict::Drop(Dropped::WrongKind),
            };
        }
        match self.table.holder(port, from) {
            Some(Holder::Live { who, before }) => self.expected(now, (who, before), from, kind, packet),
            // Its own, to which it may come back.
            Some(Holder::Former(former))
                if self.expects(now, port, from, &kind).is_some_and(|id| self.was_its(&former, id)) =>
            {
                self.stranger(now, port, from, kind, packet)
            }
            Some(Holder::Former(former)) => {
                if let Kind::Rtp(header) = kind {
                    self.table.sends_on(now, port, from, header.ssrc);
                }
                match self.table.says(port, from) {
                    // What it sent there itself bars nothing.
                    Some(id) => {
                        let before = Some(former).filter(|former| !self.was_its(former, id));
                        self.expected(now, (id, before), from, kind, packet)
                    }
                    None => Verdict::Drop(Dropped::Former),
                }
            }
            None => self.stranger(now, port, from, kind, packet),
        }
    }

    /// From a source that a stream knows.
    fn expected(
        &mut self,
        now: Instant,
        (id, before): (EndpointId, Option<Former>),
        from: SocketAddr,
        kind: Kind,
        packet: &[u8],
    ) -> Verdict {
        let Some(endpoint) = self.endpoint_mut(id) else { return Verdict::Drop(Dropped::Elsewhere) };
        if endpoint.kept() == Some(from) {
            endpoint.rtp_flow.heard(now);
        }
        match kind {
            Kind::Rtp(header) => {
                if before.is_some_and(|former| former.ssrc == Some(header.ssrc) && former.holds(now)) {
                    endpoint.counters.dropped += 1;
                    return Verdict::Drop(Dropped::Former);
                }
                if endpoint.source == Source::Waiting && !endpoint.is_late(now, from) {
                    self.lock(now, id, from);
                }
                self.forward(now, id, &header, packet.len())
            }
            Kind::Rtcp { .. } if endpoint.signalled.mux => self.forward_report(now, id, packet),
            Kind::Rtcp { .. } | Kind::Other => {
                endpoint.counters.dropped += 1;
                Verdict::Drop(Dropped::WrongKind)
            }
        }
    }

    /// From a source that no stream knows: perhaps one waits for it.
    fn stranger(
        &mut self,
        now: Instant,
        port: PortId,
        from: SocketAddr,
        kind: Kind,
        packet: &[u8],
    ) -> Verdict {
        let expected = self.expects(now, port, from, &kind);
        let says = self.table.says(port, from);
        if let Some(id) = says.filter(|&says| expected.is_none_or(|id| id == says)) {
            return self.expected(now, (id, None), from, kind, packet);
        }
        // Also while nobody waits, so that it is known when somebody does.
        let strays = self.strays(port, from, expected, &kind);
        let Some(id) = expected.filter(|_| !strays) else {
            if let Some(endpoint) = self.table.sole(port).and_then(|id| self.endpoint_mut(id)) {
                endpoint.counters.dropped += 1;
            }
            return Verdict::Drop(Dropped::Elsewhere);
        };
        let Some(endpoint) = self.endpoint_mut(id) else { return Verdict::Drop(Dropped::Elsewhere) };
        let Kind::Rtp(header) = kind else {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::WrongKind);
        };
        if !endpoint.signalled.payloads.accepts(header.payload) {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::WrongKind);
        }
        if !endpoint.probation.packet(from, &header) {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::Probation);
        }
        endpoint.rtp_flow = Flow::default();
        endpoint.rtp_flow.heard(now);
        if let Source::Locked(old) = endpoint.source {
            endpoint.was = Some(Was { address: old, moved: None });
        }
        self.lock(now, id, from);
        self.forward(now, id, &header, packet.len())
    }

    /// Where a stream has ended that was its own, or that of the same phone.
    fn was_its(&self, former: &Former, id: EndpointId) -> bool {
        former.is_of((id, self.endpoint(id).and_then(|endpoint| endpoint.party)))
    }

    /// Who may be learned by a packet from there.
    fn expects(&self, now: Instant, port: PortId, from: SocketAddr, kind: &Kind) -> Option<EndpointId> {
        let moving = match kind {
            Kind::Rtp(header) => self.moving(now, port, header),
            Kind::Rtcp { .. } | Kind::Other => None,
        };
        moving.or_else(|| self.table.waiter(port, from.ip()))
    }

    /// It is a packet of another stream of this port, not of the one that waits.
    fn strays(&mut self, port: PortId, from: SocketAddr, waiter: Option<EndpointId>, kind: &Kind) -> bool {
        let Kind::Rtp(header) = kind else { return false };
        let known = self.ssrcs.get(&(port, header.ssrc)).copied().filter(|&id| Some(id) != waiter);
        known.and_then(|id| self.endpoint_mut(id)).is_some_and(|endpoint| endpoint.strays(from.ip(), header))
    }

    /// A side that may come from anywhere is followed when its stream goes on from another source (RFC 3550 §8: its SSRC
    /// says that it is the same one) while the former source is silent: where the masquerade of a cluster gives such a
    /// flow another port in the middle of a call. Nobody else is ever followed without signalling.
    fn moving(&self, now: Instant, port: PortId, header: &Header) -> Option<EndpointId> {
        let id = *self.ssrcs.get(&(port, header.ssrc))?;
        let endpoint = self.endpoint(id)?;
        let silent = endpoint
            .counters
            .last_rtp
            .is_some_and(|last| now.saturating_duration_since(last) >= self.settings.moved);
        let follows = endpoint.signalled.learn == Learn::Anywhere
            && matches!(endpoint.source, Source::Locked(_))
            && endpoint.counters.reception.ssrc() == Some(header.ssrc)
            && silent;
        follows.then_some(id)
    }

    /// From now on this source and no other, until signalling moves it.
    fn lock(&mut self, now: Instant, id: EndpointId, from: SocketAddr) {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return;
        };
        let port = endpoint.port;
        self.table.stop_waiting(port, endpoint.signalled.learn, id);
        let was = endpoint.was.take().filter(|was| was.address != from);
        // It has moved indeed, and what it was sent by RTCP goes with it.
        let moved = was.is_some_and(|was| was.moved.is_some());
        let rtcp_learned = endpoint.rtcp_learned.take_if(|_| moved);
        let rtcp = endpoint.signalled.rtcp;
        if rtcp_learned.is_some() {
            endpoint.rtcp_flow = Flow::default();
        }
        if let Some(Was { address, .. }) = was {
            let who = (id, endpoint.party);
            self.table.retire(now, port, address, who, endpoint.counters.reception.ssrc());
        }
        if let Some(said) = endpoint.address {
            self.table.unsay(port, said, id);
            if said != from {
                self.table.release(now, port, said, id);
            }
        }
        self.table.claim(now, port, from, (id, endpoint.party));
        if let Some(near) = endpoint.near.take() {
            self.table.not_near(port, near);
        }
        endpoint.source = Source::Locked(from);
        if rtcp_learned.is_some() {
            self.expect_rtcp(port, rtcp_learned, rtcp, id);
        }
    }

    fn forward(&mut self, now: Instant, id: EndpointId, header: &Header, bytes: usize) -> Verdict {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return Verdict::Drop(Dropped::Elsewhere);
        };
        let known = endpoint.counters.reception.ssrc();
        if known != Some(header.ssrc) {
            // RTCP finds its stream by this. A second stream of the port with the same SSRC is found by address only.
            let port = endpoint.port;
            if let Some(old) = known
                && self.ssrcs.get(&(port, old)) == Some(&id)
            {
                self.ssrcs.remove(&(port, old));
            }
            self.ssrcs.entry((port, header.ssrc)).or_insert(id);
        }
        let rate = endpoint.signalled.payloads.rate(header.payload);
        endpoint.counters.reception.received(now, header, bytes, rate);
        endpoint.counters.last_rtp = Some(now);
        let verdict = match endpoint.peer {
            Some(peer) => self.speak(now, peer, false),
            None => Verdict::Drop(Dropped::NoDestination),
        };
        if matches!(verdict, Verdict::Forward { .. })
            && let Some(endpoint) = self.endpoint_mut(id)
        {
            endpoint.counters.sent += 1;
        }
        verdict
    }

    /// Where something for this endpoint goes, if it may go now.
    pub(super) fn speak(&mut self, now: Instant, to: EndpointId, report: bool) -> Verdict {
        let settings = self.settings;
        let Some(endpoint) = self.endpoint_mut(to) else { return Verdict::Drop(Dropped::NoDestination) };
        let rtcp = report && !endpoint.signalled.mux;
        let address = if rtcp { endpoint.rtcp_destination() } else { endpoint.destination() };
        let Some(to) = address else { return Verdict::Drop(Dropped::NoDestination) };
        let own = endpoint.signalled.own;
        let flow = if rtcp { &mut endpoint.rtcp_flow } else { &mut endpoint.rtp_flow };
        if own || flow.speak(now, &settings) {
            Verdict::Forward { port: endpoint.port, rtcp, to }
        } else {
            Verdict::Drop(Dropped::Unheard)
        }
    }
}
