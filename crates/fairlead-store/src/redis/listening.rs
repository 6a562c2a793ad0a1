//! Hears what registrars publish, on a connection of its own that must prove again and again that it still carries
//! something: of a node that lost its power nothing comes any more, not even the end.

use std::sync::Weak;
use std::time::Duration;

use futures::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{broadcast, watch};
use tracing::debug;

use super::keeper::{Keeper, PAUSE_MIN, PING_EVERY};
use super::place::Way;
use crate::keys::CHANGES;
use crate::notice::Notice;

/// Hears what registrars publish, until the store is dropped.
pub async fn keep_listening(keeper: Weak<Keeper>) {
    let mut before = false;
    loop {
        let Some(strong) = keeper.upgrade() else { return };
        // From before this connection is made: one that the keeper makes meanwhile may be to another server.
        let again = strong.again.subscribe();
        let client = match strong.place.open().await.as_deref() {
            Ok(Way::Single(client)) => Some((**client).clone()),
            Ok(Way::Sentinel(client)) => client.lock().await.async_get_client().await.ok(),
            Ok(Way::Cluster(_, clients)) => first_that_answers(clients, strong.timeout).await,
            // Whoever connects says it.
            Err(_) => None,
        };
        let (timeout, notices) = (strong.timeout, strong.notices.clone());
        drop(strong);
        if let Some(client) = client {
            match tokio::time::timeout(timeout * 4, subscribe(&client)).await {
                Ok(Ok((sink, stream))) => {
                    let _ = notices.send(if before { Notice::Resumed } else { Notice::Listening });
                    before = true;
                    let why = tokio::select! {
                        why = until_silent(sink, again, timeout) => why,
                        () = pass_on(stream, &notices) => "the connection ended",
                    };
                    debug!(why, "notices are not heard for a moment");
                }
                Ok(Err(error)) => debug!(%error, "notices cannot be heard"),
                Err(_) => debug!("notices cannot be heard in time"),
            }
        }
        tokio::time::sleep(PAUSE_MIN * 2).await;
    }
}

async fn first_that_answers(clients: &[redis::Client], timeout: Duration) -> Option<redis::Client> {
    for client in clients {
        if let Ok(Ok(_)) = tokio::time::timeout(timeout, client.get_multiplexed_async_connection()).await {
            return Some(client.clone());
        }
    }
    None
}

async fn subscribe(client: &redis::Client) -> RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = client.get_async_pubsub().await?.split();
    sink.subscribe(CHANGES).await?;
    Ok((sink, stream))
}

/// Returns why the connection is to be made anew.
async fn until_silent(
    mut sink: PubSubSink,
    mut again: watch::Receiver<u64>,
    timeout: Duration,
) -> &'static str {
    loop {
        tokio::select! {
            changed = again.changed() => return match changed {
                Ok(()) => "Redis was away",
                Err(_) => "the store is gone",
            },
            () = tokio::time::sleep(PING_EVERY) => {}
        }
        match tokio::time::timeout(timeout, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return "a ping failed",
            Err(_) => return "a ping was not answered",
        }
    }
}

async fn pass_on(mut stream: PubSubStream, notices: &broadcast::Sender<Notice>) {
    while let Some(message) = stream.next().await {
        match serde_json::from_slice(message.get_payload_bytes()) {
            // Nobody may be listening, which is no fault.
            Ok(notice) => drop(notices.send(notice)),
            Err(error) => debug!(%error, "a notice that cannot be read"),
        }
    }
}
