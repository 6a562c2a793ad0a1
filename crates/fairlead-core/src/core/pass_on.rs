//! New calls that come to a shard while it drains.
//!
//! A phone behind a Service goes on speaking to the pod that it spoke to before for as long as that lives: connection
//! tracking pins its flow. So the INVITE is passed on by the mesh, once, to a pod that takes calls; its answers leave by the
//! flow that it came by. What belongs to the same INVITE follows it: its repetitions, CANCEL, and an ACK without a tag of ours
//! (one with a tag finds its owner by that).
//!
//! Whoever is called through a pod cannot be answered when that is gone. So a call that was passed on is waited for until its
//! ACK has come by; and just before its end a pod does not hear new ones: their callers repeat them after half a second,
//! and reach another pod as soon as this one is gone.
//!
//! A pod that was killed is among those that take calls until its lease has run out. So each INVITE is kept until its taker has
//! said that it has it; where it did not, the next one is tried, once, and after that its caller hears 503. Over a connection
//! he would not ask again, and over UDP his repetitions would go to the same pod.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::checks::Refused;
use super::*;
use crate::input::SendFailed;

/// A choice is kept for so long: as long as a transaction of the INVITE may live (64*T1, RFC 3261 §17.1.1.2), with room for
/// a CANCEL while it rings.
const KEPT: Duration = Duration::from_secs(180);
/// So many are remembered; older ones are chosen anew, which gives the same pod unless members changed.
const MAX_KEPT: usize = 65_536;
/// How long a taker may be waited for: longer than another pod's result may take, shorter than a caller waits.
const TRIED: Duration = Duration::from_secs(8);
/// So many are waited for at once, and so many octets of INVITEs are kept for it; further ones are passed on unseen.
const MAX_TRYING: usize = 4_096;
const MAX_OCTETS: usize = 16 << 20;

/// Who got which call.
#[derive(Debug, Default)]
pub(super) struct PassedOn {
    to: HashMap<u64, PodRef>,
    order: VecDeque<(Instant, u64)>,
    /// Those whose INVITE was not acknowledged yet.
    unsettled: HashSet<u64>,
    trying: Trying,
}

/// INVITEs whose takers have not said yet that they have them.
#[derive(Debug, Default)]
struct Trying {
    tries: HashMap<SendRef, Try>,
    by_transaction: HashMap<u64, SendRef>,
    order: VecDeque<SendRef>,
    octets: usize,
}

#[derive(Debug)]
struct Try {
    transaction: u64,
    taker: PodRef,
    /// Another one did not take it before.
    is_second: bool,
    message: Message,
    flow: Flow,
    since: Instant,
    /// Its CANCEL has come by.
    cancelled: bool,
}

impl Trying {
    /// The one whose repetition, or CANCEL, this is.
    fn of(&mut self, transaction: u64, now: Instant) -> Option<&mut Try> {
        self.forget_old(now);
        self.tries.get_mut(self.by_transaction.get(&transaction)?)
    }

    /// Remembers one. Whether there was room.
    fn begin(&mut self, send: SendRef, one: Try) -> bool {
        self.forget_old(one.since);
        let octets = self.octets + one.message.bytes().len();
        if self.tries.len() >= MAX_TRYING || octets > MAX_OCTETS {
            return false;
        }
        self.octets = octets;
        self.by_transaction.insert(one.transaction, send);
        self.order.push_back(send);
        self.tries.insert(send, one);
        true
    }

    fn end(&mut self, send: SendRef) -> Option<Try> {
        let one = self.tries.remove(&send)?;
        self.octets = self.octets.saturating_sub(one.message.bytes().len());
        if self.by_transaction.get(&one.transaction) == Some(&send) {
            self.by_transaction.remove(&one.transaction);
        }
        while self.order.front().is_some_and(|oldest| !self.tries.contains_key(oldest)) {
            self.order.pop_front();
        }
        Some(one)
    }

    /// Those of which nothing was heard: what was to be told got lost.
    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front().copied()
            && self.tries.get(&oldest).is_none_or(|one| now.saturating_duration_since(one.since) > TRIED)
        {
            self.order.pop_front();
            self.end(oldest);
        }
    }
}

impl PassedOn {
    fn get(&self, call: u64) -> Option<PodRef> {
        self.to.get(&call).copied()
    }

