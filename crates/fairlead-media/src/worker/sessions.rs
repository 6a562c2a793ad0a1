//! The sessions of a worker: streams opened, changed and closed, all or nothing.

use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::Instant;

use fairlead_model::id::{AttemptRef, Side};
use fairlead_model::relay::{SessionRef, SessionStatistics};
use rtp::{EndpointId, Learn, NoPort, PortId, Signalled, Streams};

use super::Worker;
use crate::ports::PortPair;
use crate::session::{
    Change, NotChanged, OpenSide, SIDES, Session, Stream, StreamChange, StreamPorts, at, statistics_of,
};

/// The ends of a stream (A, B) that a change has opened.
type Opened = [Option<EndpointId>; 2];

impl Worker {
    /// Makes a change, or none of it.
    pub(super) fn change(&mut self, change: Change) -> Result<Vec<StreamPorts>, NotChanged> {
        let now = Instant::now();
        let mut new = false;
        if let Entry::Vacant(vacant) = self.sessions.entry(change.session) {
            if !change.opens {
                return Err(NotChanged::Unknown);
            }
            vacant.insert(Session { began: now, since: now, streams: Vec::new(), silence: [None; 2] });
            new = true;
        }
        let planned = self.place(now, &change);
        let Some(session) = self.sessions.get_mut(&change.session) else { return Err(NotChanged::Unknown) };
        let opened = match planned {
            Ok(opened) => opened,
            Err(NoPort) => {
                if new {
                    self.sessions.remove(&change.session);
                }
                return Err(NotChanged::NoPort);
            }
        };
        session.streams.resize_with(session.streams.len().max(change.streams.len()), || None);
        if let Some(silence) = change.silence {
            session.silence = silence;
            session.since = now;
        }
        let mut closing = Vec::new();
        for ((slot, wanted), opened) in session.streams.iter_mut().zip(&change.streams).zip(opened) {
            match wanted {
                StreamChange::Keep => {}
                StreamChange::Close => closing.extend(slot.take().into_iter().flat_map(|stream| stream.ends)),
                StreamChange::Open(open) => {
                    let known = slot.take();
                    let old = known.as_ref().map(|stream| stream.ends);
                    let end = |at: usize| opened[at].or(old.map(|old| old[at]));
                    let (Some(a), Some(b)) = (end(0), end(1)) else { continue };
                    closing.extend(old.into_iter().flatten().filter(|end| *end != a && *end != b));
                    let advertised = [open.sides[0].advertise, open.sides[1].advertise];
                    *slot = Some(Stream { media: open.media.clone(), ends: [a, b], advertised });
                    self.streams.join(a, b);
                }
            }
        }
        for end in closing {
            self.streams.close(now, end);
        }
        let Some(session) = self.sessions.get(&change.session) else { return Err(NotChanged::Unknown) };
        let number = |end: EndpointId| {
            self.streams
                .port(end)
                .and_then(|port| self.ports.get(port.0 as usize))
                .map_or(0, |pair| pair.port)
        };
        Ok(session
            .streams
            .iter()
            .map(|stream| stream.as_ref().map(|stream| stream.ends.map(number)))
            .collect())
    }

    /// Moves the ends that are there and opens those that are needed. On failure nothing is left of it.
    fn place(&mut self, now: Instant, change: &Change) -> Result<Vec<Opened>, NoPort> {
        let known: Vec<Option<[EndpointId; 2]>> = (0..change.streams.len())
            .map(|index| Some(self.sessions.get(&change.session)?.streams.get(index)?.as_ref()?.ends))
            .collect();
        let tries = self.other_tries(change.session);
        let (ports, by_bind) = (&self.ports[..], &self.by_bind[..]);
        self.streams.all_or_nothing(|streams| {
            let (told, bound): (Vec<Side>, Vec<Side>) =
                SIDES.into_iter().partition(|side| change.told == Some(*side));
            let said =
                |sides: &[Side]| sides.iter().flat_map(|side| said_of(change, &known, *side)).collect();
            let (first, then): (Vec<_>, Vec<_>) = (said(&bound), said(&told));
            // One that is not being told its port could not find another: it would not know of it.
            let bound: Vec<EndpointId> = first.iter().map(|(end, _)| *end).collect();
            let homeless = streams.signal_all(now, first.into_iter().chain(then).collect());
            if homeless.iter().any(|end| bound.contains(end)) {
                return Err(NoPort);
            }
            let mut opened = vec![Opened::default(); change.streams.len()];
            for (index, wanted) in change.streams.iter().enumerate() {
                let StreamChange::Open(open) = wanted else { continue };
                for (place, side) in open.sides.iter().enumerate() {
                    let stays = |at: usize| {
                        Some(known.get(at)?.as_ref()?[place]).filter(|end| !homeless.contains(end))
                    };
                    if stays(index).is_some() {
                        continue;
                    }
                    let beside: Vec<PortId> = (0..known.len())
                        .filter_map(|at| stays(at).or(opened.get(at)?[place]))
                        .chain(tries.iter().map(|ends| ends[place]))
                        .filter_map(|end| streams.port(end))
                        .collect();
                    let mut side = side.clone();
                    side.signalled.party = party(change.session, index, place);
                    let end = open_end(now, streams, &side, (ports, by_bind), &beside)?;
                    if let Some(opened) = opened.get_mut(index) {
                        opened[place] = Some(end);
                    }
                }
            }
            Ok(opened)
        })
    }

