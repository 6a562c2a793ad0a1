//! Leg B is a list of attempts: one target after the other until one answers or none is left.
//!
//! A contact is left at once on a transport error or a lost flow, after [`SILENCE`](super::SILENCE) without any
//! response while there is another, and after its ring time. 6xx ends the hunt (RFC 3261 §16.7 step 5).
//!
//! A contact whose name has several addresses is left only when the last of them is: on a transport error, a timeout or a
//! 503 the next one is tried (RFC 3263 §4.3), and after the same silence, since Timer B is longer than a caller waits.

use super::*;

/// Why an attempt could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReached {
    /// Its flow is gone.
    FlowLost,
    /// Its name has no address.
    NoAddress,
    /// It is one of our own addresses.
    Loop,
}

impl Call {
    /// Tries the next target, or tells the caller.
    pub(super) fn next_attempt(&mut self, now: Now) {
        let number = self.attempts.len();
        let Some(target) = self.targets.get(number).cloned() else {
            return self.nobody_is_left(now);
        };
        let number = AttemptRef(u16::try_from(number).unwrap_or(u16::MAX));
        let peer = target.policy.peer.clone();
        let occupied =
            target.policy.uncounted || peer.as_ref().is_none_or(|peer| self.occupied.contains(peer));
        self.attempts.push(Attempt {
            number,
            outlet: None,
            addresses: 0,
            occupied,
            state: AttemptState::Preparing,
            call_id: self.names.call_id(number.0),
            tag: self.names.tag(LEG_B | number.0),
            // Leg A and each attempt have a session id of their own.
            negotiation: Negotiation::new(
                self.session_id.saturating_add(u64::from(number.0)).saturating_add(1),
            ),
            ticket: None,
            dialog: None,
            acks: Acks::default(),
            session: None,
            silent_until: Some(now.mono + PREPARING),
            rings_until: None,
            timer_c: None,
            facts: Facts::new(true, now.wall),
            target,
        });
        self.outputs.push_back(Output::Reach(number));
        if !occupied {
            self.outputs.push_back(Output::Occupy(number));
        }
    }

    /// An attempt's target has a way; `addresses`: how many more its name has (RFC 3263 §4.2).
    pub fn reached(&mut self, number: AttemptRef, outlet: Outlet, addresses: usize, now: Now) {
        if let Some(attempt) = self.attempt(number) {
            attempt.outlet = Some(outlet);
            attempt.addresses = addresses.min(MAX_ADDRESSES - 1);
        }
        self.prepare(number, now);
    }

    /// A request waits for a way. When it is an attempt's INVITE, nobody is silent or rings meanwhile: whoever holds it says when it
    /// leaves, or that it does not.
    pub fn is_held(&mut self, ticket: Ticket) {
        if let Some(attempt) = self.calling(ticket).and_then(|number| self.attempt(number)) {
            (attempt.silent_until, attempt.rings_until) = (None, None);
        }
    }

    /// A request was held and leaves only now: when it is an attempt's INVITE, its contact rings as long as any.
    pub fn leaves_late(&mut self, ticket: Ticket, now: Now) {
        if let Some(number) = self.calling(ticket) {
            self.begin_waiting(number, now);
        }
    }

    /// The attempt whose INVITE this is, while nothing came back.
    fn calling(&self, ticket: Ticket) -> Option<AttemptRef> {
        let calling =
            |attempt: &&Attempt| attempt.ticket == Some(ticket) && attempt.state == AttemptState::Calling;
        self.attempts.iter().find(calling).map(|attempt| attempt.number)
    }

    /// An attempt's target has none.
    pub fn not_reached(&mut self, number: AttemptRef, why: NotReached, now: Now) {
        let cause = match why {
            NotReached::FlowLost | NotReached::NoAddress => Cause::FlowLost,
            NotReached::Loop => Cause::Loop,
        };
        if self.attempt(number).is_some_and(|attempt| attempt.state == AttemptState::Preparing) {
            self.leave(number, cause, Vec::new(), now);
        }
    }

    /// The registrar gave a call slot for an attempt's peer, or (`Some`) why not.
    pub fn occupied(&mut self, number: AttemptRef, refused: Option<Cause>, now: Now) {
        let ending = self.is_ending();
        let Some(attempt) = self.attempt(number) else { return };
        if ending {
            if refused.is_none() {
                // The slot came after all were given back.
                self.outputs.push_back(Output::Tell(Ask::Release { call: self.reference }));
            }
            return;
        }
        if let Some(cause) = refused {
            if attempt.state == AttemptState::Preparing {
                self.leave(number, cause, Vec::new(), now);
            }
            return;
        }
        attempt.occupied = true;
        if let Some(peer) = attempt.target.policy.peer.clone() {
            self.occupied.push(peer);
        }
        self.prepare(number, now);
    }

