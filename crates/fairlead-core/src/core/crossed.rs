//! INVITEs that crossed to the pod that has them, whose callers would hear nothing more should that pod end.
//!
//! An INVITE is another pod's when this one passed it on (`pass_on.rs`), or when it is a repetition of one that the other heard
//! first. Its caller has a 100 and does not repeat it (RFC 3261 §17.1.1.2), so that nothing would ever come of it: over a connection
//! not even Timer B ends it. So it is kept here until its ACK comes by. When its owner is not among the pods any more, the registrar
//! is asked whether the call is still his: then it is begun anew, here or at whoever takes calls. If nobody has it, its owner ended
//! before it could say so, and its caller hears 503; later than that it is over, and its ACK went by another pod.
//!
//! A pod that was killed is missed after some seconds, when its lease has run out. It has to be missed for a moment: a registrar that
//! has just begun may not know all pods yet, and a call that rings must not be begun twice.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use fairlead_model::ask::{Answer, AskFailed};

use super::checks::Refused;
use super::*;

/// An INVITE is kept for so long: Timer C of whoever waits for it (RFC 3261 §16.6 step 11).
const KEPT: Duration = Duration::from_secs(180);
/// Whoever has an INVITE has told the registrar by then; a pod that ended before is known to be gone.
const CLAIMED: Duration = Duration::from_secs(12);
/// A pod is missed for so long before somebody else takes what it had.
const MISSED: Duration = Duration::from_secs(2);
/// And for so long where the registrar cannot say whose the call is.
const GIVEN_UP: Duration = Duration::from_secs(12);
/// So many are kept, and so many octets of them; further ones cross unseen.
const MAX_CROSSED: usize = 4_096;
const MAX_OCTETS: usize = 16 << 20;

/// INVITEs that crossed.
#[derive(Debug, Default)]
pub(super) struct Crossed {
    known: HashMap<u64, Crossing>,
    order: VecDeque<(Instant, u64)>,
    octets: usize,
    scheduled: Scheduled,
    /// Those that were begun anew: once each.
    again: HashSet<u64>,
    again_order: VecDeque<u64>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Crossing {
    owner: PodRef,
    message: Message,
    flow: Flow,
    since: Instant,
    cancelled: bool,
    /// The registrar is asked whose it is, or told to forget that.
    asked: bool,
}

impl Crossing {
    /// Its Call-ID and From-tag.
    fn of(&self) -> (String, String) {
        (self.message.call_id().to_owned(), self.message.from_tag().unwrap_or_default().to_owned())
    }
}

impl Crossed {
    /// One has crossed, maybe again.
    fn keep(&mut self, name: u64, crossing: Crossing) {
        self.forget_old(crossing.since);
        if let Some(known) = self.known.get_mut(&name) {
            known.owner = crossing.owner;
            return;
        }
        let octets = self.octets + crossing.message.bytes().len();
        if self.known.len() < MAX_CROSSED && octets <= MAX_OCTETS {
            self.octets = octets;
            if self.order.len() > 2 * MAX_CROSSED {
                // Those that are settled, behind one that is not.
                let known = &self.known;
                self.order.retain(|(since, name)| known.get(name).is_some_and(|one| one.since == *since));
            }
            self.order.push_back((crossing.since, name));
            self.known.insert(name, crossing);
        }
    }

    fn remove(&mut self, name: u64) -> Option<Crossing> {
        let crossing = self.known.remove(&name)?;
        self.octets = self.octets.saturating_sub(crossing.message.bytes().len());
        while self.order.front().is_some_and(|(since, oldest)| !self.has(*oldest, *since)) {
            self.order.pop_front();
        }
        Some(crossing)
    }

    fn has(&self, name: u64, since: Instant) -> bool {
        self.known.get(&name).is_some_and(|crossing| crossing.since == since)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, oldest)) = self.order.front().copied()
            && (!self.has(oldest, since) || now.saturating_duration_since(since) > KEPT)
        {
            self.order.pop_front();
            if self.has(oldest, since) {
                self.remove(oldest);
            }
        }
    }

    /// One is a pod's that is there, or may be.
    fn stays(&mut self, name: u64, owner: PodRef) {
        if let Some(crossing) = self.known.get_mut(&name) {
            (crossing.owner, crossing.asked) = (owner, false);
        }
    }

    /// Whether it is begun anew for the first time.
    fn begins_anew(&mut self, name: u64) -> bool {
        if self.again_order.len() >= MAX_CROSSED
            && let Some(oldest) = self.again_order.pop_front()
        {
            self.again.remove(&oldest);
        }
        let first = self.again.insert(name);
        if first {
            self.again_order.push_back(name);
        }
        first
    }
}

