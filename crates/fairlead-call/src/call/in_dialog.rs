//! Requests and responses inside the dialogs of a call, sorted to the step that they belong to, and INFO and
//! MESSAGE, which simply pass (RFC 6086, RFC 3428 §4).

use super::*;

/// Why a request of ours got no final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came in time: like 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// It could not be sent: like 503.
    Transport,
}

impl Call {
    /// The leg that a request in a dialog belongs to, by its tags.
    pub fn leg_of_request(&self, request: &Message) -> Option<LegRef> {
        let to = request.to_tag()?;
        let call_id = request.call_id();
        let owns = |dialog: &Dialog| dialog.owns_request(request);
        if let Some(dialog) = &self.a.dialog {
            if owns(dialog) {
                return Some(LegRef::A);
            }
        } else if let Some(invite) = &self.a.invite
            && invite.call_id() == call_id
            && invite.from_tag() == request.from_tag()
            && self.a.early.iter().any(|early| to == early.tag.as_str())
        {
            return Some(LegRef::A);
        }
        if let Some(at) = self.strays.iter().position(|stray| owns(&stray.dialog)) {
            return Some(LegRef::Stray(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        self.attempts
            .iter()
            .find(|attempt| attempt.dialog.as_ref().is_some_and(owns))
            .map(|attempt| LegRef::B(attempt.number))
    }

    /// Whether a request comes in the order of its dialog (RFC 3261 §12.2.2), so that it is new and not an old one that
    /// somebody sent again. [`request`](Self::request) refuses others.
    pub fn is_in_order(&self, leg: LegRef, request: &Message) -> bool {
        match (self.dialog(leg), leg, &self.a.invite) {
            (Some(dialog), ..) => dialog.is_in_order(request),
            // An early dialog of leg A: what comes after its INVITE.
            (None, LegRef::A, Some(invite)) => match (request.cseq(), invite.cseq()) {
                (Ok(cseq), Ok(first)) => cseq.number > first.number,
                _ => false,
            },
            (None, ..) => false,
        }
    }

    /// A request came in a dialog of this call; `server` is its transaction. Not ACK, not CANCEL.
    pub fn request(&mut self, leg: LegRef, server: ServerRef, request: &Message, now: Now) {
        let in_order = self.is_in_order(leg, request)
            && self.dialog_mut(leg).is_none_or(|dialog| dialog.check_order(request).is_ok());
        if !in_order {
            // §12.2.2
            return self.refuse_request(leg, server, request, 500, "CSeq out of order");
        }
        self.hear(leg, request);
        match request.method() {
            Method::Bye => self.bye(leg, server, request, now),
            Method::Options => {
                let tag = self.local_tag(leg);
                let message = self.options_ok(server, request, tag.as_deref());
                self.respond(server, 200, message);
            }
            Method::Invite if self.side_of(leg).is_some() => self.reinvite(leg, server, request, now),
            Method::Info | Method::Message => self.pass(leg, server, request),
            _ => self.refuse_request(leg, server, request, 481, ""),
        }
    }

    /// Passes INFO or MESSAGE to the other leg.
    fn pass(&mut self, leg: LegRef, server: ServerRef, request: &Message) {
        // From the 200 on both legs are dialogs, whether the caller's ACK has come or got lost (§12.1.1).
        let both = !self.is_ending() && self.a.dialog.is_some();
        let Some(other) = self.side_of(leg).map(|side| self.leg_of(side.other())).filter(|_| both) else {
            // After the end there is nobody to pass it to. Before the answer there is nobody yet: 480 would end the
            // usage of the dialog (RFC 5057 §5.1), 500 with Retry-After only this request.
            return match self.is_ending() {
                true => self.refuse_request(leg, server, request, 481, ""),
                false => self.refuse_request_later(leg, server, request, 500),
            };
        };
        let passing =
            self.pending.iter().filter(|p| !p.done && matches!(p.kind, PendingKind::Pass { .. })).count();
        if passing >= MAX_PASSING {
            return self.refuse_request(leg, server, request, 500, "Too many requests in this dialog");
        }
        let max_forwards = match request.max_forwards() {
            Some(Ok(hops)) => hops.saturating_sub(1),
            _ => 70,
        };
        let method = request.method().clone();
        let mut body = None;
        if crate::passes::body_passes(&method) && !request.body().is_empty() {
            let kind = request.header(Header::ContentType).unwrap_or("text/plain").to_string();
            body = Some((kind, request.body_bytes()));
        }
        let passed = crate::passes::pick(request, crate::passes::request_headers(&method));
        let kind = PendingKind::Pass { from: leg, server, request: request.clone() };
        self.ask_leg(other, kind, Request { method, passed, body, max_forwards, authorization: None });
    }

    /// A response to a request of ours came.
    pub fn response(&mut self, ticket: Ticket, response: &Message, now: Now) {
        let Some(pending) = self.pending(ticket) else { return };
        let (leg, kind, done) = (pending.leg, pending.kind.clone(), pending.done);
        let Some(status) = response.status() else { return };
        if status < 200 {
            if let PendingKind::Invite(number) = kind {
                self.provisional(number, response, now);
            }
            return;
        }
        if matches!(status, 401 | 407) && !done && self.wants_answer(ticket, leg, response) {
            return;
        }
        if let (PendingKind::Invite(number), 200..=299) = (&kind, status) {
            return self.answered(*number, ticket, response, now);
        }
        if let (PendingKind::Reinvite, 200..=299) = (&kind, status) {
            return self.reinvite_answered(leg, ticket, response, now);
        }
        // RFC 3263 §4.3: a host that is out of service.
        if let (PendingKind::Invite(number), 503, false) = (&kind, status, done)
            && self.next_address(*number, ticket, now)
        {
            return;
        }
        self.close(ticket);
        self.hear(leg, response);
        match kind {
            PendingKind::Invite(number) => self.attempt_refused(number, status, response, now),
            PendingKind::Reinvite => {
                let passed = crate::passes::pick(
                    response,
                    crate::passes::response_headers(&Method::Invite, crate::caller_gets::in_dialog(status)),
                );
                self.reinvite_refused(status, passed, now);
            }
            PendingKind::Pass { from, server, request } => {
                self.passed_back(from, server, &request, response, now);
            }
            PendingKind::Bye => {}
        }
    }

    /// A request of ours failed without a response.
    pub fn failed(&mut self, ticket: Ticket, why: Failure, now: Now) {
        let Some(pending) = self.pending(ticket) else { return };
        let (kind, done) = (pending.kind.clone(), pending.done);
        if done {
            return;
        }
        if let PendingKind::Invite(number) = kind
            && self.next_address(number, ticket, now)
        {
            return;
        }
        self.close(ticket);
        match kind {
            PendingKind::Invite(number) => {
                let Some(attempt) = self.attempt(number) else { return };
                if attempt.state == AttemptState::Left {
                    return;
                }
                let cause = match why {
                    Failure::Timeout => Cause::Silent,
                    Failure::Transport => Cause::FlowLost,
                };
                self.leave(number, cause, Vec::new(), now);
            }
            PendingKind::Reinvite => match why {
                Failure::Timeout => self.reinvite_refused(408, Vec::new(), now),
                Failure::Transport => self.reinvite_refused(503, Vec::new(), now),
            },
            PendingKind::Pass { from, server, request } => {
                // RFC 4320 §4.2: no 408 to a request that is no INVITE; its sender times out by itself.
                if why == Failure::Transport {
                    self.refuse_request(from, server, &request, 500, "The other leg cannot be reached");
                }
            }
            PendingKind::Bye => {}
        }
    }

    /// A request was cancelled before it was sent.
    pub fn not_sent(&mut self, ticket: Ticket, now: Now) {
        let Some(pending) = self.pending(ticket).filter(|pending| !pending.done) else { return };
        let reinvite = matches!(pending.kind, PendingKind::Reinvite);
        self.close(ticket);
        if reinvite {
            self.reinvite_refused(487, Vec::new(), now);
        }
    }

    /// An attempt's INVITE was refused.
    fn attempt_refused(&mut self, number: AttemptRef, status: u16, response: &Message, now: Now) {
        let Some(attempt) = self.attempt(number) else { return };
        if attempt.state == AttemptState::Left {
            return;
        }
        let cause = Cause::Answered(status);
        let list = crate::passes::response_headers(&Method::Invite, cause.refusal().status);
        self.leave(number, cause, crate::passes::pick(response, list), now);
    }

    /// The other leg's answer to INFO or MESSAGE.
    fn passed_back(
        &mut self,
        from: LegRef,
        server: ServerRef,
        request: &Message,
        response: &Message,
        now: Now,
    ) {
        let status = crate::caller_gets::in_dialog(response.status().unwrap_or(500));
        let method = request.method();
        let passed = crate::passes::pick(response, crate::passes::response_headers(method, status));
        let tag = self.local_tag(from);
        let message = self.reply(server, request, status, &passed, tag.as_deref(), None, None);
        self.respond(server, status, message);
        if status == 481 && self.is_up() {
            // RFC 5057 §5.1: the other end has no such dialog any more.
            self.hang_up(None, EndedBy::Failure, Vec::new(), now);
        }
    }

    /// A challenge is answered by the registrar for static peers, twice at most.
    fn wants_answer(&mut self, ticket: Ticket, leg: LegRef, response: &Message) -> bool {
        let Some(policy) = self.policy(leg).filter(|policy| policy.answers_challenges) else { return false };
        let Some(peer) = policy.peer.clone() else { return false };
        let proxy = response.status() == Some(407);
        let header = if proxy { Header::ProxyAuthenticate } else { Header::WwwAuthenticate };
        let challenges: Vec<String> =
            response.headers(header).take(8).map(|value| value.to_string()).collect();
        let Some(pending) = self.pending_mut(ticket) else { return false };
        if challenges.is_empty() || pending.challenged >= 2 {
            return false;
        }
        let Some(sent) = &pending.sent else { return false };
        let Ok(cseq) = sent.cseq().map(|cseq| cseq.number) else { return false };
        pending.challenged += 1;
        let (method, uri) = (sent.method().as_str().to_owned(), sent.request_uri().to_owned());
        if let PendingKind::Invite(number) = pending.kind
            && let Some(attempt) = self.attempt(number)
        {
            // Its host was heard; the silence that counts is that after the INVITE with credentials.
            attempt.silent_until = None;
        }
        self.outputs.push_back(Output::AnswerChallenge {
            ticket,
            peer,
            challenges,
            method,
            uri,
            cseq,
            proxy,
        });
        true
    }

    /// The registrar answered the challenge to the request with this CSeq, or would not.
    pub fn challenge_answered(
        &mut self,
        ticket: Ticket,
        cseq: u32,
        proxy: bool,
        value: Option<String>,
        now: Now,
    ) {
        let ending = self.is_ending();
        let Some(pending) = self.pending_mut(ticket) else { return };
        let (leg, kind, done) = (pending.leg, pending.kind.clone(), pending.done);
        let sent = pending.sent.as_ref().and_then(|sent| sent.cseq().ok()).map(|cseq| cseq.number);
        // Another host has the INVITE by now, to whom these credentials say nothing.
        if done || sent != Some(cseq) {
            return;
        }
        let left = match &kind {
            PendingKind::Invite(number) => {
                self.attempt(*number).is_none_or(|a| a.state == AttemptState::Left)
            }
            PendingKind::Reinvite => ending,
            _ => false,
        };
        match value {
            Some(value) if !left => {
                let header = if proxy { Header::ProxyAuthorization } else { Header::Authorization };
                if let Some(pending) = self.pending_mut(ticket) {
                    pending.request.authorization = Some((header, value));
                }
                if let PendingKind::Invite(number) = kind
                    && let Some(attempt) = self.attempt(number)
                {
                    attempt.state = AttemptState::Calling;
                    self.begin_waiting(number, now);
                }
                self.outputs.push_back(Output::Request { ticket, leg });
            }
            _ => {
                self.close(ticket);
                match kind {
                    PendingKind::Invite(number) if !left => {
                        self.leave(number, Cause::Answered(401), Vec::new(), now);
                    }
                    PendingKind::Reinvite => self.reinvite_refused(403, Vec::new(), now),
                    PendingKind::Pass { from, server, request } => {
                        self.refuse_request(from, server, &request, 403, "");
                    }
                    _ => {}
                }
            }
        }
    }
}
