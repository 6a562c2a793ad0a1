//! What came in, and whose it is.

use super::*;
use crate::input::SendFailed;
use sip_transaction::{Received, Request};
use sip_wire::Malformed;

impl Core {
    pub(super) fn received(&mut self, message: Message, flow: Flow, now: Now) {
        if self.is_too_late(&message) {
            return self.leave_unheard(&message, &flow, "closing");
        }
        if self.leaves_to_others(&message) {
            return self.leave_unheard(&message, &flow, "fading");
        }
        // A REGISTER that is let in says itself where its phone is.
        if !(message.is_request() && *message.method() == Method::Register) {
            self.note_source(&flow, now);
        }
        self.note_settled(&message, &flow);
        self.note_crossed(&message);
        if let Some((pod, shard)) = self.somebody_elses(&message, &flow, now) {
            if pod != self.identity.pod && self.is_of_new_call(&message, &flow) {
                return self.pass_on(pod, message, flow, now);
            }
            return self.carry(pod, shard, message, flow, now);
        }
        // Counted once, by who deals with it: a flood that falls upon the wrong shard is no larger than it is.
        let method = message.method().label();
        self.event(Event::Received { method, status: message.status().unwrap_or(0) });
        if message.is_request() {
            self.request(message, flow, now)
        } else {
            self.response(&message, &flow, now)
        }
    }

    /// Whose message it is, when it is not this shard's. What crossed the mesh once stays where it is.
    fn somebody_elses(&mut self, message: &Message, flow: &Flow, now: Now) -> Option<(PodRef, Option<u8>)> {
        match self.router.route(message) {
            Belongs::Here(shard) if shard.0 == self.identity.shard => {
                self.passes_to(message, flow, now).map(|pod| (pod, None))
            }
            // A call that this shard holds wins over what the table of the pod says.
            _ if self.adopted.contains_key(message.call_id()) => None,
            Belongs::Here(shard) => Some((self.identity.pod, Some(shard.0))),
            Belongs::There(_, _) if flow.pod != self.identity.pod => None,
            Belongs::There(pod, shard) => Some(
                self.settled_at(message)
                    .map_or((pod, shard.map(|shard| shard.0)), |shard| (self.identity.pod, Some(shard.0))),
            ),
        }
    }

    fn request(&mut self, request: Message, flow: Flow, now: Now) {
        match self.transactions.handle_request(&request, now.mono) {
            Request::Retransmission(transaction) => self.came_again(transaction, &flow),
            Request::Acknowledged(_) => {}
            Request::Ack => self.ack(&request, &flow, now),
            Request::Cancel { invite } => {
                if let Some(invite) = invite {
                    self.came_again(invite, &flow);
                }
                self.cancel(request, flow, invite, now)
            }
            Request::New => self.new_request(request, flow, now),
            Request::Unmatchable => match request.check_mandatory() {
                Err(reason) if *request.method() != Method::Ack => {
                    self.refuse_malformed(&request, &flow, &reason)
                }
                _ => self.event(Event::Dropped { reason: "unmatchable" }),
            },
        }
    }

    fn response(&mut self, response: &Message, flow: &Flow, now: Now) {
        // §8.1.3.3: with a second Via it was for somebody before us, and went astray.
        if response.values(Header::Via).nth(1).is_some() {
            return self.event(Event::Dropped { reason: "second_via" });
        }
        match self.transactions.handle_response(response, now.mono) {
            Received::ForUser(id) => match self.transactions.user(id).cloned() {
                Some(User::Client { of: Of::Call(reference, ticket), .. }) => {
                    self.heard(reference, ticket, flow);
                    self.was_answered(id, reference, ticket, flow, now);
                    if matches!(response.status(), Some(200..=299)) {
                        self.forget_other_addresses(reference, ticket);
                    }
                    self.with_call(reference, now, |call, now| call.response(ticket, response, now));
                }
                Some(User::Client { of: Of::Former(reference), .. }) => {
                    if matches!(response.status(), Some(200..=299)) {
                        self.end_answer(reference, response, flow, now);
                    }
                }
                Some(User::Client { of: Of::Qualify(number), .. }) => {
                    self.qualify_answered(number, response.status().unwrap_or(0), now);
                }
                _ => {}
            },
            Received::Absorbed => {}
            Received::Stray => self.stray(response, flow, now),
        }
    }

    /// Something that is no message, answered where its partial reading allows (RFC 3261 §8.2.6, §21.4.1).
    pub(super) fn malformed(&mut self, malformed: &Malformed, flow: &Flow, now: Now) {
        // Phones keep their flow open with NULs, "jaK" or STUN too: whatever they say, they are there.
        if malformed.partial.is_none() {
            self.note_source(flow, now);
        }
        match &malformed.partial {
            Some(request) if request.is_request() && *request.method() != Method::Ack => {
                self.refuse_malformed(request, flow, &malformed.reason);
            }
            _ => self.event(Event::Dropped { reason: malformed.reason.label() }),
        }
    }

