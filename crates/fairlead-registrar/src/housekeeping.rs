//! What a registrar does without being asked: keys, leases, notices, bindings that end, the store's going and coming.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fairlead_location::expired;
use fairlead_model::id::UnixMillis;
use fairlead_store::{BoundRecord, Notice, NoticeStream, Outcome, Step, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info, warn};

use crate::change::{Change, row_columns};
use crate::keys::{Keys, algorithms};
use crate::registrar::Registrar;

/// How often leases are looked at and renewed, and pods told what is new.
const TICK: Duration = Duration::from_secs(1);
/// How often bindings are looked for that have ended.
const EXPIRY_EVERY: u32 = 5;
/// How often what was told of contacts that went is forgotten.
const SWEEP_EVERY: u32 = 60;
/// Bindings go this long after they ended, as in chan_sip; other registrars follow after as much again, each.
const EXPIRY_GRACE_MS: u64 = 10_000;
/// How many names one step of a walk over all peers takes.
const WALK: u32 = 256;

/// Starts the tasks. They end when the registrar is dropped.
pub fn start(registrar: &Arc<Registrar>) {
    let notices = registrar.storage.store().notices();
    tokio::spawn(listen(Arc::downgrade(registrar), notices));
    tokio::spawn(tick(Arc::downgrade(registrar)));
}

