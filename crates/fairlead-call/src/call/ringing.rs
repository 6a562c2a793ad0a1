//! An attempt from its relay session to its provisional responses.

use super::*;

impl Call {
    /// Opens the relay session of an attempt that has a way and a slot, or invites at once when the caller offered
    /// nothing (late offer: RFC 3264 §4, the callee offers in its 200).
    pub(super) fn prepare(&mut self, number: AttemptRef, now: Now) {
        let offer = self.a.offer.clone();
        let Some(attempt) = self.attempt(number) else { return };
        if attempt.state != AttemptState::Preparing || attempt.outlet.is_none() || !attempt.occupied {
            return;
        }
        match offer {
            Some(sdp) => {
                attempt.state = AttemptState::Offering;
                // However long the way took to be found.
                attempt.silent_until = Some(now.mono + OFFERING);
                self.order_offer(number, Side::A, sdp, Wait::Offer(number));
            }
            None => self.invite(number, None, now),
        }
    }

    /// The relay has rewritten the caller's offer for this attempt.
    pub(super) fn offer_described(&mut self, number: AttemptRef, sdp: &Bytes, now: Now) {
        let Some(attempt) = self.attempt(number) else { return };
        if attempt.state != AttemptState::Offering {
            return;
        }
        match attempt.negotiation.send_offer(sdp) {
            Ok(body) => self.invite(number, Some(body), now),
            // A fresh attempt has no offer open; if it had, this one cannot go on.
            Err(_) => self.leave(number, Cause::NoRelay, Vec::new(), now),
        }
    }

    fn invite(&mut self, number: AttemptRef, sdp: Option<Bytes>, now: Now) {
        let passed = self
            .a
            .invite
            .as_ref()
            .map(|invite| crate::passes::pick(invite, crate::passes::request_headers(&Method::Invite)))
            .unwrap_or_default();
        let request = Request {
            method: Method::Invite,
            passed,
            body: sdp.map(|sdp| ("application/sdp".to_owned(), sdp)),
            max_forwards: self.max_forwards,
            authorization: None,
        };
        let ticket = self.ask_leg(LegRef::B(number), PendingKind::Invite(number), request);
        let Some(attempt) = self.attempt(number) else { return };
        attempt.ticket = Some(ticket);
        attempt.state = AttemptState::Calling;
        self.begin_waiting(number, now);
    }

    /// A provisional response of an attempt.
    pub(super) fn provisional(&mut self, number: AttemptRef, response: &Message, now: Now) {
        let status = response.status().unwrap_or(100);
        let Some(attempt) = self.attempt(number) else { return };
        attempt.silent_until = None;
        if attempt.state == AttemptState::Calling {
            attempt.state = AttemptState::Proceeding;
        }
        if attempt.state != AttemptState::Proceeding || status == 100 {
            return;
        }
        attempt.timer_c = Some(now.mono + TIMER_C);
        attempt.facts.heard(response);
        if !matches!(self.step, Step::Ringing { .. }) {
            return;
        }
        let b_tag = response.to_tag().unwrap_or_default().to_string();
        // An unreliable provisional response cannot carry an offer (§13.2.1), only a first look at the answer.
        let sdp = if self.a.offer.is_some() { write::sdp_of(response) } else { None };
        let early = self.early(number, &b_tag, sdp.as_ref(), false);
        match (sdp, self.a.early.get(early).and_then(|early| early.described.clone())) {
            (Some(sdp), None) => {
                self.order_answer(
                    number,
                    Side::B,
                    sdp.clone(),
                    Wait::EarlyAnswer { early, status, body: sdp },
                );
            }
            (Some(_), Some((_, told))) => self.tell_progress(early, status, Some(told), now),
            (None, _) => self.tell_progress(early, status, None, now),
        }
    }

    /// The relay has rewritten an early answer.
    pub(super) fn early_answer_described(
        &mut self,
        early: usize,
        status: u16,
        body: Bytes,
        sdp: &Bytes,
        now: Now,
    ) {
        let Some(told) = self.answer_on(early, body, sdp) else { return };
        if matches!(self.step, Step::Ringing { .. }) {
            self.tell_progress(early, status, Some(told), now);
        }
    }

    /// Answers the caller's offer on one of leg A's early dialogs.
    pub(super) fn answer_on(&mut self, early: usize, body: Bytes, sdp: &Bytes) -> Option<Bytes> {
        let early = self.a.early.get_mut(early)?;
        if let Some((_, told)) = &early.described {
            // The 200 came while the relay still had the same answer of a provisional response.
            return Some(told.clone());
        }
        let told = early.negotiation.send_answer(sdp).ok()?;
        early.described = Some((body, told.clone()));
        Some(told)
    }

    /// The early dialog of leg A that stands for one of leg B: found by the callee's tag and by what it answered,
    /// since a caller takes the first answer of a dialog and no other (§13.2.1). One that is `answered` gets its own, however
    /// many there were.
    pub(super) fn early(
        &mut self,
        number: AttemptRef,
        b_tag: &str,
        sdp: Option<&Bytes>,
        answered: bool,
    ) -> usize {
        let fits = |early: &EarlyA| {
            early.attempt == number
                && early.b_tag == b_tag
                && match (&early.described, sdp) {
                    (Some((described, _)), Some(sdp)) => described == sdp,
                    _ => true,
                }
        };
        // The newest first: what came last without a description belongs to it.
        if let Some(at) = self.a.early.iter().rposition(fits) {
            return at;
        }
        if self.a.early.len() >= MAX_EARLY && !answered {
            return self.a.early.len() - 1;
        }
        let index = u16::try_from(self.a.early.len()).unwrap_or(u16::MAX);
        self.a.early.push(EarlyA {
            tag: self.names.tag(index),
            attempt: number,
            b_tag: b_tag.to_owned(),
            negotiation: self.a.negotiation.clone(),
            described: None,
        });
        self.a.early.len() - 1
    }

    /// A provisional response to the caller. Other statuses than these mean nothing to a caller of ours: 183.
    fn tell_progress(&mut self, early: usize, status: u16, sdp: Option<Bytes>, now: Now) {
        let status = if matches!(status, 180..=183) { status } else { 183 };
        let (Some(server), Some(invite), Some(early)) =
            (self.a.server, self.a.invite.as_ref(), self.a.early.get(early))
        else {
            return;
        };
        let message = self.reply(server, invite, status, &[], Some(&early.tag), Some(&self.a.outlet), sdp);
        self.a.progress =
            Some(Progress { status, message: message.clone(), again: now.mono + PROGRESS_EVERY });
        self.respond(server, status, message);
    }

    /// When the last provisional response is due again, while the phone rings.
    pub(super) fn progress_due(&self) -> Option<Instant> {
        let ringing = matches!(self.step, Step::Ringing { .. });
        self.a.progress.as_ref().filter(|_| ringing).map(|progress| progress.again)
    }

    /// §13.3.1.1: every minute, or a proxy before us takes the caller for forgotten (Timer C). Whether the callee is
    /// still there our own Timer C watches.
    pub(super) fn repeat_progress(&mut self, now: Now) {
        if self.progress_due().is_none_or(|at| at > now.mono) {
            return;
        }
        let (Some(server), Some(progress)) = (self.a.server, self.a.progress.as_mut()) else { return };
        progress.again = now.mono + PROGRESS_EVERY;
        let (status, message) = (progress.status, progress.message.clone());
        self.respond(server, status, message);
    }
}
