//! What the operator role asks: peers that it looks after, and what lies around the edge.

use std::collections::BTreeMap;
use std::time::Duration;

use fairlead_model::operator::PeerPage;
use fairlead_model::peer::Peer;
use fairlead_model::peer::options::Remark;
use fairlead_model::peer::row::RUNTIME_COLUMNS;
use fairlead_model::provision::{Mark, Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::Surroundings;
use fairlead_proto::operator::{Page, Unanswered};
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_store::{Columns, Filled, Outcome, Step, StoreError, marked};
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::metrics::OutcomeLabel;
use crate::operator::{Asked, unable};
use crate::registrar::Registrar;

/// How many names of the index are read at once.
const NAMES: u32 = 512;
/// The longest name of a peer, bytes.
const NAME_MAX: usize = 255;
/// A REGISTER that was under way while its peer was removed has ended after this long.
const LATE: Duration = Duration::from_millis(1500);

#[async_trait::async_trait]
impl ProvisioningPort for Registrar {
    async fn provision(&self, peer: Provision) -> Result<Provisioned, Unanswered> {
        self.knows_others()?;
        let outcome = self.provision_one(peer).await?;
        let word = match &outcome {
            Provisioned::Written { .. } => "written",
            Provisioned::Unchanged => "unchanged",
            Provisioned::Taken(_) => "taken",
            Provisioned::Invalid(_) => "invalid",
        };
        self.metrics.provisioned.get_or_create(&OutcomeLabel { outcome: word }).inc();
        Ok(outcome)
    }

    async fn withdraw(&self, name: &str, uid: &str) -> Result<Withdrawn, Unanswered> {
        if uid.is_empty() {
            return Err(Unanswered::Invalid("a UID is wanted".to_owned()));
        }
        self.knows_others()?;
        if self.catalog.is_static(name) {
            return Ok(Withdrawn::NotYours);
        }
        let step = Step::Withdraw { name: name.to_owned(), uid: uid.to_owned() };
        let outcome =
            self.storage.store().run_one(step).await.and_then(Outcome::withdrawn).map_err(unable)?;
        if outcome == Withdrawn::Removed {
            self.metrics.provisioned.get_or_create(&OutcomeLabel { outcome: "withdrawn" }).inc();
            info!("a peer was withdrawn");
        }
        if outcome != Withdrawn::NotYours {
            self.gone_everywhere(name).await?;
        }
        Ok(outcome)
    }

    async fn list_marked(&self, page: PeerPage) -> Result<Page<Marked>, Unanswered> {
        let asked = Asked::of(&page)?;
        let mut entries = Vec::new();
        let mut after = page.after;
        loop {
            let rows = self.marked_rows(after.as_deref(), NAMES).await.map_err(unable)?;
            let Some((last, _)) = rows.last() else { return Ok(Page { entries, more: false }) };
            after = Some(last.clone());
            for (name, row) in rows {
                let Some(mark) = row.as_deref().and_then(marked::mark_of) else { continue };
                if !asked.wants(&name) {
                    continue;
                }
                if entries.len() == asked.limit {
                    return Ok(Page { entries, more: true });
                }
                entries.push(Marked { name, mark });
            }
        }
    }

    async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
        self.start_following()
    }

    async fn set_surroundings(&self, surroundings: Surroundings) -> Result<(), Unanswered> {
        self.take_surroundings(surroundings).await
    }

    async fn set_complete(&self, is_complete: bool) -> Result<(), Unanswered> {
        let say = match is_complete {
            // What was written into a store that has been emptied since is not in this one.
            true => Filled::All(self.losses.settled().ok_or_else(emptied)?),
            false => Filled::NotAll,
        };
        let said = self.storage.store().run_one(Step::Complete { say: Some(say) }).await;
        let is_said = said.and_then(Outcome::complete).map_err(unable)? == is_complete;
        is_said.then_some(()).ok_or_else(emptied)
    }
}

impl Registrar {
    async fn provision_one(&self, peer: Provision) -> Result<Provisioned, Unanswered> {
        let (peer, wrong) = self.judged(peer);
        if !wrong.is_empty() {
            return Ok(Provisioned::Invalid(wrong));
        }
        // Whatever the store has under this name, sip.conf comes first.
        if self.catalog.is_static(&peer.name) {
            return Ok(Provisioned::Taken(None));
        }
        let name = peer.name.clone();
        let fixed = self.is_fixed(&name, &peer.columns);
        let may_be_unheard =
            peer.forget || self.unheard.lock().contains(&name) || self.holds_another(&name, &peer.mark);
        let step = Step::Provision(Box::new(peer));
        let outcome =
            self.storage.store().run_one(step).await.and_then(Outcome::provisioned).map_err(unable)?;
        let put_right = match outcome {
            Provisioned::Written { put_right, .. } => put_right,
            // Written before, but perhaps not all have forgotten what was before: they are asked (again).
            Provisioned::Unchanged if may_be_unheard => Vec::new(),
            other => return Ok(other),
        };
        // Until all have said so, whoever asks again has all of them asked again.
        self.unheard.lock().insert(name.clone());
        let silent =
            self.forget_everywhere(&name, false, fixed).await.map_err(|error| untold("written", error))?;
        if silent.is_empty() {
            self.unheard.lock().remove(&name);
        }
        Ok(Provisioned::Written { put_right, silent })
    }

