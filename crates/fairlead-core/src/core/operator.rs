//! What the operator sees of this shard.

use fairlead_model::channel::{Bridge, Channel};

use super::*;

/// Calls counted since birth.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub begun: u64,
    pub answered: u64,
    pub ended: u64,
    pub adopted: u64,
}

/// A shard at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls that ring or are up.
    pub calls: usize,
    /// Calls that are over and wait for their last messages.
    pub ending: usize,
    /// Transactions, both kinds.
    pub transactions: usize,
    /// Questions to the registrar that wait for an answer.
    pub asks: usize,
    /// Orders to relays that wait for a reply.
    pub orders: usize,
    /// Contacts that are qualified.
    pub qualified: usize,
    /// Calls since birth that were admitted.
    pub begun: u64,
    /// That were answered.
    pub answered: u64,
    /// That are over.
    pub ended: u64,
    /// That another pod had begun.
    pub adopted: u64,
    /// It takes no new calls.
    pub draining: bool,
}

impl Core {
    /// Calls that are there: ringing, up, or not yet forgotten.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Nothing waits for anything: no call, no transaction, no question.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.transactions.is_empty()
            && self.asks.is_empty()
            && self.orders.is_empty()
            && self.untold.is_empty()
    }

    /// The legs of calls that are not over.
    pub fn channels(&self) -> Vec<Channel> {
        let pod = self.identity.pod;
        let open = self.calls.values().filter(|entry| !entry.call.is_ending());
        open.flat_map(|entry| entry.call.channels(pod)).collect()
    }

    /// The calls whose legs hear each other.
    pub fn bridges(&self) -> Vec<Bridge> {
        self.calls.values().filter_map(|entry| entry.call.bridge(self.identity.pod)).collect()
    }

    /// A shard at a glance.
    pub fn statistics(&self) -> Statistics {
        let ending = self.calls.values().filter(|entry| entry.call.is_ending()).count();
        Statistics {
            calls: self.calls.len() - ending,
            ending,
            transactions: self.transactions.len(),
            asks: self.asks.len(),
            orders: self.orders.len(),
            qualified: self.qualify.len(),
            begun: self.counts.begun,
            answered: self.counts.answered,
            ended: self.counts.ended,
            adopted: self.counts.adopted,
            draining: self.draining,
        }
    }
}
