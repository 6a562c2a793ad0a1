//! Names of keys in Redis, and the forms of records under them. `KEYS.md` is the list for people.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use fairlead_model::ask::IdempotencyKey;
use fairlead_model::binding::Binding;
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::Transport;
use fairlead_model::id::{CallRef, PodRef, UnixMillis};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::{BindingsRecord, Columns};

/// Schema of the records that this release writes.
pub const SCHEMA: u32 = 1;

/// After this long without a beat a member is removed from the list, milliseconds. Its lease ends long before.
pub const MEMBER_FORGOTTEN_MS: u64 = 600_000;

/// The channel of notices.
pub const CHANGES: &str = "fairlead:changes";
/// The hash of members.
pub const MEMBERS: &str = "fairlead:members";
/// The cluster's secret.
pub const SECRET: &str = "fairlead:secret";
/// All secrets under which names may have been minted.
pub const SECRETS: &str = "fairlead:secrets";
/// The number that changes when the store is emptied.
pub const INCARNATION: &str = "fairlead:incarnation";
/// There while all peers of the operator role have been written.
pub const COMPLETE: &str = "fairlead:complete";
/// What lies around the edge.
pub const SURROUNDINGS: &str = "fairlead:surroundings";
/// The epoch of nonce keys.
pub const EPOCH: &str = "fairlead:epoch";
/// Over how many keys the index of names is spread.
pub const NAME_SHARDS: u64 = 16;

/// What is written as `%XX` in a name: all that could end a hash tag, be a pattern, or be read wrongly.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'{')
    .add(b'}')
    .add(b':')
    .add(b'*')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'"');

/// A name as it stands inside a key.
pub fn escape(name: &str) -> Cow<'_, str> {
    utf8_percent_encode(name, ESCAPED).into()
}

/// The name that stands inside a key; `None` when it is no UTF-8.
pub fn unescape(escaped: &str) -> Option<String> {
    percent_decode_str(escaped).decode_utf8().ok().map(Cow::into_owned)
}

/// `fairlead:peer:{NAME}`.
pub fn peer(name: &str) -> String {
    format!("fairlead:peer:{{{}}}", escape(name))
}

/// The name in `fairlead:peer:{NAME}`.
pub fn name_of_peer(key: &str) -> Option<String> {
    unescape(key.strip_prefix("fairlead:peer:{")?.strip_suffix('}')?)
}

/// `fairlead:bindings:{NAME}`.
pub fn bindings(name: &str) -> String {
    format!("fairlead:bindings:{{{}}}", escape(name))
}

/// `fairlead:nonce:{NAME}:HASH`, beside the peer so that one script can change both.
pub fn nonce(name: &str, nonce: &str) -> String {
    format!("fairlead:nonce:{{{}}}:{}", escape(name), hash(&[nonce]))
}

/// `fairlead:slots:{NAME}`.
pub fn slots(name: &str) -> String {
    format!("fairlead:slots:{{{}}}", escape(name))
}

/// `fairlead:callslots:{CALL}`.
pub fn call_slots(call: CallRef) -> String {
    format!("fairlead:callslots:{{{call}}}")
}

/// `fairlead:owner:{HASH}` of Call-ID and From-tag.
pub fn owner(call_id: &str, from_tag: &str) -> String {
    format!("fairlead:owner:{{{}}}", hash(&[call_id, from_tag]))
}

/// `fairlead:call:{CALL}`.
pub fn call(call: CallRef) -> String {
    format!("fairlead:call:{{{call}}}")
}

/// `fairlead:callid:{HASH}` of a Call-ID.
pub fn call_id(call_id: &str) -> String {
    format!("fairlead:callid:{{{}}}", hash(&[call_id]))
}

/// `fairlead:calls:{POD}`.
pub fn calls_of(pod: PodRef) -> String {
    format!("fairlead:calls:{{{pod}}}")
}

/// `fairlead:names:{NN}`: the part of the index of names that holds this one.
pub fn names_shard(name: &str) -> String {
    names_at(shard_of(name))
}

