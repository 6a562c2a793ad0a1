//! Requests of the phone: sent, repeated, answered, acknowledged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_wire::{Contacts, Header, Message, Method, RequestWriter};

use super::{CallState, Heard, Phone, T1, T1_64, T2};
use crate::digest;

/// A request that waits for its final response.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    request: Message,
    call: Option<usize>,
    /// When it is sent again; an INVITE with a provisional response is not.
    again: Option<Instant>,
    interval: Duration,
    end: Instant,
}

impl Waiting {
    pub fn due(&self) -> Instant {
        self.again.map_or(self.end, |again| again.min(self.end))
    }
}

impl Phone {
    /// Sends a request and waits for its answer.
    pub(super) fn request(&mut self, bytes: Bytes, call: Option<usize>, now: Instant) {
        let Ok(request) = Message::parse(bytes.clone()) else {
            self.heard.push(Heard::Stray("a request of its own".to_owned()));
            return;
        };
        self.send(self.edge, bytes);
        self.waiting.push(Waiting { request, call, again: Some(now + T1), interval: T1, end: now + T1_64 });
    }

    /// Sends a request inside (or, the first INVITE, at the head of) a call.
    pub(super) fn in_call(&mut self, number: usize, method: Method, sdp: Option<Bytes>, now: Instant) {
        self.calls[number].cseq += 1;
        self.calls[number].authenticated = false;
        let mut writer = self.call_head(number, &method, self.calls[number].cseq);
        writer = writer.header(Header::Contact, self.contact());
        if let Some(sdp) = sdp {
            writer = writer.body("application/sdp", sdp);
        }
        self.request(writer.finish(), Some(number), now);
    }

    fn call_head(&mut self, number: usize, method: &Method, cseq: u32) -> RequestWriter {
        let target = self.calls[number].target.clone();
        let mut writer = self.head(method, &target);
        let call = &self.calls[number];
        for route in &call.routes {
            writer = writer.header(Header::Route, route);
        }
        writer
            .header(Header::From, &call.local)
            .header(Header::To, &call.remote)
            .header(Header::CallId, &call.call_id)
            .header(Header::CSeq, format!("{cseq} {}", method.as_str()))
    }

    /// Cancels the INVITE of a call, now or after its first provisional response (§9.1).
    pub(super) fn cancel_invite(&mut self, number: usize, now: Instant) {
        let invite =
            self.waiting.iter().find(|w| w.call == Some(number) && *w.request.method() == Method::Invite);
        let Some(invite) = invite else { return };
        self.calls[number].cancelled = true;
        if invite.again.is_some() {
            self.calls[number].cancelling = true;
            return;
        }
        self.calls[number].cancelling = false;
        let bytes = same_hop(&invite.request, &invite.request, Method::Cancel);
        self.request(bytes, Some(number), now);
    }

    pub(super) fn receive_response(&mut self, response: &Message, now: Instant) {
        let status = response.status().unwrap_or(0);
        let method = response.method().clone();
        let branch = |message: &Message| message.top_via().ok().and_then(|via| via.branch);
        let same = |w: &Waiting| *w.request.method() == method && branch(&w.request) == branch(response);
        let Some(at) = self.waiting.iter().position(same) else {
            self.receive_late(response);
            return;
        };
        self.heard.push(Heard::Response(method.clone(), status));
        if status < 200 {
            let waiting = &mut self.waiting[at];
            if method == Method::Invite {
                waiting.again = None;
                waiting.end = now + T1_64 * 4;
            }
            if let (Method::Invite, Some(number)) = (&method, waiting.call) {
                self.provisional(number, response, status, now);
            }
            return;
        }
        let waiting = self.waiting.remove(at);
        if method == Method::Invite && status >= 300 {
            let ack = same_hop(&waiting.request, response, Method::Ack);
            self.acks.insert(ack_key(response), ack.clone());
            self.send(self.edge, ack);
        }
        if matches!(status, 401 | 407) && self.try_again(&waiting, response, now) {
            return;
        }
        match (method, waiting.call) {
            (Method::Register, _) => self.registration.status = Some(status),
            (Method::Invite, Some(number)) => self.invite_done(number, &waiting, response, now),
            _ => {}
        }
    }

    /// A response that nothing waits for: an ACK of ours may have been lost.
    fn receive_late(&mut self, response: &Message) {
        match self.acks.get(&ack_key(response)) {
            Some(ack) if response.status().is_some_and(|status| status >= 200) => {
                let ack = ack.clone();
                self.send(self.edge, ack);
            }
            _ => {}
        }
    }

    fn provisional(&mut self, number: usize, response: &Message, status: u16, now: Instant) {
        let call = &mut self.calls[number];
        if status > 100 && call.state == CallState::Calling {
            call.state = CallState::Ringing;
        }
        if status > 100 && !response.body().is_empty() {
            call.their_sdp = response.body_bytes();
        }
        if call.cancelling {
            self.cancel_invite(number, now);
        }
    }

