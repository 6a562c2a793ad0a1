//! What the operator asks of a signaling pod.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::convert::needed;
use crate::operator::ChannelsPort;
use crate::signaling::v1 as pb;
use crate::signaling::v1::signaling_server::{Signaling, SignalingServer};

/// A signaling pod's answers to the operator behind gRPC.
#[derive(Debug)]
pub struct ChannelsService<P: ?Sized>(Arc<P>);

/// A signaling pod's answers to the operator as a tonic service.
pub fn channels<P: ChannelsPort + ?Sized>(port: Arc<P>) -> SignalingServer<ChannelsService<P>> {
    SignalingServer::new(ChannelsService(port))
}

pub(super) type Listed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<P: ChannelsPort + ?Sized> Signaling for ChannelsService<P> {
    type ListChannelsStream = Listed<pb::ListChannelsResponse>;
    type ListBridgesStream = Listed<pb::ListBridgesResponse>;

    async fn list_channels(
        &self,
        request: Request<pb::ListChannelsRequest>,
    ) -> Result<Response<Self::ListChannelsStream>, Status> {
        let list = self.0.list_channels(&request.into_inner().call_id_prefix).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(
            list.into_iter().map(|channel| Ok(pb::ListChannelsResponse { channel: Some(channel.into()) })),
        ))))
    }

    async fn list_bridges(
        &self,
        _: Request<pb::ListBridgesRequest>,
    ) -> Result<Response<Self::ListBridgesStream>, Status> {
        let list = self.0.list_bridges().await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(
            list.into_iter().map(|bridge| Ok(pb::ListBridgesResponse { bridge: Some(bridge.into()) })),
        ))))
    }

    async fn hang_up(
        &self,
        request: Request<pb::HangUpRequest>,
    ) -> Result<Response<pb::HangUpResponse>, Status> {
        let call = needed(request.into_inner().call, "call")?.try_into()?;
        Ok(Response::new(pb::HangUpResponse { found: self.0.hang_up(call).await? }))
    }

    async fn qualify_peer(
        &self,
        request: Request<pb::QualifyPeerRequest>,
    ) -> Result<Response<pb::QualifyPeerResponse>, Status> {
        let target = needed(request.into_inner().target, "target")?.try_into()?;
        let result = self.0.qualify(target).await?;
        Ok(Response::new(pb::QualifyPeerResponse { result: Some(result.into()) }))
    }
}
