//! A media relay as signaling sees it.

use std::time::Duration;

use fairlead_model::id::CallRef;
use fairlead_model::relay::{
    RelayEvent, RelayOrder, RelayRefused, RelayReply, SessionRef, SessionStatistics,
};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{garbled, limited};
use crate::convert::{Unreadable, each, needed};
use crate::link::RelayPort;
use crate::media::v1 as pb;
use crate::media::v1::relay_client::RelayClient as Stub;
use crate::operator::{SessionsPort, Unanswered};
use crate::trace::TraceHooks;

/// How long an order may take: a relay that is slower is as good as gone.
const ORDER_LIMIT: Duration = Duration::from_secs(2);

/// A relay elsewhere.
#[derive(Clone, Debug)]
pub struct RelayClient {
    stub: Stub<Channel>,
    trace: TraceHooks,
}

impl RelayClient {
    /// Over this connection (see [`super::connection`]).
    pub fn new(connection: Channel, trace: TraceHooks) -> Self {
        RelayClient { stub: Stub::new(connection), trace }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(ORDER_LIMIT);
        (self.trace.inject)(request.metadata_mut());
        request
    }
}

/// A status says that the relay could not be asked, never that it refused.
fn not_asked(status: Status) -> RelayRefused {
    match status.code() {
        Code::ResourceExhausted => RelayRefused::Busy,
        Code::InvalidArgument => RelayRefused::BadDescription(status.message().to_owned()),
        _ => RelayRefused::Unreachable,
    }
}

fn unreadable(_: Unreadable) -> RelayRefused {
    RelayRefused::Busy
}

fn done(refused: Option<pb::Refused>) -> Result<RelayReply, RelayRefused> {
    match refused {
        None => Ok(RelayReply::Done { missing: Vec::new() }),
        Some(refused) => Err(refused.into()),
    }
}

#[async_trait::async_trait]
impl RelayPort for RelayClient {
    async fn order(&self, order: RelayOrder) -> Result<RelayReply, RelayRefused> {
        let mut stub = self.stub.clone();
        match order {
            RelayOrder::Offer(order) => {
                use pb::offer_response::Outcome;
                let request = self.request(pb::OfferRequest { order: Some((*order).into()) });
                let response = stub.offer(request).await.map_err(not_asked)?.into_inner();
                match needed(response.outcome, "outcome").map_err(unreadable)? {
                    Outcome::Described(described) => {
                        Ok(RelayReply::Described(described.try_into().map_err(unreadable)?))
                    }
                    Outcome::Refused(refused) => Err(refused.into()),
                }
            }
            RelayOrder::Answer(order) => {
                use pb::answer_response::Outcome;
                let request = self.request(pb::AnswerRequest { order: Some((*order).into()) });
                let response = stub.answer(request).await.map_err(not_asked)?.into_inner();
                match needed(response.outcome, "outcome").map_err(unreadable)? {
                    Outcome::Described(described) => {
                        Ok(RelayReply::Described(described.try_into().map_err(unreadable)?))
                    }
                    Outcome::Refused(refused) => Err(refused.into()),
                }
            }
            RelayOrder::Withdraw(session) => {
                let request = self.request(pb::WithdrawRequest { session: Some(session.into()) });
                done(stub.withdraw(request).await.map_err(not_asked)?.into_inner().refused)
            }
            RelayOrder::Delete(session) => {
                let request = self.request(pb::DeleteRequest { session: Some(session.into()) });
                let response = stub.delete(request).await.map_err(not_asked)?.into_inner();
                match response.statistics {
                    Some(statistics) => {
                        Ok(RelayReply::Statistics(statistics.try_into().map_err(unreadable)?))
                    }
                    None => done(response.refused),
                }
            }
            RelayOrder::Query(session) => {
                use pb::query_response::Outcome;
                let request = self.request(pb::QueryRequest { session: Some(session.into()) });
                let response = stub.query(request).await.map_err(not_asked)?.into_inner();
                match needed(response.outcome, "outcome").map_err(unreadable)? {
                    Outcome::Statistics(statistics) => {
                        Ok(RelayReply::Statistics(statistics.try_into().map_err(unreadable)?))
                    }
                    Outcome::Refused(refused) => Err(refused.into()),
                }
            }
            RelayOrder::Renew(sessions) => {
                let sessions = sessions.into_iter().map(Into::into).collect();
                let request = self.request(pb::RenewRequest { sessions });
                let response = stub.renew(request).await.map_err(not_asked)?.into_inner();
                match response.refused {
                    None => Ok(RelayReply::Done { missing: each(response.missing).map_err(unreadable)? }),
                    Some(refused) => Err(refused.into()),
                }
            }
        }
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        // No timeout: the stream stays open; the connection's pings notice a relay that is gone.
        let request = Request::new(pb::WatchRequest {});
        let mut stream = self.stub.clone().watch(request).await.map_err(not_asked)?.into_inner();
        let (tell, events) = mpsc::channel(256);
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = stream.message() => message,
                    () = tell.closed() => return,
                };
                let Ok(Some(message)) = message else { return };
                // An event of a newer release is not for this one.
                let Ok(event) = message.try_into() else { continue };
                if tell.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(events)
    }
}

#[async_trait::async_trait]
impl SessionsPort for RelayClient {
    async fn list_sessions(
        &self,
        call: Option<CallRef>,
    ) -> Result<Vec<(SessionRef, SessionStatistics)>, Unanswered> {
        let request = limited(pb::ListRequest { call: call.map(Into::into) });
        let mut stream = self.stub.clone().list(request).await?.into_inner();
        let mut list = Vec::new();
        while let Some(message) = stream.message().await? {
            let session = needed(message.session, "session").and_then(TryInto::try_into).map_err(garbled)?;
            let statistics =
                needed(message.statistics, "statistics").and_then(TryInto::try_into).map_err(garbled)?;
            list.push((session, statistics));
        }
        Ok(list)
    }
}
