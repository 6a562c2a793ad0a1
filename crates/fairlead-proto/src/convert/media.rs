//! Orders to a relay and its replies.

use fairlead_model::relay::{Described, RelayEvent, RelayRefused, SdpOrder, SideMedia};

use super::{Unreadable, known, needed, pod};
use crate::common::v1 as common;
use crate::media::v1 as pb;

impl From<SdpOrder> for pb::SdpOrder {
    fn from(m: SdpOrder) -> Self {
        pb::SdpOrder {
            session: Some(m.session.into()),
            from: common::Side::from(m.from).into(),
            sdp: m.sdp,
            a: Some(m.a.into()),
            b: Some(m.b.into()),
        }
    }
}

impl TryFrom<pb::SdpOrder> for SdpOrder {
    type Error = Unreadable;

    fn try_from(p: pb::SdpOrder) -> Result<Self, Unreadable> {
        Ok(SdpOrder {
            session: needed(p.session, "session")?.try_into()?,
            from: known::<common::Side>(p.from, "from")?.try_into()?,
            sdp: p.sdp,
            a: needed(p.a, "a")?.try_into()?,
            b: needed(p.b, "b")?.try_into()?,
        })
    }
}

impl From<SideMedia> for pb::SideMedia {
    fn from(m: SideMedia) -> Self {
        pb::SideMedia {
            network: m.network,
            signalling: Some(m.signalling.into()),
            comedia: m.comedia,
            source: common::RtpSource::from(m.source).into(),
            rtp_timeout: m.rtp_timeout,
            rtp_hold_timeout: m.rtp_hold_timeout,
            ipv6: m.ipv6,
        }
    }
}

impl TryFrom<pb::SideMedia> for SideMedia {
    type Error = Unreadable;

    fn try_from(p: pb::SideMedia) -> Result<Self, Unreadable> {
        Ok(SideMedia {
            network: p.network,
            signalling: needed(p.signalling, "signalling")?.try_into()?,
            comedia: p.comedia,
            source: known::<common::RtpSource>(p.source, "source")?.try_into()?,
            rtp_timeout: p.rtp_timeout,
            rtp_hold_timeout: p.rtp_hold_timeout,
            ipv6: p.ipv6,
        })
    }
}

impl From<Described> for pb::Described {
    fn from(m: Described) -> Self {
        pb::Described { relay: m.relay.0, sdp: m.sdp, narrowed: m.narrowed, hold: m.hold, formats: m.formats }
    }
}

impl TryFrom<pb::Described> for Described {
    type Error = Unreadable;

    fn try_from(p: pb::Described) -> Result<Self, Unreadable> {
        Ok(Described {
            relay: pod(p.relay)?,
            sdp: p.sdp,
            narrowed: p.narrowed,
            hold: p.hold,
            formats: p.formats,
        })
    }
}

impl From<RelayEvent> for pb::WatchResponse {
    fn from(m: RelayEvent) -> Self {
        use pb::watch_response::Event;
        let event = match m {
            RelayEvent::TimedOut { session, side, statistics } => Event::TimedOut(pb::TimedOut {
                session: Some(session.into()),
                side: common::Side::from(side).into(),
                statistics: Some((*statistics).into()),
            }),
            RelayEvent::Abandoned { session } => {
                Event::Abandoned(pb::Abandoned { session: Some(session.into()) })
            }
        };
        pb::WatchResponse { event: Some(event) }
    }
}

impl TryFrom<pb::WatchResponse> for RelayEvent {
    type Error = Unreadable;

    fn try_from(p: pb::WatchResponse) -> Result<Self, Unreadable> {
        use pb::watch_response::Event;
        Ok(match needed(p.event, "event")? {
            Event::TimedOut(timed_out) => RelayEvent::TimedOut {
                session: needed(timed_out.session, "session")?.try_into()?,
                side: known::<common::Side>(timed_out.side, "side")?.try_into()?,
                statistics: Box::new(needed(timed_out.statistics, "statistics")?.try_into()?),
            },
            Event::Abandoned(abandoned) => {
                RelayEvent::Abandoned { session: needed(abandoned.session, "session")?.try_into()? }
            }
        })
    }
}

impl From<RelayRefused> for pb::Refused {
    fn from(m: RelayRefused) -> Self {
        let (reason, text) = match m {
            RelayRefused::NoPort => (pb::RefusedReason::NoPort, String::new()),
            RelayRefused::BadDescription(text) => (pb::RefusedReason::BadDescription, text),
            RelayRefused::UnknownSession => (pb::RefusedReason::UnknownSession, String::new()),
            // A relay that can say that it cannot be reached is one that takes nothing.
            RelayRefused::Busy | RelayRefused::Unreachable => (pb::RefusedReason::Busy, String::new()),
        };
        pb::Refused { reason: reason.into(), text }
    }
}

impl From<pb::Refused> for RelayRefused {
    fn from(p: pb::Refused) -> Self {
        match p.reason() {
            pb::RefusedReason::NoPort => RelayRefused::NoPort,
            pb::RefusedReason::BadDescription => RelayRefused::BadDescription(p.text),
            pb::RefusedReason::UnknownSession => RelayRefused::UnknownSession,
            // A reason of a newer release: this relay did not do it, another may.
            pb::RefusedReason::Busy | pb::RefusedReason::Unspecified => RelayRefused::Busy,
        }
    }
}
