//! What the operator role asks of a registrar.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::peers::page;
use crate::convert::needed;
use crate::operator::Unanswered;
use crate::provisioning::ProvisioningPort;
use crate::registrar::v1 as pb;
use crate::registrar::v1::provisioning_server::{Provisioning, ProvisioningServer};

/// A registrar's answers to the operator role behind gRPC.
#[derive(Debug)]
pub struct ProvisioningService<P: ?Sized>(Arc<P>);

/// A registrar's answers to the operator role as a tonic service.
pub fn provisioning<P: ProvisioningPort + ?Sized>(
    port: Arc<P>,
) -> ProvisioningServer<ProvisioningService<P>> {
    ProvisioningServer::new(ProvisioningService(port))
}

/// Work that goes on to its end although whoever asked for it has hung up: a peer that is written and of which nobody is told would
/// be another one at every registrar.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Unanswered>> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(work).await.map_err(|failed| Status::internal(failed.to_string()))?.map_err(Into::into)
}

#[tonic::async_trait]
impl<P: ProvisioningPort + ?Sized> Provisioning for ProvisioningService<P> {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<pb::FollowResponse, Status>> + Send>>;

    async fn provision(
        &self,
        request: Request<pb::ProvisionRequest>,
    ) -> Result<Response<pb::ProvisionResponse>, Status> {
        let (port, peer) = (self.0.clone(), request.into_inner().try_into()?);
        let outcome = to_its_end(async move { port.provision(peer).await }).await?;
        Ok(Response::new(outcome.into()))
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let (port, asked) = (self.0.clone(), request.into_inner());
        let outcome = to_its_end(async move { port.withdraw(&asked.name, &asked.uid).await }).await?;
        Ok(Response::new(pb::WithdrawResponse { outcome: pb::WithdrawOutcome::from(outcome).into() }))
    }

    async fn list_marked(
        &self,
        request: Request<pb::ListMarkedRequest>,
    ) -> Result<Response<pb::ListMarkedResponse>, Status> {
        let found = self.0.list_marked(page(request.into_inner().page)).await?;
        let peers = found.entries.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListMarkedResponse { peers, more: found.more }))
    }

    async fn follow(
        &self,
        _request: Request<pb::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let news = ReceiverStream::new(self.0.follow().await?);
        Ok(Response::new(Box::pin(news.map(|news| Ok(news.into())))))
    }

    async fn set_surroundings(
        &self,
        request: Request<pb::SetSurroundingsRequest>,
    ) -> Result<Response<pb::SetSurroundingsResponse>, Status> {
        let surroundings = needed(request.into_inner().surroundings, "surroundings")?;
        self.0.set_surroundings(surroundings.try_into()?).await?;
        Ok(Response::new(pb::SetSurroundingsResponse {}))
    }

    async fn set_complete(
        &self,
        request: Request<pb::SetCompleteRequest>,
    ) -> Result<Response<pb::SetCompleteResponse>, Status> {
        self.0.set_complete(request.into_inner().complete).await?;
        Ok(Response::new(pb::SetCompleteResponse {}))
    }
}
