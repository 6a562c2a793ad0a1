//! What the registrar has to hear in the end: a slot that is free again, a record that is over, a first request that
//! need not be remembered. Lost in a moment of overload, these would be held for as long as this pod lives.

use super::*;

/// So many are told again at the same time; more is a registrar that is away for long, whose leases end by themselves.
const MAX_UNTOLD: usize = 20_000;
/// So often one is told again, with twice the pause each time: for about ten minutes.
const MAX_TRIES: u8 = 12;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Something told that was not heard yet.
#[derive(Debug)]
pub(super) struct Told {
    ask: Ask,
    key: IdempotencyKey,
    tries: u8,
}

/// Whether this must not get lost.
pub(super) fn must_arrive(ask: &Ask) -> bool {
    matches!(ask, Ask::Release { .. } | Ask::Disown { .. } | Ask::Checkpoint { record: None, .. })
}

impl Core {
    pub(super) fn tell_surely(&mut self, ask: Ask, key: IdempotencyKey, tries: u8) {
        let id = AskRef(self.next_number());
        self.asks.insert(id, Asked::Told(Told { ask: ask.clone(), key, tries }));
        self.outputs.push_back(Output::Ask(Envelope { id, key, deadline: TELL_DEADLINE, ask }));
    }

    /// It was not heard: again, later, under the same key.
    pub(super) fn not_heard(&mut self, told: Told, now: Now) {
        if told.tries >= MAX_TRIES || self.untold.len() >= MAX_UNTOLD {
            return self.event(Event::Dropped { reason: "untold" });
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << told.tries.min(8)).min(LONGEST_PAUSE);
        let number = self.next_number();
        self.untold.insert(number, Told { tries: told.tries + 1, ..told });
        self.timers.add(now.mono + pause, Timer::TellAgain(number));
    }

    pub(super) fn tell_again(&mut self, number: u64) {
        if let Some(Told { ask, key, tries }) = self.untold.remove(&number) {
            self.tell_surely(ask, key, tries);
        }
    }
}
