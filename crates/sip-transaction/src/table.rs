//! All transactions of one shard: their keys, their messages, their timers.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sip_wire::{Message, Method};

use crate::key::{self, Hash, Keys};
use crate::machine::{Machine, Send, Step, Tell};
use crate::schedule::Schedule;
use crate::slots::Slots;
use crate::{ClientInvite, ClientNonInvite, ServerInvite, ServerNonInvite, requests};
use crate::{Failure, NotOpened, NotSent, Output, Received, Request, Timers, TransactionId};

/// How many transactions a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all.
    pub transactions: usize,
    /// For CANCEL and BYE on top, so that a full table can still be left.
    pub reserve: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { transactions: 500_000, reserve: 50_000 }
    }
}

/// What became of the wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The CANCEL is on its way, in a transaction of its own.
    Sent,
    /// It waits for the first provisional response (§9.1) and is dropped should a final one come first.
    Waiting,
    /// There was a final response, or the transaction is gone, or it is no INVITE: nothing to cancel.
    TooLate,
}

struct Live<D> {
    user: D,
    machine: Machine,
    key: Arc<[u8]>,
    /// Client: the request as sent. Server: the last response, empty before there is one.
    message: Bytes,
    /// Client INVITE: to make ACK and CANCEL from.
    invite: Option<Message>,
    /// Client INVITE: the ACK, empty before there is one.
    ack: Bytes,
    cancel: Cancel,
    reliable: bool,
    timers: Timers,
    /// The CANCEL that the table sent by itself: its user hears nothing of it.
    silent: bool,
    /// Over, its key free again; here until the user has drained [`Output::Ended`].
    ended: bool,
    /// Time of its earliest entry in the schedule.
    scheduled: Option<Instant>,
}

/// What became of the wish to cancel a client INVITE.
enum Cancel {
    No,
    Waiting { reason: Option<Box<str>> },
    Sent,
}

/// What waits to be drained.
enum Queued<D> {
    Output(Output<D>),
    /// The last of a transaction: it leaves its slot when this is drained, so that its user can be asked for
    /// ([`Transactions::user`]) while earlier outputs and the last response are dealt with.
    End(TransactionId),
}

/// The transactions of one shard.
///
/// `D` is what a user needs to recognise a transaction and to send its messages: a destination, a call.
pub struct Transactions<D> {
    limits: Limits,
    slots: Slots<Live<D>>,
    /// How many of them are over and wait to be drained.
    ending: usize,
    clients: Keys,
    servers: Keys,
    schedule: Schedule,
    outputs: VecDeque<Queued<D>>,
    scratch: Vec<u8>,
}

