//! Questions to the registrar and its answers.

use std::time::Duration;

use fairlead_model::ask::{
    AdmitRequest, Admitted, Answer, Ask, AskFailed, AskRef, ChallengeToAnswer, ContactChange, Contacts,
    Credentials, Envelope, IdempotencyKey, LegPolicy, Refusal, RegisterRequest, Registered, Target, Usage,
};
use fairlead_model::binding::BindingKey;
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::UnixMillis;

use super::{Unreadable, each, known, needed, pod, same_enum, small};
use crate::common::v1 as common;
use crate::registrar::v1 as pb;

same_enum!(pb::Usage, Usage, "usage", { Ringing = Ringing, Up = Up, OnHold = OnHold });

impl From<Envelope> for pb::Envelope {
    fn from(m: Envelope) -> Self {
        pb::Envelope {
            id: m.id.0,
            key_high: (m.key.0 >> 64) as u64,
            key_low: m.key.0 as u64,
            deadline_ms: u32::try_from(m.deadline.as_millis()).unwrap_or(u32::MAX),
            traceparent: String::new(),
            ask: Some(m.ask.into()),
        }
    }
}

impl TryFrom<pb::Envelope> for Envelope {
    type Error = Unreadable;

    fn try_from(p: pb::Envelope) -> Result<Self, Unreadable> {
        Ok(Envelope {
            id: AskRef(p.id),
            key: IdempotencyKey((u128::from(p.key_high) << 64) | u128::from(p.key_low)),
            deadline: Duration::from_millis(p.deadline_ms.into()),
            ask: needed(p.ask, "ask")?.try_into()?,
        })
    }
}

impl From<Ask> for pb::envelope::Ask {
    fn from(m: Ask) -> Self {
        use pb::envelope::Ask as P;
        match m {
            Ask::Register(register) => P::Register((*register).into()),
            Ask::Admit(admit) => P::Admit((*admit).into()),
            Ask::Owner { call_id, from_tag } => P::Owner(pb::Owner { call_id, from_tag }),
            Ask::Disown { call_id, from_tag, call } => {
                P::Disown(pb::Disown { call_id, from_tag, call: Some(call.into()) })
            }
            Ask::Locate { peer, key } => P::Locate(pb::Locate { peer, key: key.0 }),
            Ask::Release { call } => P::Release(pb::Release { call: Some(call.into()) }),
            Ask::Occupy { call, peer } => P::Occupy(pb::Occupy { call: Some(call.into()), peer }),
            Ask::Usage { call, peer, usage } => P::Usage(pb::UsageChange {
                call: Some(call.into()),
                peer,
                usage: pb::Usage::from(usage).into(),
            }),
            Ask::Checkpoint { call, record } => {
                P::Checkpoint(pb::Checkpoint { call: Some(call.into()), record: record.map(Into::into) })
            }
            Ask::Qualified { peer, key, result } => {
                P::Qualified(pb::Qualified { peer, key: key.map(|key| key.0), result: Some(result.into()) })
            }
            Ask::QualifyList => P::QualifyList(pb::QualifyListWanted {}),
            Ask::MoveFlow { flow } => P::MoveFlow(pb::MoveFlow { flow: Some(flow.into()) }),
            Ask::AnswerChallenge(challenge) => P::AnswerChallenge((*challenge).into()),
        }
    }
}

impl TryFrom<pb::envelope::Ask> for Ask {
    type Error = Unreadable;

