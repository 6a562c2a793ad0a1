//! One call: two legs bridged (walks: a call).
//!
//! The core tells a call what happened, drains [`Call::poll_output`], and sleeps until [`Call::poll_timeout`].
//! The files below are its steps, in the order in which a call takes them:
//!
//! * [`hunt`]: leg B is a list of attempts, one target after the other
//! * [`ringing`]: an attempt from its relay session to its provisional responses
//! * [`answer`]: 2xx of leg B, 200 to leg A, the ACKs
//! * [`cancel`]: CANCEL, and its glare with 200
//! * [`reinvite`]: re-INVITE both ways
//! * [`in_dialog`]: what else passes between legs that are up
//! * [`hangup`]: the one way in which calls end
//! * [`media`]: what the relay replies
//! * [`resume`]: what is written down of a call that is up, and going on with it
//! * [`show`]: what the operator sees
//!
//! [`state`] is what it holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_model::ask::{Ask, LegPolicy, Target, Usage};
use fairlead_model::binding::BindingKey;
use fairlead_model::id::{AttemptRef, CallRef, PodRef, Side, UnixMillis};
use fairlead_model::relay::{RelayOrder, SessionRef, SessionStatistics};
use sip_dialog::{Acks, Dialog, Unacknowledged};
use sip_wire::{Header, Message, Method};

use crate::caller_gets::Cause;
use crate::leg::{Facts, Outlet};
use crate::negotiation::Negotiation;
use crate::output::{Ended, EndedBy, LegRef, OrderTag, Output, ServerRef, Ticket};
use crate::passes::Passed;
use crate::time::Now;
use state::{
    Answering, Attempt, AttemptState, Deadline, EarlyA, LegA, Ok200, Pending, PendingKind, Progress, Record,
    Reinvite, Request, Session, Stage, Step, Stray, Up, Wait,
};

mod answer;
mod cancel;
mod hangup;
mod hunt;
mod in_dialog;
mod media;
mod reinvite;
mod resume;
mod ringing;
mod show;
mod state;
mod write;

pub use hunt::NotReached;
pub use in_dialog::Failure;
pub use resume::Restored;
pub use write::{ALLOW, body_is_optional, has_description};

/// How long nobody may stay silent before the next contact is tried.
pub const SILENCE: Duration = Duration::from_secs(5);
/// How long an attempt may look for its way and its slot: a name is looked up, or a phone whose pod has ended is waited for, while the
/// registrar is asked for the slot. Longer than whoever does either may take, so that it is their answer that decides.
pub const PREPARING: Duration = Duration::from_secs(30);
/// How long the relay may take after that to rewrite the offer: longer than the order for it is open.
pub const OFFERING: Duration = Duration::from_secs(15);
/// Timer C (RFC 3261 §16.6 step 11): more than three minutes without a new provisional response.
pub const TIMER_C: Duration = Duration::from_secs(181);
/// A caller hears of a phone that rings this often at least (RFC 3261 §13.3.1.1).
pub const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// So many contacts are tried at most.
pub const MAX_TARGETS: usize = 16;
/// So many addresses of one name are tried at most.
pub const MAX_ADDRESSES: usize = 4;
/// So many early dialogs of leg A are kept; more forks share the last.
const MAX_EARLY: usize = 16;
/// So many further 2xx of one INVITE are acknowledged and ended.
const MAX_STRAYS: usize = 8;
/// How long an ended call waits for its relay before it is forgotten all the same.
const LAST_WAIT: Duration = Duration::from_secs(40);
/// So many INFO and MESSAGE may be on their way at once.
const MAX_PASSING: usize = 8;

/// Writes the names by which our messages are found again. The index tells legs and early dialogs of a call apart.
pub trait Names: Send + std::fmt::Debug {
    /// A tag, which is also the user of the Contact.
    fn tag(&self, index: u16) -> String;
    /// The Call-ID of an attempt.
    fn call_id(&self, index: u16) -> String;
}

/// Index of the tags of leg B: this and the number of the attempt.
pub const LEG_B: u16 = 0x8000;

/// All that a call begins with.
#[derive(Debug)]
pub struct Opening {
    /// Its name.
    pub reference: CallRef,
    /// The INVITE that was admitted.
    pub invite: Message,
    /// Its transaction.
    pub server: ServerRef,
    /// How leg A's messages leave.
    pub outlet: Outlet,
    /// Who is calling.
    pub caller: LegPolicy,
    /// His binding, if he is registered by the flow that the INVITE came by.
    pub binding: Option<BindingKey>,
    /// Whom to try, in order; not empty.
    pub targets: Vec<Target>,
    /// Mints tags and Call-IDs.
    pub names: Box<dyn Names>,
    /// Value of User-Agent and Server.
    pub user_agent: String,
    /// Max-Forwards of leg B.
    pub max_forwards: u8,
    /// Random; the session ids of `o=` lines come from it.
    pub session_id: u64,
    /// When the INVITE came.
    pub began: Now,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    reference: CallRef,
    names: Box<dyn Names>,
    user_agent: String,
    max_forwards: u8,
    session_id: u64,
    a: LegA,
    targets: Vec<Target>,
    attempts: Vec<Attempt>,
    strays: Vec<Stray>,
    occupied: Vec<String>,
    step: Step,
    /// The attempt that was answered.
    winner: Option<AttemptRef>,
    ok: Option<Ok200>,
    pending: Vec<Pending>,
    waits: Vec<(OrderTag, Wait)>,
    next_ticket: u32,
    next_order: u32,
    record: Record,
    deadline: Option<Deadline>,
    epoch: u64,
    outputs: VecDeque<Output>,
}

