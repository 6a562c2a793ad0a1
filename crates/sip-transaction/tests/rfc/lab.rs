//! The bench of the transaction tests: a table, messages, and a clock that only the test moves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_transaction::{Limits, Output, Received, Request, Timers, TransactionId, Transactions};
use sip_wire::Message;

pub fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

pub fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n"))).expect("a message of the test")
}

/// A request with this method, branch and CSeq number.
pub fn request_text(method: &str, branch: &str, cseq: u32) -> String {
    format!(
        "{method} sip:bob@biloxi.example SIP/2.0\n\
         Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch={branch}\n\
         Max-Forwards: 70\n\
         Route: <sip:p1.example;lr>\nRoute: <sip:p2.example;lr>\n\
         From: Alice <sip:alice@atlanta.example>;tag=1928301774\n\
         To: Bob <sip:bob@biloxi.example>\n\
         Call-ID: a84b4c76e66710\n\
         CSeq: {cseq} {method}\n\
         Content-Length: 0\n\n"
    )
}

pub fn request(method: &str, branch: &str) -> Message {
    message(&request_text(method, branch, 314159))
}

pub fn response_text(method: &str, branch: &str, status: u16) -> String {
    format!(
        "SIP/2.0 {status} Whatever\n\
         Via: SIP/2.0/UDP pc33.atlanta.example:5060;branch={branch};received=192.0.2.1\n\
         From: Alice <sip:alice@atlanta.example>;tag=1928301774\n\
         To: Bob <sip:bob@biloxi.example>;tag=a6c85cf\n\
         Call-ID: a84b4c76e66710\n\
         CSeq: 314159 {method}\n\
         Content-Length: 0\n\n"
    )
}

pub fn response(method: &str, branch: &str, status: u16) -> Message {
    message(&response_text(method, branch, status))
}

pub const BRANCH: &str = "z9hG4bK776asdhds";

/// A table with one transaction in it.
pub struct Lab {
    pub table: Transactions<u32>,
    pub start: Instant,
    pub now: Instant,
    pub method: &'static str,
    pub id: TransactionId,
    pub opened: Vec<String>,
}

impl Lab {
    pub fn empty() -> Lab {
        let start = Instant::now();
        let table = Transactions::new(Limits::default(), (1, 2));
        let mut lab = Lab { table, start, now: start, method: "", id: any_id(), opened: Vec::new() };
        lab.drain();
        lab
    }

    pub fn client(method: &'static str, reliable: bool) -> Lab {
        Lab::client_with(method, reliable, Timers::default())
    }

    pub fn client_with(method: &'static str, reliable: bool, timers: Timers) -> Lab {
        let mut lab = Lab::empty();
        lab.method = method;
        lab.id = lab
            .table
            .open_client(request(method, BRANCH), 7, reliable, timers, lab.start)
            .expect("there is room");
        lab.opened = lab.drain();
        lab
    }

    pub fn server(method: &'static str, reliable: bool) -> Lab {
        let mut lab = Lab::empty();
        lab.method = method;
        let request = request(method, BRANCH);
        assert_eq!(lab.table.handle_request(&request, lab.now), Request::New);
        lab.id =
            lab.table.open_server(&request, 7, reliable, Timers::default(), lab.now).expect("there is room");
        lab.opened = lab.drain();
        lab
    }

    /// The same request comes again.
    pub fn again(&mut self) -> Vec<String> {
        let request = request(self.method, BRANCH);
        assert_eq!(self.table.handle_request(&request, self.now), Request::Retransmission(self.id));
        self.drain()
    }

    pub fn ack(&mut self) -> Request {
        self.table.handle_request(&request("ACK", BRANCH), self.now)
    }

    pub fn receive(&mut self, status: u16) -> Received {
        self.table.handle_response(&response(self.method, BRANCH, status), self.now)
    }

    pub fn respond(&mut self, status: u16) -> Vec<String> {
        let bytes = response(self.method, BRANCH, status).bytes().clone();
        if let Err(error) = self.table.respond(self.id, status, bytes, self.now) {
            return vec![format!("{error:?}")];
        }
        self.drain()
    }

    /// Refusals are repeated until so many ms after the start.
    pub fn repeat_until(&mut self, at: u64) {
        self.table.repeat_until(self.id, self.start + std::time::Duration::from_millis(at));
    }

    pub fn transport_error(&mut self) -> Vec<String> {
        self.table.transport_error(self.id, self.now);
        self.drain()
    }

    /// All outputs, in short: `INVITE`, `INVITE again`, `486`, `failed Timeout`, `trying due`, `ended`.
    pub fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.table.poll_output()).map(|output| short(&output)).collect()
    }

    /// What happens until then, each with its time in milliseconds since the start.
    pub fn until(&mut self, time: u64) -> Vec<(u64, String)> {
        let mut seen = Vec::new();
        let end = self.start + ms(time);
        while let Some(at) = self.table.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.table.handle_timeout(self.now);
            let at = (self.now - self.start).as_millis() as u64;
            seen.extend(self.drain().into_iter().map(|output| (at, output)));
        }
        self.now = end;
        seen
    }

    /// The times at which something happened until then; everything must be `what`.
    pub fn times(&mut self, what: &str, time: u64) -> Vec<u64> {
        let seen = self.until(time);
        assert!(seen.iter().all(|(_, output)| output == what), "only {what}: {seen:?}");
        seen.into_iter().map(|(at, _)| at).collect()
    }

    pub fn is_quiet(&self) -> bool {
        self.table.is_empty() && self.table.poll_timeout().is_none()
    }
}

fn any_id() -> TransactionId {
    let mut table = Transactions::new(Limits::default(), (0, 0));
    table
        .open_client(request("OPTIONS", BRANCH), 0, true, Timers::default(), Instant::now())
        .expect("there is room")
}

pub fn short(output: &Output<u32>) -> String {
    match output {
        Output::Send { message, again, .. } => {
            let text = String::from_utf8_lossy(message);
            let first = text.split(' ').next().unwrap_or_default().to_owned();
            let word = if first == "SIP/2.0" { text[8..11].to_owned() } else { first };
            if *again { format!("{word} again") } else { word }
        }
        Output::Failed { why, .. } => format!("failed {why:?}"),
        Output::TryingDue { .. } => "trying due".to_owned(),
        Output::Ended { .. } => "ended".to_owned(),
    }
}
