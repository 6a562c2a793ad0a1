//! CANCEL with and without its INVITE (RFC 3261 §9.2).

use fairlead_model::ask::{Answer, AskFailed};

use super::checks::Refused;
use super::*;

impl Core {
    pub(super) fn cancel(&mut self, cancel: Message, flow: Flow, invite: Option<TransactionId>, now: Now) {
        if let Err(reason) = cancel.check_mandatory() {
            return self.refuse_malformed(&cancel, &flow, &reason);
        }
        let forced = respond::via_differs(&cancel, &flow);
        let invite = invite.and_then(|id| self.transactions.user(id).cloned());
        let elsewhere = cancel.to_tag().is_none() && flow.pod == self.identity.pod && self.has_room();
        if invite.is_none() && !elsewhere {
            // Without a transaction: who guesses is not remembered.
            return self.refuse_stateless(&cancel, &flow, no_such_invite());
        }
        let Some(server) = self.open_server(&cancel, flow, forced, now) else { return };
        match invite {
            Some(User::Server { id, .. }) => self.cancel_invite(server, id, &cancel, now),
            // Its INVITE may have come to another pod (architecture: what carries nothing of ours yet).
            _ => {
                let ask = Ask::Owner {
                    call_id: cancel.call_id().to_owned(),
                    from_tag: cancel.from_tag().unwrap_or_default().to_owned(),
                };
                let key = self.key_of(&cancel, &flow);
                self.ask(ask, key, Asked::Owner { server });
            }
        }
    }

    fn cancel_invite(&mut self, server: u64, invite: u64, cancel: &Message, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        let (flow, forced) = (known.flow, known.forced);
        let mut ok = self.answer(cancel, &flow, forced, 200, "OK", Kind::Answer);
        let reference = self.servers.get(&invite).and_then(|known| known.call);
        if let Some(entry) = reference.and_then(|call| self.calls.get(&call)) {
            // §9.2: the tag of the answer to the CANCEL is that of the answer to its INVITE.
            ok = ok.to_tag(&entry.call.caller_tag());
        }
        let ok = ok.finish();
        self.respond(server, 200, ok, now);
        let Some(known) = self.servers.get_mut(&invite) else { return };
        let reference = ServerRef { id: invite, source: known.flow.remote, forced: known.forced };
        match known.call {
            Some(call) if self.calls.contains_key(&call) => {
                self.with_call(call, now, |call, now| call.cancel(reference, cancel, now));
            }
            Some(_) if known.cancelled.is_none() => {
                // The registrar has not answered yet; its answer finds nobody.
                known.cancelled = Some(cancel.clone());
                let (request, flow, forced) = (known.request.clone(), known.flow, known.forced);
                let message =
                    self.answer(&request, &flow, forced, 487, "Request Terminated", Kind::Answer).finish();
                self.respond(invite, 487, message, now);
            }
            _ => {}
        }
    }

    /// The registrar knows, or does not, who has the INVITE.
    pub(super) fn owner_answered(&mut self, server: u64, answer: Result<Answer, AskFailed>, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        match answer {
            Ok(Answer::Owned { pod, call })
                if self.router.is_there(pod)
                    && (pod != self.identity.pod || call.shard.0 != self.identity.shard) =>
            {
                self.hand_to_owner(server, pod, call, now);
            }
            _ => {
                let transaction = known.transaction;
                self.refuse(server, no_such_invite(), now);
                self.forget_server(server, transaction);
                self.drain_transactions(now);
            }
        }
    }
}

fn no_such_invite() -> Refused {
    Refused::new(481, "Call/Transaction Does Not Exist", "no_transaction")
}
