//! The gRPC face: each method is a row of the table.

use std::pin::Pin;

use fairlead_model::operator::PruneSelector;
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::admin::v1::admin_server::Admin;
use futures::Stream;
use tonic::{Request, Response, Status};

use crate::auth::Caller;
use crate::engine::{Answer, Engine, Entry, Failure, Listing};
use crate::operation::Operation;

/// The service.
#[derive(Clone, Debug)]
pub struct AdminService {
    engine: Engine,
}

impl AdminService {
    /// Answers by this engine.
    pub fn new(engine: Engine) -> Self {
        AdminService { engine }
    }

    async fn run(&self, caller: &Caller, operation: Operation) -> Result<Answer, Status> {
        self.engine.run(caller, operation, "", None).await.map_err(status)
    }

    async fn list<R: Part>(
        &self,
        caller: &Caller,
        operation: Operation,
        limit: u32,
        cursor: &str,
    ) -> Result<Response<Parts<R>>, Status> {
        let limit = (limit > 0).then(|| usize::try_from(limit).unwrap_or(usize::MAX));
        match self.engine.run(caller, operation, cursor, limit).await.map_err(status)? {
            Answer::List(listing) => Ok(Response::new(parts(*listing))),
            _ => Err(mismatch()),
        }
    }
}

/// A stream of parts of a list.
pub type Parts<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// One part of a list.
pub trait Part: Send + 'static {
    /// With these entries; the last part has `missing` and `next`.
    fn of(entries: Vec<Entry>, missing: Vec<pb::Missing>, next: String) -> Self;
}

macro_rules! part {
    ($response:ty, $field:ident, $entry:pat => $value:expr) => {
        impl Part for $response {
            fn of(entries: Vec<Entry>, missing: Vec<pb::Missing>, next: String) -> Self {
                let $field = entries.into_iter().filter_map(|entry| match entry {
                    $entry => Some($value),
                    _ => None,
                });
                Self { $field: $field.collect(), missing, next }
            }
        }
    };
}

part!(pb::ListPeersResponse, peers, Entry::Peer(entry) => *entry);
part!(pb::ListUsersResponse, users, Entry::User(entry) => entry);
part!(pb::ListChannelsResponse, channels, Entry::Channel(entry) => *entry);
part!(pb::ListChannelStatsResponse, channelstats, Entry::ChannelStats(entry) => *entry);
part!(pb::ListBridgesResponse, bridges, Entry::Bridge(entry) => entry);
part!(pb::ListInUseResponse, inuse, Entry::InUse(entry) => entry);

fn parts<R: Part>(listing: Listing) -> Parts<R> {
    Box::pin(futures::stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        match listing.next().await {
            Ok(entries) if entries.is_empty() => {
                let last = R::of(entries, listing.missing().list(), listing.cursor());
                Some((Ok(last), None))
            }
            Ok(entries) => Some((Ok(R::of(entries, Vec::new(), String::new())), Some(listing))),
            Err(failure) => Some((Err(status(failure)), None)),
        }
    }))
}

#[tonic::async_trait]
impl Admin for AdminService {
    type ListPeersStream = Parts<pb::ListPeersResponse>;
    type ListUsersStream = Parts<pb::ListUsersResponse>;
    type ListChannelsStream = Parts<pb::ListChannelsResponse>;
    type ListChannelStatsStream = Parts<pb::ListChannelStatsResponse>;
    type ListBridgesStream = Parts<pb::ListBridgesResponse>;
    type ListInUseStream = Parts<pb::ListInUseResponse>;

    async fn list_peers(
        &self,
        request: Request<pb::ListPeersRequest>,
    ) -> Result<Response<Self::ListPeersStream>, Status> {
        let (caller, asked) = taken(request)?;
        self.list(&caller, Operation::ShowPeers { like: checked(asked.like)? }, asked.limit, &asked.cursor)
            .await
    }

