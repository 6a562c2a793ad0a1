//! How a shard ends, in the steps that the program counts out: it drains ([`Input::Drain`](crate::input::Input)), ends the
//! calls that are left, and closes once nothing is open.
//!
//! While it drains everything goes on but new calls. At last it hears no new requests, so that what is open comes to its
//! end also under load; who repeats a request that was not heard finds another pod. Over a connection nobody repeats: who
//! asks there is told to ask again soon.

use fairlead_call::passes::Passed;

use super::checks::Refused;
use super::*;

/// Why a call ends that was not given the time to end by itself (RFC 3326).
const REASON: &str = "SIP;cause=503;text=\"Shutting down\"";

/// Seconds after which somebody who was not heard may ask again, at most: by then his connection leads to another pod.
pub(super) const RETRY_SOON: u64 = 5;

/// What is open in a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Calls that ring or are up, and INVITEs that wait to be let in.
    pub calls: usize,
    /// Calls that are over and wait for their last messages.
    pub ending: usize,
    /// Questions and orders whose answers somebody waits for, news that the registrar has not heard yet, and what came over a
    /// connection and another pod has not taken yet.
    pub waiting: usize,
}

impl Open {
    /// Whether nothing is.
    pub fn is_nothing(self) -> bool {
        self == Open::default()
    }
}

impl Core {
    /// What is open now.
    pub fn open(&self) -> Open {
        let ending = self.calls.values().filter(|entry| entry.call.is_ending()).count();
        let admitting = self.asks.values().filter(|why| matches!(why, Asked::Admit { .. })).count();
        Open {
            calls: self.calls.len() - ending + admitting,
            ending,
            waiting: self.asks.len() + self.orders.len() + self.untold.len() + self.carried.len(),
        }
    }

    /// Ends all calls, on both legs.
    pub(super) fn end_calls(&mut self, now: Now) {
        self.draining = true;
        self.ending = true;
        let calls: Vec<CallRef> = self.calls.keys().copied().collect();
        for call in calls {
            let reason = Passed { header: Header::Reason, value: REASON.to_owned() };
            self.with_call(call, now, |call, now| call.hang_up(None, EndedBy::Shutdown, vec![reason], now));
        }
    }

    /// Whether a message is not heard because the shard closes: what begins something new.
    pub(super) fn is_too_late(&self, message: &Message) -> bool {
        self.closing
            && message.is_request()
            && message.to_tag().is_none()
            && !matches!(message.method(), Method::Ack | Method::Cancel)
    }

    /// A request that is left to others, because the shard fades or closes. A datagram is not heard: it is repeated, and the
    /// repetition finds another pod. Over a reliable transport it is not (RFC 3261 §17.1.1.2), and silence would be a lost call;
    /// a 503 costs nothing that would have to come to its end.
    pub(super) fn leave_unheard(&mut self, request: &Message, flow: &Flow, reason: &'static str) {
        if !flow.transport.is_reliable() {
            return self.event(Event::Dropped { reason });
        }
        self.event(Event::Received { method: request.method().label(), status: 0 });
        let mut refused = Refused::new(503, "Shutting Down", reason);
        refused.refusal.retry_after = Some(self.random.between(1, RETRY_SOON) as u32);
        self.refuse_stateless(request, flow, refused);
    }
}
