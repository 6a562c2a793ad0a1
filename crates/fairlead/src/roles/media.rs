//! `fairlead media`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_media::{Config, Grpc, HEAR_LIMIT, Network, Place};
use fairlead_model::id::PodRef;
use fairlead_runtime::settings::value::PortRange;

use super::{Live, Start, registrars, trace};
use crate::settings::MediaSettings;
use crate::values::RtpAddress;

/// Starts it: RTP ports, gRPC, membership.
pub async fn run(settings: MediaSettings, start: Start) -> anyhow::Result<Live> {
    let rtp = Rtp {
        ports: settings.rtp_ports,
        bind: settings.rtp_bind,
        advertise: settings.rtp_advertise,
        hear_first: settings.rtp_hear_first,
        workers: settings.rtp_workers,
    };
    let config = rtp.config(start.handles.who.pod);
    let grpc = Grpc { listen: settings.listen_grpc, advertise: settings.grpc_advertise };
    let registrar = registrars(&settings.registrar, &start.handles.who)?;
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

    fn network(&self, name: &str) -> Network {
        let advertised = |wanted: fn(&IpAddr) -> bool| {
            self.advertise.iter().filter(|a| a.network == name).map(|a| a.address).find(wanted)
        };
        let v4 =
            match self.bind_of(IpAddr::is_ipv4, Ipv4Addr::UNSPECIFIED.into(), advertised(IpAddr::is_ipv4)) {
                Some((IpAddr::V4(bind), Some(IpAddr::V4(advertise)))) => {
                    Some(Place { bind, advertise: Some(advertise) })
                }
                Some((IpAddr::V4(bind), _)) => Some(Place { bind, advertise: None }),
                _ => None,
            };
        let v6 =
            match self.bind_of(IpAddr::is_ipv6, Ipv6Addr::UNSPECIFIED.into(), advertised(IpAddr::is_ipv6)) {
                Some((IpAddr::V6(bind), Some(IpAddr::V6(advertise)))) => {
                    Some(Place { bind, advertise: Some(advertise) })
                }
                Some((IpAddr::V6(bind), _)) => Some(Place { bind, advertise: None }),
                _ => None,
            };
        Network { name: name.to_owned(), v4, v6 }
    }

    /// What a family is bound to and advertises. Where no address to bind is given it is the advertised one if that is
    /// an address of this host, so that packets leave from where phones are told to send; else every address.
    fn bind_of(
        &self,
        family: fn(&IpAddr) -> bool,
        all: IpAddr,
        advertised: Option<IpAddr>,
    ) -> Option<(IpAddr, Option<IpAddr>)> {
        let is_ours = |address: &IpAddr| std::net::UdpSocket::bind((*address, 0)).is_ok();
        let bind = if self.bind.is_empty() {
            advertised.filter(is_ours).or_else(|| is_ours(&all).then_some(all))
        } else {
            self.bind.iter().copied().find(family)
        };
        bind.map(|bind| (bind, advertised))
    }
}
