//! A registrar as the operator role sees it.

use fairlead_model::operator::PeerPage;
use fairlead_model::provision::{Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::Surroundings;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{garbled, limited};
use crate::convert::{each, known};
use crate::operator::{Page, Unanswered};
use crate::provisioning::ProvisioningPort;
use crate::registrar::v1 as pb;
use crate::registrar::v1::provisioning_client::ProvisioningClient as Stub;

/// News that wait for their reader.
const NEWS: usize = 1024;

/// A registrar elsewhere.
#[derive(Clone, Debug)]
pub struct ProvisioningClient(Stub<Channel>);

impl ProvisioningClient {
    /// Over this connection (see [`super::connection`]).
    pub fn new(connection: Channel) -> Self {
        ProvisioningClient(Stub::new(connection).max_decoding_message_size(32 * 1024 * 1024))
    }
}

#[async_trait::async_trait]
impl ProvisioningPort for ProvisioningClient {
    async fn provision(&self, peer: Provision) -> Result<Provisioned, Unanswered> {
        let request = limited(pb::ProvisionRequest::from(peer));
        self.0.clone().provision(request).await?.into_inner().try_into().map_err(garbled)
    }

    async fn withdraw(&self, name: &str, uid: &str) -> Result<Withdrawn, Unanswered> {
        let request = limited(pb::WithdrawRequest { name: name.to_owned(), uid: uid.to_owned() });
        let answer = self.0.clone().withdraw(request).await?.into_inner();
        known::<pb::WithdrawOutcome>(answer.outcome, "outcome").and_then(TryInto::try_into).map_err(garbled)
    }

    async fn list_marked(&self, page: PeerPage) -> Result<Page<Marked>, Unanswered> {
        let request = limited(pb::ListMarkedRequest { page: Some(page.into()) });
        let answer = self.0.clone().list_marked(request).await?.into_inner();
        Ok(Page { entries: each(answer.peers).map_err(garbled)?, more: answer.more })
    }

    async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
        // Without a deadline: it lasts as long as the connection, whose pings say that it is alive.
        let mut stream = self.0.clone().follow(pb::FollowRequest {}).await?.into_inner();
        let (tell, news) = mpsc::channel(NEWS);
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = stream.message() => message,
                    () = tell.closed() => return,
                };
                match message.map(|message| message.map(PeerNews::try_from)) {
                    Ok(Some(Ok(news))) => {
                        if tell.send(news).await.is_err() {
                            return;
                        }
                    }
                    // News of a newer release that this one cannot read are none of its business.
                    Ok(Some(Err(unreadable))) => tracing::debug!(%unreadable, "news that cannot be read"),
                    Ok(None) => return,
                    Err(status) => {
                        tracing::warn!(error = %status, "the stream of news from a registrar broke");
                        return;
                    }
                }
            }
        });
        Ok(news)
    }

    async fn set_surroundings(&self, surroundings: Surroundings) -> Result<(), Unanswered> {
        let request = limited(pb::SetSurroundingsRequest { surroundings: Some(surroundings.into()) });
        self.0.clone().set_surroundings(request).await?;
        Ok(())
    }

    async fn set_complete(&self, is_complete: bool) -> Result<(), Unanswered> {
        let request = limited(pb::SetCompleteRequest { complete: is_complete });
        self.0.clone().set_complete(request).await?;
        Ok(())
    }
}
