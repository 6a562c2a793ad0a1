//! A small phone: a real user agent of RFC 3261 over one socket. It has one call at a time, answers whoever calls it
//! at once, and is driven by whoever waits for something: nothing runs by itself.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_dialog::{Acks, Dialog, Due, Unacknowledged};
use sip_transaction::{Limits, Output, Received, Timers, TransactionId, Transactions};
use sip_wire::{Header, Message, Method, RequestWriter, default_reason};

use crate::credentials::Peer;
use crate::link::{Link, Transport};
use crate::text::{branch, token};

mod incoming;

/// Challenges answered for one request: one, one more when the nonce had become stale, and one for a proxy.
const CHALLENGES: usize = 3;
/// How long a call that was given up may take to say so.
const CANCELLED: Duration = Duration::from_secs(2);

/// Why a request had no final response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nothing came.
    #[error("no answer")]
    Silence,
    /// Nothing came but word that nobody listens there.
    #[error("the port is closed there")]
    Refused,
    /// The connection, or the socket.
    #[error("{0}")]
    Link(#[from] io::Error),
    /// The response cannot be used.
    #[error("{0}")]
    Unusable(&'static str),
}

/// One that registers, calls and is called.
pub(crate) struct Phone {
    peer: Peer,
    domain: String,
    link: Link,
    transactions: Transactions<()>,
    events: VecDeque<Event>,
    registration: (String, u32),
    /// It has a contact, or nobody said that it has none.
    registered: bool,
    /// What it says of its audio.
    sdp: Bytes,
    call: Option<Call>,
    /// Retransmissions of requests seen, of ours and of theirs.
    pub repeated: u32,
}

#[derive(Debug)]
enum Event {
    Response(TransactionId, Message),
    Failed(TransactionId),
}

/// Its call.
pub(crate) struct Call {
    dialog: Dialog,
    /// Where the edge wants to have its audio.
    pub audio: SocketAddr,
    unacknowledged: Option<Unacknowledged>,
    acks: Acks,
    /// The other side has ended it.
    pub ended: bool,
    /// What was offered to us was acknowledged.
    pub acknowledged: bool,
}

impl Phone {
    /// A phone at the end of this link.
    pub fn new(peer: Peer, domain: String, link: Link) -> Self {
        let limits = Limits { transactions: 256, reserve: 16 };
        Phone {
            peer,
            domain,
            link,
            transactions: Transactions::new(limits, (rand::random(), rand::random())),
            events: VecDeque::new(),
            registration: (token(), 0),
            registered: false,
            sdp: Bytes::new(),
            call: None,
            repeated: 0,
        }
    }

    /// Where it is.
    pub fn local(&self) -> SocketAddr {
        self.link.local()
    }

    /// Says this of its audio from now on.
    pub fn offers(&mut self, sdp: Bytes) {
        self.sdp = sdp;
    }

    /// Its call, while it has one.
    pub fn call(&self) -> Option<&Call> {
        self.call.as_ref()
    }

    /// Asks what the edge is (RFC 3261 §11).
    pub async fn options(&mut self, within: Duration) -> Result<Message, Unanswered> {
        let uri = format!("sip:{}", self.domain);
        let call_id = token();
        let from = format!("<sip:{}@{}>;tag={}", self.peer.name, self.domain, token());
        self.ask(Method::Options, &uri, within, |phone, cseq| {
            phone
                .head(&Method::Options, &uri)
                .header(Header::From, &from)
                .header(Header::To, format!("<{uri}>"))
                .header(Header::CallId, &call_id)
                .header(Header::CSeq, format!("{cseq} OPTIONS"))
        })
        .await
    }

    /// Registers for so many seconds; 0 unregisters.
    pub async fn register(&mut self, expires: u32, within: Duration) -> Result<Message, Unanswered> {
        let uri = format!("sip:{}", self.domain);
        let me = format!("<sip:{}@{}>", self.peer.name, self.domain);
        let from = format!("{me};tag={}", token());
        let (call_id, first) = self.registration.clone();
        let used = std::cell::Cell::new(0);
        let asked = self
            .ask(Method::Register, &uri, within, |phone, cseq| {
                used.set(cseq);
                phone
                    .head(&Method::Register, &uri)
                    .header(Header::From, &from)
                    .header(Header::To, &me)
                    .header(Header::CallId, &call_id)
                    .header(Header::CSeq, format!("{} REGISTER", first + cseq))
                    .header(Header::Contact, phone.contact())
                    .header(Header::Expires, expires.to_string())
            })
            .await;
        self.registration.1 = first + used.get();
        // Without an answer it may have come about all the same.
        self.registered = match asked.as_ref().map(|response| response.status()) {
            Ok(Some(200..300)) => expires > 0,
            Ok(_) => self.registered,
            Err(_) => true,
        };
        asked
    }

    /// Whether there may be a contact to remove.
    pub fn may_be_registered(&self) -> bool {
        self.registered
    }

    /// Calls somebody; with a 2xx there is a call afterwards.
    pub async fn invite(&mut self, callee: &str, within: Duration) -> Result<Message, Unanswered> {
        let uri = format!("sip:{callee}@{}", self.domain);
        let from = format!("<sip:{}@{}>;tag={}", self.peer.name, self.domain, token());
        let call_id = token();
        let mut sent = None;
        let response = self
            .ask_noting(Method::Invite, &uri, within, &mut sent, |phone, cseq| {
                phone
                    .head(&Method::Invite, &uri)
                    .header(Header::From, &from)
                    .header(Header::To, format!("<{uri}>"))
                    .header(Header::CallId, &call_id)
                    .header(Header::CSeq, format!("{cseq} INVITE"))
                    .header(Header::Contact, phone.contact())
                    .header(Header::Allow, ALLOW)
                    .body("application/sdp", phone.sdp.clone())
            })
            .await?;
        if !matches!(response.status(), Some(200..300)) {
            return Ok(response);
        }
        let invite = sent.ok_or(Unanswered::Unusable("an answer to nothing"))?;
        let mut dialog = Dialog::uac(&invite, &response)
            .map_err(|_| Unanswered::Unusable("the 200 to INVITE makes no dialog"))?;
        let number = dialog.local_cseq;
        let ack = dialog.ack(number).writer(&dialog, &self.via(), 70).finish();
        self.link.send(&ack)?;
        let mut acks = Acks::default();
        let keep = Timers::default().t1_64();
        acks.keep(response.to_tag().unwrap_or_default(), number, ack, keep, Instant::now());
        let Some(audio) = incoming::audio_of(&response) else {
            // It has to be ended all the same.
            let bye = dialog.request(Method::Bye).writer(&dialog, &self.via(), 70).finish();
            self.link.send(&bye)?;
            return Err(Unanswered::Unusable("the 200 to INVITE names no address for audio"));
        };
        self.call =
            Some(Call { dialog, audio, unacknowledged: None, acks, ended: false, acknowledged: true });
        Ok(response)
    }

    /// Ends its call.
    pub async fn bye(&mut self, within: Duration) -> Result<Message, Unanswered> {
        let Some(call) = &mut self.call else { return Err(Unanswered::Unusable("there is no call")) };
        let via = format!(
            "SIP/2.0/{} {};branch={};rport",
            self.link.transport().as_str(),
            self.link.local(),
            branch()
        );
        let bye = call.dialog.request(Method::Bye).writer(&call.dialog, &via, 70).finish();
        call.ended = true;
        let bye = Message::parse(bye).map_err(|_| Unanswered::Unusable("the BYE cannot be read"))?;
        let asked = self.send(bye, Instant::now() + within).await;
        self.call = None;
        asked
    }

    /// Deals with what comes, for ever: ends only with an error of the link.
    pub async fn serve(&mut self) -> Unanswered {
        loop {
            // What nobody waits for any more: late responses.
            self.events.clear();
            if let Err(down) = self.turn(Instant::now() + Duration::from_secs(3_600)).await {
                return down.into();
            }
        }
    }

    /// Deals with what comes until it is so; false when it did not become so in time.
    pub async fn serve_until(
        &mut self,
        within: Duration,
        so: impl Fn(&Phone) -> bool,
    ) -> Result<bool, Unanswered> {
        let end = Instant::now() + within;
        while !so(self) {
            self.events.clear();
            if Instant::now() >= end {
                return Ok(false);
            }
            self.turn(end.min(Instant::now() + Duration::from_millis(20))).await?;
        }
        Ok(true)
    }

    async fn ask(
        &mut self,
        method: Method,
        uri: &str,
        within: Duration,
        build: impl Fn(&Phone, u32) -> RequestWriter,
    ) -> Result<Message, Unanswered> {
        self.ask_noting(method, uri, within, &mut None, build).await
    }

    /// Sends a request, answers its challenges, and returns the first other final response.
    async fn ask_noting(
        &mut self,
        method: Method,
        uri: &str,
        within: Duration,
        sent: &mut Option<Message>,
        build: impl Fn(&Phone, u32) -> RequestWriter,
    ) -> Result<Message, Unanswered> {
        let end = Instant::now() + within;
        let mut credentials: Option<(Header, String)> = None;
        let mut cseq = 1;
        loop {
            let mut writer = build(self, cseq);
            if let Some((header, value)) = &credentials {
                writer = writer.header(*header, value);
            }
            let request = Message::parse(writer.finish())
                .map_err(|_| Unanswered::Unusable("the name of a peer or of the server makes no request"))?;
            *sent = Some(request.clone());
            let response = self.send(request, end).await?;
            if !matches!(response.status(), Some(401 | 407)) || cseq as usize > CHALLENGES {
                return Ok(response);
            }
            match self.peer.answer(&response, method.as_str(), uri) {
                // The same password again would be wrong again, unless only the nonce was too old (RFC 7616 §3.3).
                Some(_) if credentials.is_some() && !is_stale(&response) => return Ok(response),
                Some(answer) => credentials = Some(answer),
                None => return Ok(response),
            }
            cseq += 1;
        }
    }

    /// Sends a request and waits for its final response.
    async fn send(&mut self, request: Message, end: Instant) -> Result<Message, Unanswered> {
        let invite = *request.method() == Method::Invite;
        let reliable = self.link.transport() == Transport::Tcp;
        let now = Instant::now();
        let id = self
            .transactions
            .open_client(request, (), reliable, Timers::default(), now)
            .map_err(|_| Unanswered::Unusable("the request cannot be sent"))?;
        let mut end = end;
        let mut given_up = false;
        loop {
            match self.turn(end).await? {
                Some(Event::Response(of, response)) if of == id => {
                    if response.status().is_some_and(|status| status >= 200) {
                        return Ok(response);
                    }
                }
                Some(Event::Failed(of)) if of == id => return Err(self.silence()),
                Some(_) => {}
                None if invite && !given_up => {
                    given_up = true;
                    end = Instant::now() + CANCELLED;
                    self.transactions.cancel(id, None, Instant::now());
                }
                None => {
                    self.transactions.forget(id);
                    return Err(self.silence());
                }
            }
        }
    }

    fn silence(&self) -> Unanswered {
        if self.link.refused { Unanswered::Refused } else { Unanswered::Silence }
    }

    /// One step: sends what is to be sent, then waits for a message, a timer, or `until`. `None`: that time has come.
    async fn turn(&mut self, until: Instant) -> io::Result<Option<Event>> {
        loop {
            self.flush()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let call = self.call.as_ref().and_then(|call| call.unacknowledged.as_ref());
            let timers = [self.transactions.poll_timeout(), call.and_then(Unacknowledged::poll_timeout)];
            let wake = timers.into_iter().flatten().fold(until, Instant::min);
            tokio::select! {
                message = self.link.receive() => {
                    let message = message?;
                    self.received(message);
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let now = Instant::now();
                    self.transactions.handle_timeout(now);
                    self.repeat_answer(now)?;
                    if now >= until {
                        self.flush()?;
                        return Ok(self.events.pop_front());
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(output) = self.transactions.poll_output() {
            match output {
                Output::Send { message, again, .. } => {
                    self.repeated += u32::from(again);
                    self.link.send(&message)?;
                }
                Output::Failed { transaction, .. } => self.events.push_back(Event::Failed(transaction)),
                // Everything is answered at once.
                Output::TryingDue { .. } | Output::Ended { .. } => {}
            }
        }
        Ok(())
    }

    fn repeat_answer(&mut self, now: Instant) -> io::Result<()> {
        let Some(call) = &mut self.call else { return Ok(()) };
        match call.unacknowledged.as_mut().map(|waiting| waiting.handle_timeout(now)) {
            Some(Due::Again(answer)) => {
                self.repeated += 1;
                self.link.send(&answer)
            }
            Some(Due::GaveUp) => {
                call.unacknowledged = None;
                Ok(())
            }
            Some(Due::Nothing) | None => Ok(()),
        }
    }

    fn received(&mut self, message: Message) {
        if message.is_request() {
            self.requested(message);
            return;
        }
        let again = self.call.as_ref().and_then(|call| call.acks.again(&message));
        if let Some(ack) = again.filter(|_| *message.method() == Method::Invite) {
            self.repeated += 1;
            // A stream repeats nothing, and a datagram that does not leave is asked for again.
            let _ = self.link.send(&ack);
            return;
        }
        if let Received::ForUser(id) = self.transactions.handle_response(&message, Instant::now()) {
            self.events.push_back(Event::Response(id, message));
        }
    }

    fn head(&self, method: &Method, uri: &str) -> RequestWriter {
        RequestWriter::new(method, uri)
            .header(Header::Via, self.via())
            .header(Header::MaxForwards, "70")
            .header(Header::UserAgent, concat!("fairlead-probe/", env!("CARGO_PKG_VERSION")))
    }

    fn via(&self) -> String {
        format!("SIP/2.0/{} {};branch={};rport", self.link.transport().as_str(), self.link.local(), branch())
    }

    fn contact(&self) -> String {
        let parameter = match self.link.transport() {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
        };
        format!("<sip:{}@{}{parameter}>", self.peer.name, self.link.local())
    }
}

/// What a phone of the probe understands.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

fn is_stale(challenge: &Message) -> bool {
    [Header::WwwAuthenticate, Header::ProxyAuthenticate].into_iter().any(|header| {
        challenge.headers(header).filter_map(sip_auth::Challenge::parse).any(|challenge| challenge.stale)
    })
}

/// `486 Busy Here`.
pub(crate) fn status_line(response: &Message) -> String {
    let status = response.status().unwrap_or_default();
    let reason = match response.reason() {
        "" => default_reason(status),
        reason => reason,
    };
    format!("{status} {reason}")
}
