//! Carries out operations: knows for each who holds the facts, asks them all at once, makes one answer.

mod around;
mod listing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_model::ask::QualifyTarget;
use fairlead_model::flow::Hop;
use fairlead_model::operator::{PeerDetail, PruneSelector, UnregisterOutcome};
use fairlead_model::relay::{SessionRef, SessionStatistics};
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::operator::{ChannelsPort, PeersPort, Unanswered};
use fairlead_runtime::identity::now;

use tracing::Instrument;

pub(crate) use around::Myself;
pub use listing::{CHUNK, Entry, Listing};

use crate::auth::Caller;
use crate::convert::{self, Names};
use crate::directory::{Directory, Door};
use crate::fan_out::{Answers, Limit, Missing, ask_all, ask_one};
use crate::metrics::OperationMetrics;
use crate::operation::{Operation, Verb};

/// How long pods have to answer, unless the settings say otherwise.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// A list, a chunk at a time.
    List(Box<Listing>),
    /// A peer.
    Peer(Box<pb::GetPeerResponse>),
    /// A user.
    User(Box<pb::GetUserResponse>),
    /// What was pruned.
    Pruned(pb::PruneRealtimeResponse),
    /// Whether it had contacts.
    Unregistered(pb::UnregisterResponse),
    /// What qualify found.
    Qualified(pb::QualifyPeerResponse),
    /// Who is there.
    Pods(pb::ListPodsResponse),
    /// How many peers the index has.
    Reindexed(pb::ReindexResponse),
    /// Where phones go.
    Addresses(pb::ListAddressesResponse),
    /// What is wrong.
    Diagnosed(pb::DiagnoseResponse),
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody has that name.
    #[error("there is no such peer")]
    NotFound,
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Whoever asks may not.
    #[error("not allowed: {needed} in namespace {namespace} is needed")]
    Forbidden {
        /// `create sippeers.fairlead.dev/prune`
        needed: String,
        /// Where.
        namespace: String,
    },
    /// Whether he may could not be found out.
    #[error("{0}")]
    Undecided(String),
    /// None of the pods that would know answered.
    #[error("no {role} pod answered")]
    Nobody {
        /// Whose answer is missing.
        role: &'static str,
        /// Who was asked; empty when nobody is there.
        missing: Vec<pb::Missing>,
    },
}

/// The operations.
#[derive(Clone)]
pub struct Engine {
    directory: Arc<dyn Directory>,
    deadline: Duration,
    metrics: OperationMetrics,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Engine {
    /// Asks the pods of this directory; each has `deadline`.
    pub fn new(directory: Arc<dyn Directory>, deadline: Duration) -> Self {
        Engine { directory, deadline, metrics: OperationMetrics::default() }
    }

    /// Counts into these.
    pub fn measured(self, metrics: OperationMetrics) -> Self {
        Engine { metrics, ..self }
    }

    /// Carries out `operation` if `caller` may do it. For lists, `cursor` is where to begin and `limit` how many entries to give, all when
    /// it is `None`.
    pub async fn run(
        &self,
        caller: &Caller,
        operation: Operation,
        cursor: &str,
        limit: Option<usize>,
    ) -> Result<Answer, Failure> {
        let (words, began) = (operation.words(), Instant::now());
        let span = tracing::info_span!("operation", words);
        let changes = operation.row().is_some_and(|row| row.verb == Verb::Post);
        let result = async {
            caller.may(&operation).await?;
            self.carry_out(operation, cursor, limit).await
        };
        let result = result.instrument(span.clone()).await;
        self.metrics.operation(words, result.as_ref().err(), began.elapsed());
        span.in_scope(|| match &result {
            // Who may do what he likes leaves a trace of it.
            Ok(_) if changes => tracing::info!(by = caller.account(), "the operator changed something"),
            Err(failure @ Failure::Forbidden { .. }) => {
                tracing::warn!(by = caller.account(), %failure, "somebody may not do this");
            }
            Ok(_) => tracing::debug!("the operator looked at something"),
            Err(failure) => tracing::debug!(%failure, "the operator got no answer"),
        });
        result
    }

    async fn carry_out(
        &self,
        operation: Operation,
        cursor: &str,
        limit: Option<usize>,
    ) -> Result<Answer, Failure> {
        match operation {
            Operation::ShowPeers { .. }
            | Operation::ShowUsers { .. }
            | Operation::ShowInUse { .. }
            | Operation::ShowChannels
            | Operation::ShowChannel { .. }
            | Operation::ShowChannelStats
            | Operation::ShowBridged => {
                Ok(Answer::List(Box::new(Listing::begin(self.clone(), operation, cursor, limit)?)))
            }
            Operation::ShowPeer { name, load } => {
                let (detail, names, missing) = self.detail(&name, load, |detail| detail.is_peer).await?;
                let peer = Some(names.detail(detail));
                Ok(Answer::Peer(Box::new(pb::GetPeerResponse { peer, missing: missing.list() })))
            }
            Operation::ShowUser { name, load } => {
                let (detail, names, missing) = self.detail(&name, load, |detail| detail.is_user).await?;
                let user = Some(names.detail(detail));
                Ok(Answer::User(Box::new(pb::GetUserResponse { user, missing: missing.list() })))
            }
            Operation::PruneRealtime(which) => self.prune(which).await.map(Answer::Pruned),
            Operation::Unregister { name } => self.unregister(&name).await.map(Answer::Unregistered),
            Operation::QualifyPeer { name, load } => self.qualify(&name, load).await.map(Answer::Qualified),
            Operation::ShowPods => self.pods().await.map(Answer::Pods),
            Operation::Reindex => self.reindex().await.map(Answer::Reindexed),
            Operation::Address => self.addresses().await.map(Answer::Addresses),
            Operation::Doctor => self.doctor().await.map(Answer::Diagnosed),
        }
    }

    /// How long pods have, and who counts those that are late.
    fn limit(&self) -> Limit<'_> {
        Limit { deadline: self.deadline, metrics: &self.metrics }
    }

