//! re-INVITE both ways: hold, resume, another codec, another address (RFC 3261 §14, RFC 6141).
//!
//! One is on its way at a time. It goes from the leg where it came in to the other; the answer comes back the same
//! way. What the other leg refuses is refused, and all stays as it was; only 408 and 481 end the call.

use super::*;

/// So many re-INVITEs that are over are remembered.
const MAX_DONE: usize = 4;

impl Call {
    /// A re-INVITE came on a leg.
    pub(super) fn reinvite(&mut self, leg: LegRef, server: ServerRef, request: &Message, now: Now) {
        let Some(from) = self.side_of(leg) else { return };
        let waiting = self.ok.is_some();
        let Step::Up(up) = &mut self.step else {
            let status = if matches!(self.step, Step::Ending) { 481 } else { 491 };
            return self.refuse_request(leg, server, request, status, "");
        };
        match &up.reinvite {
            // §14.2: a second INVITE before the answer to the first.
            Some(open) if open.from == from && !waiting => {
                return self.refuse_request_later(leg, server, request, 500);
            }
            // §14.2: ours is open, or the ACK of the last one is still on its way.
            Some(_) => return self.refuse_request(leg, server, request, 491, ""),
            None => {}
        }
        let offer = write::sdp_of(request);
        if offer.is_none() && !request.body().is_empty() && !write::body_is_optional(request) {
            return self.refuse_request(leg, server, request, 415, "Unsupported Content-Type");
        }
        up.reinvite = Some(Reinvite {
            from,
            server,
            request: request.clone(),
            offer: offer.clone(),
            hold: None,
            ticket: None,
            stage: Stage::Offering,
        });
        self.forget_old_reinvites();
        let Some(winner) = self.winner else { return };
        let Some(offer) = offer else { return self.ask_other(None) };
        let taken = self.negotiation_mut(from).map(|negotiation| negotiation.receive_offer(&offer));
        match taken {
            Some(Ok(())) => self.order_offer(winner, from, offer, Wait::ReOffer),
            _ => self.reinvite_refused(491, Vec::new(), now),
        }
    }

    /// Of those before the last ones stay: their 2xx may come again for want of an ACK (§13.2.2.4).
    fn forget_old_reinvites(&mut self) {
        let done = |pending: &Pending| pending.done && matches!(pending.kind, PendingKind::Reinvite);
        let mut too_many =
            self.pending.iter().filter(|pending| done(pending)).count().saturating_sub(MAX_DONE);
        self.pending.retain(|pending| {
            let goes = too_many > 0 && done(pending);
            too_many -= usize::from(goes);
            !goes
        });
    }

    /// Sends the re-INVITE to the other leg.
    fn ask_other(&mut self, body: Option<Bytes>) {
        let Step::Up(Up { reinvite: Some(reinvite), .. }) = &self.step else { return };
        let (other, max_forwards) = (
            reinvite.from.other(),
            match reinvite.request.max_forwards() {
                Some(Ok(hops)) => hops.saturating_sub(1),
                _ => 70,
            },
        );
        let passed = crate::passes::pick(&reinvite.request, crate::passes::request_headers(&Method::Invite));
        let request = Request {
            method: Method::Invite,
            passed,
            body: body.map(|sdp| ("application/sdp".to_owned(), sdp)),
            max_forwards,
            authorization: None,
        };
        let ticket = self.ask_leg(self.leg_of(other), PendingKind::Reinvite, request);
        if let Some(reinvite) = self.open_reinvite() {
            reinvite.ticket = Some(ticket);
            reinvite.stage = Stage::Asked;
        }
    }

    /// The relay has rewritten the offer of whoever began.
    pub(super) fn reoffer_described(&mut self, sdp: &Bytes, hold: bool, now: Now) {
        let Some(reinvite) = self.open_reinvite().filter(|reinvite| reinvite.stage == Stage::Offering) else {
            return;
        };
        let from = reinvite.from;
        reinvite.hold = Some(hold);
        let body =
            self.negotiation_mut(from.other()).and_then(|negotiation| negotiation.send_offer(sdp).ok());
        match body {
            Some(body) => self.ask_other(Some(body)),
            None => self.reinvite_refused(491, Vec::new(), now),
        }
    }

