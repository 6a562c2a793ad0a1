//! Writing the messages of a call, and finding its parts by name.

use std::borrow::Cow;

use fairlead_model::ask::Refusal;
use fairlead_model::flow::Hop;
use sip_wire::{NameAddr, RequestWriter, ResponseWriter, default_reason, escape_user, quote};

use super::*;
use crate::leg::NextHop;

/// What we understand inside a call.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE";

/// Whether whoever cannot read the body may act as if there were none (RFC 3261 §20.11).
pub fn body_is_optional(message: &Message) -> bool {
    message
        .header(Header::ContentDisposition)
        .and_then(|value| sip_wire::Params::find(&value[value.find(';')?..], "handling"))
        .is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
}

/// Whether a message brings a session description that can be read.
pub fn has_description(message: &Message) -> bool {
    sdp_of(message).is_some()
}

/// Whether the body is written in a coding, which nobody here reads.
fn is_encoded(message: &Message) -> bool {
    message.values(Header::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// The session description of a message, if it has one: the body, or the first such part of a multipart body
/// (RFC 5621 §3.1).
pub(super) fn sdp_of(message: &Message) -> Option<Bytes> {
    if message.body().is_empty() || is_encoded(message) {
        return None;
    }
    if message.content_is("application/sdp") {
        return Some(message.body_bytes());
    }
    if !message.content_type()?.to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let body = message.body_bytes();
    let range = crate::multipart::part(message.content_type()?, &body, "application/sdp")?;
    Some(body.slice(range))
}

impl Call {
    /// The text of a request that [`Output::Request`] announced, under a Via whose branch was never used.
    pub fn write(&mut self, ticket: Ticket, via: &str) -> Option<Message> {
        let at = self.pending.iter().position(|pending| pending.ticket == ticket)?;
        let (leg, request) = (self.pending[at].leg, self.pending[at].request.clone());
        let writer = match self.pending[at].kind {
            PendingKind::Invite(number) => self.first_invite(number, at, via, &request)?,
            _ => {
                let dialog = self.dialog_mut(leg)?;
                let in_dialog = dialog.request(request.method.clone());
                in_dialog.writer(dialog, via, request.max_forwards)
            }
        };
        let with_contact = matches!(request.method, Method::Invite);
        let message = self.finish(writer, leg, &request, with_contact)?;
        self.pending[at].sent = Some(message.clone());
        let way = if matches!(self.pending[at].kind, PendingKind::Invite(_)) { "Init" } else { "Tx" };
        self.note(leg, &format!("{way}: {}", request.method.label()));
        Some(message)
    }

    /// The text of an ACK for a 2xx that [`Output::Ack`] announced. It is kept for repetitions of the 2xx.
    pub fn write_ack(&mut self, ticket: Ticket, leg: LegRef, via: &str, now: Now) -> Option<Bytes> {
        let pending = self.pending(ticket)?;
        let mut request = pending.request.clone();
        let cseq = pending.sent.as_ref()?.cseq().ok()?.number;
        request.method = Method::Ack;
        request.passed.clear();
        // Only a late offer is answered in its ACK; what the INVITE itself carried is no business of the ACK.
        request.body = request.body.take().filter(|_| pending.answers_in_ack);
        let t1 = self.policy(leg).map_or(500, |policy| policy.t1_ms);
        let dialog = self.dialog_mut(leg)?;
        let writer = dialog.ack(cseq).writer(dialog, via, 70);
        let remote_tag = dialog.remote_tag.clone();
        let message = self.finish(writer, leg, &request, false)?.bytes().clone();
        if let Some(acks) = self.acks_mut(leg) {
            let keep = Duration::from_millis(u64::from(t1)).saturating_mul(64);
            acks.keep(&remote_tag, cseq, message.clone(), keep, now.mono);
        }
        self.note(leg, "Tx: ACK");
        Some(message)
    }

    /// Where the next request of a leg goes.
    pub fn next_hop(&mut self, leg: LegRef) -> Option<NextHop> {
        let (binding, by_flow) = match leg {
            LegRef::A => {
                (self.a.policy.peer.clone().zip(self.a.binding.clone()), self.a.policy.nat.force_rport)
            }
            LegRef::B(_) | LegRef::Stray(_) => {
                let target = self.target(self.attempt_of(leg)?)?;
                let by_flow = target.policy.nat.force_rport || matches!(target.hop, Hop::Flow(_));
                (target.policy.peer.clone().zip(target.binding.clone()), by_flow)
            }
        };
        let uri = match self.dialog_mut(leg) {
            Some(dialog) => dialog.ack(0).next_hop,
            None => String::new(),
        };
        Some(NextHop { uri, by_flow, binding })
    }

    /// The leg that a request of ours is on.
    pub fn leg_of_ticket(&self, ticket: Ticket) -> Option<LegRef> {
        self.pending(ticket).map(|pending| pending.leg)
    }

    /// Whether a request that was announced is still to be sent.
    pub fn still_wants(&self, ticket: Ticket) -> bool {
        self.is_open(ticket)
    }

    /// How a leg's messages leave.
    pub fn outlet(&self, leg: LegRef) -> Option<&Outlet> {
        match leg {
            LegRef::A => Some(&self.a.outlet),
            _ => self.attempts.get(usize::from(self.attempt_of(leg)?.0))?.outlet.as_ref(),
        }
    }

    /// A leg's messages leave in another way from now on.
    pub fn set_outlet(&mut self, leg: LegRef, outlet: Outlet) {
        match leg {
            LegRef::A => self.a.outlet = outlet,
            _ => {
                if let Some(attempt) = self.attempt_of(leg).and_then(|number| self.attempt(number)) {
                    attempt.outlet = Some(outlet);
                }
            }
        }
    }

    /// The INVITE of an attempt, under the Call-ID and tag of the attempt. One that answers a challenge goes out
    /// again with the next CSeq (RFC 3261 §22.2).
    fn first_invite(
        &mut self,
        number: AttemptRef,
        at: usize,
        via: &str,
        request: &Request,
    ) -> Option<RequestWriter> {
        let cseq = match &self.pending[at].sent {
            Some(before) => before.cseq().ok()?.number.saturating_add(1),
            None => 1,
        };
        let attempt = self.attempts.get(usize::from(number.0))?;
        let target = &attempt.target;
        let outlet = attempt.outlet.as_ref()?;
        let mut writer = RequestWriter::new(&Method::Invite, &target.uri)
            .header(Header::Via, via)
            .header(Header::MaxForwards, request.max_forwards.to_string());
        for route in &target.route {
            writer.push(Header::Route, route);
        }
        Some(
            writer
                .header(Header::From, self.caller_for(attempt, outlet))
                .header(Header::To, format!("<{}>", target.uri))
                .header(Header::CallId, &attempt.call_id)
                .header(Header::CSeq, format!("{cseq} INVITE")),
        )
    }

    /// The caller as the callee sees him: by the settings of his peer, else as he called himself.
    fn caller_for(&self, attempt: &Attempt, outlet: &Outlet) -> String {
        let from = self.a.invite.as_ref().and_then(|invite| invite.from().ok());
        let user_of = |from: &NameAddr| from.uri.decoded_user().map(|user| user.into_owned());
        let (policy, target) = (&self.a.policy, &attempt.target.policy);
        let name = if policy.caller_name.is_empty() {
            from.as_ref()
                .and_then(|from| from.display.as_ref().map(|name| name.to_string()))
                .unwrap_or_default()
        } else {
            policy.caller_name.clone()
        };
        let user = target
            .from_user
            .clone()
            .or_else(|| Some(policy.caller_number.clone()).filter(|number| !number.is_empty()))
            .or_else(|| from.as_ref().and_then(user_of))
            .unwrap_or_else(|| "anonymous".to_owned());
        let domain = target.from_domain.as_deref().unwrap_or(outlet.host());
        let display = if name.is_empty() { String::new() } else { format!("{} ", quote(&name)) };
        format!("{display}<sip:{}@{domain}>;tag={}", escape_user(&user), attempt.tag)
    }

    fn finish(
        &self,
        mut writer: RequestWriter,
        leg: LegRef,
        request: &Request,
        contact: bool,
    ) -> Option<Message> {
        if contact {
            writer
                .push(Header::Contact, &self.outlet(leg)?.contact(&self.contact_user(&self.local_tag(leg)?)));
            writer.push(Header::Allow, ALLOW);
        }
        if let Some((header, value)) = &request.authorization {
            writer.push(*header, value);
        }
        for passed in &request.passed {
            writer.push(passed.header, &passed.value);
        }
        writer.push(Header::UserAgent, &self.user_agent);
        if let Some((kind, body)) = &request.body {
            writer = writer.body(kind, body.clone());
        }
        Message::parse(writer.finish()).ok()
    }

    /// The user of our Contact: the leg's tag, which names this pod; in an adopted call the tag names another, so the
    /// Contact says where the call is now.
    fn contact_user<'t>(&self, tag: &'t str) -> Cow<'t, str> {
        if self.a.invite.is_some() { Cow::Borrowed(tag) } else { Cow::Owned(self.names.tag(0)) }
    }

    /// A response of this call, with the request's Vias as its server transaction wants them (RFC 3581).
    fn answer(
        &self,
        server: ServerRef,
        request: &Message,
        status: u16,
        phrase: &str,
        tag: Option<&str>,
    ) -> ResponseWriter {
        let mut writer = request.response(status, phrase);
        if let Some(tag) = tag {
            writer = writer.to_tag(tag);
        }
        let (ip, port) = (server.source.ip(), server.source.port());
        if server.forced {
            writer.top_via_received_forced(ip, port)
        } else {
            writer.top_via_received(ip, port)
        }
    }

    /// A response; with an outlet it can make or refresh a dialog and says our Contact.
    #[expect(clippy::too_many_arguments, reason = "what a response says, one by one")]
    pub(super) fn reply(
        &self,
        server: ServerRef,
        request: &Message,
        status: u16,
        passed: &[Passed],
        tag: Option<&str>,
        outlet: Option<&Outlet>,
        sdp: Option<Bytes>,
    ) -> Bytes {
        let mut writer = self.answer(server, request, status, default_reason(status), tag);
        if let (Some(outlet), Some(tag)) = (outlet, tag) {
            writer = writer.record_route().header(Header::Contact, outlet.contact(&self.contact_user(tag)));
            writer.push(Header::Allow, ALLOW);
        }
        for passed in passed {
            writer.push(passed.header, &passed.value);
        }
        writer.push(Header::Server, &self.user_agent);
        match sdp {
            Some(sdp) => writer.body("application/sdp", sdp).finish(),
            None => writer.finish(),
        }
    }

    /// A refusal with its own phrase.
    pub(super) fn refusal(
        &self,
        server: ServerRef,
        request: &Message,
        refusal: &Refusal,
        passed: &[Passed],
        tag: Option<&str>,
    ) -> Bytes {
        let mut writer = self.answer(server, request, refusal.status, &refusal.phrase, tag);
        for passed in passed {
            writer.push(passed.header, &passed.value);
        }
        if let Some(seconds) = refusal.retry_after {
            writer.push(Header::RetryAfter, &seconds.to_string());
        }
        writer.header(Header::Server, &self.user_agent).finish()
    }

    /// 200 to an OPTIONS in a dialog (RFC 3261 §11.2).
    pub(super) fn options_ok(&self, server: ServerRef, request: &Message, tag: Option<&str>) -> Bytes {
        self.answer(server, request, 200, "OK", tag)
            .header(Header::Allow, ALLOW)
            .header(Header::Accept, "application/sdp")
            .header(Header::Server, &self.user_agent)
            .finish()
    }

    pub(super) fn respond(&mut self, server: ServerRef, status: u16, message: Bytes) {
        self.outputs.push_back(Output::Respond { server, status, message });
    }

    /// Refuses a request inside a dialog.
    pub(super) fn refuse_request(
        &mut self,
        leg: LegRef,
        server: ServerRef,
        request: &Message,
        status: u16,
        phrase: &str,
    ) {
        let phrase = if phrase.is_empty() { default_reason(status) } else { phrase };
        self.refuse_with(leg, server, request, &Refusal::new(status, phrase));
    }

    /// Refuses it for a while (RFC 3261 §14.2: 0 to 10 s, by chance).
    pub(super) fn refuse_request_later(
        &mut self,
        leg: LegRef,
        server: ServerRef,
        request: &Message,
        status: u16,
    ) {
        let mut refusal = Refusal::new(status, default_reason(status));
        refusal.retry_after = Some((self.session_id.wrapping_add(u64::from(self.next_ticket)) % 11) as u32);
        self.refuse_with(leg, server, request, &refusal);
    }

    fn refuse_with(&mut self, leg: LegRef, server: ServerRef, request: &Message, refusal: &Refusal) {
        let tag = self.local_tag(leg);
        let message = self.refusal(server, request, refusal, &[], tag.as_deref());
        self.respond(server, refusal.status, message);
    }

    /// Opens a request on a leg.
    pub(super) fn ask_leg(&mut self, leg: LegRef, kind: PendingKind, request: Request) -> Ticket {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let ticket = Ticket(self.next_ticket);
        let answers_in_ack = request.body.is_none() && request.method == Method::Invite;
        // What is done and needs no ACK any more makes room.
        self.pending.retain(|pending| {
            !pending.done || matches!(pending.kind, PendingKind::Invite(_) | PendingKind::Reinvite)
        });
        self.pending.push(Pending {
            ticket,
            leg,
            kind,
            request,
            sent: None,
            challenged: 0,
            answers_in_ack,
            done: false,
        });
        self.outputs.push_back(Output::Request { ticket, leg });
        ticket
    }

    pub(super) fn pending(&self, ticket: Ticket) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.ticket == ticket)
    }

    pub(super) fn pending_mut(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.ticket == ticket)
    }

    pub(super) fn is_open(&self, ticket: Ticket) -> bool {
        self.pending(ticket).is_some_and(|pending| !pending.done)
    }

    pub(super) fn close(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending_mut(ticket) {
            pending.done = true;
        }
    }

    /// The body of the ACK of a late offer.
    pub(super) fn put_body(&mut self, ticket: Ticket, body: Option<Bytes>) {
        if let Some(pending) = self.pending_mut(ticket) {
            pending.request.body = body.map(|sdp| ("application/sdp".to_owned(), sdp));
        }
    }

    /// Tells what the peer of a leg does now, if that is counted. That a caller is in a call and a callee rings, the
    /// registrar noted when it gave them their slots.
    pub(super) fn tell_usage(&mut self, leg: LegRef, usage: Usage) {
        let counted = self.policy(leg).filter(|policy| !policy.uncounted);
        if let Some(peer) = counted.and_then(|policy| policy.peer.clone()) {
            let ask = Ask::Usage { call: self.reference, peer, usage };
            self.outputs.push_back(Output::Tell(ask));
        }
    }

    pub(super) fn leg_of(&self, side: Side) -> LegRef {
        match side {
            Side::A => LegRef::A,
            Side::B => LegRef::B(self.winner.unwrap_or(AttemptRef(0))),
        }
    }

    pub(super) fn side_of(&self, leg: LegRef) -> Option<Side> {
        match leg {
            LegRef::A => Some(Side::A),
            LegRef::B(number) if self.winner == Some(number) => Some(Side::B),
            LegRef::B(_) | LegRef::Stray(_) => None,
        }
    }

    /// The attempt that a leg belongs to; none for leg A.
    pub fn attempt_of(&self, leg: LegRef) -> Option<AttemptRef> {
        match leg {
            LegRef::A => None,
            LegRef::B(number) => Some(number),
            LegRef::Stray(at) => self.strays.get(usize::from(at)).map(|stray| stray.attempt),
        }
    }

    pub(super) fn dialog(&self, leg: LegRef) -> Option<&Dialog> {
        match leg {
            LegRef::A => self.a.dialog.as_ref(),
            LegRef::B(number) => self.attempts.get(usize::from(number.0))?.dialog.as_ref(),
            LegRef::Stray(at) => self.strays.get(usize::from(at)).map(|stray| &stray.dialog),
        }
    }

    pub(super) fn dialog_mut(&mut self, leg: LegRef) -> Option<&mut Dialog> {
        match leg {
            LegRef::A => self.a.dialog.as_mut(),
            LegRef::B(number) => self.attempt(number)?.dialog.as_mut(),
            LegRef::Stray(at) => self.strays.get_mut(usize::from(at)).map(|stray| &mut stray.dialog),
        }
    }

    pub(super) fn acks_mut(&mut self, leg: LegRef) -> Option<&mut Acks> {
        match leg {
            LegRef::A => Some(&mut self.a.acks),
            _ => {
                let number = self.attempt_of(leg)?;
                self.attempt(number).map(|attempt| &mut attempt.acks)
            }
        }
    }

    pub(super) fn negotiation_mut(&mut self, side: Side) -> Option<&mut Negotiation> {
        match side {
            Side::A => Some(&mut self.a.negotiation),
            Side::B => {
                let number = self.winner?;
                self.attempt(number).map(|attempt| &mut attempt.negotiation)
            }
        }
    }

    pub(super) fn facts_mut(&mut self, leg: LegRef) -> Option<&mut Facts> {
        match leg {
            LegRef::A => Some(&mut self.a.facts),
            LegRef::B(number) => self.attempt(number).map(|attempt| &mut attempt.facts),
            LegRef::Stray(_) => None,
        }
    }

    pub(super) fn hear(&mut self, leg: LegRef, message: &Message) {
        if let Some(facts) = self.facts_mut(leg) {
            facts.heard(message);
        }
    }

    pub(super) fn note(&mut self, leg: LegRef, what: &str) {
        if let Some(facts) = self.facts_mut(leg) {
            facts.last_message.clear();
            facts.last_message.push_str(what);
        }
    }

    /// Our tag on a leg.
    pub(super) fn local_tag(&self, leg: LegRef) -> Option<String> {
        match leg {
            LegRef::A => match &self.a.dialog {
                Some(dialog) => Some(dialog.local_tag.clone()),
                None => self.a.early.last().map(|early| early.tag.clone()),
            },
            _ => self.attempts.get(usize::from(self.attempt_of(leg)?.0)).map(|attempt| attempt.tag.clone()),
        }
    }
}
