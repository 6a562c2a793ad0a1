//! Legs that have no binding (a trunk, a guest, a configured peer) when their flow is lost, with its pod or its connection.
//!
//! Nobody would ever say where another flow is, so nothing is held for them (`hold.rs`). Nor has it to be: calls to such a peer
//! leave by its address all the time, and what belongs to a call does too.

use fairlead_call::leg::NextHop;
use fairlead_model::peer::EffectiveNat;

use super::dialog_requests::NextWay;
use super::*;

impl Core {
    /// Where requests of a leg go without the flow that is lost: over UDP, where its peer is reached by its flow (`by_flow`), to
    /// the address of that; else to the first Route or the Contact, `uri` (RFC 3261 §12.2.1.1).
    pub(super) fn way_without_flow(&self, lost: &Flow, by_flow: bool, uri: &str) -> NextWay {
        if by_flow && lost.transport == Transport::Udp {
            return self.address_of(lost).map_or(NextWay::Nowhere, NextWay::Known);
        }
        // Nobody listens where a connection came from.
        let Some((transport, host, port)) = ways::hop_of(uri) else { return NextWay::Nowhere };
        match ways::literal(&host) {
            Some(ip) => {
                let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
                self.way_to(transport, &[remote]).map_or(NextWay::Nowhere, NextWay::Known)
            }
            None => NextWay::Name { transport, host, port },
        }
    }

    /// The address from which the datagrams of a flow came, as a way of this pod.
    pub(super) fn address_of(&self, flow: &Flow) -> Option<SendTo> {
        match self.speaks_without_owner(flow, EffectiveNat::default()) {
            Some(network) => Some(SendTo::Address { network, remote: flow.remote }),
            None => self.way_to(flow.transport, &[flow.remote]),
        }
    }

    /// A request goes on without the flow that was lost: that of a leg without a binding, and over a connection to the Contact also
    /// one of a phone that is not reached by its flow alone. Whether it does.
    pub(super) fn send_without_flow(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        transaction: TransactionId,
        lost: &Flow,
        now: Now,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(leg) = entry.call.leg_of_ticket(ticket) else { return false };
        let may = |hop: &NextHop| {
            !hop.uri.is_empty() && (hop.binding.is_none() || (lost.connection.is_some() && !hop.by_flow))
        };
        let Some(hop) = entry.call.next_hop(leg).filter(may) else { return false };
        let to = match self.way_without_flow(lost, hop.by_flow, &hop.uri) {
            NextWay::Nowhere => return false,
            NextWay::Known(to) => Some(to),
            NextWay::Name { transport, host, port } => {
                self.transactions.forget(transaction);
                self.resolve(host, port, transport, Resolving::Request { call, ticket, leg, transport });
                None
            }
        };
        if let Some(way) = self.way_mut(call, leg)
            && way.flow.is_some_and(|flow| flow.pod == lost.pod && flow.is_same_source(lost))
        {
            way.flow = None;
        }
        if let Some(to) = to {
            self.send_request_by(call, ticket, leg, transaction, to, now);
        }
        true
    }

    /// Where an answer goes whose flow is lost and whose sender has no binding that another could be waited for by: to the
    /// source of a datagram; where a connection is gone, to `received` and the port of the Via (RFC 3261 §18.2.2).
    pub(super) fn way_of_answer(
        &mut self,
        server: u64,
        call: CallRef,
        leg: LegRef,
        lost: &Flow,
    ) -> Option<SendTo> {
        // A call that is over is forgotten before its refusal is acknowledged; nobody waits for a binding then.
        let hop = self.calls.get_mut(&call).and_then(|entry| entry.call.next_hop(leg));
        if hop.is_some_and(|hop| hop.binding.is_some()) {
            return None;
        }
        match lost.transport {
            Transport::Udp => self.address_of(lost),
            Transport::Tcp | Transport::Tls => {
                let via = self.servers.get(&server)?.request.top_via().ok()?;
                let port = via.port.unwrap_or(lost.transport.default_port());
                self.way_to(lost.transport, &[SocketAddr::new(lost.remote.ip(), port)])
            }
            // Nobody listens there (RFC 7118).
            Transport::Ws | Transport::Wss => None,
        }
    }
}
