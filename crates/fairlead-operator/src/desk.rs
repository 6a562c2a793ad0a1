//! Where everything about peers comes together: one loop that tells the plans what happened and does what they say.
//! `desk/tasks.rs` is what runs beside it.

mod tasks;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::provision::{PeerNews, Provisioned, Withdrawn};
use fairlead_proto::operator::Unanswered;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::DeserializeGuard;
use tokio::sync::{Notify, mpsc, watch};

use crate::crd::{SipPeer, SipPeerSpec};
use crate::events::Events;
use crate::lease::Reign;
use crate::metrics::{ByNamespace, OperatorMetrics};
use crate::peers::{Action, Key, PeerPlan, Told, Verdict, Wanted};
use crate::registrars::Registrars;
use crate::status::{StatusPlanner, View, is_served};
use crate::watching::Trouble;
use tasks::In;

/// What waits for the loop. Beyond it, watches and news wait in turn.
const INPUTS: usize = 4096;

/// How many peers are written or withdrawn at a time.
const AT_A_TIME: usize = 64;

/// How long a namespace that does not answer holds up the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the loop works with.
pub struct Desk {
    /// The API server.
    pub client: Client,
    /// The registrars.
    pub registrars: Arc<Registrars>,
    /// Namespaces to watch.
    pub namespaces: Vec<String>,
    /// Status writes a second.
    pub status_writes: u32,
    /// What is counted.
    pub metrics: OperatorMetrics,
    /// What is said at objects.
    pub events: Events,
    /// At what things are said that are about no object.
    pub us: ObjectReference,
    /// What lies around the edge has to be told again: the store was emptied, or another registrar is there.
    pub tell_again: Arc<Notify>,
    /// How long we lead.
    pub reign: Reign,
}

impl Desk {
    /// Until the reign ends.
    pub async fn run(self) {
        let now = Instant::now();
        let (tell, mut inputs) = mpsc::channel(INPUTS);
        let list_marks = Arc::new(Notify::new());
        for namespace in &self.namespaces {
            tokio::spawn(tasks::watch_peers(
                self.client.clone(),
                namespace.clone(),
                self.reign.clone(),
                tell.clone(),
            ));
            tokio::spawn(tasks::watch_secrets(
                self.client.clone(),
                namespace.clone(),
                self.reign.clone(),
                tell.clone(),
            ));
        }
        tokio::spawn(tasks::follow(self.registrars.clone(), self.reign.clone(), tell.clone()));
        tokio::spawn(tasks::list_marks(
            self.registrars.clone(),
            list_marks.clone(),
            self.reign.clone(),
            tell.clone(),
        ));
        let (complete, heard) = watch::channel(None);
        let registrars = self.registrars.clone();
        let say = move |is_complete| {
            let registrars = registrars.clone();
            async move { registrars.set_complete(is_complete).await }
        };
        tokio::spawn(tasks::say_complete(say, heard, self.reign.clone()));
        let mut state = State {
            plan: PeerPlan::new(self.namespaces.iter().cloned(), now + PATIENCE),
            statuses: StatusPlanner::new(self.status_writes, now),
            listing: HashMap::new(),
            troubles: HashMap::new(),
            has_missed: false,
            complete,
            list_marks,
            desk: self,
            tell,
        };
        let mut batch = Vec::with_capacity(512);
        while !state.desk.reign.end().is_cancelled() {
            let wake = state.turn();
            let sleep = tokio::time::sleep_until(wake.into());
            tokio::select! {
                _ = inputs.recv_many(&mut batch, 512) => {}
                () = sleep => {}
                () = state.desk.reign.end().cancelled() => break,
            }
            for input in batch.drain(..) {
                state.take(input);
            }
        }
    }
}

