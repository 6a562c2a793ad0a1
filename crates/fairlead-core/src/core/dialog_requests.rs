//! Requests inside of dialogs: those that came in find their call, those of calls find their next hop.
//!
//! A request of a call to a registered phone asks first where its binding is now ([`Ask::Locate`]): the phone may have
//! moved to another pod since. A peer with force_rport is reached by its flow; the Contact stays the Request-URI. All
//! others are reached by the first Route or the Contact (RFC 3261 §12.2.1.1).

use fairlead_model::flow::Hop;

use super::checks::Refused;
use super::*;

impl Core {
    /// A request with a To tag.
    pub(super) fn request_in_dialog(&mut self, request: Message, flow: Flow, now: Now) {
        let Some((reference, leg)) = self.find_dialog(&request) else {
            let refused = Refused::new(481, "Call/Transaction Does Not Exist", "no_dialog");
            return self.refuse_stateless(&request, &flow, refused);
        };
        let forced = self
            .calls
            .get(&reference)
            .and_then(|entry| entry.call.outlet(leg))
            .map_or_else(|| respond::via_differs(&request, &flow), |outlet| outlet.nat.force_rport);
        let Some(server) = self.open_server(&request, flow, forced, now) else { return };
        if let Some(known) = self.servers.get_mut(&server) {
            known.call = Some(reference);
        }
        if let Some(way) = self.way_mut(reference, leg) {
            way.flow = Some(flow);
        }
        self.follow(reference, leg, &flow);
        let server = ServerRef { id: server, source: flow.remote, forced };
        self.with_call(reference, now, |call, now| call.request(leg, server, &request, now));
    }

    /// Notes from where a leg's messages come now: the relay trusts that address (architecture: few ports).
    fn follow(&mut self, reference: CallRef, leg: LegRef, flow: &Flow) {
        let known = self.calls.get(&reference).and_then(|entry| entry.call.outlet(leg));
        let Some(known) =
            known.filter(|known| (known.remote, known.port) != (flow.remote.ip(), flow.remote.port()))
        else {
            return;
        };
        let nat = known.nat;
        let (_, outlet) = self.outlet_of_flow(flow, nat);
        if let Some(entry) = self.calls.get_mut(&reference) {
            entry.call.set_outlet(leg, outlet);
        }
    }

    /// An ACK that no transaction waited for: of a 2xx, by its dialog.
    pub(super) fn ack(&mut self, ack: &Message, flow: &Flow, now: Now) {
        let Some((reference, leg)) = self.find_dialog(ack) else {
            // Also the ACK of a stateless refusal, which is swallowed.
            return;
        };
        if let Some(way) = self.way_mut(reference, leg) {
            way.flow = Some(*flow);
        }
        self.with_call(reference, now, |call, now| call.ack(leg, ack, now));
    }

    fn find_dialog(&self, request: &Message) -> Option<(CallRef, LegRef)> {
        let reference = match Minted::read(request.to_tag()?, self.router.keys()) {
            Some(minted) if minted.kind == Kind::Call => {
                CallRef { pod: minted.pod, shard: minted.shard, number: minted.number }
            }
            _ => *self.adopted.get(request.call_id())?,
        };
        let leg = self.calls.get(&reference)?.call.leg_of_request(request)?;
        Some((reference, leg))
    }

