//! `fairlead registrar`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use fairlead_conf::SipConf;
use fairlead_model::member::Role;
use fairlead_proto::server;
use fairlead_registrar::{Registrar, RegistrarConfig};
use fairlead_runtime::common::Handles;
use fairlead_store::{RedisSettings, RedisStore, Store};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use super::{Live, Start, member};
use crate::settings::RegistrarSettings;
use crate::sip_conf;

/// Starts it: sip.conf, Redis, gRPC.
pub async fn run(settings: RegistrarSettings, start: Start) -> anyhow::Result<Live> {
    let conf = match &settings.sip_conf {
        Some(path) => read_conf(path)?,
        None => fairlead_conf::read_text("(no sip.conf)", "[general]\n")?,
    };
    let store: Arc<dyn Store> = Arc::new(
        RedisStore::open(RedisSettings::new(settings.redis.expose()))
            .context("could not use the redis URL")?,
    );
    let listener = TcpListener::bind(settings.listen_grpc)
        .await
        .with_context(|| format!("could not listen for gRPC on {}", settings.listen_grpc))?;
    let reached = match settings.grpc_advertise {
        Some(address) => address,
        None => listener.local_addr()?,
    };
    let me = member(&start.handles.who, Role::Registrar, reached);
    let registrar = start.handles.metrics.register(|registry| {
        Registrar::new(store, RegistrarConfig::new(me), conf.general, conf.peers, registry)
    });
    serve(listener, Arc::clone(&registrar), &start.handles);
    start.handles.health.flag("registrar").set(true);
    tracing::info!(grpc = %reached, "the registrar is up");
    Ok(Box::new(|| 0))
}

/// Reads sip.conf and logs what it says about it; broken syntax ends the start.
pub fn read_conf(path: &Path) -> anyhow::Result<SipConf> {
    let conf = sip_conf::load(path)?;
    for diagnostic in &conf.diagnostics {
        tracing::warn!("{diagnostic}");
    }
    Ok(conf)
}

fn serve(listener: TcpListener, registrar: Arc<Registrar>, handles: &Handles) {
    let stop = handles.drain.stopping();
    let server = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(server::registrar(Arc::clone(&registrar)))
        .add_service(server::peers(registrar))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned());
    handles.drain.spawn(async move {
        if let Err(failed) = server.await {
            tracing::error!(%failed, "the gRPC port of the registrar failed");
        }
    });
}
