//! What happens to peers, for those who follow it: each gets the latest view of every peer that changed, once, however
//! slowly it reads.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use fairlead_model::binding::{Qualify, QualifyState};
use fairlead_model::operator::PeerView;
use fairlead_model::provision::PeerNews;
use fairlead_proto::operator::Unanswered;
use fairlead_store::StoreError;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info};

use crate::operator::unable;
use crate::registrar::Registrar;

/// News on their way to one follower; beyond that they gather, one for each peer.
const NEWS: usize = 256;
/// How long changes gather before they are told: several of one peer are told once.
const GATHER: Duration = Duration::from_millis(100);
/// How many views are made at once.
const TOGETHER: usize = 256;
/// A reader that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Beyond so many names that wait, all peers are told anew instead.
const WAITING_MAX: usize = 1_000_000;
/// Differences of round trips below this are nothing to tell, milliseconds.
const RTT_NOISE: u32 = 4;

/// Everybody who follows.
#[derive(Default)]
pub struct Followers {
    list: Mutex<Vec<Weak<Follower>>>,
    /// The qualify result that was last told of each contact.
    told: DashMap<(String, String), (QualifyState, u32)>,
}

#[derive(Default)]
struct Follower {
    pending: Mutex<Pending>,
    wake: Notify,
}

/// What is to be told.
#[derive(Default)]
struct Pending {
    order: VecDeque<String>,
    /// Whether the peer was removed.
    names: HashMap<String, bool>,
    drifted: BTreeSet<String>,
    all: bool,
    emptied: bool,
    resumed: bool,
}

impl Pending {
    fn add(&mut self, name: &str, gone: bool) {
        if let Some(known) = self.names.get_mut(name) {
            *known = gone;
        } else if self.names.len() >= WAITING_MAX {
            self.all = true;
        } else {
            self.names.insert(name.to_owned(), gone);
            self.order.push_back(name.to_owned());
        }
    }

    fn take(&mut self) -> Vec<(String, bool)> {
        let count = self.order.len().min(TOGETHER);
        let names: Vec<String> = self.order.drain(..count).collect();
        let taken = names.into_iter().map(|name| {
            let gone = self.names.remove(&name).unwrap_or(false);
            (name, gone)
        });
        taken.collect()
    }
}

impl Followers {
    fn each(&self, change: impl Fn(&mut Pending)) {
        let mut list = self.list.lock();
        list.retain(|follower| {
            let Some(follower) = follower.upgrade() else { return false };
            change(&mut follower.pending.lock());
            follower.wake.notify_one();
            true
        });
    }

    /// A peer is another one than before, or gone.
    pub fn touch(&self, name: &str, gone: bool) {
        self.each(|pending| pending.add(name, gone));
    }

    /// Somebody changed the record of a marked peer.
    pub fn drifted(&self, name: &str) {
        self.each(|pending| {
            pending.drifted.insert(name.to_owned());
        });
    }

    /// The store was emptied.
    pub fn emptied(&self) {
        self.each(|pending| pending.emptied = true);
    }

    /// The store is there again.
    pub fn resumed(&self) {
        self.each(|pending| pending.resumed = true);
    }

    /// What happened meanwhile is not known.
    pub fn all(&self) {
        self.each(|pending| pending.all = true);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.lock().iter().filter(|follower| follower.strong_count() > 0).count()
    }

    /// Whether a qualify result is worth telling: another state, or a round trip that halved or doubled since the last
    /// one that was. Then it counts as told.
    pub fn is_news(&self, name: &str, key: &str, result: Qualify) -> bool {
        let about = (name.to_owned(), key.to_owned());
        let news = self.told.get(&about).is_none_or(|told| {
            let (state, rtt) = *told;
            let apart = rtt.abs_diff(result.rtt_ms) >= RTT_NOISE;
            let moved = result.rtt_ms <= rtt / 2 || result.rtt_ms >= rtt.saturating_mul(2);
            state != result.state || (apart && moved)
        });
        if news {
            self.told.insert(about, (result.state, result.rtt_ms));
        }
        news
    }

    /// Forgets what was told of contacts that are not there any more.
    fn sweep(&self, is_there: impl Fn(&str, &str) -> bool) {
        self.told.retain(|(name, key), _| is_there(name, key));
    }
}

impl Registrar {
    /// Forgets what was told of contacts that are not there any more. The name alone may not keep them: a phone can register
    /// under another URI each time.
    pub(crate) fn sweep_told(&self) {
        self.followers.sweep(|name, key| match key {
            "" => self.catalog.get(name).is_some(),
            key => self.held(name).bindings.iter().any(|binding| binding.key.0 == key),
        });
    }

