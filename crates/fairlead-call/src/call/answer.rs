//! 2xx of leg B, 200 to leg A, and the ACKs (RFC 3261 §13.2.2.4, §13.3.1.4).

use sip_dialog::Due;

use super::*;

/// T2 of the repetition of 2xx (RFC 3261 §13.3.1.4).
const T2: Duration = Duration::from_secs(4);

impl Call {
    /// A 2xx to the INVITE of an attempt.
    pub(super) fn answered(&mut self, number: AttemptRef, ticket: Ticket, response: &Message, now: Now) {
        let ringing = matches!(self.step, Step::Ringing { .. });
        let a_offered = self.a.offer.is_some();
        let Some(pending) = self.pending_mut(ticket) else { return };
        let before = std::mem::replace(&mut pending.done, true);
        let Some(invite) = pending.sent.clone() else { return };
        let Some(attempt) = self.attempt(number) else { return };
        if let Some(again) = attempt.acks.again(response) {
            self.outputs.push_back(Output::AckAgain { leg: LegRef::B(number), message: again });
            return;
        }
        let dialog = match Dialog::uac(&invite, response) {
            Ok(dialog) => dialog,
            // Without a tag or a Contact nobody can be acknowledged; the callee gives up by itself.
            Err(_) if !before && ringing => {
                return self.leave(number, Cause::CalleeDescription, Vec::new(), now);
            }
            Err(_) => return,
        };
        if let Some(known) = &attempt.dialog {
            // §13.2.2.4: another fork answered too. The winner's own 2xx may wait for the caller's ACK (late offer).
            if known.remote_tag != dialog.remote_tag {
                self.end_stray(number, ticket, dialog);
            }
            return;
        }
        let tag = dialog.remote_tag.clone();
        attempt.dialog = Some(dialog);
        attempt.facts.heard(response);
        (attempt.silent_until, attempt.rings_until, attempt.timer_c) = (None, None, None);
        attempt.addresses = 0;
        let left = attempt.state == AttemptState::Left;
        attempt.state = AttemptState::Answered;
        if left || !ringing || before {
            // The answer crossed our CANCEL (§9.1), or came from a contact that was given up.
            self.outputs.push_back(Output::Ack { ticket, leg: LegRef::B(number) });
            self.say_bye(LegRef::B(number), Vec::new());
            return;
        }
        self.winner = Some(number);
        self.step = Step::Answering(Answering { winner: number, late: !a_offered });
        match (a_offered, write::sdp_of(response)) {
            (true, sdp) => {
                self.outputs.push_back(Output::Ack { ticket, leg: LegRef::B(number) });
                self.answer_came(number, &tag, sdp, now);
            }
            (false, Some(offer)) => {
                let taken = self.attempt(number).map(|attempt| attempt.negotiation.receive_offer(&offer));
                match taken {
                    Some(Ok(())) => self.order_offer(number, Side::B, offer, Wait::LateOffer(number)),
                    _ => self.answer_is_no_use(now),
                }
            }
            // §13.2.1: the 2xx of an INVITE without an offer has to bring one.
            (false, None) => self.answer_is_no_use(now),
        }
    }

    /// A 2xx to the INVITE of an attempt whose transaction is over: it was given up by a timer, and the callee answers
    /// nevertheless, or its ACK got lost. Handled as one that crossed our CANCEL. `false`: it answers an INVITE that went to
    /// another address of the same name before, or was written anew since; its dialog is nothing of this call's.
    pub fn late_answer(&mut self, number: AttemptRef, response: &Message, now: Now) -> bool {
        let dialog = self.attempts.get(usize::from(number.0)).and_then(|attempt| attempt.dialog.as_ref());
        let is_ours = dialog.is_some_and(|dialog| response.to_tag() == Some(dialog.remote_tag.as_str()));
        let cseq = |message: &Message| message.cseq().map(|cseq| cseq.number).ok();
        let invited = self.pending.iter().find(|pending| {
            matches!(pending.kind, PendingKind::Invite(known) if known == number)
                && pending.sent.as_ref().and_then(cseq) == cseq(response)
        });
        match invited.map(|pending| (pending.ticket, pending.done)) {
            Some((ticket, true)) => self.answered(number, ticket, response, now),
            Some((_, false)) => {}
            None => return is_ours,
        }
        true
    }