    fn invite_done(&mut self, number: usize, waiting: &Waiting, response: &Message, now: Instant) {
        let status = response.status().unwrap_or(0);
        let initial = waiting.request.to_tag().is_none();
        if status >= 300 {
            if initial {
                self.calls[number].state = CallState::Ended { status: Some(status) };
            }
            return;
        }
        let call = &mut self.calls[number];
        call.remote_tag = response.to_tag().map(|tag| tag.to_string()).unwrap_or_default();
        call.remote = response.header(Header::To).unwrap_or_default().to_owned();
        call.their_sdp = response.body_bytes();
        if let Ok(Contacts::List(list)) = response.contacts()
            && let Some(contact) = list.first()
        {
            call.target = contact.uri.as_str().to_owned();
        }
        if initial {
            call.routes = response.values(Header::RecordRoute).map(|value| value.to_string()).collect();
            call.routes.reverse();
        }
        let over = call.is_over();
        if !over {
            call.state = CallState::Up;
        }
        let cseq = waiting.request.cseq().map(|cseq| cseq.number).unwrap_or(0);
        let ack = self.call_head(number, &Method::Ack, cseq).finish();
        self.acks.insert(ack_key(response), ack.clone());
        self.send(self.edge, ack);
        // §9.1: the answer crossed our CANCEL.
        if initial && self.calls[number].cancelled && !over {
            self.hang_up(number, now);
        }
    }

    /// Sends a challenged request again with credentials, once.
    fn try_again(&mut self, waiting: &Waiting, response: &Message, now: Instant) -> bool {
        let request = &waiting.request;
        let (challenge, answer) = match response.status() {
            Some(407) => (Header::ProxyAuthenticate, Header::ProxyAuthorization),
            _ => (Header::WwwAuthenticate, Header::Authorization),
        };
        if request.header(answer).is_some() && !stale(response, challenge) {
            return false;
        }
        let uri = request.request_uri().to_owned();
        let method = request.method().clone();
        let value = response
            .headers(challenge)
            .find_map(|value| digest::answer(value, &self.name, &self.password, method.as_str(), &uri));
        let Some(value) = value else { return false };
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0) + 1;
        match waiting.call {
            Some(number) => self.calls[number].cseq = cseq,
            None => self.registration.cseq = cseq,
        }
        let mut writer = self.head(&method, &uri);
        for header in [Header::Route, Header::From, Header::To, Header::CallId] {
            writer = writer.copy_from(request, header);
        }
        writer = writer.header(Header::CSeq, format!("{cseq} {}", method.as_str())).header(answer, value);
        for header in [Header::Contact, Header::Expires] {
            writer = writer.copy_from(request, header);
        }
        if !request.body().is_empty() {
            writer = writer.body(request.content_type().unwrap_or_default(), request.body_bytes());
        }
        self.request(writer.finish(), waiting.call, now);
        true
    }

    pub(super) fn repeat_requests(&mut self, now: Instant) {
        let mut again = Vec::new();
        let mut late = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if waiting.end <= now {
                late.push(waiting.clone());
                return false;
            }
            if waiting.again.is_some_and(|at| at <= now) {
                again.push(waiting.request.bytes().clone());
                waiting.interval *= 2;
                if *waiting.request.method() != Method::Invite {
                    waiting.interval = waiting.interval.min(T2);
                }
                waiting.again = Some(now + waiting.interval);
            }
            true
        });
        for bytes in again {
            self.send(self.edge, bytes);
        }
        for waiting in late {
            let method = waiting.request.method().clone();
            match (&method, waiting.call) {
                (Method::Invite, Some(number)) if waiting.request.to_tag().is_none() => {
                    self.calls[number].state = CallState::Ended { status: Some(408) };
                }
                (Method::Register, _) => self.registration.status = Some(408),
                _ => {}
            }
            self.heard.push(Heard::NoAnswer(method));
        }
    }
}

fn stale(response: &Message, challenge: Header) -> bool {
    response.headers(challenge).any(|value| value.to_ascii_lowercase().contains("stale=true"))
}

/// What tells one acknowledged response from another.
fn ack_key(response: &Message) -> String {
    let cseq = response.cseq().map(|cseq| cseq.number).unwrap_or(0);
    let tag = response.to_tag().map(|tag| tag.to_string()).unwrap_or_default();
    format!("{} {cseq} {tag} {}", response.call_id(), response.method().as_str())
}

/// ACK or CANCEL on the way of `request`, with the To of `to_of`.
fn same_hop(request: &Message, to_of: &Message, method: Method) -> Bytes {
    let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0);
    RequestWriter::new(&method, request.request_uri())
        .header(Header::Via, request.values(Header::Via).next().unwrap_or_default())
        .header(Header::MaxForwards, "70")
        .copy_from(request, Header::Route)
        .copy_from(request, Header::From)
        .copy_from(to_of, Header::To)
        .copy_from(request, Header::CallId)
        .header(Header::CSeq, format!("{cseq} {}", method.as_str()))
        .finish()
}
