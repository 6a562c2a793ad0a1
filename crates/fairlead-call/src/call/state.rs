//! What a call holds: its legs, its attempts, what it waits for, where it is.

use super::*;

/// Leg A.
#[derive(Debug)]
pub(super) struct LegA {
    pub(super) policy: LegPolicy,
    pub(super) binding: Option<BindingKey>,
    /// The INVITE; `None` after an adoption.
    pub(super) invite: Option<Message>,
    pub(super) server: Option<ServerRef>,
    pub(super) outlet: Outlet,
    /// The INVITE's offer, if it had one.
    pub(super) offer: Option<Bytes>,
    pub(super) early: Vec<EarlyA>,
    /// The last provisional response, and when it is sent again.
    pub(super) progress: Option<Progress>,
    pub(super) dialog: Option<Dialog>,
    /// The offer/answer machine; until the 200 each early dialog goes on with a copy of it.
    pub(super) negotiation: Negotiation,
    pub(super) acks: Acks,
    pub(super) facts: Facts,
}

/// A provisional response to the caller.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) status: u16,
    pub(super) message: Bytes,
    pub(super) again: Instant,
}

/// An early dialog of leg A: one for each dialog of leg B that answered the offer in its own way.
#[derive(Debug)]
pub(super) struct EarlyA {
    pub(super) tag: String,
    pub(super) attempt: AttemptRef,
    /// The To-tag of leg B that it stands for.
    pub(super) b_tag: String,
    pub(super) negotiation: Negotiation,
    /// What leg B described, and what the caller was told.
    pub(super) described: Option<(Bytes, Bytes)>,
}

/// One try to reach the callee.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: AttemptRef,
    pub(super) target: Target,
    pub(super) outlet: Option<Outlet>,
    /// How many further addresses its name has.
    pub(super) addresses: usize,
    pub(super) occupied: bool,
    pub(super) state: AttemptState,
    pub(super) call_id: String,
    pub(super) tag: String,
    pub(super) negotiation: Negotiation,
    pub(super) ticket: Option<Ticket>,
    pub(super) dialog: Option<Dialog>,
    pub(super) acks: Acks,
    pub(super) session: Option<Session>,
    pub(super) silent_until: Option<Instant>,
    pub(super) rings_until: Option<Instant>,
    pub(super) timer_c: Option<Instant>,
    pub(super) facts: Facts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptState {
    /// Its address and its slot are looked for.
    Preparing,
    /// The relay rewrites the offer.
    Offering,
    /// The INVITE is out, nothing came back.
    Calling,
    /// Something came back.
    Proceeding,
    /// A 2xx came.
    Answered,
    /// Given up; its INVITE may still be open.
    Left,
}

/// A relay session of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) reference: SessionRef,
    pub(super) relay: Option<PodRef>,
    pub(super) formats: Vec<String>,
    /// The first order was given.
    pub(super) opened: bool,
    pub(super) deleted: bool,
}

/// A further answer of a forked INVITE.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) dialog: Dialog,
    pub(super) attempt: AttemptRef,
}

/// Where a call is.
#[derive(Debug)]
pub(super) enum Step {
    /// Attempts are made.
    Ringing { worst: Option<(Cause, Vec<Passed>)> },
    /// Leg B answered, leg A does not know or has not acknowledged.
    Answering(Answering),
    /// Both legs are acknowledged.
    Up(Up),
    /// It is over; what is open is closed.
    Ending,
}

#[derive(Debug)]
pub(super) struct Answering {
    pub(super) winner: AttemptRef,
    /// Leg B offered; the caller's ACK brings the answer.
    pub(super) late: bool,
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) reinvite: Option<Reinvite>,
}

/// A 2xx that is repeated until its ACK (RFC 3261 §13.3.1.4). A call has one at a time.
#[derive(Debug)]
pub(super) struct Ok200 {
    pub(super) side: Side,
    pub(super) server: ServerRef,
    pub(super) status: u16,
    pub(super) unacknowledged: Unacknowledged,
    /// §15: no BYE to whoever was called before its ACK; it goes out then.
    pub(super) then_bye: Option<Vec<Passed>>,
}

/// A re-INVITE on its way from one leg to the other.
#[derive(Debug)]
pub(super) struct Reinvite {
    pub(super) from: Side,
    pub(super) server: ServerRef,
    pub(super) request: Message,
    pub(super) offer: Option<Bytes>,
    /// Whether the offer puts the other side on hold, once the relay has read it.
    pub(super) hold: Option<bool>,
    pub(super) ticket: Option<Ticket>,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The relay rewrites the offer of whoever began.
    Offering,
    /// The other leg has the request.
    Asked,
    /// The relay rewrites what the other leg's 2xx brought.
    Answered,
    /// The 200 waits for its ACK.
    Acknowledged,
    /// The relay rewrites the answer that the ACK brought.
    LateAnswer,
}

/// A request of ours that has no final response yet, or whose ACK may be needed again.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) leg: LegRef,
    pub(super) kind: PendingKind,
    pub(super) request: Request,
    /// As it was sent.
    pub(super) sent: Option<Message>,
    pub(super) challenged: u8,
    /// It offered nothing, so its ACK may bring an answer.
    pub(super) answers_in_ack: bool,
    /// It had its final response.
    pub(super) done: bool,
}

#[derive(Clone, Debug)]
pub(super) enum PendingKind {
    Invite(AttemptRef),
    Reinvite,
    Pass { from: LegRef, server: ServerRef, request: Message },
    Bye,
}

/// What a request of ours says besides its dialog.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) passed: Vec<Passed>,
    pub(super) body: Option<(String, Bytes)>,
    pub(super) max_forwards: u8,
    pub(super) authorization: Option<(Header, String)>,
}

/// What an order to the relay was for.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    Offer(AttemptRef),
    EarlyAnswer { early: usize, status: u16, body: Bytes },
    Answer { early: usize, body: Bytes },
    LateOffer(AttemptRef),
    LateAnswer(AttemptRef),
    ReOffer,
    ReAnswer,
    ReLateOffer,
    ReLateAnswer,
    Delete { last: bool },
    Nothing,
}

/// What the call detail record will say.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) began: Now,
    pub(super) answered: Option<Now>,
    pub(super) status: u16,
    pub(super) by: Option<EndedBy>,
    pub(super) ended: Option<Now>,
    pub(super) reported: bool,
    pub(super) media: Option<SessionStatistics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) mono: Instant,
    pub(super) wall: UnixMillis,
}