    fn try_from(p: pb::envelope::Ask) -> Result<Self, Unreadable> {
        use pb::envelope::Ask as P;
        Ok(match p {
            P::Register(register) => Ask::Register(Box::new(register.try_into()?)),
            P::Admit(admit) => Ask::Admit(Box::new(admit.try_into()?)),
            P::Owner(owner) => Ask::Owner { call_id: owner.call_id, from_tag: owner.from_tag },
            P::Disown(disown) => Ask::Disown {
                call_id: disown.call_id,
                from_tag: disown.from_tag,
                call: needed(disown.call, "call")?.try_into()?,
            },
            P::Locate(locate) => Ask::Locate { peer: locate.peer, key: BindingKey(locate.key) },
            P::Release(release) => Ask::Release { call: needed(release.call, "call")?.try_into()? },
            P::Occupy(occupy) => {
                Ask::Occupy { call: needed(occupy.call, "call")?.try_into()?, peer: occupy.peer }
            }
            P::Usage(usage) => Ask::Usage {
                call: needed(usage.call, "call")?.try_into()?,
                peer: usage.peer,
                usage: known::<pb::Usage>(usage.usage, "usage")?.try_into()?,
            },
            P::Checkpoint(checkpoint) => Ask::Checkpoint {
                call: needed(checkpoint.call, "call")?.try_into()?,
                record: checkpoint.record.map(TryInto::try_into).transpose()?,
            },
            P::Qualified(qualified) => Ask::Qualified {
                peer: qualified.peer,
                key: qualified.key.map(BindingKey),
                result: needed(qualified.result, "result")?.try_into()?,
            },
            P::QualifyList(_) => Ask::QualifyList,
            P::MoveFlow(moved) => Ask::MoveFlow { flow: needed(moved.flow, "flow")?.try_into()? },
            P::AnswerChallenge(challenge) => Ask::AnswerChallenge(Box::new(challenge.into())),
        })
    }
}

impl From<Credentials> for pb::Credentials {
    fn from(m: Credentials) -> Self {
        pb::Credentials { values: m.values, method: m.method, uri: m.uri }
    }
}

impl From<pb::Credentials> for Credentials {
    fn from(p: pb::Credentials) -> Self {
        Credentials { values: p.values, method: p.method, uri: p.uri }
    }
}

impl From<RegisterRequest> for pb::Register {
    fn from(m: RegisterRequest) -> Self {
        pb::Register {
            user: m.user,
            host: m.host,
            contacts: Some(m.contacts.into()),
            expires: m.expires,
            path: m.path,
            call_id: m.call_id,
            cseq: m.cseq,
            user_agent: m.user_agent,
            flow: Some(m.flow.into()),
            via_differs: m.via_differs,
            asked_rport: m.asked_rport,
            supports_path: m.supports_path,
            credentials: m.credentials.map(Into::into),
            received_at: m.received_at.0,
        }
    }
}

impl TryFrom<pb::Register> for RegisterRequest {
    type Error = Unreadable;

    fn try_from(p: pb::Register) -> Result<Self, Unreadable> {
        Ok(RegisterRequest {
            user: p.user,
            host: p.host,
            contacts: needed(p.contacts, "contacts")?.try_into()?,
            expires: p.expires,
            path: p.path,
            call_id: p.call_id,
            cseq: p.cseq,
            user_agent: p.user_agent,
            flow: needed(p.flow, "flow")?.try_into()?,
            via_differs: p.via_differs,
            asked_rport: p.asked_rport,
            supports_path: p.supports_path,
            credentials: p.credentials.map(Into::into),
            received_at: UnixMillis(p.received_at),
        })
    }
}

impl From<Contacts> for pb::Contacts {
    fn from(m: Contacts) -> Self {
        match m {
            Contacts::Query => pb::Contacts { star: false, list: Vec::new() },
            Contacts::Star => pb::Contacts { star: true, list: Vec::new() },
            Contacts::List(list) => {
                pb::Contacts { star: false, list: list.into_iter().map(Into::into).collect() }
            }
        }
    }
}

impl TryFrom<pb::Contacts> for Contacts {
    type Error = Unreadable;

    fn try_from(p: pb::Contacts) -> Result<Self, Unreadable> {
        match (p.star, p.list.is_empty()) {
            (true, true) => Ok(Contacts::Star),
            (true, false) => Err(Unreadable("contacts")),
            (false, true) => Ok(Contacts::Query),
            (false, false) => Ok(Contacts::List(each(p.list)?)),
        }
    }
}

