//! Requests inside of dialogs: those that came in find their call, those of calls find their next hop.
//!
//! A request of a call to a registered phone asks first where its binding is now ([`Ask::Locate`]): the phone may have
//! moved to another pod since. A peer with force_rport is reached by its flow; the Contact stays the Request-URI. All
//! others are reached by the first Route or the Contact (RFC 3261 §12.2.1.1).

use fairlead_call::leg::Outlet;
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
            known.leg = leg;
        }
        // An old request that somebody sends again, from wherever, is refused and moves nothing.
        if self.calls.get(&reference).is_some_and(|entry| entry.call.is_in_order(leg, &request)) {
            self.set_flow(reference, leg, &flow);
            self.heard_again(reference, leg, &flow, now);
            self.follow(reference, leg, &flow);
        }
        let server = ServerRef { id: server, source: flow.remote, forced };
        self.with_call(reference, now, |call, now| call.request(leg, server, &request, now));
    }

    /// Notes from where a leg's messages come now, which is the address that the relay trusts (architecture: few ports), and by
    /// what name of ours they came, which the Contact of the answer says.
    fn follow(&mut self, reference: CallRef, leg: LegRef, flow: &Flow) {
        let Some(known) = self.calls.get(&reference).and_then(|entry| entry.call.outlet(leg)) else { return };
        let outlet = match self.outlet_of_flow(flow, known.nat) {
            Some((_, outlet)) => outlet,
            None => Outlet { remote: flow.remote.ip(), port: flow.remote.port(), ..known.clone() },
        };
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
        // One that nothing waits for says nothing of where its sender is.
        if !self.calls.get(&reference).is_some_and(|entry| entry.call.awaits_ack(leg, ack)) {
            return;
        }
        self.set_flow(reference, leg, flow);
        self.acknowledged(reference, leg);
        self.heard_again(reference, leg, flow, now);
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

    /// A message of this leg's other side came, or one to its address left, by this flow.
    pub(super) fn heard(&mut self, reference: CallRef, ticket: Ticket, flow: &Flow) {
        let Some(leg) = self.calls.get(&reference).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return;
        };
        self.set_flow(reference, leg, flow);
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
        // Its phone may have been heard since by a pod that is there or from a new port of its NAT, which the registrar hears of
        // with the next REGISTER only: what it says counts when it says something new, or where the other way leads nowhere.
        let heard = self.way_mut(call, leg).and_then(|way| way.flow);
        let heard = heard.is_some_and(|flow| !self.is_gone(&flow));
        if let Some(Hop::Flow(flow)) = hop {
            let is_there = self.router.is_there(flow.pod);
            if let Some(way) = self.way_mut(call, leg) {
                let is_new = way.located.replace(flow) != Some(flow);
                if !heard || (is_there && is_new) {
                    way.flow = Some(flow);
                }
            }
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
        let hop = self.calls.get_mut(&call).and_then(|entry| entry.call.next_hop(leg));
        let bound = hop.is_some_and(|hop| hop.binding.is_some());
        let Some(way) = self.way_mut(call, leg) else { return NextWay::Nowhere };
        let (last, to) = (way.flow, way.to.clone());
        let closed = |flow: &Flow| self.is_closed(flow);
        if let Some(flow) = last
            && !bound
            && (closed(&flow) || !self.router.is_there(flow.pod))
        {
            return self.way_without_flow(&flow, by_flow, uri);
        }
        // A peer that only its flow reaches hears of the loss; the others may be reached by their Contact.
        let last = if by_flow { last } else { last.filter(|flow| !closed(flow)) };
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
        let written = self.outlet_of_leg(reference, leg, &to, nat).and_then(|(network, outlet)| {
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
        let user = User::Client { to, of: Of::Call(reference, ticket), method, left: false };
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
        let Some((_, outlet)) = self.outlet_of_leg(reference, leg, &to, nat) else { return };
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
            Some(id) if self.was_never_sent(reference, id) => {
                if self.may_have_arrived(reference, id) {
                    self.goes_on_without_call(reference, id, now);
                } else {
                    self.transactions.forget(id);
                }
                self.with_call(reference, now, |call, now| call.not_sent(ticket, now));
                self.drain_transactions(now);
            }
            Some(id) => {
                self.transactions.cancel(id, reason.as_deref(), now.mono);
                self.drain_transactions(now);
            }
            // It waits for its next hop and need not be sent.
            None => self.with_call(reference, now, |call, now| call.not_sent(ticket, now)),
        }
    }

    /// A first INVITE could not be sent by its flow, whose pod may be gone: it is sent to where that leads, if that is of use.
    pub(super) fn send_past_flow(&mut self, reference: CallRef, ticket: Ticket, now: Now) -> bool {
        let Some(leg) = self.calls.get(&reference).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return false;
        };
        let Some(way) = self.way_mut(reference, leg) else { return false };
        if !matches!(way.to, SendTo::Flow(_)) {
            return false;
        }
        let Some(remote) = way.others.pop_front() else { return false };
        let to = SendTo::Address { network: way.network, remote };
        self.transmit(reference, ticket, leg, to, now);
        true
    }

    /// The INVITE of an attempt goes to the next address of its name (RFC 3263 §4.3), in a transaction of its own. The one
    /// before goes on without the call: a provisional response is cancelled, a 2xx acknowledged and ended.
    pub(super) fn next_address(&mut self, reference: CallRef, ticket: Ticket, attempt: AttemptRef, now: Now) {
        let Some(entry) = self.calls.get(&reference) else { return };
        let open = entry.open.iter().rev().find(|(known, _)| *known == ticket).map(|(_, id)| *id);
        if let Some(id) = open {
            self.goes_on_without_call(reference, id, now);
        }
        let leg = LegRef::B(attempt);
        let next = self.way_mut(reference, leg).and_then(|way| Some((way.network, way.others.pop_front()?)));
        let to = next.and_then(|(network, remote)| {
            let transport = self.identity.networks.get(network)?.transport;
            self.way_to(transport, &[remote])
        });
        match to {
            Some(to) => {
                if let Some(way) = self.way_mut(reference, leg) {
                    // What the host before was heard by.
                    way.flow = None;
                }
                self.transmit(reference, ticket, leg, to, now);
            }
            None => self.with_call(reference, now, |call, now| call.failed(ticket, Failure::Transport, now)),
        }
    }

    /// A first INVITE that is left: what rings for it is cancelled, and who answers it hung up on.
    fn goes_on_without_call(&mut self, reference: CallRef, invite: TransactionId, now: Now) {
        if let Some(User::Client { of, .. }) = self.transactions.user_mut(invite) {
            *of = Of::Former(reference);
            self.transactions.cancel(invite, None, now.mono);
        }
    }

    /// Somebody answered: requests of the dialog are for him, and for no other host of the name.
    pub(super) fn forget_other_addresses(&mut self, reference: CallRef, ticket: Ticket) {
        let leg = self.calls.get(&reference).and_then(|entry| entry.call.leg_of_ticket(ticket));
        if let Some(way) = leg.and_then(|leg| self.way_mut(reference, leg)) {
            way.others.clear();
        }
    }
}

/// Where a message goes.
pub(super) enum NextWay {
    Known(SendTo),
    Name { transport: Transport, host: String, port: Option<u16> },
    Nowhere,
}
