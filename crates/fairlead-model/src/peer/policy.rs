//! What a peer says about itself and about its calls.

use std::net::{IpAddr, SocketAddr};

use super::kinds::{Host, PeerType};
use super::{EffectiveNat, Peer};
use crate::ask::LegPolicy;
use crate::flow::Transport;

impl Peer {
    /// A peer of this name that starts from `defaults` (`GeneralFull::defaults`).
    pub fn named(name: impl Into<String>, defaults: &Peer) -> Peer {
        Peer { name: name.into(), ..defaults.clone() }
    }

    /// Whether it registers (the Dyn column).
    pub fn is_dynamic(&self) -> bool {
        self.host == Host::Dynamic
    }

    /// Whether the user part of From may name it.
    pub fn is_user(&self) -> bool {
        self.kind.is_user()
    }

    /// Whether it registers, is called, and is matched by address.
    pub fn is_peer(&self) -> bool {
        self.kind.is_peer()
    }

    /// Whether it has anything to check a digest with. Without, its requests are accepted as they are.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some() || self.md5_secret.is_some()
    }

    /// Its transport for what we send first.
    pub fn transport(&self) -> Transport {
        self.transports.first().copied().unwrap_or(Transport::Udp)
    }

    /// Whether it may use this transport.
    pub fn allows_transport(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }

    /// The address of a static host that is written as an IP address.
    pub fn static_address(&self) -> Option<SocketAddr> {
        let Host::Static(host) = &self.host else { return None };
        let ip: IpAddr = host.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), self.port.unwrap_or(self.transport().default_port())))
    }

    /// How many calls it may have at once; `None` without limit.
    pub fn limit(&self) -> Option<u32> {
        (self.call_limit > 0).then_some(self.call_limit)
    }

    /// Whether its calls are counted (`sip show inuse`).
    pub fn is_counted(&self) -> bool {
        self.call_limit > 0 || self.call_counter
    }

    /// Whether the registrar answers challenges that this peer sends us: only a configured host that has
    /// something to answer with, never a phone that registered (it could be anybody's collector of digests).
    pub fn answers_challenges(&self) -> bool {
        let can = self.remote_secret.is_some() || self.secret.is_some() || !self.auth.is_empty();
        !self.is_dynamic() && self.kind != PeerType::User && can
    }

    /// How a leg of this peer is treated, given what its `nat` came to: see [`super::NatSetting::effective`].
    pub fn leg_policy(&self, nat: EffectiveNat) -> LegPolicy {
        LegPolicy {
            peer: Some(self.name.clone()),
            nat,
            rtp_source: self.media.rtp_source,
            rtp_timeout: self.media.rtp_timeout,
            rtp_hold_timeout: self.media.rtp_hold_timeout,
            caller_name: self.caller_name.clone(),
            caller_number: self.caller_number.clone(),
            from_user: self.from_user.clone(),
            from_domain: self.from_domain.as_ref().map(|(host, port)| host_and_port(host, *port)),
            answers_challenges: self.answers_challenges(),
            max_duration: self.max_call_duration,
            t1_ms: self.t1_ms,
            uncounted: !self.is_counted(),
        }
    }
}

/// A host as a URI writes it: IPv6 in brackets, the port behind it.
pub fn host_and_port(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}