impl Core {
    /// An INVITE is that pod's; it was heard here by a flow, and its caller has been told that somebody is at it.
    pub(super) fn keep_crossed(&mut self, message: &Message, flow: Flow, owner: PodRef, now: Now) {
        let name = self.crossed_name(message);
        let (message, since) = (message.clone(), now.mono);
        let crossing = Crossing { owner, message, flow, since, cancelled: false, asked: false };
        self.crossed.keep(name, crossing);
        if !self.router.is_there(owner) {
            self.missed.since_when(owner, now.mono);
            self.look_for_owners_soon(now);
        }
    }

    /// What came by says that the INVITE which it belongs to is settled, or not wanted any more.
    pub(super) fn note_crossed(&mut self, message: &Message) {
        if self.crossed.known.is_empty() || !message.is_request() {
            return;
        }
        let name = self.crossed_name(message);
        match message.method() {
            Method::Ack => drop(self.crossed.remove(name)),
            Method::Cancel => self.cancel_crossed(message),
            _ => {}
        }
    }

    /// The caller of an INVITE does not want it any more.
    pub(super) fn cancel_crossed(&mut self, message: &Message) {
        let name = self.crossed_name(message);
        if let Some(crossing) = self.crossed.known.get_mut(&name) {
            crossing.cancelled = true;
        }
    }

    /// Other pods are there than before: whoever has an INVITE may be gone.
    pub(super) fn look_for_owners_soon(&mut self, now: Now) {
        let at = now.mono + MISSED;
        if !self.crossed.known.is_empty() && self.crossed.scheduled.wants(at) {
            self.timers.add(at, Timer::Owners);
        }
    }

