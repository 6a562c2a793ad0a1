//! All transactions of one shard: their keys, their messages, their timers.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use sip_wire::{Message, Method};
use siphasher::sip::SipHasher13;

use crate::machine::{Send, Step, Tell};
use crate::schedule::Schedule;
use crate::{ClientInvite, ClientNonInvite, ServerInvite, ServerNonInvite, Timers, key, requests};

/// Names a transaction for as long as it lives; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

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

/// What a request that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Of no transaction: check it and open one with [`Transactions::open_server`], or answer it without.
    New,
    /// A CANCEL, itself new, and the INVITE it is for, if that is known and not finally answered. Without one the
    /// answer is 481 (§9.2).
    Cancel {
        /// The transaction to be cancelled.
        invite: Option<TransactionId>,
    },
    /// An ACK that is not for a non-2xx response of ours: by its dialog it belongs to a 2xx, or to nothing. Over
    /// the transaction of the INVITE only when the sender used its branch again (RFC 2543).
    Ack,
    /// The ACK that a non-2xx response waited for. Nothing to do.
    Acknowledged(TransactionId),
    /// A repetition; the last response, if any, was sent again. Nothing to do.
    Retransmission(TransactionId),
    /// It has no top Via or CSeq to be matched by. Nothing was done.
    Unmatchable,
}

/// What a response that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// For the user of this transaction. A 2xx to an INVITE may come repeatedly and with several To tags
    /// (RFC 6026 §7.2).
    ForUser(TransactionId),
    /// A repetition or of no interest (answers to a CANCEL). Nothing to do.
    Absorbed,
    /// Of no transaction, or a 2xx for an INVITE that ended otherwise. A 2xx may be of a dialog whose ACK was
    /// lost (§13.2.2.4); everything else is dropped.
    Stray,
}

/// Something to be done or known, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<D> {
    /// Send this message. Should that fail, say so with [`Transactions::transport_error`].
    Send {
        /// Whose it is.
        transaction: TransactionId,
        /// What the user gave when it opened the transaction.
        user: D,
        /// The message.
        message: Bytes,
        /// Whether it was sent before.
        again: bool,
    },
    /// It did not work out. A client transaction ends with this; a server transaction goes on absorbing.
    Failed {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
        /// Why.
        why: Failure,
    },
    /// Nobody has answered this request yet and it is time for a 100: build one and
    /// [`respond`](Transactions::respond) with it.
    TryingDue {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
    },
    /// The transaction is gone.
    Ended {
        /// Which.
        transaction: TransactionId,
        /// What the user gave.
        user: D,
    },
}

/// Why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No response in time: like a 408 (§8.1.3.1).
    Timeout,
    /// A message could not be sent: like a 503 (§8.1.3.1).
    Transport,
    /// A final response to an INVITE was never acknowledged.
    NoAck,
}

/// Why a transaction was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The table is full.
    #[error("there are too many transactions")]
    Full,
    /// The message has no top Via with a branch, or no CSeq.
    #[error("the request cannot be matched: it lacks a branch or a CSeq")]
    Unmatchable,
    /// There is one with this key.
    #[error("there is a transaction with this branch already")]
    Exists,
}

/// Why a response was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The transaction is over.
    #[error("the transaction is over")]
    Gone,
    /// A final response was given before.
    #[error("a final response was given before")]
    AlreadyFinal,
    /// RFC 4320 does not allow this response to a request that is no INVITE (now).
    #[error("RFC 4320 forbids this response to a request other than INVITE")]
    Forbidden,
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

enum Machine {
    ClientInvite(ClientInvite),
    ClientNonInvite(ClientNonInvite),
    ServerInvite(ServerInvite),
    ServerNonInvite(ServerNonInvite),
}

struct Live<D> {
    user: D,
    machine: Machine,
    key: Box<[u8]>,
    /// Client: the request as sent. Server: the last response, empty before there is one.
    message: Bytes,
    /// Client INVITE: to make ACK and CANCEL from.
    invite: Option<Box<Message>>,
    /// Client INVITE: the ACK, empty before there is one.
    ack: Bytes,
    cancel: Cancel,
    reliable: bool,
    timers: Timers,
    /// The CANCEL that the table sent by itself: its user hears nothing of it.
    silent: bool,
    /// Time of its earliest entry in the schedule.
    scheduled: Option<Instant>,
}

