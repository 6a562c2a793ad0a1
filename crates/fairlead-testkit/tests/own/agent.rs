//! A small user agent out of our own machines: transactions, dialogs and digest, composed as simply as can be. It
//! wants everybody registered, answers calls after a second, and calls, cancels and hangs up when told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_testkit::{Node, Packet};
use sip_auth::{
    Algorithm, Challenger, Credentials, Expected, NonceId, NonceKey, NonceKeys, NonceState, NonceUse, Place,
    Secret, Use, verify,
};
use sip_dialog::{Acks, Dialog, Due, Fork, Forks, Unacknowledged};
use sip_transaction::{Failure, Limits, Output, Received, Request, Timers, TransactionId, Transactions};
use sip_wire::{Header, Message, Method, RequestWriter};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

pub struct Agent {
    address: SocketAddr,
    table: Transactions<SocketAddr>,
    challenger: Challenger,
    uses: BTreeMap<NonceId, NonceUse>,
    packets: VecDeque<Packet>,
    made: u64,
    /// Calls that ring here, by the transaction of their INVITE.
    ringing: BTreeMap<TransactionId, Ringing>,
    /// Calls that ring there.
    calling: BTreeMap<TransactionId, Calling>,
    /// Confirmed dialogs.
    pub dialogs: Vec<Leg>,
    pub registered: u32,
    pub challenged: u32,
    /// Final statuses of calls of ours that failed.
    pub failed: Vec<u16>,
}

struct Ringing {
    invite: Message,
    from: SocketAddr,
    dialog: Dialog,
    answer_at: Instant,
}

struct Calling {
    forks: Forks,
    to: SocketAddr,
    cancelled: bool,
}

pub struct Leg {
    pub dialog: Dialog,
    pub over: bool,
    to: SocketAddr,
    success: Option<Unacknowledged>,
    acks: Acks,
}

impl Agent {
    pub fn new(address: SocketAddr) -> Self {
        let key = NonceKey::new(1, 1, &[1; 32]);
        Agent {
            address,
            table: Transactions::new(Limits::default(), (1, 2)),
            challenger: Challenger::new("example.com", &[Algorithm::Md5], NonceKeys::new(vec![key])),
            uses: BTreeMap::new(),
            packets: VecDeque::new(),
            made: 0,
            ringing: BTreeMap::new(),
            calling: BTreeMap::new(),
            dialogs: Vec::new(),
            registered: 0,
            challenged: 0,
            failed: Vec::new(),
        }
    }

    pub fn call(&mut self, to: SocketAddr, now: Instant) {
        let number = self.number();
        let bytes = RequestWriter::new(&Method::Invite, &format!("sip:phone@{to}"))
            .header(Header::Via, self.via())
            .header(Header::MaxForwards, "70")
            .header(Header::From, format!("<sip:agent@{}>;tag=a{number}", self.address))
            .header(Header::To, format!("<sip:phone@{to}>"))
            .header(Header::CallId, format!("agent-{number}"))
            .header(Header::CSeq, "1 INVITE")
            .header(Header::Contact, self.contact())
            .body("application/sdp", "v=0\r\n")
            .finish();
        let invite = Message::parse(bytes).unwrap();
        let id = self.table.open_client(invite.clone(), to, false, Timers::default(), now).unwrap();
        self.calling.insert(id, Calling { forks: Forks::new(invite), to, cancelled: false });
        self.drain();
    }

    pub fn cancel_all(&mut self, now: Instant) {
        for (id, calling) in &mut self.calling {
            calling.cancelled = true;
            self.table.cancel(*id, None, now);
        }
        self.drain();
    }

    pub fn hang_up_all(&mut self, now: Instant) {
        for number in 0..self.dialogs.len() {
            self.hang_up(number, now);
        }
        self.drain();
    }

    pub fn is_idle(&self) -> bool {
        self.table.is_empty()
            && self.ringing.is_empty()
            && self.calling.is_empty()
            && self.dialogs.iter().all(|leg| leg.over && leg.success.is_none())
    }

    pub fn live(&self) -> usize {
        self.dialogs.iter().filter(|leg| !leg.over).count()
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn via(&mut self) -> String {
        let number = self.number();
        format!("SIP/2.0/UDP {};branch=z9hG4bKagent{number};rport", self.address)
    }

    fn contact(&self) -> String {
        format!("<sip:agent@{}>", self.address)
    }

    fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        self.packets.push_back(Packet { from: self.address, to, bytes });
    }