    /// A registrar that has just started has not heard who else is to forget.
    fn knows_others(&self) -> Result<(), Unanswered> {
        let unable = || Unanswered::Unable("the other registrars are not known here yet".to_owned());
        self.is_ready().then_some(()).ok_or_else(unable)
    }

    /// Whether a peer is cached here under another mark: its writing was not heard here, and perhaps nowhere.
    fn holds_another(&self, name: &str, mark: &Mark) -> bool {
        self.catalog.row(name).is_some_and(|row| marked::mark_of(&row).as_ref() != Some(mark))
    }

    /// All registrars forget a peer that was removed. One that still holds it lets its phone register again, so it is not
    /// gone before each of them has said so: asked again, all are asked again.
    async fn gone_everywhere(&self, name: &str) -> Result<(), Unanswered> {
        let silent = self.forget_everywhere(name, true, false).await;
        self.sweep_late(name.to_owned());
        let silent = silent.map_err(|error| untold("removed", error))?;
        if !silent.is_empty() {
            return Err(Unanswered::Unable(format!(
                "it is removed, and not yet forgotten by {}",
                silent.join(", ")
            )));
        }
        self.unheard.lock().remove(name);
        Ok(())
    }

    /// Whether a name that is not there may be called unknown. Not while the operator role has yet to write its peers,
    /// after an install or because the store was emptied. Asked each time: an emptied store is noticed at once.
    pub(crate) async fn knows_all(&self) -> Result<bool, StoreError> {
        if !self.config.await_peers {
            return Ok(true);
        }
        self.storage.store().run_one(Step::Complete { say: None }).await?.complete()
    }

    /// The peer with its columns in lower case, and what no peer can have.
    fn judged(&self, mut peer: Provision) -> (Provision, Vec<String>) {
        let mut wrong = Vec::new();
        if peer.name.is_empty() || peer.name.len() > NAME_MAX || peer.name.chars().any(char::is_control) {
            wrong.push(format!("the name has to be of 1 to {NAME_MAX} octets without control characters"));
        }
        if peer.mark.uid.is_empty() {
            wrong.push("a mark has a UID".to_owned());
        }
        let mut columns = BTreeMap::new();
        for (column, value) in std::mem::take(&mut peer.columns) {
            let column = column.to_ascii_lowercase();
            let runtime = RUNTIME_COLUMNS.contains(&column.as_str()) && column != "port";
            if runtime || column.starts_with("fairlead_") || column == "id" || column == "name" {
                wrong.push(format!("column '{column}' is not the writer's"));
            } else if !value.is_empty() {
                columns.insert(column, value);
            }
        }
        peer.columns = columns;
        let (_, remarks) = Peer::from_row(&peer.name, &peer.columns, &self.catalog.general().defaults);
        for remark in remarks {
            match remark {
                Remark::Bad { .. } | Remark::Unknown { .. } | Remark::Misplaced { .. } => {
                    wrong.push(remark.to_string());
                }
                Remark::NotYet { .. }
                | Remark::NotYetValue { .. }
                | Remark::Never { .. }
                | Remark::Renamed { .. } => debug!(%remark, "of a peer that is looked after"),
            }
        }
        (peer, wrong)
    }

    /// A REGISTER that another registrar was carrying out while its peer was removed may have bound once more: after a
    /// moment, bindings of a name without a peer go.
    pub(crate) fn sweep_late(&self, name: String) {
        let Some(registrar) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            // No peer has an empty UID: only bindings of a name without a peer go.
            let step = Step::Withdraw { name: name.clone(), uid: String::new() };
            if let Ok(Outcome::Withdrawn(Withdrawn::Absent)) = registrar.storage.store().run_one(step).await
                && registrar.catalog.get(&name).is_none()
            {
                registrar.locations.forget(&name);
            }
        });
    }

    /// The next names of the index of marked peers, each with its row.
    pub(crate) async fn marked_rows(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Option<std::sync::Arc<Columns>>)>, StoreError> {
        let step = Step::Marked { after: after.map(str::to_owned), limit };
        let names = self.storage.store().run_one(step).await?.names()?;
        let steps = names.iter().map(|name| Step::Row { name: name.clone() }).collect();
        let mut rows = Vec::with_capacity(names.len());
        for (name, row) in names.into_iter().zip(self.storage.store().run(steps).await) {
            match row.and_then(Outcome::row) {
                Ok(row) => rows.push((name, row)),
                Err(error) if error.passes() => return Err(error),
                // A key of another kind under that name is no peer.
                Err(_) => rows.push((name, None)),
            }
        }
        Ok(rows)
    }
}

fn emptied() -> Unanswered {
    Unanswered::Unable("the store was emptied a moment ago".to_owned())
}

fn untold(done: &str, error: StoreError) -> Unanswered {
    Unanswered::Unable(format!("it is {done}, and other registrars could not be told: {error}"))
}