impl Call {
    /// A call whose first INVITE was admitted: the first target is tried at once.
    pub fn begin(opening: Opening, now: Now) -> Self {
        let offer = write::sdp_of(&opening.invite);
        let mut negotiation = Negotiation::new(opening.session_id);
        if let Some(offer) = &offer {
            // A fresh machine takes any offer.
            let _ = negotiation.receive_offer(offer);
        }
        let mut facts = Facts::new(false, opening.began.wall);
        facts.heard(&opening.invite);
        let mut call = Call {
            reference: opening.reference,
            names: opening.names,
            user_agent: opening.user_agent,
            max_forwards: opening.max_forwards,
            session_id: opening.session_id,
            a: LegA {
                policy: opening.caller,
                binding: opening.binding,
                invite: Some(opening.invite),
                server: Some(opening.server),
                outlet: opening.outlet,
                offer,
                early: Vec::new(),
                progress: None,
                dialog: None,
                negotiation,
                acks: Acks::default(),
                facts,
            },
            targets: opening.targets,
            attempts: Vec::new(),
            strays: Vec::new(),
            occupied: Vec::new(),
            step: Step::Ringing { worst: None },
            winner: None,
            ok: None,
            pending: Vec::new(),
            waits: Vec::new(),
            next_ticket: 0,
            next_order: 0,
            record: Record {
                began: opening.began,
                answered: None,
                status: 0,
                by: None,
                ended: None,
                reported: false,
                media: None,
            },
            deadline: None,
            epoch: 1,
            outputs: VecDeque::new(),
        };
        call.targets.truncate(MAX_TARGETS);
        call.next_attempt(now);
        call
    }

    /// The call's name.
    pub fn reference(&self) -> CallRef {
        self.reference
    }

    /// What is to be done next. Drain after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let attempts = self
            .attempts
            .iter()
            .filter(|attempt| attempt.state != AttemptState::Left)
            .flat_map(|attempt| [attempt.silent_until, attempt.rings_until, attempt.timer_c]);
        attempts
            .chain([
                self.last_wait(),
                self.progress_due(),
                self.deadline.map(|deadline| deadline.mono),
                self.ok.as_ref().and_then(|ok| ok.unacknowledged.poll_timeout()),
            ])
            .flatten()
            .min()
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.repeat_ok(now);
        self.repeat_progress(now);
        self.time_attempts(now);
        if self.last_wait().is_some_and(|at| at <= now.mono) {
            self.waits.clear();
            self.report();
        }
        if self.deadline.is_some_and(|deadline| deadline.mono <= now.mono) {
            self.deadline = None;
            self.hang_up(None, EndedBy::MaxDuration, Vec::new(), now);
        }
    }

    fn last_wait(&self) -> Option<Instant> {
        let waiting = matches!(self.step, Step::Ending) && !self.waits.is_empty();
        self.record.ended.filter(|_| waiting).map(|ended| ended.mono + LAST_WAIT)
    }

    /// Whether nothing of the call is open any more: it can be forgotten.
    pub fn is_over(&self) -> bool {
        matches!(self.step, Step::Ending)
            && self.ok.is_none()
            && self.waits.is_empty()
            && self.record.reported
            && self.pending.iter().all(|pending| pending.done)
    }

    /// Whether the call is ending or over: it counts no more.
    pub fn is_ending(&self) -> bool {
        matches!(self.step, Step::Ending)
    }

    /// Whether both legs are acknowledged.
    pub fn is_up(&self) -> bool {
        matches!(self.step, Step::Up(_))
    }

    /// The peer that calls, empty for a guest.
    pub fn caller(&self) -> &str {
        self.a.policy.peer.as_deref().unwrap_or_default()
    }

    /// The target of an attempt.
    pub fn target(&self, attempt: AttemptRef) -> Option<&Target> {
        self.attempts.get(usize::from(attempt.0)).map(|attempt| &attempt.target)
    }

    /// The target of an attempt that is not given up and after which there is no other.
    pub fn last_target(&self, attempt: AttemptRef) -> Option<&Target> {
        let open = |attempt: &&Attempt| attempt.state != AttemptState::Left;
        (self.targets.len() == usize::from(attempt.0) + 1 && !self.is_ending())
            .then(|| self.attempts.get(usize::from(attempt.0)).filter(open).map(|attempt| &attempt.target))?
    }

    /// How an attempt is treated, or the caller.
    pub fn policy(&self, leg: LegRef) -> Option<&LegPolicy> {
        match leg {
            LegRef::A => Some(&self.a.policy),
            LegRef::B(number) => self.target(number).map(|target| &target.policy),
            LegRef::Stray(_) => None,
        }
    }
}
