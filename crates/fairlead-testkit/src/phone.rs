//! A scripted phone over UDP: registers, calls, answers, and behaves like an ordinary foreign user agent of
//! RFC 3261: it repeats what may have been lost, absorbs what comes twice, and answers challenges.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_wire::{Header, Message, Method, RequestWriter};

use crate::{Node, Packet};

mod call;
mod client;
mod server;

pub use call::{CallState, PhoneCall};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const T1_64: Duration = Duration::from_secs(32);

/// What the phone does with a call that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// 180, and 200 after so long.
    Answer(Duration),
    /// 180 until told otherwise ([`Phone::pick_up`], [`Phone::refuse`]).
    Ring,
    /// This final response at once.
    Refuse(u16),
    /// No response at all: a phone that lost its power.
    Silent,
}

/// What the phone received and understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A request, not a repetition.
    Request(Method),
    /// A response to a request of this method, not a repetition.
    Response(Method, u16),
    /// A request of ours had no answer in 64*T1.
    NoAnswer(Method),
    /// Something that could not be read or belongs to nothing.
    Stray(String),
}

/// A phone.
pub struct Phone {
    name: String,
    password: String,
    domain: String,
    address: SocketAddr,
    edge: SocketAddr,
    incoming: Incoming,
    sdp: Bytes,
    salt: String,
    made: u64,
    packets: VecDeque<Packet>,
    /// Requests that wait for an answer.
    waiting: Vec<client::Waiting>,
    /// ACKs of ours, by what they acknowledge.
    acks: HashMap<String, Bytes>,
    /// Responses of ours, by branch and method.
    answered: HashMap<String, Bytes>,
    /// Final responses to INVITEs that wait for their ACK.
    unacknowledged: Vec<server::Unacknowledged>,
    calls: Vec<PhoneCall>,
    /// Call-ID and CSeq of our registrations, and what the last answer was.
    registration: Registration,
    heard: Vec<Heard>,
    messages: Vec<Message>,
}

#[derive(Default)]
struct Registration {
    call_id: String,
    cseq: u32,
    status: Option<u16>,
}

