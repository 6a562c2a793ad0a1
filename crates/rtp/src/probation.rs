//! Two packets in sequence before a source is believed (RFC 3550 §A.1 MIN_SEQUENTIAL).

use std::net::SocketAddr;

use crate::header::Header;

/// Sources tried at a time. More than one, so that somebody who sends in between cannot keep a phone out for ever.
const CANDIDATES: usize = 4;

/// Sources that have sent one packet to an endpoint that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probation {
    candidates: [Option<Candidate>; CANDIDATES],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    expected: u16,
}

impl Probation {
    /// A packet with a negotiated payload type came. True when it is the second in sequence of its source and SSRC.
    pub fn packet(&mut self, from: SocketAddr, header: &Header) -> bool {
        let expected = header.sequence.wrapping_add(1);
        for candidate in self.candidates.iter_mut().flatten() {
            if candidate.from == from && candidate.ssrc == header.ssrc {
                let in_sequence = candidate.expected == header.sequence;
                candidate.expected = expected;
                return in_sequence;
            }
        }
        if let Some(slot) = self.candidates.get_mut(self.next) {
            *slot = Some(Candidate { from, ssrc: header.ssrc, expected });
        }
        self.next = (self.next + 1) % CANDIDATES;
        false
    }
}
