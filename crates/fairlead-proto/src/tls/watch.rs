//! Waiting for a folder's first set, and taking those that come after it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fairlead_model::member::Role;
use tokio::time::Instant;

use super::set::{Files, Set};
use super::{Inner, name_of};

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a start that waits says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The first set that fits together.
pub(super) async fn first(dir: &Path, name: &str) -> (Files, Set) {
    let mut said: Option<Instant> = None;
    loop {
        let why = match Files::read(dir).await {
            Ok(files) => match Set::of(&files, name) {
                Ok(set) => {
                    tracing::info!(dir = %dir.display(), name, not_after = set.not_after, "certificates are there");
                    return (files, set);
                }
                Err(unfit) => unfit.to_string(),
            },
            Err(missing) => missing.to_string(),
        };
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!(dir = %dir.display(), "waiting for certificates: {why}");
            said = Some(Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes each new set that fits together, until nobody uses certificates any more.
pub(super) async fn follow(of: Weak<Inner>, dir: PathBuf, own: Role, mut taken: Files) {
    // What was seen last and not taken. It is taken for wrong only when it is the same a second later: files that are
    // just being written do not fit together either.
    let mut seen = Seen::Taken;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = of.upgrade() else { return };
        let now = match Files::read(&dir).await {
            Ok(files) if files == taken => Seen::Taken,
            Ok(files) => match Set::of(&files, &name_of(own, &inner.domain)) {
                Ok(set) => {
                    tracing::info!(not_after = set.not_after, "new certificates are used from now on");
                    inner.metrics.taken(&set);
                    inner.current.store(Arc::new(set));
                    taken = files;
                    Seen::Taken
                }
                Err(unfit) => Seen::Unfit(unfit.to_string()),
            },
            Err(missing) => Seen::Unfit(missing.to_string()),
        };
        seen = match (seen, now) {
            (_, Seen::Taken) => Seen::Taken,
            (Seen::Said(before), Seen::Unfit(why)) if before == why => Seen::Said(why),
            (Seen::Unfit(before), Seen::Unfit(why)) if before == why => {
                tracing::warn!(dir = %dir.display(), "new certificates are not used, those before stay: {why}");
                inner.metrics.refused();
                Seen::Said(why)
            }
            (_, now) => now,
        };
    }
}

/// What the last look at the folder saw.
enum Seen {
    /// What is in use.
    Taken,
    /// Something that cannot be used, for this reason.
    Unfit(String),
    /// The same, and that was said.
    Said(String),
}
