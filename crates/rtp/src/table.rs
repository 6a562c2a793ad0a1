//! The table of (local port, remote address, remote port): live, waiting, former.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::endpoint::{Learn, Remote, Signalled};

mod formers;
mod journal;

pub(crate) use formers::Former;
use journal::Journal;

/// One local port for RTP, with the next one for RTCP: an index into the ports of this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// One side of one stream. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl EndpointId {
    fn bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_bits(bits: u64) -> Self {
        EndpointId { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// No port can take the stream now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no port can take the stream")]
pub struct NoPort;

type Triple = (PortId, SocketAddr);

/// Streams that a port takes before the next one is used: at 50 packets a second each, a socket's queue of some
/// hundred packets then lasts for more than 50 ms.
const ROOMY: u32 = 200;

/// Who has a triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A stream. Its signalling may have taken the triple back from one that had ended: that one's SSRC is barred for as
    /// long as it would have been remembered.
    Live { who: EndpointId, before: Option<Former> },
    /// Ended; what still comes is dropped.
    Former(Former),
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Endpoints that wait on it.
    waiting: u32,
    /// The one that waits for anybody.
    anywhere: Option<EndpointId>,
    /// All endpoints.
    endpoints: u32,
    /// All their ids, combined by exclusive or: the id itself when there is one.
    ids: u64,
}

/// How a stream will be told from others on its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// By its address, which is known.
    Address(SocketAddr),
    /// By its address, which its answer will name.
    Named,
    /// By the first packets from where it waits for them, from now on.
    Latched {
        learn: Learn,
        /// Where it said it is.
        address: Option<SocketAddr>,
        /// It is asked first, and the port that is left may be needed for who asks.
        asked: bool,
    },
    /// The same, but only once it has been told its port. By then it may still go to another.
    Later,
}

impl Wish {
    pub fn of(signalled: &Signalled) -> Self {
        let address = signalled.remote.address();
        match (signalled.learn, address) {
            (Learn::Never, Some(address)) => Wish::Address(address),
            (Learn::Never, None) => Wish::Named,
            _ if signalled.untold => Wish::Later,
            (learn, address) => Wish::Latched { learn, address, asked: signalled.remote == Remote::Unknown },
        }
    }
}

/// Streams of one remote address on one port.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    live: u32,
    former: u32,
}

#[derive(Debug)]
pub(crate) struct Table<S> {
    triples: HashMap<Triple, Holder, S>,
    waiting: HashMap<(PortId, IpAddr), EndpointId, S>,
    /// Who says that it is at an address from which it is not expected: believed when nobody else is there or waits for it.
    said: HashMap<Triple, EndpointId, S>,
    near: HashMap<(PortId, IpAddr), Near, S>,
    loads: Vec<Load>,
    formers: VecDeque<(Instant, Triple)>,
    most_formers: usize,
    /// How long a triple is former.
    former: Duration,
    journal: Journal,
}

impl<S: BuildHasher + Clone> Table<S> {
    pub fn new(ports: usize, most_formers: usize, former: Duration, hasher: &S) -> Self {
        Table {
            triples: HashMap::with_hasher(hasher.clone()),
            waiting: HashMap::with_hasher(hasher.clone()),
            said: HashMap::with_hasher(hasher.clone()),
            near: HashMap::with_hasher(hasher.clone()),
            loads: vec![Load::default(); ports],
            formers: VecDeque::new(),
            most_formers,
            former,
            journal: Journal::default(),
        }
    }

    pub fn holder(&self, port: PortId, from: SocketAddr) -> Option<Holder> {
        self.triples.get(&(port, from)).copied()
    }

    /// Who waits for a packet from there.
    pub fn waiter(&self, port: PortId, from: IpAddr) -> Option<EndpointId> {
        match self.load(port) {
            Some(load) if load.waiting > 0 => {
                load.anywhere.or_else(|| self.waiting.get(&(port, from)).copied())
            }
            _ => None,
        }
    }

    /// Who says that it is there.
    pub fn says(&self, port: PortId, from: SocketAddr) -> Option<EndpointId> {
        self.said.get(&(port, from)).copied()
    }

    /// It says that it is there; so may others, of whom the first counts.
    pub fn say(&mut self, port: PortId, address: SocketAddr, who: EndpointId) {
        if self.says(port, address).is_none() {
            self.set_said((port, address), Some(who));
        }
    }