    /// The names of all pods that are known now.
    fn names(&self) -> Names {
        Names::new(self.directory.names(), now())
    }

    /// One registrar answers for all: what it is asked lies in their common store.
    async fn any_registrar<T, F>(
        &self,
        ask: impl Fn(Arc<dyn PeersPort>) -> F,
    ) -> Result<(T, Missing), Failure>
    where
        F: Future<Output = Result<T, Unanswered>>,
    {
        let doors = self.directory.registrars().await;
        let answers = ask_one(doors, self.limit(), |door| ask(door.port)).await.map_err(Failure::Invalid)?;
        let missing = answers.missing;
        match answers.given.into_iter().next() {
            Some((_, answer)) => Ok((answer, missing)),
            None => Err(Failure::Nobody { role: "registrar", missing: missing.list() }),
        }
    }

    async fn detail(
        &self,
        name: &str,
        load: bool,
        fits: impl Fn(&PeerDetail) -> bool,
    ) -> Result<(PeerDetail, Names, Missing), Failure> {
        // What one registrar holds another may not: all are asked, the one that holds it is believed.
        let doors = self.directory.registrars().await;
        let ask = |door: Door<dyn PeersPort>| {
            let name = name.to_owned();
            async move { door.port.get_peer(&name, load).await }
        };
        let answers = if load {
            ask_one(doors, self.limit(), ask).await
        } else {
            ask_all(doors, self.limit(), ask).await
        };
        let answers = enough(answers, "registrar")?;
        let found = answers.given.into_iter().filter_map(|(_, found)| found).find(fits);
        Ok((found.ok_or(Failure::NotFound)?, self.names(), answers.missing))
    }

    async fn prune(&self, which: PruneSelector) -> Result<pb::PruneRealtimeResponse, Failure> {
        let doors = self.directory.registrars().await;
        let ask = |door: Door<dyn PeersPort>| {
            let which = which.clone();
            async move { door.port.prune(which).await }
        };
        let answers = enough(ask_all(doors, self.limit(), ask).await, "registrar")?;
        // A peer that several registrars held is one peer. Receipts name a thousand at most, so where there are more
        // the largest number is the least that can be true.
        let names: BTreeSet<&String> = answers.given.iter().flat_map(|(_, receipt)| &receipt.names).collect();
        let most = answers.given.iter().map(|(_, receipt)| receipt.pruned).max().unwrap_or_default();
        let pruned = most.max(u32::try_from(names.len()).unwrap_or(u32::MAX));
        let receipts = answers
            .given
            .iter()
            .map(|(door, receipt)| pb::PruneReceipt { pod: door.name.clone(), pruned: receipt.pruned })
            .collect();
        let is_static = answers.given.iter().any(|(_, receipt)| receipt.is_static);
        Ok(pb::PruneRealtimeResponse { pruned, is_static, receipts, missing: answers.missing.list() })
    }

    async fn unregister(&self, name: &str) -> Result<pb::UnregisterResponse, Failure> {
        let ask = |port: Arc<dyn PeersPort>| {
            let name = name.to_owned();
            async move { port.unregister(&name).await }
        };
        let (outcome, missing) = self.any_registrar(ask).await?;
        let unregistered = match outcome {
            UnregisterOutcome::Unregistered => true,
            UnregisterOutcome::NotRegistered => false,
            UnregisterOutcome::UnknownPeer => return Err(Failure::NotFound),
        };
        Ok(pb::UnregisterResponse { unregistered, missing: missing.list() })
    }

