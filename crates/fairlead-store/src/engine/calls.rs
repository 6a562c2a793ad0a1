//! Checkpoints of established calls.

use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::{CallRef, PodRef};

use super::{Engine, Write};
use crate::step::Outcome;

impl Engine {
    pub(super) fn write_checkpoint(&mut self, record: CheckpointRecord, writes: &mut Vec<Write>) -> Outcome {
        if let Some(stored) = self.checkpoints.get(&record.call)
            && (stored.epoch > record.epoch || (stored.epoch == record.epoch && stored.owner != record.owner))
        {
            return Outcome::Fenced { epoch: stored.epoch };
        }
        writes.push(Write::call(&record));
        self.remember_call(record);
        Outcome::Done
    }

    pub(super) fn remember_call(&mut self, record: CheckpointRecord) {
        if let Some(old) = self.checkpoints.get(&record.call) {
            for call_id in &old.call_ids {
                self.by_call_id.remove(call_id);
            }
        }
        for call_id in &record.call_ids {
            self.by_call_id.insert(call_id.clone(), record.call);
        }
        self.checkpoints.insert(record.call, record);
    }

    pub(super) fn end_checkpoint(&mut self, call: CallRef, writes: &mut Vec<Write>) -> Outcome {
        if let Some(record) = self.checkpoints.remove(&call) {
            for call_id in &record.call_ids {
                self.by_call_id.remove(call_id);
            }
            writes.push(Write::no_call(call));
        }
        Outcome::Done
    }

    pub(super) fn checkpoint_of(&self, call: CallRef) -> Outcome {
        Outcome::Checkpoint(self.checkpoints.get(&call).cloned().map(Box::new))
    }

    pub(super) fn checkpoint_by_call_id(&self, call_id: &str) -> Outcome {
        match self.by_call_id.get(call_id) {
            Some(call) => self.checkpoint_of(*call),
            None => Outcome::Checkpoint(None),
        }
    }

    pub(super) fn calls_of(&self, pod: PodRef) -> Outcome {
        let mut calls: Vec<CallRef> = self
            .checkpoints
            .values()
            .filter(|record| record.owner == pod)
            .map(|record| record.call)
            .collect();
        calls.sort_unstable();
        Outcome::Calls(calls)
    }
}
