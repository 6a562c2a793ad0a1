//! What is held while the pod of a phone's flow is gone.
//!
//! Behind NAT only the phone can open another way: its next packet, a keep-alive or a REGISTER, moves its flow to the pod that
//! it reaches then (`flows.rs`). Phones send one each 15 to 30 s. So nothing that is meant for one is given up at once:
//!
//! * the call of its last contact by UDP: its caller has a 100 and waits ([`HOLD`], then 480);
//! * a request of its call ([`HOLD`]; BYE as long as its transaction lives, so that nobody stays in a call that is over);
//! * the CANCEL of its INVITE, as long as that rings: 32 s, so that nobody's phone rings for a caller who is gone;
//! * an answer to it, as long as its transaction lives: a 2xx has to be heard although nobody repeats the INVITE.
//!
//! Meanwhile the registrar is asked where the binding is now. What the phone sends within the call says it at once: a request
//! that comes again over another pod takes the way of its answers along (RFC 3261 §18.2.2).

use fairlead_call::call::NotReached;
use fairlead_model::ask::{Answer, AskFailed};
use fairlead_model::flow::{Hop, Transport};

use super::*;
use crate::input::SendFailed;

/// A call is held for so long at most; then it is 480. Phones behind NAT send something every 15 to 30 s, and callers wait
/// about as long for a phone that is slow to ring; calls that nobody can answer must not gather for longer. Less than the
/// ring time that a peer has unless it is told another (20 s).
pub(super) const HOLD: Duration = Duration::from_secs(16);
/// What ends or answers something is held for as long as its transaction lives (64*T1).
const HOLD_LAST: Duration = Duration::from_secs(32);
/// The registrar is asked this often at first, while a person waits.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// And so often after [`HOLD`].
const LOOK_SELDOM: Duration = Duration::from_secs(2);

/// What waits for the phone's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// An attempt that has no way yet.
    Attempt(AttemptRef),
    /// A request, which was to leave by a pod that turned out to be gone. It stays in its transaction.
    Request(Ticket, TransactionId),
    /// The CANCEL of an INVITE.
    Cancel(Ticket, TransactionId),
    /// The last answer of a transaction.
    Answer(TransactionId),
}

impl Held {
    fn transaction(self) -> Option<TransactionId> {
        match self {
            Held::Attempt(_) => None,
            Held::Request(_, transaction) | Held::Cancel(_, transaction) | Held::Answer(transaction) => {
                Some(transaction)
            }
        }
    }
}

/// Something that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    call: CallRef,
    leg: LegRef,
    held: Held,
    lost: Flow,
    seldom: Instant,
    until: Instant,
}

impl Core {
    /// Holds an attempt whose way is a flow of a pod that is gone. Whether it is held.
    pub(super) fn hold_attempt(&mut self, call: CallRef, attempt: AttemptRef, lost: &Flow, now: Now) -> bool {
        self.hold(call, LegRef::B(attempt), Held::Attempt(attempt), *lost, HOLD, now)
    }

    /// The same for a message of a transaction that could not leave. Whether its transaction goes on.
    pub(super) fn hold_message(&mut self, transaction: TransactionId, failed: SendFailed, now: Now) -> bool {
        if self.transactions.is_proceeding(transaction) {
            // The result of a copy that its response has overtaken.
            return true;
        }
        match self.transactions.user(transaction).cloned() {
            Some(User::Client { to: SendTo::Flow(lost), of: Of::Call(call, ticket), .. })
                if self.transactions.is_cancel(transaction) =>
            {
                failed == SendFailed::NoSuchFlow
                    && lost.pod != self.identity.pod
                    && self.hold_cancel(call, ticket, transaction, lost, now)
            }
            Some(User::Client { to: SendTo::Flow(lost), of: Of::Call(call, ticket), method, .. }) => {
                let foreign = failed == SendFailed::NoSuchFlow && lost.pod != self.identity.pod;
                (foreign && self.hold_request(call, ticket, (transaction, method), lost, now))
                    || (matches!(failed, SendFailed::NoSuchFlow | SendFailed::ConnectionGone)
                        && self.send_without_flow(call, ticket, transaction, &lost, now))
            }
            Some(User::Server { id, to: SendTo::Flow(lost), .. }) => {
                if matches!(failed, SendFailed::NoSuchFlow | SendFailed::ConnectionGone) {
                    self.hold_answer(id, transaction, lost, now);
                }
                // Its timers go on: who asked may ask again, by another way.
                true
            }
            Some(User::Server { .. }) => true,
            _ => false,
        }
    }

