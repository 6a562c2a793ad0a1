//! Offer and answer on one leg, apart from the messages that carried them (RFC 3264, RFC 6337).
//!
//! A leg does not care whether an offer came in an INVITE, a 200 or a re-INVITE: it only knows whose turn it is.
//! The description that goes out is the relay's; the session id and version of its `o=` line are stamped here,
//! once per dialog, and the version moves only when the body does (RFC 3264 §8).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Nothing is open: either side may offer.
    #[default]
    Nobody,
    /// They offered and we owe the answer.
    Ours,
    /// We offered and they owe the answer.
    Theirs,
}

/// What a description that came in turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A new offer; we owe an answer.
    Offer,
    /// The answer to our offer.
    Answer,
}

/// A description came when none may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// An offer came while one of theirs is open: 500 (RFC 6337 §3.2, RFC 3261 §14.2).
    #[error("an offer is open already")]
    OfferPending,
    /// An offer came while one of ours is open: 491 (RFC 3261 §14.2).
    #[error("our own offer is open")]
    Glare,
    /// There is no offer that this could answer.
    #[error("nothing was offered")]
    NothingOffered,
}

/// The offer/answer machine of one leg (of one early dialog, before the answer).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Negotiation {
    turn: Turn,
    /// Offers that were answered.
    rounds: u32,
    session_id: u64,
    version: u64,
    /// The last description that went out, as the relay wrote it.
    #[serde(with = "text")]
    sent: Option<Bytes>,
    /// The last description that came in.
    #[serde(with = "text")]
    received: Option<Bytes>,
}

impl Negotiation {
    /// A leg on which nothing was offered yet. `session_id` is the second field of its `o=` lines.
    pub fn new(session_id: u64) -> Self {
        Negotiation { session_id, ..Negotiation::default() }
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether an offer was answered at least once.
    pub fn is_agreed(&self) -> bool {
        self.rounds > 0
    }

    /// The last description that went out, before stamping.
    pub fn sent(&self) -> Option<&Bytes> {
        self.sent.as_ref()
    }

    /// The last description that came in.
    pub fn received(&self) -> Option<&Bytes> {
        self.received.as_ref()
    }

    /// A description came from the other side.
    pub fn receive(&mut self, sdp: &Bytes) -> Result<Received, NotNow> {
        match self.turn {
            Turn::Nobody => {
                self.turn = Turn::Ours;
                self.received = Some(sdp.clone());
                Ok(Received::Offer)
            }
            Turn::Theirs => {
                self.turn = Turn::Nobody;
                self.rounds = self.rounds.saturating_add(1);
                self.received = Some(sdp.clone());
                Ok(Received::Answer)
            }
            Turn::Ours => Err(NotNow::OfferPending),
        }
    }

    /// An offer came from the other side; unlike [`receive`](Self::receive) it can only be an offer.
    pub fn receive_offer(&mut self, sdp: &Bytes) -> Result<(), NotNow> {
        match self.turn {
            Turn::Nobody => self.receive(sdp).map(|_| ()),
            Turn::Theirs => Err(NotNow::Glare),
            Turn::Ours => Err(NotNow::OfferPending),
        }
    }

    /// An answer came from the other side.
    pub fn receive_answer(&mut self, sdp: &Bytes) -> Result<(), NotNow> {
        match self.turn {
            Turn::Theirs => self.receive(sdp).map(|_| ()),
            _ => Err(NotNow::NothingOffered),
        }
    }

    /// We offer. Returns what goes into the message.
    pub fn send_offer(&mut self, described: &Bytes) -> Result<Bytes, NotNow> {
        match self.turn {
            Turn::Nobody => {
                self.turn = Turn::Theirs;
                Ok(self.stamp(described))
            }
            Turn::Theirs => Err(NotNow::OfferPending),
            Turn::Ours => Err(NotNow::Glare),
        }
    }

    /// We answer their offer. Returns what goes into the message.
    pub fn send_answer(&mut self, described: &Bytes) -> Result<Bytes, NotNow> {
        match self.turn {
            Turn::Ours => {
                self.turn = Turn::Nobody;
                self.rounds = self.rounds.saturating_add(1);
                Ok(self.stamp(described))
            }
            _ => Err(NotNow::NothingOffered),
        }
    }

    /// The open offer, whosever it is, was refused: what was agreed before holds (RFC 3261 §14.1, RFC 3264 §8).
    pub fn withdraw(&mut self) {
        self.turn = Turn::Nobody;
    }

    fn stamp(&mut self, described: &Bytes) -> Bytes {
        if self.sent.as_ref() != Some(described) {
            self.version = self.version.saturating_add(1);
            self.sent = Some(described.clone());
        }
        sdp::stamp_origin(described, self.session_id, self.version).into()
    }
}

/// Descriptions in a checkpoint: text where they are text, else each octet as one character (Latin-1), with a mark.
pub(crate) mod text {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Stored {
        Utf8(String),
        Octets(String),
    }

