//! The registrar as one object.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use fairlead_model::ask::Refusal;
use fairlead_model::binding::Qualify;
use fairlead_model::peer::{GeneralFull, Peer};
use fairlead_store::{BindingsRecord, Columns, Step, Store, StoreError};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};

use crate::away::Journal;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::RegistrarConfig;
use crate::flows::Strangers;
use crate::follow::Followers;
use crate::forgetting::Forgetting;
use crate::keys::Keys;
use crate::leaving::Leaving;
use crate::locations::Locations;
use crate::losses::Losses;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::operator::RecentPrunes;
use crate::storage::Storage;
use crate::surroundings::Around;

/// Answers the questions of pods and of the operator. Cheap to share; ends its own tasks when it is dropped.
pub struct Registrar {
    /// Itself, for tasks that outlive a call.
    pub(crate) me: std::sync::Weak<Registrar>,
    pub(crate) config: RegistrarConfig,
    pub(crate) storage: Storage,
    pub(crate) catalog: Catalog,
    pub(crate) locations: Locations,
    pub(crate) clock: Clock,
    /// None until the store has been reached for the first time.
    pub(crate) keys: ArcSwapOption<Keys>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) members: Members,
    pub(crate) journal: Journal,
    pub(crate) strangers: Strangers,
    /// What qualify found at configured addresses.
    pub(crate) static_qualify: DashMap<String, Qualify>,
    /// Realms of trunks whose challenges were answered.
    pub(crate) realms: Mutex<HashMap<String, (String, std::time::Instant)>>,
    pub(crate) prunes: Mutex<RecentPrunes>,
    pub(crate) followers: Followers,
    pub(crate) forgetting: Forgetting,
    /// Names of which somebody did not say that he has forgotten them.
    pub(crate) unheard: Mutex<HashSet<String>>,
    pub(crate) around: Around,
    pub(crate) losses: Losses,
    pub(crate) leaving: Leaving,
    pub(crate) briefing_version: AtomicU64,
    /// Something that a briefing says has changed.
    pub(crate) rebrief: Notify,
    pub(crate) metrics: Metrics,
}

/// A peer and its bindings.
pub(crate) struct Known {
    pub(crate) peer: Option<Arc<Peer>>,
    pub(crate) bindings: Arc<BindingsRecord>,
}

impl Registrar {
    /// A registrar over this store with `[general]` and the peers of sip.conf. It begins to work at once; pods that
    /// attach wait until it has the cluster's keys. Must be called inside a tokio runtime.
    pub fn new(
        store: Arc<dyn Store>,
        config: RegistrarConfig,
        general: GeneralFull,
        peers: Vec<Peer>,
        metrics: &mut Registry,
    ) -> Arc<Self> {
        let registrar = Arc::new_cyclic(|me| Registrar {
            me: me.clone(),
            storage: Storage::new(store),
            catalog: Catalog::new(general, peers),
            locations: Locations::default(),
            clock: Clock::default(),
            keys: ArcSwapOption::empty(),
            ready: watch::channel(false).0,
            members: Members::new(config.me.clone(), config.lease),
            journal: Journal::default(),
            strangers: Strangers::default(),
            static_qualify: DashMap::new(),
            realms: Mutex::default(),
            prunes: Mutex::default(),
            followers: Followers::default(),
            forgetting: Forgetting::default(),
            unheard: Mutex::default(),
            around: Around::default(),
            losses: Losses::default(),
            leaving: Leaving::default(),
            briefing_version: AtomicU64::new(0),
            rebrief: Notify::new(),
            metrics: Metrics::new(metrics),
            config,
        });
        crate::housekeeping::start(&registrar);
        registrar
    }

    /// Waits until it has the cluster's keys and can answer.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as we do, so this cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Whether it has the cluster's keys.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Whether the store can be reached now, as far as is known.
    pub fn store_is_present(&self) -> bool {
        self.storage.store().is_present()
    }

    /// The peer of this name and its bindings: as they were last seen, or from the store at first use.
    pub(crate) async fn known(&self, name: &str) -> Result<Known, StoreError> {
        if let (Some(peer), Some(bindings)) = (self.catalog.get(name), self.locations.get(name)) {
            return Ok(Known { peer: Some(peer), bindings });
        }
        self.load(name).await
    }

    /// The peer of this name and its bindings from the store.
    pub(crate) async fn load(&self, name: &str) -> Result<Known, StoreError> {
        let (row, bindings) =
            self.storage.store().run_one(Step::Load { name: name.to_owned() }).await?.loaded()?;
        Ok(self.loaded(name, row, bindings).await)
    }

    /// What a load brought is kept: a peer is in the cache from its first use on, and in the index.
    pub(crate) async fn loaded(
        &self,
        name: &str,
        row: Option<Arc<Columns>>,
        bindings: Arc<BindingsRecord>,
    ) -> Known {
        let peer = match (self.catalog.get(name), row) {
            (Some(peer), _) => Some(peer),
            (None, Some(row)) => Some(self.take_in(name, row).await),
            (None, None) => None,
        };
        let bindings = self.seen(name, peer.is_some(), bindings);
        Known { peer, bindings }
    }

    /// Keeps a realtime peer that was found.
    async fn take_in(&self, name: &str, row: Arc<Columns>) -> Arc<Peer> {
        let marked = fairlead_store::marked::mark_of(&row).is_some();
        let peer = self.catalog.keep(name, row);
        let addresses = peer.static_address().map(|address| address.ip()).into_iter().collect();
        // Were this lost, the slow pass over all peers would index it.
        let _ = self.storage.store().run_one(Step::Index { name: name.to_owned(), addresses, marked }).await;
        if !peer.has_secret() || peer.insecure.invite {
            self.rebrief.notify_one();
        }
        peer
    }

    /// The store showed this record. While something newer waits to be written, that is what holds.
    pub(crate) fn seen(&self, name: &str, is_peer: bool, record: Arc<BindingsRecord>) -> Arc<BindingsRecord> {
        if self.journal.has(name)
            && let Some(ours) = self.locations.get(name)
        {
            return ours;
        }
        for binding in &record.bindings {
            self.strangers.forget(&binding.flow);
        }
        // An older answer overtook a newer one, or the store has lost what it had.
        if let Some(held) = self.locations.get(name)
            && record.version < held.version
            && held.is_live(self.clock.now())
        {
            self.losses.suspect(name);
            return held;
        }
        if is_peer {
            let pods = self.locations.put(name, Arc::clone(&record));
            if !pods.is_empty() && self.catalog.get(name).is_some_and(|peer| peer.qualify_ms.is_some()) {
                self.members.requalify(&pods);
            }
        }
        record
    }

    /// 503 with a Retry-After drawn by chance, so that not all come back at once.
    pub(crate) fn unavailable(&self) -> Refusal {
        let retry_after = rand::random_range(self.config.retry_after.clone());
        Refusal { retry_after: Some(retry_after), ..Refusal::new(503, "Service Unavailable") }
    }
}