    /// Those that had an INVITE and are still missed are gone.
    pub(super) fn look_for_owners(&mut self, now: Now) {
        self.crossed.scheduled.fired(now.mono);
        let open = self.crossed.known.values().filter(|one| !one.asked);
        let mut owners: Vec<PodRef> = open.map(|one| one.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners.retain(|owner| !self.router.is_there(*owner));
        let missed = owners.len();
        owners.retain(|owner| self.is_missed_for(*owner, MISSED, now.mono));
        if owners.len() < missed {
            self.look_for_owners_soon(now);
        }
        let gone = |crossing: &Crossing| !crossing.asked && owners.contains(&crossing.owner);
        let lost: Vec<u64> =
            self.crossed.known.iter().filter(|(_, one)| gone(one)).map(|(name, _)| *name).collect();
        for name in lost {
            let Some(crossing) = self.crossed.known.get_mut(&name) else { continue };
            crossing.asked = true;
            let (call_id, from_tag) = crossing.of();
            let key = self.fresh_key();
            self.ask(Ask::Owner { call_id, from_tag }, key, Asked::OwnerOf(name));
        }
    }

    /// The registrar said whose an INVITE is whose owner is gone. It may have been settled, or cancelled, meanwhile.
    pub(super) fn owner_of(&mut self, name: u64, answer: Result<Answer, AskFailed>, now: Now) {
        let Some(Crossing { owner, since, .. }) = self.crossed.known.get(&name) else { return };
        let (owner, since) = (*owner, *since);
        match answer {
            Ok(Answer::Owned { pod, .. }) if pod == self.identity.pod => drop(self.crossed.remove(name)),
            Ok(Answer::Owned { pod, .. }) if self.router.is_there(pod) => self.crossed.stays(name, pod),
            Ok(Answer::Owned { call, .. }) => self.take_over(name, call),
            // Whoever cannot say whose it is may not know all pods either.
            Err(_) if !self.is_missed_for(owner, GIVEN_UP, now.mono) => {
                self.crossed.stays(name, owner);
                self.look_for_owners_soon(now);
            }
            Ok(Answer::NotOwned) if now.mono.saturating_duration_since(since) > CLAIMED => {
                self.crossed.remove(name);
            }
            _ => {
                if let Some(crossing) = self.crossed.remove(name) {
                    self.refuse_crossed(&crossing, now);
                }
            }
        }
    }

    /// The registrar is to forget that a call is of a pod that is gone.
    fn take_over(&mut self, name: u64, call: CallRef) {
        let Some((call_id, from_tag)) = self.crossed.known.get(&name).map(Crossing::of) else { return };
        let key = self.fresh_key();
        self.ask(Ask::Disown { call_id, from_tag, call }, key, Asked::Disowned(name));
    }

    /// It has: the INVITE is nobody's, and begins anew.
    pub(super) fn disowned(&mut self, name: u64, answer: Result<Answer, AskFailed>, now: Now) {
        let Some(crossing) = self.crossed.remove(name) else { return };
        let over = answer.is_err() || crossing.cancelled || self.closing;
        if over || self.leaves_to_others(&crossing.message) || !self.crossed.begins_anew(name) {
            return self.refuse_crossed(&crossing, now);
        }
        let Crossing { message, flow, .. } = crossing;
        self.received(message, flow, now);
    }

    /// Its caller hears that nothing comes of it, until he acknowledges that: he does not repeat what he had a 100 for.
    fn refuse_crossed(&mut self, crossing: &Crossing, now: Now) {
        let Crossing { message, flow, .. } = crossing;
        if self.transactions.has_server(message) {
            return;
        }
        self.passed_is_over(message);
        let refused = if crossing.cancelled {
            Refused::new(487, "Request Terminated", "cancelled")
        } else {
            let mut refused = Refused::new(503, "Service Unavailable", "owner_gone");
            refused.refusal.retry_after = Some(self.random.between(1, ending::RETRY_SOON) as u32);
            refused
        };
        let forced = respond::via_differs(message, flow);
        if let Some(server) = self.open_server(message, *flow, forced, now) {
            self.refuse(server, refused, now);
        }
    }

    /// The same for an INVITE, its CANCEL and its ACK.
    fn crossed_name(&self, message: &Message) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.identity.pod.0, 3);
        message.call_id().hash(&mut hasher);
        message.from_tag().unwrap_or_default().hash(&mut hasher);
        message.cseq().map(|cseq| cseq.number).ok().hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossing(length: usize, since: Instant) -> Crossing {
        let text = format!(
            "INVITE sip:bob@edge.example SIP/2.0\r\nCall-ID: 1\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let (at, pod) = (SocketAddr::from(([192, 0, 2, 1], 5060)), PodRef(1));
        let flow = Flow { pod, transport: Transport::Udp, local: at, remote: at, connection: None };
        let message = Message::parse(text.into()).unwrap();
        Crossing { owner: PodRef(2), message, flow, since, cancelled: false, asked: false }
    }

    #[test]
    fn what_crossed_is_bounded_in_number_octets_and_time() {
        let (mut crossed, now) = (Crossed::default(), Instant::now());
        for name in 0..10_000 {
            crossed.keep(name, crossing(0, now));
        }
        assert_eq!((crossed.known.len(), crossed.order.len()), (MAX_CROSSED, MAX_CROSSED));
        let mut crossed = Crossed::default();
        for name in 0..1_000 {
            crossed.keep(name, crossing(60_000, now));
        }
        assert_eq!(crossed.known.len(), MAX_OCTETS / crossing(60_000, now).message.bytes().len());
        crossed.keep(5_000, crossing(0, now + KEPT + Duration::from_secs(1)));
        assert_eq!((crossed.known.len(), crossed.order.len()), (1, 1));
        crossed.remove(5_000);
        assert_eq!((crossed.known.len(), crossed.order.len(), crossed.octets), (0, 0, 0));
        crossed.keep(0, crossing(0, now + KEPT));
        for name in 1..100_000 {
            crossed.keep(name, crossing(0, now + KEPT));
            crossed.remove(name);
        }
        assert!(crossed.order.len() <= 2 * MAX_CROSSED + 1, "behind one that waits: {}", crossed.order.len());
        assert_eq!((0..10_000).filter(|name| crossed.begins_anew(name % 5_000)).count(), 10_000);
        assert_eq!((crossed.again.len(), crossed.again_order.len()), (MAX_CROSSED, MAX_CROSSED));
    }
}