    /// The ends of the tries of the same call that came last before this one. Its caller sends to all of them in one stream.
    fn other_tries(&self, session: SessionRef) -> Vec<[EndpointId; 2]> {
        const MOST: u16 = 16;
        let attempt = session.attempt.0;
        (attempt.saturating_sub(MOST)..attempt)
            .filter_map(|other| self.sessions.get(&SessionRef { attempt: AttemptRef(other), ..session }))
            .flat_map(|other| other.streams.iter().flatten().map(|stream| stream.ends))
            .collect()
    }

    /// Ends a session and says what it was.
    pub(super) fn close(&mut self, session: SessionRef) -> Option<SessionStatistics> {
        let known = self.sessions.remove(&session)?;
        let statistics = self.statistics(&known);
        let now = Instant::now();
        for end in known.streams.iter().flatten().flat_map(|stream| stream.ends) {
            self.streams.close(now, end);
        }
        Some(statistics)
    }

    /// What was counted so far.
    pub(super) fn statistics(&self, session: &Session) -> SessionStatistics {
        let mut streams = Vec::new();
        for (index, stream) in session.streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            for side in SIDES {
                let end = stream.ends[at(side)];
                let Some(counters) = self.streams.counters(end) else { continue };
                let port = self.streams.port(end).and_then(|port| self.ports.get(port.0 as usize));
                let local = port.map(|pair| SocketAddr::new(stream.advertised[at(side)], pair.port));
                let remote = self.streams.source(end);
                streams.push(statistics_of(index, &stream.media, side, local, remote, counters));
            }
        }
        let duration = session.began.elapsed().as_millis();
        SessionStatistics { streams, duration_ms: u64::try_from(duration).unwrap_or(u64::MAX) }
    }

    /// The side that has sent no RTP for longer than it may, on none of its audio streams.
    pub(super) fn silent_side(&self, now: Instant, session: &Session) -> Option<Side> {
        SIDES.into_iter().find(|&side| {
            let Some(limit) = session.silence[at(side)] else { return false };
            let mut audio =
                session.streams.iter().flatten().filter(|stream| stream.media == "audio").peekable();
            audio.peek().is_some()
                && audio.all(|stream| {
                    let heard =
                        self.streams.counters(stream.ends[at(side)]).and_then(|counters| counters.last_rtp);
                    let since = heard.map_or(session.since, |heard| heard.max(session.since));
                    now.saturating_duration_since(since) >= limit
                })
        })
    }
}

/// A stream of the caller is the same in all tries of a call; those of the other side are of different phones.
fn party(session: SessionRef, index: usize, place: usize) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    (session.call, index).hash(&mut hasher);
    (place == at(Side::A)).then(|| hasher.finish())
}

/// What a change says to the ends of one side that are there.
fn said_of(change: &Change, known: &[Option<[EndpointId; 2]>], side: Side) -> Vec<(EndpointId, Signalled)> {
    let streams = change.streams.iter().zip(known);
    streams
        .filter_map(|(wanted, known)| match wanted {
            StreamChange::Open(open) if open.update => {
                Some((known.as_ref()?[at(side)], open.sides[at(side)].signalled.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Opens an end on a port of its bound address. One that is learned goes, if it can, where no other stream of its side is
/// (`beside`): when all of them move at once, each can be waited for, and none is former where another try was heard.
fn open_end(
    now: Instant,
    streams: &mut Streams<RandomState>,
    side: &OpenSide,
    (pairs, by_bind): (&[PortPair], &[Vec<PortId>]),
    beside: &[PortId],
) -> Result<EndpointId, NoPort> {
    let ports = by_bind.get(side.bind).ok_or(NoPort)?;
    let is_its_remote = |port: &PortId| {
        let number = pairs.get(port.0 as usize).map(|pair| pair.port);
        side.not.is_some_and(|not| number.is_none_or(|number| number == not || number + 1 == not))
    };
    let ports: Vec<PortId> = ports.iter().copied().filter(|port| !is_its_remote(port)).collect();
    let apart: Vec<PortId> = ports.iter().copied().filter(|port| !beside.contains(port)).collect();
    // Two at least, of which a ringing phone leaves one.
    if side.signalled.learn != Learn::Never
        && (2..ports.len()).contains(&apart.len())
        && let Ok(end) = streams.open(now, &apart, side.near, side.signalled.clone())
    {
        return Ok(end);
    }
    streams.open(now, &ports, side.near, side.signalled.clone())
}
