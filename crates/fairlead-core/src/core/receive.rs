//! What came in, and whose it is.

use super::*;
use sip_transaction::{Received, Request};
use sip_wire::Malformed;

impl Core {
    pub(super) fn received(&mut self, message: Message, flow: Flow, now: Now) {
        self.note_source(&flow, now);
        if let Some((pod, shard)) = self.somebody_elses(&message, &flow) {
            self.outputs.push_back(Output::Forward { pod, shard, message: message.bytes().clone(), flow });
            return;
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
    fn somebody_elses(&self, message: &Message, flow: &Flow) -> Option<(PodRef, Option<u8>)> {
        match self.router.route(message) {
            Belongs::Here(shard) if shard.0 == self.identity.shard => None,
            // A call that this shard holds wins over what the table of the pod says.
            _ if self.adopted.contains_key(message.call_id()) => None,
            Belongs::Here(shard) => Some((self.identity.pod, Some(shard.0))),
            Belongs::There(_, _) if flow.pod != self.identity.pod => None,
            Belongs::There(pod, shard) => Some((pod, shard.map(|shard| shard.0))),
        }
    }

    fn request(&mut self, request: Message, flow: Flow, now: Now) {
        match self.transactions.handle_request(&request, now.mono) {
            Request::Retransmission(_) | Request::Acknowledged(_) => {}
            Request::Ack => self.ack(&request, &flow, now),
            Request::Cancel { invite } => self.cancel(request, flow, invite, now),
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
                    self.with_call(reference, now, |call, now| call.response(ticket, response, now));
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
    pub(super) fn malformed(&mut self, malformed: &Malformed, flow: &Flow) {
        match &malformed.partial {
            Some(request) if request.is_request() && *request.method() != Method::Ack => {
                self.refuse_malformed(request, flow, &malformed.reason);
            }
            _ => self.event(Event::Dropped { reason: malformed.reason.label() }),
        }
    }

    /// A message left, or did not.
    pub(super) fn sent(&mut self, send: SendRef, failed: bool, flow: Option<Flow>, now: Now) {
        let Some(transaction) = self.sends.remove(&send) else { return };
        if failed {
            self.transactions.transport_error(transaction, now.mono);
        } else if let (Some(flow), Some(User::Client { of: Of::Call(reference, ticket), .. })) =
            (flow, self.transactions.user(transaction).cloned())
        {
            self.heard(reference, ticket, &flow);
        }
    }

    /// A connection is gone: what is sent to it from now on fails by itself, and who could be reached otherwise is.
    pub(super) fn closed(&mut self, flow: &Flow) {
        if flow.pod == self.identity.pod
            && let Some(connection) = flow.connection
        {
            self.gone.insert(connection);
        }
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
        let (to, method, report) = match user {
            User::Server { to, method, .. } => (SendTo::Flow(to), method, false),
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
            self.sends.insert(send, transaction);
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
                if why == Failure::Transport && self.try_next_address(reference, ticket, now) {
                    return;
                }
                self.with_call(reference, now, |call, now| call.failed(ticket, why, now));
            }
            User::Client { of: Of::Qualify(number), .. } => self.qualify_failed(*number, now),
            // Whoever answered so late does not hear its BYE either.
            User::Client { of: Of::Stray, .. } | User::Server { .. } => {}
        }
    }

    fn transaction_ended(&mut self, transaction: TransactionId, user: &User) {
        match user {
            User::Server { id, .. } => {
                self.forget_request(*id);
            }
            User::Client { of: Of::Call(reference, _), .. } => {
                if let Some(entry) = self.calls.get_mut(reference) {
                    entry.open.retain(|(_, known)| *known != transaction);
                }
            }
            User::Client { .. } => {}
        }
    }
}