    /// One more who follows. Not while the store is away: what is held here need not be all there is, and whoever is told of
    /// some peers, and that these are all, takes the others to be gone.
    pub(crate) fn start_following(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
        let registrar = self.me.upgrade().ok_or(Unanswered::Unreachable)?;
        if !self.store_is_present() {
            return Err(unable(StoreError::Away));
        }
        let follower = Arc::new(Follower::default());
        // Before the first list is read, so that no change is missed.
        self.followers.list.lock().push(Arc::downgrade(&follower));
        let (tell, news) = mpsc::channel(NEWS);
        let weak = Arc::downgrade(&registrar);
        tokio::spawn(async move {
            info!("somebody follows peers");
            let ended = tell_all(weak, follower, tell).await;
            info!(why = ended.0, "somebody no longer follows peers");
        });
        Ok(news)
    }
}

/// Why following ended.
struct Ended(&'static str);

async fn tell_all(
    registrar: Weak<Registrar>,
    follower: Arc<Follower>,
    tell: mpsc::Sender<PeerNews>,
) -> Ended {
    match snapshot(&registrar, &tell, true).await {
        Ok(()) => {}
        Err(ended) => return ended,
    }
    if let Err(ended) = send(&tell, PeerNews::Told).await {
        return ended;
    }
    loop {
        tokio::select! {
            () = follower.wake.notified() => {}
            () = tell.closed() => return Ended("its reader went"),
        }
        tokio::time::sleep(GATHER).await;
        if let Err(ended) = tell_pending(&registrar, &follower, &tell).await {
            return ended;
        }
    }
}

async fn tell_pending(
    registrar: &Weak<Registrar>,
    follower: &Follower,
    tell: &mpsc::Sender<PeerNews>,
) -> Result<(), Ended> {
    loop {
        let (emptied, resumed, drifted, all, names) = {
            let mut pending = follower.pending.lock();
            let all = std::mem::take(&mut pending.all);
            if all {
                // Those that were removed are told on: no list names them.
                pending.names.retain(|_, gone| *gone);
                let Pending { order, names, .. } = &mut *pending;
                order.retain(|name| names.contains_key(name));
            }
            let emptied = std::mem::take(&mut pending.emptied);
            let resumed = std::mem::take(&mut pending.resumed);
            (emptied, resumed, std::mem::take(&mut pending.drifted), all, pending.take())
        };
        if !emptied && !resumed && !all && drifted.is_empty() && names.is_empty() {
            return Ok(());
        }
        if emptied {
            send(tell, PeerNews::Emptied).await?;
        }
        if resumed {
            send(tell, PeerNews::Resumed).await?;
        }
        for name in drifted {
            send(tell, PeerNews::Changed(name)).await?;
        }
        if all {
            snapshot(registrar, tell, false).await?;
        }
        if names.is_empty() {
            continue;
        }
        let (views, missing) = {
            let registrar = registrar.upgrade().ok_or(Ended("the registrar ends"))?;
            registrar.views(names).await
        };
        for view in views {
            send(tell, PeerNews::Peer(Box::new(view))).await?;
        }
        for name in missing {
            send(tell, PeerNews::Gone(name)).await?;
        }
    }
}

/// How peers are now: at first only those that have a contact or are monitored. Ends when the store goes away meanwhile.
async fn snapshot(
    registrar: &Weak<Registrar>,
    tell: &mpsc::Sender<PeerNews>,
    first: bool,
) -> Result<(), Ended> {
    let mut after: Option<String> = None;
    loop {
        let strong = registrar.upgrade().ok_or(Ended("the registrar ends"))?;
        let (names, more) = strong.all_names(after.as_deref()).await.map_err(unlisted)?;
        after = names.last().cloned().or(after);
        for names in names.chunks(TOGETHER) {
            let found = strong.find_all(names.to_vec()).await.map_err(unlisted)?;
            let views: Vec<PeerView> = found.iter().map(|found| strong.seen_of(found).view()).collect();
            for view in views {
                if !first || view.monitored || !view.contacts.is_empty() {
                    send(tell, PeerNews::Peer(Box::new(view))).await?;
                }
            }
        }
        if !more {
            return Ok(());
        }
    }
}

fn unlisted(error: StoreError) -> Ended {
    debug!(%error, "peers cannot be listed for a follower");
    Ended("peers could not be listed")
}

async fn send(tell: &mpsc::Sender<PeerNews>, news: PeerNews) -> Result<(), Ended> {
    match tokio::time::timeout(PATIENCE, tell.send(news)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended("its reader went")),
        Err(_) => Err(Ended("its reader takes nothing")),
    }
}

impl Registrar {
    /// The views of peers, and the names of those that were removed and are not there again.
    async fn views(&self, names: Vec<(String, bool)>) -> (Vec<PeerView>, Vec<String>) {
        let mut gone: BTreeSet<String> =
            names.iter().filter(|(_, gone)| *gone).map(|(name, _)| name.clone()).collect();
        let found = self.find(names.into_iter().map(|(name, _)| name).collect()).await;
        let found = found.unwrap_or_else(|error| {
            debug!(%error, "peers cannot be read for a follower");
            Vec::new()
        });
        let views: Vec<PeerView> = found.iter().map(|found| self.seen_of(found).view()).collect();
        for view in &views {
            gone.remove(&view.name);
        }
        (views, gone.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