    fn hold_request(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        (transaction, method): (TransactionId, &'static str),
        lost: Flow,
        now: Now,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(leg) = entry.call.leg_of_ticket(ticket) else { return false };
        let Some(hop) = entry.call.next_hop(leg) else { return false };
        let held = Held::Request(ticket, transaction);
        if hop.uri.is_empty() {
            // The first INVITE, to whoever is the last that can be tried.
            let others = self.way_mut(call, leg).is_some_and(|way| !way.others.is_empty());
            return !others && self.hold(call, leg, held, lost, HOLD, now);
        }
        if let Some(to) = self.address_without_owner(call, leg, &lost) {
            self.send_request_by(call, ticket, leg, transaction, to, now);
            return true;
        }
        self.hold(call, leg, held, lost, if method == "BYE" { HOLD_LAST } else { HOLD }, now)
    }

    /// A CANCEL goes where its INVITE went (RFC 3261 §9.1), but by a flow that leads there.
    fn hold_cancel(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        transaction: TransactionId,
        lost: Flow,
        now: Now,
    ) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some(leg) = entry.call.leg_of_ticket(ticket).filter(|_| entry.call.still_wants(ticket)) else {
            return false;
        };
        let bound = entry.call.next_hop(leg).is_some_and(|hop| hop.binding.is_some());
        let heard = self.way_mut(call, leg).and_then(|way| way.flow).filter(|flow| {
            flow.pod != lost.pod && flow.transport == lost.transport && self.router.is_there(flow.pod)
        });
        let to = match (heard, self.address_without_owner(call, leg, &lost)) {
            (Some(flow), _) => Some(SendTo::Flow(flow)),
            (None, Some(to)) => Some(to),
            (None, None) if !bound && lost.transport == Transport::Udp => self.address_of(&lost),
            (None, None) => None,
        };
        if let Some(to) = to {
            self.send_cancel_by(call, ticket, transaction, &to);
            return true;
        }
        self.hold_and_look(call, leg, Held::Cancel(ticket, transaction), lost, now)
    }

    /// A CANCEL takes another way, and the ACK to the 487 with it.
    fn send_cancel_by(&mut self, call: CallRef, ticket: Ticket, cancel: TransactionId, way: &SendTo) {
        let open = self.calls.get(&call).map(|entry| entry.open.as_slice()).unwrap_or_default();
        let invite = open.iter().rev().find(|(known, _)| *known == ticket).map(|(_, id)| *id);
        for transaction in [Some(cancel), invite].into_iter().flatten() {
            if let Some(User::Client { to, .. }) = self.transactions.user_mut(transaction) {
                *to = way.clone();
            }
        }
        self.transactions.send_again(cancel);
    }

    fn hold_answer(&mut self, server: u64, transaction: TransactionId, lost: Flow, now: Now) {
        let Some((call, leg)) = self.servers.get(&server).and_then(|known| Some((known.call?, known.leg)))
        else {
            return;
        };
        if let Some(to) = self.address_without_owner(call, leg, &lost) {
            return self.send_answer_by(transaction, to);
        }
        if !self.hold_and_look(call, leg, Held::Answer(transaction), lost, now)
            && let Some(to) = self.way_of_answer(server, call, leg, &lost)
        {
            self.send_answer_by(transaction, to);
        }
    }

    /// The address of a lost flow, where the phone of this leg hears this pod at it too.
    fn address_without_owner(&self, call: CallRef, leg: LegRef, lost: &Flow) -> Option<SendTo> {
        let policy = self.calls.get(&call).and_then(|entry| entry.call.policy(leg));
        let nat = policy.map(|policy| policy.nat).unwrap_or_default();
        let network = self.speaks_without_owner(lost, nat)?;
        Some(SendTo::Address { network, remote: lost.remote })
    }

    /// Holds what ends or answers something and looks at once: its phone may be at another pod for long. Whether it was held.
    fn hold_and_look(&mut self, call: CallRef, leg: LegRef, held: Held, lost: Flow, now: Now) -> bool {
        if !self.hold(call, leg, held, lost, HOLD_LAST, now) {
            return false;
        }
        let number = held.transaction().and_then(|transaction| self.held_of(call, transaction));
        if let Some(number) = number {
            self.look_again(number, now);
        }
        true
    }

