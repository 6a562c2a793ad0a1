//! The stream of one pod: batches of questions up, answers down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use fairlead_model::ask::{Answer, Ask, AskFailed, AskRef, Envelope};
use fairlead_model::id::PodRef;
use fairlead_model::member::{Member, Role};
use fairlead_proto::link::{Down, RegistrarPort, Up};
use fairlead_store::{Notice, Step, StoreError};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::{Instrument, debug, info, warn};

use crate::registrar::Registrar;

/// Messages that may wait for a pod.
const DOWN: usize = 256;
/// Questions of one pod that may be under way; more are refused at once.
const UNDER_WAY: usize = 8_192;
/// How many answers that are ready at the same time go down together.
const TOGETHER: usize = 256;
/// How long a pod that attaches waits for the cluster's keys.
const KEYS_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// How long a registrar that has just started may need to reach its store.
const PRESENCE_WAIT: std::time::Duration = std::time::Duration::from_millis(500);
/// How long the answers to what a pod has asked may take when its stream is to end.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(1);

type Answered = (AskRef, Result<Answer, AskFailed>);

#[async_trait::async_trait]
impl RegistrarPort for Registrar {
    async fn attach(&self, who: Member, up: mpsc::Receiver<Up>) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let registrar = self.me.upgrade().ok_or(AskFailed::Unreachable)?;
        if self.leaving.is_closing() {
            return Err(AskFailed::Unreachable);
        }
        // A certificate proves a role and not which pod of it. So at least no relay takes the place of a signaling pod,
        // whose calls and flows would be looked for there.
        if let Some(known) = self.members.role_of(who.pod).filter(|role| *role != who.role) {
            warn!(pod = %who.pod, says = who.role.word(), is = known.word(), "a pod attaches as another one");
            return Err(AskFailed::Unknown);
        }
        if !self.is_ready() && !self.store_is_present() {
            tokio::time::sleep(PRESENCE_WAIT).await;
        }
        // Without keys nothing can be answered: another registrar may have them.
        if !self.is_ready() && !self.store_is_present() {
            return Err(AskFailed::Unreachable);
        }
        if tokio::time::timeout(KEYS_WAIT, self.wait_until_ready()).await.is_err() {
            return Err(AskFailed::Unreachable);
        }
        let (down, to_pod) = mpsc::channel(DOWN);
        let now = self.clock.now();
        let who = Member { seen: now, ..who };
        let number = self.members.attach(who.clone(), down.clone());
        // Whoever asks two registrars at once leaves one of them, maybe at this very moment.
        let stream = Stream { registrar: Arc::clone(&registrar), pod: who.pod, number };
        self.join(who.clone()).await;
        if let Some(briefing) = self.briefing() {
            let version = briefing.version;
            if down.try_send(Down::Briefed(briefing)).is_ok() {
                self.members.briefed(who.pod, number, version);
            }
        }
        self.rebrief.notify_one();
        info!(pod = %who.name, role = who.role.word(), "a pod is on our stream");
        if who.role == Role::Signaling {
            let registrar = Arc::clone(&registrar);
            tokio::spawn(async move {
                if let Err(error) = registrar.storage.learn_calls_of(who.pod).await {
                    debug!(%error, "calls of a pod are not known here");
                }
            });
        }
        tokio::spawn(async move {
            registrar.serve(who.pod, up, down).await;
            drop(stream);
            info!(pod = %who.name, "the stream of a pod ended");
        });
        Ok(to_pod)
    }
}

/// A pod is attached for as long as this lives.
struct Stream {
    registrar: Arc<Registrar>,
    pod: PodRef,
    number: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.registrar.members.detach(self.pod, self.number) {
            self.registrar.storage.forget_calls_of(self.pod);
        }
        self.registrar.rebrief.notify_one();
    }
}

impl Registrar {
    /// Writes a member that is new here, and tells the other registrars.
    async fn join(&self, who: Member) {
        let notice = Notice::Cluster { by: self.config.me.pod };
        let steps = vec![Step::Beat(Box::new(who)), Step::Publish(notice)];
        // Away: the next beats write it.
        for result in self.storage.store().run(steps).await {
            if let Err(error) = result {
                debug!(%error, "a member could not be written");
            }
        }
    }

