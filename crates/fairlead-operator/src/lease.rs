//! One operator leads at a time, by a Lease. `lease/step.rs` decides; here is what speaks to the API server.

mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_runtime::health::Heartbeat;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use tokio::sync::{RwLock, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Failed, LIMIT, limited, within};
use step::{Observed, Step, step};

/// How long a Lease lasts that nobody renews.
const DURATION: Duration = Duration::from_secs(15);

/// How long after the last renewal this process still acts: others wait longer, so that two never act at once.
const VALID: Duration = Duration::from_secs(10);

/// How often it is renewed, or looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Leading, until it ends. Whoever writes looks at it first.
#[derive(Clone, Debug)]
pub struct Reign {
    until: Arc<Mutex<Instant>>,
    end: CancellationToken,
    /// Held for reading by each write that is under way.
    writing: Arc<RwLock<()>>,
}

impl Reign {
    fn new(until: Instant) -> Self {
        Reign { until: Arc::new(Mutex::new(until)), end: CancellationToken::new(), writing: Arc::default() }
    }

    /// Still leading: nothing may be written otherwise.
    pub fn holds(&self) -> bool {
        !self.end.is_cancelled() && Instant::now() < *self.until.lock()
    }

    /// One that lasts so long.
    #[cfg(test)]
    pub(crate) fn of(time: Duration) -> Self {
        Reign::new(Instant::now() + time)
    }

    /// The same, with an end of its own that may come before.
    pub fn attempt(&self) -> Reign {
        Reign { end: self.end.child_token(), ..self.clone() }
    }

    /// A write to the API server over which nobody watches but us (no version of what was read goes with it): it takes no longer
    /// than the reign is sure to last, and the Lease is not given back while it is under way.
    pub async fn write<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
        let _writing = self.writing.read().await;
        if !self.holds() {
            return Err(Failed::Over);
        }
        let left = self.until.lock().saturating_duration_since(Instant::now());
        within(left.min(LIMIT), request).await
    }

    /// Cancelled at its end.
    pub fn end(&self) -> &CancellationToken {
        &self.end
    }
}

/// The Lease and who wants it.
pub struct Candidate {
    /// The Leases of its namespace.
    pub api: Api<Lease>,
    /// Its name.
    pub name: String,
    /// Who we are.
    pub me: String,
    /// What it goes away with.
    pub owner: Option<OwnerReference>,
    /// Labels of a new one.
    pub labels: BTreeMap<String, String>,
    /// Turns with every round.
    pub beat: Heartbeat,
}

impl Candidate {
    /// Stands for election until `stop`; then gives the Lease back.
    pub async fn stand(self, tell: watch::Sender<Option<Reign>>, stop: CancellationToken) {
        let mut seen: Option<Observed> = None;
        let mut reign: Option<Reign> = None;
        let mut failing = false;
        loop {
            let began = Instant::now();
            self.beat.beat();
            match self.round(&mut seen, began).await {
                Ok(true) => {
                    failing = false;
                    match &reign {
                        Some(reign) => *reign.until.lock() = began + VALID,
                        None => {
                            tracing::info!(lease = self.name, "leading");
                            let new = Reign::new(began + VALID);
                            tell.send_replace(Some(new.clone()));
                            reign = Some(new);
                        }
                    }
                }
                Ok(false) => {
                    failing = false;
                    if let Some(reign) = reign.take() {
                        tracing::warn!(lease = self.name, "somebody else leads now");
                        reign.end.cancel();
                        tell.send_replace(None);
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(lease = self.name, %error, "the Lease cannot be read or written");
                    }
                    if reign.as_ref().is_some_and(|reign| !reign.holds()) {
                        tracing::warn!(
                            lease = self.name,
                            "not leading: the Lease could not be renewed in time"
                        );
                        if let Some(reign) = reign.take() {
                            reign.end.cancel();
                        }
                        tell.send_replace(None);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY.mul_f64(0.9 + rand::random::<f64>() / 5.0)) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Some(reign) = reign {
            reign.end.cancel();
            tell.send_replace(None);
            // What it did must have stopped before another may begin.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _none = reign.writing.write().await;
            if let Err(error) = self.release().await {
                tracing::info!(%error, "the Lease could not be given back: others wait until it is over");
            }
        }
    }

    /// Looks, and acts; whether it is ours now.
    async fn round(&self, seen: &mut Option<Observed>, now: Instant) -> Result<bool, Failed> {
        let Some(lease) = limited(self.api.get_opt(&self.name)).await? else {
            *seen = None;
            let lease = self.lease(None, 0);
            return taken(limited(self.api.create(&PostParams::default(), &lease)).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let observed = Observed {
            holder: spec.holder_identity.unwrap_or_default(),
            stamp: format!("{:?} {:?}", spec.renew_time, lease.metadata.resource_version),
            duration: Duration::from_secs(
                spec.lease_duration_seconds.unwrap_or(15).clamp(1, 3600).unsigned_abs().into(),
            ),
            since: now,
        };
        let observed = observed.after(seen.take());
        let next = step(now, &self.me, Some(&observed));
        *seen = Some(observed);
        let transitions = spec.lease_transitions.unwrap_or(0);
        let mut new = match next {
            Step::Wait => return Ok(false),
            Step::Renew => self.lease(spec.acquire_time, transitions),
            Step::Take | Step::Create => self.lease(None, transitions.saturating_add(1)),
        };
        // Written only over what was seen.
        new.metadata.resource_version = lease.metadata.resource_version;
        taken(limited(self.api.replace(&self.name, &PostParams::default(), &new)).await)
    }

    fn lease(&self, acquired: Option<MicroTime>, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                owner_references: self.owner.clone().map(|owner| vec![owner]),
                labels: Some(self.labels.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: acquired.or(Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn release(&self) -> Result<(), Failed> {
        let Some(mut lease) = limited(self.api.get_opt(&self.name)).await? else { return Ok(()) };
        let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(self.me.as_str()))
        else {
            return Ok(());
        };
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        limited(self.api.replace(&self.name, &PostParams::default(), &lease)).await.map(|_| ())
    }
}

/// A conflict means that somebody else was faster.
fn taken(written: Result<Lease, Failed>) -> Result<bool, Failed> {
    match written {
        Ok(_) => Ok(true),
        Err(failed) if failed.is_conflict() => Ok(false),
        Err(failed) => Err(failed),
    }
}

#[cfg(test)]
mod tests;