    /// It says so no more.
    pub fn unsay(&mut self, port: PortId, address: SocketAddr, who: EndpointId) {
        if self.says(port, address) == Some(who) {
            self.set_said((port, address), None);
        }
    }

    /// The only endpoint of a port, when it has one only.
    pub fn sole(&self, port: PortId) -> Option<EndpointId> {
        self.load(port).filter(|load| load.endpoints == 1).map(|load| EndpointId::from_bits(load.ids))
    }

    fn load(&self, port: PortId) -> Option<&Load> {
        self.loads.get(port.0 as usize)
    }

    /// Whether another stream could wait on this port.
    pub fn may_wait(&self, port: PortId, learn: Learn, who: Option<EndpointId>) -> bool {
        let Some(load) = self.load(port) else { return false };
        match learn {
            Learn::Never => true,
            Learn::From(ip) => {
                (load.anywhere.is_none() || load.anywhere == who)
                    && self.waiting.get(&(port, ip)).is_none_or(|&other| Some(other) == who)
            }
            Learn::Anywhere => {
                load.waiting == 0 || (load.waiting == 1 && load.anywhere.is_some() && load.anywhere == who)
            }
        }
    }

    /// Picks a port for a stream. `ports` are those allowed; `near` is where the stream is likely to be.
    ///
    /// A port that nobody uses comes first: what strays there is known to be meant for its only stream. Then ports are
    /// filled one after the other up to [`ROOMY`], as a port with much traffic is read in large batches. Before all that comes
    /// that the stream can be told from others: one whose address will be named later goes where the
    /// fewest of the same IP address are, one that is to be latched where its address has nothing former. Last comes where
    /// the fewest of its address are: one of them may be the same phone in a call that ends, where it is former then.
    ///
    /// Who is asked (rings) does not get the last port on which its address can be waited for: phones behind one NAT that
    /// call each other need it in their turn, when one of them answers.
    pub fn pick(&self, now: Instant, ports: &[PortId], near: IpAddr, wish: Wish) -> Result<PortId, NoPort> {
        let mut best: Option<((u32, u32, u32, u32), PortId)> = None;
        let mut free = 0;
        let spares =
            matches!(wish, Wish::Latched { learn: Learn::From(_), asked: true, .. }) && ports.len() > 1;
        let (learn, address) = match wish {
            Wish::Address(address) => (Learn::Never, Some(address)),
            Wish::Named | Wish::Later => (Learn::Never, None),
            Wish::Latched { learn, address, .. } => (learn, address),
        };
        for &port in ports {
            if !self.may_wait(port, learn, None) {
                continue;
            }
            free += 1;
            let taken = match address.and_then(|address| self.holder(port, address)) {
                Some(Holder::Live { .. }) if learn == Learn::Never => continue,
                Some(Holder::Former(former)) if former.holds(now) => 1,
                _ => 0,
            };
            let others = self.near.get(&(port, near)).copied().unwrap_or_default();
            let alike = match wish {
                Wish::Address(_) => 0,
                Wish::Named => others.live,
                Wish::Later | Wish::Latched { .. } => others.former,
            };
            let crowd = match self.load(port).map_or(0, |load| load.endpoints) {
                0 => 0,
                endpoints => 1 + endpoints.saturating_sub(ROOMY),
            };
            let score = (taken, alike, crowd, others.live);
            if best.is_none_or(|(known, _)| score < known) {
                best = Some((score, port));
            }
            // Nothing better will come.
            if (!spares || free > 1) && best.is_some_and(|(known, _)| known == (0, 0, 0, 0)) {
                break;
            }
        }
        best.filter(|_| !spares || free > 1).map(|(_, port)| port).ok_or(NoPort)
    }

    /// An endpoint is on a port now.
    pub fn enter(&mut self, port: PortId, who: EndpointId) {
        self.weigh(port, |load| {
            load.endpoints += 1;
            load.ids ^= who.bits();
        });
    }

    /// It is no more.
    pub fn leave(&mut self, port: PortId, who: EndpointId) {
        self.weigh(port, |load| {
            load.endpoints = load.endpoints.saturating_sub(1);
            load.ids ^= who.bits();
        });
    }

