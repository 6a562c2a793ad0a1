//! Claims of first requests, and call slots.

use fairlead_model::ask::Usage;
use fairlead_model::id::{CallRef, UnixMillis};

use super::{Engine, TABLE_MAX};
use crate::error::StoreError;
use crate::record::Slot;
use crate::step::{Claim, Occupy, Outcome};

impl Engine {
    pub(super) fn claim(&mut self, claim: Claim, now: UnixMillis) -> Result<Outcome, StoreError> {
        let key = (claim.call_id, claim.from_tag);
        if let Some((held, until)) = self.owners.get(&key)
            && *until > now
            && (held.call == claim.owner.call || held.cseq >= claim.owner.cseq)
        {
            return Ok(Outcome::Owner(Some(held.clone())));
        }
        if self.owners.len() >= TABLE_MAX {
            return Err(StoreError::Overloaded);
        }
        let until = now.plus_millis(claim.life.as_millis() as u64);
        self.owners.insert(key, (claim.owner, until));
        Ok(Outcome::Owner(None))
    }

    pub(super) fn owner(&self, call_id: String, from_tag: String, now: UnixMillis) -> Outcome {
        let held = self.owners.get(&(call_id, from_tag));
        Outcome::Owner(held.filter(|(_, until)| *until > now).map(|(owner, _)| owner.clone()))
    }

    pub(super) fn disown(&mut self, call_id: String, from_tag: String, call: CallRef) -> Outcome {
        let key = (call_id, from_tag);
        if self.owners.get(&key).is_some_and(|(owner, _)| owner.call == call) {
            self.owners.remove(&key);
        }
        Outcome::Done
    }

    pub(super) fn occupy(&mut self, wish: Occupy) -> Result<Outcome, StoreError> {
        if self.slots_by_call.len() >= TABLE_MAX {
            return Err(StoreError::Overloaded);
        }
        let slots = self.slots.entry(wish.peer.clone()).or_default();
        if let Some(slot) = slots.get_mut(&wish.call) {
            slot.pod = wish.pod;
            return Ok(Outcome::Occupied { granted: true, count: slots.len() as u32 });
        }
        if !wish.living.is_empty() {
            slots.retain(|_, slot| wish.living.contains(&slot.pod));
        }
        let count = slots.len() as u32;
        if wish.limit > 0 && count >= wish.limit {
            return Ok(Outcome::Occupied { granted: false, count });
        }
        slots.insert(wish.call, Slot { call: wish.call, pod: wish.pod, usage: wish.usage });
        let peers = self.slots_by_call.entry(wish.call).or_default();
        if !peers.contains(&wish.peer) {
            peers.push(wish.peer);
        }
        Ok(Outcome::Occupied { granted: true, count: count + 1 })
    }

    pub(super) fn release(&mut self, call: CallRef) -> Outcome {
        for peer in self.slots_by_call.remove(&call).unwrap_or_default() {
            if let Some(slots) = self.slots.get_mut(&peer) {
                slots.remove(&call);
                if slots.is_empty() {
                    self.slots.remove(&peer);
                }
            }
        }
        Outcome::Done
    }

    pub(super) fn set_usage(&mut self, peer: &str, call: CallRef, usage: Usage) -> Outcome {
        if let Some(slot) = self.slots.get_mut(peer).and_then(|slots| slots.get_mut(&call)) {
            slot.usage = usage;
        }
        Outcome::Done
    }

    pub(super) fn slots_of(&self, peer: &str) -> Outcome {
        Outcome::Slots(
            self.slots.get(peer).map(|slots| slots.values().cloned().collect()).unwrap_or_default(),
        )
    }
}
