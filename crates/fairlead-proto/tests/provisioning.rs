//! What the operator role asks of a registrar, over gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::member::Role;
use fairlead_model::operator::PeerPage;
use fairlead_model::provision::{Mark, Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::Surroundings;
use fairlead_proto::client::{ProvisioningClient, connection};
use fairlead_proto::operator::{Page, Unanswered};
use fairlead_proto::provisioning::ProvisioningPort;
use fairlead_proto::server;
use fairlead_proto::tls::PodTls;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;

/// Takes its time, and says when it began and when it has come to an end.
#[derive(Default)]
struct Slow {
    begun: Notify,
    go_on: Notify,
    done: Notify,
}

impl Slow {
    async fn work(&self) {
        self.begun.notify_one();
        self.go_on.notified().await;
        self.done.notify_one();
    }
}

#[async_trait::async_trait]
impl ProvisioningPort for Slow {
    async fn provision(&self, _: Provision) -> Result<Provisioned, Unanswered> {
        self.work().await;
        Ok(Provisioned::Unchanged)
    }

    async fn withdraw(&self, _: &str, _: &str) -> Result<Withdrawn, Unanswered> {
        self.work().await;
        Ok(Withdrawn::Removed)
    }

    async fn list_marked(&self, _: PeerPage) -> Result<Page<Marked>, Unanswered> {
        Err(Unanswered::Unknown)
    }

    async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered> {
        Err(Unanswered::Unknown)
    }

    async fn set_surroundings(&self, _: Surroundings) -> Result<(), Unanswered> {
        Err(Unanswered::Unknown)
    }

    async fn set_complete(&self, _: bool) -> Result<(), Unanswered> {
        Err(Unanswered::Unknown)
    }
}

#[tokio::test]
async fn what_has_begun_comes_to_its_end_although_who_asked_hangs_up() {
    let slow = Arc::new(Slow::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = server::provisioning(slow.clone());
    tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    let client = ProvisioningClient::new(connection(address, &PodTls::off(), Role::Registrar));
    let mark =
        Mark { origin: "sippeer/sip/ann".to_owned(), uid: "u1".to_owned(), generation: "1".to_owned() };
    let ann = Provision {
        name: "ann".to_owned(),
        columns: BTreeMap::new(),
        mark,
        instead_of: String::new(),
        forget: false,
    };
    let writing = tokio::spawn({
        let client = client.clone();
        async move { client.provision(ann).await }
    });
    slow.begun.notified().await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    // The registrar hears of it before it may go on.
    tokio::time::sleep(Duration::from_millis(200)).await;
    slow.go_on.notify_one();
    timeout(Duration::from_secs(5), slow.done.notified()).await.expect("the write comes to its end");

    let removing = tokio::spawn(async move { client.withdraw("ann", "u1").await });
    slow.begun.notified().await;
    removing.abort();
    assert!(removing.await.unwrap_err().is_cancelled());
    tokio::time::sleep(Duration::from_millis(200)).await;
    slow.go_on.notify_one();
    timeout(Duration::from_secs(5), slow.done.notified()).await.expect("the removal comes to its end");
}