    async fn get_peer(
        &self,
        request: Request<pb::GetPeerRequest>,
    ) -> Result<Response<pb::GetPeerResponse>, Status> {
        let (caller, pb::GetPeerRequest { name, load }) = taken(request)?;
        match self.run(&caller, Operation::ShowPeer { name: named(name)?, load }).await? {
            Answer::Peer(answer) => Ok(Response::new(*answer)),
            _ => Err(mismatch()),
        }
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<Self::ListUsersStream>, Status> {
        let (caller, asked) = taken(request)?;
        self.list(&caller, Operation::ShowUsers { like: checked(asked.like)? }, asked.limit, &asked.cursor)
            .await
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let (caller, pb::GetUserRequest { name, load }) = taken(request)?;
        match self.run(&caller, Operation::ShowUser { name: named(name)?, load }).await? {
            Answer::User(answer) => Ok(Response::new(*answer)),
            _ => Err(mismatch()),
        }
    }

    async fn list_channels(
        &self,
        request: Request<pb::ListChannelsRequest>,
    ) -> Result<Response<Self::ListChannelsStream>, Status> {
        let (caller, pb::ListChannelsRequest { prefix, limit, cursor }) = taken(request)?;
        let operation = match prefix.as_str() {
            "" => Operation::ShowChannels,
            _ => Operation::ShowChannel { prefix },
        };
        self.list(&caller, operation, limit, &cursor).await
    }

    async fn list_channel_stats(
        &self,
        request: Request<pb::ListChannelStatsRequest>,
    ) -> Result<Response<Self::ListChannelStatsStream>, Status> {
        let (caller, asked) = taken(request)?;
        self.list(&caller, Operation::ShowChannelStats, asked.limit, &asked.cursor).await
    }

    async fn list_bridges(
        &self,
        request: Request<pb::ListBridgesRequest>,
    ) -> Result<Response<Self::ListBridgesStream>, Status> {
        let (caller, asked) = taken(request)?;
        self.list(&caller, Operation::ShowBridged, asked.limit, &asked.cursor).await
    }

    async fn list_in_use(
        &self,
        request: Request<pb::ListInUseRequest>,
    ) -> Result<Response<Self::ListInUseStream>, Status> {
        let (caller, asked) = taken(request)?;
        self.list(&caller, Operation::ShowInUse { all: asked.all }, asked.limit, &asked.cursor).await
    }

    async fn prune_realtime(
        &self,
        request: Request<pb::PruneRealtimeRequest>,
    ) -> Result<Response<pb::PruneRealtimeResponse>, Status> {
        let (caller, pb::PruneRealtimeRequest { all, name, like }) = taken(request)?;
        let which = match (all, name.is_empty(), like.is_empty()) {
            (true, true, true) => PruneSelector::All,
            (false, false, true) => PruneSelector::Name(name),
            (false, true, false) => PruneSelector::Like(checked(Some(like))?.unwrap_or_default()),
            _ => return Err(Status::invalid_argument("one of all, name and like is wanted")),
        };
        match self.run(&caller, Operation::PruneRealtime(which)).await? {
            Answer::Pruned(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn unregister(
        &self,
        request: Request<pb::UnregisterRequest>,
    ) -> Result<Response<pb::UnregisterResponse>, Status> {
        let (caller, asked) = taken(request)?;
        match self.run(&caller, Operation::Unregister { name: named(asked.name)? }).await? {
            Answer::Unregistered(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn qualify_peer(
        &self,
        request: Request<pb::QualifyPeerRequest>,
    ) -> Result<Response<pb::QualifyPeerResponse>, Status> {
        let (caller, pb::QualifyPeerRequest { name, load }) = taken(request)?;
        match self.run(&caller, Operation::QualifyPeer { name: named(name)?, load }).await? {
            Answer::Qualified(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn list_pods(
        &self,
        request: Request<pb::ListPodsRequest>,
    ) -> Result<Response<pb::ListPodsResponse>, Status> {
        let (caller, _) = taken(request)?;
        match self.run(&caller, Operation::ShowPods).await? {
            Answer::Pods(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn reindex(
        &self,
        request: Request<pb::ReindexRequest>,
    ) -> Result<Response<pb::ReindexResponse>, Status> {
        let (caller, _) = taken(request)?;
        match self.run(&caller, Operation::Reindex).await? {
            Answer::Reindexed(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn list_addresses(
        &self,
        request: Request<pb::ListAddressesRequest>,
    ) -> Result<Response<pb::ListAddressesResponse>, Status> {
        let (caller, _) = taken(request)?;
        match self.run(&caller, Operation::Address).await? {
            Answer::Addresses(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn diagnose(
        &self,
        request: Request<pb::DiagnoseRequest>,
    ) -> Result<Response<pb::DiagnoseResponse>, Status> {
        let (caller, _) = taken(request)?;
        match self.run(&caller, Operation::Doctor).await? {
            Answer::Diagnosed(answer) => Ok(Response::new(answer)),
            _ => Err(mismatch()),
        }
    }
}

/// Who asks, as the guard found out, and what.
fn taken<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    // Without a guard in front nobody is let in.
    let caller = caller.ok_or_else(|| Status::unauthenticated("a bearer token is wanted"))?;
    Ok((caller, request.into_inner()))
}

fn named(name: String) -> Result<String, Status> {
    if name.is_empty() { Err(Status::invalid_argument("a name is wanted")) } else { Ok(name) }
}

fn checked(like: Option<String>) -> Result<Option<String>, Status> {
    match &like {
        Some(pattern) if regex::Regex::new(pattern).is_err() => {
            Err(Status::invalid_argument("like is no regular expression"))
        }
        _ => Ok(like),
    }
}

fn status(failure: Failure) -> Status {
    let text = failure.to_string();
    match failure {
        Failure::NotFound => Status::not_found(text),
        Failure::Invalid(_) => Status::invalid_argument(text),
        Failure::Forbidden { .. } => Status::permission_denied(text),
        Failure::Undecided(_) => Status::unavailable(text),
        Failure::Nobody { missing, .. } => {
            let names: Vec<_> = missing.iter().map(|pod| format!("{} ({})", pod.pod, pod.reason)).collect();
            Status::unavailable(if names.is_empty() { text } else { format!("{text}: {}", names.join(", ")) })
        }
    }
}

/// The engine answered another question than it was asked: a mistake of ours.
fn mismatch() -> Status {
    Status::internal("the answer does not fit the question")
}
