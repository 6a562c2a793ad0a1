//! A step on its way to Redis: its commands, what follows once the first are answered, and how replies are read.

use fairlead_model::id::CallRef;
use fairlead_model::provision::Provision;
use redis::{Cmd, Value, cmd};

use super::encode::{add_marked, add_name, one};
use super::read;
use crate::error::StoreError;
use crate::keys;
use crate::marked;
use crate::record::Columns;
use crate::step::{Outcome, Step};

/// A step on its way: its commands, and how their replies are read.
pub struct Errand {
    /// What is sent.
    pub commands: Vec<Cmd>,
    pub(super) kind: Kind,
}

/// How the replies to a step are read.
pub(super) enum Kind {
    Done,
    Load(String),
    PutPeer {
        name: String,
        columns: Columns,
    },
    DeletePeer(String),
    Provision(Box<Provision>),
    Withdraw(String),
    Row,
    Restored,
    Secrets,
    Incarnation,
    Complete,
    Surroundings,
    Names(u32),
    Listed(String),
    Bind(String),
    Nonce,
    Claimed,
    Owner,
    Release(CallRef),
    Occupied,
    Slots,
    WriteCheckpoint(CallRef),
    EndCheckpoint(CallRef),
    Checkpoint,
    /// The first reply names the call; its record is another journey.
    CheckpointByCallId,
    Calls,
    Members,
    Secret,
    Epoch,
    /// It could not be put into commands.
    Impossible(StoreError),
}

