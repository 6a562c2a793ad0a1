//! From a step to the commands that carry it out.

use std::time::Duration;

use fairlead_model::ask::Usage;
use fairlead_model::binding::Binding;
use fairlead_model::id::UnixMillis;
use redis::{Cmd, cmd};

use super::errand::{Errand, Kind};
use super::scripts;
use crate::error::StoreError;
use crate::keys;
use crate::marked;
use crate::record::{BindingsRecord, Columns};
use crate::step::{Bind, Filled, NonceUse, Occupy, Restore, Step};

/// Records of bindings stay this long after the last contact has expired: for Call-ID and CSeq, and for repeated questions.
const BINDINGS_AFTER: u64 = 3_600_000;
/// Flows stay in their index this long after the binding has expired.
const FLOW_AFTER: u64 = 60_000;
/// A call's slots are forgotten after this long without a new call of that peer.
const SLOTS_LIFE: Duration = Duration::from_secs(48 * 3600);
/// A call's record without a deadline of its own is forgotten after this long without a new state.
const CALL_LIFE: u64 = 7 * 24 * 3_600_000;
/// A call's record stays this long after its deadline.
const CALL_AFTER: u64 = 3_600_000;

/// The commands for a step.
pub fn encode(step: &Step) -> Errand {
    let (commands, kind) = match step {
        Step::Load { name } => (
            vec![
                one(cmd("HGETALL").arg(keys::peer(name))),
                one(cmd("HMGET").arg(keys::bindings(name)).arg(&["version", "contacts", "asked"])),
            ],
            Kind::Load(name.clone()),
        ),
        Step::PutPeer { name, columns, replace } => {
            let mut put = scripts::call(&scripts::PUT_PEER, &[keys::peer(name)]);
            put.arg(u8::from(*replace));
            add_columns(&mut put, columns);
            (vec![put], Kind::PutPeer { name: name.clone(), columns: columns.clone() })
        }
        Step::DeletePeer { name } => (
            vec![
                one(cmd("HGET").arg(keys::peer(name)).arg("host")),
                one(cmd("DEL").arg(keys::peer(name)).arg(keys::bindings(name))),
                one(cmd("ZREM").arg(keys::names_shard(name)).arg(name)),
                one(cmd("ZREM").arg(keys::marked_shard(name)).arg(name)),
            ],
            Kind::DeletePeer(name.clone()),
        ),
        Step::Provision(peer) => {
            let row = marked::row_of(peer);
            let runtime: Vec<&str> = marked::runtime_columns(marked::is_dynamic(&row)).collect();
            let mut write = scripts::call(&scripts::PROVISION, &[keys::peer(&peer.name)]);
            write.arg(&peer.instead_of).arg(marked::SUM).arg(runtime.len()).arg(runtime);
            add_columns(&mut write, &row);
            (vec![write], Kind::Provision(peer.clone()))
        }
        Step::Withdraw { name, uid } => {
            let mut remove = scripts::call(&scripts::WITHDRAW, &[keys::peer(name), keys::bindings(name)]);
            remove.arg(uid);
            (vec![remove], Kind::Withdraw(name.clone()))
        }
        Step::Marked { after, limit } => pages(keys::marked_at, after.as_deref(), *limit),
        Step::Row { name } => (vec![one(cmd("HGETALL").arg(keys::peer(name)))], Kind::Row),
        Step::Restore(restore) => return encode_restore(restore),
        Step::Touch { name, columns } if columns.is_empty() => {
            (vec![one(cmd("EXISTS").arg(keys::peer(name)))], Kind::Done)
        }
        Step::Touch { name, columns } => {
            let mut touch = scripts::call(&scripts::TOUCH, &[keys::peer(name)]);
            add_columns(&mut touch, columns);
            (vec![touch], Kind::Done)
        }
        Step::RestorePeer { name, columns } => {
            let mut put = scripts::call(&scripts::RESTORE_PEER, &[keys::peer(name)]);
            add_columns(&mut put, columns);
            (vec![put], Kind::PutPeer { name: name.clone(), columns: columns.clone() })
        }
        Step::PeersOf { call } => {
            (vec![one(cmd("SMEMBERS").arg(keys::call_slots(*call)))], Kind::Names(u32::MAX))
        }
        Step::Index { name, addresses, marked } => {
            let mut commands = vec![add_name(name)];
            commands.extend(marked.then(|| add_marked(name)));
            commands.extend(addresses.iter().map(|&at| one(cmd("SADD").arg(keys::address(at)).arg(name))));
            (commands, Kind::Done)
        }
        Step::Names { after, limit } => pages(keys::names_at, after.as_deref(), *limit),
        Step::Listed { name } => {
            (vec![one(cmd("ZSCORE").arg(keys::names_shard(name)).arg(name))], Kind::Listed(name.clone()))
        }
        Step::NamesAt { address } => {
            (vec![one(cmd("SMEMBERS").arg(keys::address(*address)))], Kind::Names(u32::MAX))
        }
        Step::NamesByFlow { transport, remote } => {
            (vec![one(cmd("SMEMBERS").arg(keys::flow(*transport, *remote)))], Kind::Names(u32::MAX))
        }
        Step::Bind(bind) => return encode_bind(bind),
        Step::UseNonce { peer, nonce } => {
            let mut take = scripts::call(&scripts::USE_NONCE, &[keys::nonce(peer, &nonce.nonce)]);
            take.arg(count(nonce)).arg(millis(nonce.life));
            (vec![take], Kind::Nonce)
        }
        Step::Claim(claim) => {
            let mut take = scripts::call(&scripts::CLAIM, &[keys::owner(&claim.call_id, &claim.from_tag)]);
            take.arg(claim.owner.cseq)
                .arg(claim.owner.call.to_string())
                .arg(&claim.owner.branch)
                .arg(millis(claim.life));
            (vec![take], Kind::Claimed)
        }
        Step::Owner { call_id, from_tag } => {
            (vec![one(cmd("GET").arg(keys::owner(call_id, from_tag)))], Kind::Owner)
        }
        Step::Disown { call_id, from_tag, call } => {
            let mut give = scripts::call(&scripts::DISOWN, &[keys::owner(call_id, from_tag)]);
            give.arg(call.to_string());
            (vec![give], Kind::Done)
        }
        Step::Occupy(wish) => (encode_occupy(wish), Kind::Occupied),
        Step::Release { call } => {
            (vec![one(cmd("SMEMBERS").arg(keys::call_slots(*call)))], Kind::Release(*call))
        }
        Step::SetUsage { peer, call, usage } => {
            let mut set = scripts::call(&scripts::USAGE, &[keys::slots(peer)]);
            set.arg(call.to_string()).arg(usage_word(*usage));
            (vec![set], Kind::Done)
        }
        Step::Slots { peer } => (vec![one(cmd("HGETALL").arg(keys::slots(peer)))], Kind::Slots),
        Step::WriteCheckpoint(record) => return encode_checkpoint(record),
        Step::EndCheckpoint { call } => (
            vec![one(cmd("HMGET").arg(keys::call(*call)).arg(&["head", "owner"]))],
            Kind::EndCheckpoint(*call),
        ),
        Step::CheckpointOf { call } => {
            (vec![one(cmd("HMGET").arg(keys::call(*call)).arg(&["head", "state"]))], Kind::Checkpoint)
        }
        Step::CheckpointByCallId { call_id } => {
            (vec![one(cmd("GET").arg(keys::call_id(call_id)))], Kind::CheckpointByCallId)
        }
        Step::CallsOf { pod } => (vec![one(cmd("SMEMBERS").arg(keys::calls_of(*pod)))], Kind::Calls),
        Step::Beat(member) => match serde_json::to_string(member) {
            Ok(text) => {
                let mut beat = scripts::call(&scripts::BEAT, &[keys::MEMBERS.to_owned()]);
                beat.arg(member.pod.to_string()).arg(text);
                (vec![beat], Kind::Done)
            }
            Err(error) => return impossible(&error),
        },
        Step::Leave { pod } => (vec![one(cmd("HDEL").arg(keys::MEMBERS).arg(pod.to_string()))], Kind::Done),
        Step::Members => {
            let mut all = scripts::call(&scripts::MEMBERS, &[keys::MEMBERS.to_owned()]);
            all.arg(keys::MEMBER_FORGOTTEN_MS);
            (vec![all], Kind::Members)
        }
        Step::Secret { candidate } => {
            let mut make = scripts::call(&scripts::SECRET, &[keys::SECRET.to_owned()]);
            make.arg(&candidate[..]);
            (vec![make], Kind::Secret)
        }
        Step::Secrets { known } => {
            let mut commands = Vec::new();
            if !known.is_empty() {
                let mut add = cmd("SADD");
                add.arg(keys::SECRETS);
                for secret in known {
                    add.arg(&secret[..]);
                }
                commands.push(add);
            }
            commands.push(one(cmd("SMEMBERS").arg(keys::SECRETS)));
            (commands, Kind::Secrets)
        }
        Step::Incarnation { candidate } => (
            vec![
                one(cmd("SETNX").arg(keys::INCARNATION).arg(*candidate)),
                one(cmd("GET").arg(keys::INCARNATION)),
            ],
            Kind::Incarnation,
        ),
        Step::Complete { say } => {
            let said = say.map(|filled| match filled {
                Filled::All(incarnation) => one(cmd("SET").arg(keys::COMPLETE).arg(incarnation)),
                Filled::NotAll => one(cmd("DEL").arg(keys::COMPLETE)),
            });
            let ask = [keys::COMPLETE, keys::INCARNATION].map(|key| one(cmd("GET").arg(key)));
            (said.into_iter().chain(ask).collect(), Kind::Complete)
        }
        Step::Surroundings { version, text } => {
            let mut exchange = scripts::call(&scripts::SURROUNDINGS, &[keys::SURROUNDINGS.to_owned()]);
            exchange.arg(*version).arg(text);
            (vec![exchange], Kind::Surroundings)
        }
        Step::Epoch { period, at_least } => {
            let mut count = scripts::call(&scripts::EPOCH, &[keys::EPOCH.to_owned()]);
            count.arg(millis(*period)).arg(*at_least);
            (vec![count], Kind::Epoch)
        }
        Step::Publish(notice) => match serde_json::to_string(notice) {
            Ok(text) => (vec![one(cmd("PUBLISH").arg(keys::CHANGES).arg(text))], Kind::Done),
            Err(error) => return impossible(&error),
        },
    };
    Errand { commands, kind }
}

