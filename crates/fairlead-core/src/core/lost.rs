//! A message of a call could not leave, for its flow is gone: with its pod, or a connection that was closed. It takes another way
//! where there is one, and waits for one where there may be (`hold.rs`).

use fairlead_model::flow::Transport;

use super::hold::{Held, Patience};
use super::*;
use crate::input::SendFailed;

impl Core {
    /// A message of a transaction could not leave. Whether its transaction goes on.
    pub(super) fn hold_message(&mut self, transaction: TransactionId, failed: SendFailed, now: Now) -> bool {
        if self.transactions.is_proceeding(transaction) {
            // The result of a copy that its response has overtaken.
            return true;
        }
        match self.transactions.user(transaction).cloned() {
            Some(User::Client { to: SendTo::Flow(lost), of: Of::Call(call, ticket), .. })
                if self.transactions.is_cancel(transaction) =>
            {
                self.is_lost(&lost, failed) && self.hold_cancel(call, ticket, transaction, lost, now)
            }
            Some(User::Client { to: SendTo::Flow(lost), of: Of::Call(call, ticket), method, .. }) => {
                (self.is_lost(&lost, failed)
                    && self.hold_request(call, ticket, (transaction, method), lost, now))
                    || (matches!(failed, SendFailed::NoSuchFlow | SendFailed::ConnectionGone)
                        && self.send_without_flow(call, ticket, transaction, &lost, now))
            }
            // It may have arrived, and be answered.
            Some(User::Client { to: SendTo::Flow(lost), of: Of::Former(_), .. }) => {
                failed == SendFailed::NoSuchFlow && lost.pod != self.identity.pod && !self.is_gone(&lost)
            }
            Some(User::Server { id, to: SendTo::Flow(lost), .. }) => {
                if matches!(failed, SendFailed::NoSuchFlow | SendFailed::ConnectionGone) {
                    self.hold_answer(id, transaction, lost, now);
                }
                // Its timers go on: who asked may ask again, by another way.
                true
            }
            // Nobody took the connection that was offered to the Contact; its phone may have opened one since.
            Some(User::Client { to: SendTo::Address { .. }, of: Of::Call(call, ticket), method, .. }) => self
                .connection_of(call, ticket)
                .is_some_and(|lost| self.hold_request(call, ticket, (transaction, method), lost, now)),
            Some(User::Server { .. }) => true,
            _ => false,
        }
    }

    /// Whether a flow is gone, and its phone may open another one: it ended with another pod, or is a connection that was closed.
    fn is_lost(&self, flow: &Flow, failed: SendFailed) -> bool {
        match failed {
            SendFailed::NoSuchFlow => flow.pod != self.identity.pod,
            SendFailed::ConnectionGone => flow.connection.is_some(),
            SendFailed::Full | SendFailed::Socket => false,
        }
    }

    /// The connection, gone since, by which the other side of a request was last known.
    fn connection_of(&mut self, call: CallRef, ticket: Ticket) -> Option<Flow> {
        let leg = self.calls.get(&call)?.call.leg_of_ticket(ticket)?;
        let way = self.way_mut(call, leg)?;
        let (flow, located) = (way.flow, way.located);
        flow.or(located).filter(|flow| flow.connection.is_some() && self.is_gone(flow))
    }