    /// This attempt is given up for `cause`: the next one begins, if the cause allows and the call still wants one.
    pub(super) fn leave(&mut self, number: AttemptRef, cause: Cause, passed: Vec<Passed>, now: Now) {
        self.drop_attempt(number);
        let Step::Ringing { worst } = &mut self.step else { return };
        if worst.as_ref().is_none_or(|(known, _)| cause.weight() > known.weight()) {
            *worst = Some((cause, passed));
        }
        if cause.hunts() {
            self.next_attempt(now);
        } else {
            self.nobody_is_left(now);
        }
    }

    /// Cancels what is open of an attempt and gives its relay session back.
    pub(super) fn drop_attempt(&mut self, number: AttemptRef) {
        let Some(attempt) = self.attempt(number) else { return };
        attempt.state = AttemptState::Left;
        attempt.negotiation.withdraw();
        let ticket = attempt.ticket;
        if let Some(ticket) = ticket.filter(|ticket| self.is_open(*ticket)) {
            self.outputs.push_back(Output::Cancel { ticket, passed: Vec::new() });
        }
        self.delete_session(number, false);
    }

    /// Nobody answered: the caller hears the failure that says most.
    fn nobody_is_left(&mut self, now: Now) {
        let (cause, passed) = match &mut self.step {
            Step::Ringing { worst } => worst.take().unwrap_or((Cause::FlowLost, Vec::new())),
            _ => return,
        };
        self.refuse_caller(cause, passed, EndedBy::Failure, now);
    }

    /// Sends the INVITE of an attempt to the next address of its name, if there is one. Whether it did.
    pub(super) fn next_address(&mut self, number: AttemptRef, ticket: Ticket, now: Now) -> bool {
        if !matches!(self.step, Step::Ringing { .. }) {
            return false;
        }
        let tried = |attempt: &&mut Attempt| {
            attempt.ticket == Some(ticket)
                && attempt.addresses > 0
                && matches!(attempt.state, AttemptState::Calling | AttemptState::Proceeding)
        };
        let Some(attempt) = self.attempt(number).filter(tried) else { return false };
        attempt.addresses -= 1;
        attempt.state = AttemptState::Calling;
        self.begin_waiting(number, now);
        if let Some(pending) = self.pending_mut(ticket) {
            // Another host asks for credentials by itself.
            (pending.request.authorization, pending.challenged) = (None, 0);
        }
        self.outputs.push_back(Output::NextAddress { ticket, attempt: number });
        true
    }

    /// How long an attempt whose INVITE leaves now may be silent, and ring.
    pub(super) fn begin_waiting(&mut self, number: AttemptRef, now: Now) {
        let another = self.targets.len() > self.attempts.len();
        let Some(attempt) = self.attempt(number) else { return };
        // The last one is given all the time that Timer B has: there is nobody else to try.
        attempt.silent_until = (another || attempt.addresses > 0).then(|| now.mono + SILENCE);
        attempt.rings_until = (attempt.target.ring_time > 0)
            .then(|| now.mono + Duration::from_secs(u64::from(attempt.target.ring_time)));
        attempt.timer_c = Some(now.mono + TIMER_C);
    }

    /// Silence, ring time, and Timer C.
    pub(super) fn time_attempts(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        for at in 0..self.attempts.len() {
            let attempt = &mut self.attempts[at];
            if matches!(attempt.state, AttemptState::Left | AttemptState::Answered) {
                continue;
            }
            let (number, ticket) = (attempt.number, attempt.ticket);
            let silent = attempt.state == AttemptState::Calling && due(attempt.silent_until);
            if silent && ticket.is_some_and(|ticket| self.next_address(number, ticket, now)) {
                continue;
            }
            let attempt = &mut self.attempts[at];
            let cause = if due(attempt.silent_until) {
                match attempt.state {
                    AttemptState::Preparing => Cause::FlowLost,
                    AttemptState::Offering => Cause::NoRelay,
                    _ => Cause::Silent,
                }
            } else if due(attempt.rings_until) {
                if attempt.state == AttemptState::Proceeding { Cause::RangOut } else { Cause::Silent }
            } else if due(attempt.timer_c) {
                Cause::TimerC
            } else {
                continue;
            };
            (attempt.silent_until, attempt.rings_until, attempt.timer_c) = (None, None, None);
            self.leave(number, cause, Vec::new(), now);
        }
    }

    pub(super) fn attempt(&mut self, number: AttemptRef) -> Option<&mut Attempt> {
        self.attempts.get_mut(usize::from(number.0))
    }
}
