//! What signalling says of sides that are there already, and what that does to their places.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use super::Streams;
use crate::endpoint::{Endpoint, Learn, Remote, Signalled, Source, Was};
use crate::flow::Flow;
use crate::probation::Probation;
use crate::table::{EndpointId, NoPort};

impl<S: BuildHasher + Clone> Streams<S> {
    /// Signalling says something about one side. When it says where that side is, and that is news, a lock on where
    /// it was is given up; the same again changes nothing. On failure nothing has changed.
    pub fn signal(&mut self, now: Instant, id: EndpointId, signalled: Signalled) -> Result<(), NoPort> {
        self.all_or_nothing(|streams| {
            let homeless = streams.signal_all(now, vec![(id, signalled)]);
            if homeless.is_empty() { Ok(()) } else { Err(NoPort) }
        })
    }

    /// The same about several sides at once, those first that cannot go to another port. All that move give up where they
    /// were before any of them takes a new place, so two may change places.
    ///
    /// Those that found their new place taken come back. They have no place on their port any more: open others and close
    /// them, or let the change fail (see [`all_or_nothing`](Self::all_or_nothing)).
    pub fn signal_all(&mut self, now: Instant, said: Vec<(EndpointId, Signalled)>) -> Vec<EndpointId> {
        let mut stay = Vec::with_capacity(said.len());
        let mut go = Vec::new();
        let mut homeless = Vec::new();
        for (id, signalled) in said {
            self.note_endpoint(id);
            match self.endpoint(id).map(|endpoint| moves(endpoint, &signalled)) {
                None => homeless.push(id),
                Some(false) => stay.push((id, signalled)),
                Some(true) => {
                    let kept = self.endpoint(id).and_then(Endpoint::kept);
                    self.leave(now, id, &signalled);
                    go.push((id, signalled, kept));
                }
            }
        }
        for (id, signalled, kept) in go {
            match self.settle(now, id, signalled) {
                Ok(()) => self.begin_flows(id, kept),
                Err(NoPort) => homeless.push(id),
            }
        }
        // Last, as these only may take a place.
        for (id, signalled) in stay {
            self.hear_again(now, id, signalled);
        }
        homeless
    }

    /// It gives up where it is, but for what it is to have again. A place that was learned and that it may still come from
    /// stays its own until it is heard elsewhere: it may have another socket, or only another description.
    fn leave(&mut self, now: Instant, id: EndpointId, signalled: &Signalled) {
        let late = now + self.settings.former;
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return;
        };
        let (port, address) = (endpoint.port, signalled.remote.address());
        let old = endpoint.source().filter(|&old| Some(old) != address);
        let learned = endpoint.signalled.learn != Learn::Never && !signalled.untold;
        let stays = old.filter(|old| learned && signalled.learn.covers(old.ip()));
        if let Some(old) = old.filter(|_| stays.is_none()) {
            self.table.retire(now, port, old, (id, endpoint.party), endpoint.counters.reception.ssrc());
        }
        if let Some(said) = endpoint.address.filter(|&said| Some(said) != address && Some(said) != stays) {
            self.table.release(now, port, said, id);
        }
        if let Some(said) = endpoint.address {
            self.table.unsay(port, said, id);
        }
        self.table.stop_waiting(port, endpoint.signalled.learn, id);
        endpoint.was = stays.map(|address| Was { address, moved: Some(late) });
        endpoint.source = Source::Pending;
        endpoint.address = address.or(endpoint.address);
        endpoint.probation = Probation::default();
    }

    /// It takes the place that signalling says, if nobody else has it.
    fn settle(&mut self, now: Instant, id: EndpointId, signalled: Signalled) -> Result<(), NoPort> {
        let Some(endpoint) =
            self.slots.get_mut(id.index as usize).and_then(|slot| slot.endpoint.as_deref_mut())
        else {
            return Err(NoPort);
        };
        let (port, learn, address) = (endpoint.port, signalled.learn, signalled.remote.address());
        let free = address.filter(|&address| self.table.may_claim(port, address, id));
        endpoint.source = match (learn, address) {
            (Learn::Never, Some(address)) => {
                free.ok_or(NoPort)?;
                Source::Locked(address)
            }
            (Learn::Never, None) => Source::Pending,
            _ if signalled.untold => Source::Pending,
            _ if !self.table.may_wait(port, learn, Some(id)) => return Err(NoPort),
            _ => {
                self.table.wait(port, learn, id);
                Source::Waiting
            }
        };
        // Where it is not expected (a private address, or beside a proxy) it has no right before those who are.
        let expected = address.is_some_and(|said| learn == Learn::Never || learn == Learn::From(said.ip()));
        match (endpoint.source, address) {
            (Source::Pending, _) | (_, None) => {}
            (Source::Waiting, Some(said)) if !expected => self.table.say(port, said, id),
            (Source::Waiting | Source::Locked(_), Some(_)) => {
                if let Some(said) = free {
                    self.table.claim(now, port, said, (id, endpoint.party));
                }
            }
        }
        if matches!(endpoint.source, Source::Locked(_))
            && let Some(near) = endpoint.near.take()
        {
            self.table.not_near(port, near);
        }
        let rtcp = signalled.rtcp;
        let replaced = std::mem::replace(&mut endpoint.signalled, signalled).rtcp;
        self.expect_rtcp(port, replaced, rtcp, id);
        Ok(())
    }

    /// What was known of its flows holds for where they went.
    fn begin_flows(&mut self, id: EndpointId, kept: Option<SocketAddr>) {
        let Some(endpoint) = self.endpoint_mut(id).filter(|endpoint| endpoint.kept() != kept) else { return };
        endpoint.rtp_flow = Flow::default();
        endpoint.rtcp_flow = Flow::default();
        let (port, rtcp) = (endpoint.port, endpoint.signalled.rtcp);
        let learned = endpoint.rtcp_learned.take();
        self.expect_rtcp(port, learned, rtcp, id);
    }

    /// It stays where it is.
    fn hear_again(&mut self, now: Instant, id: EndpointId, signalled: Signalled) {
        let Some(endpoint) = self.endpoint_mut(id) else { return };
        let (port, learn) = (endpoint.port, endpoint.signalled.learn);
        let (before, rtcp) = (endpoint.signalled.rtcp, signalled.rtcp);
        endpoint.address = signalled.remote.address().or(endpoint.address);
        endpoint.signalled = Signalled { learn, ..signalled };
        self.expect_rtcp(port, before, rtcp, id);
        self.learn_again(now, id);
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
            endpoint.was = Some(Was { address, moved: None });
            endpoint.source = Source::Waiting;
        }
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