    pub(crate) fn serialize<S: Serializer>(value: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .map(|bytes| match std::str::from_utf8(bytes) {
                Ok(text) => Stored::Utf8(text.to_owned()),
                Err(_) => Stored::Octets(bytes.iter().map(|b| char::from(*b)).collect()),
            })
            .serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Stored>::deserialize(from)?.map(|stored| match stored {
            Stored::Utf8(text) => Bytes::from(text),
            Stored::Octets(text) => {
                text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(port: u16) -> Bytes {
        Bytes::from(format!(
            "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        ))
    }

    #[test]
    fn the_origin_carries_our_id_and_the_first_version() {
        let mut leg = Negotiation::new(77);
        let out = leg.send_offer(&sdp(10000)).unwrap();
        assert!(out.starts_with(b"v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\n"));
        assert!(out.ends_with(b"m=audio 10000 RTP/AVP 0\r\n"));
    }

    #[test]
    fn rfc3264_8_the_version_moves_only_when_the_body_does() {
        let mut leg = Negotiation::new(7);
        let first = leg.send_offer(&sdp(10000)).unwrap();
        leg.receive_answer(&sdp(1)).unwrap();
        assert_eq!(leg.send_offer(&sdp(10000)).unwrap(), first);
        leg.receive_answer(&sdp(1)).unwrap();
        let changed = leg.send_offer(&sdp(10002)).unwrap();
        assert!(changed.windows(7).any(|w| w == b"o=- 7 2"));
    }

    #[test]
    fn an_offer_that_meets_ours_is_glare() {
        let mut leg = Negotiation::new(1);
        leg.send_offer(&sdp(1)).unwrap();
        assert_eq!(leg.receive_offer(&sdp(2)), Err(NotNow::Glare));
        assert_eq!(leg.receive(&sdp(2)), Ok(Received::Answer));
        assert!(leg.is_agreed());
    }

    #[test]
    fn a_second_offer_before_our_answer_is_refused() {
        let mut leg = Negotiation::new(1);
        leg.receive_offer(&sdp(2)).unwrap();
        assert_eq!(leg.receive_offer(&sdp(2)), Err(NotNow::OfferPending));
        assert_eq!(leg.send_offer(&sdp(3)), Err(NotNow::Glare));
        leg.send_answer(&sdp(3)).unwrap();
        assert_eq!(leg.turn(), Turn::Nobody);
    }

    #[test]
    fn an_answer_without_an_offer_is_refused() {
        let mut leg = Negotiation::new(1);
        assert_eq!(leg.receive_answer(&sdp(2)), Err(NotNow::NothingOffered));
        assert_eq!(leg.send_answer(&sdp(2)), Err(NotNow::NothingOffered));
    }

    #[test]
    fn a_refused_offer_leaves_what_was_agreed() {
        let mut leg = Negotiation::new(1);
        leg.receive_offer(&sdp(2)).unwrap();
        leg.send_answer(&sdp(3)).unwrap();
        leg.send_offer(&sdp(5)).unwrap();
        leg.withdraw();
        assert!(leg.is_agreed());
        assert_eq!(leg.receive_offer(&sdp(9)), Ok(()));
    }

    #[test]
    fn a_body_without_an_origin_line_is_left_alone() {
        let odd = Bytes::from_static(b"v=0\r\nm=audio 1 RTP/AVP 0\r\n");
        assert_eq!(Negotiation::new(1).send_offer(&odd).unwrap(), odd);
    }
}
