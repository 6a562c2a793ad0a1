//! Asks many pods at once with one deadline. Who is late is named, not waited for.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use fairlead_model::id::PodRef;
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::operator::Unanswered;

use crate::directory::Door;
use crate::metrics::OperationMetrics;

/// What came back.
pub struct Answers<P: ?Sized, T> {
    /// Of those that answered.
    pub given: Vec<(Door<P>, T)>,
    /// Of those that did not.
    pub missing: Missing,
}

/// Pods that did not answer, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing(BTreeMap<(PodRef, String), pb::Missing>);

impl Missing {
    /// Notes one.
    pub fn note<P: ?Sized>(&mut self, door: &Door<P>, why: &Unanswered) {
        let (pod, role) = (door.name.clone(), door.role.word().to_owned());
        let entry = pb::Missing { pod, role, reason: why.to_string() };
        self.0.insert((door.pod, door.name.clone()), entry);
    }

    /// Whether this one is among them.
    pub fn has<P: ?Sized>(&self, door: &Door<P>) -> bool {
        self.0.contains_key(&(door.pod, door.name.clone()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another question.
    pub fn extend(&mut self, other: Missing) {
        self.0.extend(other.0);
    }

    /// As answers name them.
    pub fn list(&self) -> Vec<pb::Missing> {
        self.0.values().cloned().collect()
    }
}

/// How long pods have, and who counts those that are late.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'m> {
    /// Counted from asking.
    pub deadline: Duration,
    /// Counts.
    pub metrics: &'m OperationMetrics,
}

/// Asks all doors at once. A question that makes no sense to one makes none to any: that is the error.
pub async fn ask_all<P: ?Sized, T, F>(
    doors: Vec<Door<P>>,
    limit: Limit<'_>,
    ask: impl Fn(Door<P>) -> F,
) -> Result<Answers<P, T>, String>
where
    F: Future<Output = Result<T, Unanswered>>,
{
    let asked = doors.into_iter().map(|door| {
        let answer = tokio::time::timeout(limit.deadline, ask(door.clone()));
        async move { (door, answer.await.unwrap_or(Err(Unanswered::Deadline))) }
    });
    let mut answers = Answers { given: Vec::new(), missing: Missing::default() };
    for (door, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(answer) => answers.given.push((door, answer)),
            Err(Unanswered::Invalid(why)) => return Err(why),
            Err(why) => {
                tracing::warn!(pod = door.name, role = door.role.word(), %why, "a pod did not answer the operator");
                limit.metrics.unanswered(door.role.word());
                answers.missing.note(&door, &why);
            }
        }
    }
    Ok(answers)
}

/// Asks one door after the other until one answers.
pub async fn ask_one<P: ?Sized, T, F>(
    doors: Vec<Door<P>>,
    limit: Limit<'_>,
    ask: impl Fn(Door<P>) -> F,
) -> Result<Answers<P, T>, String>
where
    F: Future<Output = Result<T, Unanswered>>,
{
    let mut missing = Missing::default();
    for door in doors {
        let mut answers = ask_all(vec![door], limit, &ask).await?;
        answers.missing.extend(missing);
        if !answers.given.is_empty() {
            return Ok(answers);
        }
        missing = answers.missing;
    }
    Ok(Answers { given: Vec::new(), missing })
}
