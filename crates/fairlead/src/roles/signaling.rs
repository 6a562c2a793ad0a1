//! `fairlead signaling`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use fairlead_signaling::{Config, Listener, RemoteRelays, Signaling};

use super::{Live, Start, registrars, trace};
use crate::settings::SignalingSettings;
use crate::values::{Advertise, Listen};

/// Starts it: listeners, mesh, the streams to registrar and media.
pub async fn run(settings: SignalingSettings, start: Start) -> anyhow::Result<Live> {
    let mut listeners = listeners(&settings.listen, &settings.advertise);
    for listener in &mut listeners {
        listener.awaits = settings.await_address;
    }
    let mut config = config(listeners, Some(settings.mesh), settings.shards, start.traced)?;
    config.grpc_advertise = settings.grpc_advertise;
    config.tls = start.tls.clone();
    config.flow_linger = settings.flow_linger;
    config.host_ips = host_ips();
    let registrar = registrars(&settings.registrar, &start.handles.who, &start.tls)?;
    let relays = Arc::new(RemoteRelays { trace: trace(start.traced), tls: start.tls });
    let signaling = Signaling::start(config, registrar, relays, start.handles).await?;
    Ok(Box::new(move || signaling.waits_for()))
}

/// Addresses of the node that this pod runs on, as the downward API tells them.
fn host_ips() -> Vec<IpAddr> {
    let told = ["HOST_IP", "HOST_IPS"].iter().filter_map(|name| std::env::var(name).ok());
    let mut addresses: Vec<IpAddr> = told
        .flat_map(|list| list.split(',').filter_map(|ip| ip.trim().parse().ok()).collect::<Vec<_>>())
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Listeners with what is advertised for their network.
pub fn listeners(listen: &[Listen], advertise: &[Advertise]) -> Vec<Listener> {
    let listener = |listen: &Listen| {
        let mut listener = Listener::new(listen.transport, listen.bind);
        listener.network.clone_from(&listen.network);
        listener.routed = listen.routed;
        let of_network = advertise.iter().filter(|advertise| advertise.is_for(listen));
        listener.advertise = of_network.map(|advertise| (advertise.host.clone(), advertise.port)).collect();
        listener
    };
    listen.iter().map(listener).collect()
}

/// The role's configuration; everything that is no setting is as usual.
pub fn config(
    listeners: Vec<Listener>,
    grpc: Option<SocketAddr>,
    shards: u32,
    traced: bool,
) -> anyhow::Result<Config> {
    let mut config = Config::new(listeners, grpc);
    config.shards = u8::try_from(shards)
        .ok()
        .filter(|shards| *shards <= 64)
        .with_context(|| format!("shards is {shards}, allowed: 0 to 64"))?;
    config.traced = traced;
    Ok(config)
}
