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
            table: Table::new(ports, settings.formers, &hasher),
            rtcp: HashMap::with_hasher(hasher.clone()),
            ssrcs: HashMap::with_hasher(hasher),
            slots: Vec::new(),
            free: Vec::new(),
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
            peer: None,
            signalled: Signalled { learn: Learn::Never, remote: Remote::Unknown, ..signalled.clone() },
            source: Source::Pending,
            rtcp_learned: None,
            probation: Probation::default(),
            counters: Counters::default(),
            barred: None,
            rtp_flow: Flow::default(),
            rtcp_flow: Flow::default(),
            reports: SentReports::default(),
            near: Some(likely),
            address: None,
            was: None,
        }));
        self.table.enter(port, id);
        self.table.near(port, likely);
        if let Err(taken) = self.signal(now, id, signalled) {
            self.close(now, id);
            return Err(taken);
        }
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

    /// Whether [`signal`](Self::signal) would succeed.
    pub fn may_signal(&self, id: EndpointId, signalled: &Signalled) -> bool {
        let Some(endpoint) = self.endpoint(id) else { return false };
        if !moves(endpoint, signalled) {
            return true;
        }
        let free = |address| self.table.may_claim(endpoint.port, address, id);
        match (signalled.learn, signalled.remote) {
            (Learn::From(_) | Learn::Anywhere, _) if signalled.untold => true,
            (Learn::Never, Remote::At(address)) => free(address),
            (Learn::Never, _) => true,
            (learn, _) => self.table.may_wait(endpoint.port, learn, Some(id)),
        }
    }

    /// Signalling says something about one side. When it says where that side is, and that is news, a lock on where
    /// it was is given up; the same again changes nothing. On failure nothing has changed.
    pub fn signal(&mut self, now: Instant, id: EndpointId, signalled: Signalled) -> Result<(), NoPort> {
        if !self.may_signal(id, &signalled) {
            return Err(NoPort);
        }
        let until = now + self.settings.former;
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return Err(NoPort);
        };
        let port = endpoint.port;
        if !moves(endpoint, &signalled) {
            let learn = endpoint.signalled.learn;
            let (before, rtcp) = (endpoint.signalled.rtcp, signalled.rtcp);
            endpoint.address = signalled.remote.address().or(endpoint.address);
            endpoint.signalled = Signalled { learn, ..signalled };
            self.expect_rtcp(port, before, rtcp, id);
            self.learn_again(now, id);
            return Ok(());
        }
        let learn = signalled.learn;
        let address = signalled.remote.address();
        if let Source::Locked(old) = endpoint.source
            && Some(old) != address
        {
            self.table.retire(until, port, old, id, endpoint.counters.reception.ssrc());
        }
        if let Some(old) = endpoint.was.take()
            && Some(old) != address
        {
            self.table.retire(until, port, old, id, endpoint.counters.reception.ssrc());
        }
        if let Some(old) = endpoint.address.filter(|_| endpoint.source == Source::Waiting)
            && Some(old) != address
        {
            self.table.release(port, old, id);
        }
        self.table.stop_waiting(port, endpoint.signalled.learn, id);
        endpoint.probation = Probation::default();
        endpoint.rtp_flow = Flow::default();
        endpoint.rtcp_flow = Flow::default();
        let later = signalled.untold && learn != Learn::Never;
        if let Some(address) = address.filter(|&address| !later && self.table.may_claim(port, address, id)) {
            endpoint.barred = self.table.claim(now, port, address, id);
        }
        endpoint.source = match (learn, address) {
            (Learn::Never, Some(address)) => Source::Locked(address),
            (Learn::Never, None) => Source::Pending,
            _ if later => Source::Pending,
            _ => {
                self.table.wait(port, learn, id);
                Source::Waiting
            }
        };
        endpoint.address = address.or(endpoint.address);
        if matches!(endpoint.source, Source::Locked(_))
            && let Some(near) = endpoint.near.take()
        {
            self.table.not_near(port, near);
        }
        let (before, rtcp) = (endpoint.rtcp_learned.take().or(endpoint.signalled.rtcp), signalled.rtcp);
        let replaced = std::mem::replace(&mut endpoint.signalled, signalled).rtcp;
        self.expect_rtcp(port, replaced, rtcp, id);
        self.expect_rtcp(port, before, rtcp, id);
        Ok(())
    }

    /// Signalling has spoken, and a side whose address was learned has been silent for so long that what stands between us
    /// may have forgotten it: then it may be learned once more. Until it is, it is where it was; silence alone, without
    /// signalling, never opens it to anybody.
    fn learn_again(&mut self, now: Instant, id: EndpointId) {
        let unheard = self.settings.unheard;
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return;
        };
        let learn = endpoint.signalled.learn;
        let silent =
            endpoint.counters.last_rtp.is_none_or(|last| now.saturating_duration_since(last) >= unheard);
        if let Source::Locked(address) = endpoint.source
            && learn != Learn::Never
            && silent
            && self.table.may_wait(endpoint.port, learn, Some(id))
        {
            self.table.wait(endpoint.port, learn, id);
            endpoint.probation = Probation::default();
            endpoint.was = Some(address);
            endpoint.source = Source::Waiting;
        }
    }

    /// Ends one side of a stream. Its triple is former from now on.
    pub fn close(&mut self, now: Instant, id: EndpointId) -> Option<Counters> {
        let until = now + self.settings.former;
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let endpoint = slot.endpoint.take()?;
        self.free.push(id.index);
        let port = endpoint.port;
        match (endpoint.source(), endpoint.source, endpoint.address) {
            (Some(address), _, _) => {
                self.table.retire(until, port, address, id, endpoint.counters.reception.ssrc());
            }
            (None, Source::Waiting, Some(address)) => self.table.retire(until, port, address, id, None),
            _ => {}
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

    /// Whether a side has not been told its port.
    pub fn is_untold(&self, id: EndpointId) -> bool {
        self.endpoint(id).is_some_and(|endpoint| endpoint.signalled.untold)
    }

    /// It was not told after all: what [`signal`](Self::signal) began to wait for is not waited for.
    pub fn untell(&mut self, id: EndpointId) {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return;
        };
        endpoint.signalled.untold = true;
        if endpoint.source == Source::Waiting {
            self.table.stop_waiting(endpoint.port, endpoint.signalled.learn, id);
            if let Some(address) = endpoint.address {
                self.table.release(endpoint.port, address, id);
            }
            endpoint.source = Source::Pending;
        }
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

/// Whether signalling says something new about where an endpoint is.
fn moves(endpoint: &Endpoint, signalled: &Signalled) -> bool {
    let told = endpoint.source == Source::Pending && endpoint.signalled.untold && !signalled.untold;
    let other_learn = endpoint.signalled.learn != signalled.learn;
    // RTP overtook the answer: the answer says where the phone thinks it is, and we know where that is from here.
    let heard_first = matches!(endpoint.source, Source::Locked(_))
        && endpoint.address.is_none()
        && signalled.learn != Learn::Never
        && !other_learn;
    match signalled.remote {
        Remote::At(address) => told || other_learn || (endpoint.address != Some(address) && !heard_first),
        // Only at the beginning: later it says nothing that was not known.
        Remote::Unknown | Remote::Zero => told || (endpoint.source == Source::Pending && other_learn),
    }
}
