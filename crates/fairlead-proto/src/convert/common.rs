//! Addresses, flows, calls, members, qualify, statistics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::{BindingKey, Qualify, QualifyState};
use fairlead_model::flow::{Flow, Hop, Transport};
use fairlead_model::id::{AttemptRef, CallRef, ConnectionRef, ShardRef, Side, UnixMillis};
use fairlead_model::member::{Member, Role};
use fairlead_model::peer::{EffectiveNat, RtpSource};
use fairlead_model::relay::{SessionRef, SessionStatistics, StreamStatistics};
use ipnet::IpNet;

use super::{Unreadable, each, known, needed, pod, same_enum, small};
use crate::common::v1 as pb;

same_enum!(pb::Transport, Transport, "transport", { Udp = Udp, Tcp = Tcp, Tls = Tls, Ws = Ws, Wss = Wss });
same_enum!(pb::Side, Side, "side", { A = A, B = B });
same_enum!(pb::Role, Role, "role", { Signaling = Signaling, Media = Media, Registrar = Registrar, Admin = Admin, Operator = Operator });
same_enum!(pb::RtpSource, RtpSource, "rtp_source", {
    Signalled = Signalled, Signalling = Signalling, Any = Any,
});
same_enum!(pb::QualifyState, QualifyState, "state", {
    Unspecified = Unknown, Ok = Ok, Lagged = Lagged, Unreachable = Unreachable,
});

fn halves(ip: Ipv6Addr, scope: u32) -> pb::Ip6 {
    let bits = u128::from(ip);
    pb::Ip6 { high: (bits >> 64) as u64, low: bits as u64, scope }
}

fn whole(ip: pb::Ip6) -> Ipv6Addr {
    Ipv6Addr::from((u128::from(ip.high) << 64) | u128::from(ip.low))
}

impl From<SocketAddr> for pb::Address {
    fn from(m: SocketAddr) -> Self {
        let ip = match m {
            SocketAddr::V4(v4) => pb::address::Ip::V4((*v4.ip()).into()),
            SocketAddr::V6(v6) => pb::address::Ip::V6(halves(*v6.ip(), v6.scope_id())),
        };
        pb::Address { ip: Some(ip), port: m.port().into() }
    }
}

impl TryFrom<pb::Address> for SocketAddr {
    type Error = Unreadable;

    fn try_from(p: pb::Address) -> Result<Self, Unreadable> {
        let port = small(p.port, "port")?;
        Ok(match needed(p.ip, "ip")? {
            pb::address::Ip::V4(v4) => (Ipv4Addr::from(v4), port).into(),
            pb::address::Ip::V6(v6) => SocketAddrV6::new(whole(v6), port, 0, v6.scope).into(),
        })
    }
}

impl From<IpAddr> for pb::Ip {
    fn from(m: IpAddr) -> Self {
        let ip = match m {
            IpAddr::V4(v4) => pb::ip::Ip::V4(v4.into()),
            IpAddr::V6(v6) => pb::ip::Ip::V6(halves(v6, 0)),
        };
        pb::Ip { ip: Some(ip) }
    }
}

impl TryFrom<pb::Ip> for IpAddr {
    type Error = Unreadable;

    fn try_from(p: pb::Ip) -> Result<Self, Unreadable> {
        Ok(match needed(p.ip, "ip")? {
            pb::ip::Ip::V4(v4) => Ipv4Addr::from(v4).into(),
            pb::ip::Ip::V6(v6) => whole(v6).into(),
        })
    }
}

impl From<IpNet> for pb::Prefix {
    fn from(m: IpNet) -> Self {
        pb::Prefix { first: Some(m.addr().into()), length: m.prefix_len().into() }
    }
}

impl TryFrom<pb::Prefix> for IpNet {
    type Error = Unreadable;

    fn try_from(p: pb::Prefix) -> Result<Self, Unreadable> {
        let first: IpAddr = needed(p.first, "first")?.try_into()?;
        IpNet::new(first, small(p.length, "length")?).map_err(|_| Unreadable("length"))
    }
}