    pub(super) fn reoffer_refused(&mut self, bad: bool, now: Now) {
        if self.open_reinvite().is_some_and(|reinvite| reinvite.stage == Stage::Offering) {
            self.reinvite_refused(if bad { 488 } else { 500 }, Vec::new(), now);
        }
    }

    /// A 2xx of the other leg.
    pub(super) fn reinvite_answered(&mut self, leg: LegRef, ticket: Ticket, response: &Message, now: Now) {
        let again = self.acks_mut(leg).and_then(|acks| acks.again(response));
        if let Some(message) = again {
            self.outputs.push_back(Output::AckAgain { leg, message });
            return;
        }
        let Some(pending) = self.pending_mut(ticket) else { return };
        if std::mem::replace(&mut pending.done, true) {
            // A late offer's 2xx again, before the ACK that brings the answer.
            return;
        }
        self.hear(leg, response);
        if let Some(dialog) = self.dialog_mut(leg) {
            // §12.2.1.2; a Contact that cannot be read leaves the target as it was.
            let _ = dialog.refresh_target(response);
        }
        let Some(reinvite) =
            self.open_reinvite().filter(|r| r.ticket == Some(ticket) && r.stage == Stage::Asked)
        else {
            // The call ended meanwhile.
            self.outputs.push_back(Output::Ack { ticket, leg });
            return;
        };
        let (from, late) = (reinvite.from, reinvite.offer.is_none());
        reinvite.stage = Stage::Answered;
        let Some(winner) = self.winner else { return };
        if !late {
            self.outputs.push_back(Output::Ack { ticket, leg });
        }
        let other = from.other();
        match (write::sdp_of(response), late) {
            (Some(answer), false) => {
                let _ = self.negotiation_mut(other).map(|negotiation| negotiation.receive_answer(&answer));
                self.order_answer(winner, other, answer, Wait::ReAnswer);
            }
            (Some(offer), true) => {
                let taken = self.negotiation_mut(other).map(|negotiation| negotiation.receive_offer(&offer));
                match taken {
                    Some(Ok(())) => self.order_offer(winner, other, offer, Wait::ReLateOffer),
                    _ => self.hang_up(None, EndedBy::Failure, Vec::new(), now),
                }
            }
            // §14.1, RFC 3264: there has to be one.
            (None, _) => self.hang_up(None, EndedBy::Failure, Vec::new(), now),
        }
    }

    /// The relay has rewritten the answer, or the offer of a 2xx: whoever began gets its 200.
    pub(super) fn reanswer_described(&mut self, sdp: &Bytes, hold: bool, now: Now) {
        let Some(reinvite) = self.open_reinvite().filter(|reinvite| reinvite.stage == Stage::Answered) else {
            return;
        };
        let (from, server, request) = (reinvite.from, reinvite.server, reinvite.request.clone());
        let late = reinvite.offer.is_none();
        reinvite.stage = Stage::Acknowledged;
        let held_by_offer = reinvite.hold;
        let body = self.negotiation_mut(from).and_then(|negotiation| {
            if late { negotiation.send_offer(sdp).ok() } else { negotiation.send_answer(sdp).ok() }
        });
        let Some(body) = body else { return self.hang_up(None, EndedBy::Failure, Vec::new(), now) };
        if let Some(hold) = held_by_offer {
            self.set_hold(from, hold);
        }
        if late {
            self.set_hold(from.other(), hold);
        }
        let leg = self.leg_of(from);
        if let Some(dialog) = self.dialog_mut(leg) {
            // RFC 6141 §4: the target moves when the re-INVITE is answered 2xx.
            let _ = dialog.refresh_target(&request);
        }
        let tag = self.local_tag(leg);
        let outlet = self.outlet(leg).cloned();
        let message = self.reply(server, &request, 200, &[], tag.as_deref(), outlet.as_ref(), Some(body));
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        self.send_ok(from, server, 200, cseq, message, now);
    }