impl Errand {
    /// What is to be done after the first replies are there.
    pub fn follow_up(&self, replies: &[Value]) -> Vec<Cmd> {
        let first = replies.first().cloned().unwrap_or_default();
        match &self.kind {
            Kind::Release(call) => {
                let peers = read::texts(first).into_iter().flatten();
                let mut commands: Vec<Cmd> = peers
                    .map(|peer| one(cmd("HDEL").arg(keys::slots(&peer)).arg(call.to_string())))
                    .collect();
                if !commands.is_empty() {
                    commands.push(one(cmd("DEL").arg(keys::call_slots(*call))));
                }
                commands
            }
            Kind::EndCheckpoint(call) => {
                let mut fields = read::texts(first).into_iter();
                let head = fields
                    .next()
                    .flatten()
                    .and_then(|head| serde_json::from_str::<keys::CallHead>(&head).ok());
                let Some(record) = head.and_then(|head| head.into_record(Default::default()).ok()) else {
                    return vec![one(cmd("DEL").arg(keys::call(*call)))];
                };
                let mut commands: Vec<Cmd> =
                    record.call_ids.iter().map(|id| one(cmd("DEL").arg(keys::call_id(id)))).collect();
                commands.push(one(cmd("SREM").arg(keys::calls_of(record.owner)).arg(call.to_string())));
                commands.push(one(cmd("DEL").arg(keys::call(*call))));
                commands
            }
            Kind::WriteCheckpoint(call) => {
                let former = read::items(first).into_iter().nth(1).and_then(read::text).unwrap_or_default();
                match former.parse() {
                    // The owner changed: the former one no longer has it.
                    Ok(pod) if replies.len() > 1 => {
                        let now = self.owner_of_checkpoint();
                        (now != Some(pod))
                            .then(|| one(cmd("SREM").arg(keys::calls_of(pod)).arg(call.to_string())))
                            .into_iter()
                            .collect()
                    }
                    _ => Vec::new(),
                }
            }
            Kind::PutPeer { name, columns } => {
                let was = read::text(first).unwrap_or_default();
                let was = keys::host_address(&Columns::from([("host".to_owned(), was)]));
                let is = keys::host_address(columns);
                let mut commands = vec![add_name(name)];
                if let Some(was) = was.filter(|_| columns.contains_key("host") && was != is) {
                    commands.push(one(cmd("SREM").arg(keys::address(was)).arg(name)));
                }
                if let Some(is) = is {
                    commands.push(one(cmd("SADD").arg(keys::address(is)).arg(name)));
                }
                if marked::mark_of(columns).is_some() {
                    commands.push(add_marked(name));
                }
                commands
            }
            Kind::Provision(peer) => {
                let mut fields = read::texts(first).into_iter().flatten();
                let outcome = fields.next().unwrap_or_default();
                if outcome == "taken" {
                    return Vec::new();
                }
                // Also when nothing changed: an index that lost it is put right by that.
                let mut commands = vec![add_name(&peer.name), add_marked(&peer.name)];
                let is = keys::host_address(&peer.columns);
                let was = fields.next().filter(|_| outcome == "written").unwrap_or_default();
                let was = keys::host_address(&Columns::from([("host".to_owned(), was)]));
                if let Some(was) = was.filter(|_| was != is) {
                    commands.push(one(cmd("SREM").arg(keys::address(was)).arg(&peer.name)));
                }
                if let Some(is) = is {
                    commands.push(one(cmd("SADD").arg(keys::address(is)).arg(&peer.name)));
                }
                commands
            }
            Kind::Withdraw(name) => {
                let mut fields = read::texts(first).into_iter().flatten();
                if !matches!(fields.next().as_deref(), Some("removed" | "absent")) {
                    return Vec::new();
                }
                let was = Columns::from([("host".to_owned(), fields.next().unwrap_or_default())]);
                let mut commands = vec![
                    one(cmd("ZREM").arg(keys::names_shard(name)).arg(name)),
                    one(cmd("ZREM").arg(keys::marked_shard(name)).arg(name)),
                ];
                if let Some(was) = keys::host_address(&was) {
                    commands.push(one(cmd("SREM").arg(keys::address(was)).arg(name)));
                }
                commands
            }
            Kind::DeletePeer(name) => {
                let was = read::text(first).unwrap_or_default();
                keys::host_address(&Columns::from([("host".to_owned(), was)]))
                    .map(|was| one(cmd("SREM").arg(keys::address(was)).arg(name)))
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The pod that a checkpoint's command names as owner.
    fn owner_of_checkpoint(&self) -> Option<fairlead_model::id::PodRef> {
        let write = self.commands.first()?;
        // EVALSHA, hash, number of keys, key, epoch, owner.
        let owner = write.args_iter().nth(5)?;
        match owner {
            redis::Arg::Simple(owner) => std::str::from_utf8(owner).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The step that goes on where this one led: from a Call-ID to the record of its call.
    pub fn leads_to(&self, outcome: &Result<Outcome, StoreError>) -> Option<Step> {
        match (&self.kind, outcome) {
            (Kind::CheckpointByCallId, Ok(Outcome::Calls(calls))) => {
                calls.first().map(|&call| Step::CheckpointOf { call })
            }
            _ => None,
        }
    }

    /// What the step came to.
    pub fn read(&self, replies: Vec<Value>) -> Result<Outcome, StoreError> {
        if let Kind::Impossible(error) = &self.kind {
            return Err(error.clone());
        }
        if let Some(error) = replies.iter().find_map(read::server_error) {
            return Err(error);
        }
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or_default();
        match &self.kind {
            Kind::Done
            | Kind::PutPeer { .. }
            | Kind::DeletePeer(_)
            | Kind::Release(_)
            | Kind::EndCheckpoint(_) => Ok(Outcome::Done),
            Kind::Load(name) => read::loaded(name, next(), next()),
            Kind::Provision(_) => read::provisioned(next()),
            Kind::Withdraw(_) => read::withdrawn(next()),
            Kind::Row => Ok(Outcome::Row(read::row(next()))),
            Kind::Restored => Ok(Outcome::Restored { written: next() == Value::Int(1) }),
            Kind::Secrets => Ok(read::secrets(replies.last().unwrap_or_default())),
            Kind::Incarnation => read::incarnation(replies.last().unwrap_or_default()),
            Kind::Complete => Ok(read::complete(replies.collect())),
            Kind::Surroundings => read::surroundings(next()),
            Kind::Names(limit) => Ok(read::names(replies.collect(), *limit)),
            Kind::Listed(name) => Ok(Outcome::Names(match next() {
                Value::Nil => Vec::new(),
                _ => vec![name.clone()],
            })),
            Kind::Bind(name) => read::bind(name, next()),
            Kind::Nonce => Ok(Outcome::Nonce { fresh: next() == Value::Int(1) }),
            Kind::Claimed | Kind::Owner => read::owner(next()),
            Kind::Occupied => read::occupied(next()),
            Kind::Slots => Ok(read::slots(next())),
            Kind::WriteCheckpoint(_) => read::checkpoint_written(next()),
            Kind::Checkpoint => read::checkpoint(next()),
            Kind::CheckpointByCallId => Ok(read::call_of_call_id(next())),
            Kind::Calls => Ok(read::calls(next())),
            Kind::Members => read::members(next()),
            Kind::Secret => read::secret(next()),
            Kind::Epoch => read::epoch(next()),
            Kind::Impossible(error) => Err(error.clone()),
        }
    }
}
