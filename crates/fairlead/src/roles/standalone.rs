//! `fairlead standalone`: every role in one process, over the same objects, with a file instead of Redis.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use fairlead_admin::auth::Access;
use fairlead_admin::directory::{Door as PodDoor, Together};
use fairlead_model::flow::Transport;
use fairlead_model::member::{Member, Role};
use fairlead_model::peer::GeneralFull;
use fairlead_model::surroundings::{SipAddress, Surroundings};
use fairlead_registrar::{Registrar, RegistrarConfig};
use fairlead_runtime::identity::Identity;
use fairlead_signaling::{Listener, OwnRelay, Signaling, towards_world};
use fairlead_store::{FileStore, Store};

use super::admin::Door;
use super::media::Rtp;
use super::registrar::read_conf;
use super::signaling::{config, listeners};
use super::{Live, Start, member, trace};
use crate::settings::StandaloneSettings;
use crate::values::Listen;

/// The name of the store's file in the state folder.
const STORE: &str = "fairlead.redb";

/// How long the parts of one process wait for each other.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts all of it.
pub async fn run(settings: StandaloneSettings, start: Start) -> anyhow::Result<Live> {
    let Start { common, handles, traced, .. } = start;
    let access =
        Access::new(settings.admin_token, settings.admin_token_file.as_deref(), None, settings.admin)?;
    let admin = Door::new(settings.admin, access, PATIENCE);
    let conf = read_conf(&settings.sip_conf)?;
    let listen = if settings.listen.is_empty() { from_sip_conf(&conf.general)? } else { settings.listen };
    let store: Arc<dyn Store> = Arc::new(open(&settings.state)?);

    let identity = |role: Role| {
        let who: Identity = common.identity(role);
        let mut handles = handles.clone();
        handles.who = who;
        handles
    };
    let as_registrar = identity(Role::Registrar);
    let me = member(&as_registrar.who, Role::Registrar, Member::ASKED_NOTHING);
    let registrar = handles.metrics.register(|registry| {
        Registrar::new(store, RegistrarConfig::new(me), conf.general, conf.peers, registry)
    });

    let as_media = identity(Role::Media);
    let rtp = Rtp {
        ports: settings.rtp_ports,
        bind: settings.rtp_bind,
        advertise: settings.rtp_advertise,
        hear_first: settings.rtp_hear_first,
        workers: settings.rtp_workers,
    };
    let relay =
        fairlead_media::run(&rtp.config(as_media.who.pod), None, registrar.clone(), &as_media, trace(traced))
            .await?;

    let listeners = listeners(&listen, &settings.advertise);
    let surroundings = reached_at(&listeners);
    let config = config(listeners, None, settings.shards, traced)?;
    let relays = Arc::new(OwnRelay(Arc::new(relay.clone())));
    let signaling = Signaling::start(config, registrar.clone(), relays, handles.clone()).await?;

    let door =
        |handles: &fairlead_runtime::common::Handles, role| (handles.who.pod, handles.who.name.clone(), role);
    let together = Together {
        every_pod: vec![
            pod_door(door(&as_registrar, Role::Registrar), registrar.clone()),
            pod_door(door(&handles, Role::Signaling), Arc::new(signaling.doctor())),
        ],
        surroundings,
        registrars: vec![pod_door(door(&as_registrar, Role::Registrar), registrar)],
        signaling: vec![pod_door(door(&handles, Role::Signaling), Arc::new(signaling.operator()))],
        relays: vec![pod_door(door(&as_media, Role::Media), Arc::new(relay))],
    };
    admin.open(Arc::new(together), &handles).await?;
    Ok(Box::new(move || signaling.live_calls()))
}

/// Where phones reach these listeners: what is advertised for them, else the address they are bound to, else, with a
/// wildcard, the address by which this host speaks to the world.
fn reached_at(listeners: &[Listener]) -> Surroundings {
    let mut sip: Vec<SipAddress> = Vec::new();
    for listener in listeners {
        let address = |host: String, port: Option<u16>| SipAddress {
            network: listener.network.clone(),
            transport: listener.transport,
            host,
            port: port.unwrap_or(listener.bind.port()),
            destinations: Vec::new(),
        };
        if !listener.advertise.is_empty() {
            sip.extend(listener.advertise.iter().map(|(host, port)| address(host.clone(), *port)));
            continue;
        }
        let bound: Vec<IpAddr> = match listener.bind.ip() {
            IpAddr::V6(any) if any.is_unspecified() => {
                let families = [Ipv4Addr::UNSPECIFIED.into(), IpAddr::V6(any)];
                families.into_iter().filter_map(towards_world).collect()
            }
            any if any.is_unspecified() => towards_world(any).into_iter().collect(),
            own => vec![own],
        };
        sip.extend(bound.into_iter().map(|own| address(own.to_string(), None)));
    }
    Surroundings { sip, ..Surroundings::default() }
}

fn open(state: &Path) -> anyhow::Result<FileStore> {
    std::fs::create_dir_all(state)
        .with_context(|| format!("could not make the state folder {}", state.display()))?;
    let path = state.join(STORE);
    FileStore::open(&path).with_context(|| format!("could not open the store {}", path.display()))
}

/// The listeners that `[general]` asks for.
fn from_sip_conf(general: &GeneralFull) -> anyhow::Result<Vec<Listen>> {
    let mut listen = Vec::new();
    for listener in general.listeners() {
        match listener.transport {
            Transport::Udp | Transport::Tcp => listen.push(Listen {
                network: String::new(),
                transport: listener.transport,
                bind: listener.bind,
                routed: false,
            }),
            other => tracing::warn!(transport = %other, "sip.conf asks for a listener that is not built yet"),
        }
    }
    if listen.is_empty() {
        bail!("neither --listen nor sip.conf names a SIP listener");
    }
    Ok(listen)
}

fn pod_door<P: ?Sized>(
    (pod, name, role): (fairlead_model::id::PodRef, String, Role),
    port: Arc<P>,
) -> PodDoor<P> {
    PodDoor { pod, name, role, port }
}
