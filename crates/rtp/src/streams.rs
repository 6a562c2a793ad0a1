//! All streams of one worker: which there are, and what their sides have signalled. `streams/packets.rs` and
//! `streams/rtcp.rs` are what comes in, and where it goes.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::endpoint::{Counters, Endpoint, Learn, Remote, SentReports, Signalled, Source};
use crate::flow::Flow;
use crate::probation::Probation;
use crate::settings::Settings;
use crate::table::{EndpointId, NoPort, PortId, Table, Wish};

mod packets;
mod rtcp;
mod signalling;
mod undo;

use undo::Undo;

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on, as it is.
    Forward {
        /// From this port.
        port: PortId,
        /// From its RTCP half.
        rtcp: bool,
        /// To there.
        to: SocketAddr,
    },
    /// Drop it.
    Drop(Dropped),
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// No stream expects RTP from there.
    Elsewhere,
    /// The stream that it belongs to has ended.
    Former,
    /// From an expected source, but not RTP (or RTCP where it may come).
    WrongKind,
    /// The first packet of a source that is not believed yet.
    Probation,
    /// RTCP whose sender no stream of the port has heard.
    UnknownReport,
    /// Where it should go is not known yet, or does not want any.
    NoDestination,
    /// Nothing was heard from where it should go, and the limit has not passed.
    Unheard,
}

impl Dropped {
    /// All reasons, for those that count them.
    pub const ALL: [Dropped; 7] = [
        Dropped::Elsewhere,
        Dropped::Former,
        Dropped::WrongKind,
        Dropped::Probation,
        Dropped::UnknownReport,
        Dropped::NoDestination,
        Dropped::Unheard,
    ];

    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Dropped::Elsewhere => "elsewhere",
            Dropped::Former => "former",
            Dropped::WrongKind => "wrong_kind",
            Dropped::Probation => "probation",
            Dropped::UnknownReport => "unknown_report",
            Dropped::NoDestination => "no_destination",
            Dropped::Unheard => "unheard",
        }
    }
}

/// An empty datagram that is due (RFC 6263 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// From this port.
    pub port: PortId,
    /// From its RTCP half.
    pub rtcp: bool,
    /// To there.
    pub to: SocketAddr,
}

/// The streams of one worker.
///
/// [`open`](Self::open) an endpoint for each side of a stream, [`join`](Self::join) the two, then hand every datagram to
/// [`packet`](Self::packet) and call [`tick`](Self::tick) once a second. The hasher must be keyed with something that nobody
/// outside knows.
#[derive(Debug)]
pub struct Streams<S> {
    settings: Settings,
    table: Table<S>,
    /// RTCP that does not share its port with RTP: by exact source, and by SSRC of the sender.
    rtcp: HashMap<(PortId, SocketAddr), EndpointId, S>,
    ssrcs: HashMap<(PortId, u32), EndpointId, S>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    undo: Undo,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    endpoint: Option<Box<Endpoint>>,
}

impl<S: BuildHasher + Clone> Streams<S> {
    /// For a number of ports, which are then [`PortId`] 0 and up.
    pub fn new(ports: usize, settings: Settings, hasher: S) -> Self {
        Streams {
            settings,
            table: Table::new(ports, settings.formers, settings.former, &hasher),
            rtcp: HashMap::with_hasher(hasher.clone()),
            ssrcs: HashMap::with_hasher(hasher),
            slots: Vec::new(),
            free: Vec::new(),
            undo: Undo::default(),
        }
    }

    /// Opens one side of a stream on the port that suits it best. `ports` are those allowed, at most once each; `near`
    /// is the address where its signalling comes from, where RTP is likely to come from as well.
    pub fn open(
        &mut self,
        now: Instant,
        ports: &[PortId],
        near: IpAddr,
        signalled: Signalled,
    ) -> Result<EndpointId, NoPort> {
        self.all_or_nothing(|streams| streams.open_one(now, ports, near, signalled))
    }

