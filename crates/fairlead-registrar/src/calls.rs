//! Questions about calls: who holds one, slots, checkpoints.

use std::time::Duration;

use fairlead_model::ask::{Answer, AskFailed, Refusal, Usage};
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::CallRef;
use fairlead_model::peer::Peer;
use fairlead_store::{Claim, Occupy, Outcome, OwnerRecord, Step, StoreError};

use crate::registrar::Registrar;
use crate::stream::failed;

/// How long the first INVITE of a call is remembered if nobody gives it up: longer than a call may ring (Timer C,
/// RFC 3261 §16.6, with hunting).
const INVITE_CLAIM: Duration = Duration::from_secs(600);
/// How long another first request is remembered: as long as it may be retransmitted (64·T1).
const REQUEST_CLAIM: Duration = Duration::from_secs(32);

impl Registrar {
    /// The step that claims (Call-ID, From-tag) for a call.
    pub(crate) fn claim(request: &fairlead_model::ask::AdmitRequest) -> Step {
        let invite = request.method == "INVITE";
        Step::Claim(Box::new(Claim {
            call_id: request.call_id.clone(),
            // Another method of the same Call-ID and tag is another request, not this call.
            from_tag: claim_tag(&request.method, &request.from_tag),
            owner: OwnerRecord { call: request.call, cseq: request.cseq, branch: request.branch.clone() },
            life: if invite { INVITE_CLAIM } else { REQUEST_CLAIM },
        }))
    }

    pub(crate) async fn owner(&self, call_id: &str, from_tag: &str) -> Result<Answer, AskFailed> {
        let step = Step::Owner { call_id: call_id.to_owned(), from_tag: from_tag.to_owned() };
        let owner = self.storage.run_one(step).await.and_then(Outcome::owner).map_err(failed)?;
        Ok(match owner {
            Some(owner) => Answer::Owned { pod: owner.call.pod, call: owner.call },
            None => Answer::NotOwned,
        })
    }

    pub(crate) async fn disown(
        &self,
        call_id: &str,
        from_tag: &str,
        call: CallRef,
    ) -> Result<Answer, AskFailed> {
        let step = Step::Disown { call_id: call_id.to_owned(), from_tag: from_tag.to_owned(), call };
        self.storage.run_one(step).await.map_err(failed)?;
        Ok(Answer::Done)
    }

    pub(crate) async fn release(&self, call: CallRef) -> Result<Answer, AskFailed> {
        self.storage.run_one(Step::Release { call }).await.map_err(failed)?;
        Ok(Answer::Done)
    }

    /// One more slot, for the callee whom the call reaches now.
    pub(crate) async fn occupy(&self, call: CallRef, name: &str) -> Result<Answer, AskFailed> {
        let peer = match self.known(name).await {
            Ok(known) => known.peer,
            Err(error) => self.catalog.get(name).map(Some).ok_or_else(|| failed(error))?,
        };
        match peer {
            Some(peer) if self.take_slot(&peer, call, Usage::Ringing).await.map_err(failed)? => {
                Ok(Answer::Done)
            }
            Some(_) => Ok(Answer::Refused(call_limit())),
            // Gone since it was looked up: it has no limit any more either.
            None => Ok(Answer::Done),
        }
    }

    /// Takes a slot of a peer whose calls are counted; whether it may have this call.
    pub(crate) async fn take_slot(
        &self,
        peer: &Peer,
        call: CallRef,
        usage: Usage,
    ) -> Result<bool, StoreError> {
        if !peer.is_counted() {
            return Ok(true);
        }
        let wish = Occupy {
            peer: peer.name.clone(),
            call,
            pod: call.pod,
            limit: peer.limit().unwrap_or(0),
            usage,
            living: self.living_with(call),
        };
        let (granted, _) = self.storage.run_one(Step::Occupy(Box::new(wish))).await?.occupied()?;
        Ok(granted)
    }

    /// The pods whose slots count, the asker's among them (it may be newer than our list).
    fn living_with(&self, call: CallRef) -> Vec<fairlead_model::id::PodRef> {
        let mut living = self.members.living_signaling(self.clock.now());
        if !living.is_empty() && !living.contains(&call.pod) {
            living.push(call.pod);
        }
        living
    }

    pub(crate) async fn usage(&self, call: CallRef, peer: &str, usage: Usage) -> Result<Answer, AskFailed> {
        if self.catalog.get(peer).is_none_or(|peer| peer.is_counted()) {
            let step = Step::SetUsage { peer: peer.to_owned(), call, usage };
            self.storage.run_one(step).await.map_err(failed)?;
        }
        Ok(Answer::Done)
    }

    pub(crate) async fn checkpoint(
        &self,
        call: CallRef,
        record: Option<CheckpointRecord>,
    ) -> Result<Answer, AskFailed> {
        let step = match record {
            Some(record) => Step::WriteCheckpoint(Box::new(record)),
            None => Step::EndCheckpoint { call },
        };
        match self.storage.run_one(step).await.map_err(failed)? {
            // Another pod has adopted the call: whoever asks must let go of it.
            Outcome::Fenced { .. } => Ok(Answer::Refused(Refusal::new(481, "Call is another pod's"))),
            _ => Ok(Answer::Done),
        }
    }

    /// An established call's record, for whoever goes on with it.
    pub async fn checkpoint_by_call_id(&self, call_id: &str) -> Result<Option<CheckpointRecord>, StoreError> {
        let step = Step::CheckpointByCallId { call_id: call_id.to_owned() };
        Ok(self.storage.run_one(step).await?.checkpoint()?.map(|record| *record))
    }
}

/// Under which tag a request is claimed.
pub fn claim_tag(method: &str, from_tag: &str) -> String {
    match method {
        "INVITE" => from_tag.to_owned(),
        other => format!("{from_tag}\n{other}"),
    }
}

/// chan_sip's refusal at a peer's limit.
pub fn call_limit() -> Refusal {
    Refusal::new(480, "Call limit")
}
