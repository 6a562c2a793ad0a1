//! Offers and answers of one session: what each side said, what that makes of its streams, and what the other side
//! is told. Pure, but for where the relay's addresses come from.

use std::time::Duration;

use bytes::Bytes;
use fairlead_model::id::{PodRef, Side};
use fairlead_model::relay::{Described, RelayRefused, SdpOrder, SessionRef, SideMedia};
use rtp::{Remote, Signalled};
use sdp::narrow::{Narrowed, Offered, narrow, offered};
use sdp::{Description, Direction, Rewrite, StreamRewrite};

use crate::ports::{Place, Places};
use crate::session::{Change, OpenSide, OpenStream, SIDES, StreamChange, StreamPorts, at};

mod facts;

use facts::{Facts, facts, family};

/// The most streams of a session.
const MAX_STREAMS: usize = 8;

/// The state of a session between orders.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    /// Which worker has its streams, once one has.
    pub worker: Option<usize>,
    /// It is over; whoever still holds it must look the session up again.
    pub closed: bool,
    /// Where each side is served, from its first description to the end.
    places: [Option<Place>; 2],
    offer: Option<Offer>,
    /// What the last answer agreed; a withdrawn offer goes back to it.
    agreed: Option<Agreed>,
}

/// An offer and what came of it.
#[derive(Debug)]
struct Offer {
    order: SdpOrder,
    offered: Vec<Offered>,
    facts: Vec<Facts>,
    described: Described,
    /// Its last answer, and what the other side was told of it.
    answer: Option<(SdpOrder, Described)>,
    /// What held before its first answer.
    before: Option<Agreed>,
}

#[derive(Clone, Debug)]
struct Agreed {
    streams: Vec<Option<(String, [OpenSide; 2])>>,
    silence: [Option<Duration>; 2],
}

/// An order, read: what to do with the streams, and how to tell the other side.
#[derive(Debug)]
pub(crate) enum Planned {
    /// It has been done before; this was the reply.
    Again(Described),
    /// Make the change, then call [`Negotiation::described`] with the ports.
    Change(Box<Change>, Box<Draft>),
}

/// A description on its way to the other side.
#[derive(Debug)]
pub(crate) struct Draft {
    order: SdpOrder,
    offered: Vec<Offered>,
    facts: Vec<Facts>,
    narrowed: Option<Vec<Narrowed>>,
    beyond: usize,
    /// What will have been agreed, for an answer.
    agreed: Option<Agreed>,
    places: [Place; 2],
}

fn bad(text: impl Into<String>) -> RelayRefused {
    RelayRefused::BadDescription(text.into())
}

impl Negotiation {
    /// Reads an offer.
    pub fn offer(&mut self, order: SdpOrder, places: &Places) -> Result<Planned, RelayRefused> {
        if let Some(known) = self.offer.as_mut().filter(|known| known.order == order) {
            // The same again: a retransmission, or a refresh of the session that is answered anew or refused.
            known.answer = None;
            return Ok(Planned::Again(known.described.clone()));
        }
        let sdp = order.sdp.clone();
        let description = Description::parse(&sdp).map_err(|wrong| bad(wrong.to_string()))?;
        let facts = facts(&description, places)?;
        let from = order.from;
        let family = family(&facts)?;
        let placed = self.place(&order, from, family, places)?;
        let streams = facts.iter().map(|facts| {
            if !facts.used {
                return StreamChange::Keep;
            }
            let mut sides = [from, from.other()].map(|side| {
                let media = media_of(&order, side);
                let signalled = if side == from {
                    // Its port stands in the answer: until then nothing can come from it.
                    Signalled { untold: true, ..facts.signalled(media, &facts.payloads, facts.mux) }
                } else {
                    // Its answer will say more. What it may send until then is what it is offered.
                    Signalled {
                        remote: Remote::Unknown,
                        rtcp: None,
                        mux: false,
                        own: false,
                        ..facts.signalled(media, &facts.payloads, false)
                    }
                };
                open_side(placed[at(side)], media, (side == from).then_some(facts.not).flatten(), signalled)
            });
            if from == Side::B {
                sides.swap(0, 1);
            }
            StreamChange::Open(Box::new(OpenStream { media: String::new(), sides, update: false }))
        });
        let streams = named(streams.collect(), &description);
        let change = Change {
            session: order.session,
            opens: self.worker.is_none(),
            streams,
            told: Some(from.other()),
            silence: None,
        };
        let draft = Draft {
            offered: offered(&description),
            order,
            facts,
            narrowed: None,
            beyond: 0,
            agreed: None,
            places: placed,
        };
        Ok(Planned::Change(Box::new(change), Box::new(draft)))
    }

