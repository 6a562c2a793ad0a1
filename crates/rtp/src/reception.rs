//! What arrived of a stream, what is missing, and how unevenly it came (RFC 3550 §A.1, §A.3, §A.8).

use std::time::Instant;

use crate::header::Header;

/// A jump ahead that is still taken for loss, packets (§A.1 MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3_000;
/// A step back that is still taken for disorder, packets (§A.1 MAX_MISORDER).
const MAX_MISORDER: u16 = 100;

/// Statistics of the packets that come from one side of a stream, over all its SSRCs.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    run: Option<Run>,
    packets: u64,
    bytes: u64,
    lost_before: u64,
    out_of_order: u64,
    clock: Option<Clock>,
}

/// Sequence numbers of one SSRC without a restart.
#[derive(Clone, Copy, Debug)]
struct Run {
    ssrc: u32,
    base: u16,
    highest: u16,
    cycles: u64,
    received: u64,
    /// §A.1 bad_seq: the number after one that did not fit; when it comes, the sender has restarted.
    restart: Option<u16>,
}

/// Transit time and jitter (§A.8), in units of `rate`.
#[derive(Clone, Copy, Debug)]
struct Clock {
    rate: u32,
    origin: Instant,
    transit: u32,
    /// Scaled by 16.
    jitter: u32,
}

impl Reception {
    /// A packet came. `rate` is the clock rate of its payload, when its time stamp says when it was sent.
    pub fn received(&mut self, now: Instant, header: &Header, bytes: usize, rate: Option<u32>) {
        self.packets += 1;
        self.bytes += bytes as u64;
        self.sequence(header);
        if let Some(rate) = rate {
            self.timing(now, header.timestamp, rate);
        }
    }

    fn sequence(&mut self, header: &Header) {
        let Some(run) = self.run.as_mut().filter(|run| run.ssrc == header.ssrc) else {
            self.restart(header);
            return;
        };
        run.received += 1;
        let ahead = header.sequence.wrapping_sub(run.highest);
        if ahead == 0 {
            // Twice the same: not expected, so it must not hide a loss.
            run.received -= 1;
            self.out_of_order += 1;
        } else if ahead < MAX_DROPOUT {
            if header.sequence < run.highest {
                run.cycles += 1 << 16;
            }
            run.highest = header.sequence;
            run.restart = None;
        } else if ahead > u16::MAX - MAX_MISORDER {
            self.out_of_order += 1;
        } else if run.restart == Some(header.sequence) {
            run.received -= 1;
            self.restart(header);
        } else {
            run.received -= 1;
            run.restart = Some(header.sequence.wrapping_add(1));
        }
    }

    fn restart(&mut self, header: &Header) {
        self.lost_before = self.lost();
        self.run = Some(Run {
            ssrc: header.ssrc,
            base: header.sequence,
            highest: header.sequence,
            cycles: 0,
            received: 1,
            restart: None,
        });
        if let Some(clock) = &mut self.clock {
            clock.rate = 0;
        }
    }