struct State {
    plan: PeerPlan,
    statuses: StatusPlanner,
    /// UIDs seen since a list began, by namespace.
    listing: HashMap<String, HashSet<String>>,
    troubles: HashMap<String, Trouble>,
    /// News broke off since all was told last.
    has_missed: bool,
    /// Whether all peers are known to be there; `None` while that cannot be said.
    complete: watch::Sender<Option<bool>>,
    list_marks: Arc<Notify>,
    desk: Desk,
    tell: mpsc::Sender<In>,
}

impl State {
    /// Does what is to be done now; when to look again at the latest.
    fn turn(&mut self) -> Instant {
        let now = Instant::now();
        while let Some(told) = self.plan.told() {
            self.say(now, told);
        }
        if !self.desk.reign.holds() {
            return now + Duration::from_millis(500);
        }
        while let Some(action) = self.plan.next(now, AT_A_TIME) {
            self.act(action);
        }
        while let Some(told) = self.plan.told() {
            self.say(now, told);
        }
        while let Some(write) = self.statuses.next(now, Timestamp::now()) {
            tokio::spawn(tasks::write_status(
                self.desk.client.clone(),
                write,
                self.desk.metrics.clone(),
                self.desk.reign.clone(),
                self.tell.clone(),
            ));
        }
        let metrics = &self.desk.metrics;
        let as_gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.objects.set(as_gauge(self.plan.objects()));
        metrics.backlog.set(as_gauge(self.plan.backlog()));
        metrics.status_backlog.set(as_gauge(self.statuses.backlog()));
        let wakes = [self.plan.wake(), self.statuses.wake()];
        let soonest = wakes.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(5));
        // Never at once again: whatever is due was just asked for.
        soonest.clamp(now + Duration::from_millis(5), now + Duration::from_secs(5))
    }

    fn take(&mut self, input: In) {
        let now = Instant::now();
        match input {
            In::Began(namespace) => {
                self.listing.insert(namespace, HashSet::new());
            }
            In::Peer(guard, is_listing) => self.object(now, *guard, is_listing),
            In::PeerGone(key, uid) => {
                self.plan.gone(&key, &uid);
                self.statuses.gone(&key);
            }
            In::Listed(namespace) => self.all_listed(&namespace),
            In::Trouble(namespace, trouble) => self.trouble(&namespace, trouble),
            In::Secret(secret, version) => self.plan.secret_changed(&secret, version.as_deref()),
            In::SecretRead(secret, value) => self.plan.secret_read(now, &secret, value, rand::random()),
            In::Provisioned(asked, answer) => {
                OperatorMetrics::count(&self.desk.metrics.provisions, provisioned_word(&answer));
                self.plan.provisioned(now, &asked, answer, rand::random());
            }
            In::Withdrawn(name, uid, answer) => {
                OperatorMetrics::count(&self.desk.metrics.withdrawals, withdrawn_word(&answer));
                self.plan.withdrawn(now, &name, &uid, answer, rand::random());
            }
            In::Marked(all) => {
                self.plan.marked(all);
                let unwatched = self.plan.unwatched();
                if unwatched > 0 {
                    tracing::warn!(
                        unwatched,
                        "registrars hold peers of SipPeer objects in namespaces that are not watched: they are left alone"
                    );
                }
                self.desk.metrics.unwatched.set(i64::try_from(unwatched).unwrap_or(i64::MAX));
            }
            In::Following => {
                self.statuses.telling();
                self.plan.reached();
                self.desk.metrics.following.set(1);
                self.desk.tell_again.notify_one();
            }
            In::NoNews => {
                self.desk.metrics.following.set(0);
                self.has_missed = true;
                // The store may be emptied meanwhile.
                self.complete.send_replace(None);
            }
            In::News(news) => self.news(now, news),
            In::Wrote(write, outcome) => self.statuses.written(now, &write, outcome),
        }
    }

    fn object(&mut self, now: Instant, guard: DeserializeGuard<SipPeer>, is_listing: bool) {
        let (metadata, read) = match guard.0 {
            Ok(peer) => (peer.metadata.clone(), Ok(peer)),
            Err(invalid) => (invalid.metadata, Err(invalid.error)),
        };
        let (Some(namespace), Some(name), Some(uid)) = (metadata.namespace, metadata.name, metadata.uid)
        else {
            return;
        };
        let key = Key { namespace, name };
        if is_listing && let Some(seen) = self.listing.get_mut(&key.namespace) {
            seen.insert(uid.clone());
        }
        if metadata.deletion_timestamp.is_some() {
            self.plan.gone(&key, &uid);
            self.statuses.gone(&key);
            return;
        }
        // No SIP name looks like this one, so what cannot be read claims none.
        let sip_name = read.as_ref().map_or_else(|_| format!("\0{uid}"), |peer| peer.sip_name().to_owned());
        let (spec, status) = match read {
            Ok(peer) => (Ok(Arc::new(peer.spec)), peer.status),
            Err(why) => (Err(format!("this release cannot read it: {why}")), None),
        };
        let generation = metadata.generation.unwrap_or_default();
        let is_served = status.as_ref().is_some_and(|status| is_served(status, generation));
        let nothing = SipPeerSpec::default();
        let view = View::unregistered(&sip_name, spec.as_deref().unwrap_or(&nothing));
        self.statuses.object(now, &key, &uid, &sip_name, view, status);
        self.plan.object(Wanted {
            key,
            uid,
            created: metadata.creation_timestamp.map_or(i64::MAX, |time| time.0.as_second()),
            generation,
            sip_name,
            is_served,
            spec,
        });
    }

    fn all_listed(&mut self, namespace: &str) {
        let seen = self.listing.remove(namespace).unwrap_or_default();
        for key in self.plan.listed(namespace, &seen) {
            self.statuses.gone(&key);
        }
        if self.troubles.remove(namespace).is_some() {
            tracing::info!(namespace, "SipPeers can be watched again");
        }
        self.desk.metrics.watched.get_or_create(&ByNamespace { namespace: namespace.to_owned() }).set(1);
        self.count_missing_crds();
    }

    fn trouble(&mut self, namespace: &str, trouble: Trouble) {
        let is_news = self
            .troubles
            .get(namespace)
            .is_none_or(|before| std::mem::discriminant(before) != std::mem::discriminant(&trouble));
        if is_news {
            match &trouble {
                Trouble::Forbidden(why) => {
                    tracing::error!(namespace, why, "SipPeers of a namespace may not be watched");
                    let note = format!("SipPeers in namespace {namespace} may not be watched: {why}");
                    self.desk.events.warn(self.desk.us.clone(), "WatchForbidden", "Watch", note);
                }
                Trouble::Missing => {
                    tracing::warn!(
                        namespace,
                        "the API server knows no SipPeer: install the chart fairlead-crds; waiting for it"
                    );
                    let note =
                        "the API server knows no SipPeer: install the chart fairlead-crds; waiting for it";
                    self.desk.events.warn(self.desk.us.clone(), "NoSipPeerKind", "Watch", note);
                }
                Trouble::Other(why) => {
                    tracing::warn!(namespace, why, "SipPeers cannot be watched now");
                }
            }
        }
        match trouble {
            Trouble::Forbidden(_) => self.plan.refused(namespace),
            Trouble::Missing => self.plan.has_no_kind(namespace),
            Trouble::Other(_) => {}
        }
        self.desk.metrics.watched.get_or_create(&ByNamespace { namespace: namespace.to_owned() }).set(0);
        self.troubles.insert(namespace.to_owned(), trouble);
        self.count_missing_crds();
    }

    fn count_missing_crds(&self) {
        let missing = self.troubles.values().any(|trouble| *trouble == Trouble::Missing);
        self.desk.metrics.crds_missing.set(missing.into());
    }

    fn news(&mut self, now: Instant, news: PeerNews) {
        match news {
            PeerNews::Peer(peer) => self.statuses.peer(now, Timestamp::now(), &peer),
            PeerNews::Gone(name) => {
                self.statuses.peer_gone(now, &name);
                self.plan.record_gone(&name);
            }
            PeerNews::Changed(name) => self.plan.record_changed(&name),
            PeerNews::Told => {
                self.statuses.all_told(now);
                // Between two streams anything may have happened.
                if std::mem::take(&mut self.has_missed) {
                    self.plan.check_all();
                }
            }
            PeerNews::Resumed => {
                tracing::info!(peers = self.plan.objects(), "the store is back: comparing all peers");
                self.complete.send_replace(None);
                self.plan.check_all();
            }
            PeerNews::Emptied => {
                tracing::warn!(peers = self.plan.objects(), "the store was emptied: writing all peers again");
                self.plan.emptied(now);
                self.complete.send_replace(Some(false));
                self.desk.tell_again.notify_one();
            }
        }
    }

    fn act(&self, action: Action) {
        let tell = self.tell.clone();
        let registrars = self.desk.registrars.clone();
        match action {
            Action::ListMarks => self.list_marks.notify_one(),
            Action::Provision(peer) => {
                tokio::spawn(async move {
                    let answer = registrars.provision(&peer).await;
                    let _ = tell.send(In::Provisioned(Box::new(peer), answer)).await;
                });
            }
            Action::Withdraw { name, uid } => {
                tokio::spawn(async move {
                    let answer = registrars.withdraw(&name, &uid).await;
                    let _ = tell.send(In::Withdrawn(name, uid, answer)).await;
                });
            }
            Action::ReadSecret(secret) => {
                let client = self.desk.client.clone();
                tokio::spawn(async move {
                    let value = tasks::read_secret(client, &secret).await;
                    let _ = tell.send(In::SecretRead(secret, value)).await;
                });
            }
        }
    }

    fn say(&mut self, now: Instant, told: Told) {
        match told {
            Told::Verdict(key, generation, verdict) => {
                if !verdict.is_ready() && verdict != Verdict::NotYet {
                    tracing::info!(object = %key, reason = verdict.reason(), "a SipPeer is not served");
                    tracing::debug!(object = %key, message = verdict.message(), "why");
                    if !matches!(verdict, Verdict::RegistrarsAway(_) | Verdict::RegistrarsSilent(_)) {
                        self.desk.events.warn(
                            self.about(&key),
                            verdict.reason(),
                            "Provision",
                            verdict.message(),
                        );
                    }
                }
                self.statuses.verdict(now, &key, generation, verdict);
            }
            Told::Complete => {
                tracing::info!(peers = self.plan.objects(), "all peers are written");
                self.complete.send_replace(Some(true));
            }
            Told::PutRight(key, columns) => {
                tracing::warn!(object = %key, columns = columns.join(","), "a peer was changed by hand and was put right");
                let note = format!("changed by hand and put right: {}", columns.join(", "));
                self.desk.events.warn(self.about(&key), "PutRight", "Provision", note);
            }
        }
    }

    fn about(&self, key: &Key) -> ObjectReference {
        ObjectReference {
            api_version: Some("fairlead.dev/v1alpha1".to_owned()),
            kind: Some("SipPeer".to_owned()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: self.plan.uid(key).map(str::to_owned),
            ..ObjectReference::default()
        }
    }
}

fn provisioned_word(answer: &Result<Provisioned, Unanswered>) -> &'static str {
    match answer {
        Ok(Provisioned::Written { put_right, .. }) if !put_right.is_empty() => "put_right",
        Ok(Provisioned::Written { .. }) => "written",
        Ok(Provisioned::Unchanged) => "unchanged",
        Ok(Provisioned::Taken(_)) => "taken",
        Ok(Provisioned::Invalid(_)) => "invalid",
        Err(_) => "unanswered",
    }
}

fn withdrawn_word(answer: &Result<Withdrawn, Unanswered>) -> &'static str {
    match answer {
        Ok(Withdrawn::Removed) => "removed",
        Ok(Withdrawn::Absent) => "absent",
        Ok(Withdrawn::NotYours) => "not_yours",
        Err(_) => "unanswered",
    }
}
