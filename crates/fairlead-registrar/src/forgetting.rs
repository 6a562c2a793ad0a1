//! Peers that were written or removed by whoever looks after them: every registrar forgets them at once and says so.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairlead_model::id::PodRef;
use fairlead_model::member::Role;
use fairlead_store::{Notice, Step, StoreError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::registrar::Registrar;

/// How long another registrar may take to say that it has forgotten.
const WAIT: Duration = Duration::from_secs(1);

/// What others were asked to forget.
#[derive(Default)]
pub struct Forgetting {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

struct Waiting {
    silent: HashSet<PodRef>,
    done: Option<oneshot::Sender<()>>,
}

impl Forgetting {
    fn ask(&self, others: HashSet<PodRef>) -> (u64, oneshot::Receiver<()>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, all) = oneshot::channel();
        self.waiting.lock().insert(id, Waiting { silent: others, done: Some(done) });
        (id, all)
    }

    /// One said so.
    pub fn heard(&self, id: u64, by: PodRef) {
        if let Some(waiting) = self.waiting.lock().get_mut(&id) {
            waiting.silent.remove(&by);
            if waiting.silent.is_empty()
                && let Some(done) = waiting.done.take()
            {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    fn end(&self, id: u64) -> HashSet<PodRef> {
        self.waiting.lock().remove(&id).map(|waiting| waiting.silent).unwrap_or_default()
    }
}

impl Registrar {
    /// This registrar and all others forget a peer; the names of those that did not say so. An error when the others could
    /// not be asked, whoever they are.
    pub(crate) async fn forget_everywhere(
        &self,
        name: &str,
        gone: bool,
        fixed: bool,
    ) -> Result<Vec<String>, StoreError> {
        self.forget_here(name, gone, fixed);
        let members = self.members.living(self.clock.now());
        let me = self.config.me.pod;
        let others = members.into_iter().filter(|one| one.role == Role::Registrar && one.pod != me);
        let others: HashMap<PodRef, String> = others.map(|one| (one.pod, one.name)).collect();
        let (id, all) = self.forgetting.ask(others.keys().copied().collect());
        let notice = Notice::Forget { by: me, id, names: vec![name.to_owned()], gone, fixed };
        let told = self.storage.store().run_one(Step::Publish(notice)).await;
        if told.is_ok() && !others.is_empty() {
            // Late is silent.
            let _ = tokio::time::timeout(WAIT, all).await;
        }
        let silent = self.forgetting.end(id);
        told?;
        let mut silent: Vec<String> = silent.iter().filter_map(|pod| others.get(pod).cloned()).collect();
        silent.sort_unstable();
        Ok(silent)
    }

    /// Another registrar asks.
    pub(crate) fn forget_for_another(&self, by: PodRef, id: u64, names: &[String], gone: bool, fixed: bool) {
        for name in names {
            self.forget_here(name, gone, fixed);
        }
        let Some(registrar) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let notice = Notice::Forgotten { by: registrar.config.me.pod, to: by, id };
            // Not told: whoever asked says that this registrar was silent.
            let _ = registrar.storage.store().run_one(Step::Publish(notice)).await;
        });
    }

    /// Forgets what is held of a peer. One that is registered, or can come without registering (`fixed`), is read anew:
    /// it is to be qualified, and known by its address.
    pub(crate) fn forget_here(&self, name: &str, gone: bool, fixed: bool) {
        let held = self.catalog.get(name);
        self.catalog.forget(name);
        let pods = match gone {
            true => {
                self.journal.forget(name);
                self.static_qualify.remove(name);
                self.locations.forget(name)
            }
            false => self.locations.get(name).map(|record| record.pods()).unwrap_or_default(),
        };
        if held.as_ref().is_some_and(|peer| !peer.has_secret() || peer.insecure.invite) {
            self.rebrief.notify_one();
        }
        if held.as_ref().is_some_and(|peer| peer.qualify_ms.is_some()) {
            match held.is_some_and(|peer| peer.is_dynamic()) {
                true => self.members.requalify(&pods),
                false => self.members.requalify_all(),
            }
        }
        self.followers.touch(name, gone);
        if !gone && (fixed || !pods.is_empty()) {
            self.read_anew(name.to_owned());
        }
    }

    /// Reads a peer and its bindings beside all else.
    pub(crate) fn read_anew(&self, name: String) {
        let Some(registrar) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            // Away: it is read at first use, or when the store is back.
            let Ok(known) = registrar.load(&name).await else { return };
            let Some(peer) = known.peer.filter(|peer| peer.qualify_ms.is_some()) else { return };
            match peer.is_dynamic() {
                true => registrar.members.requalify(&known.bindings.pods()),
                false => registrar.members.requalify_all(),
            }
        });
    }

    /// Whether a row's peer can come without registering.
    pub(crate) fn is_fixed(&self, name: &str, row: &fairlead_store::Columns) -> bool {
        let peer = self.catalog.read(name, row);
        !peer.is_dynamic() || !peer.has_secret()
    }
}
