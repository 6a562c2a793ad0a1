//! Established calls are written down beside the path, and gone on with by whoever adopts them.

use fairlead_call::call::Restored;
use fairlead_call::checkpoint::{SCHEMA, State};
use fairlead_model::checkpoint::CheckpointRecord;

use super::*;

/// A record that could not be written is written again after this.
pub(super) const AGAIN: Duration = Duration::from_secs(3);

impl Core {
    /// A call reached a confirmed state.
    pub(super) fn confirmed(&mut self, reference: CallRef, now: Now) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        let owned = entry.owned.take();
        let record = record_of(&entry.call, self.identity.pod, now);
        entry.checkpointed |= record.is_some();
        if let Some(record) = record {
            let key = self.fresh_key();
            let ask = Ask::Checkpoint { call: reference, record: Some(record) };
            self.ask(ask, key, Asked::Checkpoint { call: reference });
        }
        if let Some((call_id, from_tag)) = owned {
            self.tell(Ask::Disown { call_id, from_tag, call: reference });
        }
    }

    /// Another pod goes on with a call: nothing is said to anybody, and nothing of it is kept.
    pub(super) fn let_go(&mut self, reference: CallRef) {
        let Some(entry) = self.calls.remove(&reference) else { return };
        self.strays.lives_elsewhere(reference);
        for (_, transaction) in &entry.open {
            self.transactions.forget(*transaction);
        }
        for number in &entry.held {
            self.holding.remove(number);
        }
        for call_id in &entry.adopted {
            self.adopted.remove(call_id);
        }
        self.router.forget(entry.adopted.iter().map(String::as_str));
        self.counts.ended += 1;
        self.event(Event::Dropped { reason: "call_fenced" });
    }

    /// A call is over: its record goes too.
    pub(super) fn uncheckpoint(&mut self, reference: CallRef) {
        let Some(entry) = self.calls.get_mut(&reference) else { return };
        if std::mem::take(&mut entry.checkpointed) {
            self.tell(Ask::Checkpoint { call: reference, record: None });
        }
    }

    /// Goes on with a call that another pod, or an earlier incarnation, had.
    pub(super) fn adopt(&mut self, record: &CheckpointRecord, now: Now) {
        if self.calls.contains_key(&record.call) {
            return;
        }
        let state = match State::from_bytes(record.schema, &record.state) {
            Ok(state) => state,
            Err(_) => return self.event(Event::Dropped { reason: "checkpoint" }),
        };
        let Some(key) = self.router.keys().first().cloned() else {
            return self.event(Event::Dropped { reason: "not_briefed" });
        };
        // Names of ours: what is written from now on finds this pod.
        let number = self.next_number();
        let ours = CallRef { pod: self.identity.pod, shard: ShardRef(self.identity.shard), number };
        let ways = self.ways_of(&state);
        let restored = Restored {
            state,
            names: Box::new(CallNames::new(ours, key)),
            user_agent: self.general.user_agent.clone(),
            epoch: record.epoch.saturating_add(1),
        };
        let call = Call::resume(restored, now);
        let adopted = call.call_ids();
        for call_id in &adopted {
            self.adopted.insert(call_id.clone(), record.call);
        }
        self.router.adopt(adopted.iter().map(String::as_str), ShardRef(self.identity.shard));
        let attempt = call.winner();
        let mut known = vec![(None, ways.0)];
        known.push((attempt, ways.1));
        let entry = Entry {
            call_id: adopted.first().cloned().unwrap_or_default(),
            call,
            ways: known,
            open: Vec::new(),
            held: Vec::new(),
            owned: None,
            refusal: None,
            checkpointed: true,
            adopted,
            scheduled: Scheduled::default(),
        };
        self.calls.insert(record.call, entry);
        self.counts.adopted += 1;
        // The record names its new owner under the next epoch.
        self.confirmed(record.call, now);
        self.renew_later(now);
        self.drive(record.call, now);
    }

    /// The ways of both legs as far as a written call tells: the flow by which they were last reached, if its pod is
    /// there, else their address.
    fn ways_of(&self, state: &State) -> (Way, Way) {
        let way = |outlet: &fairlead_call::leg::Outlet, flow: Option<Flow>| {
            let remote = SocketAddr::new(outlet.remote, outlet.port);
            let to = self.way_to(outlet.transport, &[remote]);
            let flow = flow.filter(|flow| self.router.is_there(flow.pod));
            let to = match (flow, to) {
                (Some(flow), _) => SendTo::Flow(flow),
                (None, Some(to)) => to,
                (None, None) => SendTo::Address { network: 0, remote },
            };
            Way { to, flow, located: flow, others: VecDeque::new(), network: 0 }
        };
        let flow = match &state.target.hop {
            fairlead_model::flow::Hop::Flow(flow) => Some(*flow),
            fairlead_model::flow::Hop::Address { .. } => None,
        };
        (way(&state.a.outlet, None), way(&state.b.outlet, flow))
    }
}

fn record_of(call: &Call, owner: PodRef, now: Now) -> Option<CheckpointRecord> {
    let state = call.state()?.to_bytes().ok()?;
    Some(CheckpointRecord {
        call: call.reference(),
        owner,
        epoch: call.epoch(),
        schema: SCHEMA,
        written: now.wall,
        deadline: call.deadline(),
        call_ids: call.call_ids(),
        state,
    })
}