    fn timing(&mut self, now: Instant, timestamp: u32, rate: u32) {
        let origin = self.clock.map_or(now, |clock| clock.origin);
        let micros = now.saturating_duration_since(origin).as_micros();
        // Wraps as time stamps do: only differences count.
        let arrival = (micros * u128::from(rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        match &mut self.clock {
            Some(clock) if clock.rate == rate => {
                let difference = transit.wrapping_sub(clock.transit).cast_signed().unsigned_abs();
                clock.transit = transit;
                // §A.8: J += |D| - ((J + 8) >> 4), J scaled by 16.
                clock.jitter = clock
                    .jitter
                    .saturating_add(difference)
                    .saturating_sub((clock.jitter.saturating_add(8)) >> 4);
            }
            Some(clock) => {
                // Another clock or another sender: what was measured is kept, a first difference is not taken.
                let scaled = match clock.rate {
                    0 => u64::from(clock.jitter),
                    old => u64::from(clock.jitter) * u64::from(rate) / u64::from(old),
                };
                *clock = Clock { rate, origin, transit, jitter: u32::try_from(scaled).unwrap_or(u32::MAX) };
            }
            None => self.clock = Some(Clock { rate, origin, transit, jitter: 0 }),
        }
    }

    /// Packets received.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Their bytes, header included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets that should have come and did not (§A.3). Duplicates never make it less than it is.
    pub fn lost(&self) -> u64 {
        let missing = self.run.map_or(0, |run| {
            let expected = run.cycles + u64::from(run.highest) + 1 - u64::from(run.base);
            expected.saturating_sub(run.received)
        });
        self.lost_before + missing
    }

    /// Packets that came late or twice.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// Interarrival jitter (§A.8), microseconds.
    pub fn jitter_us(&self) -> u32 {
        self.clock.filter(|clock| clock.rate > 0).map_or(0, |clock| {
            let micros = u64::from(clock.jitter >> 4) * 1_000_000 / u64::from(clock.rate);
            u32::try_from(micros).unwrap_or(u32::MAX)
        })
    }

    /// The SSRC heard last.
    pub fn ssrc(&self) -> Option<u32> {
        self.run.map(|run| run.ssrc)
    }

    /// The highest sequence number of that stream.
    pub fn highest(&self) -> Option<u16> {
        self.run.map(|run| run.highest)
    }

    /// The clock rate in use, Hz.
    pub fn rate(&self) -> Option<u32> {
        self.clock.map(|clock| clock.rate).filter(|&rate| rate > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> Header {
        Header { payload: 0, marker: false, sequence, timestamp, ssrc }
    }

    fn hear(sequences: &[u16]) -> Reception {
        let mut reception = Reception::default();
        let now = Instant::now();
        for &sequence in sequences {
            reception.received(now, &header(sequence, 0, 1), 172, None);
        }
        reception
    }

    #[test]
    fn rfc_3550_a_3_what_is_missing_is_lost() {
        assert_eq!(hear(&[1, 2, 5, 6]).lost(), 2);
        assert_eq!(hear(&[65_534, 65_535, 0, 2]).lost(), 1);
    }

    #[test]
    fn late_packets_are_out_of_order_and_not_lost() {
        let reception = hear(&[1, 3, 2, 4]);
        assert_eq!((reception.lost(), reception.out_of_order(), reception.packets()), (0, 1, 4));
    }

    #[test]
    fn a_packet_sent_twice_hides_no_loss() {
        let reception = hear(&[1, 2, 2, 4]);
        assert_eq!((reception.lost(), reception.out_of_order()), (1, 1));
    }

    #[test]
    fn rfc_3550_a_1_a_sender_that_restarts_is_no_loss() {
        let reception = hear(&[1, 2, 3, 30_000, 30_001, 30_002]);
        assert_eq!(reception.lost(), 0);
        let mut reception = hear(&[1, 2, 4]);
        reception.received(Instant::now(), &header(9_000, 0, 2), 172, None);
        assert_eq!(reception.lost(), 1);
        assert_eq!(reception.ssrc(), Some(2));
    }

    #[test]
    fn rfc_3550_a_8_jitter_follows_the_uneven_and_not_the_even() {
        let start = Instant::now();
        let mut even = Reception::default();
        let mut uneven = Reception::default();
        for n in 0..500_u32 {
            let at = start + Duration::from_millis(u64::from(n) * 20);
            let late = Duration::from_millis(if n % 2 == 0 { 0 } else { 10 });
            even.received(at, &header(n as u16, n * 160, 1), 172, Some(8_000));
            uneven.received(at + late, &header(n as u16, n * 160, 1), 172, Some(8_000));
        }
        assert!(even.jitter_us() < 200, "{}", even.jitter_us());
        assert!((9_000..=10_100).contains(&uneven.jitter_us()), "{}", uneven.jitter_us());
    }
}