/// `fairlead:marked:{NN}`: the part of the index of marked peers that holds this name.
pub fn marked_shard(name: &str) -> String {
    marked_at(shard_of(name))
}

fn shard_of(name: &str) -> u64 {
    // FNV-1a, written out because the place of a name must be the same in every release.
    let sum = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    sum % NAME_SHARDS
}

/// `fairlead:marked:{NN}` by number.
pub fn marked_at(shard: u64) -> String {
    format!("fairlead:marked:{{{shard:02}}}")
}

/// `fairlead:names:{NN}` by number.
pub fn names_at(shard: u64) -> String {
    format!("fairlead:names:{{{shard:02}}}")
}

/// `fairlead:address:{IP}`.
pub fn address(address: IpAddr) -> String {
    format!("fairlead:address:{{{}}}", address.to_canonical())
}

/// `fairlead:flow:{TRANSPORT/ADDRESS}`.
pub fn flow(transport: Transport, remote: SocketAddr) -> String {
    format!("fairlead:flow:{{{transport}/{remote}}}")
}

/// The first 128 bits of SHA-256 over the parts, each behind its length, so that no two lists are the same.
fn hash(parts: &[&str]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update((part.len() as u64).to_be_bytes());
        sum.update(part.as_bytes());
    }
    sum.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The address of a peer that is configured with one (`host=192.0.2.1`).
pub fn host_address(columns: &Columns) -> Option<IpAddr> {
    let host = columns.get("host")?.trim().trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// How [`BindingsRecord`] is written down.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredBindings<'a> {
    schema: u32,
    version: u64,
    contacts: Cow<'a, [Binding]>,
    #[serde(default)]
    asked: Vec<u128>,
}

impl<'a> StoredBindings<'a> {
    pub(crate) fn of(record: &'a BindingsRecord) -> Self {
        StoredBindings {
            schema: SCHEMA,
            version: record.version,
            contacts: Cow::Borrowed(&record.bindings),
            asked: record.asked.iter().map(|key| key.0).collect(),
        }
    }

    pub(crate) fn into_record(self) -> BindingsRecord {
        BindingsRecord {
            version: self.version,
            bindings: self.contacts.into_owned(),
            asked: self.asked.into_iter().map(IdempotencyKey).collect(),
        }
    }
}

/// All of a checkpoint but its state.
#[derive(Serialize, Deserialize)]
pub(crate) struct CallHead {
    call: String,
    owner: String,
    epoch: u64,
    schema: u32,
    written: UnixMillis,
    deadline: Option<UnixMillis>,
    call_ids: Vec<String>,
}

impl CallHead {
    pub(crate) fn of(record: &CheckpointRecord) -> Self {
        CallHead {
            call: record.call.to_string(),
            owner: record.owner.to_string(),
            epoch: record.epoch,
            schema: record.schema,
            written: record.written,
            deadline: record.deadline,
            call_ids: record.call_ids.clone(),
        }
    }

    pub(crate) fn into_record(self, state: Bytes) -> Result<CheckpointRecord, String> {
        Ok(CheckpointRecord {
            call: self.call.parse().map_err(|_| "the name of the call")?,
            owner: self.owner.parse().map_err(|_| "the owner of the call")?,
            epoch: self.epoch,
            schema: self.schema,
            written: self.written,
            deadline: self.deadline,
            call_ids: self.call_ids,
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_braces_cannot_leave_its_hash_tag() {
        assert_eq!(peer("2{0}1"), "fairlead:peer:{2%7B0%7D1}");
        assert_eq!(name_of_peer(&peer("2{0}1 %*ü")).as_deref(), Some("2{0}1 %*ü"));
    }

    #[test]
    fn two_lists_of_parts_never_share_a_hash() {
        assert_ne!(owner("ab", "c"), owner("a", "bc"));
    }

    #[test]
    fn a_host_that_is_a_name_is_no_address() {
        let columns = |host: &str| Columns::from([("host".to_owned(), host.to_owned())]);
        assert_eq!(host_address(&columns("dynamic")), None);
        assert_eq!(host_address(&columns("[2001:db8::1]")), "2001:db8::1".parse().ok());
    }
}
