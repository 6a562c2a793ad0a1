//! What is held while a phone's flow is gone, with its pod or with its connection.
//!
//! Behind NAT only the phone can open another way: its next packet, a keep-alive or a REGISTER, moves its flow to the pod that
//! it reaches then (`flows.rs`). Phones send one each 15 to 30 s. So nothing that is meant for one is given up at once:
//!
//! * the call of its last contact by UDP: its caller has a 100 and waits ([`HOLD`], then 480);
//! * a request of its call ([`HOLD`]; BYE as long as its transaction lives, so that nobody stays in a call that is over);
//! * the CANCEL of its INVITE, as long as that rings: 32 s, so that nobody's phone rings for a caller who is gone;
//! * an answer to it, as long as its transaction lives: a 2xx has to be heard although nobody repeats the INVITE.
//!
//! Meanwhile the registrar is asked where the binding is now, and a connection that may still be there is tried again. What the phone sends within the call says it at once: a request
//! that comes again over another pod takes the way of its answers along (RFC 3261 §18.2.2).

use fairlead_call::call::NotReached;
use fairlead_model::ask::{Answer, AskFailed};
use fairlead_model::flow::{Hop, Transport};

use super::*;

/// A call is held for so long at most; then it is 480. Phones behind NAT send something every 15 to 30 s, and callers wait
/// about as long for a phone that is slow to ring; calls that nobody can answer must not gather for longer. Less than the
/// ring time that a peer has unless it is told another (20 s).
const HOLD: Duration = Duration::from_secs(16);
/// What ends or answers something is held for as long as its transaction lives (64*T1).
const HOLD_LAST: Duration = Duration::from_secs(32);
/// The registrar is asked this often at first, while a person waits.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// And so often after [`HOLD`].
const LOOK_SELDOM: Duration = Duration::from_secs(2);

/// When an attempt that is held is decided upon at the latest: a question may be asked, or found to be one too many, in the last
/// moment, and takes its time. The call that waits for it has more patience.
const DECIDED: Duration =
    Duration::from_secs(HOLD.as_secs() + LOOK_SELDOM.as_secs() + ASK_DEADLINE.as_secs());
const _: () = assert!(DECIDED.as_secs() < fairlead_call::call::PREPARING.as_secs());

/// How long something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// What a person waits for.
    Short,
    /// What ends or answers something.
    Long,
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Patience::Short => HOLD,
            Patience::Long => HOLD_LAST,
        }
    }
}

/// What waits for the phone's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// An attempt that has no way yet.
    Attempt(AttemptRef),
    /// A request, which was to leave by a flow that turned out to be gone. It stays in its transaction.
    Request(Ticket, TransactionId),
    /// The CANCEL of an INVITE.
    Cancel(Ticket, TransactionId),
    /// The last answer of a transaction.
    Answer(TransactionId),
}

impl Held {
    pub(super) fn transaction(self) -> Option<TransactionId> {
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
    pub(super) leg: LegRef,
    pub(super) held: Held,
    pub(super) lost: Flow,
    /// When the flow that was lost is tried again.
    again: Instant,
    seldom: Instant,
    until: Instant,
}

impl Core {
    /// Holds an attempt whose way is a flow of a pod that is gone. Whether it is held.
    pub(super) fn hold_attempt(&mut self, call: CallRef, attempt: AttemptRef, lost: &Flow, now: Now) -> bool {
        self.hold(call, LegRef::B(attempt), Held::Attempt(attempt), *lost, Patience::Short, now)
    }

    pub(super) fn hold(
        &mut self,
        call: CallRef,
        leg: LegRef,
        held: Held,
        lost: Flow,
        patience: Patience,
        now: Now,
    ) -> bool {
        if held.transaction().is_some_and(|transaction| self.held_of(call, transaction).is_some()) {
            return true;
        }
        let (again, seldom) = (now.mono + LOOK_SELDOM, now.mono + HOLD);
        let until = now.mono + patience.time();
        let holding = Holding { call, leg, held, lost, again, seldom, until };
        // Only a datagram opens the same flow elsewhere. A connection ended; its phone knows, and registers anew, which is worth
        // waiting for once there is a call. Before that only whether its pod can be reached after all is.
        if self.is_too_new(&holding) || self.place_of(&holding).is_none() {
            return false;
        }
        let number = self.next_number();
        self.holding.insert(number, holding);
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.held.push(number);
            if let Held::Request(ticket, _) = held {
                entry.call.is_held(ticket);
            }
        }
        // Its phone may be elsewhere for long: nobody asked yet where, or it was heard by what is closed now after it registered.
        if patience == Patience::Long || lost.connection.is_some() {
            self.look_again(number, now);
        } else {
            self.timers.add(now.mono + LOOK_AGAIN, Timer::Hold(number));
        }
        true
    }