impl<D: Clone> Transactions<D> {
    /// An empty table. `seed` must be random: it keeps strangers from choosing keys that collide.
    pub fn new(limits: Limits, seed: (u64, u64)) -> Self {
        let hash = Hash(seed.0, seed.1);
        Transactions {
            limits,
            slots: Slots::new(),
            ending: 0,
            clients: HashMap::with_hasher(hash),
            servers: HashMap::with_hasher(hash),
            schedule: Schedule::default(),
            outputs: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// Matches a request that came in (§17.2.3). A repetition is dealt with here.
    pub fn handle_request(&mut self, message: &Message, now: Instant) -> Request {
        let method = message.method();
        if *method == Method::Ack {
            return self.handle_ack(message, now);
        }
        if !key::server(message, method, &mut self.scratch) {
            return Request::Unmatchable;
        }
        if let Some(&id) = self.servers.get(self.scratch.as_slice()) {
            self.step(id, now, |live, _| live.machine.receive_again());
            return Request::Retransmission(id);
        }
        if *method == Method::Cancel {
            return Request::Cancel { invite: self.invite_of(message) };
        }
        Request::New
    }

    /// Whether a request is of a server transaction that is here: a repetition of what began it.
    pub fn has_server(&mut self, message: &Message) -> bool {
        key::server(message, message.method(), &mut self.scratch)
            && self.servers.contains_key(self.scratch.as_slice())
    }

    /// Opens the transaction of a request that [`handle_request`](Self::handle_request) called new. The user
    /// answers it with [`respond`](Self::respond), or it ends by itself when no answer is of use any more (not
    /// INVITE).
    pub fn open_server(
        &mut self,
        request: &Message,
        user: D,
        reliable: bool,
        timers: Timers,
        now: Instant,
    ) -> Result<TransactionId, NotOpened> {
        let method = request.method();
        if !key::server(request, method, &mut self.scratch) {
            return Err(NotOpened::Unmatchable);
        }
        let machine = if *method == Method::Invite {
            Machine::CalledIn(ServerInvite::new(timers, reliable, now))
        } else {
            Machine::AskedIn(ServerNonInvite::new(timers, reliable, now))
        };
        self.insert(method, machine, user, reliable, timers)
    }

    /// Sends a response in a server transaction.
    pub fn respond(
        &mut self,
        id: TransactionId,
        status: u16,
        response: Bytes,
        now: Instant,
    ) -> Result<(), NotSent> {
        let Some(live) = self.slots.get_mut(id) else { return Err(NotSent::Gone) };
        match &mut live.machine {
            Machine::CalledIn(machine) => machine.respond(status, now)?,
            Machine::AskedIn(machine) => machine.respond(status, now)?,
            _ => return Err(NotSent::Gone),
        }
        live.message = response.clone();
        let output =
            Output::Send { transaction: id, user: live.user.clone(), message: response, again: false };
        self.put(output);
        self.settle(id);
        Ok(())
    }

    /// Sends a request in a new client transaction. Its top Via must carry a branch that was never used.
    pub fn open_client(
        &mut self,
        request: Message,
        user: D,
        reliable: bool,
        timers: Timers,
        now: Instant,
    ) -> Result<TransactionId, NotOpened> {
        self.open(request, user, reliable, timers, false, now)
    }

    /// Matches a response that came in (§17.1.3).
    pub fn handle_response(&mut self, message: &Message, now: Instant) -> Received {
        let Some(status) = message.status() else { return Received::Stray };
        if !key::client(message, &mut self.scratch) {
            return Received::Stray;
        }
        let Some(&id) = self.clients.get(self.scratch.as_slice()) else { return Received::Stray };
        let mut received = Received::Absorbed;
        self.step(id, now, |live, now| {
            let step = match &mut live.machine {
                Machine::CallsOut(machine) => {
                    let step = machine.receive(status, now);
                    let accepted = machine.is_accepted();
                    if step.send == Some(Send::Ack)
                        && live.ack.is_empty()
                        && let Some(invite) = &live.invite
                    {
                        live.ack = requests::ack(invite, message);
                    }
                    if matches!(status, 200..300) && !accepted {
                        received = Received::Stray;
                    }
                    step
                }
                Machine::AsksOut(machine) => machine.receive(status, now),
                _ => Step::NONE,
            };
            if step.tell == Some(Tell::Response) && !live.silent {
                received = Received::ForUser(id);
            }
            step
        });
        self.send_waiting_cancel(id, now);
        received
    }

    /// Wants a client INVITE cancelled, with a Reason header value (RFC 3326) if there is one. The CANCEL goes to
    /// where the INVITE went, when it may (§9.1); 64*T1 later the INVITE fails with
    /// [`Failure::Timeout`] if it still has no final response.
    pub fn cancel(&mut self, id: TransactionId, reason: Option<&str>, now: Instant) -> Cancelled {
        let Some(live) = self.slots.get_mut(id) else { return Cancelled::TooLate };
        let Machine::CallsOut(machine) = &live.machine else { return Cancelled::TooLate };
        if !machine.is_calling() && !machine.may_cancel() {
            return Cancelled::TooLate;
        }
        match &live.cancel {
            Cancel::Sent => return Cancelled::Sent,
            Cancel::Waiting { .. } => {}
            Cancel::No => live.cancel = Cancel::Waiting { reason: reason.map(Box::from) },
        }
        self.send_waiting_cancel(id, now);
        match self.slots.get(id).map(|live| &live.cancel) {
            Some(Cancel::Waiting { .. }) => Cancelled::Waiting,
            _ => Cancelled::Sent,
        }
    }

    /// Ends a transaction at once, without telling anybody but by [`Output::Ended`]: its request was passed on to
    /// somebody else, or nobody waits for its response any more. What comes for it later is of no transaction.
    pub fn forget(&mut self, id: TransactionId) {
        if self.user(id).is_some() {
            self.end(id);
        }
    }

    /// Repeats the refusal of an INVITE no longer than until `at`, where Timer H (§17.2.1) would allow 64*T1: the
    /// sender may have written somebody else's address into his packet, who would hear all of the repetitions.
    pub fn repeat_until(&mut self, id: TransactionId, at: Instant) {
        if let Some(live) = self.slots.get_mut(id)
            && let Machine::CalledIn(machine) = &mut live.machine
        {
            machine.repeat_until(at);
            self.settle(id);
        }
    }

    /// A message of this transaction did not leave (§17.1.4, §17.2.4).
    pub fn transport_error(&mut self, id: TransactionId, now: Instant) {
        self.step(id, now, |live, _| live.machine.transport_error());
    }

    /// Sends once more what was sent last, now: its user has found another way for it. The timers stay as they are.
    pub fn send_again(&mut self, id: TransactionId) {
        let Some(live) = self.slots.get(id).filter(|live| !live.ended && !live.message.is_empty()) else {
            return;
        };
        let output = Output::Send {
            transaction: id,
            user: live.user.clone(),
            message: live.message.clone(),
            again: true,
        };
        self.put(output);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come: fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.schedule.pop_due(now) {
            let Some(live) = self.slots.get_mut(id) else { continue };
            // An entry that an earlier one has replaced.
            if live.scheduled != Some(at) {
                continue;
            }
            live.scheduled = None;
            self.step(id, now, |live, now| live.machine.handle_timeout(now));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). May be earlier than needed, never later; `None` when
    /// nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// The next thing to be done. Drain after every input.
    pub fn poll_output(&mut self) -> Option<Output<D>> {
        loop {
            match self.outputs.pop_front()? {
                Queued::Output(output) => return Some(output),
                Queued::End(id) => {
                    if let Some(live) = self.slots.remove(id) {
                        self.ending -= 1;
                        return Some(Output::Ended { transaction: id, user: live.user });
                    }
                }
            }
        }
    }

    /// What the user gave for this transaction, until [`Output::Ended`] was drained.
    pub fn user(&self, id: TransactionId) -> Option<&D> {
        self.slots.get(id).map(|live| &live.user)
    }

    /// The same, to be changed: messages sent from now on carry the new value.
    pub fn user_mut(&mut self, id: TransactionId) -> Option<&mut D> {
        self.slots.get_mut(id).map(|live| &mut live.user)
    }

    /// Whether this is the transaction of a CANCEL that [`cancel`](Self::cancel) sent. Its user is a copy of its INVITE's,
    /// and hears nothing of its responses, its failure and its end.
    pub fn is_cancel(&self, id: TransactionId) -> bool {
        self.slots.get(id).is_some_and(|live| live.silent)
    }

    /// Whether this is a client INVITE that had a provisional response and no final one: it has arrived, and is not sent again
    /// (§17.1.1.2).
    pub fn is_proceeding(&self, id: TransactionId) -> bool {
        matches!(self.slots.get(id).map(|live| &live.machine), Some(Machine::CallsOut(machine)) if machine.may_cancel())
    }

    /// The server transaction of an INVITE that this CANCEL is for (§9.2), whatever its state.
    pub fn invite_of(&mut self, cancel: &Message) -> Option<TransactionId> {
        if !key::server(cancel, &Method::Invite, &mut self.scratch) {
            return None;
        }
        self.servers.get(self.scratch.as_slice()).copied()
    }

    /// How many transactions there are that are not over.
    pub fn len(&self) -> usize {
        self.slots.len() - self.ending
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many deadlines are kept, those that do not hold any more included: a few for each transaction.
    pub fn scheduled(&self) -> usize {
        self.schedule.len()
    }

    /// Whether a request that may be refused should be: the table is full but for its reserve.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limits.transactions
    }

    fn handle_ack(&mut self, message: &Message, now: Instant) -> Request {
        if !key::server(message, &Method::Invite, &mut self.scratch) {
            return Request::Unmatchable;
        }
        let Some(&id) = self.servers.get(self.scratch.as_slice()) else { return Request::Ack };
        let mut for_user = false;
        self.step(id, now, |live, now| {
            if let Machine::CalledIn(machine) = &mut live.machine {
                for_user = machine.receive_ack(now);
            }
            Step::NONE
        });
        if for_user { Request::Ack } else { Request::Acknowledged(id) }
    }

    fn open(
        &mut self,
        request: Message,
        user: D,
        reliable: bool,
        timers: Timers,
        silent: bool,
        now: Instant,
    ) -> Result<TransactionId, NotOpened> {
        if !key::client(&request, &mut self.scratch) {
            return Err(NotOpened::Unmatchable);
        }
        let method = request.method().clone();
        let machine = if method == Method::Invite {
            Machine::CallsOut(ClientInvite::new(timers, reliable, now))
        } else {
            Machine::AsksOut(ClientNonInvite::new(timers, reliable, now))
        };
        let id = self.insert(&method, machine, user.clone(), reliable, timers)?;
        let message = request.bytes().clone();
        if let Some(live) = self.slots.get_mut(id) {
            live.silent = silent;
            live.message = message.clone();
            live.invite = (method == Method::Invite).then_some(request);
        }
        self.put(Output::Send { transaction: id, user, message, again: false });
        Ok(id)
    }

    /// Puts a transaction under the key in `scratch`.
    fn insert(
        &mut self,
        method: &Method,
        machine: Machine,
        user: D,
        reliable: bool,
        timers: Timers,
    ) -> Result<TransactionId, NotOpened> {
        let reserve = if matches!(method, Method::Cancel | Method::Bye) { self.limits.reserve } else { 0 };
        if self.len() >= self.limits.transactions.saturating_add(reserve) {
            return Err(NotOpened::Full);
        }
        let keys = if machine.is_client() { &mut self.clients } else { &mut self.servers };
        let key: Arc<[u8]> = self.scratch.as_slice().into();
        let MapEntry::Vacant(vacant) = keys.entry(key.clone()) else { return Err(NotOpened::Exists) };
        let live = Live {
            user,
            machine,
            key,
            message: Bytes::new(),
            invite: None,
            ack: Bytes::new(),
            cancel: Cancel::No,
            reliable,
            timers,
            silent: false,
            ended: false,
            scheduled: None,
        };
        let id = self.slots.insert(live).ok_or(NotOpened::Full)?;
        vacant.insert(id);
        self.settle(id);
        Ok(id)
    }

    /// Gives one input to a machine and carries out what it wants.
    fn step(&mut self, id: TransactionId, now: Instant, input: impl FnOnce(&mut Live<D>, Instant) -> Step) {
        let Some(live) = self.slots.get_mut(id) else { return };
        let step = input(live, now);
        let again = !matches!(step, Step { send: Some(Send::Ack), tell: Some(Tell::Response) });
        let message = match step.send {
            Some(Send::Request | Send::Response) => live.message.clone(),
            Some(Send::Ack) => live.ack.clone(),
            None => Bytes::new(),
        };
        let user = live.user.clone();
        let silent = live.silent;
        // Nothing is there to be sent again before the first response.
        if !message.is_empty() {
            self.put(Output::Send { transaction: id, user: user.clone(), message, again });
        }
        if !silent {
            let failed = |why| Output::Failed { transaction: id, user: user.clone(), why };
            match step.tell {
                Some(Tell::Timeout) => self.put(failed(Failure::Timeout)),
                Some(Tell::Transport) => self.put(failed(Failure::Transport)),
                Some(Tell::NoAck) => self.put(failed(Failure::NoAck)),
                Some(Tell::TryingDue) => self.put(Output::TryingDue { transaction: id, user }),
                Some(Tell::Response) | None => {}
            }
        }
        self.settle(id);
    }

    /// After every change: takes away what is over, schedules what waits.
    fn settle(&mut self, id: TransactionId) {
        let Some(live) = self.slots.get_mut(id) else { return };
        let (over, deadline) = (live.machine.is_terminated(), live.machine.poll_timeout());
        if over {
            self.end(id);
        } else if let Some(at) = deadline {
            // A deadline that moved away is found out when the entry comes up.
            if live.scheduled.is_none_or(|scheduled| at < scheduled) {
                live.scheduled = Some(at);
                self.schedule.push(at, id);
            }
        }
        if self.schedule.len() > 4 * self.len() + 1_024 {
            self.reschedule();
        }
    }

    /// Rebuilds the schedule without the entries of transactions that are gone.
    fn reschedule(&mut self) {
        let slots = &self.slots;
        self.schedule.retain(|at, id| slots.get(id).is_some_and(|live| live.scheduled == Some(at)));
    }

    /// Frees the key of a transaction that is over; its slot follows when the user has drained its end.
    fn end(&mut self, id: TransactionId) {
        let Some(live) = self.slots.get_mut(id) else { return };
        if std::mem::replace(&mut live.ended, true) {
            return;
        }
        let keys = if live.machine.is_client() { &mut self.clients } else { &mut self.servers };
        keys.remove(&live.key);
        if live.silent {
            self.slots.remove(id);
        } else {
            self.ending += 1;
            self.outputs.push_back(Queued::End(id));
        }
    }

    fn put(&mut self, output: Output<D>) {
        self.outputs.push_back(Queued::Output(output));
    }

    /// Sends the CANCEL that waited, if it may be sent now.
    fn send_waiting_cancel(&mut self, id: TransactionId, now: Instant) {
        let Some(live) = self.slots.get_mut(id) else { return };
        let Machine::CallsOut(machine) = &mut live.machine else { return };
        if !machine.may_cancel() {
            return;
        }
        if !matches!(live.cancel, Cancel::Waiting { .. }) {
            return;
        }
        let Cancel::Waiting { reason } = std::mem::replace(&mut live.cancel, Cancel::Sent) else { return };
        machine.cancelled(now);
        let Some(invite) = &live.invite else { return };
        let bytes = requests::cancel(invite, reason.as_deref());
        let (user, reliable, timers) = (live.user.clone(), live.reliable, live.timers);
        self.settle(id);
        if let Ok(cancel) = Message::parse(bytes) {
            // Refused only when even the reserve is used up; then the 64*T1 above ends the INVITE.
            let _ = self.open(cancel, user, reliable, timers, true, now);
        }
    }
}
