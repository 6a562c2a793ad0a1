//! One trace over signaling, registrar and media. A file of its own: the subscriber is the process's.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

mod bench;

use std::sync::Arc;

use bench::{Pod, Registrar, eventually, member, udp_phone};
use fairlead_model::ask::Target;
use fairlead_model::flow::{Hop, Transport};
use fairlead_model::member::Role;
use fairlead_model::peer::{EffectiveNat, Peer};
use fairlead_model::relay::{RelayEvent, RelayOrder, RelayRefused, RelayReply};
use fairlead_proto::link::RelayPort;
use fairlead_signaling::OwnRelay;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt;

/// Writes down in which trace it is asked, and refuses.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl RelayPort for Desk {
    async fn order(&self, _: RelayOrder) -> Result<RelayReply, RelayRefused> {
        let traceparent = fairlead_runtime::trace::traceparent(&tracing::Span::current());
        self.0.lock().push(traceparent.unwrap_or_default());
        Err(RelayRefused::NoPort)
    }

    async fn watch(&self) -> Result<mpsc::Receiver<RelayEvent>, RelayRefused> {
        Err(RelayRefused::Unreachable)
    }
}

fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap()
}

#[tokio::test]
async fn an_invite_its_question_and_its_order_are_one_trace() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();

    let callee = udp_phone().await;
    let registrar = Registrar::new();
    registrar.members.lock().push(member(Role::Media, "127.0.0.1:1".parse().unwrap()));
    *registrar.target.lock() = Some(Target {
        policy: Peer::named("bob", &Peer::default()).leg_policy(EffectiveNat::default()),
        uri: "sip:bob@127.0.0.1".to_owned(),
        route: Vec::new(),
        hop: Hop::Address {
            transport: Transport::Udp,
            host: "127.0.0.1".to_owned(),
            port: Some(callee.local_addr().unwrap().port()),
        },
        binding: None,
        ring_time: 20,
    });
    let desk = Desk::default();
    let relays = Arc::new(OwnRelay(Arc::new(desk.clone())));
    let traced = |config: &mut fairlead_signaling::Config| config.traced = true;
    let pod = Pod::with_relays(Arc::new(registrar.clone()), 1, relays, traced).await;

    let phone = udp_phone().await;
    let from = phone.local_addr().unwrap();
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let invite = format!(
        "INVITE sip:bob@edge SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKtrace;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@edge>;tag=1\r\nTo: <sip:bob@edge>\r\nCall-ID: trace\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@{from}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    phone.send_to(invite.as_bytes(), pod.udp).await.unwrap();
    eventually("the relay is asked", || !desk.0.lock().is_empty()).await;
    let asked = registrar.traces.lock().clone();
    let ordered = desk.0.lock().clone();
    assert_eq!(trace_id(&asked[0]), trace_id(&ordered[0]));
    assert_ne!(asked[0], ordered[0]);
    pod.drain.start();
}
