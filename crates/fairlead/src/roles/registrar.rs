//! `fairlead registrar`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use fairlead_conf::SipConf;
use fairlead_model::member::Role;
use fairlead_proto::server;
use fairlead_proto::tls::{self, PodTls};
use fairlead_registrar::{Registrar, RegistrarConfig};
use fairlead_runtime::common::Handles;
use fairlead_store::{RedisSettings, RedisStore, Store};

use tokio::net::TcpListener;
use tonic::service::Routes;

use super::{Live, Start, member};
use crate::settings::RegistrarSettings;
use crate::sip_conf;

/// Starts it: sip.conf, Redis, gRPC.
pub async fn run(settings: RegistrarSettings, start: Start) -> anyhow::Result<Live> {
    let conf = match &settings.sip_conf {
        Some(path) => read_conf(path)?,
        None => fairlead_conf::read_text("(no sip.conf)", "[general]\n")?,
    };
    let redis = RedisSettings {
        password_file: settings.redis_password_file,
        ca_file: settings.redis_ca_file,
        ..RedisSettings::new(settings.redis.expose())
    };
    let store: Arc<dyn Store> = Arc::new(RedisStore::open(redis).context("could not use the redis URL")?);
    let listener = TcpListener::bind(fairlead_runtime::listen::usable(settings.listen_grpc))
        .await
        .with_context(|| format!("could not listen for gRPC on {}", settings.listen_grpc))?;
    let reached = match settings.grpc_advertise {
        Some(address) => address,
        None => listener.local_addr()?,
    };
    let me = member(&start.handles.who, Role::Registrar, reached);
    let registrar = start.handles.metrics.register(|registry| {
        let config = RegistrarConfig { await_peers: settings.await_peers, ..RegistrarConfig::new(me) };
        Registrar::new(store, config, conf.general, conf.peers, registry)
    });
    serve(listener, Arc::clone(&registrar), start.tls, &start.handles);
    start.handles.health.flag("registrar").set(true);
    tracing::info!(grpc = %reached, "the registrar is up");
    let (draining, leaves) = (start.handles.drain.draining(), Arc::clone(&registrar));
    tokio::spawn(async move {
        draining.cancelled().await;
        leaves.leave().await;
    });
    // Asked once draining has begun.
    Ok(Box::new(move || usize::from(!registrar.has_left())))
}

/// Reads sip.conf and logs what it says about it; broken syntax ends the start.
pub fn read_conf(path: &Path) -> anyhow::Result<SipConf> {
    let conf = sip_conf::load(path)?;
    for diagnostic in &conf.diagnostics {
        tracing::warn!("{diagnostic}");
    }
    Ok(conf)
}

fn serve(listener: TcpListener, registrar: Arc<Registrar>, tls: PodTls, handles: &Handles) {
    let stop = handles.drain.stopping();
    let routes = Routes::new(server::registrar(Arc::clone(&registrar)))
        .add_service(server::peers(Arc::clone(&registrar)))
        .add_service(server::provisioning(Arc::clone(&registrar)))
        .add_service(server::diagnosis(registrar));
    handles.drain.spawn(async move {
        if let Err(failed) = tls::serve(listener, routes, &tls, stop.cancelled_owned()).await {
            tracing::error!(%failed, "the gRPC port of the registrar failed");
        }
    });
}