impl From<ContactChange> for pb::ContactChange {
    fn from(m: ContactChange) -> Self {
        pb::ContactChange {
            uri: m.uri,
            value: m.value,
            expires: m.expires,
            q: m.q.map(Into::into),
            instance: m.instance,
            reg_id: m.reg_id,
        }
    }
}

impl TryFrom<pb::ContactChange> for ContactChange {
    type Error = Unreadable;

    fn try_from(p: pb::ContactChange) -> Result<Self, Unreadable> {
        Ok(ContactChange {
            uri: p.uri,
            value: p.value,
            expires: p.expires,
            q: p.q.map(|q| small(q, "q")).transpose()?,
            instance: p.instance,
            reg_id: p.reg_id,
        })
    }
}

impl From<AdmitRequest> for pb::Admit {
    fn from(m: AdmitRequest) -> Self {
        pb::Admit {
            method: m.method,
            call: Some(m.call.into()),
            call_id: m.call_id,
            from_tag: m.from_tag,
            cseq: m.cseq,
            branch: m.branch,
            flow: Some(m.flow.into()),
            via_differs: m.via_differs,
            from_user: m.from_user,
            from_host: m.from_host,
            from_display: m.from_display,
            target_user: m.target_user,
            target_host: m.target_host,
            credentials: m.credentials.map(Into::into),
        }
    }
}

impl TryFrom<pb::Admit> for AdmitRequest {
    type Error = Unreadable;

    fn try_from(p: pb::Admit) -> Result<Self, Unreadable> {
        Ok(AdmitRequest {
            method: p.method,
            call: needed(p.call, "call")?.try_into()?,
            call_id: p.call_id,
            from_tag: p.from_tag,
            cseq: p.cseq,
            branch: p.branch,
            flow: needed(p.flow, "flow")?.try_into()?,
            via_differs: p.via_differs,
            from_user: p.from_user,
            from_host: p.from_host,
            from_display: p.from_display,
            target_user: p.target_user,
            target_host: p.target_host,
            credentials: p.credentials.map(Into::into),
        })
    }
}

impl From<ChallengeToAnswer> for pb::AnswerChallenge {
    fn from(m: ChallengeToAnswer) -> Self {
        pb::AnswerChallenge {
            peer: m.peer,
            challenges: m.challenges,
            method: m.method,
            uri: m.uri,
            cnonce: m.cnonce,
            nc: m.nc,
        }
    }
}

impl From<pb::AnswerChallenge> for ChallengeToAnswer {
    fn from(p: pb::AnswerChallenge) -> Self {
        ChallengeToAnswer {
            peer: p.peer,
            challenges: p.challenges,
            method: p.method,
            uri: p.uri,
            cnonce: p.cnonce,
            nc: p.nc,
        }
    }
}

impl From<CheckpointRecord> for pb::CheckpointRecord {
    fn from(m: CheckpointRecord) -> Self {
        pb::CheckpointRecord {
            call: Some(m.call.into()),
            owner: m.owner.0,
            epoch: m.epoch,
            schema: m.schema,
            written: m.written.0,
            deadline: m.deadline.map(|at| at.0),
            call_ids: m.call_ids,
            state: m.state,
        }
    }
}

impl TryFrom<pb::CheckpointRecord> for CheckpointRecord {
    type Error = Unreadable;

    fn try_from(p: pb::CheckpointRecord) -> Result<Self, Unreadable> {
        Ok(CheckpointRecord {
            call: needed(p.call, "call")?.try_into()?,
            owner: pod(p.owner)?,
            epoch: p.epoch,
            schema: p.schema,
            written: UnixMillis(p.written),
            deadline: p.deadline.map(UnixMillis),
            call_ids: p.call_ids,
            state: p.state,
        })
    }
}