/// What became of the wish to cancel a client INVITE.
enum Cancel {
    No,
    Waiting { reason: Option<Box<str>> },
    Sent,
}

enum Slot<D> {
    Free { next: Option<u32> },
    Live(Box<Live<D>>),
}

/// The hash of keys that strangers choose: keyed, so that they cannot aim at one bucket.
#[derive(Clone, Copy)]
struct Hash(u64, u64);

impl std::hash::BuildHasher for Hash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

type Keys = HashMap<Box<[u8]>, TransactionId, Hash>;

/// The transactions of one shard.
///
/// `D` is what a user needs to recognise a transaction and to send its messages: a destination, a call.
pub struct Transactions<D> {
    limits: Limits,
    slots: Vec<(u32, Slot<D>)>,
    free: Option<u32>,
    live: usize,
    clients: Keys,
    servers: Keys,
    schedule: Schedule,
    outputs: VecDeque<Output<D>>,
    scratch: Vec<u8>,
}

impl<D: Clone> Transactions<D> {
    /// An empty table. `seed` must be random: it keeps strangers from choosing keys that collide.
    pub fn new(limits: Limits, seed: (u64, u64)) -> Self {
        let hash = Hash(seed.0, seed.1);
        Transactions {
            limits,
            slots: Vec::new(),
            free: None,
            live: 0,
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
            self.step(id, now, |live, _| match &mut live.machine {
                Machine::ServerInvite(machine) => machine.receive_again(),
                Machine::ServerNonInvite(machine) => machine.receive_again(),
                _ => Step::NONE,
            });
            return Request::Retransmission(id);
        }
        if *method == Method::Cancel {
            return Request::Cancel { invite: self.invite_of(message) };
        }
        Request::New
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
            Machine::ServerInvite(ServerInvite::new(timers, reliable, now))
        } else {
            Machine::ServerNonInvite(ServerNonInvite::new(timers, reliable, now))
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
        let Some(live) = self.get_mut(id) else { return Err(NotSent::Gone) };
        match &mut live.machine {
            Machine::ServerInvite(machine) => machine.respond(status, now)?,
            Machine::ServerNonInvite(machine) => machine.respond(status, now)?,
            _ => return Err(NotSent::Gone),
        }
        live.message = response.clone();
        let output =
            Output::Send { transaction: id, user: live.user.clone(), message: response, again: false };
        self.outputs.push_back(output);
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
                Machine::ClientInvite(machine) => {
                    let step = machine.receive(status, now);
                    let accepted = machine.is_accepted();
                    if step.send == Some(Send::Ack) && live.ack.is_empty()
                        && let Some(invite) = &live.invite {
                            live.ack = requests::ack(invite, message);
                        }
                    if matches!(status, 200..300) && !accepted {
                        received = Received::Stray;
                    }
                    step
                }
                Machine::ClientNonInvite(machine) => machine.receive(status, now),
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
        let Some(live) = self.get_mut(id) else { return Cancelled::TooLate };
        let Machine::ClientInvite(machine) = &live.machine else { return Cancelled::TooLate };
        if !machine.is_calling() && !machine.may_cancel() {
            return Cancelled::TooLate;
        }
        match &live.cancel {
            Cancel::Sent => return Cancelled::Sent,
            Cancel::Waiting { .. } => {}
            Cancel::No => live.cancel = Cancel::Waiting { reason: reason.map(Box::from) },
        }
        self.send_waiting_cancel(id, now);
        match self.get(id).map(|live| &live.cancel) {
            Some(Cancel::Waiting { .. }) => Cancelled::Waiting,
            _ => Cancelled::Sent,
        }
    }