impl Phone {
    /// A phone at `address` whose calls and registrations go to `edge`, as `name@domain`.
    pub fn new(name: &str, password: &str, address: SocketAddr, edge: SocketAddr, domain: &str) -> Self {
        let port = 20_000 + address.port() % 10_000;
        let ip = address.ip();
        let kind = if address.is_ipv4() { "IP4" } else { "IP6" };
        let sdp = format!(
            "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\n"
        );
        Phone {
            name: name.to_owned(),
            password: password.to_owned(),
            domain: domain.to_owned(),
            address,
            edge,
            incoming: Incoming::Answer(Duration::from_secs(1)),
            sdp: Bytes::from(sdp),
            salt: String::new(),
            made: 0,
            packets: VecDeque::new(),
            waiting: Vec::new(),
            acks: HashMap::new(),
            answered: HashMap::new(),
            unacknowledged: Vec::new(),
            calls: Vec::new(),
            registration: Registration::default(),
            heard: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The same phone, doing this with calls that come in.
    #[must_use]
    pub fn incoming(mut self, incoming: Incoming) -> Self {
        self.incoming = incoming;
        self
    }

    /// The same phone, offering and answering with this SDP.
    #[must_use]
    pub fn with_sdp(mut self, sdp: impl Into<Bytes>) -> Self {
        self.sdp = sdp.into();
        self
    }

    /// The same phone, whose Call-IDs, tags and branches hold this as well: a real edge remembers those of an earlier run.
    #[must_use]
    pub fn salted(mut self, salt: &str) -> Self {
        self.salt = format!("{salt}-");
        self
    }

    /// Offers and answers with this SDP from now on.
    pub fn set_sdp(&mut self, sdp: impl Into<Bytes>) {
        self.sdp = sdp.into();
    }

    /// Sends its requests to this address from now on.
    pub fn set_edge(&mut self, edge: SocketAddr) {
        self.edge = edge;
    }

    /// Changes what it does with calls that come in from now on.
    pub fn set_incoming(&mut self, incoming: Incoming) {
        self.incoming = incoming;
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers its contact for so many seconds; 0 unregisters.
    pub fn register(&mut self, expires: u32, now: Instant) {
        if self.registration.call_id.is_empty() {
            self.registration.call_id = self.unique("reg");
        }
        self.registration.cseq += 1;
        self.registration.status = None;
        let me = format!("<sip:{}@{}>", self.name, self.domain);
        let from = format!("{me};tag={}", self.unique("tag"));
        let writer = self
            .head(&Method::Register, &format!("sip:{}", self.domain))
            .header(Header::From, &from)
            .header(Header::To, &me)
            .header(Header::CallId, &self.registration.call_id)
            .header(Header::CSeq, format!("{} REGISTER", self.registration.cseq))
            .header(Header::Contact, self.contact())
            .header(Header::Expires, expires.to_string());
        self.request(writer.finish(), None, now);
    }

    /// The status that ended the last registration, once there is one.
    pub fn registered(&self) -> Option<u16> {
        self.registration.status
    }

    /// Calls `user` at its domain; returns the number of the call.
    pub fn call(&mut self, user: &str, now: Instant) -> usize {
        let target = format!("sip:{user}@{}", self.domain);
        let mut call = PhoneCall::new(self.unique("call"), self.unique("tag"), true);
        call.local = format!("<sip:{}@{}>;tag={}", self.name, self.domain, call.local_tag);
        call.remote = format!("<{target}>");
        call.target = target;
        self.calls.push(call);
        let number = self.calls.len() - 1;
        let sdp = self.sdp.clone();
        self.in_call(number, Method::Invite, Some(sdp), now);
        number
    }

    /// Cancels a call of ours that nobody has answered yet.
    pub fn cancel(&mut self, call: usize, now: Instant) {
        self.cancel_invite(call, now);
    }

    /// Answers a call that rings here.
    pub fn pick_up(&mut self, call: usize, now: Instant) {
        self.answer_invite(call, 200, now);
    }

    /// Refuses a call that rings here.
    pub fn refuse(&mut self, call: usize, status: u16, now: Instant) {
        self.answer_invite(call, status, now);
    }

    /// Sends BYE.
    pub fn hang_up(&mut self, call: usize, now: Instant) {
        self.calls[call].state = CallState::Ended { status: None };
        self.in_call(call, Method::Bye, None, now);
    }

    /// Sends a re-INVITE with this SDP.
    pub fn reinvite(&mut self, call: usize, sdp: impl Into<Bytes>, now: Instant) {
        self.in_call(call, Method::Invite, Some(sdp.into()), now);
    }

    /// Sends another request in the call.
    pub fn send_in_call(&mut self, call: usize, method: Method, now: Instant) {
        self.in_call(call, method, None, now);
    }

    /// Sends any bytes to the edge.
    pub fn send_raw(&mut self, bytes: impl Into<Bytes>) {
        self.send(self.edge, bytes.into());
    }

    /// Its calls, in the order they began.
    pub fn calls(&self) -> &[PhoneCall] {
        &self.calls
    }

    /// Calls that are neither over nor were refused.
    pub fn live_calls(&self) -> usize {
        self.calls.iter().filter(|call| !matches!(call.state, CallState::Ended { .. })).count()
    }

    /// What it received, in order.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Every message it received and understood, repetitions included.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.name, self.address)
    }

    fn unique(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}{}-{}", self.salt, self.name, self.made)
    }

    fn head(&mut self, method: &Method, uri: &str) -> RequestWriter {
        let branch = self.unique("z9hG4bK");
        RequestWriter::new(method, uri)
            .header(Header::Via, format!("SIP/2.0/UDP {};branch={branch};rport", self.address))
            .header(Header::MaxForwards, "70")
    }

    fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        self.packets.push_back(Packet { from: self.address, to, bytes });
    }

    fn find(&self, message: &Message, local_tag: Option<&str>) -> Option<usize> {
        self.calls.iter().position(|call| {
            *call.call_id == *message.call_id() && local_tag.is_none_or(|t| t == call.local_tag)
        })
    }
}

impl Node for Phone {
    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        match Message::parse(packet.bytes.clone()) {
            Ok(message) => {
                self.messages.push(message.clone());
                if message.is_request() {
                    self.receive_request(&message, packet.from, now);
                } else {
                    self.receive_response(&message, now);
                }
            }
            Err(_) => self.heard.push(Heard::Stray(packet.first_line())),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.repeat_requests(now);
        self.repeat_responses(now);
        let due = |call: &PhoneCall| call.answer_at.is_some_and(|at| at <= now);
        for call in 0..self.calls.len() {
            if due(&self.calls[call]) {
                self.answer_invite(call, 200, now);
            }
        }
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.waiting.iter().map(client::Waiting::due);
        let responses = self.unacknowledged.iter().map(server::Unacknowledged::due);
        let answers = self.calls.iter().filter_map(|call| call.answer_at);
        requests.chain(responses).chain(answers).min()
    }
}