    fn hang_up(&mut self, number: usize, now: Instant) {
        let via = self.via();
        let leg = &mut self.dialogs[number];
        if leg.over {
            return;
        }
        leg.over = true;
        leg.success = None;
        let request = leg.dialog.request(Method::Bye);
        let bye = Message::parse(request.writer(&leg.dialog, &via, 70).finish()).unwrap();
        self.table.open_client(bye, leg.to, false, Timers::default(), now).unwrap();
    }

    fn receive_request(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        match self.table.handle_request(message, now) {
            Request::New => self.receive_new(message, from, now),
            Request::Ack => {
                let cseq = message.cseq().unwrap().number;
                for leg in self.dialogs.iter_mut().filter(|leg| leg.dialog.owns_request(message)) {
                    if leg.success.as_mut().is_some_and(|success| success.handle_ack(cseq)) {
                        leg.success = None;
                    }
                }
            }
            Request::Cancel { invite } => {
                let id = self.open(message, from, now);
                let ringing = invite.and_then(|invite| Some((invite, self.ringing.remove(&invite)?)));
                self.respond(id, message, from, if invite.is_some() { 200 } else { 481 }, None, now);
                if let Some((invite, ringing)) = ringing {
                    let tag = ringing.dialog.local_tag.clone();
                    self.respond(invite, &ringing.invite, ringing.from, 487, Some(&tag), now);
                }
            }
            Request::Acknowledged(_) | Request::Retransmission(_) => {}
            Request::Unmatchable => panic!("unmatchable"),
        }
    }

    fn receive_new(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        let wants_credentials = matches!(message.method(), Method::Register | Method::Invite);
        if wants_credentials && message.to_tag().is_none() && !self.knows(message) {
            // One stateless 401; its ACK comes back as an ACK of nothing.
            self.challenged += 1;
            let random = self.number();
            let mut writer =
                message.response(401, "Unauthorized").to_tag("x").top_via_received(from.ip(), from.port());
            for value in self.challenger.challenge(random, false) {
                writer = writer.header(Place::Www.challenge_header(), value);
            }
            self.send(from, writer.finish());
            return;
        }
        let id = self.open(message, from, now);
        if message.to_tag().is_some() {
            return self.receive_in_dialog(id, message, from, now);
        }
        match message.method() {
            Method::Invite => {
                let tag = format!("t{}", self.number());
                let dialog = Dialog::uas(message, &tag, 100).unwrap();
                self.respond(id, message, from, 180, Some(&tag), now);
                let answer_at = now + Duration::from_secs(1);
                self.ringing.insert(id, Ringing { invite: message.clone(), from, dialog, answer_at });
            }
            Method::Register => {
                self.registered += 1;
                self.respond(id, message, from, 200, Some("r"), now);
            }
            _ => self.respond(id, message, from, 200, Some("o"), now),
        }
    }

    fn receive_in_dialog(&mut self, id: TransactionId, message: &Message, from: SocketAddr, now: Instant) {
        let leg = self.dialogs.iter_mut().find(|leg| leg.dialog.owns_request(message) && !leg.over);
        let Some(leg) = leg else { return self.respond(id, message, from, 481, None, now) };
        if leg.dialog.check_order(message).is_err() {
            return self.respond(id, message, from, 500, None, now);
        }
        if *message.method() == Method::Bye {
            leg.over = true;
            leg.success = None;
        }
        self.respond(id, message, from, 200, None, now);
    }

    fn knows(&mut self, message: &Message) -> bool {
        let values: Vec<_> = message.headers(Place::Www.credentials_header()).collect();
        let picked = Credentials::pick(&values, self.challenger.realm(), self.challenger.algorithms());
        let Ok(Some(credentials)) = picked else { return false };
        let NonceState::Fresh(id) = self.challenger.check_nonce(&credentials.nonce) else { return false };
        let expected = Expected {
            realm: self.challenger.realm(),
            method: message.method().as_str(),
            uri: message.request_uri(),
            algorithms: self.challenger.algorithms(),
        };
        verify(&credentials, Secret::Password("secret"), &expected) == Ok(())
            && self.uses.entry(id).or_default().note(credentials.nc()) == Use::First
    }

    fn open(&mut self, message: &Message, from: SocketAddr, now: Instant) -> TransactionId {
        self.table.open_server(message, from, false, Timers::default(), now).unwrap()
    }

    fn respond(
        &mut self,
        id: TransactionId,
        request: &Message,
        to: SocketAddr,
        status: u16,
        tag: Option<&str>,
        now: Instant,
    ) {
        let bytes = self.response(request, to, status, tag);
        let _ = self.table.respond(id, status, bytes, now);
    }