    async fn qualify(&self, name: &str, load: bool) -> Result<pb::QualifyPeerResponse, Failure> {
        if load {
            // Brings a realtime peer that nobody holds into a registrar.
            self.detail(name, true, |_| true).await?;
        }
        let ask = |port: Arc<dyn PeersPort>| {
            let name = name.to_owned();
            async move { port.qualify_peer(&name).await }
        };
        let (targets, mut missing) = self.any_registrar(ask).await?;
        let targets = targets.ok_or(Failure::NotFound)?;
        let doors = self.directory.signaling().await;
        let asked = targets.iter().map(|target| qualify_one(&doors, target, self));
        let mut results = Vec::with_capacity(targets.len());
        for (result, late) in futures::future::join_all(asked).await {
            results.extend(result);
            missing.extend(late);
        }
        if results.is_empty() && !targets.is_empty() {
            return Err(Failure::Nobody { role: "signaling", missing: missing.list() });
        }
        Ok(pb::QualifyPeerResponse { results, missing: missing.list() })
    }

    async fn pods(&self) -> Result<pb::ListPodsResponse, Failure> {
        let (members, missing) = self.any_registrar(|port| async move { port.members().await }).await?;
        let pods = members.into_iter().map(convert::pod).collect();
        Ok(pb::ListPodsResponse { pods, missing: missing.list() })
    }

    async fn reindex(&self) -> Result<pb::ReindexResponse, Failure> {
        // It walks the whole store, so it gets more time than a question.
        let doors = self.directory.registrars().await;
        let limit = self.deadline.max(Duration::from_secs(60));
        let ask = |door: Door<dyn PeersPort>| async move { door.port.reindex().await };
        let answers =
            enough(ask_one(doors, Limit { deadline: limit, ..self.limit() }, ask).await, "registrar")?;
        let found = answers.given.first().map(|(_, found)| *found).unwrap_or_default();
        Ok(pb::ReindexResponse { found, missing: answers.missing.list() })
    }

    /// Counters of every relay session.
    async fn sessions(&self) -> Result<(HashMap<SessionRef, SessionStatistics>, Missing), Failure> {
        let doors = self.directory.relays().await;
        let answers = ask_all(doors, self.limit(), |door| async move { door.port.list_sessions(None).await })
            .await
            .map_err(Failure::Invalid)?;
        let all = answers.given.into_iter().flat_map(|(_, sessions)| sessions).collect();
        Ok((all, answers.missing))
    }
}

/// The pod that owns the flow asks; where there is no flow any pod may.
async fn qualify_one(
    doors: &[Door<dyn ChannelsPort>],
    target: &QualifyTarget,
    engine: &Engine,
) -> (Option<pb::QualifyResult>, Missing) {
    let fitting: Vec<_> = match &target.hop {
        Hop::Flow(flow) => doors.iter().filter(|door| door.pod == flow.pod).cloned().collect(),
        Hop::Address { .. } => doors.to_vec(),
    };
    // chan_sip waits twice the limit for the answer to OPTIONS.
    let limit = engine.deadline + Duration::from_millis(2 * u64::from(target.limit_ms));
    let ask = |door: Door<dyn ChannelsPort>| {
        let target = target.clone();
        async move { door.port.qualify(target).await }
    };
    match ask_one(fitting, Limit { deadline: limit, ..engine.limit() }, ask).await {
        Ok(answers) => {
            let result = answers.given.into_iter().next().map(|(door, found)| pb::QualifyResult {
                uri: target.uri.clone(),
                status: convert::status(&found),
                rtt_ms: found.rtt_ms,
                pod: door.name,
            });
            let owner_is_gone = result.is_none() && answers.missing.is_empty();
            let gone = owner_is_gone.then(|| pb::QualifyResult {
                uri: target.uri.clone(),
                status: "UNREACHABLE".to_owned(),
                rtt_ms: 0,
                pod: String::new(),
            });
            (result.or(gone), answers.missing)
        }
        Err(why) => {
            tracing::warn!(%why, "a pod refused to qualify");
            (None, Missing::default())
        }
    }
}

/// At least one has to have answered.
fn enough<P: ?Sized, T>(
    answers: Result<Answers<P, T>, String>,
    role: &'static str,
) -> Result<Answers<P, T>, Failure> {
    let answers = answers.map_err(Failure::Invalid)?;
    if answers.given.is_empty() {
        return Err(Failure::Nobody { role, missing: answers.missing.list() });
    }
    Ok(answers)
}

/// The entries of several pods by a key that sorts them.
fn by_key<T>(entries: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    entries.map(|entry| (key(&entry), entry)).collect()
}
