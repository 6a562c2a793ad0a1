//! What lies around the edge: written by the operator role, kept in the store and by every registrar, handed to all pods.

use std::sync::Arc;

use fairlead_model::surroundings::Surroundings;
use fairlead_proto::operator::Unanswered;
use fairlead_store::{Notice, Outcome, Step, StoreError};
use parking_lot::Mutex;
use tracing::warn;

use crate::operator::unable;
use crate::registrar::Registrar;

/// What is known of it.
#[derive(Default)]
pub struct Around(Mutex<Known>);

#[derive(Default)]
struct Known {
    version: u64,
    text: String,
    value: Arc<Surroundings>,
}

impl Around {
    /// As it is now.
    pub fn now(&self) -> Arc<Surroundings> {
        Arc::clone(&self.0.lock().value)
    }

    /// The step that writes what is known here into a store that has lost it, and reads what is newer there.
    pub fn step(&self) -> Step {
        let known = self.0.lock();
        Step::Surroundings { version: known.version, text: known.text.clone() }
    }

    /// What the store said; whether something is new.
    pub fn heard(&self, outcome: Outcome) -> Result<bool, StoreError> {
        let Outcome::Surroundings { version, text } = outcome else {
            return Err(StoreError::Unexpected("surroundings were wanted"));
        };
        let Some(text) = text else { return Ok(false) };
        match serde_json::from_str(&text) {
            Ok(value) => Ok(self.put(version, text, value)),
            Err(error) => {
                warn!(%error, "what lies around the edge cannot be read");
                // Not again before it changes.
                let mut known = self.0.lock();
                (known.version, known.text) = (known.version.max(version), text);
                Ok(false)
            }
        }
    }

    fn put(&self, version: u64, text: String, value: Surroundings) -> bool {
        let mut known = self.0.lock();
        if version <= known.version {
            return false;
        }
        *known = Known { version, text, value: Arc::new(value) };
        true
    }
}

impl Registrar {
    /// The operator role says so. Pods of this registrar are told even while the store is away; it is written when it is
    /// back.
    pub(crate) async fn take_surroundings(&self, value: Surroundings) -> Result<(), Unanswered> {
        let text = serde_json::to_string(&value).map_err(|error| Unanswered::Unable(error.to_string()))?;
        let version = {
            let mut known = self.around.0.lock();
            if *known.value == value && known.version > 0 {
                known.version
            } else {
                let version = self.clock.now().0.max(known.version + 1);
                *known = Known { version, text, value: Arc::new(value) };
                version
            }
        };
        self.rebrief.notify_one();
        let notice = Step::Publish(Notice::Surroundings { by: self.config.me.pod });
        let mut results = self.storage.store().run(vec![self.around.step(), notice]).await.into_iter();
        let outcome = results.next().unwrap_or(Err(StoreError::Unexpected("no result"))).map_err(unable)?;
        if matches!(outcome, Outcome::Surroundings { version: stored, .. } if stored > version) {
            // Somebody else said something newer meanwhile: that holds.
            self.around.heard(outcome).map_err(unable)?;
            self.rebrief.notify_one();
        }
        Ok(())
    }

    /// Another registrar wrote something new.
    pub(crate) async fn read_surroundings(&self) -> Result<(), StoreError> {
        let outcome = self.storage.store().run_one(self.around.step()).await?;
        if self.around.heard(outcome)? {
            self.rebrief.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: u64, text: &str) -> Outcome {
        Outcome::Surroundings { version, text: Some(text.to_owned()) }
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_until_it_changes() {
        let around = Around::default();
        assert!(!around.heard(said(5, "{")).unwrap());
        assert_eq!(around.step(), Step::Surroundings { version: 5, text: "{".to_owned() });
        let text = serde_json::to_string(&Surroundings::default()).unwrap();
        assert!(around.heard(said(6, &text)).unwrap());
        assert!(!around.heard(said(6, &text)).unwrap());
    }
}
