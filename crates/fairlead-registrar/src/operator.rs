//! What the operator asks of a registrar.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_location::unregistered;
use fairlead_model::ask::{QualifyTarget, Usage};
use fairlead_model::member::Member;
use fairlead_model::operator::{
    InUseView, PeerDetail, PeerPage, PeerView, PruneReceipt, PruneSelector, UnregisterOutcome, UserView,
};
use fairlead_proto::operator::{PAGE, Page, PeersPort, Unanswered};
use fairlead_store::{Notice, Outcome, PeerSelector, Slot, Step, StoreError};
use regex::{Regex, RegexBuilder};

use crate::change::{Change, row_columns};
use crate::found::Found;
use crate::registrar::Registrar;
use crate::view::shown_limit;

/// How many peers are loaded at once.
const LOADS: usize = 256;
/// How long a prune that another registrar asked for still counts into a receipt of ours.
const RECENT: Duration = Duration::from_secs(10);
/// How large the machine of a regular expression may become, bytes.
const REGEX_SIZE: usize = 1 << 20;
/// How many names a receipt lists.
const RECEIPT_NAMES: usize = 1_000;

/// Prunes that other registrars asked for: the operator asks each of us for a receipt, and whoever is asked first
/// tells the others.
pub type RecentPrunes = Vec<(Instant, PeerSelector, Vec<String>)>;

#[async_trait::async_trait]
impl PeersPort for Registrar {
    async fn list_peers(&self, page: PeerPage) -> Result<Page<PeerView>, Unanswered> {
        self.page(&page, |found| found.peer.is_peer().then(|| self.seen_of(found).view())).await
    }

    async fn get_peer(&self, name: &str, load: bool) -> Result<Option<PeerDetail>, Unanswered> {
        let found = match load {
            true => self.load(name).await.map_err(unable)?.peer.is_some(),
            false => self.is_listed(name).await.map_err(unable)?,
        };
        if !found {
            return Ok(None);
        }
        let found = self.find(vec![name.to_owned()]).await.map_err(unable)?;
        Ok(found.first().map(|found| self.seen_of(found).detail()))
    }

    async fn list_users(&self, page: PeerPage) -> Result<Page<UserView>, Unanswered> {
        self.page(&page, |found| found.peer.is_user().then(|| self.seen_of(found).user())).await
    }

    async fn in_use(&self, all: bool, page: PeerPage) -> Result<Page<InUseView>, Unanswered> {
        let wanted = |found: &Found| {
            let limit = shown_limit(&found.peer);
            (all || limit.is_some()).then(|| (found.peer.name.clone(), limit))
        };
        let peers = self.page(&page, wanted).await?;
        let steps = peers.entries.iter().map(|(name, _)| Step::Slots { peer: name.clone() }).collect();
        let slots = self.storage.run(steps).await;
        let mut entries = Vec::with_capacity(peers.entries.len());
        for ((name, limit), slots) in peers.entries.into_iter().zip(slots) {
            let slots = slots.and_then(Outcome::slots).map_err(unable)?;
            entries.push(self.usage_of(name, limit, &slots));
        }
        Ok(Page { entries, more: peers.more })
    }

    async fn prune(&self, which: PruneSelector) -> Result<PruneReceipt, Unanswered> {
        let which = selector(which);
        let matching = Matching::new(&which)?;
        let mut names = self.prune_here(&matching);
        names.extend(self.pruned_before(&which));
        let is_static = matches!(&which, PeerSelector::Name(name) if self.catalog.is_static(name));
        let notice = Notice::Prune { by: self.config.me.pod, which };
        // The others are asked by the operator as well; those that he cannot reach hear it by this.
        let _ = self.storage.store().run_one(Step::Publish(notice)).await;
        let pruned = u32::try_from(names.len()).unwrap_or(u32::MAX);
        Ok(PruneReceipt { pruned, is_static, names: names.into_iter().take(RECEIPT_NAMES).collect() })
    }

    async fn unregister(&self, name: &str) -> Result<UnregisterOutcome, Unanswered> {
        let known = self.load(name).await.map_err(unable)?;
        if known.peer.is_none() {
            return Ok(UnregisterOutcome::UnknownPeer);
        }
        let general = Arc::clone(self.catalog.general());
        let live = known.bindings.bindings.iter().any(|binding| binding.expires_at > self.clock.now());
        let done = self.change(name, true, |bindings, now| {
            let ending = unregistered(bindings, None, &general, now);
            (!ending.removed.is_empty()).then(|| Change {
                columns: row_columns(&ending.columns, |pod| self.members.name_of(pod)),
                bindings: ending.left,
                told: true,
            })
        });
        Ok(match done.await.map_err(unable)? && live {
            true => UnregisterOutcome::Unregistered,
            false => UnregisterOutcome::NotRegistered,
        })
    }

    async fn qualify_peer(&self, name: &str) -> Result<Option<Vec<QualifyTarget>>, Unanswered> {
        let known = self.load(name).await.map_err(unable)?;
        let Some(peer) = known.peer.filter(|peer| peer.is_peer()) else { return Ok(None) };
        Ok(Some(self.targets_of(&peer, &known.bindings)))
    }

