//! What is written down, and how it is read again.
//!
//! A key is the kind of the record and its name. A record that cannot be read stays where it is and is passed
//! over: one bad record never keeps the house from starting.

use std::sync::Arc;

use bytes::Bytes;
use fairlead_model::id::{CallRef, UnixMillis};
use tracing::warn;

use super::Engine;
use crate::record::{BindingsRecord, Columns};
use fairlead_model::checkpoint::CheckpointRecord;

use crate::keys::{CallHead, StoredBindings};

/// One record to write (`value`) or to remove (no value).
#[derive(Clone, Debug)]
pub struct Write {
    /// Under which key.
    pub key: String,
    /// What; `None` removes it.
    pub value: Option<Vec<u8>>,
}

const PEER: &str = "peer:";
const BINDINGS: &str = "bindings:";
const CALL: &str = "call:";
const SECRET: &str = "secret";
const SECRETS: &str = "secrets";
const SURROUNDINGS: &str = "surroundings";
const EPOCH: &str = "epoch";

impl Write {
    pub(super) fn peer(name: &str, columns: &Columns) -> Self {
        Write { key: format!("{PEER}{name}"), value: json(columns) }
    }

    pub(super) fn no_peer(name: &str) -> Self {
        Write { key: format!("{PEER}{name}"), value: None }
    }

    pub(super) fn bindings(name: &str, record: &BindingsRecord) -> Self {
        Write { key: format!("{BINDINGS}{name}"), value: json(&StoredBindings::of(record)) }
    }

    pub(super) fn no_bindings(name: &str) -> Self {
        Write { key: format!("{BINDINGS}{name}"), value: None }
    }

    /// A call: one line of JSON, then its state as it is.
    pub(super) fn call(record: &CheckpointRecord) -> Self {
        let mut value = json(&CallHead::of(record)).unwrap_or_default();
        value.push(b'\n');
        value.extend_from_slice(&record.state);
        Write { key: format!("{CALL}{}", record.call), value: Some(value) }
    }

    pub(super) fn no_call(call: CallRef) -> Self {
        Write { key: format!("{CALL}{call}"), value: None }
    }

    pub(super) fn secret(secret: &[u8; 32]) -> Self {
        Write { key: SECRET.to_owned(), value: Some(secret.to_vec()) }
    }

    /// One behind the other.
    pub(super) fn secrets(secrets: &[[u8; 32]]) -> Self {
        Write { key: SECRETS.to_owned(), value: Some(secrets.concat()) }
    }

    pub(super) fn surroundings(version: u64, text: &str) -> Self {
        Write { key: SURROUNDINGS.to_owned(), value: json(&(version, text)) }
    }

    pub(super) fn epoch(epoch: u32, since: UnixMillis) -> Self {
        Write { key: EPOCH.to_owned(), value: json(&(epoch, since)) }
    }
}

/// Our own records always have a form in JSON; were there one that has none, it would not be written and warned of.
fn json<T: serde::Serialize>(record: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(record).inspect_err(|error| warn!(%error, "a record has no form in JSON")).ok()
}

impl Engine {
    /// Takes in a record that was written down before.
    pub fn restore(&mut self, key: &str, value: &[u8]) {
        if let Err(error) = self.try_restore(key, value) {
            let kind = key.split(':').next().unwrap_or_default();
            warn!(kind, %error, "a record cannot be read and is passed over");
        }
    }

    fn try_restore(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        if let Some(name) = key.strip_prefix(PEER) {
            let columns: Columns = read(value)?;
            self.keep_peer(name, columns);
        } else if let Some(name) = key.strip_prefix(BINDINGS) {
            let record = read::<StoredBindings<'_>>(value)?.into_record();
            self.index_flows(name, &record);
            self.bindings.insert(name.to_owned(), Arc::new(record));
        } else if key.starts_with(CALL) {
            let end = value.iter().position(|&byte| byte == b'\n').ok_or("no end of its head")?;
            let (head, state) = value.split_at(end);
            let state = state.get(1..).unwrap_or_default();
            let record = read::<CallHead>(head)?.into_record(Bytes::copy_from_slice(state))?;
            self.remember_call(record);
        } else if key == SECRET {
            self.secret = Some(value.try_into().map_err(|_| "32 bytes are wanted".to_owned())?);
        } else if key == SECRETS {
            self.secrets = value.chunks_exact(32).filter_map(|secret| secret.try_into().ok()).collect();
        } else if key == SURROUNDINGS {
            self.surroundings = read(value)?;
        } else if key == EPOCH {
            self.epoch = Some(read(value)?);
        }
        // Other kinds are a newer release's and stay.
        Ok(())
    }
}

fn read<'a, T: serde::Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}