    /// The callee's answer, in its 2xx or already in a provisional response.
    fn answer_came(&mut self, number: AttemptRef, tag: &str, sdp: Option<Bytes>, now: Now) {
        let early = self.early(number, tag, sdp.as_ref(), true);
        let told = self.a.early.get(early).and_then(|early| early.described.clone());
        let known = sdp.clone().or_else(|| told.as_ref().map(|(described, _)| described.clone()));
        if let (Some(attempt), Some(sdp)) = (self.attempt(number), known) {
            // The INVITE carried our offer, so an answer is what it must be.
            let _ = attempt.negotiation.receive_answer(&sdp);
        }
        match (told, sdp) {
            (Some((described, told)), _) => {
                // The relay may have seen the answer of another early dialog since, and silence counts from here on.
                self.order_answer(number, Side::B, described, Wait::Nothing);
                self.tell_answer(early, told, now);
            }
            (None, Some(sdp)) => {
                self.order_answer(number, Side::B, sdp.clone(), Wait::Answer { early, body: sdp });
            }
            (None, None) => self.answer_is_no_use(now),
        }
    }

    /// The relay has rewritten the callee's answer.
    pub(super) fn answer_described(&mut self, early: usize, body: Bytes, sdp: &Bytes, now: Now) {
        if !matches!(self.step, Step::Answering(_)) {
            return;
        }
        match self.answer_on(early, body, sdp) {
            Some(told) => self.tell_answer(early, told, now),
            None => self.answer_is_no_use(now),
        }
    }

    /// The relay has rewritten the callee's offer (late offer).
    pub(super) fn late_offer_described(&mut self, number: AttemptRef, sdp: &Bytes, now: Now) {
        if !matches!(self.step, Step::Answering(_)) {
            return;
        }
        let tag = self.attempt(number).and_then(|a| a.dialog.as_ref().map(|d| d.remote_tag.clone()));
        let early = self.early(number, &tag.unwrap_or_default(), None, true);
        let told = self.a.early.get_mut(early).and_then(|early| early.negotiation.send_offer(sdp).ok());
        match told {
            Some(told) => self.tell_answer(early, told, now),
            None => self.answer_is_no_use(now),
        }
    }

    /// The 200 to the caller.
    fn tell_answer(&mut self, early: usize, told: Bytes, now: Now) {
        let (Some(server), Some(invite), Some(chosen)) =
            (self.a.server, self.a.invite.clone(), self.a.early.get(early))
        else {
            return;
        };
        let (tag, negotiation) = (chosen.tag.clone(), chosen.negotiation.clone());
        let cseq = invite.cseq().map(|cseq| cseq.number).unwrap_or_default();
        // RFC 3261 §8.1.1.5: any start below 2^31 will do.
        let Ok(mut dialog) = Dialog::uas(&invite, &tag, (self.session_id & 0xffff) as u32) else {
            return self.answer_is_no_use(now);
        };
        dialog.confirm();
        self.a.dialog = Some(dialog);
        self.a.negotiation = negotiation;
        let message = self.reply(server, &invite, 200, &[], Some(&tag), Some(&self.a.outlet), Some(told));
        self.record.status = 200;
        self.record.answered = Some(now);
        self.outputs.push_back(Output::Answered { setup_ms: now.since(&self.record.began) });
        self.send_ok(Side::A, server, 200, cseq, message, now);
        self.tell_usage(self.leg_of(Side::B), Usage::Up);
    }

    /// Sends a 2xx to an INVITE and keeps repeating it until the ACK.
    pub(super) fn send_ok(
        &mut self,
        side: Side,
        server: ServerRef,
        status: u16,
        cseq: u32,
        message: Bytes,
        now: Now,
    ) {
        let leg = self.leg_of(side);
        let t1 = self.policy(leg).map_or(500, |policy| policy.t1_ms).max(1);
        let unacknowledged =
            Unacknowledged::new(message.clone(), cseq, Duration::from_millis(u64::from(t1)), T2, now.mono);
        self.ok = Some(Ok200 { side, server, status, unacknowledged, then_bye: None });
        self.respond(server, status, message);
    }

    /// Repeats the 2xx that waits for its ACK, or gives up (§13.3.1.4: the session is ended with BYE).
    pub(super) fn repeat_ok(&mut self, now: Now) {
        let Some(ok) = &mut self.ok else { return };
        match ok.unacknowledged.handle_timeout(now.mono) {
            Due::Nothing => {}
            Due::Again(message) => {
                let (server, status) = (ok.server, ok.status);
                self.outputs.push_back(Output::Respond { server, status, message });
            }
            Due::GaveUp => {
                let side = ok.side;
                match self.ok.take().and_then(|ok| ok.then_bye) {
                    Some(passed) => self.say_bye(self.leg_of(side), passed),
                    None => self.hang_up(None, EndedBy::Failure, Vec::new(), now),
                }
            }
        }
    }

    /// Whether an ACK is the one that a 2xx of ours waits for.
    pub fn awaits_ack(&self, leg: LegRef, ack: &Message) -> bool {
        let number = ack.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(side) = self.side_of(leg) else { return false };
        self.ok.as_ref().is_some_and(|ok| ok.side == side && ok.unacknowledged.awaits(number))
    }

