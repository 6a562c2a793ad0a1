//! Messages that came over a connection and are another pod's, until that has them.
//!
//! Over a connection nobody repeats a request (RFC 3261 §17.1.1.2, §17.1.2.2) or a refusal. So what another pod did not take, because
//! it was not reached for a moment, is carried to it again each second; a BYE that got lost would leave the other side in the call. Once
//! the pod is known to be gone the message is dealt with here, as any that came for a pod which is not there: its sender hears 481.
//! A pod that takes one twice, since its result got lost, finds it in its transaction, or out of order.

use super::*;
use crate::input::SendFailed;

/// Carried again this often.
const AGAIN: Duration = Duration::from_secs(1);
/// For so long: whoever asked has given up then (64*T1).
const GIVEN_UP: Duration = Duration::from_secs(32);
/// So many are kept, and so many octets of them; further ones are carried once.
const MAX_CARRIED: usize = 4_096;
const MAX_OCTETS: usize = 16 << 20;

/// What is on its way, and what waits to be carried again.
#[derive(Debug, Default)]
pub(super) struct Carried {
    sent: HashMap<SendRef, One>,
    waiting: HashMap<u64, One>,
    octets: usize,
    /// When there was no room, and those that nobody tells of were looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct One {
    pod: PodRef,
    shard: Option<u8>,
    message: Message,
    flow: Flow,
    until: Instant,
}

impl Carried {
    /// How many are not taken yet, as far as is known.
    pub fn len(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    fn begin(&mut self, send: SendRef, one: One, now: Instant) -> bool {
        let is_full = |carried: &Carried| {
            carried.len() >= MAX_CARRIED || carried.octets + one.message.bytes().len() > MAX_OCTETS
        };
        if is_full(self) {
            if self.swept.is_some_and(|at| now.saturating_duration_since(at) < AGAIN) {
                return false;
            }
            self.swept = Some(now);
            // Those whose result never came.
            self.sent.retain(|_, one| one.until > now);
            let octets = |one: &One| one.message.bytes().len();
            self.octets = self.sent.values().chain(self.waiting.values()).map(octets).sum();
            if is_full(self) {
                return false;
            }
        }
        self.octets += one.message.bytes().len();
        self.sent.insert(send, one);
        true
    }

    fn end(&mut self, send: SendRef) -> Option<One> {
        let one = self.sent.remove(&send)?;
        self.octets = self.octets.saturating_sub(one.message.bytes().len());
        Some(one)
    }

    fn wait(&mut self, number: u64, one: One) {
        self.octets += one.message.bytes().len();
        self.waiting.insert(number, one);
    }

    fn take(&mut self, number: u64) -> Option<One> {
        let one = self.waiting.remove(&number)?;
        self.octets = self.octets.saturating_sub(one.message.bytes().len());
        Some(one)
    }
}

impl Core {
    /// Hands a message that came here to the pod and shard that it belongs to.
    pub(super) fn carry(&mut self, pod: PodRef, shard: Option<u8>, message: Message, flow: Flow, now: Now) {
        self.carry_until(One { pod, shard, message, flow, until: now.mono + GIVEN_UP }, now);
    }

    fn carry_until(&mut self, one: One, now: Now) {
        let (pod, shard, flow, message) = (one.pod, one.shard, one.flow, one.message.bytes().clone());
        let mut report = None;
        if pod != self.identity.pod && flow.transport.is_reliable() {
            let send = SendRef(self.next_number());
            report = self.carried.begin(send, one, now.mono).then_some(send);
        }
        self.outputs.push_back(Output::Forward { pod, shard, message, flow, report });
    }

    /// The other pod has it, or has not.
    pub(super) fn was_carried(&mut self, send: SendRef, failed: Option<SendFailed>, now: Now) {
        let Some(one) = self.carried.end(send) else { return };
        // What cannot be read there will not be the next time.
        if matches!(failed, None | Some(SendFailed::Socket)) || now.mono >= one.until {
            return;
        }
        let number = self.next_number();
        self.carried.wait(number, one);
        self.timers.add(now.mono + AGAIN, Timer::Carry(number));
    }

    pub(super) fn carry_again(&mut self, number: u64, now: Now) {
        let Some(one) = self.carried.take(number) else { return };
        if self.router.is_there(one.pod) {
            return self.carry_until(one, now);
        }
        self.received(one.message, one.flow, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(length: usize, until: Instant) -> One {
        let text = format!(
            "BYE sip:bob@edge.example SIP/2.0\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let at = SocketAddr::from(([192, 0, 2, 1], 5060));
        let flow =
            Flow { pod: PodRef(1), transport: Transport::Tcp, local: at, remote: at, connection: None };
        One { pod: PodRef(2), shard: None, message: Message::parse(text.into()).unwrap(), flow, until }
    }

    #[test]
    fn what_is_carried_is_bounded_in_number_and_octets_and_what_nobody_tells_of_is_forgotten() {
        let now = Instant::now();
        let later = now + GIVEN_UP;
        let mut carried = Carried::default();
        assert_eq!(
            (0..10_000).filter(|n| carried.begin(SendRef(*n), one(0, later), now)).count(),
            MAX_CARRIED
        );
        assert!(carried.begin(SendRef(20_000), one(0, later + GIVEN_UP), later));
        assert_eq!(carried.sent.len(), 1);
        let (mut carried, most) = (Carried::default(), MAX_OCTETS / one(60_000, later).message.bytes().len());
        assert_eq!((0..1_000).filter(|n| carried.begin(SendRef(*n), one(60_000, later), now)).count(), most);
        for n in 0..1_000 {
            if let Some(one) = carried.end(SendRef(n)) {
                carried.wait(n, one);
            }
            carried.take(n);
        }
        assert_eq!((carried.octets, carried.sent.len(), carried.waiting.len()), (0, 0, 0));
    }

    /// A flood for a pod that is not reached does not have all of them looked through for each message.
    #[test]
    fn those_of_which_nobody_tells_are_looked_for_once_a_second() {
        let (mut carried, now) = (Carried::default(), Instant::now());
        let soon = |milliseconds| now + Duration::from_millis(milliseconds);
        for n in 0..MAX_CARRIED as u64 {
            carried.begin(SendRef(n), one(0, soon(500)), now);
        }
        assert!(!carried.begin(SendRef(10_000), one(0, soon(9_000)), soon(100)));
        assert!(!carried.begin(SendRef(10_001), one(0, soon(9_000)), soon(900)));
        assert!(carried.begin(SendRef(10_002), one(0, soon(9_000)), soon(1_100)));
    }
}