impl From<Flow> for pb::Flow {
    fn from(m: Flow) -> Self {
        pb::Flow {
            pod: m.pod.0,
            transport: pb::Transport::from(m.transport).into(),
            local: Some(m.local.into()),
            remote: Some(m.remote.into()),
            connection: m.connection.map(|connection| connection.0),
        }
    }
}

impl TryFrom<pb::Flow> for Flow {
    type Error = Unreadable;

    fn try_from(p: pb::Flow) -> Result<Self, Unreadable> {
        Ok(Flow {
            pod: pod(p.pod)?,
            transport: known::<pb::Transport>(p.transport, "transport")?.try_into()?,
            local: needed(p.local, "local")?.try_into()?,
            remote: needed(p.remote, "remote")?.try_into()?,
            connection: p.connection.map(ConnectionRef),
        })
    }
}

impl From<Hop> for pb::Hop {
    fn from(m: Hop) -> Self {
        let hop = match m {
            Hop::Flow(flow) => pb::hop::Hop::Flow(flow.into()),
            Hop::Address { transport, host, port } => pb::hop::Hop::Address(pb::HopAddress {
                transport: pb::Transport::from(transport).into(),
                host,
                port: port.map(Into::into),
            }),
        };
        pb::Hop { hop: Some(hop) }
    }
}

impl TryFrom<pb::Hop> for Hop {
    type Error = Unreadable;

    fn try_from(p: pb::Hop) -> Result<Self, Unreadable> {
        Ok(match needed(p.hop, "hop")? {
            pb::hop::Hop::Flow(flow) => Hop::Flow(flow.try_into()?),
            pb::hop::Hop::Address(address) => Hop::Address {
                transport: known::<pb::Transport>(address.transport, "transport")?.try_into()?,
                host: address.host,
                port: address.port.map(|port| small(port, "port")).transpose()?,
            },
        })
    }
}

impl From<CallRef> for pb::CallRef {
    fn from(m: CallRef) -> Self {
        pb::CallRef { pod: m.pod.0, shard: m.shard.0.into(), number: m.number }
    }
}

impl TryFrom<pb::CallRef> for CallRef {
    type Error = Unreadable;

    fn try_from(p: pb::CallRef) -> Result<Self, Unreadable> {
        Ok(CallRef { pod: pod(p.pod)?, shard: ShardRef(small(p.shard, "shard")?), number: p.number })
    }
}

impl From<SessionRef> for pb::SessionRef {
    fn from(m: SessionRef) -> Self {
        pb::SessionRef { call: Some(m.call.into()), attempt: m.attempt.0.into() }
    }
}

impl TryFrom<pb::SessionRef> for SessionRef {
    type Error = Unreadable;

    fn try_from(p: pb::SessionRef) -> Result<Self, Unreadable> {
        Ok(SessionRef {
            call: needed(p.call, "call")?.try_into()?,
            attempt: AttemptRef(small(p.attempt, "attempt")?),
        })
    }
}

impl From<EffectiveNat> for pb::EffectiveNat {
    fn from(m: EffectiveNat) -> Self {
        pb::EffectiveNat { force_rport: m.force_rport, comedia: m.comedia }
    }
}

impl From<pb::EffectiveNat> for EffectiveNat {
    fn from(p: pb::EffectiveNat) -> Self {
        EffectiveNat { force_rport: p.force_rport, comedia: p.comedia }
    }
}

impl From<Qualify> for pb::Qualify {
    fn from(m: Qualify) -> Self {
        pb::Qualify { state: pb::QualifyState::from(m.state).into(), rtt_ms: m.rtt_ms, at: m.at.0 }
    }
}

impl TryFrom<pb::Qualify> for Qualify {
    type Error = Unreadable;

    fn try_from(p: pb::Qualify) -> Result<Self, Unreadable> {
        Ok(Qualify {
            state: known::<pb::QualifyState>(p.state, "state")?.try_into()?,
            rtt_ms: p.rtt_ms,
            at: UnixMillis(p.at),
        })
    }
}

