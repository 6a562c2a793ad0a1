//! A signaling pod as the operator's door sees it.

use fairlead_model::ask::QualifyTarget;
use fairlead_model::binding::Qualify;
use fairlead_model::channel::{Bridge, Channel as Leg};
use fairlead_model::id::CallRef;
use tonic::transport::Channel;

use super::{garbled, limited};
use crate::convert::needed;
use crate::operator::{ChannelsPort, Unanswered};
use crate::signaling::v1 as pb;
use crate::signaling::v1::signaling_client::SignalingClient;

/// A signaling pod elsewhere.
#[derive(Clone, Debug)]
pub struct ChannelsClient(SignalingClient<Channel>);

impl ChannelsClient {
    /// Over this connection (see [`super::connection`]).
    pub fn new(connection: Channel) -> Self {
        ChannelsClient(SignalingClient::new(connection))
    }
}

#[async_trait::async_trait]
impl ChannelsPort for ChannelsClient {
    async fn list_channels(&self, prefix: &str) -> Result<Vec<Leg>, Unanswered> {
        let request = limited(pb::ListChannelsRequest { call_id_prefix: prefix.to_owned() });
        let mut stream = self.0.clone().list_channels(request).await?.into_inner();
        let mut list = Vec::new();
        while let Some(message) = stream.message().await? {
            list.push(needed(message.channel, "channel").and_then(TryInto::try_into).map_err(garbled)?);
        }
        Ok(list)
    }

    async fn list_bridges(&self) -> Result<Vec<Bridge>, Unanswered> {
        let mut stream = self.0.clone().list_bridges(limited(pb::ListBridgesRequest {})).await?.into_inner();
        let mut list = Vec::new();
        while let Some(message) = stream.message().await? {
            list.push(needed(message.bridge, "bridge").and_then(TryInto::try_into).map_err(garbled)?);
        }
        Ok(list)
    }

    async fn hang_up(&self, call: CallRef) -> Result<bool, Unanswered> {
        let request = limited(pb::HangUpRequest { call: Some(call.into()) });
        Ok(self.0.clone().hang_up(request).await?.into_inner().found)
    }

    async fn qualify(&self, target: QualifyTarget) -> Result<Qualify, Unanswered> {
        let mut request = tonic::Request::new(pb::QualifyPeerRequest { target: Some(target.into()) });
        // An OPTIONS that nobody answers takes Timer F, 32 s, to be given up (RFC 3261 §17.1.2).
        request.set_timeout(std::time::Duration::from_secs(40));
        let answer = self.0.clone().qualify_peer(request).await?.into_inner();
        needed(answer.result, "result").and_then(TryInto::try_into).map_err(garbled)
    }
}
