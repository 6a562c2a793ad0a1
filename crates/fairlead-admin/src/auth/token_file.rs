//! The static token in a file: a Secret that is mounted before somebody has made it, and that may change.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairlead_runtime::settings::value::Secret;
use parking_lot::Mutex;

use super::{AccessError, is_allowed};

/// The longest token file that is read, bytes.
const FILE_LIMIT: u64 = 4096;

/// How old what was read may be. The kubelet takes longer to change the file.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    at: Instant,
    token: Result<Secret, String>,
}

impl TokenFile {
    /// A file that is not there is waited for; one that holds no token is a mistake that is said at once.
    pub(super) fn open(path: &Path) -> Result<Self, AccessError> {
        let token = match read(path) {
            Ok(token) if is_allowed(&token) => Ok(token),
            Ok(_) => return Err(AccessError::Token),
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                tracing::warn!("the file of the admin token is not there yet: it is waited for");
                Err(absent())
            }
            Err(cause) if cause.kind() == ErrorKind::InvalidData => return Err(AccessError::Token),
            Err(cause) => return Err(AccessError::File { file: path.display().to_string(), cause }),
        };
        let read = Mutex::new(Read { at: Instant::now(), token });
        Ok(TokenFile { path: path.to_owned(), read })
    }

    /// The token now, or why there is none.
    pub(super) fn current(&self, now: Instant) -> Result<Secret, String> {
        let mut known = self.read.lock();
        if now.saturating_duration_since(known.at) < LOOK_AGAIN {
            return known.token.clone();
        }
        // A few bytes of a mounted Secret, at most once a second.
        let token = match read(&self.path) {
            Ok(token) if is_allowed(&token) => Ok(token),
            Ok(_) => Err("what admin-token-file holds is not allowed as the admin token".to_owned()),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Err(absent()),
            Err(cause) => Err(format!("admin-token-file cannot be read: {}", cause.kind())),
        };
        match (&known.token, &token) {
            (Ok(before), Ok(now)) if before.expose() == now.expose() => {}
            (_, Ok(_)) => tracing::info!("the admin token was read"),
            (Err(before), Err(now)) if before == now => {}
            (_, Err(why)) => tracing::warn!(why, "there is no admin token"),
        }
        *known = Read { at: now, token: token.clone() };
        token
    }
}

fn absent() -> String {
    "the admin token is not there yet: admin-token-file does not exist".to_owned()
}

fn read(file: &Path) -> io::Result<Secret> {
    if std::fs::metadata(file)?.len() > FILE_LIMIT {
        return Err(ErrorKind::InvalidData.into());
    }
    std::fs::read_to_string(file).map(|text| Secret::new(text.trim()))
}
