//! RTCP: which stream it belongs to, where it goes, and what it says (RFC 3550 §6, RFC 5761).

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Dropped, Streams, Verdict};
use crate::endpoint::Endpoint;
use crate::flow::Flow;
use crate::report::{Report, read_reports};
use crate::table::{EndpointId, PortId};

impl<S: BuildHasher + Clone> Streams<S> {
    /// RTCP from the signalled address is known before any RTP, unless somebody else has it.
    pub(super) fn expect_rtcp(
        &mut self,
        port: PortId,
        before: Option<SocketAddr>,
        rtcp: Option<SocketAddr>,
        id: EndpointId,
    ) {
        if let Some(before) = before
            && rtcp != Some(before)
            && self.rtcp.get(&(port, before)) == Some(&id)
        {
            self.note_rtcp((port, before));
            self.rtcp.remove(&(port, before));
        }
        if let Some(address) = rtcp {
            self.note_rtcp((port, address));
            self.rtcp.entry((port, address)).or_insert(id);
        }
    }

    /// RTCP on its own port: its sender's SSRC names the stream, and it must come from where the stream's RTP comes
    /// from; before that is known, from the address that signalling gave.
    pub(super) fn report(
        &mut self,
        now: Instant,
        port: PortId,
        from: SocketAddr,
        sender: u32,
        packet: &[u8],
    ) -> Verdict {
        let exact = self.rtcp.get(&(port, from)).copied();
        let named = self.ssrcs.get(&(port, sender)).copied();
        let is_senders = |id: EndpointId| {
            self.endpoint(id).is_some_and(|endpoint| endpoint.counters.reception.ssrc() == Some(sender))
        };
        let comes_from = |id: EndpointId| {
            let source = self.endpoint(id).and_then(Endpoint::source);
            source.is_some_and(|address| address.ip() == from.ip())
        };
        let id = match (exact, named) {
            (Some(exact), _) if is_senders(exact) => exact,
            (_, Some(named)) if comes_from(named) => named,
            (Some(exact), None) => exact,
            _ => return Verdict::Drop(Dropped::UnknownReport),
        };
        let Some(endpoint) = self.endpoint_mut(id) else { return Verdict::Drop(Dropped::UnknownReport) };
        if endpoint.signalled.mux {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::WrongKind);
        }
        if endpoint.rtcp_learned != Some(from) {
            let before = endpoint.rtcp_learned.replace(from);
            endpoint.rtcp_flow = Flow::default();
            if let Some(before) = before
                && self.rtcp.get(&(port, before)) == Some(&id)
            {
                self.rtcp.remove(&(port, before));
            }
            self.rtcp.entry((port, from)).or_insert(id);
        }
        if let Some(endpoint) = self.endpoint_mut(id) {
            endpoint.rtcp_flow.heard(now);
        }
        self.forward_report(now, id, packet)
    }

    pub(super) fn forward_report(&mut self, now: Instant, id: EndpointId, packet: &[u8]) -> Verdict {
        let Some((peer, secure)) =
            self.endpoint(id).map(|endpoint| (endpoint.peer, endpoint.signalled.secure))
        else {
            return Verdict::Drop(Dropped::UnknownReport);
        };
        let Some(peer) = peer else { return Verdict::Drop(Dropped::NoDestination) };
        if !secure {
            read_reports(packet, |report| self.read(now, id, peer, report));
        }
        self.speak(now, peer, true)
    }

    fn read(&mut self, now: Instant, id: EndpointId, peer: EndpointId, report: Report) {
        match report {
            Report::Sent { stamp } => {
                if let Some(endpoint) = self.endpoint_mut(id) {
                    endpoint.reports.passed(stamp, now);
                }
            }
            Report::Block { about, lost, jitter, last_sent, delay } => {
                let Some(other) =
                    self.endpoint(peer).filter(|other| other.counters.reception.ssrc() == Some(about))
                else {
                    return;
                };
                let rate = other.counters.reception.rate();
                // RFC 3550 §6.4.1: the time since the sender report passed here, less what it lay over there.
                let round_trip = other.reports.when(last_sent).filter(|_| last_sent != 0).and_then(|at| {
                    let since = now.saturating_duration_since(at).as_micros();
                    let lay = u128::from(delay) * 1_000_000 / 65_536;
                    u32::try_from(since.saturating_sub(lay)).ok()
                });
                let Some(endpoint) = self.endpoint_mut(id) else { return };
                endpoint.counters.reported_lost = u64::from(lost);
                if let Some(rate) = rate {
                    let micros = u64::from(jitter) * 1_000_000 / u64::from(rate);
                    endpoint.counters.reported_jitter_us = u32::try_from(micros).unwrap_or(u32::MAX);
                }
                endpoint.counters.round_trip_us = round_trip.or(endpoint.counters.round_trip_us);
            }
        }
    }
}