    fn keep(&mut self, call: u64, pod: PodRef, now: Instant) {
        while let Some((since, oldest)) = self.order.front().copied()
            && (self.order.len() >= MAX_KEPT || now.saturating_duration_since(since) > KEPT)
        {
            self.order.pop_front();
            self.to.remove(&oldest);
            self.unsettled.remove(&oldest);
        }
        self.unsettled.insert(call);
        if self.to.insert(call, pod).is_none() {
            self.order.push_back((now, call));
        }
    }

    /// Nobody has this call. Its place in the order stays until its time has come.
    fn forget(&mut self, call: u64) {
        self.unsettled.remove(&call);
        self.to.remove(&call);
    }
}

impl Core {
    /// The pod that a message of a new call goes to because this one drains.
    pub(super) fn passes_to(&mut self, message: &Message, flow: &Flow, now: Now) -> Option<PodRef> {
        if !self.is_of_new_call(message, flow) {
            return None;
        }
        let call = self.passed_name(message);
        let kept = self.passed_on.get(call).filter(|pod| self.router.is_there(*pod));
        if *message.method() != Method::Invite {
            return kept;
        }
        let taker = match kept {
            Some(pod) => pod,
            None if self.transactions.has_server(message) => return None,
            None => self.router.taker(message.call_id())?,
        };
        self.passed_on.keep(call, taker, now.mono);
        Some(taker)
    }

    /// Passes on what belongs to a new call. While it is not known whether an INVITE was taken its repetitions are not sent after
    /// it: they say nothing new.
    pub(super) fn pass_on(&mut self, pod: PodRef, message: Message, flow: Flow, now: Now) {
        let is_invite = *message.method() == Method::Invite;
        let transaction = self.passed_transaction(&message);
        if let Some(one) = self.passed_on.trying.of(transaction, now.mono) {
            if is_invite {
                return self.event(Event::Dropped { reason: "being_passed_on" });
            }
            one.cancelled |= *message.method() == Method::Cancel;
        }
        if is_invite {
            return self.try_taker(pod, message, flow, false, now);
        }
        self.carry(pod, None, message, flow, now);
    }

    fn try_taker(&mut self, taker: PodRef, message: Message, flow: Flow, is_second: bool, now: Now) {
        let send = SendRef(self.next_number());
        let transaction = self.passed_transaction(&message);
        let bytes = message.bytes().clone();
        let one = Try { transaction, taker, is_second, message, flow, since: now.mono, cancelled: false };
        let report = self.passed_on.trying.begin(send, one).then_some(send);
        self.outputs.push_back(Output::Forward { pod: taker, shard: None, message: bytes, flow, report });
    }

    /// The taker of an INVITE has it, or has not.
    pub(super) fn was_passed_on(&mut self, send: SendRef, failed: Option<SendFailed>, now: Now) {
        let Some(one) = self.passed_on.trying.end(send) else {
            return self.was_carried(send, failed, now);
        };
        if failed.is_none() {
            self.keep_crossed(&one.message, one.flow, one.taker, now);
            if one.cancelled {
                self.cancel_crossed(&one.message);
            }
            return;
        }
        let call = self.passed_name(&one.message);
        let next = (!one.is_second && !one.cancelled)
            .then(|| self.router.taker_but(one.message.call_id(), Some(one.taker)))
            .flatten();
        if let Some(taker) = next {
            self.passed_on.keep(call, taker, now.mono);
            return self.try_taker(taker, one.message, one.flow, true, now);
        }
        if self.passed_on.get(call) == Some(one.taker) {
            self.passed_on.forget(call);
        }
        self.event(Event::Received { method: one.message.method().label(), status: 0 });
        let refused = match one.cancelled {
            true => Refused::new(487, "Request Terminated", "cancelled"),
            false => {
                let mut refused = Refused::new(503, "Service Unavailable", "not_taken");
                refused.refusal.retry_after = Some(self.random.between(1, ending::RETRY_SOON) as u32);
                refused
            }
        };
        self.refuse_stateless(&one.message, &one.flow, refused);
    }

    /// Nobody has this call any more, and nothing is waited for.
    pub(super) fn passed_is_over(&mut self, message: &Message) {
        let call = self.passed_name(message);
        self.passed_on.forget(call);
    }

    /// An ACK came by: the INVITE that it is for is settled.
    pub(super) fn note_settled(&mut self, message: &Message, flow: &Flow) {
        if self.draining && flow.pod == self.identity.pod && *message.method() == Method::Ack {
            let call = self.passed_name(message);
            self.passed_on.unsettled.remove(&call);
        }
    }

