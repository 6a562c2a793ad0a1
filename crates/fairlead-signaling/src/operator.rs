//! What the operator asks: every shard, merged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::Qualify;
use fairlead_model::channel::{Bridge, Channel};
use fairlead_model::id::CallRef;
use fairlead_proto::operator::{ChannelsPort, Unanswered};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::news::{News, Query, ShardDoor};
use crate::registrar_link::share_of;

/// How long a shard may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// How long an OPTIONS may take: Timer F and a little (RFC 3261 §17.1.2.2).
const QUALIFY_LIMIT: Duration = Duration::from_secs(38);

/// The operator's door to this pod. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator {
    doors: Vec<ShardDoor>,
}

impl Operator {
    pub(crate) fn new(doors: Vec<ShardDoor>) -> Self {
        Operator { doors }
    }

    /// Where the registrations of the last minutes came from, and how many from each address.
    pub(crate) async fn registrations(&self) -> Result<HashMap<IpAddr, u64>, Unanswered> {
        let mut all: HashMap<IpAddr, u64> = HashMap::new();
        for counts in self.each(|answer| Query::Registrations { answer }).await? {
            for (source, count) in counts {
                *all.entry(source).or_default() += count;
            }
        }
        Ok(all)
    }

    async fn each<T>(&self, make: impl Fn(oneshot::Sender<T>) -> Query) -> Result<Vec<T>, Unanswered> {
        let mut asked = Vec::with_capacity(self.doors.len());
        for door in &self.doors {
            let (answer, answered) = oneshot::channel();
            door.news.try_send(News::Query(make(answer))).map_err(|_| Unanswered::Deadline)?;
            asked.push(answered);
        }
        let mut answers = Vec::with_capacity(asked.len());
        for answered in asked {
            match timeout(LIMIT, answered).await {
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(_)) => return Err(Unanswered::Unreachable),
                Err(_) => return Err(Unanswered::Deadline),
            }
        }
        Ok(answers)
    }
}

#[async_trait::async_trait]
impl ChannelsPort for Operator {
    async fn list_channels(&self, prefix: &str) -> Result<Vec<Channel>, Unanswered> {
        let lists = self.each(|answer| Query::Channels { prefix: prefix.to_owned(), answer }).await?;
        let mut channels: Vec<Channel> = lists.into_iter().flatten().collect();
        channels.sort_by(|a, b| a.call_id.cmp(&b.call_id));
        Ok(channels)
    }

    async fn list_bridges(&self) -> Result<Vec<Bridge>, Unanswered> {
        let lists = self.each(|answer| Query::Bridges { answer }).await?;
        let mut bridges: Vec<Bridge> = lists.into_iter().flatten().collect();
        bridges.sort_by(|a, b| a.call_id_a.cmp(&b.call_id_a));
        Ok(bridges)
    }

    async fn hang_up(&self, call: CallRef) -> Result<bool, Unanswered> {
        // A call that was adopted is not on the shard that its name tells.
        let found = self.each(|answer| Query::HangUp { call, answer }).await?;
        Ok(found.into_iter().any(|found| found))
    }

    async fn qualify(&self, target: QualifyTarget) -> Result<Qualify, Unanswered> {
        let shard = share_of(&target, self.doors.len());
        let door = self.doors.get(shard).ok_or(Unanswered::Unreachable)?;
        let (answer, answered) = oneshot::channel();
        let query = Query::Qualify { target: Box::new(target), answer };
        door.news.try_send(News::Query(query)).map_err(|_| Unanswered::Deadline)?;
        match timeout(QUALIFY_LIMIT, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Unanswered::Unable("too many wait for an OPTIONS".to_owned())),
            Err(_) => Err(Unanswered::Deadline),
        }
    }
}
