//! RFC 3261 §13.3.1.4: the 2xx is repeated until its ACK, over every transport.

use bytes::Bytes;
use sip_dialog::{Due, Unacknowledged};
use std::time::{Duration, Instant};

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

struct Lab {
    success: Unacknowledged,
    start: Instant,
}

impl Lab {
    fn new() -> Lab {
        let start = Instant::now();
        let success = Unacknowledged::new(Bytes::from_static(b"200"), 5, ms(500), ms(4_000), start);
        Lab { success, start }
    }

    fn until(&mut self, time: u64) -> Vec<(u64, bool)> {
        let mut seen = Vec::new();
        while let Some(at) = self.success.poll_timeout().filter(|at| *at <= self.start + ms(time)) {
            let gave_up = match self.success.handle_timeout(at) {
                Due::Again(bytes) => {
                    assert_eq!(bytes, "200");
                    false
                }
                Due::GaveUp => true,
                Due::Nothing => panic!("woken for nothing"),
            };
            seen.push(((at - self.start).as_millis() as u64, gave_up));
        }
        seen
    }
}

#[test]
fn it_starts_at_t1_and_doubles_up_to_t2_and_gives_up_after_64_t1() {
    let mut lab = Lab::new();
    let times = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    let mut all: Vec<_> = times.into_iter().map(|at| (at, false)).collect();
    all.push((32_000, true));
    assert_eq!(lab.until(60_000), all);
    assert!(lab.success.is_done());
    assert!(!lab.success.handle_ack(5), "too late");
}

#[test]
fn the_ack_ends_it() {
    let mut lab = Lab::new();
    assert_eq!(lab.until(2_000), [(500, false), (1_500, false)]);
    assert!(lab.success.awaits(5) && !lab.success.awaits(4));
    assert!(lab.success.handle_ack(5));
    assert!(!lab.success.awaits(5));
    assert_eq!(lab.until(60_000), []);
    assert_eq!(lab.success.handle_timeout(lab.start + ms(60_000)), Due::Nothing);
    assert!(!lab.success.handle_ack(5), "a repetition of the ACK");
}

#[test]
fn the_ack_of_another_invite_does_not() {
    let mut lab = Lab::new();
    assert!(!lab.success.handle_ack(4));
    assert_eq!(lab.until(600), [(500, false)]);
    assert_eq!(lab.success.cseq(), 5);
}

#[test]
fn woken_early_it_does_nothing() {
    let mut lab = Lab::new();
    assert_eq!(lab.success.handle_timeout(lab.start + ms(499)), Due::Nothing);
}
