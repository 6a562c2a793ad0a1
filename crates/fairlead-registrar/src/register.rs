//! A REGISTER: who asks, what changes, one atomic step.

use std::net::SocketAddr;
use std::sync::Arc;

use fairlead_location::{Plan, Turned, plan};
use fairlead_model::ask::{Answer, AskFailed, IdempotencyKey, Refusal, RegisterRequest, Registered};
use fairlead_model::binding::Binding;
use fairlead_model::id::UnixMillis;
use fairlead_model::peer::Peer;
use fairlead_store::{Bind, BindOutcome, BindingsRecord, NonceUse, Outcome, Step, StoreError};
use tracing::{debug, info};

use crate::auth::Proof;
use crate::change::row_columns;
use crate::metrics::VerdictLabel;
use crate::registrar::Registrar;

/// How often a plan is made again when others change the same record at the same time.
pub const ATTEMPTS: usize = 5;

impl Registrar {
    pub(crate) async fn register(
        &self,
        key: IdempotencyKey,
        request: &RegisterRequest,
    ) -> Result<Answer, AskFailed> {
        match self.try_register(key, request).await {
            Ok(answer) => Ok(answer),
            // A record of ours that cannot be read is that peer's trouble alone, but it is not a 200 either.
            Err(error) => {
                debug!(%error, "a REGISTER cannot be kept");
                Ok(Answer::Refused(self.unavailable()))
            }
        }
    }

    async fn try_register(
        &self,
        key: IdempotencyKey,
        request: &RegisterRequest,
    ) -> Result<Answer, StoreError> {
        let name = request.user.as_str();
        let ours = self.is_our_domain(&request.host);
        let (known, was_cached) = match (self.catalog.get(name), self.locations.get(name)) {
            (Some(peer), Some(bindings)) => (crate::registrar::Known { peer: Some(peer), bindings }, true),
            _ => (self.load(name).await?, false),
        };
        let peer = known.peer.filter(|peer| ours && peer.is_peer());
        let open = peer.as_ref().filter(|peer| !peer.has_secret());
        let nonce = match open {
            Some(_) => None,
            None => match self.prove(request.credentials.as_ref(), peer.as_deref()) {
                Proof::Holds(nonce) => Some(nonce),
                other => return self.not_proven(name, request.flow.remote, was_cached, other).await,
            },
        };
        self.count("ok");
        // A proof holds only for a peer, and an open one is a peer.
        let Some(peer) = peer else { return Ok(Answer::Refused(forbidden())) };
        self.bind_all(key, request, &peer, known.bindings, nonce).await
    }

    /// A challenge, or the same 403 for a wrong password and a name that nobody has, after the same journey: a name
    /// that is not cached took one to the store, so every failure takes one.
    pub(crate) async fn not_proven(
        &self,
        name: &str,
        from: SocketAddr,
        was_cached: bool,
        proof: Proof,
    ) -> Result<Answer, StoreError> {
        let is_wrong = matches!(proof, Proof::Wrong);
        let (verdict, answer) = match proof {
            Proof::Holds(_) => return Err(StoreError::Unexpected("a proof that does not hold was wanted")),
            Proof::Challenge { stale } => {
                let verdict = if stale { "stale" } else { "missing" };
                (verdict, Answer::Challenge { stale })
            }
            Proof::Wrong => ("wrong", Answer::Refused(forbidden())),
            Proof::Refused(refusal) => ("malformed", Answer::Refused(refusal)),
        };
        self.count(verdict);
        if is_wrong {
            // By this it is found who guesses; the name is what the sender wrote, and may be nobody's.
            debug!(peer = name, %from, "a wrong password, or a name that nobody has");
        }
        if was_cached {
            let _ = self.storage.store().run_one(Step::Load { name: name.to_owned() }).await?;
        }
        // A wrong password likewise, or the difference would tell which names are there.
        if is_wrong && !self.knows_all().await? {
            debug!("not all peers are there yet");
            return Ok(Answer::Refused(self.unavailable()));
        }
        Ok(answer)
    }

    pub(crate) fn count(&self, verdict: &'static str) {
        self.metrics.auth.get_or_create(&VerdictLabel { verdict }).inc();
    }

    /// Whether a REGISTER for this host is for us (chan_sip.md §4.6: any host, unless domains are listed).
    fn is_our_domain(&self, host: &str) -> bool {
        let general = self.catalog.general();
        general.domains.is_empty() || general.domains.iter().any(|(name, _)| name.eq_ignore_ascii_case(host))
    }

