//! The timers of RFC 3261 §17, table 4 (page 264), with L and M of RFC 6026.

use std::time::Duration;

/// What the timers A to M of one transaction are computed from. Timer C belongs to who uses transactions (§16.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip; first interval of A, E, G. 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions of what is not an INVITE (E), and of final responses to it (G). 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network (I, K). 5 s.
    pub t4: Duration,
    /// How long an INVITE waits for its first response; `None` is 64*T1 (§17.1.1.2).
    pub timer_b: Option<Duration>,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            timer_b: None,
        }
    }
}

impl Timers {
    /// The defaults with another T1.
    pub fn with_t1(t1: Duration) -> Self {
        Timers { t1, ..Timers::default() }
    }

    /// 64*T1: F, H, J, L, M, and B unless it is set.
    pub fn t1_64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer B.
    pub fn b(&self) -> Duration {
        self.timer_b.unwrap_or_else(|| self.t1_64())
    }

    /// Timer D over an unreliable transport: at least 32 s.
    pub fn d(&self) -> Duration {
        self.t1_64().max(Duration::from_secs(32))
    }

    /// The interval after `interval`, as E and G grow.
    pub fn next(&self, interval: Duration) -> Duration {
        interval.saturating_mul(2).min(self.t2)
    }

    /// When a client's Timer E is reset to T2: the time at which a 100 to a request other than INVITE may, and
    /// must, be sent (RFC 4320 §4.1). 3.5 s.
    pub fn e_reaches_t2(&self) -> Duration {
        let (mut at, mut interval) = (Duration::ZERO, self.t1);
        // A T1 of zero never grows; 32 doublings of a nanosecond pass any T2 in use.
        for _ in 0..40 {
            at += interval;
            interval = self.next(interval);
            if interval >= self.t2 {
                break;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4320_4_1_timer_e_is_reset_to_t2_after_3500_ms() {
        assert_eq!(Timers::default().e_reaches_t2(), Duration::from_millis(3_500));
        assert_eq!(Timers::with_t1(Duration::from_secs(4)).e_reaches_t2(), Duration::from_secs(4));
        assert_eq!(Timers::with_t1(Duration::ZERO).e_reaches_t2(), Duration::ZERO);
    }

    #[test]
    fn rfc3261_table_4() {
        let timers = Timers::default();
        assert_eq!(timers.b(), Duration::from_secs(32));
        assert_eq!(timers.d(), Duration::from_secs(32));
        assert_eq!(Timers::with_t1(Duration::from_secs(1)).d(), Duration::from_secs(64));
        assert_eq!(Timers::with_t1(Duration::from_millis(100)).d(), Duration::from_secs(32));
        let short = Timers { timer_b: Some(Duration::from_secs(5)), ..timers };
        assert_eq!(short.b(), Duration::from_secs(5));
    }
}