    /// Reads an answer.
    pub fn answer(&mut self, order: SdpOrder, places: &Places) -> Result<Planned, RelayRefused> {
        let offer = self.offer.as_ref().ok_or_else(|| bad("there is no offer that this could answer"))?;
        if offer.order.from == order.from {
            return Err(bad("the side that answers is the one that offered"));
        }
        if let Some((known, described)) = &offer.answer
            && *known == order
        {
            return Ok(Planned::Again(described.clone()));
        }
        let sdp = order.sdp.clone();
        let description = Description::parse(&sdp).map_err(|wrong| bad(wrong.to_string()))?;
        let (narrowed, beyond) =
            narrow(&offer.offered, &description).map_err(|wrong| bad(wrong.to_string()))?;
        let mut facts = facts(&description, places)?;
        facts.truncate(offer.facts.len());
        let (from, family) = (order.from, family(&facts)?);
        let offers = offer.facts.clone();
        let offered = offer.offered.clone();
        let placed = self.place(&order, from, None, places)?;
        if family.is_some_and(|ipv6| ipv6 != placed[at(from)].advertise.is_ipv6()) {
            return Err(bad("the answer's addresses are of another family than the one it was offered"));
        }
        let mut streams = Vec::with_capacity(offers.len());
        let mut agreed = Vec::with_capacity(offers.len());
        for (index, offer) in offers.iter().enumerate() {
            let answer = facts.get(index).filter(|answer| answer.used);
            let used = narrowed.get(index).is_some_and(|narrowed| narrowed.used);
            let Some(answer) = answer.filter(|_| used && offer.used) else {
                streams.push(StreamChange::Close);
                agreed.push(None);
                continue;
            };
            // Either side's numbers may be used by the other (RFC 3264 §5.1: symmetric in practice, not by law).
            let payloads: Vec<(u8, u32)> = offer.payloads.iter().chain(&answer.payloads).copied().collect();
            let mut sides = [from, from.other()].map(|side| {
                let media = media_of(&order, side);
                let (facts, mux) =
                    if side == from { (answer, answer.mux && offer.mux) } else { (offer, offer.mux) };
                open_side(placed[at(side)], media, facts.not, facts.signalled(media, &payloads, mux))
            });
            if from == Side::B {
                sides.swap(0, 1);
            }
            agreed.push(Some((
                offered.get(index).map_or_else(String::new, |offered| offered.media.clone()),
                sides.clone(),
            )));
            streams.push(StreamChange::Open(Box::new(OpenStream {
                media: String::new(),
                sides,
                update: true,
            })));
        }
        let streams = named(streams, &description);
        let silence = silence(&order, &offers, &facts, &narrowed, &offered);
        let change = Change {
            session: order.session,
            opens: false,
            streams,
            told: Some(from.other()),
            silence: Some(silence),
        };
        let draft = Draft {
            order,
            offered,
            facts,
            narrowed: Some(narrowed),
            beyond,
            agreed: Some(Agreed { streams: agreed, silence }),
            places: placed,
        };
        Ok(Planned::Change(Box::new(change), Box::new(draft)))
    }

    /// Goes back to what held before the last offer; `None` when that is what holds. Make the change, then call
    /// [`Self::withdrawn`].
    pub fn withdraw(&self, session: SessionRef) -> Option<Change> {
        let offer = self.offer.as_ref()?;
        let before = self.before(offer);
        let count = offer.facts.len().max(before.map_or(0, |before| before.streams.len()));
        let mut streams: Vec<StreamChange> = (0..count).map(|_| StreamChange::Close).collect();
        let mut silence = [None; 2];
        if let Some(before) = before {
            silence = before.silence;
            for (change, agreed) in streams.iter_mut().zip(&before.streams) {
                if let Some((media, sides)) = agreed {
                    let (media, sides) = (media.clone(), sides.clone());
                    *change = StreamChange::Open(Box::new(OpenStream { media, sides, update: true }));
                }
            }
        }
        Some(Change { session, opens: false, streams, told: None, silence: Some(silence) })
    }

