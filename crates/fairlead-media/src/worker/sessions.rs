//! The sessions of a worker: streams opened, changed and closed, all or nothing.

use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Instant;

use fairlead_model::id::Side;
use fairlead_model::relay::{SessionRef, SessionStatistics};
use rtp::{EndpointId, NoPort, PortId};

use super::Worker;
use crate::session::{
    Change, NotChanged, OpenSide, OpenStream, SIDES, Session, Stream, StreamChange, StreamPorts, at,
    statistics_of,
};

#[derive(Clone, Copy, Debug, Default)]
struct Opened {
    end: Option<EndpointId>,
}

impl Worker {
    /// Makes a change, or none of it.
    pub(super) fn change(&mut self, change: Change) -> Result<Vec<StreamPorts>, NotChanged> {
        let now = Instant::now();
        if let Entry::Vacant(vacant) = self.sessions.entry(change.session) {
            if !change.opens {
                return Err(NotChanged::Unknown);
            }
            vacant.insert(Session { began: now, since: now, streams: Vec::new(), silence: [None; 2] });
        }
        let planned = self.plan(now, &change);
        let Some(session) = self.sessions.get_mut(&change.session) else { return Err(NotChanged::Unknown) };
        let opened = match planned {
            Ok(opened) => opened,
            Err(NoPort) => {
                if session.streams.is_empty() {
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
                    let ends = opened.map(|opened| opened.end);
                    let known = slot.take();
                    let old = known.as_ref().map(|stream| stream.ends);
                    let end = |at: usize| ends[at].or(old.map(|old| old[at]));
                    let (Some(a), Some(b)) = (end(0), end(1)) else { continue };
                    closing.extend(old.into_iter().flatten().filter(|end| *end != a && *end != b));
                    let advertised = [open.sides[0].advertise, open.sides[1].advertise];
                    *slot = Some(Stream { media: open.media.clone(), ends: [a, b], advertised });
                    self.streams.join(a, b);
                    if open.update && old.is_some() {
                        for (end, side) in [a, b].into_iter().zip(&open.sides) {
                            // It was asked for in `plan`, and nothing has happened since.
                            if let Err(taken) = self.streams.signal(now, end, side.signalled.clone()) {
                                tracing::error!(%taken, "an end did not take what it had agreed to");
                            }
                        }
                    }
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

    /// Opens the ends that are needed and asks whether the others can be changed. On failure nothing is left of it.
    fn plan(&mut self, now: Instant, change: &Change) -> Result<Vec<[Opened; 2]>, NoPort> {
        let mut opened: Vec<[Opened; 2]> = Vec::with_capacity(change.streams.len());
        let mut told = Vec::new();
        let mut failed = false;
        for (index, wanted) in change.streams.iter().enumerate() {
            let mut ends = [Opened::default(); 2];
            if let StreamChange::Open(open) = wanted
                && !failed
            {
                failed = self.plan_stream(now, change, index, open, &mut ends, &mut told).is_err();
            }
            opened.push(ends);
        }
        if failed {
            for end in opened.iter().flatten().filter_map(|opened| opened.end) {
                self.streams.close(now, end);
            }
            for end in told {
                self.streams.untell(end);
            }
            return Err(NoPort);
        }
        Ok(opened)
    }

    fn plan_stream(
        &mut self,
        now: Instant,
        change: &Change,
        index: usize,
        open: &OpenStream,
        ends: &mut [Opened; 2],
        told: &mut Vec<EndpointId>,
    ) -> Result<(), NoPort> {
        let known = self
            .sessions
            .get(&change.session)
            .and_then(|session| session.streams.get(index))
            .and_then(|stream| stream.as_ref())
            .map(|stream| stream.ends);
        for side in SIDES {
            let (place, wanted) = (at(side), &open.sides[at(side)]);
            let stays = match known {
                None => false,
                Some(_) if !open.update => true,
                // It begins to wait at once, so that no other stream of this change takes its place.
                Some(known) if self.streams.is_untold(known[place]) => {
                    let waits = self.streams.signal(now, known[place], wanted.signalled.clone()).is_ok();
                    told.extend(waits.then_some(known[place]));
                    waits
                }
                Some(known) => self.streams.may_signal(known[place], &wanted.signalled),
            };
            if !stays {
                if known.is_some() && side != change.told {
                    // It has been told its port; another one it would not know.
                    return Err(NoPort);
                }
                ends[place].end = Some(self.open(now, wanted)?);
            }
        }
        Ok(())
    }

    fn open(&mut self, now: Instant, side: &OpenSide) -> Result<EndpointId, NoPort> {
        let ports = self.by_bind.get(side.bind).ok_or(NoPort)?;
        match side.not {
            None => self.streams.open(now, ports, side.near, side.signalled.clone()),
            Some(number) => {
                let is_other = |port: &PortId| {
                    self.ports
                        .get(port.0 as usize)
                        .is_some_and(|pair| pair.port != number && pair.port + 1 != number)
                };
                let ports: Vec<PortId> = ports.iter().copied().filter(is_other).collect();
                self.streams.open(now, &ports, side.near, side.signalled.clone())
            }
        }
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
