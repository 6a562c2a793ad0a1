//! Hear before you speak: whether we may send to an address now.

use std::time::Instant;

use crate::Settings;

/// What passed between one of our ports and one remote address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    heard: bool,
    /// The last packet either way.
    active: Option<Instant>,
    sent: Option<Instant>,
    /// Since when we have wanted to speak and were silent.
    wanted: Option<Instant>,
}

impl Flow {
    /// Something came from there.
    pub fn heard(&mut self, now: Instant) {
        self.heard = true;
        self.wanted = None;
        self.active = Some(now);
    }

    /// Whether something may be sent now; if so, it counts as sent.
    pub fn speak(&mut self, now: Instant, settings: &Settings) -> bool {
        if let Some(limit) = settings.hear_before_speak
            && !self.is_open(now, settings)
        {
            let wanted = *self.wanted.get_or_insert(now);
            if now.saturating_duration_since(wanted) < limit {
                return false;
            }
            self.wanted = None;
        }
        self.active = Some(now);
        self.sent = Some(now);
        true
    }

    /// A packet passed lately, in either direction: what forwards between us still knows the flow.
    fn is_open(&mut self, now: Instant, settings: &Settings) -> bool {
        let open = self.active.is_some_and(|at| now.saturating_duration_since(at) < settings.unheard);
        if !open {
            self.heard = false;
            self.active = None;
        }
        open
    }

    /// RFC 6263 §4.1: an empty datagram is due, as nothing else was sent for a while. It counts as sent.
    pub fn keep_alive(&mut self, now: Instant, settings: &Settings) -> bool {
        if settings.hear_before_speak.is_none() || !self.is_open(now, settings) || !self.heard {
            return false;
        }
        let quiet = self.sent.or(self.active);
        let due = quiet.is_none_or(|at| now.saturating_duration_since(at) >= settings.keep_alive);
        if due {
            self.sent = Some(now);
            self.active = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings() -> Settings {
        Settings { hear_before_speak: Some(Duration::from_secs(3)), ..Settings::default() }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silent_until_heard() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        assert!(!flow.speak(start, &settings()));
        flow.heard(start + s(1));
        assert!(flow.speak(start + s(1), &settings()));
    }

    #[test]
    fn two_that_wait_for_each_other_speak_after_the_limit() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        assert!(!flow.speak(start, &settings()));
        assert!(!flow.speak(start + s(2), &settings()));
        assert!(flow.speak(start + s(3), &settings()));
        assert!(flow.speak(start + s(4), &settings()));
    }

    #[test]
    fn unheard_again_after_25_seconds_without_a_packet() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        flow.heard(start);
        assert!(flow.speak(start + s(24), &settings()));
        assert!(flow.speak(start + s(48), &settings()));
        assert!(!flow.speak(start + s(73), &settings()));
    }

    #[test]
    fn rfc_6263_4_1_a_heard_flow_is_kept_alive_every_15_seconds() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        assert!(!flow.keep_alive(start, &settings()), "never heard");
        flow.heard(start);
        let sent: Vec<u64> = (0..60).filter(|&at| flow.keep_alive(start + s(at), &settings())).collect();
        assert_eq!(sent, [15, 30, 45]);
        assert!(flow.speak(start + s(60), &settings()), "still heard");
        assert!(!flow.keep_alive(start + s(61), &settings()), "something else was sent");
    }

    #[test]
    fn with_routable_pods_it_speaks_at_once() {
        let mut flow = Flow::default();
        assert!(flow.speak(Instant::now(), &Settings::default()));
        assert!(!flow.keep_alive(Instant::now() + s(60), &Settings::default()));
    }
}