    /// Until either side ends the stream.
    async fn serve(self: &Arc<Self>, pod: PodRef, mut up: mpsc::Receiver<Up>, down: mpsc::Sender<Down>) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, Answered>> = FuturesUnordered::new();
        let mut traces = Vec::new();
        let mut closing = self.leaving.watch();
        let mut until: Option<Instant> = None;
        loop {
            if until.is_some_and(|until| under_way.is_empty() || until <= Instant::now()) {
                return;
            }
            // Everything that is ready at this moment goes down together.
            let ready = async {
                let first = under_way.next().await?;
                let mut answers = vec![first];
                while answers.len() < TOGETHER
                    && let Some(Some(answer)) = futures::FutureExt::now_or_never(under_way.next())
                {
                    answers.push(answer);
                }
                Some(answers)
            };
            tokio::select! {
                biased;
                Some(answers) = ready => {
                    if down.send(Down::Answers(answers)).await.is_err() {
                        return;
                    }
                }
                () = closed(&mut closing), if until.is_none() => {
                    // What has arrived is answered; what is still on its way is asked again elsewhere.
                    until = Some(Instant::now() + LAST_ANSWERS);
                    while let Ok(last) = up.try_recv() {
                        if let Up::Asks(asks) = last {
                            let answers = asks.into_iter().map(|ask| Arc::clone(self).answer(pod, ask, None));
                            under_way.extend(answers.map(|answer| Box::pin(answer) as BoxFuture<'static, Answered>));
                        }
                    }
                }
                () = tokio::time::sleep(LAST_ANSWERS), if until.is_some() => return,
                next = up.recv(), if until.is_none() => match next {
                    Some(Up::Asks(asks)) => {
                        let mut refused = Vec::new();
                        for envelope in asks {
                            if under_way.len() >= UNDER_WAY {
                                refused.push((envelope.id, Err(AskFailed::Overloaded)));
                                continue;
                            }
                            let trace = take_trace(&mut traces, envelope.id);
                            under_way.push(Box::pin(Arc::clone(self).answer(pod, envelope, trace)));
                        }
                        traces.clear();
                        if !refused.is_empty() && down.send(Down::Answers(refused)).await.is_err() {
                            return;
                        }
                    }
                    Some(Up::Traces(list)) => traces = list,
                    Some(Up::Beat { load, draining }) => self.beat(pod, load, draining),
                    None => return,
                },
                () = down.closed() => return,
            }
        }
    }

    /// A pod's lease is renewed, beside the questions.
    fn beat(self: &Arc<Self>, pod: PodRef, load: u32, draining: bool) {
        let Some((member, turned)) = self.members.beat(pod, self.clock.now(), load, draining) else { return };
        if turned {
            self.rebrief.notify_one();
        }
        let registrar = Arc::clone(self);
        tokio::spawn(async move {
            let mut steps = vec![Step::Beat(Box::new(member))];
            steps.extend(turned.then(|| Step::Publish(Notice::Cluster { by: registrar.config.me.pod })));
            for result in registrar.storage.store().run(steps).await {
                if let Err(error) = result {
                    debug!(%error, "a lease could not be renewed");
                }
            }
        });
    }

    /// One question, within its deadline.
    async fn answer(self: Arc<Self>, pod: PodRef, envelope: Envelope, trace: Option<String>) -> Answered {
        let begun = Instant::now();
        let what = envelope.ask.word();
        let id = envelope.id;
        let deadline = envelope.deadline;
        let work = self.carry_out(pod, envelope);
        let answer = match trace {
            Some(parent) => {
                let span = tracing::info_span!("ask", kind = what);
                fairlead_runtime::trace::follow(&span, &parent);
                tokio::time::timeout(deadline, work.instrument(span)).await
            }
            None => tokio::time::timeout(deadline, work).await,
        };
        let answer = answer.unwrap_or(Err(AskFailed::Deadline));
        self.metrics.answered(what, &answer, begun.elapsed().as_secs_f64());
        (id, answer)
    }

    async fn carry_out(&self, pod: PodRef, envelope: Envelope) -> Result<Answer, AskFailed> {
        match envelope.ask {
            Ask::Register(request) => self.register(envelope.key, &request).await,
            Ask::Admit(request) => self.admit(&request).await,
            Ask::Owner { call_id, from_tag } => self.owner(&call_id, &from_tag).await,
            Ask::Disown { call_id, from_tag, call } => self.disown(&call_id, &from_tag, call).await,
            Ask::Locate { peer, key } => self.locate(&peer, &key).await,
            Ask::Release { call } => self.release(call).await,
            Ask::Occupy { call, peer } => self.occupy(call, &peer).await,
            Ask::Usage { call, peer, usage } => self.usage(call, &peer, usage).await,
            Ask::Checkpoint { call, record } => self.checkpoint(call, record).await,
            Ask::Qualified { peer, key, result } => self.qualified(&peer, key.as_ref(), result).await,
            Ask::QualifyList => Ok(self.qualify_list(pod)),
            Ask::MoveFlow { flow } => self.move_flow(&flow).await,
            Ask::AnswerChallenge(asked) => self.answer_challenge(&asked),
        }
    }

    /// What pods are told now; `None` before the first keys.
    pub(crate) fn briefing(&self) -> Option<Arc<fairlead_model::member::Briefing>> {
        let keys = self.keys.load_full()?;
        let now = self.clock.now();
        // By the store's time, so that a pod that changes to another registrar does not take its briefings for old.
        let version = self
            .briefing_version
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.0.max(last + 1)))
            .map_or(now.0, |last| now.0.max(last + 1));
        Some(Arc::new(fairlead_model::member::Briefing {
            version,
            mint_keys: keys.mint.clone(),
            nonce_keys: keys.nonces.clone(),
            members: self.members.living(now),
            general: self.catalog.general().general(),
            trusted: self.catalog.trusted(),
            surroundings: (*self.around.now()).clone(),
        }))
    }
}

/// Waits until streams are to end.
async fn closed(closing: &mut tokio::sync::watch::Receiver<bool>) {
    // The sender lives as long as the registrar that waits.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn take_trace(traces: &mut Vec<(AskRef, String)>, id: AskRef) -> Option<String> {
    let at = traces.iter().position(|(of, _)| *of == id)?;
    Some(traces.swap_remove(at).1)
}

/// The failure that a pod is told.
pub(crate) fn failed(error: StoreError) -> AskFailed {
    match error {
        StoreError::Overloaded => AskFailed::Overloaded,
        StoreError::Away | StoreError::Disk(_) => AskFailed::Unreachable,
        other => {
            tracing::warn!(error = %other, "a question cannot be answered");
            AskFailed::Unreachable
        }
    }
}