    /// The ACK of whoever began.
    pub(super) fn reinvite_ack(&mut self, side: Side, ack: &Message, now: Now) {
        let Some(reinvite) =
            self.open_reinvite().filter(|r| r.from == side && r.stage == Stage::Acknowledged)
        else {
            return;
        };
        if reinvite.offer.is_some() {
            return self.reinvite_is_done();
        }
        let answer = write::sdp_of(ack);
        let Some(winner) = self.winner else { return };
        let taken = answer.filter(|answer| {
            self.negotiation_mut(side).is_some_and(|negotiation| negotiation.receive_answer(answer).is_ok())
        });
        match taken {
            Some(answer) => {
                if let Some(reinvite) = self.open_reinvite() {
                    reinvite.stage = Stage::LateAnswer;
                }
                self.order_answer(winner, side, answer, Wait::ReLateAnswer);
            }
            None => self.hang_up(None, EndedBy::Failure, Vec::new(), now),
        }
    }

    /// The relay has rewritten the answer that the ACK brought: the other leg gets it in its ACK.
    pub(super) fn relate_answer_described(&mut self, sdp: &Bytes, hold: bool) {
        let Some(reinvite) = self.open_reinvite().filter(|r| r.stage == Stage::LateAnswer) else { return };
        let (from, ticket) = (reinvite.from, reinvite.ticket);
        let body =
            self.negotiation_mut(from.other()).and_then(|negotiation| negotiation.send_answer(sdp).ok());
        self.set_hold(from, hold);
        if let (Some(ticket), Some(body)) = (ticket, body) {
            self.put_body(ticket, Some(body));
            let leg = self.leg_of(from.other());
            self.outputs.push_back(Output::Ack { ticket, leg });
        }
        self.reinvite_is_done();
    }

    /// The other leg refused, or could not be asked: whoever began hears it, and all stays as it was.
    pub(super) fn reinvite_refused(&mut self, status: u16, passed: Vec<Passed>, now: Now) {
        let Step::Up(up) = &mut self.step else { return };
        let Some(reinvite) = up.reinvite.take() else { return };
        let offered = reinvite.offer.is_some();
        for side in [Side::A, Side::B] {
            if let Some(negotiation) = self.negotiation_mut(side) {
                negotiation.withdraw();
            }
        }
        if offered {
            self.order_withdraw();
        }
        self.refuse_open(&reinvite, crate::caller_gets::in_dialog(status), &passed);
        if matches!(status, 408 | 481) {
            // §12.2.1.2: that dialog is gone.
            self.hang_up(None, EndedBy::Failure, Vec::new(), now);
        }
    }

    /// The call ends: an open re-INVITE is answered 487, and what the other leg has of it is closed.
    pub(super) fn refuse_reinvite(&mut self, _now: Now) {
        let Step::Up(up) = &mut self.step else { return };
        let Some(reinvite) = up.reinvite.take() else { return };
        if let Some(ticket) = reinvite.ticket {
            let other = self.leg_of(reinvite.from.other());
            if self.is_open(ticket) {
                self.outputs.push_back(Output::Cancel { ticket, passed: Vec::new() });
            } else if reinvite.offer.is_none() {
                // The 2xx that waits for the caller's answer gets its ACK, without one.
                self.put_body(ticket, None);
                self.outputs.push_back(Output::Ack { ticket, leg: other });
            }
        }
        if matches!(reinvite.stage, Stage::Offering | Stage::Asked | Stage::Answered) {
            self.refuse_open(&reinvite, 487, &[]);
        }
    }

    fn refuse_open(&mut self, reinvite: &Reinvite, status: u16, passed: &[Passed]) {
        let leg = self.leg_of(reinvite.from);
        let tag = self.local_tag(leg);
        let message =
            self.reply(reinvite.server, &reinvite.request, status, passed, tag.as_deref(), None, None);
        self.respond(reinvite.server, status, message);
    }

    fn reinvite_is_done(&mut self) {
        if let Step::Up(up) = &mut self.step {
            up.reinvite = None;
        }
        self.outputs.push_back(Output::Confirmed);
    }

    fn set_hold(&mut self, side: Side, hold: bool) {
        let leg = self.leg_of(side);
        let Some(facts) = self.facts_mut(leg) else { return };
        if std::mem::replace(&mut facts.hold, hold) == hold {
            return;
        }
        self.tell_usage(leg, if hold { Usage::OnHold } else { Usage::Up });
    }

    fn open_reinvite(&mut self) -> Option<&mut Reinvite> {
        match &mut self.step {
            Step::Up(up) => up.reinvite.as_mut(),
            _ => None,
        }
    }
}
