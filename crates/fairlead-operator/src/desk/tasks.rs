//! What runs beside the loop and tells it what happened: watches, news of registrars, single reads and writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::peer::Secret as Password;
use fairlead_model::provision::{Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_proto::operator::Unanswered;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, mpsc, watch};

use crate::api::limited;
use crate::crd::SipPeer;
use crate::lease::Reign;
use crate::metrics::OperatorMetrics;
use crate::peers::{Key, SecretRef, Value};
use crate::registrars::Registrars;
use crate::status::{Outcome, Write};
use crate::watching::{self, Trouble};

/// How often registrars are told that all peers are there.
const COMPLETE_EVERY: Duration = Duration::from_secs(60);

/// Who writes statuses, for server-side apply.
const FIELD_MANAGER: &str = "fairlead-operator";

/// Something that happened.
pub(super) enum In {
    Began(String),
    Peer(Box<DeserializeGuard<SipPeer>>, bool),
    PeerGone(Key, String),
    Listed(String),
    Trouble(String, Trouble),
    Secret(SecretRef, Option<String>),
    SecretRead(SecretRef, Value),
    Provisioned(Box<Provision>, Result<Provisioned, Unanswered>),
    Withdrawn(String, String, Result<Withdrawn, Unanswered>),
    Marked(Vec<Marked>),
    Following,
    NoNews,
    News(PeerNews),
    Wrote(Box<Write>, Outcome),
}

/// `SipPeer` objects of a namespace.
pub(super) async fn watch_peers(client: Client, namespace: String, reign: Reign, tell: mpsc::Sender<In>) {
    let api: Api<DeserializeGuard<SipPeer>> = Api::namespaced(client, &namespace);
    watching::watch(api, watcher::Config::default(), reign.end().clone(), |event| {
        let input = match event {
            Ok(Event::Init) => Some(In::Began(namespace.clone())),
            Ok(Event::InitApply(peer)) => Some(In::Peer(Box::new(peer), true)),
            Ok(Event::InitDone) => Some(In::Listed(namespace.clone())),
            Ok(Event::Apply(peer)) => Some(In::Peer(Box::new(peer), false)),
            Ok(Event::Delete(peer)) => gone(&peer, &namespace),
            Err(trouble) => Some(In::Trouble(namespace.clone(), trouble)),
        };
        let tell = tell.clone();
        async move {
            if let Some(input) = input {
                let _ = tell.send(input).await;
            }
        }
    })
    .await;
}

fn gone(peer: &DeserializeGuard<SipPeer>, namespace: &str) -> Option<In> {
    let uid = peer.uid()?;
    Some(In::PeerGone(Key { namespace: namespace.to_owned(), name: peer.name_any() }, uid))
}

/// Secrets of a namespace.
pub(super) async fn watch_secrets(client: Client, namespace: String, reign: Reign, tell: mpsc::Sender<In>) {
    // Only what they are called and which version they have: what they hold is read when an object names them.
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &namespace);
    let seen = parking_lot::Mutex::new(Listing::default());
    watching::watch(api, watcher::Config::default(), reign.end().clone(), |event| {
        let of = |name: String| SecretRef { namespace: namespace.clone(), name };
        let mut inputs = Vec::new();
        match event {
            Ok(Event::Init) => seen.lock().begin(),
            Ok(Event::InitApply(secret) | Event::Apply(secret)) => {
                seen.lock().add(secret.name_any());
                inputs.push(In::Secret(of(secret.name_any()), secret.resource_version()));
            }
            Ok(Event::Delete(secret)) => {
                seen.lock().remove(&secret.name_any());
                inputs.push(In::Secret(of(secret.name_any()), None));
            }
            // What went while the watch was away.
            Ok(Event::InitDone) => {
                inputs.extend(seen.lock().end().into_iter().map(|name| In::Secret(of(name), None)))
            }
            Err(trouble) => {
                tracing::debug!(namespace, ?trouble, "Secrets cannot be watched now");
            }
        }
        let tell = tell.clone();
        async move {
            for input in inputs {
                let _ = tell.send(input).await;
            }
        }
    })
    .await;
}

/// Names that are there, and during a list those of before.
#[derive(Debug, Default)]
struct Listing {
    there: HashSet<String>,
    before: HashSet<String>,
}

impl Listing {
    fn begin(&mut self) {
        let there = std::mem::take(&mut self.there);
        self.before.extend(there);
    }

    fn add(&mut self, name: String) {
        self.before.remove(&name);
        self.there.insert(name);
    }

    fn remove(&mut self, name: &str) {
        self.there.remove(name);
    }

    fn end(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.before)
    }
}

/// What a Secret holds.
pub(super) async fn read_secret(client: Client, secret: &SecretRef) -> Value {
    let api: Api<Secret> = Api::namespaced(client, &secret.namespace);
    match limited(api.get_opt(&secret.name)).await {
        Ok(Some(found)) => {
            let version = found.resource_version().unwrap_or_default();
            let text = |(key, value): (String, k8s_openapi::ByteString)| {
                let value = String::from_utf8(value.0).ok()?;
                Some((key, Password::new(value)))
            };
            Value::There(version, found.data.unwrap_or_default().into_iter().filter_map(text).collect())
        }
        Ok(None) => Value::Missing,
        Err(failed) if failed.is_forbidden() => Value::Failed("it may not be read".to_owned()),
        Err(failed) => Value::Failed(failed.to_string()),
    }
}

