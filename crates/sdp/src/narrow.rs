//! Holding an answer to its offer (RFC 3264 §6, §6.1).

use crate::{Description, Direction, Stream};

/// What an offer said about one stream, kept until its answers come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// `audio`, `video`, …
    pub media: String,
    /// The `m=` line's transport.
    pub protocol: String,
    /// The `m=` line's formats.
    pub formats: String,
    /// Its direction.
    pub direction: Direction,
    /// It was there with a port.
    pub used: bool,
    /// It was offered with rtcp-mux.
    pub rtcp_mux: bool,
}

impl From<&Stream<'_>> for Offered {
    fn from(stream: &Stream<'_>) -> Self {
        Offered {
            media: stream.media.to_owned(),
            protocol: stream.protocol.to_owned(),
            formats: stream.formats.to_owned(),
            direction: stream.direction(),
            used: !stream.is_refused(),
            rtcp_mux: stream.rtcp_mux(),
        }
    }
}

/// The streams of an offer.
pub fn offered(offer: &Description<'_>) -> Vec<Offered> {
    offer.streams().iter().map(Offered::from).collect()
}

/// What an answer may say about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrowed {
    /// The stream is in use.
    pub used: bool,
    /// Its direction, at most what the offer allows: who offered `recvonly` is answered `sendonly` or `inactive`.
    pub direction: Direction,
    /// The answer claimed more and this is less.
    pub changed: bool,
}

/// Why an answer does not belong to its offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// A stream of the answer is of another kind than the one in its place in the offer (RFC 3264 §6).
    #[error("stream {0} of the answer is of another kind than the one offered")]
    OtherMedia(usize),
}

/// Holds an answer to its offer, one entry for each stream of the offer. Streams that the answer has beyond the offer
/// are not in the result; their number is returned beside it. Streams that it lacks are refused.
pub fn narrow(offer: &[Offered], answer: &Description<'_>) -> Result<(Vec<Narrowed>, usize), NoAnswer> {
    let mut narrowed = Vec::with_capacity(offer.len());
    for (index, offered) in offer.iter().enumerate() {
        let Some(stream) = answer.streams().get(index) else {
            narrowed.push(Narrowed { used: false, direction: Direction::Inactive, changed: false });
            continue;
        };
        if !stream.media.eq_ignore_ascii_case(&offered.media) {
            return Err(NoAnswer::OtherMedia(index));
        }
        let claimed = stream.direction();
        let direction = claimed.and(offered.direction.reversed());
        let used = !stream.is_refused();
        narrowed.push(Narrowed {
            used: used && offered.used,
            direction,
            changed: used && (!offered.used || direction != claimed),
        });
    }
    Ok((narrowed, answer.streams().len().saturating_sub(offer.len())))
}