    fn hold(&mut self, call: CallRef, leg: LegRef, held: Held, lost: Flow, time: Duration, now: Now) -> bool {
        if held.transaction().is_some_and(|transaction| self.held_of(call, transaction).is_some()) {
            return true;
        }
        let (seldom, until) = (now.mono + HOLD, now.mono + time);
        let holding = Holding { call, leg, held, lost, seldom, until };
        // Only a datagram opens the same flow elsewhere. A connection ended with its pod; its phone knows, and registers
        // anew, which is worth waiting for once there is a call.
        let first = self.is_first_invite(&holding);
        if (first && lost.transport != Transport::Udp) || self.place_of(&holding).is_none() {
            return false;
        }
        let number = self.next_number();
        self.holding.insert(number, holding);
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.held.push(number);
        }
        self.timers.add(now.mono + LOOK_AGAIN, Timer::Hold(number));
        true
    }

    /// Whether it is about reaching the callee at all.
    fn is_first_invite(&mut self, holding: &Holding) -> bool {
        match holding.held {
            Held::Attempt(_) => true,
            Held::Cancel(..) | Held::Answer(_) => false,
            Held::Request(..) => self
                .calls
                .get_mut(&holding.call)
                .and_then(|entry| entry.call.next_hop(holding.leg))
                .is_some_and(|hop| hop.uri.is_empty()),
        }
    }

    /// What to ask for, while it is of use.
    fn place_of(&mut self, holding: &Holding) -> Option<Ask> {
        let first = self.is_first_invite(holding);
        let call = &mut self.calls.get_mut(&holding.call)?.call;
        let of_use = match holding.held {
            Held::Attempt(_) => true,
            Held::Request(ticket, _) => call.still_wants(ticket),
            Held::Cancel(ticket, transaction) => {
                call.still_wants(ticket) && self.transactions.user(transaction).is_some()
            }
            Held::Answer(transaction) => self.transactions.user(transaction).is_some(),
        };
        if !of_use {
            return None;
        }
        let (peer, key) = match first {
            true => {
                let target = call.last_target(call.attempt_of(holding.leg)?)?;
                (target.policy.peer.clone()?, target.binding.clone()?)
            }
            false => call.next_hop(holding.leg)?.binding?,
        };
        Some(Ask::Locate { peer, key })
    }

    /// Time to look again.
    pub(super) fn look_again(&mut self, number: u64, now: Now) {
        let Some(holding) = self.holding.get(&number).copied() else { return };
        let Some(ask) = self.place_of(&holding) else {
            self.let_out(number);
            return;
        };
        if now.mono >= holding.until {
            return self.give_up(number, now);
        }
        if !self.has_room() {
            return self.timers.add(now.mono + LOOK_SELDOM, Timer::Hold(number));
        }
        let key = self.fresh_key();
        self.ask(ask, key, Asked::Held { number });
    }

    /// The registrar said where the binding is.
    pub(super) fn found_where(&mut self, number: u64, answer: Result<Answer, AskFailed>, now: Now) {
        let Some(holding) = self.holding.get(&number).copied() else { return };
        if self.place_of(&holding).is_none() {
            self.let_out(number);
            return;
        }
        match answer {
            Ok(Answer::Located(Some(Hop::Flow(flow))))
                if self.router.is_there(flow.pod)
                    && (flow != holding.lost || matches!(holding.held, Held::Attempt(_))) =>
            {
                self.found(number, &flow, now);
            }
            // It is not registered any more.
            Ok(Answer::Located(None)) => self.give_up(number, now),
            _ => {
                let pause = if now.mono < holding.seldom { LOOK_AGAIN } else { LOOK_SELDOM };
                self.timers.add(now.mono + pause, Timer::Hold(number));
            }
        }
    }

    /// There is a way.
    fn found(&mut self, number: u64, flow: &Flow, now: Now) {
        let Some(Holding { call, leg, held, lost, .. }) = self.let_out(number) else { return };
        match held {
            Held::Attempt(attempt) => self.reach_flow(call, attempt, flow, now),
            Held::Request(ticket, transaction) => {
                self.set_flow(call, leg, flow);
                self.send_request_by(call, ticket, leg, transaction, SendTo::Flow(*flow), now);
                self.with_call(call, now, |call, now| call.leaves_late(ticket, now));
            }
            // It names the transport of its INVITE.
            Held::Cancel(ticket, transaction) if flow.transport == lost.transport => {
                if !self.calls.get(&call).is_some_and(|entry| entry.call.still_wants(ticket)) {
                    return;
                }
                self.set_flow(call, leg, flow);
                self.send_cancel_by(call, ticket, transaction, &SendTo::Flow(*flow));
            }
            // An answer does not change its transport (§18.2.2).
            Held::Answer(transaction) if flow.transport == lost.transport => {
                self.set_flow(call, leg, flow);
                let known = match self.transactions.user(transaction) {
                    Some(User::Server { id, .. }) => self.servers.get_mut(id),
                    _ => None,
                };
                let Some(known) = known else { return };
                known.flow = *flow;
                let to = respond::way_back(&known.request, flow, known.forced);
                self.send_answer_by(transaction, SendTo::Flow(to));
            }
            Held::Cancel(..) | Held::Answer(_) => {}
        }
        self.drain_transactions(now);
    }

    fn send_answer_by(&mut self, transaction: TransactionId, way: SendTo) {
        if let Some(User::Server { to, .. }) = self.transactions.user_mut(transaction) {
            *to = way;
        }
        self.transactions.send_again(transaction);
    }

    /// The same request goes by another way, or is written anew where that changes what it says of us.
    pub(super) fn send_request_by(
        &mut self,
        call: CallRef,
        ticket: Ticket,
        leg: LegRef,
        transaction: TransactionId,
        way: SendTo,
        now: Now,
    ) {
        let Some(entry) = self.calls.get(&call) else { return };
        let nat = entry.call.policy(leg).map(|policy| policy.nat).unwrap_or_default();
        let said = entry.call.outlet(leg).map(|outlet| (outlet.transport, outlet.host_port.clone()));
        let says = self.outlet_of(&way, nat).map(|(_, outlet)| (outlet.transport, outlet.host_port));
        if said != says {
            self.transactions.forget(transaction);
            return self.transmit(call, ticket, leg, way, now);
        }
        if let Some(known) = self.way_mut(call, leg) {
            known.to = way.clone();
        }
        if let Some(User::Client { to, .. }) = self.transactions.user_mut(transaction) {
            *to = way;
        }
        self.transactions.send_again(transaction);
    }

    fn give_up(&mut self, number: u64, now: Now) {
        let Some(holding) = self.let_out(number) else { return };
        match holding.held {
            Held::Attempt(attempt) => self.with_call(holding.call, now, |call, now| {
                call.not_reached(attempt, NotReached::FlowLost, now);
            }),
            Held::Request(ticket, transaction) => {
                self.transactions.forget(transaction);
                self.with_call(holding.call, now, |call, now| call.failed(ticket, Failure::Transport, now));
            }
            // The INVITE stays open until it is answered or 64*T1 are over: a 2xx is to be heard.
            Held::Cancel(_, transaction) => self.transactions.forget(transaction),
            Held::Answer(_) => {}
        }
    }

    fn let_out(&mut self, number: u64) -> Option<Holding> {
        let holding = self.holding.remove(&number)?;
        if let Some(entry) = self.calls.get_mut(&holding.call) {
            entry.held.retain(|known| *known != number);
        }
        Some(holding)
    }

    fn held_of(&self, call: CallRef, transaction: TransactionId) -> Option<u64> {
        let of = |number: &u64| {
            self.holding.get(number).is_some_and(|holding| holding.held.transaction() == Some(transaction))
        };
        self.calls.get(&call)?.held.iter().copied().find(of)
    }

    /// Whether an answer may find its flow gone: one that is another pod's, or a connection.
    pub(super) fn may_lose_its_way(&self, server: u64, to: &SendTo) -> bool {
        matches!(to, SendTo::Flow(flow) if self.may_be_gone(flow))
            && self.servers.get(&server).is_some_and(|known| known.call.is_some())
    }

    fn may_be_gone(&self, flow: &Flow) -> bool {
        flow.pod != self.identity.pod || flow.connection.is_some()
    }

    /// The caller's INVITE is refused. Nothing else may be left of the call, but where the refusal is held it has to be found.
    pub(super) fn remember_refusal(&mut self, call: CallRef, server: u64) {
        let refusal = self
            .servers
            .get(&server)
            .filter(|known| known.request.method() == &Method::Invite && self.may_be_gone(&known.flow));
        if refusal.is_some()
            && let Some(entry) = self.calls.get_mut(&call)
        {
            entry.refusal = Some(server);
        }
    }

    /// Whether the refusal of a call is still on its way.
    pub(super) fn is_refusing(&self, call: CallRef) -> bool {
        let refusal = self.calls.get(&call).and_then(|entry| entry.refusal);
        refusal.is_some_and(|server| self.servers.contains_key(&server))
    }

    /// The transaction of a request has ended: the call that was remembered for its refusal is forgotten.
    pub(super) fn refused(&mut self, call: Option<CallRef>, server: u64) {
        let over = |entry: &Entry| entry.refusal == Some(server) && entry.call.is_over();
        if let Some(call) = call.filter(|call| self.calls.get(call).is_some_and(over)) {
            self.forget_call(call);
        }
    }

    /// A message of this transaction has left: it does not wait any more.
    pub(super) fn left(&mut self, transaction: TransactionId) {
        let call = match self.transactions.user_mut(transaction) {
            Some(User::Client { of: Of::Call(call, _), left, .. }) => {
                *left = true;
                Some(*call)
            }
            Some(User::Server { id, .. }) => self.servers.get(id).and_then(|known| known.call),
            _ => None,
        };
        if let Some(number) = call.and_then(|call| self.held_of(call, transaction)) {
            self.let_out(number);
        }
    }

    /// A response came to a request of a call: it has arrived, whatever its results said. What is still to be sent for it, an
    /// ACK or a CANCEL, goes to where that went (RFC 3261 §9.1, §17.1.1.3), but by the flow that the phone is heard by now.
    pub(super) fn was_answered(
        &mut self,
        transaction: TransactionId,
        call: CallRef,
        ticket: Ticket,
        flow: &Flow,
        now: Now,
    ) {
        self.left(transaction);
        let router = &self.router;
        if let Some(User::Client { to: SendTo::Flow(known), .. }) = self.transactions.user_mut(transaction)
            && known.pod != flow.pod
            && known.transport == flow.transport
            && (known.is_same_source(flow) || !router.is_there(known.pod))
        {
            *known = *flow;
        }
        if !self.transactions.is_proceeding(transaction) {
            return;
        }
        let Some(leg) = self.calls.get(&call).and_then(|entry| entry.call.leg_of_ticket(ticket)) else {
            return;
        };
        for number in self.held_on(call, leg) {
            let held = self.holding.get(&number).map(|holding| holding.held);
            if matches!(held, Some(Held::Cancel(of, _)) if of == ticket) {
                self.found(number, flow, now);
            }
        }
    }

    /// Whether a request waits here and has never left, as far as is known.
    pub(super) fn was_never_sent(&self, call: CallRef, transaction: TransactionId) -> bool {
        self.held_of(call, transaction).is_some()
            && matches!(self.transactions.user(transaction), Some(User::Client { left: false, .. }))
    }

    /// A request came again, or its CANCEL did: answers leave by the way that it took now. Its source stays what it was;
    /// only an authenticated REGISTER changes that.
    pub(super) fn came_again(&mut self, transaction: TransactionId, flow: &Flow) {
        let Some(User::Server { id, to, .. }) = self.transactions.user_mut(transaction) else { return };
        let id = *id;
        match to {
            SendTo::Flow(back)
                if back.transport == Transport::Udp
                    && flow.transport == Transport::Udp
                    && back.remote.ip() == flow.remote.ip() =>
            {
                (back.pod, back.local) = (flow.pod, flow.local);
            }
            // It was answered where it came from, without its flow, and can be by one again.
            SendTo::Address { remote, .. }
                if flow.transport == Transport::Udp
                    && remote.ip() == flow.remote.ip()
                    && self.servers.get(&id).is_some_and(|known| known.flow.transport == Transport::Udp) =>
            {
                *to = SendTo::Flow(Flow { remote: *remote, ..*flow });
            }
            _ => return,
        }
        let Some(known) = self.servers.get_mut(&id).filter(|known| known.flow.is_same_source(flow)) else {
            return;
        };
        known.flow = *flow;
        let Some((call, leg)) = known.call.map(|call| (call, known.leg)) else { return };
        self.set_flow(call, leg, flow);
        // The answer goes out again by itself.
        if let Some(number) = self.held_of(call, transaction) {
            self.let_out(number);
        }
    }

    /// The caller of a 2xx has heard it: it is not repeated any more.
    pub(super) fn acknowledged(&mut self, call: CallRef, leg: LegRef) {
        for number in self.held_on(call, leg) {
            if self.holding.get(&number).is_some_and(|holding| matches!(holding.held, Held::Answer(_))) {
                self.let_out(number);
            }
        }
    }

    /// A phone was heard in its call: what waits for it leaves by that flow.
    pub(super) fn heard_again(&mut self, call: CallRef, leg: LegRef, flow: &Flow, now: Now) {
        for number in self.held_on(call, leg) {
            self.found(number, flow, now);
        }
    }

    fn held_on(&self, call: CallRef, leg: LegRef) -> Vec<u64> {
        let on_leg = |number: &u64| self.holding.get(number).is_some_and(|holding| holding.leg == leg);
        let held = self.calls.get(&call).map(|entry| entry.held.as_slice()).unwrap_or_default();
        held.iter().copied().filter(on_leg).collect()
    }
}