    /// An ACK for a 2xx of ours came in a dialog of this call.
    pub fn ack(&mut self, leg: LegRef, ack: &Message, now: Now) {
        let number = ack.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(side) = self.side_of(leg) else { return };
        if !self.ok.as_mut().is_some_and(|ok| ok.side == side && ok.unacknowledged.handle_ack(number)) {
            return;
        }
        self.note(leg, "Rx: ACK");
        let Some(ok) = self.ok.take() else { return };
        if let Some(passed) = ok.then_bye {
            return self.say_bye(leg, passed);
        }
        match &self.step {
            Step::Answering(answering) => {
                let (winner, late) = (answering.winner, answering.late);
                self.first_ack(winner, late, ack, now);
            }
            Step::Up(_) => self.reinvite_ack(side, ack, now),
            Step::Ringing { .. } | Step::Ending => {}
        }
    }

    /// The caller acknowledged the first 200.
    fn first_ack(&mut self, winner: AttemptRef, late: bool, ack: &Message, now: Now) {
        if !late {
            return self.is_up_now(winner);
        }
        let answer = write::sdp_of(ack).filter(|answer| self.a.negotiation.receive_answer(answer).is_ok());
        match answer {
            Some(answer) => self.order_answer(winner, Side::A, answer, Wait::LateAnswer(winner)),
            None => {
                // §13.2.2.4: the ACK has to bring the answer. The callee is acknowledged all the same, then both end.
                self.acknowledge(winner);
                self.hang_up(None, EndedBy::Failure, Vec::new(), now);
            }
        }
    }

    /// The relay has rewritten the caller's answer (late offer): the callee gets it in its ACK.
    pub(super) fn late_answer_described(&mut self, winner: AttemptRef, sdp: &Bytes, now: Now) {
        if !matches!(self.step, Step::Answering(_)) {
            return;
        }
        let body = self.attempt(winner).and_then(|attempt| attempt.negotiation.send_answer(sdp).ok());
        let ticket = self.attempt(winner).and_then(|attempt| attempt.ticket);
        let (Some(ticket), Some(body)) = (ticket, body) else { return self.answer_is_no_use(now) };
        self.put_body(ticket, Some(body));
        self.outputs.push_back(Output::Ack { ticket, leg: LegRef::B(winner) });
        self.is_up_now(winner);
    }

    fn is_up_now(&mut self, winner: AttemptRef) {
        self.step = Step::Up(Up { reinvite: None });
        // Only a retransmission could still need them.
        self.a.early.clear();
        let longest = [LegRef::A, LegRef::B(winner)]
            .into_iter()
            .filter_map(|leg| self.policy(leg).map(|policy| policy.max_duration))
            .filter(|seconds| *seconds > 0)
            .min();
        if let (Some(seconds), Some(answered)) = (longest, self.record.answered) {
            let length = Duration::from_secs(u64::from(seconds));
            self.deadline = Some(Deadline {
                mono: answered.mono + length,
                wall: answered.wall.plus_millis(u64::from(seconds) * 1000),
            });
        }
        self.outputs.push_back(Output::Confirmed);
    }

    /// The callee answered in a way that leads nowhere: it is acknowledged and ended, the caller hears of it.
    pub(super) fn answer_is_no_use(&mut self, now: Now) {
        if let Some(winner) = self.winner {
            self.acknowledge(winner);
        }
        if self.a.dialog.is_some() {
            return self.hang_up(None, EndedBy::Failure, Vec::new(), now);
        }
        self.refuse_caller(Cause::CalleeDescription, Vec::new(), EndedBy::Failure, now);
    }

    /// Acknowledges leg B's 2xx if that is still to be done (late offer).
    pub(super) fn acknowledge(&mut self, winner: AttemptRef) {
        if !matches!(&self.step, Step::Answering(answering) if answering.late) {
            return;
        }
        if let Some(ticket) = self.attempt(winner).and_then(|attempt| attempt.ticket) {
            self.put_body(ticket, None);
            self.outputs.push_back(Output::Ack { ticket, leg: LegRef::B(winner) });
        }
        if let Step::Answering(answering) = &mut self.step {
            answering.late = false;
        }
    }

    /// §13.2.2.4: a further 2xx of a forked INVITE is acknowledged and its dialog ended.
    fn end_stray(&mut self, number: AttemptRef, ticket: Ticket, dialog: Dialog) {
        if self.strays.len() >= MAX_STRAYS
            || self.strays.iter().any(|s| s.dialog.remote_tag == dialog.remote_tag)
        {
            return;
        }
        let leg = LegRef::Stray(u16::try_from(self.strays.len()).unwrap_or(u16::MAX));
        self.strays.push(Stray { dialog, attempt: number });
        self.outputs.push_back(Output::Ack { ticket, leg });
        self.say_bye(leg, Vec::new());
    }
}
