//! Commands reach admin by gRPC.

use fairlead_model::operator::PruneSelector;
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::admin::v1::admin_client::AdminClient;
use futures::StreamExt;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::{Ended, Part, Parts, Transport};
use crate::engine::{Answer, Entry};
use crate::operation::Operation;
use crate::rest::EndFacts;

/// The largest message that is read, bytes.
const LARGEST: usize = 16 << 20;

/// Over a connection that somebody made, with a token.
#[derive(Clone, Debug)]
pub struct GrpcClient {
    stub: AdminClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl GrpcClient {
    /// Over this connection. `None` if the token cannot be carried.
    pub fn new(connection: Channel, token: Option<&str>) -> Option<Self> {
        let authorization = match token {
            None => None,
            Some(token) => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Some(GrpcClient {
            stub: AdminClient::new(connection).max_decoding_message_size(LARGEST),
            authorization,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::NotFound => Ended::NotFound,
            Code::Unavailable => Ended::Away(text),
            Code::PermissionDenied => Ended::Forbidden(text),
            Code::Unimplemented => {
                Ended::Refused("this admin does not know the command: it is an older release".to_owned())
            }
            _ if text.is_empty() => Ended::Refused(format!("admin answered with {:?}", status.code())),
            _ => Ended::Refused(text),
        }
    }
}

#[async_trait::async_trait]
impl Transport for GrpcClient {
    async fn one(&self, operation: &Operation) -> Result<Answer, Ended> {
        let mut stub = self.stub.clone();
        Ok(match operation.clone() {
            Operation::ShowPeer { name, load } => {
                let asked = self.request(pb::GetPeerRequest { name, load });
                Answer::Peer(Box::new(stub.get_peer(asked).await?.into_inner()))
            }
            Operation::ShowUser { name, load } => {
                let asked = self.request(pb::GetUserRequest { name, load });
                Answer::User(Box::new(stub.get_user(asked).await?.into_inner()))
            }
            Operation::PruneRealtime(which) => {
                let asked = self.request(prune(which));
                Answer::Pruned(stub.prune_realtime(asked).await?.into_inner())
            }
            Operation::Unregister { name } => {
                let asked = self.request(pb::UnregisterRequest { name });
                Answer::Unregistered(stub.unregister(asked).await?.into_inner())
            }
            Operation::QualifyPeer { name, load } => {
                let asked = self.request(pb::QualifyPeerRequest { name, load });
                Answer::Qualified(stub.qualify_peer(asked).await?.into_inner())
            }
            Operation::ShowPods => {
                Answer::Pods(stub.list_pods(self.request(pb::ListPodsRequest {})).await?.into_inner())
            }
            Operation::Reindex => {
                Answer::Reindexed(stub.reindex(self.request(pb::ReindexRequest {})).await?.into_inner())
            }
            Operation::Address => {
                let asked = self.request(pb::ListAddressesRequest {});
                Answer::Addresses(stub.list_addresses(asked).await?.into_inner())
            }
            Operation::Doctor => {
                Answer::Diagnosed(stub.diagnose(self.request(pb::DiagnoseRequest {})).await?.into_inner())
            }
            Operation::ShowPeers { .. }
            | Operation::ShowUsers { .. }
            | Operation::ShowChannels
            | Operation::ShowChannel { .. }
            | Operation::ShowChannelStats
            | Operation::ShowBridged
            | Operation::ShowInUse { .. } => return Err(mismatch()),
        })
    }

    async fn list(&self, operation: &Operation) -> Result<Parts, Ended> {
        let mut stub = self.stub.clone();
        Ok(match operation.clone() {
            Operation::ShowPeers { like } => {
                let asked = self.request(pb::ListPeersRequest { like, ..Default::default() });
                parts(stub.list_peers(asked).await?.into_inner())
            }
            Operation::ShowUsers { like } => {
                let asked = self.request(pb::ListUsersRequest { like, ..Default::default() });
                parts(stub.list_users(asked).await?.into_inner())
            }
            Operation::ShowChannels => parts(
                stub.list_channels(self.request(pb::ListChannelsRequest::default())).await?.into_inner(),
            ),
            Operation::ShowChannel { prefix } => {
                let asked = self.request(pb::ListChannelsRequest { prefix, ..Default::default() });
                parts(stub.list_channels(asked).await?.into_inner())
            }
            Operation::ShowChannelStats => {
                let asked = self.request(pb::ListChannelStatsRequest::default());
                parts(stub.list_channel_stats(asked).await?.into_inner())
            }
            Operation::ShowBridged => {
                parts(stub.list_bridges(self.request(pb::ListBridgesRequest::default())).await?.into_inner())
            }
            Operation::ShowInUse { all } => {
                let asked = self.request(pb::ListInUseRequest { all, ..Default::default() });
                parts(stub.list_in_use(asked).await?.into_inner())
            }
            Operation::ShowPeer { .. }
            | Operation::ShowUser { .. }
            | Operation::PruneRealtime(_)
            | Operation::Unregister { .. }
            | Operation::QualifyPeer { .. }
            | Operation::ShowPods
            | Operation::Reindex
            | Operation::Address
            | Operation::Doctor => return Err(mismatch()),
        })
    }
}

/// The table says that it is answered in the other way: a mistake of ours.
fn mismatch() -> Ended {
    Ended::Garbled("the question does not fit the answer".to_owned())
}

fn prune(which: PruneSelector) -> pb::PruneRealtimeRequest {
    let nothing = pb::PruneRealtimeRequest::default();
    match which {
        PruneSelector::All => pb::PruneRealtimeRequest { all: true, ..nothing },
        PruneSelector::Name(name) => pb::PruneRealtimeRequest { name, ..nothing },
        PruneSelector::Like(like) => pb::PruneRealtimeRequest { like, ..nothing },
    }
}

/// A message of a list.
trait Piece: Send + 'static {
    /// Its entries; what only the last one has.
    fn take(self) -> (Vec<Entry>, EndFacts);
}

macro_rules! piece {
    ($response:ty, $field:ident, $entry:expr) => {
        impl Piece for $response {
            fn take(self) -> (Vec<Entry>, EndFacts) {
                let end = EndFacts { missing: self.missing, next: self.next, problem: None };
                (self.$field.into_iter().map($entry).collect(), end)
            }
        }
    };
}

piece!(pb::ListPeersResponse, peers, |entry| Entry::Peer(Box::new(entry)));
piece!(pb::ListUsersResponse, users, Entry::User);
piece!(pb::ListChannelsResponse, channels, |entry| Entry::Channel(Box::new(entry)));
piece!(pb::ListChannelStatsResponse, channelstats, |entry| Entry::ChannelStats(Box::new(entry)));
piece!(pb::ListBridgesResponse, bridges, Entry::Bridge);
piece!(pb::ListInUseResponse, inuse, Entry::InUse);

fn parts<R: Piece>(stream: Streaming<R>) -> Parts {
    let reading = (stream, EndFacts::default());
    futures::stream::unfold(Some(reading), |reading| async move {
        let (mut stream, end) = reading?;
        match stream.message().await {
            Ok(Some(message)) => {
                let (entries, end) = message.take();
                Some((Ok(Part::Entries(entries)), Some((stream, end))))
            }
            Ok(None) => Some((Ok(Part::End(end)), None)),
            Err(status) => Some((Err(Ended::from(status)), None)),
        }
    })
    .boxed()
}