    fn response(&self, request: &Message, to: SocketAddr, status: u16, tag: Option<&str>) -> Bytes {
        let mut writer = request.response(status, "Something").top_via_received(to.ip(), to.port());
        if let Some(tag) = tag {
            writer = writer.to_tag(tag);
        }
        writer.header(Header::Contact, self.contact()).finish()
    }

    fn answer_due(&mut self, now: Instant) {
        let due: Vec<_> = self.ringing.extract_if(.., |_, ringing| ringing.answer_at <= now).collect();
        for (id, ringing) in due {
            let Ringing { invite, from, mut dialog, .. } = ringing;
            let bytes = self.response(&invite, from, 200, Some(&dialog.local_tag));
            self.table.respond(id, 200, bytes.clone(), now).unwrap();
            dialog.confirm();
            let success = Unacknowledged::new(bytes, invite.cseq().unwrap().number, T1, T2, now);
            let leg = Leg { dialog, over: false, to: from, success: Some(success), acks: Acks::default() };
            self.dialogs.push(leg);
        }
    }

    fn repeat_due(&mut self, now: Instant) {
        for number in 0..self.dialogs.len() {
            let leg = &mut self.dialogs[number];
            leg.acks.handle_timeout(now);
            let to = leg.to;
            match leg.success.as_mut().map(|success| success.handle_timeout(now)) {
                Some(Due::Again(bytes)) => self.send(to, bytes),
                Some(Due::GaveUp) => self.hang_up(number, now),
                Some(Due::Nothing) | None => {}
            }
        }
    }

    fn receive_response(&mut self, message: &Message, now: Instant) {
        let status = message.status().unwrap();
        let invite = *message.method() == Method::Invite;
        match self.table.handle_response(message, now) {
            Received::ForUser(id) if invite && status >= 300 => {
                self.calling.remove(&id);
                self.failed.push(status);
            }
            Received::ForUser(id) if invite => self.progress(id, message, now),
            Received::Stray if invite && (200..300).contains(&status) => {
                self.acknowledge_again(message);
            }
            _ => {}
        }
    }

    fn progress(&mut self, id: TransactionId, message: &Message, now: Instant) {
        if message.status().unwrap() >= 200 && self.acknowledge_again(message) {
            return;
        }
        let Some(calling) = self.calling.get_mut(&id) else { return };
        let fork = calling.forks.handle_response(message).unwrap();
        if message.status().unwrap() < 200 {
            return;
        }
        let (Fork::New(tag) | Fork::Known(tag)) = fork else { panic!("a 2xx makes a dialog") };
        let calling = self.calling.remove(&id).unwrap();
        let dialog = { calling.forks }.take(&tag).unwrap();
        let cseq = message.cseq().unwrap().number;
        let ack = dialog.ack(cseq).writer(&dialog, &self.via(), 70).finish();
        self.send(calling.to, ack.clone());
        let mut acks = Acks::default();
        acks.keep(&tag, cseq, ack, T1 * 64, now);
        self.dialogs.push(Leg { dialog, over: false, to: calling.to, success: None, acks });
        if calling.cancelled {
            self.hang_up(self.dialogs.len() - 1, now);
        }
    }

    fn acknowledge_again(&mut self, message: &Message) -> bool {
        let found = self
            .dialogs
            .iter()
            .filter(|leg| leg.dialog.owns_response(message))
            .find_map(|leg| Some((leg.to, leg.acks.again(message)?)));
        let Some((to, ack)) = found else { return false };
        self.send(to, ack);
        true
    }

    fn drain(&mut self) {
        while let Some(output) = self.table.poll_output() {
            match output {
                Output::Send { user, message, .. } => self.send(user, message),
                Output::Failed { transaction, why, .. } => {
                    if self.calling.remove(&transaction).is_some() {
                        self.failed.push(if why == Failure::Timeout { 408 } else { 503 });
                    }
                }
                Output::TryingDue { .. } | Output::Ended { .. } => {}
            }
        }
    }
}

impl Node for Agent {
    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        let message = Message::parse(packet.bytes).unwrap();
        if message.is_request() {
            self.receive_request(&message, packet.from, now);
        } else {
            self.receive_response(&message, now);
        }
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.table.handle_timeout(now);
        self.answer_due(now);
        self.repeat_due(now);
        self.drain();
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.ringing.values().map(|ringing| ringing.answer_at);
        let legs = self.dialogs.iter().flat_map(|leg| {
            let success = leg.success.as_ref().and_then(Unacknowledged::poll_timeout);
            success.into_iter().chain(leg.acks.poll_timeout())
        });
        answers.chain(legs).chain(self.table.poll_timeout()).min()
    }
}