    /// Counts an endpoint as being at a remote address before its triple is known, so that others go elsewhere.
    pub fn near(&mut self, port: PortId, ip: IpAddr) {
        self.count(port, ip, |near| near.live += 1);
    }

    /// Takes that back.
    pub fn not_near(&mut self, port: PortId, ip: IpAddr) {
        self.count(port, ip, |near| near.live = near.live.saturating_sub(1));
    }

    /// Whether `who` could have the triple: it is free, its own, or former. A former one can be had by an address
    /// that signalling gives, never by latching.
    pub fn may_claim(&self, port: PortId, address: SocketAddr, who: EndpointId) -> bool {
        !matches!(self.holder(port, address), Some(Holder::Live { who: other, .. }) if other != who)
    }

    /// Makes the triple live. The caller has asked [`Self::may_claim`].
    pub fn claim(
        &mut self,
        now: Instant,
        port: PortId,
        address: SocketAddr,
        (who, party): (EndpointId, Option<u64>),
    ) {
        let before = match self.holder(port, address) {
            Some(Holder::Live { .. }) => return,
            Some(Holder::Former(former)) => {
                self.count(port, address.ip(), |near| near.former = near.former.saturating_sub(1));
                let before = Some(former).filter(|former| !former.is_of((who, party)) && former.holds(now));
                before.map(|before| match before.until > now {
                    true => before,
                    false => Former { until: now + self.former, ..before },
                })
            }
            None => None,
        };
        self.set_triple((port, address), Some(Holder::Live { who, before }));
        self.near(port, address.ip());
    }

    /// Gives up a live triple that nothing came from. If it was taken back from a stream that had ended, that one is
    /// remembered again.
    pub fn release(&mut self, now: Instant, port: PortId, address: SocketAddr, who: EndpointId) {
        let Some(Holder::Live { who: other, before }) = self.holder(port, address) else { return };
        if other != who {
            return;
        }
        self.not_near(port, address.ip());
        match before.filter(|former| former.until > now) {
            Some(former) => self.remember((port, address), former),
            None => self.set_triple((port, address), None),
        }
    }

    /// Makes a live triple former.
    pub fn retire(
        &mut self,
        now: Instant,
        port: PortId,
        address: SocketAddr,
        (who, party): (EndpointId, Option<u64>),
        ssrc: Option<u32>,
    ) {
        let Some(Holder::Live { who: owner, before }) = self.holder(port, address) else { return };
        if owner != who {
            return;
        }
        let ssrc = ssrc.or(before.filter(|former| former.until > now).and_then(|former| former.ssrc));
        self.not_near(port, address.ip());
        self.remember((port, address), Former { owner, party, until: now + self.former, ssrc, last: now });
    }

    /// `who` waits from now on. The caller has asked [`Self::may_wait`].
    pub fn wait(&mut self, port: PortId, learn: Learn, who: EndpointId) {
        let waited = match learn {
            Learn::Never => return,
            Learn::From(ip) => {
                let waited = self.waiting.get(&(port, ip)) == Some(&who);
                self.set_waiting((port, ip), Some(who));
                waited
            }
            Learn::Anywhere => {
                let waited = self.load(port).is_some_and(|load| load.anywhere == Some(who));
                self.weigh(port, |load| load.anywhere = Some(who));
                waited
            }
        };
        if !waited {
            self.weigh(port, |load| load.waiting += 1);
        }
    }

    /// It waits no more.
    pub fn stop_waiting(&mut self, port: PortId, learn: Learn, who: EndpointId) {
        match learn {
            Learn::From(ip) if self.waiting.get(&(port, ip)) == Some(&who) => {
                self.set_waiting((port, ip), None);
            }
            Learn::Anywhere if self.load(port).is_some_and(|load| load.anywhere == Some(who)) => {
                self.weigh(port, |load| load.anywhere = None);
            }
            _ => return,
        }
        self.weigh(port, |load| load.waiting = load.waiting.saturating_sub(1));
    }

    /// Triples that are live, waiting, former.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let waiting = self.loads.iter().map(|load| load.waiting as usize).sum();
        let former = self.triples.values().filter(|holder| matches!(holder, Holder::Former(_))).count();
        (self.triples.len() - former, waiting, former)
    }
}
