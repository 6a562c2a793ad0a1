//! What was heard of a phone ends the waiting for it (`hold.rs`): a response, a request of its call or one that comes again by another
//! way, an ACK, or only that a message left.

use fairlead_model::flow::Transport;

use super::hold::Held;
use super::*;

impl Core {
    /// A message of this transaction has left: it does not wait any more.
    pub(super) fn left(&mut self, transaction: TransactionId, now: Now) {
        let call = match self.transactions.user_mut(transaction) {
            Some(User::Client { of: Of::Call(call, _), left, .. }) => {
                *left = true;
                Some(*call)
            }
            Some(User::Server { id, .. }) => self.servers.get(id).and_then(|known| known.call),
            _ => None,
        };
        let Some(call) = call else { return };
        let held = self.held_of(call, transaction).and_then(|number| self.let_out(number));
        if let Some(Held::Request(ticket, _)) = held.map(|holding| holding.held) {
            self.with_call(call, now, |call, now| call.leaves_late(ticket, now));
        }
    }

    /// A response came to a request of a call: it has arrived, whatever its results said. What is still to be sent for it, an
    /// ACK or a CANCEL, goes to where that went (RFC 3261 §9.1, §17.1.1.3), but by the flow that the phone is heard by now.
    pub(super) fn was_answered(
        &mut self,
        transaction: TransactionId,
        call: CallRef,
        ticket: Ticket,
        flow: &Flow,
        now: Now,
    ) {
        self.left(transaction, now);
        let router = &self.router;
        if let Some(User::Client { to: SendTo::Flow(known), .. }) = self.transactions.user_mut(transaction)
            && known.transport == flow.transport
            && match known.connection {
                // Who answers over another connection has lost the one before (§18.2.2).
                Some(connection) => flow.connection != Some(connection),
                None => known.pod != flow.pod,
            }
            && (known.connection.is_some() || known.is_same_source(flow) || !router.is_there(known.pod))
        {
            *known = *flow;
        }
        if !self.transactions.is_proceeding(transaction) {
            return;
        }
        let Some(leg) = self.calls.get(&call).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return;
        };
        for number in self.held_on(call, leg) {
            let held = self.holding.get(&number).map(|holding| holding.held);
            if matches!(held, Some(Held::Cancel(of, _)) if of == ticket) {
                self.found(number, flow, now);
            }
        }
    }

    /// Whether a request waits here and has never left, as far as is known.
    pub(super) fn was_never_sent(&self, call: CallRef, transaction: TransactionId) -> bool {
        self.held_of(call, transaction).is_some()
            && matches!(self.transactions.user(transaction), Some(User::Client { left: false, .. }))
    }

    /// Whether a first INVITE that waits here may have left all the same: its way is as good as ever, and only no word came back.
    pub(super) fn may_have_arrived(&mut self, call: CallRef, transaction: TransactionId) -> bool {
        let holding = self.held_of(call, transaction).and_then(|number| self.holding.get(&number)).copied();
        holding.is_some_and(|holding| !self.is_gone(&holding.lost) && self.is_first_invite(&holding))
    }

    /// A request came again, or its CANCEL did: answers leave by the way that it took now. Its source stays what it was;
    /// only an authenticated REGISTER changes that.
    pub(super) fn came_again(&mut self, transaction: TransactionId, flow: &Flow) {
        let Some(User::Server { id, to, .. }) = self.transactions.user_mut(transaction) else { return };
        let id = *id;
        match to {
            SendTo::Flow(back)
                if back.transport == Transport::Udp
                    && flow.transport == Transport::Udp
                    && back.remote.ip() == flow.remote.ip() =>
            {
                (back.pod, back.local) = (flow.pod, flow.local);
            }
            // It was answered where it came from, without its flow, and can be by one again.
            SendTo::Address { remote, .. }
                if flow.transport == Transport::Udp
                    && remote.ip() == flow.remote.ip()
                    && self.servers.get(&id).is_some_and(|known| known.flow.transport == Transport::Udp) =>
            {
                *to = SendTo::Flow(Flow { remote: *remote, ..*flow });
            }
            _ => return,
        }
        let Some(known) = self.servers.get_mut(&id).filter(|known| known.flow.is_same_source(flow)) else {
            return;
        };
        known.flow = *flow;
        let Some((call, leg)) = known.call.map(|call| (call, known.leg)) else { return };
        self.set_flow(call, leg, flow);
        // The answer goes out again by itself.
        if let Some(number) = self.held_of(call, transaction) {
            self.let_out(number);
        }
    }

    /// The caller of a 2xx has heard it: it is not repeated any more.
    pub(super) fn acknowledged(&mut self, call: CallRef, leg: LegRef) {
        for number in self.held_on(call, leg) {
            if self.holding.get(&number).is_some_and(|holding| matches!(holding.held, Held::Answer(_))) {
                self.let_out(number);
            }
        }
    }

    /// A phone was heard in its call: what waits for it leaves by that flow.
    pub(super) fn heard_again(&mut self, call: CallRef, leg: LegRef, flow: &Flow, now: Now) {
        for number in self.held_on(call, leg) {
            self.found(number, flow, now);
        }
    }
}