    /// Plans and binds, again when the record turns out to be another one.
    async fn bind_all(
        &self,
        key: IdempotencyKey,
        request: &RegisterRequest,
        peer: &Peer,
        mut record: Arc<BindingsRecord>,
        nonce: Option<NonceUse>,
    ) -> Result<Answer, StoreError> {
        let general = self.catalog.general();
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            if record.has_answered(key) {
                return Ok(Answer::Registered(as_bound(request, peer, &record.bindings, now)));
            }
            let plan = match plan(request, &record.bindings, peer, general, now) {
                Ok(plan) => plan,
                Err(refusal) => return Ok(Answer::Refused(refusal)),
            };
            if plan.is_empty() {
                return self.query(peer, plan, nonce).await;
            }
            if self.journal.has(&peer.name) {
                return Ok(self.refresh_while_away(key, peer, &record, plan, nonce.as_ref()).await);
            }
            if let Some(nonce) = &nonce
                && !self.storage.nonce_is_fresh_here(&peer.name, nonce).await
            {
                return Ok(Answer::Challenge { stale: true });
            }
            let bind = Bind {
                name: peer.name.clone(),
                planned_from: record.version,
                bindings: plan.bindings.clone(),
                columns: match &plan.columns {
                    Some(columns) if general.rt_update && !self.catalog.is_static(&peer.name) => {
                        row_columns(columns, |pod| self.members.name_of(pod))
                    }
                    _ => Default::default(),
                },
                nonce: nonce.clone(),
                key: Some(key),
                now,
            };
            match self.bind(bind, &record, &plan).await {
                Ok(BindOutcome::Bound { version }) => {
                    return Ok(self.bound(key, peer, &record, version, plan));
                }
                Ok(BindOutcome::Conflict(current)) => {
                    self.metrics.replanned.inc();
                    record = match self.newer(&peer.name, Arc::clone(&record), current).await {
                        Ok(record) => record,
                        // Away just now: with the next attempt that is found out as usual.
                        Err(error) if error.passes() => record,
                        Err(error) => return Err(error),
                    };
                }
                // The question itself may have used it, through another registrar: the record then says so.
                Ok(BindOutcome::NonceUsed) => return Ok(Answer::Challenge { stale: true }),
                Err(error) if error.passes() => {
                    return Ok(self.refresh_while_away(key, peer, &record, plan, nonce.as_ref()).await);
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Overloaded)
    }

    /// The step itself; other registrars hear of it. Also when only times changed, where there are others: each has to
    /// know all registrations, should the store lose them together with one of us.
    async fn bind(&self, bind: Bind, old: &BindingsRecord, plan: &Plan) -> Result<BindOutcome, StoreError> {
        let quiet = plan.refresh_only;
        let told = (!quiet || self.storage.store().keeps_nonces())
            .then(|| Step::Publish(self.bound_notice(&bind, old, quiet)));
        let mut steps = vec![Step::Bind(Box::new(bind))];
        steps.extend(told);
        let mut results = self.storage.store().run(steps).await.into_iter();
        results.next().unwrap_or(Err(StoreError::Unexpected("no result")))?.bind()
    }

    fn bound(
        &self,
        key: IdempotencyKey,
        peer: &Peer,
        old: &BindingsRecord,
        version: u64,
        plan: Plan,
    ) -> Answer {
        match plan.turned {
            Some(Turned::Registered) => info!("a peer is registered"),
            Some(Turned::Unregistered) => info!("a peer is unregistered"),
            None => {}
        }
        let record = record_after(old, version, plan.bindings, Some(key));
        let pods = self.locations.put(&peer.name, Arc::new(record));
        if !plan.refresh_only {
            self.followers.touch(&peer.name, false);
        }
        if peer.qualify_ms.is_some() {
            self.members.requalify(&pods);
        }
        Answer::Registered(plan.registered)
    }

    /// A REGISTER that changes nothing only uses its nonce.
    async fn query(&self, peer: &Peer, plan: Plan, nonce: Option<NonceUse>) -> Result<Answer, StoreError> {
        if let Some(nonce) = nonce {
            let step = Step::UseNonce { peer: peer.name.clone(), nonce };
            if !self.storage.run_one(step).await.and_then(Outcome::nonce)? {
                return Ok(Answer::Challenge { stale: true });
            }
        }
        Ok(Answer::Registered(plan.registered))
    }

    /// The store is away: what only prolongs a binding that is known here is promised and written later, anything
    /// else is not (a 200 that is not kept would be a phone that cannot be called and does not know it).
    async fn refresh_while_away(
        &self,
        key: IdempotencyKey,
        peer: &Peer,
        record: &BindingsRecord,
        plan: Plan,
        nonce: Option<&NonceUse>,
    ) -> Answer {
        if !plan.refresh_only {
            return Answer::Refused(self.unavailable());
        }
        if let Some(nonce) = nonce
            && !self.storage.use_nonce_here(&peer.name, nonce).await
        {
            return Answer::Challenge { stale: true };
        }
        let promised = record_after(record, record.version, plan.bindings, Some(key));
        let kept = self.journal.promise(&peer.name, || {
            self.locations.put(&peer.name, Arc::new(promised));
        });
        match kept {
            true => Answer::Registered(plan.registered),
            false => Answer::Refused(self.unavailable()),
        }
    }
}

/// The record as it is after a change.
pub(crate) fn record_after(
    old: &BindingsRecord,
    version: u64,
    bindings: Vec<Binding>,
    key: Option<IdempotencyKey>,
) -> BindingsRecord {
    let mut asked = old.asked.clone();
    asked.extend(key);
    let excess = asked.len().saturating_sub(BindingsRecord::ASKED_MAX);
    asked.drain(..excess);
    BindingsRecord { version, bindings, asked }
}

/// The 200 of a REGISTER that was carried out before.
fn as_bound(request: &RegisterRequest, peer: &Peer, bindings: &[Binding], now: UnixMillis) -> Registered {
    let live = bindings.iter().filter(|binding| binding.expires_at > now);
    let contacts: Vec<_> = live
        .map(|binding| {
            let left = binding.expires_at.since(now) / 1000;
            (binding.value.clone(), u32::try_from(left).unwrap_or(u32::MAX))
        })
        .collect();
    let path = if peer.support_path && !contacts.is_empty() { request.path.clone() } else { Vec::new() };
    Registered { contacts, path, qualify: false }
}

fn forbidden() -> Refusal {
    Refusal::new(403, "Forbidden")
}
