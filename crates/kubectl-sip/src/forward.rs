//! A connection to admin through the API server: a port-forward whose stream gRPC speaks over.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairlead_admin::cli::Ended;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::DuplexStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::trouble::{Asked, ended, innermost};

/// The port of admin in its pods.
const PORT: u16 = 8080;

/// How long a pod has to answer the first question; the API server takes much longer to notice that one is gone.
const FIRST: Duration = Duration::from_secs(5);

/// How often the connection is pinged while an answer is waited for, and how long a ping may take.
const PING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// A connection to admin in this pod, which has answered there.
pub async fn connect(client: &Client, namespace: &str, pod: &str, token: &str) -> Result<Channel, Ended> {
    let connecting = async {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let mut forward = pods.portforward(pod, &[PORT]).await.map_err(|cause| {
            let what = format!("forward a port of pod {pod}");
            // A WebSocket begins with GET; since Kubernetes 1.35 `create` is asked for besides.
            let rule = "get, create pods/portforward";
            ended(cause, &Asked { what: &what, rule, names: &[], namespace })
        })?;
        let stream =
            forward.take_stream(PORT).ok_or_else(|| silent(pod, "the port-forward has no stream"))?;
        let failed = forward.take_error(PORT);
        let failed = async move {
            match failed {
                Some(failed) => failed.await,
                None => None,
            }
        };
        let channel = over(stream).await.map_err(|cause| silent(pod, &innermost(&cause)))?;
        tokio::select! {
            answered = greet(channel.clone(), token) => answered.map_err(|why| silent(pod, &why))?,
            Some(why) = failed => return Err(silent(pod, &why)),
        }
        Ok(channel)
    };
    tokio::time::timeout(FIRST, connecting).await.unwrap_or_else(|_| Err(silent(pod, "no answer in time")))
}

fn silent(pod: &str, why: &str) -> Ended {
    Ended::Away(format!("admin in pod {pod} does not answer: {why}"))
}

/// gRPC over a stream. Once it is gone the connection is: another one begins with another port-forward.
async fn over(stream: DuplexStream) -> Result<Channel, tonic::transport::Error> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: Uri| {
        let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            taken
                .map(TokioIo::new)
                .ok_or_else(|| Error::new(ErrorKind::NotConnected, "the port-forward has ended"))
        }
    });
    Endpoint::from_static("http://localhost")
        .http2_keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .connect_with_connector(connector)
        .await
}

/// Whether somebody answers there. A refusal is an answer: the question itself will be refused in the same way.
async fn greet(channel: Channel, token: &str) -> Result<(), String> {
    let mut request = Request::new(HealthCheckRequest { service: "fairlead.admin.v1.Admin".to_owned() });
    if let Ok(bearer) = format!("Bearer {token}").parse() {
        request.metadata_mut().insert("authorization", bearer);
    }
    match HealthClient::new(channel).check(request).await {
        Ok(_) => Ok(()),
        Err(status) => match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::Unimplemented => Ok(()),
            _ if status.message().is_empty() => Err(format!("{:?}", status.code())),
            _ => Err(status.message().to_owned()),
        },
    }
}