    /// A message left, or did not.
    pub(super) fn sent(&mut self, send: SendRef, failed: Option<SendFailed>, flow: Option<Flow>, now: Now) {
        let Some((transaction, by)) = self.sends.remove(&send) else {
            return self.was_passed_on(send, failed, now);
        };
        if let Some(failed) = failed {
            if let (SendFailed::ConnectionGone, SendTo::Flow(flow)) = (failed, &by) {
                self.closed(flow);
            }
            // The result of a copy that went before another way was found, by which it has left since.
            if self.transactions.user(transaction).is_some_and(|user| *user.to() != by) {
                return;
            }
            // A datagram that found no room is a lost datagram, which the timers of the transaction are there for
            // (RFC 3261 §17.1.1.2, §17.1.2.2); an error of the transport ends it (§17.1.4).
            if failed == SendFailed::Full && !self.leaves_reliably(transaction) {
                return;
            }
            if !self.hold_message(transaction, failed, now) {
                self.transactions.transport_error(transaction, now.mono);
            }
            return self.drain_transactions(now);
        }
        self.left(transaction, now);
        // What was sent by a flow says nothing new of where its receiver is: a repetition leaves by the flow of its
        // transaction, while the phone may have been heard, or have registered, by another one since.
        if let Some(flow) = flow
            && let Some(User::Client { to: SendTo::Address { .. }, of: Of::Call(reference, ticket), .. }) =
                self.transactions.user(transaction).cloned()
        {
            self.heard(reference, ticket, &flow);
        }
    }

    /// Whether the messages of a transaction leave by a reliable transport, which nobody repeats.
    fn leaves_reliably(&self, transaction: TransactionId) -> bool {
        let Some(user) = self.transactions.user(transaction) else { return false };
        match user.to() {
            SendTo::Flow(flow) => flow.transport.is_reliable(),
            SendTo::Address { network, .. } => {
                self.identity.networks.get(*network).is_some_and(|network| network.transport.is_reliable())
            }
        }
    }

    /// A connection is gone: what is sent to it from now on fails by itself, and who could be reached otherwise is.
    pub(super) fn closed(&mut self, flow: &Flow) {
        if let Some(connection) = flow.connection {
            self.gone.insert(flow.pod, connection);
        }
    }

    /// Whether a flow is a connection that is known to be closed: another pod says so of its own when it is to send by it.
    pub(super) fn is_closed(&self, flow: &Flow) -> bool {
        flow.connection.is_some_and(|connection| self.gone.contains(flow.pod, connection))
    }

    /// Whether a flow is known to be gone: closed, or with its pod.
    pub(super) fn is_gone(&self, flow: &Flow) -> bool {
        self.is_closed(flow) || !self.router.is_there(flow.pod)
    }

    /// Does what the transactions want done.
    pub(super) fn drain_transactions(&mut self, now: Now) {
        while let Some(output) = self.transactions.poll_output() {
            match output {
                transaction::Output::Send { transaction, user, message, again } => {
                    self.send(transaction, user, message, again);
                }
                transaction::Output::Failed { user, why, .. } => self.transaction_failed(&user, why, now),
                transaction::Output::TryingDue { user: User::Server { id, .. }, .. } => self.trying(id, now),
                transaction::Output::TryingDue { .. } => {}
                transaction::Output::Ended { transaction, user } => {
                    self.transaction_ended(transaction, &user)
                }
            }
        }
    }

    fn send(&mut self, transaction: TransactionId, user: User, message: Bytes, again: bool) {
        // Where it goes may have changed while it waited to be sent.
        let user = self.transactions.user(transaction).cloned().unwrap_or(user);
        let (to, method, report) = match user {
            User::Server { id, to, method } => {
                let report = self.may_lose_its_way(id, &to);
                (to, method, report)
            }
            User::Client { to, method, .. } => (to, method, true),
        };
        self.event(if again {
            Event::Retransmitted { method }
        } else {
            Event::Transmitted { method, status: respond::status_of(&message) }
        });
        let send = SendRef(self.next_number());
        // Results that never came are no reason to remember ever more sends.
        let report = report && self.sends.len() < self.limits.transactions;
        if report {
            self.sends.insert(send, (transaction, to.clone()));
        }
        self.outputs.push_back(Output::Send { send, to, message, report });
    }

    fn transaction_failed(&mut self, user: &User, why: transaction::Failure, now: Now) {
        let why = match why {
            transaction::Failure::Timeout => Failure::Timeout,
            transaction::Failure::Transport => Failure::Transport,
            // A refusal that nobody acknowledged changes nothing for the call.
            transaction::Failure::NoAck => return,
        };
        match user {
            User::Client { of: Of::Call(reference, ticket), .. } => {
                let (reference, ticket) = (*reference, *ticket);
                if why == Failure::Transport && self.send_past_flow(reference, ticket, now) {
                    return;
                }
                self.with_call(reference, now, |call, now| call.failed(ticket, why, now));
            }
            User::Client { of: Of::Qualify(number), .. } => self.qualify_failed(*number, now),
            // Whoever answered so late does not hear its BYE either.
            User::Client { of: Of::Stray | Of::Former(_), .. } | User::Server { .. } => {}
        }
    }

    fn transaction_ended(&mut self, transaction: TransactionId, user: &User) {
        match user {
            User::Server { id, .. } => {
                let call = self.servers.get(id).and_then(|known| known.call);
                self.forget_request(*id);
                self.refused(call, *id);
            }
            User::Client { of: Of::Call(reference, _) | Of::Former(reference), .. } => {
                if let Some(entry) = self.calls.get_mut(reference) {
                    entry.open.retain(|(_, known)| *known != transaction);
                }
            }
            User::Client { .. } => {}
        }
    }
}
