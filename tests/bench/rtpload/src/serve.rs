//! The product's relay by itself, behind gRPC.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fairlead_media::{Config, Network, Place, Relay};
use fairlead_model::id::PodRef;
use fairlead_proto::server;
use fairlead_proto::trace::TraceHooks;
use prometheus_client::registry::Registry;

/// Relays until it is ended.
pub async fn serve(
    listen: SocketAddr,
    ports: (u16, u16),
    bind: IpAddr,
    workers: usize,
) -> anyhow::Result<()> {
    let service = server::relay(Arc::new(relay(ports, bind, workers)?), TraceHooks::default());
    tonic::transport::Server::builder().add_service(service).serve(listen).await?;
    Ok(())
}

/// The relay.
pub fn relay(ports: (u16, u16), bind: IpAddr, workers: usize) -> anyhow::Result<Relay> {
    let mut network = Network { name: String::new(), v4: None, v6: None };
    match bind {
        IpAddr::V4(bind) => network.v4 = Some(Place { bind, advertise: None }),
        IpAddr::V6(bind) => network.v6 = Some(Place { bind, advertise: None }),
    }
    let pod = PodRef::from_random(std::process::id().into());
    let config = Config { workers, networks: vec![network], ..Config::new(pod, ports.0..=ports.1) };
    Ok(Relay::start(&config, &mut Registry::default())?)
}