/// Hears what other registrars publish.
async fn listen(registrar: Weak<Registrar>, mut notices: NoticeStream) {
    loop {
        let notice = notices.recv().await;
        let Some(registrar) = registrar.upgrade() else { return };
        match notice {
            Ok(notice) => registrar.hear(notice).await,
            Err(RecvError::Lagged(_)) => registrar.catch_up().await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// The regular round.
async fn tick(registrar: Weak<Registrar>) {
    let mut present = true;
    let mut round: u32 = 0;
    let mut warmed = false;
    let mut next_walk: Option<Instant> = None;
    let mut briefing = None;
    let mut next_page = Instant::now() + crate::drift::EVERY;
    let mut page = None;
    loop {
        let Some(strong) = registrar.upgrade() else { return };
        let there = strong.renew().await;
        match &there {
            Ok(()) if !present => {
                info!("the store is back");
                strong.members.give_grace();
                present = true;
                next_page = Instant::now() + crate::drift::EVERY;
            }
            Err(error) => {
                if std::mem::replace(&mut present, false) {
                    warn!(%error, "the store is away");
                }
                // Nobody can renew a lease: none runs out meanwhile.
                strong.members.give_grace();
            }
            Ok(()) => {}
        }
        if there.is_ok() {
            strong.write_what_waits().await;
            strong.restore_suspects().await;
            if next_page <= Instant::now() {
                page = strong.look_for_drift(page).await;
                next_page = Instant::now() + crate::drift::EVERY;
            }
            if !warmed {
                warmed = strong.warm_up().await.is_ok();
                if warmed {
                    strong.followers.all();
                }
            }
            if round.is_multiple_of(EXPIRY_EVERY) {
                strong.end_expired().await;
            }
            let every = strong.config.reindex_every;
            if !every.is_zero() && next_walk.is_none_or(|at| at <= Instant::now()) {
                // Not at the very start, and not all registrars at once.
                if next_walk.is_some()
                    && let Err(error) = strong.storage.store().reindex().await
                {
                    debug!(%error, "the indexes could not be built anew");
                }
                next_walk = Some(Instant::now() + every.mul_f64(rand::random_range(0.8..1.2)));
            }
        }
        strong.strangers.sweep();
        if round.is_multiple_of(SWEEP_EVERY) {
            strong.sweep_told();
        }
        strong.show();
        strong.members.tell_requalify();
        if let Some(briefing) = &briefing {
            strong.members.brief(briefing);
        }
        round = round.wrapping_add(1);
        let deadline = Instant::now() + TICK;
        drop(strong);
        // A change is told at once, not with the next round.
        loop {
            let Some(strong) = registrar.upgrade() else { return };
            let wait = deadline.saturating_duration_since(Instant::now());
            let changed = tokio::time::timeout(wait, strong.rebrief.notified()).await.is_ok();
            if changed && let Some(new) = strong.briefing() {
                strong.members.brief(&new);
                briefing = Some(new);
            }
            if !changed {
                break;
            }
        }
    }
}

impl Registrar {
    /// Renews our own lease, and asks for members, secret and epoch: one journey.
    pub(crate) async fn renew(&self) -> Result<(), StoreError> {
        let known = self.keys.load_full();
        let candidate = known.as_ref().map_or_else(rand::random, |keys| keys.secret);
        let period = self.config.nonce_period;
        let at_least = known.as_ref().map_or(0, |keys| keys.epoch);
        let steps = vec![
            Step::Beat(Box::new(self.me_now())),
            Step::Members,
            Step::Secret { candidate },
            Step::Secrets { known: known.as_ref().map(|keys| keys.secrets.clone()).unwrap_or_default() },
            Step::Epoch { period, at_least },
            Step::Incarnation { candidate: rand::random::<u64>() >> 1 },
            self.around.step(),
        ];
        let mut results = self.storage.store().run(steps).await.into_iter();
        let mut next = || results.next().unwrap_or(Err(StoreError::Unexpected("no result")));
        next()?;
        let (now, members) = next()?.members()?;
        self.clock.heard(now);
        if self.members.heard(members, now) {
            self.rebrief.notify_one();
            // Another share of the configured addresses may be theirs now.
            self.members.requalify_all();
        }
        let Outcome::Secret { secret, .. } = next()? else {
            return Err(StoreError::Unexpected("the secret was wanted"));
        };
        let Outcome::Secrets(secrets) = next()? else {
            return Err(StoreError::Unexpected("the secrets were wanted"));
        };
        let secrets = with_current(secret, secrets);
        let Outcome::Epoch { epoch, .. } = next()? else {
            return Err(StoreError::Unexpected("the epoch was wanted"));
        };
        let Outcome::Incarnation(incarnation) = next()? else {
            return Err(StoreError::Unexpected("the incarnation was wanted"));
        };
        if self.around.heard(next()?)? {
            self.rebrief.notify_one();
        }
        if self.losses.is_other(incarnation) {
            self.refill_soon(incarnation);
        }
        if known.as_ref().is_none_or(|keys| keys.epoch != epoch || keys.secrets != secrets) {
            let epoch = match known.is_none() && !self.storage.store().keeps_nonces() {
                true => self.begin_anew(epoch).await?,
                false => epoch,
            };
            self.take_keys(secrets, epoch);
        }
        Ok(())
    }

    /// Windows of nonces did not outlive the last process: none of its nonces may be taken any more.
    async fn begin_anew(&self, epoch: u32) -> Result<u32, StoreError> {
        let step = Step::Epoch { period: self.config.nonce_period, at_least: epoch.saturating_add(3) };
        match self.storage.store().run_one(step).await? {
            Outcome::Epoch { epoch, .. } => Ok(epoch),
            _ => Err(StoreError::Unexpected("the epoch was wanted")),
        }
    }

    fn take_keys(&self, secrets: Vec<[u8; 32]>, epoch: u32) {
        let general = self.catalog.general();
        let keys = Keys::derive(secrets, epoch, &general.realm, &algorithms(&general.auth_algorithms));
        self.keys.store(Some(Arc::new(keys)));
        self.ready.send_replace(true);
        self.rebrief.notify_one();
        debug!(epoch, "keys are others now");
    }

    /// This registrar as others see it now.
    pub(crate) fn me_now(&self) -> fairlead_model::member::Member {
        let mut me = self.config.me.clone();
        me.draining = self.leaving.has_begun();
        me.load = u32::try_from(self.members.streams()).unwrap_or(u32::MAX);
        me
    }

    /// What was promised or done while the store was away.
    pub(crate) async fn write_what_waits(&self) {
        if self.storage.waiting() > 0 {
            self.storage.catch_up().await;
        }
        if let Err(error) = self.keep_promises().await {
            debug!(%error, "promises wait on");
        }
    }

    /// Loads who is registered, so that bindings are known here from the start: to be qualified, to end in time, and
    /// to be refreshed should the store go away.
    async fn warm_up(&self) -> Result<(), StoreError> {
        let statics: Vec<String> = self.catalog.statics().keys().cloned().collect();
        for names in statics.chunks(WALK as usize) {
            self.warm(names.to_vec(), true).await?;
        }
        let mut after = None;
        loop {
            let step = Step::Names { after: after.clone(), limit: WALK };
            let names = self.storage.store().run_one(step).await?.names()?;
            let Some(last) = names.last().cloned() else { break };
            let unknown = names.into_iter().filter(|name| !self.catalog.is_static(name)).collect();
            self.warm(unknown, false).await?;
            after = Some(last);
        }
        self.rebrief.notify_one();
        debug!(bindings = self.locations.count(), "bindings are known");
        Ok(())
    }

    async fn warm(&self, names: Vec<String>, all: bool) -> Result<(), StoreError> {
        let steps = names.iter().map(|name| Step::Load { name: name.clone() }).collect();
        let now = self.clock.now();
        for (name, result) in names.iter().zip(self.storage.store().run(steps).await) {
            let (row, bindings) = match result.and_then(Outcome::loaded) {
                Ok(loaded) => loaded,
                Err(error) if error.passes() => return Err(error),
                Err(error) => {
                    warn!(%error, "a peer's record is passed over");
                    continue;
                }
            };
            let registered = bindings.bindings.iter().any(|binding| binding.expires_at > now);
            // A peer that can come without registering must be known by its address.
            let fixed = row.as_deref().is_some_and(|row| self.is_fixed(name, row));
            if self.locations.get(name).is_none() && (all || registered || fixed) {
                self.loaded(name, row, bindings).await;
            }
        }
        Ok(())
    }

    /// Bindings whose time is over go, and the row is blanked. The first registrar does it; the others wait longer,
    /// and find that nothing is left to do.
    async fn end_expired(&self) {
        let general = Arc::clone(self.catalog.general());
        if general.ignore_reg_expire {
            return;
        }
        let now = self.clock.now();
        let wait = EXPIRY_GRACE_MS * (1 + self.members.rank(now) as u64);
        for name in self.locations.expired(UnixMillis(now.0.saturating_sub(wait))) {
            if self.journal.has(&name) {
                continue;
            }
            let ended = self.change(&name, false, |bindings, now| {
                let ending = expired(bindings, &general, now);
                let over = ending.is_unregistered();
                if over {
                    info!("a registration ended");
                }
                (!ending.removed.is_empty()).then(|| Change {
                    columns: row_columns(&ending.columns, |pod| self.members.name_of(pod)),
                    bindings: ending.left,
                    told: true,
                })
            });
            if let Err(error) = ended.await {
                debug!(%error, "bindings that ended stay a while");
                return;
            }
        }
    }

    /// What a notice changes here.
    async fn hear(&self, notice: Notice) {
        let me = self.config.me.pod;
        match notice {
            Notice::Bound { by, name, version, record, quiet } if by != me => {
                self.bound_elsewhere(&name, version, record).await;
                if !quiet {
                    self.followers.touch(&name, false);
                }
            }
            Notice::PeerChanged { by, name } if by != me => {
                self.catalog.forget(&name);
                self.locations.forget(&name);
                self.followers.touch(&name, false);
            }
            Notice::Forget { by, id, names, gone, fixed } if by != me => {
                self.forget_for_another(by, id, &names, gone, fixed);
            }
            Notice::Forgotten { by, to, id } if to == me => self.forgetting.heard(id, by),
            Notice::Drifted { by, name } if by != me => self.followers.drifted(&name),
            Notice::Surroundings { by } if by != me => {
                if let Err(error) = self.read_surroundings().await {
                    debug!(%error, "what lies around the edge could not be read");
                }
            }
            Notice::Prune { by, which } if by != me => self.prune_for_another(which),
            Notice::Cluster { by } if by != me => {
                if let Err(error) = self.renew().await {
                    debug!(%error, "members could not be asked for");
                }
            }
            Notice::Qualified { by, name, result } if by != me => {
                if self.followers.is_news(&name, "", result) {
                    self.followers.touch(&name, false);
                }
                self.static_qualify.insert(name, result);
            }
            Notice::Resumed => {
                self.members.give_grace();
                self.catch_up().await;
                // A replica that took over may lack the last writes: whoever made them compares.
                self.followers.resumed();
            }
            // What was read and told before may be old already.
            Notice::Listening => self.catch_up().await,
            _ => {}
        }
    }

    /// Some notices were missed: what is held here may be old, and whoever follows was not told all.
    async fn catch_up(&self) {
        self.resume().await;
        self.followers.all();
    }

    /// Another registrar bound contacts. Every registrar knows all of them: it may be a flow of a pod on our streams, and
    /// the store may be lost together with whoever bound them.
    async fn bound_elsewhere(&self, name: &str, version: u64, record: Option<Box<BoundRecord>>) {
        let held = self.locations.get(name);
        if held.is_some_and(|held| held.version >= version) || self.journal.has(name) {
            return;
        }
        match record {
            Some(record) if self.catalog.get(name).is_some() => {
                self.seen(name, true, Arc::new(record.into_record(version)));
            }
            // Its peer is not known here yet.
            _ => self.read_anew(name.to_owned()),
        }
    }

    /// Gauges.
    fn show(&self) {
        let metrics = &self.metrics;
        metrics.bindings.set(self.locations.count() as i64);
        metrics.cached.set(self.catalog.cached_count() as i64);
        metrics.streams.set(self.members.streams() as i64);
        metrics.store_present.set(i64::from(self.store_is_present()));
        metrics.followers.set(self.followers.count() as i64);
        metrics.waiting.set((self.journal.len() + self.storage.waiting()) as i64);
    }
}

/// All secrets, the current one first.
fn with_current(current: [u8; 32], all: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    let former = all.into_iter().filter(|secret| *secret != current);
    std::iter::once(current).chain(former).collect()
}
