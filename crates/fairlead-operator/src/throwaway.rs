//! Passwords that nobody has to know: a Secret labelled `fairlead.dev/generate=true` gets random words under the keys
//! that its annotation `fairlead.dev/generate-keys` names (separated by commas), where it has none yet.
//!
//! The chart's test makes such a Secret, so that its peers have passwords that are in no manifest and never the same.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{Failed, limited};
use crate::watching::watch;

/// Which Secrets are looked at.
const LABEL: &str = "fairlead.dev/generate=true";

/// Which keys they want.
const KEYS: &str = "fairlead.dev/generate-keys";

/// The most keys of one Secret.
const MOST_KEYS: usize = 16;

/// How often a write is tried again that somebody else was faster than.
const TRIES: usize = 5;

/// Fills such Secrets of a namespace. To be run by the leader; never returns, drop it when leadership ends.
pub async fn run(client: Client, namespace: String) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    // What they hold is read when one has come or changed.
    let seen: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &namespace);
    watch(seen, watcher::Config::default().labels(LABEL), CancellationToken::new(), |seen| {
        let secrets = secrets.clone();
        async move {
            match seen {
                Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                    fill(&secrets, &secret.name_any()).await
                }
                Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
                Err(trouble) => {
                    tracing::debug!(?trouble, "Secrets that want random words cannot be watched now")
                }
            }
        }
    })
    .await;
}

async fn fill(secrets: &Api<Secret>, name: &str) {
    let mut last = None;
    for _ in 0..TRIES {
        match once(secrets, name).await {
            Ok(()) => return,
            Err(failed) if failed.is_missing() => return,
            Err(failed) => last = Some(failed),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if let Some(error) = last {
        tracing::warn!(secret = name, %error, "a Secret that asks for random words could not be written");
    }
}

async fn once(secrets: &Api<Secret>, name: &str) -> Result<(), Failed> {
    let Some(mut secret) = limited(secrets.get_opt(name)).await? else { return Ok(()) };
    if !add(&mut secret) {
        return Ok(());
    }
    // With the version that was read: what somebody else wrote in between is not overwritten.
    limited(secrets.replace(name, &PostParams::default(), &secret)).await?;
    tracing::info!(secret = name, "random words were put into a Secret that asks for them");
    Ok(())
}

/// Adds what is missing; whether anything was.
fn add(secret: &mut Secret) -> bool {
    let wanted = secret.annotations().get(KEYS).cloned().unwrap_or_default();
    let data: &mut BTreeMap<String, ByteString> = secret.data.get_or_insert_default();
    let mut added = false;
    for key in wanted.split(',').map(str::trim).filter(|key| !key.is_empty()).take(MOST_KEYS) {
        if data.get(key).is_none_or(|value| value.0.is_empty()) {
            data.insert(key.to_owned(), ByteString(random_word().into_bytes()));
            added = true;
        }
    }
    added
}

/// 24 random bytes in text that fits into a header and a shell.
fn random_word() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(keys: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.annotations = Some([(KEYS.to_owned(), keys.to_owned())].into());
        secret
    }

    #[test]
    fn a_secret_gets_a_different_word_under_each_key_that_it_asks_for() {
        let mut secret = asking("caller, callee");
        assert!(add(&mut secret));
        let data = secret.data.clone().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["callee", "caller"]);
        assert_ne!(data["caller"], data["callee"]);
        assert!(data["caller"].0.len() >= 32);
    }

    #[test]
    fn what_is_there_stays() {
        let mut secret = asking("caller");
        assert!(add(&mut secret));
        let first = secret.clone();
        assert!(!add(&mut secret));
        assert_eq!(secret, first);
    }

    #[test]
    fn a_secret_that_asks_for_nothing_gets_nothing() {
        assert!(!add(&mut Secret::default()));
        assert!(!add(&mut asking(" , ")));
    }
}
