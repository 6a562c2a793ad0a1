//! What a phone of the probe does with requests that come to it.

use std::net::SocketAddr;
use std::time::Instant;

use sip_dialog::{Acks, Dialog, Unacknowledged};
use sip_transaction::{Request, Timers, Transactions};
use sip_wire::{Header, Message, Method, ResponseWriter, default_reason};

use super::{ALLOW, Call, Phone};
use crate::link::Transport;
use crate::text::token;

impl Phone {
    pub(super) fn requested(&mut self, request: Message) {
        let now = Instant::now();
        match self.transactions.handle_request(&request, now) {
            Request::New => match request.method() {
                Method::Invite if request.to_tag().is_some() => self.asked_again(&request, now),
                Method::Invite => self.called(&request, now),
                Method::Bye => self.ended(&request, now),
                Method::Options => {
                    let answer = request.response(200, "OK").to_tag(&token()).header(Header::Allow, ALLOW);
                    self.answer(&request, 200, answer, now);
                }
                // Told, not asked: message waiting and the like.
                Method::Notify => self.say(&request, 200, now),
                _ => self.say(&request, 405, now),
            },
            // Whoever calls is answered at once: what would be cancelled is over.
            Request::Cancel { .. } => self.say(&request, 481, now),
            Request::Ack => {
                if let Some(call) = self.call.as_mut().filter(|call| is_of(&call.dialog, &request))
                    && let Ok(cseq) = request.cseq()
                    && let Some(waiting) = &mut call.unacknowledged
                    && waiting.handle_ack(cseq.number)
                {
                    call.unacknowledged = None;
                    call.acknowledged = true;
                }
            }
            Request::Retransmission(_) => self.repeated += 1,
            Request::Acknowledged(_) | Request::Unmatchable => {}
        }
    }

    /// A call.
    fn called(&mut self, request: &Message, now: Instant) {
        if self.call.is_some() || self.sdp.is_empty() {
            return self.say(request, 486, now);
        }
        let Some(audio) = audio_of(request) else { return self.say(request, 488, now) };
        let tag = token();
        let Ok(mut dialog) = Dialog::uas(request, &tag, 1) else { return self.say(request, 400, now) };
        dialog.confirm();
        let answer = self.description(request, &tag).finish();
        let Ok(cseq) = request.cseq() else { return };
        let timers = Timers::default();
        let opened = self.transactions.open_server(request, (), self.is_reliable(), timers, now);
        let Ok(id) = opened else { return };
        // A transaction that was just opened takes both.
        let ringing = request.response(180, "Ringing").record_route().to_tag(&tag);
        let ringing = ringing.header(Header::Contact, self.contact()).finish();
        let _ = self.transactions.respond(id, 180, ringing, now);
        let _ = self.transactions.respond(id, 200, answer.clone(), now);
        self.call = Some(Call {
            dialog,
            audio,
            unacknowledged: Some(Unacknowledged::new(answer, cseq.number, timers.t1, timers.t2, now)),
            acks: Acks::default(),
            ended: false,
            acknowledged: false,
        });
    }

    /// A re-INVITE: a refresh, or other media; both are answered with what is so anyway.
    fn asked_again(&mut self, request: &Message, now: Instant) {
        let Some(call) = self.call.as_mut().filter(|call| is_of(&call.dialog, request)) else {
            return self.say(request, 481, now);
        };
        if call.dialog.check_order(request).is_err() {
            return self.say(request, 500, now);
        }
        // Without an offer ours is one (RFC 3261 §14.2).
        if !request.body().is_empty() {
            match audio_of(request) {
                Some(audio) => call.audio = audio,
                None => return self.say(request, 488, now),
            }
        }
        let answer = self.description(request, "").finish();
        let Ok(cseq) = request.cseq() else { return };
        let timers = Timers::default();
        if let Ok(id) = self.transactions.open_server(request, (), self.is_reliable(), timers, now) {
            let _ = self.transactions.respond(id, 200, answer.clone(), now);
            if let Some(call) = &mut self.call {
                let _ = call.dialog.refresh_target(request);
                call.unacknowledged =
                    Some(Unacknowledged::new(answer, cseq.number, timers.t1, timers.t2, now));
            }
        }
    }

    fn ended(&mut self, request: &Message, now: Instant) {
        match self.call.as_mut().filter(|call| is_of(&call.dialog, request)) {
            Some(call) => {
                call.ended = true;
                call.unacknowledged = None;
                self.say(request, 200, now);
            }
            None => self.say(request, 481, now),
        }
    }

    fn description(&self, request: &Message, tag: &str) -> ResponseWriter {
        let writer = request.response(200, "OK").record_route();
        let writer = if tag.is_empty() { writer } else { writer.to_tag(tag) };
        writer
            .header(Header::Contact, self.contact())
            .header(Header::Allow, ALLOW)
            .body("application/sdp", self.sdp.clone())
    }

    fn say(&mut self, request: &Message, status: u16, now: Instant) {
        let response = request.response(status, default_reason(status)).to_tag(&token());
        self.answer(request, status, response, now);
    }

    fn answer(&mut self, request: &Message, status: u16, response: ResponseWriter, now: Instant) {
        let reliable = self.is_reliable();
        if let Ok(id) = open(&mut self.transactions, request, reliable, now) {
            // A transaction that was just opened takes it.
            let _ = self.transactions.respond(id, status, response.finish(), now);
        }
    }

    fn is_reliable(&self) -> bool {
        self.link.transport() == Transport::Tcp
    }
}

fn open(
    transactions: &mut Transactions<()>,
    request: &Message,
    reliable: bool,
    now: Instant,
) -> Result<sip_transaction::TransactionId, sip_transaction::NotOpened> {
    transactions.open_server(request, (), reliable, Timers::default(), now)
}

/// A request inside a dialog.
fn is_of(dialog: &Dialog, request: &Message) -> bool {
    dialog.call_id == request.call_id()
        && request.to_tag() == Some(dialog.local_tag.as_str())
        && request.from_tag().unwrap_or_default() == dialog.remote_tag
}

/// Where a description wants audio.
pub(super) fn audio_of(message: &Message) -> Option<SocketAddr> {
    let description = sdp::Description::parse(message.body()).ok()?;
    let stream = description.streams().iter().find(|stream| stream.media.eq_ignore_ascii_case("audio"))?;
    stream.rtp().filter(|address| !stream.is_refused() && !address.ip().is_unspecified())
}