    /// A message of this transaction did not leave (§17.1.4, §17.2.4).
    pub fn transport_error(&mut self, id: TransactionId, now: Instant) {
        self.step(id, now, |live, _| match &mut live.machine {
            Machine::ClientInvite(machine) => machine.transport_error(),
            Machine::ClientNonInvite(machine) => machine.transport_error(),
            Machine::ServerInvite(machine) => machine.transport_error(),
            Machine::ServerNonInvite(machine) => machine.transport_error(),
        });
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come: fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.schedule.pop_due(now) {
            let Some(live) = self.get_mut(id) else { continue };
            // An entry that an earlier one has replaced.
            if live.scheduled != Some(at) {
                continue;
            }
            live.scheduled = None;
            self.step(id, now, |live, now| match &mut live.machine {
                Machine::ClientInvite(machine) => machine.handle_timeout(now),
                Machine::ClientNonInvite(machine) => machine.handle_timeout(now),
                Machine::ServerInvite(machine) => machine.handle_timeout(now),
                Machine::ServerNonInvite(machine) => machine.handle_timeout(now),
            });
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). May be earlier than needed, never later; `None` when
    /// nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// The next thing to be done. Drain after every input.
    pub fn poll_output(&mut self) -> Option<Output<D>> {
        self.outputs.pop_front()
    }

    /// What the user gave for this transaction, while it lives.
    pub fn user(&self, id: TransactionId) -> Option<&D> {
        self.get(id).map(|live| &live.user)
    }

    /// The same, to be changed: messages sent from now on carry the new value.
    pub fn user_mut(&mut self, id: TransactionId) -> Option<&mut D> {
        self.get_mut(id).map(|live| &mut live.user)
    }

    /// The server transaction of an INVITE that this CANCEL is for (§9.2), whatever its state.
    pub fn invite_of(&mut self, cancel: &Message) -> Option<TransactionId> {
        if !key::server(cancel, &Method::Invite, &mut self.scratch) {
            return None;
        }
        self.servers.get(self.scratch.as_slice()).copied()
    }

    /// How many transactions there are.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// How many deadlines are kept, those that do not hold any more included: a few for each transaction.
    pub fn scheduled(&self) -> usize {
        self.schedule.len()
    }

    /// Whether a request that may be refused should be: the table is full but for its reserve.
    pub fn is_full(&self) -> bool {
        self.live >= self.limits.transactions
    }

    fn handle_ack(&mut self, message: &Message, now: Instant) -> Request {
        if !key::server(message, &Method::Invite, &mut self.scratch) {
            return Request::Unmatchable;
        }
        let Some(&id) = self.servers.get(self.scratch.as_slice()) else { return Request::Ack };
        let mut for_user = false;
        self.step(id, now, |live, now| {
            if let Machine::ServerInvite(machine) = &mut live.machine {
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
            Machine::ClientInvite(ClientInvite::new(timers, reliable, now))
        } else {
            Machine::ClientNonInvite(ClientNonInvite::new(timers, reliable, now))
        };
        let id = self.insert(&method, machine, user.clone(), reliable, timers)?;
        let message = request.bytes().clone();
        if let Some(live) = self.get_mut(id) {
            live.silent = silent;
            live.message = message.clone();
            live.invite = (method == Method::Invite).then(|| Box::new(request));
        }
        self.outputs.push_back(Output::Send { transaction: id, user, message, again: false });
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
        if self.live >= self.limits.transactions.saturating_add(reserve) {
            return Err(NotOpened::Full);
        }
        let slot = match self.free {
            Some(slot) => slot,
            None => u32::try_from(self.slots.len()).map_err(|_| NotOpened::Full)?,
        };
        let generation = self.slots.get(slot as usize).map_or(0, |(generation, _)| *generation);
        let id = TransactionId { slot, generation };
        let client = matches!(machine, Machine::ClientInvite(_) | Machine::ClientNonInvite(_));
        let key: Box<[u8]> = self.scratch.as_slice().into();
        match if client { &mut self.clients } else { &mut self.servers }.entry(key.clone()) {
            MapEntry::Occupied(_) => return Err(NotOpened::Exists),
            MapEntry::Vacant(vacant) => vacant.insert(id),
        };
        let live = Slot::Live(Box::new(Live {
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
            scheduled: None,
        }));
        match self.slots.get_mut(slot as usize) {
            Some((_, entry)) => {
                if let Slot::Free { next } = std::mem::replace(entry, live) {
                    self.free = next;
                }
            }
            None => self.slots.push((generation, live)),
        }
        self.live += 1;
        self.settle(id);
        Ok(id)
    }

    fn get(&self, id: TransactionId) -> Option<&Live<D>> {
        match self.slots.get(id.slot as usize) {
            Some((generation, Slot::Live(live))) if *generation == id.generation => Some(live),
            _ => None,
        }
    }

    fn get_mut(&mut self, id: TransactionId) -> Option<&mut Live<D>> {
        match self.slots.get_mut(id.slot as usize) {
            Some((generation, Slot::Live(live))) if *generation == id.generation => Some(live),
            _ => None,
        }
    }

    /// Gives one input to a machine and carries out what it wants.
    fn step(&mut self, id: TransactionId, now: Instant, input: impl FnOnce(&mut Live<D>, Instant) -> Step) {
        let Some(live) = self.get_mut(id) else { return };
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
            self.outputs.push_back(Output::Send { transaction: id, user: user.clone(), message, again });
        }
        if !silent {
            let failed = |why| Output::Failed { transaction: id, user: user.clone(), why };
            match step.tell {
                Some(Tell::Timeout) => self.outputs.push_back(failed(Failure::Timeout)),
                Some(Tell::Transport) => self.outputs.push_back(failed(Failure::Transport)),
                Some(Tell::NoAck) => self.outputs.push_back(failed(Failure::NoAck)),
                Some(Tell::TryingDue) => self.outputs.push_back(Output::TryingDue { transaction: id, user }),
                Some(Tell::Response) | None => {}
            }
        }
        self.settle(id);
    }

    /// After every change: takes away what is over, schedules what waits.
    fn settle(&mut self, id: TransactionId) {
        let Some(live) = self.get_mut(id) else { return };
        let (over, deadline) = match &live.machine {
            Machine::ClientInvite(machine) => (machine.is_terminated(), machine.poll_timeout()),
            Machine::ClientNonInvite(machine) => (machine.is_terminated(), machine.poll_timeout()),
            Machine::ServerInvite(machine) => (machine.is_terminated(), machine.poll_timeout()),
            Machine::ServerNonInvite(machine) => (machine.is_terminated(), machine.poll_timeout()),
        };
        if over {
            self.remove(id);
        } else if let Some(at) = deadline {
            // A deadline that moved away is found out when the entry comes up.
            if live.scheduled.is_none_or(|scheduled| at < scheduled) {
                live.scheduled = Some(at);
                self.schedule.push(at, id);
            }
        }
        if self.schedule.len() > 4 * self.live + 1_024 {
            self.reschedule();
        }
    }

    /// Rebuilds the schedule without the entries of transactions that are gone.
    fn reschedule(&mut self) {
        let slots = &self.slots;
        self.schedule.retain(|at, id| match slots.get(id.slot as usize) {
            Some((generation, Slot::Live(live))) => {
                *generation == id.generation && live.scheduled == Some(at)
            }
            _ => false,
        });
    }

    fn remove(&mut self, id: TransactionId) {
        let Some((generation, slot)) = self.slots.get_mut(id.slot as usize) else { return };
        let freed = Slot::Free { next: self.free };
        let Slot::Live(live) = std::mem::replace(slot, freed) else { return };
        *generation = generation.wrapping_add(1);
        self.free = Some(id.slot);
        self.live -= 1;
        let client = matches!(live.machine, Machine::ClientInvite(_) | Machine::ClientNonInvite(_));
        let keys = if client { &mut self.clients } else { &mut self.servers };
        keys.remove(&live.key);
        if !live.silent {
            self.outputs.push_back(Output::Ended { transaction: id, user: live.user });
        }
    }

    /// Sends the CANCEL that waited, if it may be sent now.
    fn send_waiting_cancel(&mut self, id: TransactionId, now: Instant) {
        let Some(live) = self.get_mut(id) else { return };
        let Machine::ClientInvite(machine) = &mut live.machine else { return };
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
