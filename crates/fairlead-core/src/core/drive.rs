//! What calls want done.

use fairlead_call::caller_gets::Cause;
use fairlead_call::output::Output as Wish;
use fairlead_model::ask::{Answer, AskFailed, ChallengeToAnswer};
use fairlead_model::relay::RelayOrder;

use super::*;
use crate::output::CallRecord;

impl Core {
    /// Tells a call something and does what it wants.
    pub(super) fn with_call(&mut self, reference: CallRef, now: Now, tell: impl FnOnce(&mut Call, Now)) {
        if let Some(entry) = self.calls.get_mut(&reference) {
            tell(&mut entry.call, now);
            self.drive(reference, now);
        }
    }

    /// Does what a call wants, until it wants nothing.
    pub(super) fn drive(&mut self, reference: CallRef, now: Now) {
        while let Some(wish) = self.calls.get_mut(&reference).and_then(|entry| entry.call.poll_output()) {
            self.fulfil(reference, wish, now);
        }
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        if entry.call.is_over() {
            if !self.is_refusing(reference) {
                self.forget_call(reference);
            }
        } else if let Some(at) = entry.call.poll_timeout()
            && entry.scheduled.wants(at)
        {
            self.timers.add(at, Timer::Call(reference));
        }
    }

    fn fulfil(&mut self, reference: CallRef, wish: Wish, now: Now) {
        match wish {
            Wish::Reach(attempt) => self.reach(reference, attempt, now),
            Wish::Occupy(attempt) => self.occupy(reference, attempt),
            Wish::Respond { server, status, message } => {
                if status >= 300 {
                    self.remember_refusal(reference, server.id);
                }
                self.respond(server.id, status, message, now);
            }
            Wish::Request { ticket, leg } => self.send_request(reference, ticket, leg, now),
            Wish::NextAddress { ticket, attempt } => self.next_address(reference, ticket, attempt, now),
            Wish::Ack { ticket, leg } => self.send_ack(reference, ticket, leg, now),
            Wish::AckAgain { leg, message } => self.send_ack_again(reference, leg, message),
            Wish::Cancel { ticket, passed } => {
                let reason = passed.into_iter().find(|passed| passed.header == Header::Reason);
                self.cancel_request(reference, ticket, reason.map(|passed| passed.value), now);
            }
            Wish::Relay { tag, relay, what } => {
                if let RelayOrder::Offer(_) = &what {
                    self.renew_later(now);
                }
                let order = OrderRef(self.next_number());
                self.orders.insert(order, Ordered::Call(reference, tag));
                self.outputs.push_back(Output::Relay { order, relay, what });
            }
            Wish::Tell(ask) => self.tell(ask),
            Wish::AnswerChallenge { ticket, peer, challenges, method, uri, cseq, proxy } => {
                let cnonce = format!("{:016x}", self.random.bits());
                let question = ChallengeToAnswer { peer, challenges, method, uri, cnonce, nc: 1 };
                let key = self.fresh_key();
                let why = Asked::Challenge { call: reference, ticket, cseq, proxy };
                self.ask(Ask::AnswerChallenge(Box::new(question)), key, why);
            }
            Wish::Confirmed => self.confirmed(reference, now),
            Wish::Answered { setup_ms } => {
                self.counts.answered += 1;
                self.event(Event::CallAnswered { call: reference, setup_ms });
            }
            Wish::Narrowed(streams) => self.event(Event::Narrowed { streams }),
            Wish::Ended(ended) => {
                let Some(entry) = self.calls.get(&reference) else { return };
                let record = CallRecord {
                    call: reference,
                    from: entry.call.caller().to_owned(),
                    to: ended.to,
                    call_id: entry.call_id.clone(),
                    duration_ms: ended.duration_ms,
                    billed_ms: ended.billed_ms,
                    status: ended.status,
                    ended_by: ended.by.word(),
                    media: ended.media,
                };
                self.counts.ended += 1;
                self.event(Event::CallEnded(Box::new(record)));
                self.uncheckpoint(reference);
            }
        }
    }

    fn occupy(&mut self, call: CallRef, attempt: AttemptRef) {
        let peer = self
            .calls
            .get(&call)
            .and_then(|entry| entry.call.target(attempt))
            .and_then(|t| t.policy.peer.clone());
        let Some(peer) = peer else { return };
        let key = self.fresh_key();
        self.ask(Ask::Occupy { call, peer }, key, Asked::Occupy { call, attempt });
    }

    pub(super) fn occupy_answered(
        &mut self,
        call: CallRef,
        attempt: AttemptRef,
        answer: Result<Answer, AskFailed>,
        now: Now,
    ) {
        if !self.calls.contains_key(&call) {
            // The slot came after the call was over and forgotten.
            return self.tell(Ask::Release { call });
        }
        let refused = match answer {
            Ok(Answer::Done) => None,
            Ok(_) => Some(Cause::CallLimit),
            Err(_) => Some(Cause::NoRegistrar),
        };
        self.with_call(call, now, |call, now| call.occupied(attempt, refused, now));
    }

    /// Nothing of the call is left.
    pub(super) fn forget_call(&mut self, reference: CallRef) {
        let Some(entry) = self.calls.remove(&reference) else { return };
        for number in &entry.held {
            self.holding.remove(number);
        }
        for call_id in &entry.adopted {
            self.adopted.remove(call_id);
        }
        self.router.forget(entry.adopted.iter().map(String::as_str));
        if let Some((call_id, from_tag)) = entry.owned {
            self.tell(Ask::Disown { call_id, from_tag, call: reference });
        }
    }

    /// Relay sessions are renewed for as long as there are calls.
    pub(super) fn renew_later(&mut self, now: Now) {
        let at = now.mono + RENEW_EVERY;
        if self.renewal.wants(at) {
            self.timers.add(at, Timer::Renew);
        }
    }

    /// Tells each relay which of its sessions are still wanted.
    pub(super) fn renew(&mut self, now: Now) {
        self.renewal.fired(now.mono);
        let mut by_relay: HashMap<PodRef, Vec<_>> = HashMap::new();
        for entry in self.calls.values() {
            for (relay, session) in entry.call.sessions() {
                by_relay.entry(relay).or_default().push(session);
            }
        }
        if by_relay.is_empty() && self.calls.is_empty() {
            return;
        }
        for (relay, sessions) in by_relay {
            let order = OrderRef(self.next_number());
            self.orders.insert(order, Ordered::Renew);
            self.outputs.push_back(Output::Relay {
                order,
                relay: Some(relay),
                what: RelayOrder::Renew(sessions),
            });
        }
        self.renew_later(now);
    }

    /// A relay said which of the renewed sessions it does not have: those calls are without media for good.
    pub(super) fn renewed(&mut self, missing: Vec<fairlead_model::relay::SessionRef>, now: Now) {
        for session in missing {
            self.with_call(session.call, now, |call, now| {
                call.session_ended(session, None, EndedBy::Failure, now);
            });
        }
    }
}
