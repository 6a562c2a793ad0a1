//! Changes of several sides that are made all or not at all.

use std::hash::BuildHasher;
use std::net::SocketAddr;

use super::Streams;
use crate::endpoint::Endpoint;
use crate::table::{EndpointId, PortId};

/// Something as it was.
#[derive(Debug)]
enum Was {
    /// This one was not there.
    Opened(EndpointId),
    Endpoint(EndpointId, Box<Endpoint>),
    Rtcp((PortId, SocketAddr), Option<EndpointId>),
}

/// What was changed, as it was; empty while no change is under way.
#[derive(Debug, Default)]
pub(super) struct Undo {
    depth: u32,
    entries: Vec<Was>,
}

impl Undo {
    fn note(&mut self, was: impl FnOnce() -> Option<Was>) {
        if self.depth > 0 {
            self.entries.extend(was());
        }
    }
}

impl<S: BuildHasher + Clone> Streams<S> {
    /// Makes changes by [`open`](Self::open), [`signal`](Self::signal) and [`signal_all`](Self::signal_all), and nothing
    /// of them when they fail. Each sees what those before it took and gave up.
    pub fn all_or_nothing<T, E>(&mut self, changes: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (mark, of_table) = (self.undo.entries.len(), self.table.begin());
        self.undo.depth += 1;
        let result = changes(self);
        self.undo.depth = self.undo.depth.saturating_sub(1);
        self.table.end(of_table, result.is_ok());
        if result.is_err() {
            let undone = self.undo.entries.split_off(mark.min(self.undo.entries.len()));
            undone.into_iter().rev().for_each(|was| self.put_back(was));
        }
        if self.undo.depth == 0 {
            self.undo.entries.clear();
        }
        result
    }

    fn put_back(&mut self, was: Was) {
        match was {
            Was::Opened(id) => {
                if let Some(slot) = self.slots.get_mut(id.index as usize) {
                    slot.endpoint = None;
                    self.free.push(id.index);
                }
            }
            Was::Endpoint(id, before) => {
                if let Some(endpoint) = self.endpoint_mut(id) {
                    *endpoint = *before;
                }
            }
            Was::Rtcp(place, Some(who)) => {
                self.rtcp.insert(place, who);
            }
            Was::Rtcp(place, None) => {
                self.rtcp.remove(&place);
            }
        }
    }

    pub(super) fn note_opened(&mut self, id: EndpointId) {
        self.undo.note(|| Some(Was::Opened(id)));
    }

