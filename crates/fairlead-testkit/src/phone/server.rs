//! Requests that come to the phone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_wire::{Contacts, Header, Message, Method};

use super::{CallState, Heard, Incoming, Phone, PhoneCall, T1, T1_64, T2};

/// A final response to an INVITE that waits for its ACK.
#[derive(Clone, Debug)]
pub(super) struct Unacknowledged {
    call: usize,
    success: bool,
    call_id: String,
    cseq: u32,
    bytes: Bytes,
    to: SocketAddr,
    again: Instant,
    interval: Duration,
    end: Instant,
}

impl Unacknowledged {
    pub fn due(&self) -> Instant {
        self.again.min(self.end)
    }
}

impl Phone {
    pub(super) fn receive_request(&mut self, request: &Message, from: SocketAddr, now: Instant) {
        let method = request.method().clone();
        let key = key(request, &method);
        if method != Method::Ack
            && let Some(response) = self.answered.get(&key)
        {
            let response = response.clone();
            if !response.is_empty() {
                self.send(from, response);
            }
            return;
        }
        self.heard.push(Heard::Request(method.clone()));
        let number = self.find(request, request.to_tag());
        match (&method, number) {
            (Method::Ack, _) => self.receive_ack(request),
            (Method::Invite, _) if request.to_tag().is_none() => self.receive_invite(request, from, now),
            (Method::Cancel, _) => self.receive_cancel(request, from, now),
            (Method::Invite, Some(number)) => self.receive_reinvite(number, request, from, now),
            (Method::Bye, Some(number)) => {
                self.calls[number].state = CallState::Ended { status: None };
                self.respond(request, from, 200, None, false);
            }
            (_, Some(number)) => {
                self.calls[number].their_cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0);
                self.respond(request, from, 200, None, false);
            }
            (_, None) if request.to_tag().is_some() => self.respond(request, from, 481, None, false),
            (_, None) => self.respond(request, from, 200, None, false),
        }
    }

    fn receive_invite(&mut self, request: &Message, from: SocketAddr, now: Instant) {
        if self.incoming == Incoming::Silent {
            // Remembered, so that repetitions are no new calls.
            self.answered.insert(key(request, &Method::Invite), Bytes::new());
            return;
        }
        let tag = self.unique("tag");
        let mut call = PhoneCall::new(request.call_id().to_string(), tag.clone(), false);
        call.remote_tag = request.from_tag().map(|tag| tag.to_string()).unwrap_or_default();
        call.local = format!("{};tag={tag}", request.header(Header::To).unwrap_or_default());
        call.remote = request.header(Header::From).unwrap_or_default().to_owned();
        call.routes = request.values(Header::RecordRoute).map(|value| value.to_string()).collect();
        call.their_sdp = request.body_bytes();
        call.their_cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0);
        if let Ok(Contacts::List(list)) = request.contacts()
            && let Some(contact) = list.first()
        {
            call.target = contact.uri.as_str().to_owned();
        }
        call.state = CallState::Ringing;
        call.ringing = Some((request.clone(), from));
        self.calls.push(call);
        let number = self.calls.len() - 1;
        match self.incoming {
            Incoming::Refuse(status) => self.answer_invite(number, status, now),
            Incoming::Answer(after) => {
                self.respond(request, from, 180, Some(number), false);
                self.calls[number].answer_at = Some(now + after);
            }
            Incoming::Ring | Incoming::Silent => self.respond(request, from, 180, Some(number), false),
        }
    }

    fn receive_reinvite(&mut self, number: usize, request: &Message, from: SocketAddr, now: Instant) {
        let call = &mut self.calls[number];
        call.their_cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0);
        call.their_sdp = request.body_bytes();
        call.ringing = Some((request.clone(), from));
        if let Ok(Contacts::List(list)) = request.contacts()
            && let Some(contact) = list.first()
        {
            call.target = contact.uri.as_str().to_owned();
        }
        self.answer_invite(number, 200, now);
    }

    fn receive_cancel(&mut self, request: &Message, from: SocketAddr, now: Instant) {
        let invite = key(request, &Method::Invite);
        let ringing = self.calls.iter().position(|call| {
            call.ringing.as_ref().is_some_and(|(waiting, _)| key(waiting, &Method::Invite) == invite)
        });
        // §9.2: 200 whenever the INVITE is known, answered or not.
        let known = ringing.is_some() || self.answered.contains_key(&invite);
        self.respond(request, from, if known { 200 } else { 481 }, ringing, false);
        if let Some(number) = ringing {
            self.answer_invite(number, 487, now);
        }
    }

    fn receive_ack(&mut self, request: &Message) {
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or(0);
        self.unacknowledged.retain(|waiting| waiting.call_id != *request.call_id() || waiting.cseq != cseq);
    }

    /// Gives the INVITE that waits its final response, and repeats it until the ACK comes.
    pub(super) fn answer_invite(&mut self, number: usize, status: u16, now: Instant) {
        self.calls[number].answer_at = None;
        let Some((invite, from)) = self.calls[number].ringing.take() else { return };
        let initial = invite.to_tag().is_none();
        self.calls[number].state = match status {
            200..300 => CallState::Up,
            _ if initial => CallState::Ended { status: Some(status) },
            _ => CallState::Up,
        };
        self.respond(&invite, from, status, Some(number), status < 300);
        let bytes = self.answered.get(&key(&invite, &Method::Invite)).cloned().unwrap_or_default();
        self.unacknowledged.push(Unacknowledged {
            call: number,
            success: status < 300,
            call_id: invite.call_id().to_string(),
            cseq: invite.cseq().map(|cseq| cseq.number).unwrap_or(0),
            bytes,
            to: from,
            again: now + T1,
            interval: T1,
            end: now + T1_64,
        });
    }

    fn respond(&mut self, request: &Message, to: SocketAddr, status: u16, call: Option<usize>, sdp: bool) {
        let reason = match status {
            180 => "Ringing",
            200 => "OK",
            481 => "Call/Transaction Does Not Exist",
            486 => "Busy Here",
            487 => "Request Terminated",
            603 => "Decline",
            _ => "Whatever",
        };
        let mut writer = request.response(status, reason).record_route().top_via_received(to.ip(), to.port());
        let tag = match call {
            Some(number) => self.calls[number].local_tag.clone(),
            None => self.unique("tag"),
        };
        writer = writer.to_tag(&tag);
        if call.is_some() {
            writer = writer.header(Header::Contact, self.contact());
        }
        if sdp {
            writer = writer.body("application/sdp", self.sdp.clone());
        }
        let bytes = writer.finish();
        self.answered.insert(key(request, request.method()), bytes.clone());
        self.send(to, bytes);
    }

    pub(super) fn repeat_responses(&mut self, now: Instant) {
        let mut again = Vec::new();
        let mut lost = Vec::new();
        self.unacknowledged.retain_mut(|waiting| {
            if waiting.end <= now {
                lost.extend(waiting.success.then_some(waiting.call));
                return false;
            }
            if waiting.again <= now {
                waiting.interval = (waiting.interval * 2).min(T2);
                waiting.again = now + waiting.interval;
                again.push((waiting.to, waiting.bytes.clone()));
            }
            true
        });
        for (to, bytes) in again {
            self.send(to, bytes);
        }
        // §13.3.1.4: without an ACK the session is ended.
        for call in lost {
            if !self.calls[call].is_over() {
                self.hang_up(call, now);
            }
        }
    }
}

/// What a repetition has in common with the first.
fn key(request: &Message, method: &Method) -> String {
    let branch = request.top_via().ok().and_then(|via| via.branch);
    let branch = branch.as_deref().unwrap_or_default();
    format!("{branch} {}", method.as_str())
}