fn encode_bind(bind: &Bind) -> Errand {
    let contacts = match serde_json::to_string(&bind.bindings) {
        Ok(contacts) => contacts,
        Err(error) => return impossible(&error),
    };
    let last = bind.bindings.iter().map(|binding| binding.expires_at).max().unwrap_or(bind.now);
    let mut names = vec![keys::peer(&bind.name), keys::bindings(&bind.name)];
    if let Some(nonce) = &bind.nonce {
        names.push(keys::nonce(&bind.name, &nonce.nonce));
    }
    let mut command = scripts::call(&scripts::BIND, &names);
    command
        .arg(bind.planned_from)
        .arg(bind.version())
        .arg(contacts)
        .arg(bind.key.map(|key| format!("{:032x}", key.0)).unwrap_or_default())
        .arg(last.max(bind.now).plus_millis(BINDINGS_AFTER).0)
        .arg(keys::SCHEMA)
        .arg(BindingsRecord::ASKED_MAX)
        .arg(bind.nonce.as_ref().map_or(0, count))
        .arg(millis(bind.nonce.as_ref().map(|nonce| nonce.life).unwrap_or_default()));
    add_columns(&mut command, &bind.columns);
    let mut commands = vec![command];
    add_flows(&mut commands, &bind.name, &bind.bindings);
    Errand { commands, kind: Kind::Bind(bind.name.clone()) }
}

