//! Which payload types were negotiated, and how fast their clocks run.

use smallvec::SmallVec;

/// The payload types of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payloads {
    known: u128,
    rates: SmallVec<[(u8, u32); 6]>,
}

impl Payloads {
    /// Adds a payload type. Its clock rate is in Hz; 0 when its time stamps say nothing about when it was sent (keys
    /// pressed, RFC 4733) or are not known.
    pub fn add(&mut self, payload: u8, rate: u32) {
        if payload > 127 || self.accepts(payload) {
            return;
        }
        self.known |= 1 << payload;
        if rate > 0 {
            self.rates.push((payload, rate));
        }
    }

    /// It was negotiated.
    pub fn accepts(&self, payload: u8) -> bool {
        payload < 128 && self.known & (1 << payload) != 0
    }

    /// Its clock rate in Hz, when its time stamps can be used.
    pub fn rate(&self, payload: u8) -> Option<u32> {
        self.rates.iter().find(|(known, _)| *known == payload).map(|&(_, rate)| rate)
    }

    /// None was negotiated.
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }
}

impl FromIterator<(u8, u32)> for Payloads {
    fn from_iter<I: IntoIterator<Item = (u8, u32)>>(pairs: I) -> Self {
        let mut payloads = Payloads::default();
        for (payload, rate) in pairs {
            payloads.add(payload, rate);
        }
        payloads
    }
}
