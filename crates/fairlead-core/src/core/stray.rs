//! 2xx for an INVITE of ours whose transaction is over: it was given up 64*T1 after its CANCEL (RFC 3261 §9.1) or by
//! Timer B, and the callee answers nevertheless, or never heard its ACK.
//!
//! Each is acknowledged and its dialog ended (§13.2.2.4): the phone would otherwise be off the hook until its own
//! timer, with nobody on the line. The Call-ID and the tag that we minted say which attempt of which call it was; all
//! else that ACK and BYE need stands in the 2xx, so this works when the call is long forgotten. So is whoever answers at an
//! address of a name that was left for the next one (RFC 3263 §4.3), and whoever picks up a phone that still rings for a pod that is
//! gone.

use fairlead_call::call::LEG_B;
use sip_dialog::Dialog;
use sip_wire::RequestWriter;

use super::*;

/// So many dialogs of one forgotten call are ended (as of a living one).
const MAX_BYES: u8 = 8;
/// A pod has been missed for so long before an answer to it is ended by another one: longer than a registrar that has just begun
/// takes to know all pods. Each answer comes again for 32 s.
const MISSED: Duration = Duration::from_secs(5);
/// So many forgotten calls are remembered.
const MAX_CALLS: usize = 1_024;

/// Forgotten calls that were answered, and the tags of those who were sent BYE.
#[derive(Debug, Default)]
pub(super) struct Strays {
    ended: HashMap<CallRef, Ended>,
    order: VecDeque<CallRef>,
}

#[derive(Debug)]
enum Ended {
    Tags(Vec<String>),
    /// Another pod has the call, and it lives.
    Elsewhere,
}

impl Strays {
    /// Another pod took this call: it is not for us to end it.
    pub fn lives_elsewhere(&mut self, call: CallRef) {
        self.remember(call, Ended::Elsewhere);
    }

    fn is_elsewhere(&self, call: CallRef) -> bool {
        matches!(self.ended.get(&call), Some(Ended::Elsewhere))
    }

    /// Whether this dialog of the call is to be ended: once each, and not ever more of them.
    fn wants_bye(&mut self, call: CallRef, tag: &str) -> bool {
        if !self.ended.contains_key(&call) {
            self.remember(call, Ended::Tags(Vec::new()));
        }
        match self.ended.get_mut(&call) {
            Some(Ended::Tags(tags))
                if tags.len() < usize::from(MAX_BYES) && !tags.iter().any(|t| t == tag) =>
            {
                tags.push(tag.to_owned());
                true
            }
            _ => false,
        }
    }

    fn remember(&mut self, call: CallRef, what: Ended) {
        if self.order.len() >= MAX_CALLS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if self.ended.insert(call, what).is_none() {
            self.order.push_back(call);
        }
    }
}

impl Core {
    /// A response of no transaction.
    pub(super) fn stray(&mut self, response: &Message, flow: &Flow, now: Now) {
        let answers = matches!(response.status(), Some(200..=299)) && *response.method() == Method::Invite;
        let Some((call, attempt)) = self.attempt_that_invited(response).filter(|_| answers) else {
            return self.event(Event::Dropped { reason: "stray_response" });
        };
        if (call.pod, call.shard) != (self.identity.pod, ShardRef(self.identity.shard)) {
            let adopted = self.adopted.contains_key(response.call_id());
            if !adopted && self.is_missed_for(call.pod, MISSED, now.mono) {
                return self.end_answer(call, response, flow, now);
            }
            return self.event(Event::Dropped { reason: "stray_response" });
        }
        let mut is_of_call = false;
        self.with_call(call, now, |call, now| is_of_call = call.late_answer(attempt, response, now));
        if !is_of_call {
            self.end_answer(call, response, flow, now);
        }
    }

    /// Acknowledges a 2xx and ends its dialog, which is no call's.
    pub(super) fn end_answer(&mut self, call: CallRef, response: &Message, flow: &Flow, now: Now) {
        if self.strays.is_elsewhere(call) {
            return self.event(Event::Dropped { reason: "stray_response" });
        }
        let Ok(mut dialog) = Dialog::of_answer(response) else {
            return self.event(Event::Dropped { reason: "stray_response" });
        };
        // It was heard by this flow, and the INVITE that it answers left by it.
        let to = SendTo::Flow(*flow);
        let ack = dialog.ack(dialog.local_cseq);
        if let Some((message, _)) = self.write_stray(&to, |via| ack.writer(&dialog, via, 70)) {
            self.send_once(to.clone(), "ACK", message);
        }
        if !self.strays.wants_bye(call, &dialog.remote_tag) {
            return;
        }
        let bye = dialog.request(Method::Bye);
        let Some((message, reliable)) = self.write_stray(&to, |via| bye.writer(&dialog, via, 70)) else {
            return;
        };
        let Ok(message) = Message::parse(message) else { return };
        let t1 = Duration::from_millis(u64::from(self.general.t1_ms.max(1)));
        let user = User::Client { to, of: Of::Stray, method: "BYE", left: false };
        // A table that is full even for BYE leaves it to the phone's own timer.
        let _ = self.transactions.open_client(
            message,
            user,
            reliable,
            transaction::Timers::with_t1(t1),
            now.mono,
        );
        self.drain_transactions(now);
    }

    /// The attempt of a call whose INVITE a response answers, if its names are ours, or those of another pod.
    fn attempt_that_invited(&self, response: &Message) -> Option<(CallRef, AttemptRef)> {
        let keys = self.router.keys();
        let id = Minted::read(response.call_id(), keys).filter(|minted| minted.kind == Kind::CallId)?;
        let from_tag = response.from_tag()?;
        let tag = Minted::read(from_tag, keys).filter(|minted| minted.kind == Kind::Call)?;
        let same =
            (id.pod, id.shard, id.number, LEG_B | id.index) == (tag.pod, tag.shard, tag.number, tag.index);
        same.then_some((CallRef { pod: id.pod, shard: id.shard, number: id.number }, AttemptRef(id.index)))
    }

    fn write_stray(
        &mut self,
        to: &SendTo,
        write: impl FnOnce(&str) -> RequestWriter,
    ) -> Option<(Bytes, bool)> {
        let (_, outlet) = self.outlet_of(to, Default::default())?;
        let via = self.via(&outlet)?;
        let message = write(&via).header(Header::UserAgent, &self.general.user_agent).finish();
        Some((message, outlet.transport.is_reliable()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64) -> CallRef {
        CallRef { pod: PodRef(1), shard: ShardRef(0), number }
    }

    #[test]
    fn each_dialog_is_ended_once_and_eight_of_a_call_at_most() {
        let mut strays = Strays::default();
        assert!(strays.wants_bye(call(1), "a"));
        assert!(!strays.wants_bye(call(1), "a"));
        let more = (0..20).filter(|n| strays.wants_bye(call(1), &n.to_string())).count();
        assert_eq!(more, 7);
        strays.lives_elsewhere(call(2));
        assert!(strays.is_elsewhere(call(2)) && !strays.wants_bye(call(2), "a"));
    }

    #[test]
    fn the_memory_of_forgotten_calls_is_bounded() {
        let mut strays = Strays::default();
        for number in 0..5_000 {
            strays.wants_bye(call(number), "a");
        }
        assert_eq!((strays.ended.len(), strays.order.len()), (MAX_CALLS, MAX_CALLS));
    }
}
