//! A media relay.

use std::sync::Arc;

use fairlead_model::relay::{RelayOrder, RelayRefused, RelayReply};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::signaling::Listed;
use crate::convert::{each, needed};
use crate::link::RelayPort;
use crate::media::v1 as pb;
use crate::media::v1::relay_server::{Relay, RelayServer};
use crate::operator::SessionsPort;
use crate::trace::TraceHooks;

/// A relay behind gRPC.
#[derive(Debug)]
pub struct RelayService<P: ?Sized> {
    port: Arc<P>,
    trace: TraceHooks,
}

/// A relay as a tonic service.
pub fn relay<P: RelayPort + SessionsPort + ?Sized>(
    port: Arc<P>,
    trace: TraceHooks,
) -> RelayServer<RelayService<P>> {
    RelayServer::new(RelayService { port, trace })
}

impl<P: RelayPort + SessionsPort + ?Sized> RelayService<P> {
    async fn order(
        &self,
        metadata: &MetadataMap,
        order: RelayOrder,
    ) -> Result<Result<RelayReply, pb::Refused>, Status> {
        let span = tracing::info_span!("relay_order");
        (self.trace.follow)(&span, metadata);
        match self.port.order(order).instrument(span).await {
            Err(refused @ RelayRefused::Unreachable) => Err(Status::unavailable(refused.to_string())),
            Err(refused) => Ok(Err(refused.into())),
            Ok(reply) => Ok(Ok(reply)),
        }
    }
}

fn wrong_reply() -> Status {
    Status::internal("the relay replied with something else than was ordered")
}

#[tonic::async_trait]
impl<P: RelayPort + SessionsPort + ?Sized> Relay for RelayService<P> {
    type ListStream = Listed<pb::ListResponse>;
    type WatchStream = Listed<pb::WatchResponse>;

    async fn offer(&self, request: Request<pb::OfferRequest>) -> Result<Response<pb::OfferResponse>, Status> {
        use pb::offer_response::Outcome;
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Offer(Box::new(needed(asked.order, "order")?.try_into()?));
        let outcome = match self.order(&metadata, order).await? {
            Ok(RelayReply::Described(described)) => Outcome::Described(described.into()),
            Ok(_) => return Err(wrong_reply()),
            Err(refused) => Outcome::Refused(refused),
        };
        Ok(Response::new(pb::OfferResponse { outcome: Some(outcome) }))
    }

    async fn answer(
        &self,
        request: Request<pb::AnswerRequest>,
    ) -> Result<Response<pb::AnswerResponse>, Status> {
        use pb::answer_response::Outcome;
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Answer(Box::new(needed(asked.order, "order")?.try_into()?));
        let outcome = match self.order(&metadata, order).await? {
            Ok(RelayReply::Described(described)) => Outcome::Described(described.into()),
            Ok(_) => return Err(wrong_reply()),
            Err(refused) => Outcome::Refused(refused),
        };
        Ok(Response::new(pb::AnswerResponse { outcome: Some(outcome) }))
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Withdraw(needed(asked.session, "session")?.try_into()?);
        let refused = self.order(&metadata, order).await?.err();
        Ok(Response::new(pb::WithdrawResponse { refused }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Delete(needed(asked.session, "session")?.try_into()?);
        let response = match self.order(&metadata, order).await? {
            Ok(RelayReply::Statistics(statistics)) => {
                pb::DeleteResponse { statistics: Some(statistics.into()), refused: None }
            }
            Ok(_) => pb::DeleteResponse { statistics: None, refused: None },
            Err(refused) => pb::DeleteResponse { statistics: None, refused: Some(refused) },
        };
        Ok(Response::new(response))
    }

    async fn query(&self, request: Request<pb::QueryRequest>) -> Result<Response<pb::QueryResponse>, Status> {
        use pb::query_response::Outcome;
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Query(needed(asked.session, "session")?.try_into()?);
        let outcome = match self.order(&metadata, order).await? {
            Ok(RelayReply::Statistics(statistics)) => Outcome::Statistics(statistics.into()),
            Ok(_) => return Err(wrong_reply()),
            Err(refused) => Outcome::Refused(refused),
        };
        Ok(Response::new(pb::QueryResponse { outcome: Some(outcome) }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let order = RelayOrder::Renew(each(asked.sessions)?);
        let response = match self.order(&metadata, order).await? {
            Ok(RelayReply::Done { missing }) => {
                pb::RenewResponse { missing: missing.into_iter().map(Into::into).collect(), refused: None }
            }
            Ok(_) => return Err(wrong_reply()),
            Err(refused) => pb::RenewResponse { missing: Vec::new(), refused: Some(refused) },
        };
        Ok(Response::new(response))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let call = request.into_inner().call.map(TryInto::try_into).transpose()?;
        let list = self.port.list_sessions(call).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(list.into_iter().map(|(session, statistics)| {
            Ok(pb::ListResponse { session: Some(session.into()), statistics: Some(statistics.into()) })
        })))))
    }

    async fn watch(&self, _: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let events = self.port.watch().await.map_err(|refused| Status::unavailable(refused.to_string()))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(events).map(|event| Ok(event.into())))))
    }
}
