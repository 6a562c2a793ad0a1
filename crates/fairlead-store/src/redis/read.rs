//! From replies to outcomes. What lies in Redis may have been written by anybody: nothing here trusts it.

use std::sync::Arc;

use bytes::Bytes;
use fairlead_model::ask::{IdempotencyKey, Usage};
use fairlead_model::id::UnixMillis;
use fairlead_model::member::Member;
use fairlead_model::provision::{Mark, Provisioned, Withdrawn};
use redis::{ServerErrorKind, Value};
use tracing::warn;

use crate::error::StoreError;
use crate::keys;
use crate::record::{BindingsRecord, Columns, OwnerRecord, Slot};
use crate::step::{BindOutcome, Outcome};

/// The error in a reply, sorted by whether it passes.
pub fn server_error(value: &Value) -> Option<StoreError> {
    let Value::ServerError(error) = value else { return None };
    let passes = matches!(
        error.kind(),
        Some(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        )
    );
    Some(if passes { StoreError::Away } else { StoreError::Refused(error.to_string()) })
}

/// Whether the server does not know a script.
pub fn is_no_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// The items of any kind of list; a map is its keys and values in turn.
pub fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

/// A reply as octets.
fn octets(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(octets) => Some(octets),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// A reply as text; octets that are no UTF-8 are replaced.
pub fn text(value: Value) -> Option<String> {
    octets(value).map(|octets| match String::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// A list as texts.
pub fn texts(value: Value) -> Vec<Option<String>> {
    items(value).into_iter().map(text).collect()
}

fn number<T: std::str::FromStr>(value: Option<Value>) -> Option<T> {
    text(value?)?.parse().ok()
}

/// The columns of a peer; `None` when there is none.
pub fn row(value: Value) -> Option<Arc<Columns>> {
    let mut columns = Columns::new();
    let mut fields = texts(value).into_iter();
    while let (Some(Some(column)), Some(value)) = (fields.next(), fields.next()) {
        columns.insert(column, value.unwrap_or_default());
    }
    (!columns.is_empty()).then(|| Arc::new(columns))
}

pub fn provisioned(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = texts(value).into_iter().flatten();
    let outcome = match fields.next().as_deref() {
        Some("unchanged") => Provisioned::Unchanged,
        Some("taken") => {
            let mut text = || fields.next().unwrap_or_default();
            let (uid, origin, generation) = (text(), text(), text());
            Provisioned::Taken((!uid.is_empty()).then_some(Mark { origin, uid, generation }))
        }
        Some("written") => {
            let mut put_right: Vec<String> = fields.skip(1).collect();
            put_right.sort_unstable();
            Provisioned::Written { put_right, silent: Vec::new() }
        }
        _ => return Err(StoreError::Unexpected("written, unchanged or taken was wanted")),
    };
    Ok(Outcome::Provisioned(outcome))
}

pub fn withdrawn(value: Value) -> Result<Outcome, StoreError> {
    let word = texts(value).into_iter().flatten().next().unwrap_or_default();
    Ok(Outcome::Withdrawn(match word.as_str() {
        "removed" => Withdrawn::Removed,
        "absent" => Withdrawn::Absent,
        "other" => Withdrawn::NotYours,
        _ => return Err(StoreError::Unexpected("removed, absent or other was wanted")),
    }))
}

pub fn secrets(value: Value) -> Outcome {
    let mut secrets: Vec<[u8; 32]> =
        items(value).into_iter().filter_map(|secret| octets(secret)?.try_into().ok()).collect();
    secrets.sort_unstable();
    Outcome::Secrets(secrets)
}

pub fn incarnation(value: Value) -> Result<Outcome, StoreError> {
    number(Some(value)).map(Outcome::Incarnation).ok_or(StoreError::Unreadable {
        key: keys::INCARNATION.to_owned(),
        cause: "a number is wanted".to_owned(),
    })
}

/// The last two replies: into which store all peers were written, and which this is.
pub fn complete(mut replies: Vec<Value>) -> Outcome {
    let is = replies.pop().and_then(text);
    let filled = replies.pop().and_then(text);
    Outcome::Complete(is.is_some() && is == filled)
}

pub fn surroundings(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    let version = number(fields.next()).ok_or(StoreError::Unexpected("a version was wanted"))?;
    let text = fields.next().and_then(text).filter(|text| !text.is_empty());
    Ok(Outcome::Surroundings { version, text })
}

pub fn loaded(name: &str, peer: Value, bindings: Value) -> Result<Outcome, StoreError> {
    let peer = row(peer);
    Ok(Outcome::Loaded { peer, bindings: Arc::new(record(name, bindings)?) })
}

fn record(name: &str, value: Value) -> Result<BindingsRecord, StoreError> {
    let mut fields = items(value).into_iter();
    let (version, contacts, asked) = (fields.next(), fields.next(), fields.next());
    let Some(version) = number(version) else { return Ok(BindingsRecord::default()) };
    let unreadable = |cause: String| StoreError::Unreadable { key: keys::bindings(name), cause };
    let contacts = contacts.and_then(octets).unwrap_or_default();
    let bindings = match contacts.is_empty() {
        true => Vec::new(),
        false => serde_json::from_slice(&contacts).map_err(|error| unreadable(error.to_string()))?,
    };
    let asked = asked
        .and_then(text)
        .unwrap_or_default()
        .split(' ')
        .filter_map(|key| u128::from_str_radix(key, 16).ok().map(IdempotencyKey))
        .collect();
    Ok(BindingsRecord { version, bindings, asked })
}

pub fn bind(name: &str, value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    let word = fields.next().and_then(text).unwrap_or_default();
    Ok(Outcome::Bind(match word.as_str() {
        "bound" => BindOutcome::Bound {
            version: number(fields.next()).ok_or(StoreError::Unexpected("a version was wanted"))?,
        },
        "used" => BindOutcome::NonceUsed,
        "conflict" => BindOutcome::Conflict(Arc::new(record(name, fields.next().unwrap_or_default())?)),
        _ => return Err(StoreError::Unexpected("bound, used or conflict was wanted")),
    }))
}

pub fn names(pages: Vec<Value>, limit: u32) -> Outcome {
    let mut names: Vec<String> = pages.into_iter().flat_map(texts).flatten().collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(limit as usize);
    Outcome::Names(names)
}

pub fn owner(value: Value) -> Result<Outcome, StoreError> {
    let held = text(value).unwrap_or_default();
    if held.is_empty() {
        return Ok(Outcome::Owner(None));
    }
    let mut fields = held.splitn(3, ' ');
    let cseq = fields.next().and_then(|cseq| cseq.parse().ok());
    let call = fields.next().and_then(|call| call.parse().ok());
    match (cseq, call) {
        (Some(cseq), Some(call)) => {
            let branch = fields.next().unwrap_or_default().to_owned();
            Ok(Outcome::Owner(Some(OwnerRecord { call, cseq, branch })))
        }
        _ => Err(StoreError::Unreadable { key: "fairlead:owner".to_owned(), cause: held }),
    }
}

pub fn occupied(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    match (number::<u8>(fields.next()), number(fields.next())) {
        (Some(granted), Some(count)) => Ok(Outcome::Occupied { granted: granted == 1, count }),
        _ => Err(StoreError::Unexpected("granted and count were wanted")),
    }
}

pub fn slots(value: Value) -> Outcome {
    let mut fields = texts(value).into_iter().flatten();
    let mut slots = Vec::new();
    while let (Some(call), Some(value)) = (fields.next(), fields.next()) {
        let (pod, usage) = value.split_once(' ').unwrap_or((&value, ""));
        let usage = match usage {
            "ringing" => Usage::Ringing,
            "onhold" => Usage::OnHold,
            _ => Usage::Up,
        };
        match (call.parse(), pod.parse()) {
            (Ok(call), Ok(pod)) => slots.push(Slot { call, pod, usage }),
            _ => warn!(%call, "a slot that cannot be read"),
        }
    }
    slots.sort_unstable_by_key(|slot| slot.call);
    Outcome::Slots(slots)
}

pub fn checkpoint_written(value: Value) -> Result<Outcome, StoreError> {
    match number::<i64>(items(value).into_iter().next()) {
        Some(-1) => Ok(Outcome::Done),
        Some(epoch) => Ok(Outcome::Fenced { epoch: epoch.max(0) as u64 }),
        None => Err(StoreError::Unexpected("an epoch was wanted")),
    }
}

pub fn checkpoint(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    let Some(head) = fields.next().and_then(octets) else { return Ok(Outcome::Checkpoint(None)) };
    let state = fields.next().and_then(octets).unwrap_or_default();
    let record = serde_json::from_slice::<keys::CallHead>(&head)
        .map_err(|error| error.to_string())
        .and_then(|head| head.into_record(Bytes::from(state)));
    match record {
        Ok(record) => Ok(Outcome::Checkpoint(Some(Box::new(record)))),
        Err(cause) => Err(StoreError::Unreadable { key: "fairlead:call".to_owned(), cause }),
    }
}

/// The call that a Call-ID belongs to, to go on with; else that there is none.
pub fn call_of_call_id(value: Value) -> Outcome {
    match text(value).and_then(|call| call.parse().ok()) {
        Some(call) => Outcome::Calls(vec![call]),
        None => Outcome::Checkpoint(None),
    }
}

pub fn calls(value: Value) -> Outcome {
    let mut calls: Vec<_> = texts(value).into_iter().flatten().filter_map(|call| call.parse().ok()).collect();
    calls.sort_unstable();
    Outcome::Calls(calls)
}

pub fn members(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    let now = UnixMillis(number(fields.next()).ok_or(StoreError::Unexpected("the time was wanted"))?);
    let mut members = Vec::new();
    for line in texts(fields.next().unwrap_or_default()).into_iter().flatten() {
        let member = line.split_once(' ').and_then(|(seen, text)| {
            let member: Member = serde_json::from_str(text).ok()?;
            Some(Member { seen: UnixMillis(seen.parse().ok()?), ..member })
        });
        match member {
            Some(member) => members.push(member),
            None => warn!("a member that cannot be read"),
        }
    }
    members.sort_unstable_by_key(|member| member.pod);
    Ok(Outcome::Members { now, members })
}

pub fn secret(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    let made = number::<u8>(fields.next()) == Some(1);
    let secret = fields.next().and_then(octets).unwrap_or_default();
    match secret.try_into() {
        Ok(secret) => Ok(Outcome::Secret { secret, made }),
        Err(_) => Err(StoreError::Unreadable {
            key: keys::SECRET.to_owned(),
            cause: "32 octets are wanted".to_owned(),
        }),
    }
}

pub fn epoch(value: Value) -> Result<Outcome, StoreError> {
    let mut fields = items(value).into_iter();
    match (number(fields.next()), number(fields.next()), number(fields.next())) {
        (Some(epoch), Some(since), Some(now)) => {
            Ok(Outcome::Epoch { epoch, since: UnixMillis(since), now: UnixMillis(now) })
        }
        _ => Err(StoreError::Unexpected("an epoch, its time and the time were wanted")),
    }
}