    pub(super) fn note_endpoint(&mut self, id: EndpointId) {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation);
        let endpoint = slot.and_then(|slot| slot.endpoint.as_ref());
        self.undo.note(|| endpoint.map(|endpoint| Was::Endpoint(id, endpoint.clone())));
    }

    pub(super) fn note_rtcp(&mut self, place: (PortId, SocketAddr)) {
        let known = self.rtcp.get(&place).copied();
        self.undo.note(|| Some(Was::Rtcp(place, known)));
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::endpoint::Source;
    use crate::{Learn, NoPort, Remote, Settings, Signalled};

    impl Streams<RandomState> {
        fn picture(&self) -> Vec<String> {
            let mut all = self.table.picture();
            all.extend(self.rtcp.iter().map(|entry| format!("rtcp {entry:?}")));
            all.extend(self.ssrcs.iter().map(|entry| format!("ssrc {entry:?}")));
            all.extend(self.slots.iter().filter_map(|slot| slot.endpoint.as_ref()).map(|e| format!("{e:?}")));
            assert!(self.undo.entries.is_empty());
            all.sort();
            all
        }
    }

    /// Whoever has a place knows it, and nobody else thinks so.
    fn assert_consistent(streams: &Streams<RandomState>) {
        for (port, address, who) in streams.table.live() {
            let endpoint = streams.endpoint(who).expect("nobody has a triple when it has ended");
            let own = [endpoint.source(), endpoint.was.map(|was| was.address), endpoint.address];
            assert!(endpoint.port == port && own.contains(&Some(address)), "{address} {endpoint:?}");
        }
        for (port, address, who) in streams.table.all_said() {
            let endpoint = streams.endpoint(who).expect("nobody says anything when it has ended");
            let says = (endpoint.port, endpoint.address, endpoint.source);
            assert_eq!(says, (port, Some(address), Source::Waiting));
        }
        let waiters = streams.table.waiters();
        for (port, learn, who) in &waiters {
            let endpoint = streams.endpoint(*who).expect("nobody waits when it has ended");
            let waits = (endpoint.port, endpoint.signalled.learn, endpoint.source);
            assert_eq!(waits, (*port, *learn, Source::Waiting));
        }
        let endpoints = streams.slots.iter().filter_map(|slot| slot.endpoint.as_ref());
        let waiting = endpoints.filter(|endpoint| endpoint.source == Source::Waiting);
        assert_eq!(waiters.len(), waiting.count());
        assert_eq!(waiters.len(), streams.sizes().1);
    }

    fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        }
    }

    fn address(random: &mut impl FnMut(u64) -> u64) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, random(3) as u8], 4_000 + random(3) as u16))
    }

    fn said(random: &mut impl FnMut(u64) -> u64) -> Signalled {
        let remote = match random(6) {
            0 => Remote::Zero,
            1 => Remote::Unknown,
            _ => Remote::At(address(random)),
        };
        let learn = match random(5) {
            0 | 1 => Learn::Never,
            2 => Learn::Anywhere,
            _ => Learn::From(address(random).ip()),
        };
        let rtcp = (random(2) == 0).then(|| address(random));
        let payloads = [(0, 8_000)].into_iter().collect();
        let (mux, untold) = (rtcp.is_none(), random(4) == 0);
        let party = Some(random(4)).filter(|party| *party < 2);
        Signalled { remote, rtcp, mux, learn, untold, payloads, party, ..Signalled::default() }
    }

    fn packet(random: &mut impl FnMut(u64) -> u64, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, if random(5) == 0 { 201 } else { 0 }];
        packet.extend(if packet.get(1) == Some(&201) { 1 } else { sequence }.to_be_bytes());
        packet.extend((random(4) as u32).to_be_bytes());
        packet.extend((random(4) as u32).to_be_bytes());
        packet
    }

    /// Moves some, opens some, and fails or not; the ends that were opened, and those that have no place any more.
    fn change(
        streams: &mut Streams<RandomState>,
        random: &mut impl FnMut(u64) -> u64,
        now: Instant,
        known: &[EndpointId],
    ) -> Result<(Vec<EndpointId>, Vec<EndpointId>), NoPort> {
        let ports = [PortId(0), PortId(1)];
        let near: IpAddr = address(random).ip();
        let mut opened = Vec::new();
        if random(2) == 0 {
            opened.push(streams.open(now, &ports, near, said(random))?);
        }
        let mut moved = Vec::new();
        for id in known {
            if random(3) == 0 {
                moved.push((*id, said(random)));
            }
        }
        let homeless = streams.signal_all(now, moved);
        if random(2) == 0 {
            opened.push(streams.open(now, &ports, near, said(random))?);
        }
        if random(4) == 0 { Err(NoPort) } else { Ok((opened, homeless)) }
    }

    #[test]
    fn whatever_happens_a_change_that_fails_leaves_nothing_and_in_the_end_nothing_is_left() {
        let mut random = numbers(0x2545_f491_4f6c_dd1d);
        let (mut failed, mut moved) = (0, 0);
        for _ in 0..300 {
            let settings = Settings { formers: 5, ..Settings::default() };
            let mut streams = Streams::new(2, settings, RandomState::new());
            let (mut now, mut known) = (Instant::now(), Vec::new());
            for step in 0..200_u16 {
                now += Duration::from_millis([20, 20, 20, 60, 26_000, 31_000][random(6) as usize]);
                let before = streams.picture();
                match streams.all_or_nothing(|streams| change(streams, &mut random, now, &known)) {
                    Err(NoPort) => {
                        failed += 1;
                        assert_eq!(streams.picture(), before);
                    }
                    Ok((opened, homeless)) => {
                        known.extend(opened);
                        known.retain(|id| !homeless.contains(id));
                        moved += homeless.len();
                        homeless.iter().for_each(|id| assert!(streams.close(now, *id).is_some()));
                    }
                }
                if let [one, .., other] = known[..] {
                    streams.join(one, other);
                }
                for n in 0..random(6) as u16 {
                    let datagram = packet(&mut random, step + n);
                    streams.packet(
                        now,
                        PortId(random(2) as u32),
                        random(4) == 0,
                        address(&mut random),
                        &datagram,
                    );
                }
                while known.len() > random(5) as usize {
                    let id = known.swap_remove(random(known.len() as u64) as usize);
                    assert!(streams.close(now, id).is_some());
                }
                streams.tick(now, |_| {});
                assert_consistent(&streams);
            }
            known.drain(..).for_each(|id| assert!(streams.close(now, id).is_some()));
            for seconds in [31, 62] {
                streams.tick(now + Duration::from_secs(seconds), |_| {});
            }
            assert_eq!(streams.picture(), Vec::<String>::new());
        }
        assert!(failed > 1_000 && moved > 1_000, "{failed} {moved}");
    }
}