fn encode_restore(restore: &Restore) -> Errand {
    let record = &restore.record;
    let contacts = match serde_json::to_string(&record.bindings) {
        Ok(contacts) => contacts,
        Err(error) => return impossible(&error),
    };
    let asked: Vec<String> = record.asked.iter().map(|key| format!("{:032x}", key.0)).collect();
    let last = record.bindings.iter().map(|binding| binding.expires_at).max().unwrap_or(restore.now);
    let mut command =
        scripts::call(&scripts::RESTORE, &[keys::peer(&restore.name), keys::bindings(&restore.name)]);
    command
        .arg(record.version)
        .arg(contacts)
        .arg(asked.join(" "))
        .arg(last.max(restore.now).plus_millis(BINDINGS_AFTER).0)
        .arg(keys::SCHEMA);
    add_columns(&mut command, &restore.columns);
    let mut commands = vec![command];
    add_flows(&mut commands, &restore.name, &record.bindings);
    Errand { commands, kind: Kind::Restored }
}

/// The index may name a peer that has moved on; who reads it looks at the bindings.
fn add_flows(commands: &mut Vec<Cmd>, name: &str, bindings: &[Binding]) {
    for binding in bindings {
        let key = keys::flow(binding.flow.transport, binding.flow.remote);
        commands.push(one(cmd("SADD").arg(&key).arg(name)));
        commands.push(one(cmd("PEXPIREAT").arg(&key).arg(binding.expires_at.plus_millis(FLOW_AFTER).0)));
    }
}

