//! What the operator asks of a registrar.

use std::sync::Arc;

use fairlead_model::operator::{PeerPage, PruneSelector};
use tonic::{Request, Response, Status};

use crate::convert::needed;
use crate::operator::{PAGE, PeersPort};
use crate::registrar::v1 as pb;
use crate::registrar::v1::operator_server::{Operator, OperatorServer};

/// A registrar's answers to the operator behind gRPC.
#[derive(Debug)]
pub struct PeersService<P: ?Sized>(Arc<P>);

/// A registrar's answers to the operator as a tonic service.
pub fn peers<P: PeersPort + ?Sized>(port: Arc<P>) -> OperatorServer<PeersService<P>> {
    OperatorServer::new(PeersService(port))
}

pub(super) fn page(asked: Option<pb::PeerPage>) -> PeerPage {
    let mut page = asked.map(PeerPage::from).unwrap_or_default();
    if page.limit == 0 || page.limit > PAGE {
        page.limit = PAGE;
    }
    page
}

#[tonic::async_trait]
impl<P: PeersPort + ?Sized> Operator for PeersService<P> {
    async fn list_peers(
        &self,
        request: Request<pb::ListPeersRequest>,
    ) -> Result<Response<pb::ListPeersResponse>, Status> {
        let found = self.0.list_peers(page(request.into_inner().page)).await?;
        let peers = found.entries.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPeersResponse { peers, more: found.more }))
    }

    async fn get_peer(
        &self,
        request: Request<pb::GetPeerRequest>,
    ) -> Result<Response<pb::GetPeerResponse>, Status> {
        let asked = request.into_inner();
        let peer = self.0.get_peer(&asked.name, asked.load).await?;
        Ok(Response::new(pb::GetPeerResponse { peer: peer.map(Into::into) }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let found = self.0.list_users(page(request.into_inner().page)).await?;
        let users = found.entries.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListUsersResponse { users, more: found.more }))
    }

    async fn in_use(
        &self,
        request: Request<pb::InUseRequest>,
    ) -> Result<Response<pb::InUseResponse>, Status> {
        let asked = request.into_inner();
        let found = self.0.in_use(asked.all, page(asked.page)).await?;
        let peers = found.entries.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::InUseResponse { peers, more: found.more }))
    }

    async fn prune(&self, request: Request<pb::PruneRequest>) -> Result<Response<pb::PruneResponse>, Status> {
        let which = PruneSelector::try_from(request.into_inner())?;
        Ok(Response::new(self.0.prune(which).await?.into()))
    }

    async fn unregister(
        &self,
        request: Request<pb::UnregisterRequest>,
    ) -> Result<Response<pb::UnregisterResponse>, Status> {
        let outcome = self.0.unregister(&request.into_inner().name).await?;
        let outcome = pb::UnregisterOutcome::from(outcome).into();
        Ok(Response::new(pb::UnregisterResponse { outcome }))
    }

    async fn qualify_peer(
        &self,
        request: Request<pb::QualifyPeerRequest>,
    ) -> Result<Response<pb::QualifyPeerResponse>, Status> {
        let targets = self.0.qualify_peer(&request.into_inner().name).await?;
        let known = targets.is_some();
        let targets = targets.unwrap_or_default().into_iter().map(Into::into).collect();
        Ok(Response::new(pb::QualifyPeerResponse { known, targets }))
    }

    async fn reindex(&self, _: Request<pb::ReindexRequest>) -> Result<Response<pb::ReindexResponse>, Status> {
        Ok(Response::new(pb::ReindexResponse { peers: self.0.reindex().await? }))
    }

    async fn members(&self, _: Request<pb::MembersRequest>) -> Result<Response<pb::MembersResponse>, Status> {
        let members = self.0.members().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::MembersResponse { members }))
    }
}

// Kept next to its only caller on the client's side.
impl TryFrom<pb::UnregisterResponse> for fairlead_model::operator::UnregisterOutcome {
    type Error = crate::convert::Unreadable;

    fn try_from(p: pb::UnregisterResponse) -> Result<Self, crate::convert::Unreadable> {
        needed(pb::UnregisterOutcome::try_from(p.outcome).ok(), "outcome")?.try_into()
    }
}