    /// Whether it is a new call for a connection that is known to be gone.
    fn is_too_new(&mut self, holding: &Holding) -> bool {
        let lost = &holding.lost;
        lost.transport != Transport::Udp
            && (lost.connection.is_none() || self.is_gone(lost))
            && self.is_first_invite(holding)
    }

    /// Whether it is about reaching the callee at all.
    pub(super) fn is_first_invite(&mut self, holding: &Holding) -> bool {
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
                    && !self.is_closed(&flow)
                    && (flow != holding.lost || matches!(holding.held, Held::Attempt(_))) =>
            {
                // What it says from now on is news only if it says something else.
                if let Some(way) = self.way_mut(holding.call, holding.leg) {
                    way.located = Some(flow);
                }
                self.found(number, &flow, now);
            }
            _ if self.is_too_new(&holding) => self.give_up(number, now),
            _ if self.goes_by_contact(number, now) => {}
            // It is not registered any more.
            Ok(Answer::Located(None)) => self.give_up(number, now),
            _ => {
                self.try_again(number, now);
                let pause = if now.mono < holding.seldom { LOOK_AGAIN } else { LOOK_SELDOM };
                self.timers.add(now.mono + pause, Timer::Hold(number));
            }
        }
    }

    /// A connection of a pod that is there and only was not reached may be as good as ever, and over it nothing is repeated: what
    /// could not leave is sent by it again. It waits on, until it is known to have left.
    fn try_again(&mut self, number: u64, now: Now) {
        let Some(Holding { held, lost, again, .. }) = self.holding.get(&number).copied() else { return };
        let may_be_there = lost.connection.is_some() && !self.is_gone(&lost);
        let Some(transaction) = held.transaction().filter(|_| may_be_there && now.mono >= again) else {
            return;
        };
        if let Some(holding) = self.holding.get_mut(&number) {
            holding.again = now.mono + LOOK_SELDOM;
        }
        self.transactions.send_again(transaction);
        self.drain_transactions(now);
    }

    /// A request whose phone has not opened another connection, and takes one from us at its Contact, is sent there. Whether it is.
    fn goes_by_contact(&mut self, number: u64, now: Now) -> bool {
        let Some(Holding { call, held: Held::Request(ticket, transaction), lost, .. }) =
            self.holding.get(&number).copied()
        else {
            return false;
        };
        let tried = |user: &User| matches!(user, User::Client { to: SendTo::Address { .. }, .. });
        let gone = lost.connection.is_some() && self.is_gone(&lost);
        if !gone || self.transactions.user(transaction).is_none_or(tried) {
            return false;
        }
        let goes = self.send_without_flow(call, ticket, transaction, &lost, now);
        if goes {
            self.let_out(number);
        }
        goes
    }

    /// There is a way.
    pub(super) fn found(&mut self, number: u64, flow: &Flow, now: Now) {
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

    pub(super) fn let_out(&mut self, number: u64) -> Option<Holding> {
        let holding = self.holding.remove(&number)?;
        if let Some(entry) = self.calls.get_mut(&holding.call) {
            entry.held.retain(|known| *known != number);
        }
        Some(holding)
    }

    pub(super) fn held_of(&self, call: CallRef, transaction: TransactionId) -> Option<u64> {
        let of = |number: &u64| {
            self.holding.get(number).is_some_and(|holding| holding.held.transaction() == Some(transaction))
        };
        self.calls.get(&call)?.held.iter().copied().find(of)
    }

    pub(super) fn held_on(&self, call: CallRef, leg: LegRef) -> Vec<u64> {
        let on_leg = |number: &u64| self.holding.get(number).is_some_and(|holding| holding.leg == leg);
        let held = self.calls.get(&call).map(|entry| entry.held.as_slice()).unwrap_or_default();
        held.iter().copied().filter(on_leg).collect()
    }
}