/// A page of an index that is spread over keys: a page of each.
fn pages(key: fn(u64) -> String, after: Option<&str>, limit: u32) -> (Vec<Cmd>, Kind) {
    let from = after.map_or("-".to_owned(), |after| format!("({after}"));
    let limit = limit.clamp(1, 10_000);
    let pages = (0..keys::NAME_SHARDS).map(|shard| {
        let mut page = cmd("ZRANGEBYLEX");
        page.arg(key(shard)).arg(&from).arg("+").arg("LIMIT").arg(0).arg(limit);
        page
    });
    (pages.collect(), Kind::Names(limit))
}

fn encode_occupy(wish: &Occupy) -> Vec<Cmd> {
    let call = wish.call.to_string();
    let mut take = scripts::call(&scripts::OCCUPY, &[keys::slots(&wish.peer)]);
    take.arg(&call)
        .arg(wish.pod.to_string())
        .arg(wish.limit)
        .arg(usage_word(wish.usage))
        .arg(millis(SLOTS_LIFE));
    for pod in &wish.living {
        take.arg(pod.to_string());
    }
    let by_call = keys::call_slots(wish.call);
    vec![
        take,
        one(cmd("SADD").arg(&by_call).arg(&wish.peer)),
        one(cmd("PEXPIRE").arg(&by_call).arg(millis(SLOTS_LIFE))),
    ]
}

fn encode_checkpoint(record: &fairlead_model::checkpoint::CheckpointRecord) -> Errand {
    let head = match serde_json::to_string(&keys::CallHead::of(record)) {
        Ok(head) => head,
        Err(error) => return impossible(&error),
    };
    let until = match record.deadline {
        Some(deadline) => deadline.max(record.written).plus_millis(CALL_AFTER),
        None => record.written.plus_millis(CALL_LIFE),
    };
    let call = record.call.to_string();
    let mut write = scripts::call(&scripts::CHECKPOINT, &[keys::call(record.call)]);
    write.arg(record.epoch).arg(record.owner.to_string()).arg(head).arg(&record.state[..]).arg(until.0);
    let mut commands = vec![write];
    for call_id in &record.call_ids {
        let mut point = cmd("SET");
        point.arg(keys::call_id(call_id)).arg(&call).arg("PXAT").arg(until.0);
        commands.push(point);
    }
    // A fenced owner leaves its name here for a while; who reads it looks at the record.
    commands.push(one(cmd("SADD").arg(keys::calls_of(record.owner)).arg(&call)));
    commands.push(one(cmd("PEXPIRE").arg(keys::calls_of(record.owner)).arg(CALL_LIFE + CALL_AFTER)));
    Errand { commands, kind: Kind::WriteCheckpoint(record.call) }
}

fn impossible(error: &serde_json::Error) -> Errand {
    Errand { commands: Vec::new(), kind: Kind::Impossible(StoreError::Refused(error.to_string())) }
}

pub(super) fn one(command: &mut Cmd) -> Cmd {
    std::mem::take(command)
}

pub(super) fn add_name(name: &str) -> Cmd {
    one(cmd("ZADD").arg(keys::names_shard(name)).arg(0).arg(name))
}

pub(super) fn add_marked(name: &str) -> Cmd {
    one(cmd("ZADD").arg(keys::marked_shard(name)).arg(0).arg(name))
}

fn add_columns(command: &mut Cmd, columns: &Columns) {
    for (column, value) in columns {
        command.arg(column).arg(value);
    }
}

/// A nonce's count for the scripts: -1 for none.
fn count(nonce: &NonceUse) -> i64 {
    nonce.count.map_or(-1, i64::from)
}

fn millis(duration: Duration) -> u64 {
    UnixMillis(0).plus_millis(duration.as_millis() as u64).0.max(1)
}

/// The word for a usage inside a slot.
pub const fn usage_word(usage: Usage) -> &'static str {
    match usage {
        Usage::Ringing => "ringing",
        Usage::Up => "up",
        Usage::OnHold => "onhold",
    }
}
