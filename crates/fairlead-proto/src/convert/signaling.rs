//! Channels and bridges.

use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::id::UnixMillis;

use super::{Unreadable, known, needed, pod};
use crate::common::v1 as common;
use crate::signaling::v1 as pb;

impl From<Channel> for pb::Channel {
    fn from(m: Channel) -> Self {
        pb::Channel {
            pod: m.pod.0,
            call: Some(m.call.into()),
            side: common::Side::from(m.side).into(),
            session: m.session.map(Into::into),
            relay: m.relay.map(|relay| relay.0),
            peer_address: m.peer_address,
            received_address: m.received_address,
            theoretical_address: m.theoretical_address,
            user: m.user,
            peer: m.peer,
            call_id: m.call_id,
            local_tag: m.local_tag,
            remote_tag: m.remote_tag,
            formats: m.formats,
            hold: m.hold,
            ending: m.ending,
            last_message: m.last_message,
            outgoing: m.outgoing,
            state: m.state,
            user_agent: m.user_agent,
            transport: m.transport,
            force_rport: m.force_rport,
            route: m.route,
            caller_id: m.caller_id,
            uri: m.uri,
            options: m.options,
            since: m.since.0,
            answered: m.answered.map(|at| at.0),
        }
    }
}

impl TryFrom<pb::Channel> for Channel {
    type Error = Unreadable;

    fn try_from(p: pb::Channel) -> Result<Self, Unreadable> {
        Ok(Channel {
            pod: pod(p.pod)?,
            call: needed(p.call, "call")?.try_into()?,
            side: known::<common::Side>(p.side, "side")?.try_into()?,
            session: p.session.map(TryInto::try_into).transpose()?,
            relay: p.relay.map(pod).transpose()?,
            peer_address: p.peer_address,
            received_address: p.received_address,
            theoretical_address: p.theoretical_address,
            user: p.user,
            peer: p.peer,
            call_id: p.call_id,
            local_tag: p.local_tag,
            remote_tag: p.remote_tag,
            formats: p.formats,
            hold: p.hold,
            ending: p.ending,
            last_message: p.last_message,
            outgoing: p.outgoing,
            state: p.state,
            user_agent: p.user_agent,
            transport: p.transport,
            force_rport: p.force_rport,
            route: p.route,
            caller_id: p.caller_id,
            uri: p.uri,
            options: p.options,
            since: UnixMillis(p.since),
            answered: p.answered.map(UnixMillis),
        })
    }
}

impl From<Bridge> for pb::Bridge {
    fn from(m: Bridge) -> Self {
        pb::Bridge {
            pod: m.pod.0,
            call: Some(m.call.into()),
            peer_a: m.peer_a,
            call_id_a: m.call_id_a,
            peer_b: m.peer_b,
            call_id_b: m.call_id_b,
            format: m.format,
            answered: m.answered.0,
        }
    }
}

impl TryFrom<pb::Bridge> for Bridge {
    type Error = Unreadable;

    fn try_from(p: pb::Bridge) -> Result<Self, Unreadable> {
        Ok(Bridge {
            pod: pod(p.pod)?,
            call: needed(p.call, "call")?.try_into()?,
            peer_a: p.peer_a,
            call_id_a: p.call_id_a,
            peer_b: p.peer_b,
            call_id_b: p.call_id_b,
            format: p.format,
            answered: UnixMillis(p.answered),
        })
    }
}
