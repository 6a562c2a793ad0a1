//! The one way in which calls end.

use super::*;

impl Call {
    /// A BYE came on a leg (RFC 3261 §15.1.2); its transaction is answered here.
    pub(super) fn bye(&mut self, leg: LegRef, server: ServerRef, request: &Message, now: Now) {
        let tag = self.local_tag(leg);
        let message = self.reply(server, request, 200, &[], tag.as_deref(), None, None);
        self.respond(server, 200, message);
        let passed = crate::passes::pick(request, crate::passes::request_headers(&Method::Bye));
        match self.side_of(leg) {
            Some(Side::A) => self.hang_up(Some(Side::A), EndedBy::Caller, passed, now),
            Some(Side::B) => self.hang_up(Some(Side::B), EndedBy::Callee, passed, now),
            // A stray that ends by itself, or an attempt that was given up.
            None => {}
        }
    }

    /// Ends the call; `gone` is the leg that ended by itself.
    pub fn hang_up(&mut self, gone: Option<Side>, by: EndedBy, passed: Vec<Passed>, now: Now) {
        if matches!(self.step, Step::Ending) {
            return;
        }
        if self.a.dialog.is_none() {
            // §15: a BYE in an early dialog ends the INVITE too.
            let cause = match by {
                EndedBy::Caller | EndedBy::Cancel => Cause::Cancelled,
                EndedBy::Operator | EndedBy::MaxDuration | EndedBy::Shutdown => Cause::Operator,
                _ => Cause::Answered(480),
            };
            return self.refuse_caller(cause, passed, by, now);
        }
        self.refuse_reinvite(now);
        if gone != Some(Side::A) {
            self.bye_when_allowed(Side::A, &passed);
        } else {
            self.forget_ok(Side::A);
        }
        if gone == Some(Side::B) {
            self.forget_ok(Side::B);
            if let Some(attempt) = self.winner.and_then(|winner| self.attempt(winner)) {
                // It needs no BYE from us any more.
                attempt.state = AttemptState::Left;
            }
        }
        self.end(by, passed, now);
    }

    /// The operator, or a relay that lost its session, wants it over.
    pub fn end_by(&mut self, by: EndedBy, now: Now) {
        self.hang_up(None, by, Vec::new(), now);
    }

    /// Ends leg B, gives back what is held, and waits for what is open.
    pub(super) fn end(&mut self, by: EndedBy, passed: Vec<Passed>, now: Now) {
        // What leg B offered in its 2xx is still to be acknowledged.
        let winner = self.winner;
        if let Some(winner) = winner {
            self.acknowledge(winner);
        }
        self.step = Step::Ending;
        self.deadline = None;
        self.record.by = Some(by);
        self.record.ended = Some(now);
        for at in 0..self.attempts.len() {
            let number = self.attempts[at].number;
            if Some(number) == winner {
                if self.attempts[at].state != AttemptState::Left {
                    self.bye_when_allowed(Side::B, &passed);
                }
                self.attempts[at].state = AttemptState::Left;
            } else if self.attempts[at].state != AttemptState::Left {
                self.attempts[at].state = AttemptState::Left;
                if let Some(ticket) = self.attempts[at].ticket.filter(|ticket| self.is_open(*ticket)) {
                    self.outputs.push_back(Output::Cancel { ticket, passed: passed.clone() });
                }
            }
        }
        let caller_counted = self.a.policy.peer.is_some() && !self.a.policy.uncounted;
        if caller_counted || !self.occupied.is_empty() {
            self.outputs.push_back(Output::Tell(Ask::Release { call: self.reference }));
        }
        let last = winner.or(self.attempts.last().map(|attempt| attempt.number));
        for at in 0..self.attempts.len() {
            let number = self.attempts[at].number;
            self.delete_session(number, Some(number) == last);
        }
        if !self.waits.iter().any(|(_, wait)| matches!(wait, Wait::Delete { last: true })) {
            self.report();
        }
    }

    /// BYE to a side, or, while it has a 2xx of ours to acknowledge, as soon as it has (§15).
    fn bye_when_allowed(&mut self, side: Side, passed: &[Passed]) {
        if let Some(ok) = self.ok.as_mut().filter(|ok| ok.side == side) {
            ok.then_bye = Some(passed.to_vec());
            return;
        }
        let leg = self.leg_of(side);
        self.say_bye(leg, passed.to_vec());
    }

    fn forget_ok(&mut self, side: Side) {
        if self.ok.as_ref().is_some_and(|ok| ok.side == side) {
            self.ok = None;
        }
    }

    /// Sends BYE on a leg.
    pub(super) fn say_bye(&mut self, leg: LegRef, passed: Vec<Passed>) {
        let request =
            Request { method: Method::Bye, passed, body: None, max_forwards: 70, authorization: None };
        self.ask_leg(leg, PendingKind::Bye, request);
    }

    /// The relay session of an attempt is over. `last`: its statistics go into the record.
    pub(super) fn delete_session(&mut self, number: AttemptRef, last: bool) {
        let Some(attempt) = self.attempt(number) else { return };
        let Some(session) = attempt.session.as_mut().filter(|session| session.opened && !session.deleted)
        else {
            return;
        };
        session.deleted = true;
        let (reference, relay) = (session.reference, session.relay);
        if relay.is_none() {
            // The first order is not answered yet; whichever relay took it is told when it says so.
            return;
        }
        self.order(relay, RelayOrder::Delete(reference), Wait::Delete { last });
    }

    /// The call detail record, once.
    pub(super) fn report(&mut self) {
        if std::mem::replace(&mut self.record.reported, true) {
            return;
        }
        let ended = self.record.ended.unwrap_or(self.record.began);
        let to = self
            .winner
            .or(self.attempts.last().map(|attempt| attempt.number))
            .and_then(|number| self.target(number))
            .map(|target| target.policy.peer.clone().unwrap_or_else(|| target.uri.clone()))
            .unwrap_or_default();
        self.outputs.push_back(Output::Ended(Box::new(Ended {
            to,
            duration_ms: ended.since(&self.record.began),
            billed_ms: self.record.answered.map_or(0, |answered| ended.since(&answered)),
            status: self.record.status,
            by: self.record.by.unwrap_or(EndedBy::Failure),
            media: self.record.media.take(),
        })));
    }
}
