//! A registrar as the operator's door sees it.

use fairlead_model::ask::QualifyTarget;
use fairlead_model::member::Member;
use fairlead_model::operator::{
    InUseView, PeerDetail, PeerPage, PeerView, PruneReceipt, PruneSelector, UnregisterOutcome, UserView,
};
use tonic::transport::Channel;

use super::{garbled, limited};
use crate::convert::each;
use crate::operator::{Page, PeersPort, Unanswered};
use crate::registrar::v1 as pb;
use crate::registrar::v1::operator_client::OperatorClient;

/// A registrar elsewhere.
#[derive(Clone, Debug)]
pub struct PeersClient(OperatorClient<Channel>);

impl PeersClient {
    /// Over this connection (see [`super::connection`]).
    pub fn new(connection: Channel) -> Self {
        // A page of a thousand peers with long descriptions is beyond tonic's 4 MiB.
        PeersClient(OperatorClient::new(connection).max_decoding_message_size(32 * 1024 * 1024))
    }
}

#[async_trait::async_trait]
impl PeersPort for PeersClient {
    async fn list_peers(&self, page: PeerPage) -> Result<Page<PeerView>, Unanswered> {
        let request = limited(pb::ListPeersRequest { page: Some(page.into()) });
        let answer = self.0.clone().list_peers(request).await?.into_inner();
        Ok(Page { entries: each(answer.peers).map_err(garbled)?, more: answer.more })
    }

    async fn get_peer(&self, name: &str, load: bool) -> Result<Option<PeerDetail>, Unanswered> {
        let request = limited(pb::GetPeerRequest { name: name.to_owned(), load });
        let answer = self.0.clone().get_peer(request).await?.into_inner();
        answer.peer.map(TryInto::try_into).transpose().map_err(garbled)
    }

    async fn list_users(&self, page: PeerPage) -> Result<Page<UserView>, Unanswered> {
        let request = limited(pb::ListUsersRequest { page: Some(page.into()) });
        let answer = self.0.clone().list_users(request).await?.into_inner();
        Ok(Page { entries: each(answer.users).map_err(garbled)?, more: answer.more })
    }

    async fn in_use(&self, all: bool, page: PeerPage) -> Result<Page<InUseView>, Unanswered> {
        let request = limited(pb::InUseRequest { all, page: Some(page.into()) });
        let answer = self.0.clone().in_use(request).await?.into_inner();
        Ok(Page { entries: each(answer.peers).map_err(garbled)?, more: answer.more })
    }

    async fn prune(&self, which: PruneSelector) -> Result<PruneReceipt, Unanswered> {
        let request = limited(pb::PruneRequest::from(which));
        Ok(self.0.clone().prune(request).await?.into_inner().into())
    }

    async fn unregister(&self, name: &str) -> Result<UnregisterOutcome, Unanswered> {
        let request = limited(pb::UnregisterRequest { name: name.to_owned() });
        self.0.clone().unregister(request).await?.into_inner().try_into().map_err(garbled)
    }

    async fn qualify_peer(&self, name: &str) -> Result<Option<Vec<QualifyTarget>>, Unanswered> {
        let request = limited(pb::QualifyPeerRequest { name: name.to_owned() });
        let answer = self.0.clone().qualify_peer(request).await?.into_inner();
        let targets = each(answer.targets).map_err(garbled)?;
        Ok(answer.known.then_some(targets))
    }

    async fn reindex(&self) -> Result<u64, Unanswered> {
        let mut request = tonic::Request::new(pb::ReindexRequest {});
        // It walks through all peers.
        request.set_timeout(std::time::Duration::from_secs(600));
        Ok(self.0.clone().reindex(request).await?.into_inner().peers)
    }

    async fn members(&self) -> Result<Vec<Member>, Unanswered> {
        let answer = self.0.clone().members(limited(pb::MembersRequest {})).await?.into_inner();
        // A member of a role that this release does not know cannot be asked anything.
        Ok(answer.members.into_iter().filter_map(|member| member.try_into().ok()).collect())
    }
}