impl From<(AskRef, Result<Answer, AskFailed>)> for pb::Answered {
    fn from((id, answer): (AskRef, Result<Answer, AskFailed>)) -> Self {
        use pb::answered::Answer as P;
        let answer = match answer {
            Err(failed) => P::Failed(pb::Failure::from(failed).into()),
            Ok(Answer::Registered(registered)) => P::Registered(registered.into()),
            Ok(Answer::Challenge { stale }) => P::Challenge(pb::Challenge { stale }),
            Ok(Answer::Refused(refusal)) => P::Refused(refusal.into()),
            Ok(Answer::Admitted(admitted)) => P::Admitted((*admitted).into()),
            Ok(Answer::Owned { pod, call }) => P::Owned(pb::Owned { pod: pod.0, call: Some(call.into()) }),
            Ok(Answer::NotOwned) => P::NotOwned(pb::NotOwned {}),
            Ok(Answer::Located(hop)) => P::Located(pb::Located { hop: hop.map(Into::into) }),
            Ok(Answer::QualifyList(targets)) => {
                P::QualifyList(pb::QualifyList { targets: targets.into_iter().map(Into::into).collect() })
            }
            Ok(Answer::ChallengeAnswered { value }) => P::ChallengeAnswered(pb::ChallengeAnswered { value }),
            Ok(Answer::Done) => P::Done(pb::Done {}),
        };
        pb::Answered { id: id.0, answer: Some(answer) }
    }
}

/// Which question, and its answer. An answer of a kind that this release does not know is the registrar not
/// understanding us, or we not it: [`AskFailed::Unknown`].
pub fn answered_from(p: pb::Answered) -> (AskRef, Result<Answer, AskFailed>) {
    let answer = match p.answer {
        None => Err(AskFailed::Unknown),
        Some(pb::answered::Answer::Failed(failed)) => {
            Err(pb::Failure::try_from(failed).unwrap_or(pb::Failure::Unknown).into())
        }
        Some(answer) => answer_from(answer).map_err(|_| AskFailed::Unknown),
    };
    (AskRef(p.id), answer)
}

fn answer_from(p: pb::answered::Answer) -> Result<Answer, Unreadable> {
    use pb::answered::Answer as P;
    Ok(match p {
        P::Failed(_) => return Err(Unreadable("answer")),
        P::Registered(registered) => Answer::Registered(registered.into()),
        P::Challenge(challenge) => Answer::Challenge { stale: challenge.stale },
        P::Refused(refusal) => Answer::Refused(refusal.try_into()?),
        P::Admitted(admitted) => Answer::Admitted(Box::new(admitted.try_into()?)),
        P::Owned(owned) => {
            Answer::Owned { pod: pod(owned.pod)?, call: needed(owned.call, "call")?.try_into()? }
        }
        P::NotOwned(_) => Answer::NotOwned,
        P::Located(located) => Answer::Located(located.hop.map(TryInto::try_into).transpose()?),
        P::QualifyList(list) => Answer::QualifyList(each(list.targets)?),
        P::ChallengeAnswered(answered) => Answer::ChallengeAnswered { value: answered.value },
        P::Done(_) => Answer::Done,
    })
}

impl From<AskFailed> for pb::Failure {
    fn from(m: AskFailed) -> Self {
        match m {
            AskFailed::Unreachable => pb::Failure::Unreachable,
            AskFailed::Deadline => pb::Failure::Deadline,
            AskFailed::Overloaded => pb::Failure::Overloaded,
            AskFailed::Unknown => pb::Failure::Unknown,
        }
    }
}

impl From<pb::Failure> for AskFailed {
    fn from(p: pb::Failure) -> Self {
        match p {
            pb::Failure::Unreachable => AskFailed::Unreachable,
            pb::Failure::Deadline => AskFailed::Deadline,
            pb::Failure::Overloaded => AskFailed::Overloaded,
            pb::Failure::Unknown | pb::Failure::Unspecified => AskFailed::Unknown,
        }
    }
}

impl From<Registered> for pb::Registered {
    fn from(m: Registered) -> Self {
        pb::Registered {
            contacts: m
                .contacts
                .into_iter()
                .map(|(value, expires)| pb::BoundContact { value, expires })
                .collect(),
            path: m.path,
            qualify: m.qualify,
        }
    }
}