    /// The shard of this pod that passed on the INVITE which an ACK is for, or keeps it (`crossed.rs`), and has to see it too.
    pub(super) fn settled_at(&self, message: &Message) -> Option<ShardRef> {
        let shard = self.router.shard_of(message.call_id());
        (message.is_request() && *message.method() == Method::Ack && shard.0 != self.identity.shard)
            .then_some(shard)
    }

    /// How many calls that were passed on wait for their answer or its ACK, which have to come through this pod.
    pub fn passing(&self) -> usize {
        self.passed_on.unsettled.len()
    }

    /// Whether a message begins a call which has to begin at another pod, because this one fades. So does what a pod
    /// passes on that does not know yet that this one drains as well.
    pub(super) fn leaves_to_others(&mut self, message: &Message) -> bool {
        self.fading
            && self.router.has_taker()
            && message.is_request()
            && message.to_tag().is_none()
            && *message.method() == Method::Invite
            && self.passed_on.get(self.passed_name(message)).is_none()
            && !self.transactions.has_server(message)
    }

    /// Whether a message that came by a flow of this pod, which drains, is about a call that this pod may pass on.
    pub(super) fn is_of_new_call(&self, message: &Message, flow: &Flow) -> bool {
        self.draining
            && flow.pod == self.identity.pod
            && message.is_request()
            && message.to_tag().is_none()
            && matches!(message.method(), Method::Invite | Method::Cancel | Method::Ack)
    }

    fn passed_name(&self, message: &Message) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.identity.pod.0, 1);
        message.call_id().hash(&mut hasher);
        hasher.finish()
    }

    /// The transaction of an INVITE and of its CANCEL (RFC 3261 §9.1, §17.2.3).
    fn passed_transaction(&self, message: &Message) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.identity.pod.0, 2);
        message.call_id().hash(&mut hasher);
        message.cseq().map(|cseq| cseq.number).ok().hash(&mut hasher);
        message.top_via().ok().and_then(|via| via.branch).as_deref().hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use fairlead_model::flow::Transport;

    use super::*;

    #[test]
    fn the_memory_of_calls_that_were_passed_on_is_bounded() {
        let (mut passed, now) = (PassedOn::default(), Instant::now());
        for call in 0..100_000 {
            passed.keep(call, PodRef(2), now);
        }
        assert_eq!((passed.to.len(), passed.order.len()), (MAX_KEPT, MAX_KEPT));
        assert_eq!((passed.get(0), passed.get(99_999)), (None, Some(PodRef(2))));
        assert_eq!(passed.unsettled.len(), MAX_KEPT);
        passed.keep(1, PodRef(3), now + KEPT + Duration::from_secs(1));
        assert_eq!((passed.to.len(), passed.unsettled.len(), passed.get(1)), (1, 1, Some(PodRef(3))));
    }
    fn invite(call: u64, length: usize) -> Try {
        let text = format!(
            "INVITE sip:bob@edge.example SIP/2.0\r\nCall-ID: {call}\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let at = SocketAddr::from(([192, 0, 2, 1], 5060));
        let (pod, transport) = (PodRef(1), Transport::Udp);
        Try {
            transaction: call,
            taker: PodRef(2),
            is_second: false,
            message: Message::parse(text.into()).unwrap(),
            flow: Flow { pod, transport, local: at, remote: at, connection: None },
            since: Instant::now(),
            cancelled: false,
        }
    }

    #[test]
    fn invites_that_wait_for_their_taker_are_bounded_in_number_and_octets() {
        let mut trying = Trying::default();
        let taken = (0..10_000).filter(|call| trying.begin(SendRef(*call), invite(*call, 0))).count();
        assert_eq!(taken, MAX_TRYING);
        let mut trying = Trying::default();
        let taken = (0..10_000).filter(|call| trying.begin(SendRef(*call), invite(*call, 60_000))).count();
        assert_eq!(taken, MAX_OCTETS / invite(100, 60_000).message.bytes().len());
        for call in 0..10_000 {
            trying.end(SendRef(call));
        }
        assert_eq!((trying.octets, trying.order.len(), trying.by_transaction.len()), (0, 0, 0));
    }

    #[test]
    fn one_whose_result_never_comes_is_forgotten() {
        let (mut trying, now) = (Trying::default(), Instant::now());
        assert!(trying.begin(SendRef(1), invite(7, 0)));
        assert!(trying.of(7, now + TRIED).is_some());
        assert!(trying.of(7, now + TRIED + Duration::from_secs(1)).is_none());
        assert_eq!((trying.tries.len(), trying.octets), (0, 0));
    }
}