    /// The streams are as they were before the last offer.
    pub fn withdrawn(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.agreed = self.before(&offer).cloned();
        }
    }

    /// What held before an offer.
    fn before<'a>(&'a self, offer: &'a Offer) -> Option<&'a Agreed> {
        match offer.answer {
            // Agreed by an early answer and refused all the same (RFC 3261 §14.1).
            Some(_) => offer.before.as_ref(),
            None => self.agreed.as_ref(),
        }
    }

    /// The streams have been changed: writes the description for the other side and remembers it all.
    pub fn described(
        &mut self,
        pod: PodRef,
        draft: Draft,
        ports: &[StreamPorts],
    ) -> Result<Described, RelayRefused> {
        let description = Description::parse(&draft.order.sdp).map_err(|wrong| bad(wrong.to_string()))?;
        let told = draft.order.from.other();
        let address = draft.places[at(told)].advertise;
        let mut claimed = u32::try_from(draft.beyond).unwrap_or(u32::MAX);
        let count = draft.narrowed.as_ref().map_or(draft.facts.len(), Vec::len);
        let streams: Vec<StreamRewrite> = (0..count)
            .map(|index| {
                let narrowed = draft.narrowed.as_ref().and_then(|all| all.get(index));
                claimed += u32::from(narrowed.is_some_and(|narrowed| narrowed.changed));
                let used = draft.facts.get(index).is_some_and(|facts| facts.used)
                    && narrowed.is_none_or(|narrowed| narrowed.used);
                let Some(port) =
                    ports.get(index).copied().flatten().map(|ports| ports[at(told)]).filter(|_| used)
                else {
                    return StreamRewrite::Refused;
                };
                // RFC 5761 §5.1.1: an answer has it only when its offer had it, an offer has it when it may.
                let mux = match &draft.narrowed {
                    Some(_) => draft.offered.get(index).is_some_and(|offered| offered.rtcp_mux),
                    None => draft.facts.get(index).is_some_and(|facts| facts.mux),
                };
                let direction =
                    narrowed.filter(|narrowed| narrowed.changed).map(|narrowed| narrowed.direction);
                let rtcp = match (&draft.narrowed, mux) {
                    (Some(_), true) => port,
                    _ => port + 1,
                };
                StreamRewrite::Relayed { port, rtcp, mux, direction }
            })
            .collect();
        let answered: &[Offered] = if draft.narrowed.is_some() { &draft.offered } else { &[] };
        let written = Rewrite { address, streams: &streams, offered: answered }.write(&description);
        let described = Described {
            relay: pod,
            sdp: Bytes::from(written),
            narrowed: claimed,
            hold: description.is_hold(),
            formats: description.formats(),
        };
        self.places = draft.places.map(Some);
        match (draft.agreed, &mut self.offer) {
            (Some(agreed), Some(offer)) => {
                if offer.answer.is_none() {
                    offer.before = self.agreed.take();
                }
                self.agreed = Some(agreed);
                offer.answer = Some((draft.order, described.clone()));
            }
            _ => {
                self.offer = Some(Offer {
                    order: draft.order,
                    offered: draft.offered,
                    facts: draft.facts,
                    described: described.clone(),
                    answer: None,
                    before: None,
                });
            }
        }
        Ok(described)
    }

    /// Where both sides are served. A side keeps its place for the whole session; the first time, the family of who
    /// speaks is that of its own description, that of the other what signalling knows.
    fn place(
        &self,
        order: &SdpOrder,
        from: Side,
        family: Option<bool>,
        places: &Places,
    ) -> Result<[Place; 2], RelayRefused> {
        let mut found = [None; 2];
        for side in SIDES {
            let media = media_of(order, side);
            let ipv6 = family.filter(|_| side == from).unwrap_or(media.ipv6);
            let place =
                self.places[at(side)].or_else(|| places.place(&media.network, ipv6, media.signalling));
            if place.is_none() {
                tracing::warn!(network = %media.network, ipv6, "the relay has no address there");
            }
            found[at(side)] = place;
        }
        match found {
            [Some(a), Some(b)] => Ok([a, b]),
            _ => Err(RelayRefused::NoPort),
        }
    }
}

fn media_of(order: &SdpOrder, side: Side) -> &SideMedia {
    match side {
        Side::A => &order.a,
        Side::B => &order.b,
    }
}

fn open_side(place: Place, media: &SideMedia, not: Option<u16>, signalled: Signalled) -> OpenSide {
    OpenSide {
        bind: place.bind,
        advertise: place.advertise,
        near: media.signalling.to_canonical(),
        not,
        signalled,
    }
}

/// Gives the streams the names of their m= lines.
fn named(mut streams: Vec<StreamChange>, description: &Description<'_>) -> Vec<StreamChange> {
    for (change, stream) in streams.iter_mut().zip(description.streams()) {
        if let StreamChange::Open(open) = change {
            open.media = stream.media.to_ascii_lowercase();
        }
    }
    streams
}

/// How long each side may be silent. Where no audio stream flows both ways the call is on hold, for both sides: the one
/// that holds says sendonly as often as inactive (RFC 3264 §8.4), and most phones play no music while they do.
fn silence(
    order: &SdpOrder,
    offer: &[Facts],
    answer: &[Facts],
    narrowed: &[Narrowed],
    offered: &[Offered],
) -> [Option<Duration>; 2] {
    let mut talks = false;
    for (((offer, answer), narrowed), offered) in offer.iter().zip(answer).zip(narrowed).zip(offered) {
        let used = offer.used && answer.used && narrowed.used;
        if !used || !offered.media.eq_ignore_ascii_case("audio") {
            continue;
        }
        let takes =
            |facts: &Facts, direction: Direction| direction.receives() && facts.remote != Remote::Zero;
        let there = offer.direction.sends() && takes(answer, narrowed.direction);
        let back = narrowed.direction.sends() && takes(offer, offer.direction);
        talks |= there && back;
    }
    SIDES.map(|side| {
        let media = media_of(order, side);
        let seconds = if talks { media.rtp_timeout } else { media.rtp_hold_timeout };
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    })
}
