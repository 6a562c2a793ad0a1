//! `fairlead media`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_media::{Config, Grpc, HEAR_LIMIT, Network, Place};
use fairlead_model::id::PodRef;
use fairlead_runtime::settings::value::PortRange;

use super::{Live, Start, registrars, trace};
use crate::settings::MediaSettings;
use crate::values::{RtpAddress, RtpSlices};

/// Starts it: RTP ports, gRPC, membership.
pub async fn run(settings: MediaSettings, start: Start) -> anyhow::Result<Live> {
    let rtp = Rtp {
        ports: settings.rtp_ports,
        bind: settings.rtp_bind,
        advertise: settings.rtp_advertise,
        hear_first: settings.rtp_hear_first,
        workers: settings.rtp_workers,
    };
    let mut config = rtp.config(start.handles.who.pod);
    if let Some(RtpSlices(slices)) = settings.rtp_slices {
        config.ports = slices.of(&start.handles.who.name);
    }
    config.own_address = !settings.rtp_await_address;
    let grpc =
        Grpc { listen: settings.listen_grpc, advertise: settings.grpc_advertise, tls: start.tls.clone() };
    let registrar = registrars(&settings.registrar, &start.handles.who, &start.tls)?;
    let relay =
        fairlead_media::run(&config, Some(grpc), registrar, &start.handles, trace(start.traced)).await?;
    Ok(Box::new(move || usize::try_from(relay.load()).unwrap_or(usize::MAX)))
}

/// The settings of a relay, wherever it runs.
pub struct Rtp {
    /// UDP ports.
    pub ports: PortRange,
    /// Addresses to bind, one a family; all when empty.
    pub bind: Vec<IpAddr>,
    /// Addresses to name, one a network and family.
    pub advertise: Vec<RtpAddress>,
    /// Behind a Service.
    pub hear_first: bool,
    /// Threads; 0: one a core.
    pub workers: u32,
}

impl Rtp {
    /// As the relay wants it.
    pub fn config(&self, pod: PodRef) -> Config {
        let mut config = Config::new(pod, self.ports.first..=self.ports.last);
        config.workers = usize::try_from(self.workers).unwrap_or_default();
        config.hear_before_speak = self.hear_first.then_some(HEAR_LIMIT);
        config.networks = self.networks();
        config
    }

    fn networks(&self) -> Vec<Network> {
        let mut names: BTreeMap<&str, ()> = BTreeMap::from([("", ())]);
        names.extend(self.advertise.iter().map(|address| (address.network.as_str(), ())));
        names.into_keys().map(|name| self.network(name)).collect()
    }

    /// Where nothing to bind is given it is every address; the relay itself takes the advertised one where that is an
    /// address of this host, and leaves out a family that this host does not have.
    fn network(&self, name: &str) -> Network {
        let everywhere = self.bind.is_empty();
        let advertised = || self.advertise.iter().filter(|a| a.network == name).map(|a| a.address);
        let v4 = self.bind.iter().find_map(ipv4).or(everywhere.then_some(Ipv4Addr::UNSPECIFIED));
        let v6 = self.bind.iter().find_map(ipv6).or(everywhere.then_some(Ipv6Addr::UNSPECIFIED));
        Network {
            name: name.to_owned(),
            v4: v4.map(|bind| Place { bind, advertise: advertised().find_map(|address| ipv4(&address)) }),
            v6: v6.map(|bind| Place { bind, advertise: advertised().find_map(|address| ipv6(&address)) }),
        }
    }
}

fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn ipv6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    }
}