    fn open_one(
        &mut self,
        now: Instant,
        ports: &[PortId],
        near: IpAddr,
        signalled: Signalled,
    ) -> Result<EndpointId, NoPort> {
        let address = signalled.remote.address();
        let likely = match (signalled.learn, address) {
            (Learn::Never, Some(address)) => address.ip(),
            _ => near,
        };
        let port = self.table.pick(now, ports, likely, Wish::of(&signalled))?;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).map_err(|_| NoPort)?;
                self.slots.push(Slot { generation: 0, endpoint: None });
                index
            }
        };
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(NoPort) };
        slot.generation = slot.generation.wrapping_add(1);
        let id = EndpointId { index, generation: slot.generation };
        slot.endpoint = Some(Box::new(Endpoint {
            port,
            party: signalled.party,
            peer: None,
            signalled: Signalled { learn: Learn::Never, remote: Remote::Unknown, ..signalled.clone() },
            source: Source::Pending,
            rtcp_learned: None,
            probation: Probation::default(),
            counters: Counters::default(),
            rtp_flow: Flow::default(),
            rtcp_flow: Flow::default(),
            reports: SentReports::default(),
            near: Some(likely),
            address: None,
            was: None,
            strayed: None,
        }));
        self.note_opened(id);
        self.table.enter(port, id);
        self.table.near(port, likely);
        self.signal(now, id, signalled)?;
        Ok(id)
    }

    /// What comes from one goes to the other.
    pub fn join(&mut self, one: EndpointId, other: EndpointId) {
        if let Some(endpoint) = self.endpoint_mut(one) {
            endpoint.peer = Some(other);
        }
        if let Some(endpoint) = self.endpoint_mut(other) {
            endpoint.peer = Some(one);
        }
    }

    /// Ends one side of a stream. Its triple is former from now on.
    pub fn close(&mut self, now: Instant, id: EndpointId) -> Option<Counters> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let endpoint = slot.endpoint.take()?;
        self.free.push(id.index);
        let port = endpoint.port;
        // Those that are its own.
        let was = endpoint.was.map(|was| was.address);
        for address in [endpoint.source(), was, endpoint.address].into_iter().flatten() {
            self.table.retire(now, port, address, (id, endpoint.party), endpoint.counters.reception.ssrc());
        }
        if let Some(said) = endpoint.address {
            self.table.unsay(port, said, id);
        }
        self.table.stop_waiting(port, endpoint.signalled.learn, id);
        if let Some(near) = endpoint.near {
            self.table.not_near(port, near);
        }
        self.table.leave(port, id);
        for address in [endpoint.signalled.rtcp, endpoint.rtcp_learned].into_iter().flatten() {
            if self.rtcp.get(&(port, address)) == Some(&id) {
                self.rtcp.remove(&(port, address));
            }
        }
        if let Some(ssrc) = endpoint.counters.reception.ssrc()
            && self.ssrcs.get(&(port, ssrc)) == Some(&id)
        {
            self.ssrcs.remove(&(port, ssrc));
        }
        // Not when another has taken its place.
        if let Some(peer) = endpoint.peer.and_then(|peer| self.endpoint_mut(peer))
            && peer.peer == Some(id)
        {
            peer.peer = None;
        }
        Some(endpoint.counters)
    }

    /// Once a second: forgets formers whose time is over and says which empty datagrams are due.
    pub fn tick(&mut self, now: Instant, mut due: impl FnMut(KeepAlive)) {
        self.table.expire(now);
        if self.settings.hear_before_speak.is_none() {
            return;
        }
        let settings = self.settings;
        for endpoint in self.slots.iter_mut().filter_map(|slot| slot.endpoint.as_deref_mut()) {
            if endpoint.signalled.own {
                continue;
            }
            if let Some(to) = endpoint.kept()
                && endpoint.rtp_flow.keep_alive(now, &settings)
            {
                due(KeepAlive { port: endpoint.port, rtcp: false, to });
            }
            if !endpoint.signalled.mux
                && let Some(to) = endpoint.rtcp_learned.or_else(|| endpoint.rtcp_destination())
                && endpoint.rtcp_flow.keep_alive(now, &settings)
            {
                due(KeepAlive { port: endpoint.port, rtcp: true, to });
            }
        }
    }

    /// The port of an endpoint.
    pub fn port(&self, id: EndpointId) -> Option<PortId> {
        self.endpoint(id).map(|endpoint| endpoint.port)
    }

    /// Where its RTP comes from; `None` while that is not known.
    pub fn source(&self, id: EndpointId) -> Option<SocketAddr> {
        self.endpoint(id)?.source()
    }

    /// What was counted.
    pub fn counters(&self, id: EndpointId) -> Option<&Counters> {
        self.endpoint(id).map(|endpoint| &endpoint.counters)
    }

    /// Triples that are live, waiting and former: how full the ports are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        self.table.sizes()
    }

    fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.endpoint.as_deref()
    }

    fn endpoint_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.endpoint.as_deref_mut()
    }
}