impl From<QualifyTarget> for pb::QualifyTarget {
    fn from(m: QualifyTarget) -> Self {
        pb::QualifyTarget {
            peer: m.peer,
            key: m.key.map(|key| key.0),
            uri: m.uri,
            route: m.route,
            hop: Some(m.hop.into()),
            limit_ms: m.limit_ms,
            every: m.every,
            last: Some(m.last.into()),
        }
    }
}

impl TryFrom<pb::QualifyTarget> for QualifyTarget {
    type Error = Unreadable;

    fn try_from(p: pb::QualifyTarget) -> Result<Self, Unreadable> {
        Ok(QualifyTarget {
            peer: p.peer,
            key: p.key.map(BindingKey),
            uri: p.uri,
            route: p.route,
            hop: needed(p.hop, "hop")?.try_into()?,
            limit_ms: p.limit_ms,
            every: p.every,
            last: needed(p.last, "last")?.try_into()?,
        })
    }
}

impl From<Member> for pb::Member {
    fn from(m: Member) -> Self {
        pb::Member {
            pod: m.pod.0,
            name: m.name,
            role: pb::Role::from(m.role).into(),
            grpc: Some(m.grpc.into()),
            started: m.started.0,
            seen: m.seen.0,
            draining: m.draining,
            load: m.load,
            version: m.version,
        }
    }
}

impl TryFrom<pb::Member> for Member {
    type Error = Unreadable;

    fn try_from(p: pb::Member) -> Result<Self, Unreadable> {
        Ok(Member {
            pod: pod(p.pod)?,
            name: p.name,
            role: known::<pb::Role>(p.role, "role")?.try_into()?,
            grpc: needed(p.grpc, "grpc")?.try_into()?,
            started: UnixMillis(p.started),
            seen: UnixMillis(p.seen),
            draining: p.draining,
            load: p.load,
            version: p.version,
        })
    }
}

impl From<SessionStatistics> for pb::SessionStatistics {
    fn from(m: SessionStatistics) -> Self {
        pb::SessionStatistics {
            streams: m.streams.into_iter().map(Into::into).collect(),
            duration_ms: m.duration_ms,
        }
    }
}

impl TryFrom<pb::SessionStatistics> for SessionStatistics {
    type Error = Unreadable;

    fn try_from(p: pb::SessionStatistics) -> Result<Self, Unreadable> {
        Ok(SessionStatistics { streams: each(p.streams)?, duration_ms: p.duration_ms })
    }
}

impl From<StreamStatistics> for pb::StreamStatistics {
    fn from(m: StreamStatistics) -> Self {
        pb::StreamStatistics {
            index: m.index.into(),
            media: m.media,
            from: pb::Side::from(m.from).into(),
            local: m.local.map(Into::into),
            remote: m.remote.map(Into::into),
            packets: m.packets,
            bytes: m.bytes,
            sent: m.sent,
            lost: m.lost,
            out_of_order: m.out_of_order,
            jitter_us: m.jitter_us,
            reported_lost: m.reported_lost,
            reported_jitter_us: m.reported_jitter_us,
            round_trip_us: m.round_trip_us,
            dropped: m.dropped,
        }
    }
}

impl TryFrom<pb::StreamStatistics> for StreamStatistics {
    type Error = Unreadable;

    fn try_from(p: pb::StreamStatistics) -> Result<Self, Unreadable> {
        Ok(StreamStatistics {
            index: small(p.index, "index")?,
            media: p.media,
            from: known::<pb::Side>(p.from, "from")?.try_into()?,
            local: p.local.map(TryInto::try_into).transpose()?,
            remote: p.remote.map(TryInto::try_into).transpose()?,
            packets: p.packets,
            bytes: p.bytes,
            sent: p.sent,
            lost: p.lost,
            out_of_order: p.out_of_order,
            jitter_us: p.jitter_us,
            reported_lost: p.reported_lost,
            reported_jitter_us: p.reported_jitter_us,
            round_trip_us: p.round_trip_us,
            dropped: p.dropped,
        })
    }
}