/// News of peers, from one registrar after another.
pub(super) async fn follow(registrars: Arc<Registrars>, reign: Reign, tell: mpsc::Sender<In>) {
    let mut pause = Duration::from_millis(200);
    while !reign.end().is_cancelled() {
        let began = Instant::now();
        if let Ok(mut news) = registrars.follow().await {
            tracing::info!("a registrar tells news of peers");
            let _ = tell.send(In::Following).await;
            loop {
                let next = tokio::select! {
                    next = news.recv() => next,
                    () = reign.end().cancelled() => return,
                };
                let Some(next) = next else { break };
                if tell.send(In::News(next)).await.is_err() {
                    return;
                }
            }
            let _ = tell.send(In::NoNews).await;
            tracing::warn!("the news of peers broke off");
        }
        // One that lasted was no failure.
        pause =
            if began.elapsed() > Duration::from_secs(30) { Duration::from_millis(200) } else { pause * 2 };
        pause = pause.min(Duration::from_secs(5));
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)) => {}
            () = reign.end().cancelled() => return,
        }
    }
}

/// All marked peers, each time when they are wanted.
pub(super) async fn list_marks(
    registrars: Arc<Registrars>,
    wanted: Arc<Notify>,
    reign: Reign,
    tell: mpsc::Sender<In>,
) {
    loop {
        tokio::select! {
            () = wanted.notified() => {}
            () = reign.end().cancelled() => return,
        }
        loop {
            // Several namespaces are listed at about the same time.
            tokio::time::sleep(Duration::from_millis(500)).await;
            match registrars.marked().await {
                Ok(all) => {
                    let _ = tell.send(In::Marked(all)).await;
                    break;
                }
                Err(unanswered) => {
                    tracing::debug!(%unanswered, "registrars did not list marked peers");
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(2)) => {}
                        () = reign.end().cancelled() => return,
                    }
                }
            }
        }
    }
}

/// Tells registrars whether all peers are there, again and again while that is so: the key may be lost without the rest.
pub(super) async fn say_complete<F>(
    say: impl Fn(bool) -> F,
    mut heard: watch::Receiver<Option<bool>>,
    reign: Reign,
) where
    F: Future<Output = Result<(), Unanswered>>,
{
    loop {
        let is_complete = *heard.borrow_and_update();
        let pause = match is_complete {
            Some(is_complete) if reign.holds() => {
                let said = tokio::select! {
                    said = say(is_complete) => said,
                    // A registrar may wait for a store that comes back empty: that all peers are there is not so any more.
                    changed = heard.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    () = reign.end().cancelled() => return,
                };
                match said {
                    Ok(()) => COMPLETE_EVERY,
                    Err(unanswered) => {
                        tracing::debug!(%unanswered, "registrars were not told whether all peers are there");
                        Duration::from_secs(2)
                    }
                }
            }
            // Perhaps in a moment again.
            Some(_) => Duration::from_secs(2),
            None => COMPLETE_EVERY,
        };
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            () = reign.end().cancelled() => return,
        }
    }
}

/// One status.
pub(super) async fn write_status(
    client: Client,
    write: Write,
    metrics: OperatorMetrics,
    reign: Reign,
    tell: mpsc::Sender<In>,
) {
    let api: Api<SipPeer> = Api::namespaced(client, &write.key.namespace);
    let patch = serde_json::json!({
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "SipPeer",
        // With the UID it can be no other object of the same name.
        "metadata": { "name": write.key.name, "namespace": write.key.namespace, "uid": write.uid },
        "status": write.status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let (result, outcome) =
        match reign.write(api.patch_status(&write.key.name, &params, &Patch::Apply(patch))).await {
            Ok(_) => ("ok", Outcome::Written),
            // It is gone, or another one now; its watch says so.
            Err(failed) if failed.is_missing() || failed.is_conflict() => ("gone", Outcome::Written),
            Err(failed) => {
                tracing::warn!(object = %write.key, error = %failed, "a status could not be written");
                let outcome = if failed.passes() { Outcome::Failed } else { Outcome::Refused };
                (if failed.is_forbidden() { "forbidden" } else { "failed" }, outcome)
            }
        };
    OperatorMetrics::count(&metrics.status_writes, result);
    let _ = tell.send(In::Wrote(Box::new(write), outcome)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn that_all_peers_are_there_is_not_said_any_more_when_the_store_was_emptied() {
        let (complete, heard) = watch::channel(Some(true));
        let (said, mut hear) = mpsc::unbounded_channel();
        let say = move |is_complete| {
            let said = said.clone();
            async move {
                // The store is away; a registrar waits for it with what it was asked.
                if is_complete {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                let _ = said.send(is_complete);
                Ok(())
            }
        };
        let reign = Reign::of(Duration::from_secs(3600));
        let saying = tokio::spawn(say_complete(say, heard, reign));
        tokio::time::sleep(Duration::from_millis(50)).await;
        complete.send_replace(Some(false));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(hear.recv().await, Some(false), "into an emptied store");
        assert!(hear.try_recv().is_err());
        saying.abort();
    }
}
