//! What is written down of a call that is up, and going on with it.

use super::*;
use crate::checkpoint::{Leg, Media, State};

/// What is needed to go on with a written call.
#[derive(Debug)]
pub struct Restored {
    /// The call.
    pub state: State,
    /// Mints further names; those in use stay.
    pub names: Box<dyn Names>,
    /// Value of User-Agent and Server.
    pub user_agent: String,
    /// The fencing epoch from now on.
    pub epoch: u64,
}

impl Call {
    /// The call as it is to be written; `None` unless it is up.
    pub fn state(&self) -> Option<State> {
        if !self.is_up() {
            return None;
        }
        let attempt = self.attempts.get(usize::from(self.winner?.0))?;
        let session = attempt.session.as_ref().filter(|session| !session.deleted).map(|session| Media {
            session: session.reference,
            relay: session.relay,
            formats: session.formats.clone(),
        });
        Some(State {
            reference: self.reference,
            caller: self.a.policy.clone(),
            caller_binding: self.a.binding.clone(),
            a: Leg {
                dialog: self.a.dialog.clone()?,
                negotiation: self.a.negotiation.clone(),
                outlet: self.a.outlet.clone(),
                facts: self.a.facts.clone(),
            },
            target: attempt.target.clone(),
            attempt: attempt.number,
            b: Leg {
                dialog: attempt.dialog.clone()?,
                negotiation: attempt.negotiation.clone(),
                outlet: attempt.outlet.clone()?,
                facts: attempt.facts.clone(),
            },
            session,
            began: self.record.began.wall,
            answered: self.record.answered?.wall,
            deadline: self.deadline.map(|deadline| deadline.wall),
            occupied: self.occupied.clone(),
        })
    }

    /// The fencing epoch under which the call is written.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes on with a written call: CSeqs jump by 1000 on both legs, past what its former holder may have sent.
    pub fn resume(restored: Restored, now: Now) -> Self {
        let Restored { state, names, user_agent, epoch } = restored;
        let past = |wall: UnixMillis| {
            let ago = Duration::from_millis(now.wall.since(wall));
            Now { mono: now.mono.checked_sub(ago).unwrap_or(now.mono), wall }
        };
        let number = state.attempt;
        // An open offer belonged to a re-INVITE that died with its holder: what was agreed before holds.
        let (mut a, mut b) = (state.a, state.b);
        a.negotiation.withdraw();
        b.negotiation.withdraw();
        let session = state.session.map(|media| Session {
            reference: media.session,
            relay: media.relay,
            formats: media.formats,
            opened: true,
            deleted: false,
        });
        let attempt = |number: AttemptRef| Attempt {
            number,
            target: state.target.clone(),
            outlet: None,
            occupied: true,
            state: AttemptState::Left,
            call_id: String::new(),
            tag: String::new(),
            negotiation: Negotiation::default(),
            ticket: None,
            dialog: None,
            acks: Acks::default(),
            session: None,
            addresses: 0,
            silent_until: None,
            rings_until: None,
            timer_c: None,
            facts: Facts::default(),
        };
        // Attempts are found by their number; those before the winner are over.
        let mut attempts: Vec<Attempt> =
            (0..number.0.min(MAX_TARGETS as u16)).map(|before| attempt(AttemptRef(before))).collect();
        let winner = AttemptRef(attempts.len() as u16);
        attempts.push(Attempt {
            outlet: Some(b.outlet),
            state: AttemptState::Answered,
            call_id: b.dialog.call_id.clone(),
            tag: b.dialog.local_tag.clone(),
            negotiation: b.negotiation,
            dialog: Some(b.dialog.resumed()),
            session,
            facts: b.facts,
            ..attempt(winner)
        });
        let deadline = state
            .deadline
            .map(|wall| Deadline { mono: now.mono + Duration::from_millis(wall.since(now.wall)), wall });
        Call {
            reference: state.reference,
            names,
            user_agent,
            max_forwards: 70,
            session_id: 0,
            a: LegA {
                policy: state.caller,
                binding: state.caller_binding,
                invite: None,
                server: None,
                outlet: a.outlet,
                offer: None,
                early: Vec::new(),
                progress: None,
                dialog: Some(a.dialog.resumed()),
                negotiation: a.negotiation,
                acks: Acks::default(),
                facts: a.facts,
            },
            targets: vec![state.target],
            attempts,
            strays: Vec::new(),
            occupied: state.occupied,
            step: Step::Up(Up { reinvite: None }),
            winner: Some(winner),
            ok: None,
            pending: Vec::new(),
            waits: Vec::new(),
            next_ticket: 0,
            next_order: 0,
            record: Record {
                began: past(state.began),
                answered: Some(past(state.answered)),
                status: 200,
                by: None,
                ended: None,
                reported: false,
                media: None,
            },
            deadline,
            epoch,
            outputs: VecDeque::new(),
        }
    }

    /// The attempt that was answered.
    pub fn winner(&self) -> Option<AttemptRef> {
        self.winner
    }

    /// Call-IDs of both dialogs.
    pub fn call_ids(&self) -> Vec<String> {
        let a = self.a.dialog.as_ref().map(|dialog| dialog.call_id.clone());
        let b = self
            .winner
            .and_then(|number| self.attempts.get(usize::from(number.0)))
            .and_then(|attempt| attempt.dialog.as_ref())
            .map(|dialog| dialog.call_id.clone());
        a.into_iter().chain(b).collect()
    }

    /// When the call ends by itself.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadline.map(|deadline| deadline.wall)
    }
}