    async fn reindex(&self) -> Result<u64, Unanswered> {
        self.storage.store().reindex().await.map_err(unable)
    }

    async fn members(&self) -> Result<Vec<Member>, Unanswered> {
        Ok(self.members.living(self.clock.now()))
    }
}

impl Registrar {
    /// One page of a list: names in order, each turned into an entry, or left out.
    async fn page<T>(
        &self,
        page: &PeerPage,
        entry: impl Fn(&Found) -> Option<T>,
    ) -> Result<Page<T>, Unanswered> {
        let asked = Asked::of(page)?;
        let mut entries = Vec::new();
        let mut after = page.after.clone();
        loop {
            let (names, more) = self.names(after.as_deref()).await.map_err(unable)?;
            after = names.last().cloned().or(after);
            let wanted: Vec<String> = names.into_iter().filter(|name| asked.wants(name)).collect();
            for names in wanted.chunks(LOADS) {
                for found in self.find(names.to_vec()).await.map_err(unable)? {
                    let Some(one) = entry(&found) else { continue };
                    if entries.len() == asked.limit {
                        return Ok(Page { entries, more: true });
                    }
                    entries.push(one);
                }
            }
            if !more {
                return Ok(Page { entries, more: false });
            }
        }
    }

    /// Slots under living leases, counted by what they are used for.
    fn usage_of(&self, name: String, limit: Option<u32>, slots: &[Slot]) -> InUseView {
        let living = self.members.living_signaling(self.clock.now());
        let alive = slots.iter().filter(|slot| living.is_empty() || living.contains(&slot.pod));
        let mut view = InUseView { name, limit, ..InUseView::default() };
        for slot in alive {
            view.in_use += 1;
            match slot.usage {
                Usage::Ringing => view.ringing += 1,
                Usage::OnHold => view.on_hold += 1,
                Usage::Up => {}
            }
        }
        view
    }

    /// Forgets cached realtime peers; their names in order.
    fn prune_here(&self, matching: &Matching) -> BTreeSet<String> {
        let names = match matching {
            Matching::Name(name) => vec![name.clone()],
            _ => self.catalog.cached_names(),
        };
        let gone = names.into_iter().filter(|name| matching.is(name) && self.catalog.forget(name));
        gone.collect()
    }

    /// Another registrar was asked to prune and told us.
    pub(crate) fn prune_for_another(&self, which: PeerSelector) {
        let Ok(matching) = Matching::new(&which) else { return };
        let names: Vec<String> = self.prune_here(&matching).into_iter().collect();
        let mut recent = self.prunes.lock();
        recent.retain(|(at, _, _)| at.elapsed() < RECENT);
        if !names.is_empty() {
            recent.push((Instant::now(), which, names));
        }
    }

    /// Names that were pruned here a moment ago because another registrar was asked the same.
    fn pruned_before(&self, which: &PeerSelector) -> Vec<String> {
        let mut recent = self.prunes.lock();
        recent.retain(|(at, _, _)| at.elapsed() < RECENT);
        let mut names = Vec::new();
        recent.retain_mut(|(_, pruned, these)| {
            let same = pruned == which;
            if same {
                names.append(these);
            }
            !same
        });
        names
    }
}

/// Which names are meant.
enum Matching {
    All,
    Name(String),
    Like(Regex),
}

impl Matching {
    fn new(which: &PeerSelector) -> Result<Self, Unanswered> {
        Ok(match which {
            PeerSelector::All => Matching::All,
            PeerSelector::Name(name) => Matching::Name(name.clone()),
            PeerSelector::Like(like) => Matching::Like(regex(like)?),
        })
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Matching::All => true,
            Matching::Name(one) => one == name,
            Matching::Like(like) => like.is_match(name),
        }
    }
}

fn selector(which: PruneSelector) -> PeerSelector {
    match which {
        PruneSelector::All => PeerSelector::All,
        PruneSelector::Name(name) => PeerSelector::Name(name),
        PruneSelector::Like(like) => PeerSelector::Like(like),
    }
}

/// What a page is to hold.
pub(crate) struct Asked {
    /// At most so many entries.
    pub(crate) limit: usize,
    like: Option<Regex>,
}

impl Asked {
    pub(crate) fn of(page: &PeerPage) -> Result<Self, Unanswered> {
        let limit = match page.limit {
            0 => PAGE,
            limit => limit.min(PAGE),
        };
        Ok(Asked { limit: limit as usize, like: page.like.as_deref().map(regex).transpose()? })
    }

    /// Whether a name may be on it.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.like.as_ref().is_none_or(|like| like.is_match(name))
    }
}

fn regex(like: &str) -> Result<Regex, Unanswered> {
    let built = RegexBuilder::new(like).size_limit(REGEX_SIZE).build();
    built.map_err(|error| Unanswered::Invalid(format!("the regular expression cannot be read: {error}")))
}

pub(crate) fn unable(error: StoreError) -> Unanswered {
    Unanswered::Unable(error.to_string())
}