    /// A message of this leg's other side came, or one to it left, by this flow.
    pub(super) fn heard(&mut self, reference: CallRef, ticket: Ticket, flow: &Flow) {
        let Some(leg) = self.calls.get(&reference).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return;
        };
        if let Some(way) = self.way_mut(reference, leg) {
            way.flow = Some(*flow);
        }
    }

    /// A call wants a request sent.
    pub(super) fn send_request(&mut self, reference: CallRef, ticket: Ticket, leg: LegRef, now: Now) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        let Some(hop) = entry.call.next_hop(leg) else {
            return self.with_call(reference, now, |call, now| call.failed(ticket, Failure::Transport, now));
        };
        if hop.uri.is_empty() {
            // The first INVITE: its way was found when it was reached.
            let Some(to) = self.way_mut(reference, leg).map(|way| way.to.clone()) else { return };
            return self.transmit(reference, ticket, leg, to, now);
        }
        match hop.binding.filter(|_| hop.by_flow) {
            Some((peer, key)) => {
                let ask = Ask::Locate { peer, key };
                let fresh = self.fresh_key();
                self.ask(ask, fresh, Asked::Locate { call: reference, ticket, leg });
            }
            None => self.send_by(reference, ticket, leg, hop.by_flow, &hop.uri, now),
        }
    }

    /// The registrar said where the binding of a leg is now.
    pub(super) fn located(&mut self, call: CallRef, ticket: Ticket, leg: LegRef, hop: Option<Hop>, now: Now) {
        if let Some(Hop::Flow(flow)) = hop
            && let Some(way) = self.way_mut(call, leg)
        {
            way.flow = Some(flow);
        }
        self.send_by(call, ticket, leg, true, "", now);
    }

    fn send_by(&mut self, call: CallRef, ticket: Ticket, leg: LegRef, by_flow: bool, uri: &str, now: Now) {
        match self.next_way(call, leg, by_flow, uri) {
            NextWay::Known(to) => self.transmit(call, ticket, leg, to, now),
            NextWay::Name { transport, host, port } => {
                self.resolve(host, port, transport, Resolving::Request { call, ticket, leg, transport });
            }
            NextWay::Nowhere => {
                self.with_call(call, now, |call, now| call.failed(ticket, Failure::Transport, now));
            }
        }
    }

    /// Where messages of a leg that is a dialog go.
    fn next_way(&mut self, call: CallRef, leg: LegRef, by_flow: bool, uri: &str) -> NextWay {
        let Some(way) = self.way_mut(call, leg) else { return NextWay::Nowhere };
        let (last, to) = (way.flow, way.to.clone());
        let lost = |flow: &Flow| {
            flow.pod == self.identity.pod && flow.connection.is_some_and(|c| self.gone.contains(c))
        };
        // A peer that only its flow reaches hears of the loss; the others may be reached by their Contact.
        let last = if by_flow { last } else { last.filter(|flow| !lost(flow)) };
        // A connection is used again while it is there (§18.2.2 does so for responses; RFC 5923 for requests).
        if by_flow || last.is_some_and(|flow| flow.connection.is_some()) {
            return NextWay::Known(last.map_or(to, SendTo::Flow));
        }
        let Some((transport, host, port)) = ways::hop_of(uri) else { return NextWay::Known(to) };
        match ways::literal(&host) {
            Some(ip) => {
                let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
                match last.filter(|flow| flow.transport == transport && flow.remote == remote) {
                    // The same address: the flow says from where we are heard.
                    Some(flow) => NextWay::Known(SendTo::Flow(flow)),
                    None => self.way_to(transport, &[remote]).map_or(NextWay::Nowhere, NextWay::Known),
                }
            }
            None => NextWay::Name { transport, host, port },
        }
    }

    /// Writes a request and sends it in a transaction.
    pub(super) fn transmit(&mut self, reference: CallRef, ticket: Ticket, leg: LegRef, to: SendTo, now: Now) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        if !entry.call.still_wants(ticket) {
            return;
        }
        let (nat, t1) = entry
            .call
            .policy(leg)
            .map_or((Default::default(), self.general.t1_ms), |policy| (policy.nat, policy.t1_ms));
        let written = self.outlet_of(&to, nat).and_then(|(network, outlet)| {
            let via = self.via(&outlet)?;
            let entry = self.calls.get_mut(&reference)?;
            let transport = outlet.transport;
            entry.call.set_outlet(leg, outlet);
            let message = entry.call.write(ticket, &via)?;
            Some((network, transport, message))
        });
        let Some((network, transport, message)) = written else {
            return self.with_call(reference, now, |call, now| call.failed(ticket, Failure::Transport, now));
        };
        if let Some(way) = self.way_mut(reference, leg) {
            way.to = to.clone();
            way.network = network;
        }
        let timers = transaction::Timers {
            t1: Duration::from_millis(u64::from(t1.max(self.general.t1_min_ms).max(1))),
            timer_b: Some(Duration::from_millis(u64::from(self.general.timer_b_ms.max(1)))),
            ..transaction::Timers::default()
        };
        let method = message.method().label();
        let user = User::Client { to, of: Of::Call(reference, ticket), method };
        match self.transactions.open_client(message, user, transport.is_reliable(), timers, now.mono) {
            Ok(id) => {
                if let Some(entry) = self.calls.get_mut(&reference) {
                    entry.open.push((ticket, id));
                }
                self.drain_transactions(now);
            }
            Err(_) => {
                self.with_call(reference, now, |call, now| call.failed(ticket, Failure::Transport, now))
            }
        }
    }

    /// A call acknowledges a 2xx. The ACK goes where requests of the dialog go, without asking anybody.
    pub(super) fn send_ack(&mut self, reference: CallRef, ticket: Ticket, leg: LegRef, now: Now) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        let Some(hop) = entry.call.next_hop(leg) else { return };
        let nat = entry.call.policy(leg).map(|policy| policy.nat).unwrap_or_default();
        let (to, name) = match self.next_way(reference, leg, hop.by_flow, &hop.uri) {
            NextWay::Known(to) => (to, None),
            NextWay::Name { transport, host, port } => {
                // The Via names the network that its transport has; the address comes from the name.
                let Some(way) = self.way_mut(reference, leg) else { return };
                (way.to.clone(), Some((transport, host, port)))
            }
            NextWay::Nowhere => return,
        };
        let Some((_, outlet)) = self.outlet_of(&to, nat) else { return };
        let Some(via) = self.via(&outlet) else { return };
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        let Some(message) = entry.call.write_ack(ticket, leg, &via, now) else { return };
        match name {
            None => {
                self.send_once(to, "ACK", message);
            }
            Some((transport, host, port)) => {
                self.resolve(
                    host,
                    port,
                    transport,
                    Resolving::Ack { call: reference, leg, message, transport },
                );
            }
        }
    }

    pub(super) fn send_ack_again(&mut self, reference: CallRef, leg: LegRef, message: Bytes) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        let Some(hop) = entry.call.next_hop(leg) else { return };
        let to = match self.next_way(reference, leg, hop.by_flow, &hop.uri) {
            NextWay::Known(to) => to,
            // The name was looked up for the first one.
            NextWay::Name { .. } => match self.way_mut(reference, leg) {
                Some(way) => way.to.clone(),
                None => return,
            },
            NextWay::Nowhere => return,
        };
        self.event(Event::Retransmitted { method: "ACK" });
        let send = SendRef(self.next_number());
        self.outputs.push_back(Output::Send { send, to, message, report: false });
    }

    /// Sends a message that has no transaction.
    pub(super) fn send_once(&mut self, to: SendTo, method: &'static str, message: Bytes) {
        self.event(Event::Transmitted { method, status: 0 });
        let send = SendRef(self.next_number());
        self.outputs.push_back(Output::Send { send, to, message, report: false });
    }

    /// A call wants an INVITE of its own cancelled.
    pub(super) fn cancel_request(
        &mut self,
        reference: CallRef,
        ticket: Ticket,
        reason: Option<String>,
        now: Now,
    ) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        // The newest: one that answered a challenge follows one that is over.
        let open = entry.open.iter().rev().find(|(known, _)| *known == ticket).map(|(_, id)| *id);
        match open {
            Some(id) => {
                self.transactions.cancel(id, reason.as_deref(), now.mono);
                self.drain_transactions(now);
            }
            // It waits for its next hop and need not be sent.
            None => self.with_call(reference, now, |call, now| call.not_sent(ticket, now)),
        }
    }

    /// A request could not be sent to the first address of a name: the next one is tried (RFC 3263 §4.3).
    pub(super) fn try_next_address(&mut self, reference: CallRef, ticket: Ticket, now: Now) -> bool {
        let Some(leg) = self.calls.get(&reference).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return false;
        };
        let Some(way) = self.way_mut(reference, leg) else { return false };
        let Some(remote) = way.others.pop_front() else { return false };
        let to = SendTo::Address { network: way.network, remote };
        self.transmit(reference, ticket, leg, to, now);
        true
    }
}

/// Where a message goes.
enum NextWay {
    Known(SendTo),
    Name { transport: Transport, host: String, port: Option<u16> },
    Nowhere,
}