impl From<pb::Registered> for Registered {
    fn from(p: pb::Registered) -> Self {
        Registered {
            contacts: p.contacts.into_iter().map(|bound| (bound.value, bound.expires)).collect(),
            path: p.path,
            qualify: p.qualify,
        }
    }
}

impl From<Refusal> for pb::Refusal {
    fn from(m: Refusal) -> Self {
        pb::Refusal {
            status: m.status.into(),
            phrase: m.phrase,
            retry_after: m.retry_after,
            min_expires: m.min_expires,
        }
    }
}

impl TryFrom<pb::Refusal> for Refusal {
    type Error = Unreadable;

    fn try_from(p: pb::Refusal) -> Result<Self, Unreadable> {
        let status: u16 = small(p.status, "status")?;
        if !(400..700).contains(&status) {
            return Err(Unreadable("status"));
        }
        Ok(Refusal { status, phrase: p.phrase, retry_after: p.retry_after, min_expires: p.min_expires })
    }
}

impl From<Admitted> for pb::Admitted {
    fn from(m: Admitted) -> Self {
        pb::Admitted {
            caller: Some(m.caller.into()),
            targets: m.targets.into_iter().map(Into::into).collect(),
            binding: m.binding.map(|key| key.0),
        }
    }
}

impl TryFrom<pb::Admitted> for Admitted {
    type Error = Unreadable;

    fn try_from(p: pb::Admitted) -> Result<Self, Unreadable> {
        Ok(Admitted {
            caller: needed(p.caller, "caller")?.try_into()?,
            binding: p.binding.map(BindingKey),
            targets: each(p.targets)?,
        })
    }
}

impl From<LegPolicy> for pb::LegPolicy {
    fn from(m: LegPolicy) -> Self {
        pb::LegPolicy {
            peer: m.peer,
            nat: Some(m.nat.into()),
            rtp_source: common::RtpSource::from(m.rtp_source).into(),
            rtp_timeout: m.rtp_timeout,
            rtp_hold_timeout: m.rtp_hold_timeout,
            caller_name: m.caller_name,
            caller_number: m.caller_number,
            from_user: m.from_user,
            from_domain: m.from_domain,
            answers_challenges: m.answers_challenges,
            max_duration: m.max_duration,
            t1_ms: m.t1_ms,
            uncounted: m.uncounted,
        }
    }
}

impl TryFrom<pb::LegPolicy> for LegPolicy {
    type Error = Unreadable;

    fn try_from(p: pb::LegPolicy) -> Result<Self, Unreadable> {
        Ok(LegPolicy {
            peer: p.peer,
            nat: needed(p.nat, "nat")?.into(),
            rtp_source: known::<common::RtpSource>(p.rtp_source, "rtp_source")?.try_into()?,
            rtp_timeout: p.rtp_timeout,
            rtp_hold_timeout: p.rtp_hold_timeout,
            caller_name: p.caller_name,
            caller_number: p.caller_number,
            from_user: p.from_user,
            from_domain: p.from_domain,
            answers_challenges: p.answers_challenges,
            max_duration: p.max_duration,
            t1_ms: p.t1_ms,
            uncounted: p.uncounted,
        })
    }
}

impl From<Target> for pb::Target {
    fn from(m: Target) -> Self {
        pb::Target {
            policy: Some(m.policy.into()),
            uri: m.uri,
            route: m.route,
            hop: Some(m.hop.into()),
            binding: m.binding.map(|key| key.0),
            ring_time: m.ring_time,
        }
    }
}

impl TryFrom<pb::Target> for Target {
    type Error = Unreadable;

    fn try_from(p: pb::Target) -> Result<Self, Unreadable> {
        Ok(Target {
            policy: needed(p.policy, "policy")?.try_into()?,
            uri: p.uri,
            route: p.route,
            hop: needed(p.hop, "hop")?.try_into()?,
            binding: p.binding.map(BindingKey),
            ring_time: p.ring_time,
        })
    }
}
