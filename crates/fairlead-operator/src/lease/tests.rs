//! A Lease in an API server that is a table.

use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tonic::codegen::http::{Method, Request, Response, StatusCode};

use super::*;

#[tokio::test]
async fn a_write_gets_what_is_left_of_the_reign_and_no_more() {
    let reign = Reign::new(Instant::now() + Duration::from_millis(200));
    let began = Instant::now();
    let written = reign.write(std::future::pending::<Result<(), kube::Error>>()).await;
    assert!(matches!(written, Err(Failed::Late)), "{written:?}");
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_is_written_when_the_reign_is_over() {
    let over = Reign::new(Instant::now());
    let ended = Reign::new(Instant::now() + VALID);
    ended.end.cancel();
    for reign in [over, ended] {
        let begun = Mutex::new(false);
        let written = reign
            .write(async {
                *begun.lock() = true;
                Ok(())
            })
            .await;
        assert!(matches!(written, Err(Failed::Over)), "{written:?}");
        assert!(!*begun.lock());
    }
}

#[tokio::test]
async fn the_lease_is_given_back_when_what_was_being_written_is_written() {
    let table = Table::default();
    let (tell, mut reigns) = watch::channel(None);
    let stop = CancellationToken::new();
    let standing = tokio::spawn(table.candidate().stand(tell, stop.clone()));
    let reign = reigns.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(table.holder(), "me");
    let (written, attempt) = (Arc::new(Mutex::new(false)), reign.attempt());
    let writing = tokio::spawn({
        let written = written.clone();
        async move {
            attempt
                .write(async {
                    tokio::time::sleep(Duration::from_millis(800)).await;
                    *written.lock() = true;
                    Ok(())
                })
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    while table.holder() == "me" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(*written.lock(), "another one may lead from here on");
    writing.await.unwrap().unwrap();
    standing.await.unwrap();
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<Option<Lease>>>);

impl Table {
    fn candidate(&self) -> Candidate {
        let table = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let table = table.clone();
            async move { Ok::<_, std::convert::Infallible>(table.serve(request).await) }
        });
        let beat = fairlead_runtime::health::Health::new().heartbeat("election", Duration::from_secs(120));
        Candidate {
            api: Api::namespaced(Client::new(service, "sip"), "sip"),
            name: "edge-operator".to_owned(),
            me: "me".to_owned(),
            owner: None,
            labels: BTreeMap::new(),
            beat,
        }
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let mut there = self.0.lock();
        if head.method != Method::GET {
            *there = Some(serde_json::from_slice(&bytes).unwrap());
        }
        match &*there {
            Some(lease) => Response::new(Body::from(serde_json::to_vec(lease).unwrap())),
            None => {
                let missing = serde_json::json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "",
                    "reason": "NotFound", "code": 404
                });
                let body = Body::from(serde_json::to_vec(&missing).unwrap());
                Response::builder().status(StatusCode::NOT_FOUND).body(body).unwrap()
            }
        }
    }

    fn holder(&self) -> String {
        let lease = self.0.lock().clone();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }
}
