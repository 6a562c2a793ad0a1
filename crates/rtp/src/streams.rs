//! All streams of one worker: what comes in, and where it goes.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::endpoint::{Counters, Endpoint, Learn, Remote, SentReports, Signalled, Source};
use crate::flow::Flow;
use crate::header::{Header, Kind};
use crate::probation::Probation;
use crate::settings::Settings;
use crate::table::{EndpointId, Holder, NoPort, PortId, Table};

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
        let address = match signalled.remote {
            Remote::At(address) => Some(address),
            Remote::Unknown | Remote::Zero => None,
        };
        let likely = match (signalled.learn, address) {
            (Learn::Never, Some(address)) => address.ip(),
            _ => near,
        };
        let port = self.table.pick(now, ports, address, likely, signalled.learn)?;
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
            endpoint.signalled = Signalled { learn, ..signalled };
            self.expect_rtcp(port, before, rtcp, id);
            return Ok(());
        }
        let (address, learn) = match signalled.remote {
            Remote::At(address) => (Some(address), signalled.learn),
            Remote::Unknown | Remote::Zero => (None, signalled.learn),
        };
        if let Source::Locked(old) = endpoint.source
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
        if let Some(address) = address.filter(|&address| self.table.may_claim(port, address, id)) {
            endpoint.barred = self.table.claim(now, port, address, id);
        }
        endpoint.source = match (learn, address) {
            (Learn::Never, Some(address)) => Source::Locked(address),
            (Learn::Never, None) => Source::Pending,
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

    /// Ends one side of a stream. Its triple is former from now on.
    pub fn close(&mut self, now: Instant, id: EndpointId) -> Option<Counters> {
        let until = now + self.settings.former;
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let endpoint = slot.endpoint.take()?;
        self.free.push(id.index);
        let port = endpoint.port;
        match (endpoint.source, endpoint.address) {
            (Source::Locked(address), _) => {
                self.table.retire(until, port, address, id, endpoint.counters.reception.ssrc());
            }
            (Source::Waiting, Some(address)) => self.table.retire(until, port, address, id, None),
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
        if let Some(peer) = endpoint.peer.and_then(|peer| self.endpoint_mut(peer)) {
            peer.peer = None;
        }
        Some(endpoint.counters)
    }

    /// A datagram came to the RTP half of a port, or with `rtcp` to its RTCP half.
    pub fn packet(
        &mut self,
        now: Instant,
        port: PortId,
        rtcp: bool,
        from: SocketAddr,
        packet: &[u8],
    ) -> Verdict {
        let kind = Kind::of(packet);
        if rtcp {
            return match kind {
                Kind::Rtcp { sender } => self.report(now, port, from, sender, packet),
                Kind::Rtp(_) | Kind::Other => Verdict::Drop(Dropped::WrongKind),
            };
        }
        match self.table.holder(port, from) {
            Some(Holder::Live(id)) => self.expected(now, id, from, kind, packet),
            Some(Holder::Former { .. }) => Verdict::Drop(Dropped::Former),
            None => self.stranger(now, port, from, kind, packet),
        }
    }

    /// From a source that a stream knows.
    fn expected(
        &mut self,
        now: Instant,
        id: EndpointId,
        from: SocketAddr,
        kind: Kind,
        packet: &[u8],
    ) -> Verdict {
        let Some(endpoint) = self.endpoint_mut(id) else { return Verdict::Drop(Dropped::Elsewhere) };
        endpoint.rtp_flow.heard(now);
        match kind {
            Kind::Rtp(header) => {
                if let Some((ssrc, until)) = endpoint.barred {
                    if until <= now {
                        endpoint.barred = None;
                    } else if ssrc == header.ssrc {
                        endpoint.counters.dropped += 1;
                        return Verdict::Drop(Dropped::Former);
                    }
                }
                if endpoint.source == Source::Waiting {
                    self.lock(now, id, from);
                }
                self.forward(now, id, &header, packet.len())
            }
            Kind::Rtcp { .. } if endpoint.signalled.mux => self.forward_report(now, id, packet),
            Kind::Rtcp { .. } | Kind::Other => {
                endpoint.counters.dropped += 1;
                Verdict::Drop(Dropped::WrongKind)
            }
        }
    }

    /// From a source that no stream knows: perhaps one waits for it.
    fn stranger(
        &mut self,
        now: Instant,
        port: PortId,
        from: SocketAddr,
        kind: Kind,
        packet: &[u8],
    ) -> Verdict {
        let Some(id) = self.table.waiter(port, from.ip()) else {
            if let Some(endpoint) = self.table.sole(port).and_then(|id| self.endpoint_mut(id)) {
                endpoint.counters.dropped += 1;
            }
            return Verdict::Drop(Dropped::Elsewhere);
        };
        let Some(endpoint) = self.endpoint_mut(id) else { return Verdict::Drop(Dropped::Elsewhere) };
        let Kind::Rtp(header) = kind else {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::WrongKind);
        };
        if !endpoint.signalled.payloads.accepts(header.payload) {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::WrongKind);
        }
        if !endpoint.probation.packet(from, &header) {
            endpoint.counters.dropped += 1;
            return Verdict::Drop(Dropped::Probation);
        }
        endpoint.rtp_flow = Flow::default();
        endpoint.rtp_flow.heard(now);
        self.lock(now, id, from);
        self.forward(now, id, &header, packet.len())
    }

    /// From now on this source and no other, until signalling moves it.
    fn lock(&mut self, now: Instant, id: EndpointId, from: SocketAddr) {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return;
        };
        let port = endpoint.port;
        self.table.stop_waiting(port, endpoint.signalled.learn, id);
        if let Some(other) = endpoint.address.filter(|&address| address != from) {
            self.table.release(port, other, id);
        }
        // A barred SSRC stays barred: locking to the address that signalling gave claims nothing new.
        if self.table.holder(port, from) != Some(Holder::Live(id)) {
            self.table.claim(now, port, from, id);
        }
        if let Some(near) = endpoint.near.take() {
            self.table.not_near(port, near);
        }
        endpoint.source = Source::Locked(from);
    }

    fn forward(&mut self, now: Instant, id: EndpointId, header: &Header, bytes: usize) -> Verdict {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return Verdict::Drop(Dropped::Elsewhere);
        };
        let known = endpoint.counters.reception.ssrc();
        if known != Some(header.ssrc) {
            // RTCP finds its stream by this. A second stream of the port with the same SSRC is found by address only.
            let port = endpoint.port;
            if let Some(old) = known
                && self.ssrcs.get(&(port, old)) == Some(&id)
            {
                self.ssrcs.remove(&(port, old));
            }
            self.ssrcs.entry((port, header.ssrc)).or_insert(id);
        }
        let rate = endpoint.signalled.payloads.rate(header.payload);
        endpoint.counters.reception.received(now, header, bytes, rate);
        endpoint.counters.last_rtp = Some(now);
        let verdict = match endpoint.peer {
            Some(peer) => self.speak(now, peer, false),
            None => Verdict::Drop(Dropped::NoDestination),
        };
        if matches!(verdict, Verdict::Forward { .. })
            && let Some(endpoint) = self.endpoint_mut(id)
        {
            endpoint.counters.sent += 1;
        }
        verdict
    }

    /// Where something for this endpoint goes, if it may go now.
    fn speak(&mut self, now: Instant, to: EndpointId, report: bool) -> Verdict {
        let settings = self.settings;
        let Some(endpoint) = self.endpoint_mut(to) else { return Verdict::Drop(Dropped::NoDestination) };
        let rtcp = report && !endpoint.signalled.mux;
        let address = if rtcp { endpoint.rtcp_destination() } else { endpoint.destination() };
        let Some(to) = address else { return Verdict::Drop(Dropped::NoDestination) };
        let own = endpoint.signalled.own;
        let flow = if rtcp { &mut endpoint.rtcp_flow } else { &mut endpoint.rtp_flow };
        if own || flow.speak(now, &settings) {
            Verdict::Forward { port: endpoint.port, rtcp, to }
        } else {
            Verdict::Drop(Dropped::Unheard)
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
            if let Some(to) = endpoint.destination()
                && endpoint.rtp_flow.keep_alive(now, &settings)
            {
                due(KeepAlive { port: endpoint.port, rtcp: false, to });
            }
            if !endpoint.signalled.mux
                && let Some(to) = endpoint.rtcp_destination()
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
        match self.endpoint(id)?.source {
            Source::Locked(address) => Some(address),
            Source::Pending | Source::Waiting => None,
        }
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
    match signalled.remote {
        Remote::At(address) => {
            endpoint.address != Some(address) || endpoint.signalled.learn != signalled.learn
        }
        // Only at the beginning: later it says nothing that was not known.
        Remote::Unknown | Remote::Zero => {
            endpoint.source == Source::Pending && endpoint.signalled.learn != signalled.learn
        }
    }
}