    fn hold_request(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        (transaction, method): (TransactionId, &'static str),
        lost: Flow,
        now: Now,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(leg) = entry.call.leg_of_ticket(ticket) else { return false };
        let Some(hop) = entry.call.next_hop(leg) else { return false };
        let held = Held::Request(ticket, transaction);
        if hop.uri.is_empty() {
            // The first INVITE, to whoever is the last that can be tried.
            let others = self.way_mut(call, leg).is_some_and(|way| !way.others.is_empty());
            return !others && self.hold(call, leg, held, lost, Patience::Short, now);
        }
        if let Some(to) = self.address_without_owner(call, leg, &lost) {
            self.send_request_by(call, ticket, leg, transaction, to, now);
            return true;
        }
        let patience = if method == "BYE" { Patience::Long } else { Patience::Short };
        self.hold(call, leg, held, lost, patience, now)
    }

    /// A CANCEL goes where its INVITE went (RFC 3261 §9.1), but by a flow that leads there.
    fn hold_cancel(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        transaction: TransactionId,
        lost: Flow,
        now: Now,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(leg) = entry.call.leg_of_ticket(ticket).filter(|_| entry.call.still_wants(ticket)) else {
            return false;
        };
        let bound = entry.call.next_hop(leg).is_some_and(|hop| hop.binding.is_some());
        let heard = self.way_mut(call, leg).and_then(|way| way.flow).filter(|flow| {
            flow.transport == lost.transport
                && self.router.is_there(flow.pod)
                && if lost.connection.is_some() {
                    flow != &lost && !self.is_closed(flow)
                } else {
                    flow.pod != lost.pod
                }
        });
        let to = match (heard, self.address_without_owner(call, leg, &lost)) {
            (Some(flow), _) => Some(SendTo::Flow(flow)),
            (None, Some(to)) => Some(to),
            (None, None) if !bound && lost.transport == Transport::Udp => self.address_of(&lost),
            (None, None) => None,
        };
        if let Some(to) = to {
            self.send_cancel_by(call, ticket, transaction, &to);
            return true;
        }
        self.hold(call, leg, Held::Cancel(ticket, transaction), lost, Patience::Long, now)
    }

    /// A CANCEL takes another way, and the ACK to the 487 with it.
    pub(super) fn send_cancel_by(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        cancel: TransactionId,
        way: &SendTo,
    ) {
        let open = self.calls.get(&call).map(|entry| entry.open.as_slice()).unwrap_or_default();
        let invite = open.iter().rev().find(|(known, _)| *known == ticket).map(|(_, id)| *id);
        for transaction in [Some(cancel), invite].into_iter().flatten() {
            if let Some(User::Client { to, .. }) = self.transactions.user_mut(transaction) {
                *to = way.clone();
            }
        }
        self.transactions.send_again(cancel);
    }

    fn hold_answer(&mut self, server: u64, transaction: TransactionId, lost: Flow, now: Now) {
        let Some((call, leg)) = self.servers.get(&server).and_then(|known| Some((known.call?, known.leg)))
        else {
            return;
        };
        if let Some(to) = self.address_without_owner(call, leg, &lost) {
            return self.send_answer_by(transaction, to);
        }
        if !self.hold(call, leg, Held::Answer(transaction), lost, Patience::Long, now)
            && let Some(to) = self.way_of_answer(server, call, leg, &lost)
        {
            self.send_answer_by(transaction, to);
        }
    }

    /// The address of a lost flow, where the phone of this leg hears this pod at it too.
    fn address_without_owner(&self, call: CallRef, leg: LegRef, lost: &Flow) -> Option<SendTo> {
        let policy = self.calls.get(&call).and_then(|entry| entry.call.policy(leg));
        let nat = policy.map(|policy| policy.nat).unwrap_or_default();
        let network = self.speaks_without_owner(lost, nat)?;
        Some(SendTo::Address { network, remote: lost.remote })
    }

    pub(super) fn send_answer_by(&mut self, transaction: TransactionId, way: SendTo) {
        if let Some(User::Server { to, .. }) = self.transactions.user_mut(transaction) {
            *to = way;
        }
        self.transactions.send_again(transaction);
    }

    /// The same request goes by another way, or is written anew where that changes what it says of us.
    pub(super) fn send_request_by(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        leg: LegRef,
        transaction: TransactionId,
        way: SendTo,
        now: Now,
    ) {
        let Some(entry) = self.calls.get(&call) else { return };
        let nat = entry.call.policy(leg).map(|policy| policy.nat).unwrap_or_default();
        let said = entry.call.outlet(leg).map(|outlet| (outlet.transport, outlet.host_port.clone()));
        let says = self.outlet_of(&way, nat).map(|(_, outlet)| (outlet.transport, outlet.host_port));
        if said != says {
            self.transactions.forget(transaction);
            return self.transmit(call, ticket, leg, way, now);
        }
        if let Some(known) = self.way_mut(call, leg) {
            known.to = way.clone();
        }
        if let Some(User::Client { to, .. }) = self.transactions.user_mut(transaction) {
            *to = way;
        }
        self.transactions.send_again(transaction);
    }

    /// Whether an answer may find its flow gone: one that is another pod's, or a connection.
    pub(super) fn may_lose_its_way(&self, server: u64, to: &SendTo) -> bool {
        matches!(to, SendTo::Flow(flow) if self.may_be_gone(flow))
            && self.servers.get(&server).is_some_and(|known| known.call.is_some())
    }

    fn may_be_gone(&self, flow: &Flow) -> bool {
        flow.pod != self.identity.pod || flow.connection.is_some()
    }

    /// The caller's INVITE is refused. Nothing else may be left of the call, but where the refusal is held it has to be found.
    pub(super) fn remember_refusal(&mut self, call: CallRef, server: u64) {
        let refusal = self
            .servers
            .get(&server)
            .filter(|known| known.request.method() == &Method::Invite && self.may_be_gone(&known.flow));
        if refusal.is_some()
            && let Some(entry) = self.calls.get_mut(&call)
        {
            entry.refusal = Some(server);
        }
    }

    /// Whether the refusal of a call is still on its way.
    pub(super) fn is_refusing(&self, call: CallRef) -> bool {
        let refusal = self.calls.get(&call).and_then(|entry| entry.refusal);
        refusal.is_some_and(|server| self.servers.contains_key(&server))
    }

    /// The transaction of a request has ended: the call that was remembered for its refusal is forgotten.
    pub(super) fn refused(&mut self, call: Option<CallRef>, server: u64) {
        let over = |entry: &Entry| entry.refusal == Some(server) && entry.call.is_over();
        if let Some(call) = call.filter(|call| self.calls.get(call).is_some_and(over)) {
            self.forget_call(call);
        }
    }
}
