//! Answers outside of calls: with a transaction and without.

use fairlead_model::ask::Refusal;
use sip_wire::{MalformedReason, ResponseWriter};

use super::checks::{ALLOW, Refused};
use super::*;

/// The status in the first line of a response that we wrote; 0 for a request.
pub(super) fn status_of(message: &[u8]) -> u16 {
    match message.strip_prefix(b"SIP/2.0 ") {
        Some([a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', ..]) => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => 0,
    }
}

/// Whether the top Via names another host than the packet came from: then the sender sits behind a NAT, and answers
/// go to where he came from (the auto values of `nat`; not for WebSocket, whose Via never says an address).
pub(super) fn via_differs(request: &Message, flow: &Flow) -> bool {
    if matches!(flow.transport, Transport::Ws | Transport::Wss) {
        return false;
    }
    match request.top_via() {
        Ok(via) => via.host_ip() != Some(flow.remote.ip()),
        Err(_) => true,
    }
}

/// Where an answer goes (RFC 3261 §18.2.2, RFC 3581 §4): back by the flow, over UDP to the port of the Via unless
/// the sender asked otherwise or his peer has force_rport.
pub(super) fn way_back(request: &Message, flow: &Flow, forced: bool) -> Flow {
    let mut back = *flow;
    if forced || flow.transport.is_reliable() {
        return back;
    }
    if let Ok(via) = request.top_via_view()
        && via.rport().is_none()
    {
        back.remote.set_port(via.port.unwrap_or(Transport::Udp.default_port()));
    }
    back
}

impl Core {
    /// A response to `request` with the headers that every response of ours has.
    pub(super) fn answer(
        &self,
        request: &Message,
        flow: &Flow,
        forced: bool,
        status: u16,
        phrase: &str,
        kind: Kind,
    ) -> ResponseWriter {
        let mut writer = request.response(status, phrase);
        // §8.2.6.2: the same request without a transaction gets the same tag again.
        if let Some(tag) = self.mint(kind, self.tag_number(request), 0) {
            writer = writer.to_tag(&tag);
        }
        let (ip, port) = (flow.remote.ip(), flow.remote.port());
        writer =
            if forced { writer.top_via_received_forced(ip, port) } else { writer.top_via_received(ip, port) };
        writer.header(Header::Server, &self.general.user_agent)
    }

    /// Sends an answer without a transaction.
    pub(super) fn send_stateless(&mut self, request: &Message, flow: &Flow, status: u16, message: Bytes) {
        let method = request.method().label();
        let forced = via_differs(request, flow);
        self.event(Event::Transmitted { method, status });
        let send = SendRef(self.next_number());
        let to = SendTo::Flow(way_back(request, flow, forced));
        self.outputs.push_back(Output::Send { send, to, message, report: false });
    }

    /// Refuses a request without a transaction: nothing of it is kept.
    pub(super) fn refuse_stateless(&mut self, request: &Message, flow: &Flow, refused: Refused) {
        let Refused { refusal, headers, reason } = refused;
        let forced = via_differs(request, flow);
        let mut writer = self.answer(request, flow, forced, refusal.status, &refusal.phrase, Kind::Stateless);
        for (header, value) in &headers {
            writer.push(*header, value);
        }
        push_refusal(&mut writer, &refusal);
        let status = refusal.status;
        self.event(Event::Refused { method: request.method().label(), refusal, reason });
        self.send_stateless(request, flow, status, writer.finish());
    }

    pub(super) fn refuse_malformed(&mut self, request: &Message, flow: &Flow, reason: &MalformedReason) {
        self.refuse_stateless(request, flow, Refused::new(reason.status(), reason.phrase(), reason.label()));
    }

    /// 503 of the whole edge: Retry-After, spread so that not all come back at once.
    pub(super) fn whole_edge_refuses(&mut self, phrase: &'static str, reason: &'static str) -> Refused {
        let mut refused = Refused::new(503, phrase, reason);
        refused.refusal.retry_after = Some(self.random.between(5, 30) as u32);
        refused
    }

    /// 503 while nobody can say how this edge is reached: a Contact that leads nowhere would be a call without an end.
    pub(super) fn no_address(&mut self) -> Refused {
        self.whole_edge_refuses("No Address Known Yet", "no_address")
            .with(Header::Warning, "399 fairlead \"the address of this edge is not known yet\"")
    }

    /// Opens the transaction of a new request. `None` when the table is full; the request was refused then.
    pub(super) fn open_server(
        &mut self,
        request: &Message,
        flow: Flow,
        forced: bool,
        now: Now,
    ) -> Option<u64> {
        let ends = matches!(request.method(), Method::Cancel | Method::Bye);
        if !ends && self.held.saturating_add(request.bytes().len()) > self.limits.octets {
            let refused = self.whole_edge_refuses("Too many octets of requests", "octets_full");
            self.refuse_stateless(request, &flow, refused);
            return None;
        }
        let id = self.next_number();
        let user = User::Server {
            id,
            to: SendTo::Flow(way_back(request, &flow, forced)),
            method: request.method().label(),
        };
        let timers =
            transaction::Timers::with_t1(Duration::from_millis(u64::from(self.general.t1_ms.max(1))));
        let reliable = flow.transport.is_reliable();
        match self.transactions.open_server(request, user, reliable, timers, now.mono) {
            Ok(transaction) => {
                let request = request.clone();
                self.held = self.held.saturating_add(request.bytes().len());
                self.servers.insert(
                    id,
                    Server {
                        transaction,
                        request,
                        flow,
                        forced,
                        call: None,
                        leg: LegRef::A,
                        cancelled: None,
                        merged: None,
                    },
                );
                Some(id)
            }
            Err(transaction::NotOpened::Full) => {
                let refused = self.whole_edge_refuses("Too many transactions", "full");
                self.refuse_stateless(request, &flow, refused);
                None
            }
            Err(_) => {
                self.event(Event::Dropped { reason: "unmatchable" });
                None
            }
        }
    }

    /// Answers in a transaction.
    pub(super) fn respond(&mut self, server: u64, status: u16, message: Bytes, now: Now) {
        if let Some(known) = self.servers.get_mut(&server) {
            // §8.2.2.2 speaks of ongoing transactions: with other credentials the same CSeq may come again.
            if status >= 300
                && let Some(key) = known.merged.take()
            {
                self.merged.remove(&key);
            }
            let (transaction, over) = (known.transaction, status >= 200 && known.call.is_none());
            // An answer that comes too late (the transaction timed out, or was answered) changes nothing.
            let _ = self.transactions.respond(transaction, status, message, now.mono);
            if over {
                // The transaction remembers the answer; the request may be large, and nobody asks for it any more.
                self.forget_request(server);
            }
        }
        self.drain_transactions(now);
    }

    /// Refuses in a transaction.
    pub(super) fn refuse(&mut self, server: u64, refused: Refused, now: Now) {
        let Refused { refusal, headers, reason } = refused;
        let Some(known) = self.servers.get(&server) else { return };
        let (request, flow, forced) = (known.request.clone(), known.flow, known.forced);
        let mut writer = self.answer(&request, &flow, forced, refusal.status, &refusal.phrase, Kind::Answer);
        for (header, value) in &headers {
            writer.push(*header, value);
        }
        push_refusal(&mut writer, &refusal);
        let status = refusal.status;
        self.event(Event::Refused { method: request.method().label(), refusal, reason });
        self.respond(server, status, writer.finish(), now);
    }

    /// Takes a request out of the table of those that wait.
    pub(super) fn forget_request(&mut self, server: u64) {
        let Some(known) = self.servers.remove(&server) else { return };
        self.held = self.held.saturating_sub(known.request.bytes().len());
        if let Some(key) = known.merged {
            self.merged.remove(&key);
        }
    }

    /// Nobody answered yet, and the client should stop repeating (RFC 3261 §17.2.1, RFC 4320 §4.1).
    pub(super) fn trying(&mut self, server: u64, now: Now) {
        let Some(known) = self.servers.get(&server) else { return };
        let (ip, port) = (known.flow.remote.ip(), known.flow.remote.port());
        let writer = known.request.response(100, "Trying");
        let mut writer = if known.forced {
            writer.top_via_received_forced(ip, port)
        } else {
            writer.top_via_received(ip, port)
        };
        // §8.2.6.1: whoever measures the round trip gets its stamp back.
        if let Some(stamp) = known.request.header(Header::Timestamp) {
            writer.push(Header::Timestamp, stamp);
        }
        let _ = self.transactions.respond(known.transaction, 100, writer.finish(), now.mono);
    }

    /// OPTIONS outside of a dialog asks what this edge can (RFC 3261 §11.2).
    ///
    /// While the shard drains, a trunk hears what its calls would hear: 200 as long as another pod takes them (`pass_on.rs`),
    /// since a trunk takes an address that answers 503 out of service (§21.5.4), and behind a Service that is the whole edge. A
    /// trunk is who comes from where somebody may come without credentials; phones and balancers hear 200, because
    /// registrations go on.
    pub(super) fn options(&mut self, request: &Message, flow: &Flow) {
        if self.draining && !self.router.has_taker() && self.is_trunk(flow) {
            let refused = self.whole_edge_refuses("Draining", "draining");
            return self.refuse_stateless(request, flow, refused);
        }
        let forced = via_differs(request, flow);
        let message = self
            .answer(request, flow, forced, 200, "OK", Kind::Stateless)
            .header(Header::Allow, ALLOW)
            .header(Header::Accept, "application/sdp")
            .header(Header::Supported, "path")
            .finish();
        // §8.2.7: stateless, so that asking costs us nothing; asked again, the answer is the same.
        self.send_stateless(request, flow, 200, message);
    }
}

impl Core {
    /// Whether this source is named by a prefix from which somebody may come without credentials. One that holds
    /// everybody (guests) names nobody.
    fn is_trunk(&self, flow: &Flow) -> bool {
        let source = flow.remote.ip();
        self.trusted.iter().any(|net| net.prefix_len() > 0 && net.contains(&source))
    }
}

fn push_refusal(writer: &mut ResponseWriter, refusal: &Refusal) {
    if let Some(seconds) = refusal.retry_after {
        writer.push(Header::RetryAfter, &seconds.to_string());
    }
    if let Some(seconds) = refusal.min_expires {
        writer.push(Header::MinExpires, &seconds.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status_of(b"SIP/2.0 486 Busy Here\r\n"), 486);
        assert_eq!(status_of(b"INVITE sip:a@b SIP/2.0\r\n"), 0);
        assert_eq!(status_of(b"SIP/2.0 4"), 0);
    }
}
